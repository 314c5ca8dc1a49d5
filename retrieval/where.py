"""`--where "family == 'Felidae' and year > 2010"`: which rows of the collection may be hits.

    either  := both ('or' both)*
    both    := one ('and' one)*
    one     := 'not' one | '(' either ')' | test
    test    := side ('==' | '!=' | '<' | '<=' | '>' | '>=') side
             | COLUMN ['not'] 'in' '(' value (',' value)* ')'
             | COLUMN ['not'] ('contains' | 'startswith') value
             | COLUMN 'is' ['not'] 'missing'
    side    := COLUMN | value

A grammar of its own and not a part of Python's: it has words that Python has not (`contains`,
`is missing`), texts are taken as they stand (no escapes), errors speak of columns and not of syntax
trees, and nothing here can ever be run. A test about a missing cell is neither true nor false, also
under `not` (Codd 1979; SQL), so that such a row matches `is missing` alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embed.errors import UserError, did_you_mean
from embed.tables import find_name
from retrieval.cells import ORDERS, Cells, cells_of, equal, ordered, value
from retrieval.where_tokens import Token, UnclearError, pointer, tokens

Mask = NDArray[np.bool_]
Answer = tuple[Mask, Mask]  # (n,) each: yes, no; neither where a cell is missing
Test = Callable[["_Table"], Answer]

LONGEST = 100_000  # characters
DEEPEST = 50  # brackets and nots within one another
_EXAMPLE = "family == 'felidae' and (year > 2010 or year is missing)"


@dataclass(frozen=True)
class Where:
    """A condition on rows, made by `compile_where`.

    columns : those it looks at; equals : (column, text) of each text it asks a column to equal
    """

    text: str
    columns: tuple[str, ...]
    equals: tuple[tuple[str, str], ...]
    test: Test

    def mask(self, rows: Any) -> Mask:
        """(n,) bool, the rows of a DataFrame that match. It must have `columns`."""
        return self.test(_Table(rows))[0]


def compile_where(text: str, columns: Sequence[str]) -> Where:
    """The condition in `text` about `columns`. What is wrong with it is a `UserError`."""
    if len(text) > LONGEST:
        raise UserError(
            f"--where takes at most {LONGEST:,} characters, got {len(text):,}. For a long list, "
            "add a column to the table and run `cli embed` again."
        )
    try:
        text.encode()
        parser = _Parser(text, columns)
        test = parser.whole()
    except UnicodeEncodeError as error:
        raise UserError(f"--where holds bytes that are no text: {text[:80]!a}.") from error
    except UnclearError as wrong:
        raise UserError(
            f"--where is not clear: {wrong.why}\n{pointer(text, wrong.at)}\n"
            f"Expected something like: {_EXAMPLE}"
        ) from None
    return Where(text, tuple(dict.fromkeys(parser.used)), tuple(parser.equals), test)


class _Table:
    """The columns of some rows, each read once."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self._whole: dict[str, Cells] = {}
        self._kinds: dict[str, tuple[Cells, Any]] = {}

    def cells(self, column: str) -> Cells:
        """(n,) all of them."""
        if column not in self._whole:
            self._whole[column] = cells_of(self._rows[column])
        return self._whole[column]

    def each(self, column: str, test: Callable[[Cells], Answer]) -> Answer:
        """(n,) the answers of a test of single cells, which sees each different cell once."""
        if column not in self._kinds:
            coded = pc.dictionary_encode(self.cells(column).texts)
            codes = pc.fill_null(coded.indices, len(coded.dictionary)).to_numpy()
            self._kinds[column] = Cells(coded.dictionary), codes
        kinds, codes = self._kinds[column]
        yes, no = test(kinds)
        return np.append(yes, False)[codes], np.append(no, False)[codes]


