"""What of a report goes into some five pages: a choice, an order and the words between."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from classify.report_blocks import (
    Chart,
    Matrix,
    ReportData,
    ReportTable,
    Sentences,
    Value,
)
from classify.report_figures import MOST_LABELS
from classify.report_grid import ALL, MOST_ROWS, Grid, grid, value_of
from classify.report_methods import facts_of, methods, references

MOST_DOTS = 8  # names of a chart; the CSV files have all
WORST, BEST = 8, 4  # classes
_AXIS = re.compile(r" *\((line|bars): 95% interval\)$")


@dataclass(frozen=True)
class Picture:
    """A chart or a matrix, and what is said below it."""

    block: Chart | Matrix
    caption: str


@dataclass(frozen=True)
class Facing:
    """Names with what is said of each."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Beside:
    """Columns that stand side by side where the form can; `left` is the share of the first."""

    columns: Sequence[Sequence[Grid | Picture]]
    left: float = 0.5


Part = Sentences | Grid | Picture | Facing | Beside


@dataclass(frozen=True)
class PaperSection:
    title: str
    parts: Sequence[Part]
    sub: bool = False  # of the section before it


@dataclass(frozen=True)
class Paper:
    """A report of some five pages."""

    title: str
    subtitle: str
    abstract: Sequence[str]
    sections: Sequence[PaperSection]
    references: Sequence[str] = field(default=())

    @property
    def pictures(self) -> list[Chart | Matrix]:
        """In order."""
        parts = [part for section in self.sections for part in section.parts]
        columns = [col for part in parts if isinstance(part, Beside) for col in part.columns]
        flat = [*parts, *(part for column in columns for part in column)]
        return [part.block for part in flat if isinstance(part, Picture)]


def make_paper(data: ReportData) -> Paper:
    """Choose and order; nothing is computed but the order of the classes by their F1."""
    text = methods(data)
    results = [
        PaperSection(title, parts, sub=True)
        for title, parts in (
            ("Figures", [*_grids(data, "figures", ["what it is"], 20), *_grids(data, "sizes")]),
            ("Run beside run, rank by rank", _runs(data)),
            ("Best and worst classes", _classes(data)),
            ("What is taken for what", _confusions(data)),
            ("How sure it may be", _sureness(data)),
            ("Strangers and worse photos", _stress(data)),
            ("Leak report, learning curve and sweeps", _experiments(data)),
        )
        if parts
    ]
    sections = [
        PaperSection("Data and split", _data(data)),
        PaperSection("Methods", [Sentences(text)]),
        PaperSection("Results", []),
        *results,
        PaperSection("Limits", _limits(data)),
        PaperSection("To cite and to repeat it", _cite(data)),
    ]
    done = facts_of(data, "done")
    subtitle = ", ".join(
        part
        for part in (f"Run {data.about.get('run', '')}", f"tested {done.get('Tested', '')}")
        if not part.endswith(" ")
    )
    return Paper(data.title, subtitle, data.headline, sections, references(text, data))


def _data(data: ReportData) -> list[Part]:
    facts = facts_of(data, "data")
    said = "; ".join(f"{name}: {value}" for name, value in facts.items())
    looked = facts_of(data, "inspection")
    seen = "; ".join(f"{name}: {value}" for name, value in looked.items())
    found = _texts(data, "split")
    return [
        Sentences([f"{line}." for line in (said, seen) if line] + found[:1]),
        *_beside(_grids(data, "split"), _charts(data, "class-sizes")),
        *_bullets(found[1:]),
    ]


