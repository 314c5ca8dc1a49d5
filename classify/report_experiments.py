"""The chapters on experiments beside the run: leak reports, learning curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classify.report_blocks import (
    Block,
    Chart,
    Column,
    ReportTable,
    Section,
    Sentences,
    Series,
    Value,
    as_figure,
    as_number,
)
from classify.report_results import ranges_chart
from classify.report_source import Source, mapping, records, whole
from classify.report_sureness import notes_of
from embed.files import read_json
from embed.workspace import slug

NAMED = 12  # classes in a sentence


def leaks(source: Source) -> Section | None:
    """The random beside the group-held-out figure."""
    blocks: list[Block] = []
    for name, found in _each(source.workspace.folder / "leaks"):
        by = str(found.get("by"))
        titles = {"random": "split at random", "held_out": f"{by} held out"}
        rows: list[list[Value]] = [
            [title, *(as_figure(mapping(found.get(key)).get(m)) for m in ("macro_f1", "accuracy"))]
            for key, title in (titles | {"difference": "difference"}).items()
        ]
        says = str(found.get("sentence") or "")
        missing = found.get("not_testable")
        shy = [_not_testable(missing)] if isinstance(missing, list) and missing else []
        columns = [Column("how"), Column("macro-F1", "number"), Column("accuracy", "number")]
        about = f"Head {found.get('head')}, {whole(found.get('photos')) or 0:,} photos of "
        about += f"{whole(found.get('testable')) or 0:,} testable classes."
        values = {
            "macro-F1": [as_figure(mapping(found.get(key)).get("macro_f1")) for key in titles],
            "accuracy": [as_figure(mapping(found.get(key)).get("accuracy")) for key in titles],
        }
        blocks += [
            *([Sentences([says])] if says else []),
            ranges_chart(
                f"leak-{name}-chart",
                f"At random against {by} held out",
                "(line: 95% interval)",
                list(titles.values()),
                values,
                says,
            ),
            ReportTable(f"leak-{name}", f"Leak report by {by}", columns, rows, about),
            *([Sentences(shy)] if shy else []),
            *_other_data(source, found),
            *notes_of(found),
        ]
    return Section("leaks", "Leak report", blocks) if blocks else None


def curves(source: Source) -> Section | None:
    """Whether more photos would help."""
    blocks: list[Block] = []
    for name, found in _each(source.workspace.folder / "curves"):
        points = [one for one in records(found.get("points")) if as_number(one.get("photos"))]
        if not points:
            continue
        says = str(found.get("sentence") or "")
        series = [
            _line(title, points, key)
            for title, key in (("macro-F1", "macro_f1"), ("accuracy", "accuracy"))
        ]
        rows: list[list[Value]] = [
            [
                "all" if (n := whole(one.get("photos_per_class"))) is None else f"{n:,}",
                whole(one.get("photos")),
                whole(one.get("classes")),
                as_figure(one.get("macro_f1")),
                as_figure(one.get("accuracy")),
            ]
            for one in points
        ]
        columns = [
            Column("photos of a class, at most"),
            Column("photos", "count"),
            Column("classes", "count"),
            Column("macro-F1", "number"),
            Column("accuracy", "number"),
        ]
        encoders = ", ".join(map(str, found.get("encoders") or []))
        blocks += [
            *([Sentences([says])] if says else []),
            Chart(
                f"curve-{name}-chart",
                "Learning curve",
                "lines",
                "training photos",
                "figure (bars: 95% interval)",
                series,
                says or "More photos to the right.",
                log_x=True,
            ),
            ReportTable(
                f"curve-{name}",
                f"Learning curve of {found.get('head')}" + f" on {encoders}" * bool(encoders),
                columns,
                rows,
            ),
            *_other_data(source, found),
            *notes_of(found),
        ]
    return Section("curves", "Learning curve", blocks) if blocks else None


def _line(name: str, points: list[dict[str, Any]], key: str) -> Series:
    found = [as_figure(one.get(key)) or (None, None, None) for one in points]
    middle, low, high = ([one[i] for one in found] for i in range(3))
    return Series(name, [float(one["photos"]) for one in points], middle, low, high)


def _not_testable(names: list[Any]) -> str:
    shown = ", ".join(map(str, names[:NAMED]))
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"Not testable, having one group only: {shown}{more}."


def _other_data(source: Source, found: Mapping[str, Any]) -> list[Block]:
    """A warning where the experiment had other training photos than the run."""
    if found.get("data") in (None, source.run.provenance["data"]):
        return []
    return [Sentences([f"Made on other training photos ({found['data']}) than this run."])]


def _each(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """(name for an anchor, object) of the JSON files in a folder."""
    return [(slug(path.stem), mapping(read_json(path))) for path in sorted(folder.glob("*.json"))]
