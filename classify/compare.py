"""`cli compare`: two runs on the same photos, as a whole, by class and by photo."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classify.metrics import LESS_IS_BETTER
from classify.paired import CLASS_COLUMNS, PHOTO_COLUMNS, Pair
from classify.runs import Predictions, Run
from classify.scored import SIZES, Scored, by_id, predictions_file, scored
from classify.tables import Table, csv_text, json_text, page
from classify.verdicts import reading
from embed.collection import load_collection
from embed.errors import UserError
from embed.files import sha256, write_json, write_rows
from embed.words import counted
from embed.workspace import Workspace

CLEAR = 0.05  # p, after Holm's correction, of a class that is said to differ
MOST_CLASSES = 10  # shown; classes.csv has all
LEAST_P = 0.001  # that is shown
LONGEST_NAME = 200  # bytes of a folder's name that every file system takes
METRICS = {
    "macro_f1": "macro-F1", "accuracy": "accuracy", "top_5": "top-5", "log_loss": "log-loss",
    "brier": "Brier", "ece": "ECE",
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """What `compare` found and where it wrote it."""

    a: str
    b: str
    folder: Path
    figures: dict[str, Any]  # as in figures.json
    classes: list[dict[str, Any]]  # as in classes.csv
    photos: list[dict[str, Any]]  # as in photos.csv
    notes: list[str]

    def as_text(self, form: str = "table") -> str:
        """In plain words and tables; `csv` has the metrics alone, `json` is figures.json."""
        if form == "json":
            return json_text(self.figures | {"folder": str(self.folder)})
        if form == "csv":
            return csv_text(self.figures["metrics"])
        parts = [_metrics_table(self.figures["metrics"]), _sizes_table(self.figures["sizes"])]
        if widest := _widest(self.classes):
            parts.append(_classes_table(widest))
        return page([self.sentences, *parts], form)

    @property
    def sentences(self) -> list[str]:
        """The comparison in words."""
        f = self.figures
        over = f"; over groups {p_text(f['p_groups'])}" if f["p_groups"] is not None else ""
        where = "out of fold" if f["part"] == "oof" else f"{f['part']} photos"
        return [
            f"A is {self.a}, B is {self.b}: {counted(f['photos'], 'photo')}, {where}.",
            f"A gets {counted(f['only_a'], 'photo')} right that B gets wrong, B {f['only_b']:,} "
            f"the other way (McNemar's exact test, {p_text(f['p_mcnemar'])}{over}). Both are right "
            f"on {f['both_right']:,} and wrong on {f['both_wrong']:,}.",
            self._class_sentence,
            "In brackets 95% intervals of a paired bootstrap. "
            f"{counted(len(self.photos), 'photo gets', 'photos get')} two answers: "
            f"{self.folder / 'photos.csv'}; all classes: classes.csv beside it.",
        ]

    @property
    def _class_sentence(self) -> str:
        more_a, more_b = (
            sum(one[x] > one[y] for one in self.classes)
            for x, y in (("only_a", "only_b"), ("only_b", "only_a"))
        )
        differ = sum(one["only_a"] + one["only_b"] > 0 for one in self.classes)
        clear = [
            f"{one['class']} ({'A' if one['only_a'] > one['only_b'] else 'B'})"
            for one in self.classes
            if one["p_holm"] < CLEAR
        ]
        return (
            f"A finds more photos of {counted(more_a, 'class', 'classes')}, B of {more_b:,}. Clear "
            f"by a sign test with Holm's correction for the {differ:,} that differ: "
            f"{', '.join(clear) or 'none'}."
        )


def compare(workspace: Workspace, a: Run, b: Run, part: str = "oof") -> Comparison:
    """Compare the predictions of two runs for the same photos; `part` is oof, val or test.

    Writes photos.csv, classes.csv and figures.json to `comparisons/A--B/` (`val/`, `test/` in it).
    Raises `UserError` where the runs are one, were not both evaluated, or had other photos.
    """
    if a.name == b.name:
        raise UserError(
            f"Both names mean {a.name}. Name two runs: `cli compare A B` (see `cli leaderboard`)."
        )
    for run in (a, b):
        if part != "oof" and not (run.folder / part / "metrics.json").exists():
            raise UserError(
                f"{run.name} was not evaluated on the {part} photos. "
                f"Run `cli evaluate {run.name}{' --on val' * (part == 'val')}` first."
            )
    one, two = scored([a, b], part)
    if one.photos != two.photos:
        raise _different(a, b)
    files = [Predictions.load(predictions_file(run, part)) for run in (a, b)]
    pair = Pair(*files)
    oof = files[0] if part == "oof" else a.out_of_fold
    labels, counts = np.unique(oof.y, return_counts=True)
    classes = pair.classes(dict(zip(labels.tolist(), counts.tolist(), strict=True)))
    photos = pair.photos(_file_paths(workspace))
    notes = _notes(one, *files)
    figures = {
        "a": a.name,
        "b": b.name,
        "part": part,
        "photos": one.n,
        "groups": one.units,
        "only_a": int(pair.only_a.sum()),
        "only_b": int(pair.only_b.sum()),
        "both_right": int((pair.a.right & pair.b.right).sum()),
        "both_wrong": int((~pair.a.right & ~pair.b.right).sum()),
        "p_mcnemar": pair.p_mcnemar,
        "p_groups": pair.p_groups if one.units < one.n else None,
        "metrics": [_metric(name, one, two) for name in METRICS],
        "sizes": _sizes(one, two, classes),
        "notes": notes,
    }
    folder = _folder(workspace, a, b, part)
    write_rows(folder / "photos.csv", PHOTO_COLUMNS, photos)
    write_rows(folder / "classes.csv", CLASS_COLUMNS, classes)
    write_json(folder / "figures.json", figures)  # last: it says that the rest is there
    return Comparison(a.name, b.name, folder, figures, classes, photos, notes)


def p_text(p: float) -> str:
    """`p = .005`, `p < .001`."""
    return f"p {_p(p)}" if p < LEAST_P else f"p = {_p(p)}"


def _p(p: float) -> str:
    return "< .001" if p < LEAST_P else f"{p:.3f}".removeprefix("0")


def _different(a: Run, b: Run) -> UserError:
    """What differs, and what to do."""
    one, two = a.config, b.config
    if (one.label, one.split) == (two.label, two.split):
        why = "the collection or the split changed between them"
    else:
        why = f"{one.label} in split '{one.split}', and {two.label} in split '{two.split}'"
    return UserError(
        f"{a.name} and {b.name} did not have the same photos, labels and groups ({why}), so they "
        f"cannot be compared photo by photo. Fit both again on what is here now: `{one.command}` "
        f"and `{two.command}`."
    )


def _file_paths(workspace: Workspace) -> dict[str, str]:
    """id -> path as the table has it; none where the collection is gone."""
    try:
        rows = load_collection(workspace.collection).rows
    except UserError:
        return {}
    return dict(zip(rows["id"].astype(str), rows["file_path"].astype(str), strict=True))


def _notes(one: Scored, a: Predictions, b: Predictions) -> list[str]:
    notes = []
    if one.units < one.n:
        notes.append(
            f"the {one.n:,} photos are of {one.units:,} groups, and those of one group are no "
            "independent witnesses: McNemar's p and the classes' are too small; the intervals and "
            "the p over groups take account of it"
        )
    if a.fold is not None and b.fold is not None and not np.array_equal(_folds(a), _folds(b)):
        notes.append(
            "the two runs had other folds, so part of each difference is that of the folds: fit "
            "both with the same --folds and --seed"
        )
    return notes


def _folds(one: Predictions) -> Any:
    return np.asarray(one.fold)[by_id(one)]


def _metric(name: str, a: Scored, b: Scored) -> dict[str, Any]:
    difference, low, high = a.difference(b, name)
    said = reading(-high, -low) if name in LESS_IS_BETTER else reading(low, high)
    return {
        "metric": name,
        "a": list(a.figure(name)),
        "b": list(b.figure(name)),
        "difference": [difference, low, high],
        "reading": {"better": "A is better", "worse": "B is better"}.get(said, said),
    }


def _sizes(a: Scored, b: Scored, classes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Classes by their number of photos."""
    found = []
    for size in SIZES:
        mine = [one for one in classes if one["size"] == size]
        if not mine:
            continue
        found.append(
            {
                "size": size,
                "classes": len(mine),
                "photos": sum(one["photos"] for one in mine),
                "a_f1": float(a.samples[size][0]),
                "b_f1": float(b.samples[size][0]),
                "difference": list(a.difference(b, size)),
                "only_a": sum(one["only_a"] for one in mine),
                "only_b": sum(one["only_b"] for one in mine),
                "a_wins": sum(one["a_f1"] > one["b_f1"] for one in mine),
                "b_wins": sum(one["b_f1"] > one["a_f1"] for one in mine),
            }
        )
    return found