def _board(data: ReportData) -> list[Part]:
    """The leaderboard; a tie is marked at the run's name."""
    table = _table(data, "leaderboard")
    if table is None:
        return []
    names = [column.name for column in table.columns]
    standing = names.index("standing")
    drop = ["standing", "ms a photo", *(name for name in names if name.endswith(" accuracy"))]
    ties = {i for i, row in enumerate(table.rows) if row[standing] == "tie"}
    part = data.about.get("part", "test")
    note = "†: its difference to the best may be chance (the paired interval includes 0). "
    note = note * bool(ties) + (
        f"Out of fold but for the column called {part}. P(best): share of the bootstrap's draws in "
        "which the run is the best. Choose by the out-of-fold figures: the best of several "
        f"{part} figures is too good by the choosing."
    )
    board = replace(table, note=note, marked=frozenset())
    return [grid(board, drop, marks=dict.fromkeys(ties, " †"))]


def _runs(data: ReportData) -> list[Part]:
    facts = "; ".join(f"{name}: {value}" for name, value in facts_of(data, "ranks").items())
    return [
        *_board(data),
        *_beside(
            _charts(data, "leaderboard-chart"),
            [*_charts(data, "ranks-chart"), *_grids(data, "confident")],
        ),
        *_grids(data, "ranks", drop=["balanced accuracy"]),
        *([Sentences([f"{facts}."])] if facts else []),
    ]


def _classes(data: ReportData) -> list[Part]:
    table = _table(data, "classes")
    if table is None:
        return []
    f1 = [column.name for column in table.columns].index("F1")
    order = sorted(table.rows, key=lambda row: (value_of(row[f1]), str(row[0])))
    rest = len(order) - WORST - BEST
    if rest <= 0:
        return [grid(replace(table, title="Every class, the lowest F1 first", rows=order))]
    chosen = replace(
        table,
        title=f"The {WORST} classes with the lowest F1 and {BEST} with the highest",
        rows=[*order[:WORST], *order[-BEST:]],
        note=f"{rest:,} classes lie between: {ALL}. precision: of the answers with this name, how "
        "many are right. In brackets 95% intervals: with few photos they are wide.",
    )
    drop = ["answered", "in top 5", "size"]
    return [replace(grid(chosen, drop, most=WORST + BEST), breaks=frozenset({WORST}))]


def _confusions(data: ReportData) -> list[Part]:
    matrix = [Picture(one, _matrix_caption(one)) for one in data.blocks(Matrix)[:1]]
    pairs = [
        replace(one, title="The most frequent confusions")
        for one in _grids(data, "pairs", ["share"], most=2 * MOST_ROWS)
    ]
    return _beside(matrix, pairs, left=0.64)


def _matrix_caption(matrix: Matrix) -> str:
    numbered = " Numbers are places in that order." * (len(matrix.classes) > MOST_LABELS)
    return (
        f"{_stop(matrix.title)} {matrix.note} Blue is right, orange wrong; the stronger, the "
        f"larger the share of the row.{numbered}"
    )


def _sureness(data: ReportData) -> list[Part]:
    facts = facts_of(data, "calibration")
    said = [f"{'; '.join(f'{name}: {value}' for name, value in facts.items())}."] if facts else []
    return [
        *_grids(data, "calibration"),
        *_grids(data, "conformal"),
        *_beside(
            _charts(data, "reliability"),
            [*_charts(data, "risk-coverage"), *_grids(data, "risk")],
        ),
        *([Sentences(said)] if said else []),
    ]


def _stress(data: ReportData) -> list[Part]:
    said = _texts(data, "unknown")
    return [
        *([Sentences([" ".join(map(_stop, said))])] if said else []),
        *_grids(data, "unknown"),
        *_beside(
            _grids(data, "robustness", ["that is", "macro-F1", "change of macro-F1"]),
            _charts(data, "robustness-chart"),
        ),
    ]


def _experiments(data: ReportData) -> list[Part]:
    said = [one for one in _texts(data, "leaks") if not one.startswith("Not testable")]
    said = [" ".join(_stop(one) for one in (*said, *_texts(data, "curves")))]
    curves = [one.name for one in data.blocks(Chart) if one.name.startswith("curve-")][:2]
    sweeps = [one for one in data.blocks(ReportTable) if one.name.startswith("sweep-")][:1]
    return [
        *([Sentences(said)] if said[0] else []),
        *_beside(_leaks(data), _charts(data, *curves)),
        *(grid(one, ["seeds"], most=6) for one in sweeps),
    ]


