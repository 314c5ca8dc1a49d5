"""The chapters on the study: what was done, the data and the split."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from classify.model_card import IN_WORDS
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
)
from classify.report_source import (
    Source,
    mapping,
    read_mapping,
    read_table,
)
from classify.report_sureness import notes_of
from embed.words import counted

SIDES = ("train", "val", "test")
NAMED = 12  # classes in a sentence


def done(source: Source) -> Section:
    """Which model, fitted how and when, tested on what."""
    config, facts = source.config, source.run.provenance
    head = f"{config.head}: {IN_WORDS.get(config.head, 'a head of its own')}"
    options = {"balance": config.balance, **config.options}
    versions = mapping(facts.get("versions"))
    pairs = [
        ("Question", f"Which {config.label} does a photo show?"),
        ("Run", source.run.name),
        ("Head", head + (f" ({', '.join(config.members)})" if config.members else "")),
        ("Encoders (frozen)", ", ".join(config.encoders)),
        ("Settings", ", ".join(f"{name} {value}" for name, value in options.items())),
        ("Columns beside the photo", ", ".join(config.columns)),
        ("Photos left out by", Path(config.exclude).name),
        ("Other labels from", Path(config.relabel).name),
        ("Fitted on", counted(facts["photos"], "training photo")),
        ("Tested on", counted(len(source.truth), f"{source.part} photo") if source.truth else ""),
        ("Chosen and tuned on", f"{config.folds} folds of the training photos, seed {config.seed}"),
        ("Fitted", _day(source.run.folder / "config.json")),
        ("Tested", _day(source.folder / "metrics.json")),
        ("Program", f"familia {versions.get('familia', '')}".strip()),
        ("Digest of the data", str(facts["data"])),
        ("To do it again", f"`{config.command}`, then `cli evaluate {source.run.name}`"),
    ]
    return Section("done", "What was done", [Facts([(k, v) for k, v in pairs if v])])


def _day(path: Path) -> str:
    if not path.exists():
        return ""
    return datetime.fromtimestamp(path.stat().st_mtime, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def data(source: Source) -> Section | None:
    """How many photos, and how unequal the classes are."""
    label = source.config.label
    labels = [row.get(label) for row in source.rows.values()]
    counts = Counter(str(value) for value in labels if isinstance(value, str))
    if not counts:
        return None
    ordered = counts.most_common()
    (largest, most), (smallest, least) = ordered[0], ordered[-1]
    median = sorted(counts.values())[len(counts) // 2]
    facts = [
        ("Photos", f"{len(labels):,}"),
        (f"With a {label}", f"{sum(counts.values()):,}"),
        (source.classes_word.capitalize(), f"{len(counts):,}"),
        ("Largest", f"{largest}, {counted(most, 'photo')}"),
        ("Median", counted(median, "photo")),
        ("Smallest", f"{smallest}, {counted(least, 'photo')}"),
        ("Largest by smallest", f"{most / least:,.0f} : 1"),
    ]
    places = [i + 1 for i in range(len(ordered))]
    chart = Chart(
        "class-sizes",
        "Photos of each class, largest first",
        "lines",
        source.classes_word,
        "photos",
        [Series("photos", places, [n for _, n in ordered])],
        f"From {most:,} photos of {largest} down to {least:,} of {smallest}.",
    )
    return Section("data", "Data", [Facts(facts), chart])


def split(source: Source) -> Section | None:
    """Who trained and who was tested."""
    path = source.workspace.split(source.config.split)
    rows = read_table(path)
    if not rows:
        return None
    about = read_mapping(path.with_suffix(".json"))
    label = source.config.label
    table: list[list[Value]] = []
    for side in SIDES:
        mine = [row for row in rows if row["split"] == side]
        labels = {source.rows.get(row["id"], {}).get(label) for row in mine} - {None}
        groups = {row["group"] for row in mine}
        if mine:
            table.append([side, len(mine), len(mine) / len(rows), len(labels) or None, len(groups)])
    columns = [
        Column("side"),
        Column("photos", "count"),
        Column("share", "share"),
        Column(source.classes_word, "count"),
        Column("groups", "count"),
    ]
    note = f"Split {source.config.split}, seed {about.get('seed')}." if about else ""
    blocks: list[Block] = [
        Sentences([split_sentence(source)]),
        ReportTable("split", "Sides of the split", columns, table, note),
        *_not_testable(about),
        *notes_of(about),
    ]
    return Section("split", "Split", blocks)


def _not_testable(about: Mapping[str, Any]) -> list[Block]:
    names = [str(name) for name in about.get("not_testable") or []]
    if not names:
        return []
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return [Sentences([f"Not to be tested by this rule: {', '.join(names[:NAMED])}{more}."])]


def split_sentence(source: Source) -> str:
    """What the split asks of the model, from what made it."""
    path = source.workspace.split(source.config.split).with_suffix(".json")
    about = read_mapping(path)
    by, question, rule = about.get("by"), about.get("question"), mapping(about.get("rule"))
    random = not (by or rule.get("after") or about.get("seed") is None)
    if question:
        said = f"The test asks: {question}"
        return f"{said} Other places, cameras or species may give worse figures." * random or said
    if by:
        return (
            f"No {by} is on both sides: the figures say what to expect of photos of another {by} "
            "than those trained on."
        )
    if not random:
        return "The sides of the split were given, and taken as they are."
    return (
        "The sides were drawn at random (copies of one photo together): the figures hold for more "
        "photos of the same kinds, places and cameras, and other ones may give worse figures."
    )