def _folder(workspace: Workspace, a: Run, b: Run, part: str) -> Path:
    name = f"{a.name}--{b.name}"
    if len(name.encode()) > LONGEST_NAME:
        name = f"{a.name[:80]}--{b.name[:80]}-{sha256(name.encode())[:6]}"
    folder = workspace.folder / "comparisons" / name
    return folder if part == "oof" else folder / part


def _metrics_table(metrics: Sequence[dict[str, Any]]) -> Table:
    rows = [
        [
            METRICS[m["metric"]],
            m["reading"],
            f"{m['a'][0]:.3f}",
            f"{m['b'][0]:.3f}",
            _signed(m["difference"]),
        ]
        for m in metrics
    ]
    return Table(["metric", "reading", "A", "B", "A - B"], rows, left=2)


def _sizes_table(sizes: Sequence[dict[str, Any]]) -> Table:
    header = [
        "classes with", "classes", "photos", "A's F1", "B's F1", "A - B", "only A right",
        "only B right", "F1 higher in A", "in B",
    ]  # fmt: skip
    rows = [
        [
            s["size"], f"{s['classes']:,}", f"{s['photos']:,}", f"{s['a_f1']:.3f}",
            f"{s['b_f1']:.3f}", _signed(s["difference"]), f"{s['only_a']:,}", f"{s['only_b']:,}",
            f"{s['a_wins']:,}", f"{s['b_wins']:,}",
        ]
        for s in sizes
    ]  # fmt: skip
    return Table(header, rows)


def _widest(classes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The classes with the most photos between the two."""
    differ = [one for one in classes if one["only_a"] != one["only_b"]]
    return sorted(differ, key=lambda one: -abs(one["only_a"] - one["only_b"]))[:MOST_CLASSES]


def _classes_table(classes: Sequence[dict[str, Any]]) -> Table:
    rows = [
        [
            one["class"], f"{one['photos']:,}", f"{one['a_recall']:.3f}", f"{one['b_recall']:.3f}",
            f"{one['only_a']:,}", f"{one['only_b']:,}", _p(one["p"]),
            _p(one["p_holm"]),
        ]
        for one in classes
    ]  # fmt: skip
    header = ["widest apart", "photos", "A finds", "B finds", "only A right", "only B right"]
    return Table([*header, "p", "p (Holm)"], rows)


def _signed(value: Sequence[float]) -> str:
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*value)