def _leaks(data: ReportData) -> list[Grid]:
    """All leak reports in one table."""
    found = [one for one in data.blocks(ReportTable) if one.name.startswith("leak-")][:3]
    if not found:
        return []
    if len(found) == 1:
        return [grid(found[0])]
    rows: list[Sequence[Value]] = [
        [f"{one.title.removeprefix('Leak report by ')}: {row[0]}", *row[1:]]
        for one in found
        for row in one.rows
    ]
    about = " ".join(dict.fromkeys(one.note for one in found))
    return [grid(ReportTable("leaks", "Leak reports", found[0].columns, rows, about))]


def _limits(data: ReportData) -> list[Part]:
    lines = [line for line in _texts(data, "limits") if not line.startswith("Noted while fitting")]
    missing = [f"{title} (`{command}`)" for title, command in data.left_out]
    if missing:
        lines.append(f"Not measured, with the command that does: {', '.join(missing)}")
    return [Sentences([_stop(line) for line in lines], bullets=True)]


def _cite(data: ReportData) -> list[Part]:
    done = facts_of(data, "done")
    cite = _texts(data, "cite")[:1]
    wanted = ("Settings", "Digest of the data", "To do it again")
    pairs = [
        *(("Cite as", line) for line in cite),
        *((name, done[name]) for name in wanted if name in done),
        *facts_of(data, "cite").items(),
    ]
    return [Facing(pairs)]


def _grids(
    data: ReportData, name: str, drop: Iterable[str] = (), most: int = MOST_ROWS
) -> list[Grid]:
    table = _table(data, name)
    return [grid(table, drop, most)] if table else []


def _table(data: ReportData, name: str) -> ReportTable | None:
    return next((one for one in data.blocks(ReportTable) if one.name == name), None)


def _charts(data: ReportData, *names: str) -> list[Picture]:
    found = [one for name in names for one in data.blocks(Chart) if one.name == name]
    return [Picture(_first(one), _caption(one)) for one in found]


def _beside(*columns: Sequence[Grid | Picture], left: float = 0.5) -> list[Part]:
    """The columns that have something; one alone needs no column."""
    full = [column for column in columns if column]
    if len(full) < 2:
        return [part for column in full for part in column]
    return [Beside(full, left)]


def _first(chart: Chart) -> Chart:
    """Of dots under many names only the first; the caption tells of the lines."""
    chart = replace(chart, x=_AXIS.sub("", chart.x), y=_AXIS.sub("", chart.y))
    if chart.kind != "ranges":
        return chart
    series = [
        replace(one, x=one.x[:MOST_DOTS], y=one.y[:MOST_DOTS], low=one.low[:MOST_DOTS],
                high=one.high[:MOST_DOTS])
        for one in chart.series
    ]  # fmt: skip
    return replace(chart, series=series)


def _caption(chart: Chart) -> str:
    said = _stop(chart.title)
    longest = max((len(one.x) for one in chart.series), default=0)
    if chart.kind == "ranges" and longest > MOST_DOTS:
        said += f" The first {MOST_DOTS} of {longest:,}."
    if any(value is not None for one in chart.series for value in one.low):
        said += " Lines: 95% intervals."
    if chart.kind == "reliability":
        said += " Above the diagonal it is too modest, below too sure."
    return said


def _texts(data: ReportData, key: str) -> list[str]:
    """The sentences of a chapter."""
    return [
        line
        for section in data.sections
        if section.key == key
        for block in section.blocks
        if isinstance(block, Sentences)
        for line in block.lines
    ]


def _bullets(lines: Sequence[str]) -> list[Part]:
    return [Sentences(lines, bullets=True)] if lines else []


def _stop(line: str) -> str:
    """A sentence: notes have neither a capital nor a full stop."""
    line = line[:1].upper() + line[1:]
    return line if line.endswith((".", "?", "!")) else f"{line}."