class _Parser:
    """Recursive descent: each method reads one rule of the grammar and gives its test."""

    def __init__(self, text: str, columns: Sequence[str]) -> None:
        self.columns = list(columns)
        self.used: list[str] = []
        self.equals: list[tuple[str, str]] = []
        self._words = list(tokens(text))
        self._next = 0
        self._depth = 0

    def whole(self) -> Test:
        test = self._either()
        if self._token.kind != "end":
            raise self._expected("'and', 'or' or the end")
        return test

    @property
    def _token(self) -> Token:
        return self._words[self._next]

    def _take(self) -> Token:
        token = self._token
        self._next += token.kind != "end"
        return token

    def _is(self, *texts: str) -> bool:
        return self._token.kind in ("word", "sign") and self._token.text in texts

    def _skip(self, text: str) -> bool:
        there = self._is(text)
        self._next += there
        return there

    def _expected(self, what: str, hint: str = "") -> UnclearError:
        return UnclearError(self._token.at, f"expected {what}, got {self._token}.{hint}")

    def _either(self) -> Test:
        tests = [self._both()]
        while self._skip("or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda table: _any(t(table) for t in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._skip("and"):
            tests.append(self._one())
        if len(tests) == 1:
            return tests[0]
        return lambda table: _any(t(table)[::-1] for t in tests)[::-1]

    def _one(self) -> Test:
        if not self._is("not", "("):
            return self._test()
        if self._depth == DEEPEST:
            raise UnclearError(self._token.at, f"brackets and nots go {DEEPEST} deep at most.")
        self._depth += 1
        if self._take().text == "not":
            test = _turned(self._one())
        else:
            test = self._either()
            if not self._skip(")"):
                raise self._expected("'and', 'or' or ')'")
        self._depth -= 1
        return test

    def _test(self) -> Test:
        first, left = self._token, self._side()
        if self._is(*ORDERS, "==", "!="):
            return self._comparison(first, left)
        if isinstance(left, Cells):
            raise self._expected("a comparison such as == or <")
        if self._skip("is"):
            test = self._missing
        elif self._is("in", "contains", "startswith", "not"):
            test = self._membership
        else:
            raise self._expected(
                f"a comparison of {left} such as ==, <, in, contains or is missing"
            )
        return test(left)

    def _missing(self, column: str) -> Test:
        negated = self._skip("not")
        if self._token.kind != "name" or self._token.text.lower() != "missing":
            raise self._expected("'missing' after 'is'", " Compare with ==.")
        self._take()

        def missing(table: _Table) -> Answer:
            known = table.cells(column).known
            return ~known, known

        return _turned(missing) if negated else missing

    def _membership(self, column: str) -> Test:
        negated = self._skip("not")
        if not self._is("in", "contains", "startswith"):
            raise self._expected("'in', 'contains' or 'startswith' after 'not'")
        word = self._take().text
        test = self._in(column) if word == "in" else self._has(column, word)
        return _turned(test) if negated else test

    def _in(self, column: str) -> Test:
        if not self._skip("("):
            raise self._expected("'(' and a list of values")
        values = [self._value()]
        while self._skip(","):
            values.append(self._value())
        if not self._skip(")"):
            raise self._expected("',' or ')'")
        self.equals += [(column, v.texts[0].as_py()) for v in values if v.quoted]
        words = [v for v in values if v.quoted and not v.dates[1][0]]
        others = [v for v in values if not v.quoted or v.dates[1][0]]
        texts = pa.array([v.texts[0].as_py() for v in words], pa.large_string())

        def among(cells: Cells) -> Answer:
            there = np.asarray(pc.is_in(cells.texts, texts).to_numpy(zero_copy_only=False))
            return _any([(there, ~there), *(equal(cells, v) for v in others)])

        return lambda table: table.each(column, among)

    def _has(self, column: str, word: str) -> Test:
        text = self._value().texts[0].as_py()
        look = pc.match_substring if word == "contains" else pc.starts_with

        def has(cells: Cells) -> Answer:
            there = np.asarray(look(cells.texts, text).to_numpy(zero_copy_only=False))
            return there, ~there

        return lambda table: table.each(column, has)

    def _comparison(self, first: Token, left: Cells | str) -> Test:
        sign, right = self._take().text, self._side(quotes=True)
        if self._is(*ORDERS, "==", "!="):
            raise self._expected("'and' or 'or'", " One comparison at a time: a < b and b < c.")
        if isinstance(left, Cells):
            if isinstance(right, Cells):
                why = "two values are compared, no column. A column's name stands without quotes"
                raise UnclearError(first.at, f"{why}, or in backticks.")
            sign = sign.translate(str.maketrans("<>", "><"))
            left, right = right, left
        compare = _compare(sign)
        if isinstance(right, str):
            a, b = left, right
            return lambda table: compare(table.cells(a), table.cells(b))
        column, there = left, right
        if right.quoted and sign in ("==", "!="):
            self.equals.append((column, right.texts[0].as_py()))
        return lambda table: table.each(column, lambda cells: compare(cells, there))

    def _side(self, quotes: bool = False) -> Cells | str:
        """A column's name or a value; with `quotes` a word that is neither may lack them."""
        token = self._token
        if token.kind not in ("name", "quoted"):
            return self._value("a column or a value")
        self._take()
        place = find_name(self.columns, [token.text])
        if place is None:
            hint = f"Text stands in quotes: {token}. " if quotes and token.kind == "name" else ""
            choices = did_you_mean(token.text, self.columns)
            raise UnclearError(token.at, f"there is no column {token}. {hint}{choices}")
        self.used.append(self.columns[place])
        return self.columns[place]

    def _value(self, what: str = "a text in quotes or a number") -> Cells:
        if self._token.kind not in ("text", "number", "date"):
            word = self._token.kind == "name"
            raise self._expected(what, f" Text stands in quotes: {self._token}." if word else "")
        token = self._take()
        return value(token.text, token.kind == "text")


def _compare(sign: str) -> Callable[[Cells, Cells], Answer]:
    if sign == "==":
        return equal
    if sign == "!=":
        return lambda a, b: equal(a, b)[::-1]
    return lambda a, b: ordered(a, sign, b)


def _turned(test: Test) -> Test:
    return lambda table: test(table)[::-1]


def _any(answers: Any) -> Answer:
    """Yes where one is, no where all are."""
    first, *rest = answers
    yes, no = first[0].copy(), first[1].copy()
    for other_yes, other_no in rest:
        yes |= other_yes
        no &= other_no
    return yes, no
