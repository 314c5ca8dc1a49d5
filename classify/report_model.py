"""The chapters on the model and its encoders, its limits, and how to cite it."""

import html
import re

from classify.report_blocks import Column, Facts, ReportTable, Section, Sentences, Value
from classify.report_source import Source, mapping
from embed.encoder_facts import facts_of

_ESCAPED = re.compile(r"\\([\\`*\[\]~#@$^=_:.])")  # as classify.markdown.plain escapes


def model(source: Source) -> Section:
    """The model card's facts, and each encoder's."""
    specs = source.run.specs
    columns = [
        Column("encoder"),
        Column("architecture"),
        Column("numbers", "count"),
        Column("pooling"),
        Column("precision"),
        Column("digest of the weights"),
    ]
    rows: list[list[Value]] = [
        [spec.name, spec.architecture, spec.dim, spec.pooling, spec.precision, spec.weights[:16]]
        for spec in specs
    ]
    known = [
        pair
        for spec, one in ((spec, facts_of(spec)) for spec in specs)
        for pair in (
            (f"{spec.name}: licence", one.licence),
            (f"{spec.name}: seen in training", one.seen),
        )
    ]
    return Section(
        "model",
        "Model and encoder",
        [
            Sentences(_card_bullets(source, "What it is"), bullets=True),
            ReportTable("encoders", "Encoders", columns, rows),
            Facts(known),
        ],
    )


def limits(source: Source) -> Section:
    """Where it ends."""
    return Section("limits", "Limits", [Sentences(_card_bullets(source, "Limits"), bullets=True)])


def cite(source: Source) -> Section:
    """What to name in a text that uses these figures."""
    facts = source.run.provenance
    versions = mapping(facts.get("versions"))
    own = (
        f"familia {versions.get('familia', '')}".strip()
        + f", run {source.run.name}, data {facts['data']}"
    )
    encoders = [facts_of(spec).cite for spec in source.run.specs]
    used = ", ".join(f"{name} {value}" for name, value in versions.items() if name != "machine")
    return Section(
        "cite",
        "How to cite",
        [
            Sentences([line for line in dict.fromkeys([own, *encoders]) if line], bullets=True),
            *([Facts([("Made with", used)])] if used else []),
        ],
    )


def _card_bullets(source: Source, heading: str) -> list[str]:
    """The list under a heading of the model card, as plain text."""
    card = source.card
    part = card.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [_plain(line[2:]) for line in part.splitlines() if line.startswith("- ")]


def _plain(markdown: str) -> str:
    return _ESCAPED.sub(r"\1", html.unescape(markdown))
