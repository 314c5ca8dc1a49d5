"""The chapter on what `cli inspect` saw in the photos before anything was fitted."""

from collections.abc import Mapping
from typing import Any

from classify.report_blocks import Block, Facts, Section, Sentences
from classify.report_source import Source, mapping, read_mapping, records, whole
from classify.report_sureness import notes_of
from embed.words import counted

MOST_CONTRADICTIONS = 10


def inspection(source: Source) -> Section | None:
    """Files, copies, doubtful labels and contradictions, each in a line."""
    found = read_mapping(source.workspace.folder / "inspect" / "inspect.json")
    files, copies = mapping(found.get("files")), mapping(found.get("near_duplicates"))
    pairs = [
        ("Formats", _counts(mapping(files.get("formats")))),
        ("Width in pixels", _span(files.get("width"))),
        ("Height in pixels", _span(files.get("height"))),
        *(
            (title, _photos(files.get(key)))
            for title, key in (
                ("Without colour", "grey"),
                ("Nearly one tone", "blank"),
                ("Smaller than the encoder's square", "narrow"),
                ("Not to be read now", "unreadable"),
            )
        ),
        ("Copies", _copies(copies)),
        ("Doubtful labels", _doubts(mapping(found.get("doubts")))),
        ("That may show no organism", _photos(found.get("no_organism"))),
        ("Left out by `cli embed`", _photos(found.get("left_out"))),
        ("Without a label", _photos(found.get("unlabelled"))),
    ]
    shown = [(title, words) for title, words in pairs if words]
    wrong = [str(one.get("what")) for one in records(found.get("inconsistencies"))]
    if len(wrong) > MOST_CONTRADICTIONS:
        more = len(wrong) - MOST_CONTRADICTIONS
        wrong = [*wrong[:MOST_CONTRADICTIONS], f"{more:,} more contradictions: inspect.json"]
    blocks: list[Block] = [
        *([Facts(shown)] if shown else []),
        *([Sentences(wrong, bullets=True)] if wrong else []),
        *notes_of(found),
    ]
    return Section("inspection", "A look at the photos", blocks) if blocks else None


def _copies(found: Mapping[str, Any]) -> str:
    kinds = {name: whole(found.get(name)) for name in ("exact", "near", "maybe")}
    if all(n is None for n in kinds.values()):
        return ""
    said = ", ".join(f"{n:,} {name}" for name, n in kinds.items() if n is not None)
    for key, words in (
        ("across_classes", "under two labels"),
        ("across_split", "across the split"),
    ):
        if n := whole(found.get(key)):
            said += f"; {n:,} {words}"
    return f"pairs: {said}"


def _doubts(found: Mapping[str, Any]) -> str:
    judged, doubted = whole(found.get("judged")), whole(found.get("doubted"))
    if judged is None or doubted is None:
        return ""
    wrong = whole(found.get("roughly_wrong"))
    said = f"{doubted:,} of {judged:,} judged look more like another class"
    return said + (f"; roughly {wrong:,} may be wrong" if wrong is not None else "")


def _photos(value: Any) -> str:
    n = whole(value)
    return counted(n, "photo") if n else ""


def _counts(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {n:,}" for name, value in found.items() if (n := whole(value)))


def _span(value: Any) -> str:
    low, middle, high = (whole(mapping(value).get(key)) for key in ("min", "median", "max"))
    if low is None or middle is None or high is None:
        return ""
    return f"{low:,} to {high:,}, median {middle:,}"
