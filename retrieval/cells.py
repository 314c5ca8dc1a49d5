"""The cells of a table's column as texts, numbers and dates, and how two cells compare.

Columns are text. A cell is a number or a date where it looks like one; a year such as 2010 is
both. Comparisons have three answers, as in SQL: yes, no, and neither where a cell is missing or
cannot be compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?"
_DAY = r"(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_SECONDS = r":[0-5][0-9](?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
DATE = rf"[0-9]{{4}}(?:-(?:0[1-9]|1[0-2])(?:-{_DAY}(?:[T ]{_TIME}(?:{_SECONDS})?)?)?)?"
_LONGEST_NUMBER = 16  # letters; a longer one is an id, of which float64 would confuse neighbours
_DIGITS = 14  # of a date down to the second

ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_TEXT_ORDERS = {
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


@dataclass(frozen=True)
class Cells:
    """Cells (n,) of a column, or one value that the user wrote.

    texts : arrow strings, null where missing; written : whether it is a value of the user's;
    quoted : and was in quotes, so that it equals texts alone ('007' is not '7')
    """

    texts: Any
    written: bool = False
    quoted: bool = False

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def known(self) -> Mask:
        return _mask(pc.is_valid(self.texts))

    @cached_property
    def numbers(self) -> F64:
        """float64, NaN where a cell is no number."""
        looks = pc.match_substring_regex(self.texts, rf"\A{NUMBER}\z")
        numbers = pc.if_else(looks, self.texts, None).cast(pa.float64())
        return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)

    @cached_property
    def amounts(self) -> F64:
        """Those numbers that equal others: 5 is 05 and 5.0."""
        if self.quoted:
            return np.full(len(self), np.nan)
        short = _mask(pc.less_equal(pc.utf8_length(self.texts), _LONGEST_NUMBER))
        return np.where(short, self.numbers, np.nan)

    @cached_property
    def dates(self) -> tuple[I64, I64]:
        """YYYYMMDDhhmmss as one number, and how many of its digits are given; 0 for no date."""
        looks = pc.match_substring_regex(self.texts, rf"\A{DATE}\z")
        begins = pc.utf8_slice_codeunits(pc.if_else(looks, self.texts, None), 0, 19)
        digits = pc.fill_null(pc.replace_substring_regex(begins, "[^0-9]", ""), "")
        given = pc.utf8_length(digits).to_numpy(zero_copy_only=False)
        stamps = pc.utf8_rpad(digits, _DIGITS, "0").cast(pa.int64())
        return stamps.to_numpy(zero_copy_only=False), np.asarray(given, dtype=np.int64)


def cells_of(values: Any) -> Cells:
    """The cells of a Series of any kind, as text."""
    try:
        texts = pa.array(values, from_pandas=True)
        if pa.types.is_dictionary(texts.type):
            texts = texts.dictionary_decode()
        texts = texts.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):  # of several kinds
        known = values.where(values.notna(), None)
        texts = pa.array([None if v is None else str(v) for v in known], pa.large_string())
    return Cells(texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts)


def value(text: str, quoted: bool) -> Cells:
    return Cells(pa.array([text], pa.large_string()), written=True, quoted=quoted)


def equal(a: Cells, b: Cells) -> tuple[Mask, Mask]:
    """(n,) where a cell of `a` is that of `b`, and where it is not.

    A date is a coarser one that the user wrote where it lies within it: 2010-05-01 is 2010. Of a
    coarser date in the table nobody can say.
    """
    texts = _mask(pc.equal(a.texts, _side(b)))
    same = texts | (a.amounts == b.amounts)
    _, within, open_ = _by_date(a, b)
    same |= within
    known = a.known & b.known & ~(open_ & ~same)
    return same & known, ~same & known


def ordered(a: Cells, order: str, b: Cells) -> tuple[Mask, Mask]:
    """(n,) where `a order b` holds, order one of `ORDERS`, and where it does not.

    Numbers are compared with numbers, dates with dates as far as both say, other text with other
    text; a number and a word have no order.
    """
    numbers = ~np.isnan(a.numbers) & ~np.isnan(b.numbers)
    sign, within, open_ = _by_date(a, b)
    dates = ~numbers & (within | open_ | (sign != 0))
    words = a.known & b.known & _plain(a) & _plain(b)
    holds = words & _mask(_TEXT_ORDERS[order](a.texts, _side(b)))
    holds = np.where(numbers, ORDERS[order](a.numbers, b.numbers), holds)
    holds = np.where(dates, ORDERS[order](sign, 0), holds)
    clear = numbers | (dates & ~open_) | words
    return holds & clear, ~holds & clear


def _by_date(a: Cells, b: Cells) -> tuple[I64, Mask, Mask]:
    """(n,) for pairs of dates: the sign of a - b as far as both say; whether they agree so far;
    and whether that is open, because a cell of the table says less than the other."""
    (stamp_a, given_a), (stamp_b, given_b) = a.dates, b.dates
    both = (given_a > 0) & (given_b > 0)
    unit = 10 ** (_DIGITS - np.minimum(given_a, given_b))
    sign = np.where(both, np.sign(stamp_a // unit - stamp_b // unit), 0)
    coarse_a, coarse_b = (
        (given_a < given_b) & (not a.written),
        (given_b < given_a) & (not b.written),
    )
    agree = both & (sign == 0)
    open_ = agree & (coarse_a | coarse_b)
    return sign, agree & ~open_, open_


def _plain(cells: Cells) -> Mask:
    plain: Mask = np.isnan(cells.numbers) & (cells.dates[1] == 0)
    return plain


def _side(b: Cells) -> Any:
    """The right side as arrow compares it: one value, or as many as on the left."""
    return b.texts[0] if b.written else b.texts


def _mask(answers: Any) -> Mask:
    """Arrow's answers, null as no."""
    mask: Mask = pc.fill_null(answers, False).to_numpy(zero_copy_only=False)
    return mask
