"""The chapter on how far to trust an answer: calibration, fewer answers, sets of classes."""

from collections.abc import Mapping, Sequence
from typing import Any

from classify.report_blocks import (
    Block,
    Chart,
    Column,
    Facts,
    ReportTable,
    Section,
    Sentences,
    Series,
    Value,
    as_figure,
    as_number,
    shown,
)
from classify.report_source import Source, lines, mapping, records, whole

METHODS = {
    "none": "as they come",
    "temperature": "temperature",
    "vector": "vector scaling",
    "isotonic": "isotonic",
    "lac": "LAC: the smallest sets",
    "aps": "APS: larger where unsure",
    "class": "class by class",
}


def calibration(source: Source) -> Section | None:
    """Whether 90% means 90%, and what one gains by answering only when sure."""
    found = source.read("calibration.json")
    blocks = [
        *_methods(found),
        *_reliability(found),
        *_risk(found),
        *_conformal(found, source.classes_word),
        *notes_of(found),
    ]
    return Section("calibration", "How sure it may be", blocks) if blocks else None


def _methods(found: Mapping[str, Any]) -> list[Block]:
    rows: list[list[Value]] = []
    marked, skipped = set(), []
    for name, one in mapping(found.get("methods")).items():
        values = mapping(one)
        figures = [as_figure(values.get(key)) for key in ("log_loss", "brier", "ece", "macro_f1")]
        if values.get("skipped"):
            skipped.append(f"{METHODS.get(name, name)}: {values['skipped']}")
            continue
        rows.append([METHODS.get(name, name), *figures])
        if name == found.get("best"):
            marked.add(len(rows) - 1)
    if not rows:
        return []
    columns = [
        Column("probabilities"),
        Column("log-loss", "number"),
        Column("Brier score", "number"),
        Column("calibration error", "number"),
        Column("macro-F1", "number"),
    ]
    note = (
        "Fitted on the out-of-fold predictions of the training photos, judged here. Of the first "
        "three less is better. The marked row was chosen out of fold."
    )
    note += f" Skipped: {'; '.join(skipped)}." if skipped else ""
    return [
        ReportTable("calibration", "Recalibrated", columns, rows, note, marked=frozenset(marked))
    ]


def _reliability(found: Mapping[str, Any]) -> list[Block]:
    series = [
        _bins(name, records(found.get(key)))
        for name, key in (
            ("as they come", "reliability"),
            (METHODS.get(str(found.get("best")), "recalibrated"), "reliability_calibrated"),
        )
        if records(found.get(key)) and not (key != "reliability" and found.get("best") == "none")
    ]
    if not series:
        return []
    widest = [
        f"said {x:.0%}, right {y:.0%}"
        for x, y in zip(series[0].x, series[0].y, strict=True)
        if isinstance(x, float) and y is not None
    ]
    return [
        Chart(
            "reliability",
            "Reliability: is it right as often as it says?",
            "reliability",
            "probability that it says",
            "share that is right",
            series,
            "Above the diagonal it is too modest, below too sure. " + "; ".join(widest) + ".",
        )
    ]


def _bins(name: str, rows: Sequence[Mapping[str, Any]]) -> Series:
    kept = [row for row in rows if as_number(row.get("confidence")) is not None]
    column = {
        key: [as_number(row.get(key)) for row in kept]
        for key in ("accuracy", "accuracy_low", "accuracy_high")
    }
    return Series(
        name,
        [float(row["confidence"]) for row in kept],
        column["accuracy"],
        column["accuracy_low"],
        column["accuracy_high"],
        [whole(row.get("n")) or 0 for row in kept],
    )


def _risk(found: Mapping[str, Any]) -> list[Block]:
    one = mapping(found.get("risk_coverage"))
    coverage, risk = one.get("coverage"), one.get("risk")
    blocks: list[Block] = []
    if isinstance(coverage, list) and isinstance(risk, list) and len(coverage) == len(risk):
        points = [(float(x), as_number(y)) for x, y in zip(coverage, risk, strict=True)]
        series = Series("errors", [x for x, _ in points], [y for _, y in points])
        area = shown(as_figure(one.get("aurc")), "number")
        blocks.append(
            Chart(
                "risk-coverage",
                "Fewer answers, fewer errors",
                "lines",
                "share of the photos that get an answer",
                "share of these answers that are wrong",
                [series],
                f"Area under the curve {area}." if area else "Risk over coverage.",
            )
        )
    rows: list[list[Value]] = [
        [
            as_number(row.get("coverage")),
            as_figure(row.get("answered")),
            as_figure(row.get("risk")),
            as_number(row.get("threshold")),
        ]
        for row in records(one.get("at"))
    ]
    if rows:
        columns = [
            Column("wanted", "share"),
            Column("answered", "share"),
            Column("wrong", "share"),
            Column("from a probability of", "number"),
        ]
        blocks.append(ReportTable("risk", "Answering the surest photos only", columns, rows))
    facts = [
        (title, shown(value, "number"))
        for title, key in (
            ("Area under the risk-coverage curve (less is better)", "aurc"),
            ("AUROC of confidence (1: every error is less sure than every right answer)", "auroc"),
        )
        if (value := as_figure(one.get(key)))
    ]
    return blocks + ([Facts(facts)] if facts else [])


def _conformal(found: Mapping[str, Any], classes: str) -> list[Block]:
    rows: list[list[Value]] = []
    for one in records(found.get("conformal")):
        worst = mapping(one.get("worst_class"))
        name = str(one.get("method"))
        rows.append(
            [
                METHODS.get(name, name),
                as_number(one.get("level")),
                as_figure(one.get("coverage")),
                as_figure(one.get("mean_size")),
                whole(one.get("median_size")),
                as_number(one.get("singletons")),
                as_number(one.get("empty")),
                _worst_class(worst),
            ]
        )
    if not rows:
        return []
    columns = [
        Column("sets"),
        Column("wanted", "share"),
        Column("hold the truth", "share"),
        Column(f"{classes} in a set", "number"),
        Column("median", "count"),
        Column("of one", "share"),
        Column("empty", "share"),
        Column("worst class"),
    ]
    note = (
        f"Conformal sets: instead of one answer, as many {classes} as it takes to hold the truth "
        "as often as wanted, for photos like those of the training."
    )
    return [ReportTable("conformal", "Sets that hold the truth", columns, rows, note)]


def _worst_class(worst: Mapping[str, Any]) -> str:
    if not worst.get("class"):
        return ""
    share = shown(as_number(worst.get("coverage")), "share")
    return f"{worst['class']} ({share} of {whole(worst.get('n')) or 0})"


def notes_of(found: Mapping[str, Any]) -> list[Block]:
    """What the makers of the file noted."""
    notes = lines(found.get("notes"))
    return [Sentences(notes, bullets=True)] if notes else []
