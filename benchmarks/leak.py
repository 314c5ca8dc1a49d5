"""How much does a random split flatter, where photos of the same source are in both halves?

data/species (`FAMILIA_SHARED`), EfficientNet-Lite0, out of fold on the training photos: the classes
with two or more `eol_page_id` (there one a class of Caltech-101, as face and body of the cougar),
at random and with whole ones held out, each with the same number of training photos of each class.
"""

import os
import tempfile
from pathlib import Path

import cli
from classify.leak_report import LeakReport, leak_report
from embed.workspace import Workspace

HEADS = ("knn", "logreg")
BY = "eol_page_id"


def row(report: LeakReport) -> str:
    figures = (report.random, report.held_out, report.difference)
    cells = [
        f"{v:.3f} [{low:.3f}, {high:.3f}]" for v, low, high in (f["macro_f1"] for f in figures)
    ]
    return f"| {report.head} | {' | '.join(cells)} |"


def measure() -> str:
    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return "Not run: FAMILIA_SHARED is not set."
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(shared) / "data" / "species"
        assert cli.run(["embed", str(photos), "-w", folder]) == 0
        reports = [leak_report(Workspace(Path(folder)), BY, head) for head in HEADS]
    first = reports[0]
    return "\n".join(
        [
            f"{first.photos} photos of {first.testable} families in {first.groups} {BY}; the other "
            f"{len(first.not_testable)} classes have one only.",
            "",
            "| head | macro-F1 at random | held out | difference |",
            "| --- | --- | --- | --- |",
            *map(row, reports),
            "",
            *(f"{report.head}: {report.sentence}" for report in reports),
            *(note for note in first.notes if note.startswith("only ")),
        ]
    )


if __name__ == "__main__":
    print(measure())
