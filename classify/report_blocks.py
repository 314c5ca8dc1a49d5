"""What a report is made of in any form: sentences, tables, charts and photos as plain data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["text", "count", "number", "share", "exact"]
Figure = tuple[float | None, float | None, float | None]  # value and its 95% interval
Value = str | int | float | Figure | None


@dataclass(frozen=True)
class Column:
    """A column of a table: `share` is shown in per cent, `number` with three decimals, `exact` as
    it is (a setting).
    """

    name: str
    kind: Kind = "text"
    less: bool = False  # is better
    wide: bool = False  # its values span orders of magnitude


@dataclass(frozen=True)
class Sentences:
    """Paragraphs, or with `bullets` a list."""

    lines: Sequence[str]
    bullets: bool = False


@dataclass(frozen=True)
class Facts:
    """Names with what is said of each."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class ReportTable:
    """Values as they are; `shown` gives the words for a cell."""

    name: str  # short and unique in the report: of a CSV file, of an anchor
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    note: str = ""
    marked: frozenset[int] = frozenset()  # rows that stand out
    sortable: bool = False  # long: to sort and to filter where the form can
    facet: int | None = None  # the column with few values to choose from
    axes: Sequence[int] = ()  # columns to slice by, where the form can: the others are figures


@dataclass(frozen=True)
class Series:
    """One line or set of dots; what is None is not drawn."""

    name: str
    x: Sequence[float | str]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    n: Sequence[int] = ()  # photos behind each point


@dataclass(frozen=True)
class Chart:
    """ranges: a dot with its interval for every name in x. lines: y over x. reliability: y over
    x in the unit square with the diagonal, n as small bars below.
    """

    name: str
    title: str
    kind: Literal["ranges", "lines", "reliability"]
    x: str  # titles of the axes
    y: str
    series: Sequence[Series]
    says: str  # for those who cannot see it
    log_x: bool = False


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix as triplets: `n` photos of class `truth` were taken for `predicted`."""

    name: str
    title: str
    classes: Sequence[str]
    truth: Sequence[int]  # place in `classes`
    predicted: Sequence[int]
    n: Sequence[int]
    note: str = ""

    @property
    def photos(self) -> list[int]:
        """Of each class."""
        total = [0] * len(self.classes)
        for i, n in zip(self.truth, self.n, strict=True):
            total[i] += n
        return total


@dataclass(frozen=True)
class Photo:
    """A photo and what is said of it."""

    path: str  # its location: see `embed.sources`; empty where nobody knows
    name: str
    label: str = ""
    caption: str = ""
    similarity: float | None = None  # cosine with the photo it stands beside
    match: bool | None = None  # has the label of the photo it stands beside


@dataclass(frozen=True)
class Evidence:
    """A photo and the training photos that explain its answer."""

    photo: Photo
    near: Sequence[Photo] = ()


@dataclass(frozen=True)
class Gallery:
    """Photos with their evidence, those worth seeing first."""

    name: str
    title: str
    items: Sequence[Evidence]
    note: str = ""


Block = Sentences | Facts | ReportTable | Chart | Matrix | Gallery


@dataclass(frozen=True)
class Section:
    """A chapter; `key` is its anchor."""

    key: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class ReportData:
    """All that a report says, in the order in which it says it."""

    title: str
    headline: Sequence[str]  # what was found and what it is worth, in sentences
    sections: Sequence[Section]
    left_out: Sequence[tuple[str, str]] = ()  # title and the command that makes what is missing
    about: dict[str, Any] = field(default_factory=dict)  # run, part, label, made: for file names

    def blocks(self, kind: type[Any]) -> list[Any]:
        """All blocks of one kind, in order."""
        return [
            block
            for section in self.sections
            for block in section.blocks
            if isinstance(block, kind)
        ]


def as_number(value: Any) -> float | None:
    """A finite number, else None: JSON's null, a missing key, NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if value - value == 0 else None


def as_figure(value: Any) -> Figure | None:
    """[value, low, high] as read from JSON; None where there is no value."""
    if not isinstance(value, list | tuple) or len(value) != 3 or as_number(value[0]) is None:
        number = as_number(value)
        return None if number is None else (number, None, None)
    return (as_number(value[0]), as_number(value[1]), as_number(value[2]))


def shown(value: Value, kind: Kind) -> str:
    """The words for a cell; nothing is known: an empty text."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, tuple):
        middle, low, high = (_shown_number(each, kind) for each in value)
        return f"{middle} [{low}, {high}]" if low and high else middle
    return _shown_number(value, kind)


def in_per_cent(figure: Figure | None) -> str:
    """`93.4% [92.1, 94.6]`."""
    if figure is None or figure[0] is None:
        return "unknown"
    value, low, high = figure
    if low is None or high is None:
        return f"{value:.1%}"
    return f"{value:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def _shown_number(value: float | None, kind: Kind) -> str:
    if value is None:
        return ""
    if kind == "share":
        return f"{value:.1%}"
    if kind == "exact":
        return f"{value:.6g}"
    return f"{value:,.0f}" if kind == "count" else f"{value:.3f}"
