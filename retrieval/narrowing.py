"""The hits of a search that a user wants to see: which rows may be hits, and which are shown.

First the rows are marked that may be hits (`--where`, `--exclude-same`), so that the index looks
for k of those. Of what it finds, near-duplicates are folded (`--unique`), what is alike among the
best is thinned out (`--diverse`), and a page is cut out. No step depends on the page, so that all
pages together are one list.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError, did_you_mean
from embed.tables import find_name
from retrieval.diversity import CANDIDATES, diverse_order
from retrieval.eligible import Eligible, Found, SearchIndex
from retrieval.folding import (
    firsts_by_cosine,
    firsts_by_group,
    group_numbers,
    near_cosine,
)
from retrieval.queries import Query
from retrieval.where import Where, compile_where
from retrieval.where_tokens import plain

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

_OURS = ("query", "rank", "id", "similarity", "file_path", "path", "same_photo", "folded")
_SHOWN = 200  # characters of a condition in an error
_HINTS = 3  # values in an error that no row has


class Narrowed(NamedTuple):
    """The hits (m,) of one query on one page, best first.

    folded : how many further rows that may be hits are near-duplicates of each; None where none
    are folded
    """

    places: I64  # in the collection
    cosines: F32  # with the query
    same_photo: Mask
    folded: I64 | None


def narrowed_hits(
    index: SearchIndex,
    rows: Any,
    X_of: Callable[[I64], F32],
    queries: Sequence[Query],
    k: int,
    where: Where | str | None = None,
    exclude_same: str | None = None,
    unique: bool | Sequence[str] | I64 = False,
    diverse: float | None = None,
    page: int = 1,
) -> Any:
    """The hits of every query on one page, as a DataFrame with one row a hit.

    rows : the collection (DataFrame); X_of : places of rows in it to their (m, dim) float32 unit
    rows; k : hits on a page; where : a condition on the rows; exclude_same : a column whose value
    hits may not share with the query, where that is a row or the photo of one; unique : fold
    near-duplicates, by the groups of (n,) the collection's rows or, with True, by the cosine that
    `near_cosine` finds; diverse : the trade of `diverse_order` among the `CANDIDATES` best, those
    behind follow by rank; page : counts from 1, ranks go on from page to page.

    Columns: query, rank (1 is best), id, similarity (cosine, float32), file_path, path, same_photo
    (the content is the query's own; such hits come first), with `unique` also folded (see
    `Narrowed`), then the table's. A column of the table that has one of our names is `table_…`.
    similarity is the cosine with the query, whatever the order. Raises `UserError` for an unclear
    `where`, one that no row matches, a column that is not there and numbers out of range.
    """
    _check(k, page, diverse)
    search = Narrowing(index, rows, X_of, where, exclude_same, unique)
    found = [search.page(query, k, diverse, page) for query in queries]
    return _with_table(found, [query.name for query in queries], k * (page - 1) + 1, rows)


class Narrowing:
    """One index with what may be a hit in it, and what is folded: see `narrowed_hits`."""

    # rows are the index's, places the collection's

    def __init__(
        self,
        index: SearchIndex,
        rows: Any,
        X_of: Callable[[I64], F32],
        where: Where | str | None = None,
        exclude_same: str | None = None,
        unique: bool | Sequence[str] | I64 = False,
    ) -> None:
        self._index, self._table, self._X_of = index, rows, X_of
        self._values: I64 | None = None  # (n,) of the column to exclude by, -1 where missing
        self._groups: I64 | None = None
        self._line: float | None = None
        self._may: Mask | None = None if (self.places >= 0).all() else self.places >= 0
        self._mark(where, exclude_same)
        if unique is True:
            self._line = near_cosine(index, self._vectors)
        elif unique is not False:
            self._groups = self._of(group_numbers(unique), fill=-1)

    @cached_property
    def places(self) -> I64:
        """(n,) place in the collection of each row of the index; -1 where it is gone."""
        import pandas as pd

        ids = pd.Index(self._table["id"])
        return np.asarray(ids.get_indexer(pd.Index(self._index.ids)), dtype=np.int64)

    def _vectors(self, rows: I64) -> F32:
        return self._X_of(self.places[rows])

    def _mark(self, where: Where | str | None, exclude_same: str | None) -> None:
        if where is not None:
            columns = list(self._table.columns)
            clear = compile_where(where, columns) if isinstance(where, str) else where
            matching = clear.mask(self._table)
            if not matching.any():
                raise UserError(_no_match(clear, self._table))
            here = self._of(matching, fill=False)
            self._may = here if self._may is None else self._may & here
        if exclude_same is not None:
            column = _column(self._table, exclude_same)
            self._values = self._of(self._table[column].factorize()[0], fill=-1)

    def page(self, query: Query, k: int, diverse: float | None = None, page: int = 1) -> Narrowed:
        """The hits of one query on one page."""
        eligible = self._eligible(query)
        rows, cosines = self._ranked(eligible, k * page, diverse)
        on_page = slice(k * (page - 1), k * page)
        rows, cosines = rows[on_page], cosines[on_page]
        folded = self._behind(rows, eligible) if self._folds else None
        return Narrowed(self.places[rows], cosines, np.isin(rows, eligible.copies), folded)

    @property
    def _folds(self) -> bool:
        return self._line is not None or self._groups is not None

    def _of(self, values: Any, fill: Any) -> Any:
        """(n,) values of the collection's rows, for the index's."""
        return np.append(values, np.asarray(fill, dtype=values.dtype))[self.places]

    def _rows_with(self, column: str, values: Sequence[str]) -> I64:
        there = self._table[column].isin(values).to_numpy(dtype=bool)
        return np.flatnonzero(self._of(there, fill=False))

    def _eligible(self, query: Query) -> Eligible:
        own = self._rows_with("id", query.exclude) if query.exclude else np.empty(0, np.int64)
        copies = self._rows_with("key", [query.key]) if query.key else np.empty(0, np.int64)
        copies = np.setdiff1d(copies, own)
        may = self._may
        if self._values is not None:
            shared = self._values[np.concatenate([own, copies])]
            shared = shared[shared >= 0]
            if len(shared):
                others = ~np.isin(self._values, shared)
                may = others if may is None else may & others
        if may is not None:
            copies = copies[may[copies]]
        return Eligible(self._index, query.vector, may, own, copies, self._vectors)

    def _ranked(self, eligible: Eligible, k: int, diverse: float | None) -> Found:
        """The best k, folded and thinned out as it is wanted."""
        if diverse is None:
            return self._unfolded(eligible, k)
        rows, cosines = self._unfolded(eligible, max(k, CANDIDATES))
        best = slice(0, CANDIDATES)
        order = diverse_order(cosines[best], self._vectors(rows[best]), k, diverse)
        order = np.append(order, np.arange(CANDIDATES, len(rows)))[:k]
        return rows[order], cosines[order]

    def _unfolded(self, eligible: Eligible, k: int) -> Found:
        """The best k of which none is a near-duplicate of a better one: more are asked for until
        there are k."""
        asked = k if not self._folds else 2 * k
        while True:
            rows, cosines = eligible.best(asked)
            firsts = self._firsts(rows)[:k]
            if len(firsts) == k or len(rows) < asked:
                return rows[firsts], cosines[firsts]
            asked *= 2

    def _firsts(self, rows: I64) -> I64:
        if self._groups is not None:
            return firsts_by_group(self._groups[rows])
        if self._line is not None:
            return firsts_by_cosine(self._vectors(rows), self._line)
        return np.arange(len(rows))

    def _behind(self, rows: I64, eligible: Eligible) -> I64:
        """(m,) how many others that may be hits are near-duplicates of each row."""
        if self._groups is not None:
            there = self._groups[eligible.mask()]
            groups = self._groups[rows]
            return np.array([np.count_nonzero(there == group) - 1 for group in groups], np.int64)
        may = eligible.mask()
        return np.array([self._near(row, may) for row in rows], dtype=np.int64)

    def _near(self, row: int, may: Mask) -> int:
        """How many other rows that may be hits are within the line of a row."""
        asked, x = 16, self._vectors(np.array([row]))
        while True:
            rows, cosines = self._index.search(x, asked, may)
            near = rows[0][cosines[0] >= np.float32(self._line or 1)]
            if len(near) < asked:
                return int(np.count_nonzero(near != row))
            asked *= 4


def _check(k: int, page: int, diverse: float | None) -> None:
    for option, number in (("--k", k), ("--page", page)):
        if number < 1:
            raise UserError(f"{option} counts from 1, got {number}.")
    if diverse is not None and not 0 <= diverse <= 1:
        raise UserError(
            f"--diverse takes a number from 0 (hits unlike one another) to 1 (the plain ranking), "
            f"got {diverse}. Try --diverse 0.7."
        )


def _column(rows: Any, name: str) -> str:
    place = find_name(list(rows.columns), [name])
    if place is None:
        choices = did_you_mean(name, rows.columns)
        raise UserError(f"--exclude-same names a column, and there is no '{name}'. {choices}")
    return str(rows.columns[place])


def _no_match(where: Where, rows: Any) -> str:
    """What to say where no row matches: the values most like those that were written."""
    hints = []
    for column, text in where.equals:
        values = {str(v).lower(): str(v) for v in rows[column].dropna().unique()[:10_000]}
        if text not in values.values():
            near = get_close_matches(text.lower(), values, n=1, cutoff=0.6)
            there = f": did you mean '{values[near[0]]}'?" if near else " or like it."
            hints.append(f"\nNo {column} is '{plain(text[:_SHOWN])}'{there}")
    text = plain(where.text[:_SHOWN]) + ("…" if len(where.text) > _SHOWN else "")
    return f"No row of the collection matches --where {text}{''.join(hints[:_HINTS])}"


def _with_table(found: Sequence[Narrowed], names: Sequence[str], rank: int, rows: Any) -> Any:
    """The hits with the columns of their rows; ranks go on from `rank`."""
    import pandas as pd

    counts = [len(hits.places) for hits in found]
    places, cosines, same = (_joined([hits[i] for hits in found]) for i in range(3))
    ours = {
        "query": [name for name, n in zip(names, counts, strict=True) for _ in range(n)],
        "rank": _joined([np.arange(rank, rank + n) for n in counts]),
        "similarity": cosines,
        "same_photo": same,
    }
    if found and found[0].folded is not None:
        ours["folded"] = _joined([hits.folded for hits in found])
    table = rows.iloc[places].reset_index(drop=True)
    table = table.rename(columns={name: f"table_{name}" for name in ours})
    joined = pd.DataFrame(ours).join(table)
    first = [name for name in _OURS if name in joined.columns]
    return joined[[*first, *(name for name in joined.columns if name not in first)]]


def _joined(parts: Sequence[Any]) -> Any:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
