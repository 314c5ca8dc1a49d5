"""The chapter on ranks: how good from the coarsest to the label, and how far off errors are."""

from collections.abc import Mapping
from typing import Any

from classify.report_blocks import (
    Block,
    Column,
    Facts,
    ReportTable,
    Section,
    Sentences,
    Value,
    as_figure,
    in_per_cent,
    shown,
)
from classify.report_results import ranges_chart
from classify.report_source import Source, lines, mapping, number_of, records, whole


def ranks(source: Source) -> Section | None:
    """From the coarsest rank to the label."""
    found = source.read("ranks.json")
    rows = records(found.get("ranks"))
    if not rows:
        return None
    names = [str(row.get("rank")) for row in rows]
    table: list[list[Value]] = [
        [
            name,
            whole(row.get("classes")),
            whole(row.get("photos")),
            *(
                as_figure(row.get(key))
                for key in ("accuracy", "macro_f1", "balanced_accuracy", "log_loss")
            ),
        ]
        for name, row in zip(names, rows, strict=True)
    ]
    columns = [
        Column("rank"),
        Column("taxa", "count"),
        Column("photos", "count"),
        Column("accuracy", "number"),
        Column("macro-F1", "number"),
        Column("balanced accuracy", "number"),
        Column("log-loss", "number"),
    ]
    values = {
        title: [as_figure(row.get(key)) for row in rows]
        for key, title in (("accuracy", "accuracy"), ("macro_f1", "macro-F1"))
    }
    says = "; ".join(
        f"{name}: accuracy {in_per_cent(one)}"
        for name, one in zip(names, values["accuracy"], strict=True)
    )
    blocks: list[Block] = [
        ranges_chart(
            "ranks-chart", "How good at each rank", "(line: 95% interval)", names, values, says
        ),
        ReportTable(
            "ranks",
            "Per rank",
            columns,
            table,
            "The probability of a taxon is the sum over the classes in it.",
        ),
        *_confident(found),
        *_severity(found),
    ]
    if notes := lines(found.get("notes")):
        blocks.append(Sentences(notes, bullets=True))
    return Section("ranks", "Rank by rank", blocks)


def _confident(found: Mapping[str, Any]) -> list[Block]:
    """Answers at the finest rank that is sure enough."""
    one = mapping(found.get("confident"))
    rows = records(one.get("answers"))
    if not rows:
        return []
    threshold = shown(number_of(one.get("threshold")), "share")
    table: list[list[Value]] = []
    for row in rows:
        n, right = whole(row.get("photos")), whole(row.get("right"))
        share = right / n if n and right is not None and row.get("rank") != "none" else None
        table.append([str(row.get("rank")), n, right, share])
    correct = as_figure(one.get("correct"))
    said = f"Of these answers {in_per_cent(correct)} are right. " if correct else ""
    return [
        ReportTable(
            "confident",
            f"Answers at the finest rank with a probability of at least {threshold}",
            [
                Column("answered at"),
                Column("photos", "count"),
                Column("right", "count"),
                Column("share right", "share"),
            ],
            table,
            f"{said}none: no rank was sure enough.",
        )
    ]


def _severity(found: Mapping[str, Any]) -> list[Block]:
    hierarchical, severity = mapping(found.get("hierarchical")), mapping(found.get("severity"))
    pairs = [
        (f"Hierarchical {name}", in_per_cent(value))
        for name, key in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"))
        if (value := as_figure(hierarchical.get(key)))
    ]
    steps = whole(severity.get("steps"))
    of = f", of {steps} ranks" if steps else ", in ranks"
    for title, key in (
        (f"An error is off by{of}", "average_mistake"),
        (f"All answers are off by{of}", "mean_distance"),
    ):
        if value := as_figure(severity.get(key)):
            pairs.append((title, shown(value, "number")))
    if shares := mapping(severity.get("errors_by_common_ancestor")):
        words = ", ".join(f"{name} {whole(n)}" for name, n in shares.items())
        pairs.append(("Errors by the finest rank that is right", words))
    if value := as_figure(found.get("inconsistent")):
        pairs.append(("Answers per rank that contradict each other", in_per_cent(value)))
    return [Facts(pairs)] if pairs else []
