"""`--with COLUMN`: columns of the table beside the vectors, as a second input."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classify.column_weights import choose_weights
from classify.encodings import (
    ENCODINGS,
    Cycle,
    Encoding,
    TextVectors,
    as_dates,
    as_numbers,
    is_clock,
)
from embed.columns import OWN_COLUMNS
from embed.errors import UserError, did_you_mean
from embed.tables import find_name

PERIODS = {
    **{"month": 12, "hour": 24, "weekday": 7, "day_of_week": 7, "dayofweek": 7},
    **dict.fromkeys(("day_of_year", "dayofyear", "doy", "yday", "julian_day"), 366),
}
MOST = 0.95  # of the values that must be numbers or dates for a column to be taken as such
_WORDS = re.compile(r"[^\W\d_]{2,}")
_CODE = re.compile(r"0\d+")


@dataclass(frozen=True)
class ColumnSpec:
    """A column and how it is read."""

    name: str
    kind: str | None = None  # of `encodings.ENCODINGS`; None: told from the training rows
    period: float = 0.0  # of a cycle; 0 where its name says it


def parse_specs(texts: Sequence[str], rows: Any, label: str) -> list[ColumnSpec]:
    """The columns of `rows` that `texts` (NAME or NAME:KIND) ask for, each once.

    Raises `UserError` for a column that is not there, is the label or names the photo, and for
    an unknown kind.
    """
    return list(dict.fromkeys(_parse(text, list(rows.columns), label) for text in texts))


def _parse(text: str, columns: list[str], label: str) -> ColumnSpec:
    word, colon, kind = text.rpartition(":")
    if not colon or find_name(columns, [text]) is not None:
        word, kind = text, ""
    at = find_name(columns, [word])
    free = [name for name in columns if name not in OWN_COLUMNS and name != label]
    if at is None:
        raise UserError(f"The table has no column '{word}'. {did_you_mean(word, free)}")
    name = columns[at]
    if name == label:
        raise UserError(
            f"'{name}' is the label: it is what is to be told, so it cannot be given. "
            f"Columns for --with: {', '.join(free) or 'none'}."
        )
    if name in OWN_COLUMNS:
        raise UserError(
            f"'{name}' tells which photo it is, not what it shows, so nothing can be learnt "
            f"from it. Columns for --with: {', '.join(free) or 'none'}."
        )
    return _of_kind(name, kind)


def _of_kind(name: str, word: str) -> ColumnSpec:
    kind, _, period = word.partition("=")
    if kind and kind not in ENCODINGS:
        raise UserError(f"'{kind}' is no kind of column. {did_you_mean(kind, ENCODINGS)}")
    length = 0.0
    if kind == "cycle":
        length = as_numbers([period])[0] if period else PERIODS.get(name.casefold(), 0)
    if (kind == "cycle" and not length > 0) or (period and kind != "cycle"):
        raise UserError(
            f"Expected the length of the cycle, as in --with month:cycle=12, got '{name}:{word}'."
        )
    return ColumnSpec(name, kind or None, float(length))


def with_kind(spec: ColumnSpec, values: Sequence[str]) -> ColumnSpec:
    """`spec` with a kind told from the training values, where the user gave none.

    A cycle where the name is one of `PERIODS` and the values are numbers in its range, or where
    they are clock times; a date, a number (codes such as 007 are none) where 95% are such; text
    where most values stand in one row only and have three words or more; else categories.
    """
    if spec.kind is not None:
        return spec
    numbers = as_numbers(values)
    found = numbers[~np.isnan(numbers)]
    mostly_numbers = len(found) >= MOST * len(values)
    period = PERIODS.get(spec.name.casefold(), 0)
    if mostly_numbers and period and found.min() >= 0 and found.max() <= period:
        return replace(spec, kind="cycle", period=period)
    if np.mean([is_clock(value) for value in values]) >= MOST:
        return replace(spec, kind="cycle", period=24)
    if np.isfinite(as_dates(values)[0]).mean() >= MOST:
        return replace(spec, kind="date")
    if mostly_numbers and not any(_CODE.fullmatch(value) for value in values):
        return replace(spec, kind="number")
    words = np.mean([len(_WORDS.findall(value)) for value in values])
    alone = (pd.Series(list(values)).value_counts() == 1).sum()
    return replace(spec, kind="text" if words >= 3 and alone > len(values) / 2 else "category")


def column_values(rows: Any, name: str) -> "pd.Series[str]":
    """The column `name` of `rows`, in any case; all missing where there is none. Blanks are."""
    at = find_name(list(rows.columns), [name])
    if at is None:
        return pd.Series([None] * len(rows), dtype="str")
    values = rows.iloc[:, at].reset_index(drop=True).astype("str").str.strip()
    return values.mask(values == "")


@dataclass(frozen=True)
class _Block:
    """A fitted column: its values' encoding, centred so that 0 says nothing, and its weight."""

    name: str
    encoding: Encoding
    mean: Any  # (width,) float64
    factor: Any  # () float64

    @classmethod
    def learnt(
        cls, spec: ColumnSpec, rows: Any, groups: Any, text_vectors: TextVectors | None
    ) -> "_Block":
        """Of mean squared length 1 over `rows`; of factor 0 where all rows are alike."""
        values = column_values(rows, spec.name)
        present = values.dropna().tolist()
        spec = with_kind(spec, present) if present else ColumnSpec(spec.name, "category")
        if spec.kind == "category":  # what one group has alone tells nothing of another
            once = ~pd.DataFrame({"value": values, "group": groups}).duplicated()
            present = values[once].dropna().tolist()
        encoding: Encoding = (
            Cycle(np.array(spec.period))
            if spec.kind == "cycle"
            else ENCODINGS[spec.kind or "category"].learnt(present, text_vectors)
        )
        plain = cls(spec.name, encoding, np.zeros(1), np.ones(()))
        raw = plain._raw(values, text_vectors)
        told = ~np.isnan(raw)
        if encoding.expects != "words" and present and not told.any():
            raise UserError(
                f"Expected {encoding.expects} in '{spec.name}', found '{present[0][:40]}'. "
                f"Without :{spec.kind} it is seen what the values are."
            )
        mean = np.where(told, raw, 0).sum(axis=0) / np.maximum(told.sum(axis=0), 1)
        centred = replace(plain, mean=mean)
        size = np.sqrt((centred.encode(rows, text_vectors) ** 2).sum(axis=1).mean())
        return replace(centred, factor=np.array(1 / size if size > 1e-6 else 0.0))

    def encode(self, rows: Any, text_vectors: TextVectors | None) -> Any:
        """(n, width) float64; 0 where nothing is known."""
        values = column_values(rows, self.name)
        return np.nan_to_num(self._raw(values, text_vectors) - self.mean) * self.factor

    def _raw(self, values: Any, text_vectors: TextVectors | None) -> Any:
        """(n, width) as the encoding has it, NaN where nothing is known."""
        codes, distinct = pd.factorize(values)
        known = self.encoding.encode([str(value) for value in distinct], text_vectors)
        raw = np.full((len(values), known.shape[1]), self.encoding.nothing)
        raw[codes >= 0] = known[codes[codes >= 0]]
        return raw


