"""The chapters on experiments beside the run: leak reports, learning curves, sweeps."""

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
    shown,
)
from classify.report_results import ranges_chart
from classify.report_source import Source, mapping, number_of, read_table, records, whole
from classify.report_sureness import notes_of
from embed.files import read_json
from embed.words import counted
from embed.workspace import slug

SWEEP_ROWS, SWEEP_DOTS = 60, 20
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


def sweeps(source: Source) -> Section | None:
    """The best configurations of each grid."""
    blocks: list[Block] = []
    for path in sorted(source.workspace.sweeps.glob("*/table.csv")):
        rows = read_table(path)
        if not rows:
            continue
        names = [_cell_name(row) for row in rows[:SWEEP_DOTS]]
        values = {"macro-F1": [_figure(row, "macro_f1") for row in rows[:SWEEP_DOTS]]}
        grid = path.parent.name
        blocks += [
            ranges_chart(
                f"sweep-{grid}-chart",
                f"Sweep {grid}: the best of {counted(len(rows), 'configuration')}",
                "out-of-fold macro-F1 (line: 95% interval)",
                names,
                values,
                f"The best is {names[0]}.",
            ),
            _sweep_table(grid, rows),
        ]
    return Section("sweeps", "Sweeps", blocks) if blocks else None


def _sweep_table(grid: str, rows: list[dict[str, str]]) -> ReportTable:
    columns = [
        Column("encoders"),
        Column("head"),
        Column("balance"),
        Column("photos", "share"),
        Column("macro-F1", "number"),
        Column("accuracy", "number"),
        Column("seeds", "count"),
        Column("spread over seeds", "number"),
    ]
    table: list[list[Value]] = [
        [
            row.get("encoders", ""),
            row.get("head", ""),
            row.get("balance", ""),
            number_of(row.get("fraction")),
            _figure(row, "macro_f1"),
            _figure(row, "accuracy"),
            whole(row.get("seeds")),
            number_of(row.get("macro_f1_spread")),
        ]
        for row in rows[:SWEEP_ROWS]
    ]
    more = len(rows) - len(table)
    note = (
        "Out of fold, means over the seeds. The best of many is a little too good by the choosing."
    )
    note += f" {more:,} more are in sweeps/{grid}/table.csv." if more else ""
    return ReportTable(f"sweep-{grid}", f"Sweep {grid}", columns, table, note, sortable=True)


def _cell_name(row: Mapping[str, str]) -> str:
    share = number_of(row.get("fraction"))
    parts = [row.get("encoders"), row.get("head"), row.get("balance"), shown(share, "share")]
    return ", ".join(part for part in parts if part)


def _figure(row: Mapping[str, str], name: str) -> Any:
    value, low, high = (number_of(row.get(key)) for key in (name, f"{name}_low", f"{name}_high"))
    return None if value is None else (value, low, high)


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
