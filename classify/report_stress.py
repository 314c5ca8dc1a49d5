"""The chapters on what it was not trained for: classes it never saw, and worse photos."""

from collections.abc import Mapping, Sequence
from typing import Any

from classify.report_blocks import (
    Block,
    Column,
    Evidence,
    Gallery,
    ReportTable,
    Section,
    Sentences,
    Value,
    as_figure,
    as_number,
    shown,
)
from classify.report_results import ranges_chart
from classify.report_source import Source, mapping, records, whole
from classify.report_sureness import notes_of

SCORES = {
    "max_probability": "highest probability",
    "max_logit": "highest logit",
    "energy": "energy",
    "knn": "distance to the nearest training photos",
}


def unknown(source: Source) -> Section | None:
    """How well "none of these" is told."""
    found = source.read("unknown.json")
    scores = mapping(found.get("scores"))
    if not scores:
        return None
    rows: list[list[Value]] = [
        [
            SCORES.get(name, name),
            as_figure(mapping(one).get("auroc")),
            as_figure(mapping(one).get("fpr95")),
        ]
        for name, one in scores.items()
    ]
    best = next((i for i, name in enumerate(scores) if name == found.get("best")), None)
    rounds = [group for group in found.get("left_out") or [] if isinstance(group, list)]
    classes = source.classes_word
    said = (
        f"In {len(rounds)} rounds some {classes} were left out of the training and shown "
        "afterwards as strangers."
        if rounds
        else f"Some {classes} were left out of the training and shown afterwards as strangers."
    )
    columns = [
        Column("score"),
        Column("AUROC", "number"),
        Column("strangers that pass where 95% of the known do", "share"),
    ]
    names = [str(row[0]) for row in rows]
    values = {"AUROC": [as_figure(mapping(one).get("auroc")) for one in scores.values()]}
    blocks: list[Block] = [
        Sentences([said, *([str(found["rule"])] if found.get("rule") else [])]),
        ranges_chart(
            "unknown-chart",
            "Telling strangers from the known",
            "AUROC: 0.5 is a coin, 1 is perfect (line: 95% interval)",
            names,
            values,
            f"The best score is {SCORES.get(str(found.get('best')), 'unknown')}.",
        ),
        ReportTable(
            "unknown",
            f"Photos of {classes} that it never saw",
            columns,
            rows,
            marked=frozenset() if best is None else frozenset({best}),
        ),
        *notes_of(found),
    ]
    return Section("unknown", "None of these", blocks)


def robustness(source: Source) -> Section | None:
    """The same photos, made worse."""
    found = source.read("robustness.json")
    worse = records(found.get("perturbations"))
    if not worse:
        return None
    rows: list[list[Value]] = []
    for one in worse:
        now, change = mapping(one.get("figures")), mapping(one.get("difference"))
        rows.append(
            [
                str(one.get("name")),
                str(one.get("what") or ""),
                *(as_figure(now.get(key)) for key in ("accuracy", "macro_f1")),
                *(as_figure(change.get(key)) for key in ("accuracy", "macro_f1")),
                as_number(one.get("agreement")),
            ]
        )
    columns = [
        Column("photos made"),
        Column("that is"),
        Column("accuracy", "number"),
        Column("macro-F1", "number"),
        Column("change of accuracy", "number"),
        Column("change of macro-F1", "number"),
        Column("same answer", "share"),
    ]
    names = [str(one.get("name")) for one in worse]
    values = {
        title: [as_figure(mapping(one.get("difference")).get(key)) for one in worse]
        for key, title in (("accuracy", "accuracy"), ("macro_f1", "macro-F1"))
    }
    blocks: list[Block] = [
        ranges_chart(
            "robustness-chart",
            "What worse photos cost",
            "change against the photos as they are (line: 95% interval)",
            names,
            values,
            "; ".join(f"{row[0]}: accuracy {shown(row[4], 'number')}" for row in rows),
        ),
        ReportTable("robustness", "Figures on worse photos", columns, rows),
        *_losers(worse),
        *_changed(source, worse),
        *notes_of(found),
    ]
    return Section("robustness", "Worse photos", blocks)


def _losers(worse: Sequence[Mapping[str, Any]]) -> list[Block]:
    """The classes that lose most."""
    said = []
    for one in worse:
        classes = [
            f"{row.get('class')} ({whole(row.get('right_before'))} to "
            f"{whole(row.get('right_after'))} of {whole(row.get('n'))} right)"
            for row in records(one.get("classes"))
        ]
        if classes:
            said.append(f"{one.get('name')} costs most in {', '.join(classes)}")
    return [Sentences(said, bullets=True)] if said else []


def _changed(source: Source, worse: Sequence[Mapping[str, Any]]) -> list[Block]:
    items = [
        Evidence(
            source.photo(
                example,
                caption=f"{one.get('name')}: {example.get('before')} → {example.get('after')}",
            )
        )
        for one in worse
        for example in records(one.get("examples"))
    ]
    note = "As they are; the answer before and after the photo was made worse."
    return [Gallery("changed", "Photos whose answer changed", items, note)] if items else []