class SideColumns:
    """Columns of the table as numbers beside the embeddings; all is learnt from training rows.

    A missing value, a category never seen and a number that is none give zeros, the mean of the
    training rows. Where training rows lack values, whether there is one counts by itself.

    specs : NAME or NAME:KIND each, see `parse_specs`
    text_vectors : texts to (n, dim) float32 unit rows, for columns of kind `encoder`
    """

    def __init__(self, specs: Sequence[str], text_vectors: TextVectors | None = None) -> None:
        self.specs = tuple(specs)
        self.notes: list[str] = []
        self._text_vectors = text_vectors
        self._blocks: list[_Block] = []

    def unfitted(self) -> "SideColumns":
        """The same columns without anything learnt."""
        return SideColumns(self.specs, self._text_vectors)

    def fit(self, rows: Any, units: Any, index: Any, groups: Any = None) -> Self:
        """Learn what the columns hold and how much each counts.

        rows : DataFrame, n rows; units : (n, dim) float32 unit rows, their embeddings
        index : (n,) class numbers; groups : (n,), by default each row is its own
        """
        groups = np.arange(len(rows)) if groups is None else groups
        asked = parse_specs(self.specs, rows, label="")
        gaps = [
            ColumnSpec(name, "presence")
            for name in dict.fromkeys(spec.name for spec in asked)
            if column_values(rows, name).isna().any()
        ]
        found = [
            _Block.learnt(spec, rows, groups, self._text_vectors)
            for spec in dict.fromkeys(asked + gaps)
        ]
        encoded = [block.encode(rows, self._text_vectors) for block in found]
        weighed = list(zip(found, choose_weights(units, encoded, index, groups), strict=True))
        self.notes = [_note(block, weight) for block, weight in weighed]
        self._blocks = [replace(b, factor=b.factor * weight) for b, weight in weighed if weight]
        return self

    @property
    def width(self) -> int:
        """How many numbers a row gets; 0 where no column helps."""
        return int(self.transform(self.blank(1)).shape[1])

    def blank(self, n: int) -> Any:
        """`n` rows without any value."""
        return pd.DataFrame(index=range(n))

    def transform(self, rows: Any) -> NDArray[np.float32]:
        """(len(rows), width) float32; a column that `rows` lack counts as missing."""
        blocks = [block.encode(rows, self._text_vectors) for block in self._blocks]
        return np.hstack([np.empty((len(rows), 0)), *blocks]).astype(np.float32)

    def absent(self, rows: Any) -> list[str]:
        """The columns in use that `rows` lack, so that they count as missing."""
        names = dict.fromkeys(block.name for block in self._blocks)
        return [name for name in names if find_name(list(rows.columns), [name]) is None]

    def state(self) -> dict[str, NDArray[Any]]:
        """Plain arrays, no object among them."""
        about = [{"name": b.name, "kind": b.encoding.kind} for b in self._blocks]
        plain = {"specs": self.specs, "notes": self.notes, "blocks": about}
        arrays = {"about": np.array(json.dumps(plain))}
        for i, block in enumerate(self._blocks):
            own = {name: getattr(block, name) for name in ("mean", "factor")}
            learnt = {f"learnt/{key}": value for key, value in vars(block.encoding).items()}
            arrays |= {f"{i}/{key}": np.asarray(value) for key, value in (own | learnt).items()}
        return arrays

    @classmethod
    def from_state(
        cls, state: dict[str, NDArray[Any]], text_vectors: TextVectors | None = None
    ) -> "SideColumns":
        """The columns whose `state()` this is; they give the same numbers, bit for bit."""
        about = json.loads(str(state["about"]))
        columns = cls(about["specs"], text_vectors)
        columns.notes = about["notes"]
        for i, known in enumerate(about["blocks"]):
            kind: Any = ENCODINGS[known["kind"]]
            names = kind.__dataclass_fields__
            encoding = kind(**{name: state[f"{i}/learnt/{name}"] for name in names})
            mean, factor = state[f"{i}/mean"], state[f"{i}/factor"]
            columns._blocks.append(_Block(known["name"], encoding, mean, factor))
        return columns


def _note(block: _Block, weight: float) -> str:
    what = f"{block.name} as {block.encoding.describe()}"
    if not block.factor:
        return f"{what}: left out, all training photos have the same, or each a value of its own"
    if not weight:
        return f"{what}: left out, it does not help beside the photos"
    return f"{what}: weight {weight:g} beside the photos"
