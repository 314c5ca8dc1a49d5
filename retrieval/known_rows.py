"""The rows that a search knows, by number: those of the collection, or of its big index.

The collection is read whole, which is quickest for some ten thousand photos. Beside a big index
nothing is: ids and keys are looked up in the index's own files, and what the table says of a hit is
read from the few groups of the Parquet file that hold it, so memory does not grow with the rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from retrieval.index_files import KEYS
from retrieval.row_ids import mapped


class KnownRows(Protocol):
    @property
    def ids(self) -> Sequence[str]: ...

    def find(self, name: str) -> int | None:
        """The row of an id."""
        ...

    def with_key(self, key: str) -> list[int]:
        """The rows whose photo has these very bytes (SHA-256), ascending."""
        ...

    def key(self, row: int) -> str: ...

    def take(self, rows: Sequence[int]) -> tuple[Any, list[int]]:
        """What the table says of these rows, as an Arrow table, and which of them it knows."""
        ...


class TableRows:
    """Of a collection in memory, an Arrow table."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.ids: list[str] = table["id"].to_pylist()
        self.keys: list[str] = table["key"].to_pylist()
        self.row_of = {name: row for row, name in enumerate(self.ids)}

    def find(self, name: str) -> int | None:
        return self.row_of.get(name)

    def with_key(self, key: str) -> list[int]:
        return [row for row, own in enumerate(self.keys) if own == key]

    def key(self, row: int) -> str:
        return self.keys[row]

    def take(self, rows: Sequence[int]) -> tuple[Any, list[int]]:
        import pyarrow as pa

        # Arrow's `take` and its arrays of Python values import pandas
        slices = [self.table.slice(row, 1) for row in rows]
        return pa.concat_tables(slices or [self.table.slice(0, 0)]), list(rows)


class IndexRows:
    """Of a `BigIndex` over the collection in the Parquet file `collection`."""

    def __init__(self, index: Any, collection: Path) -> None:
        self._index, self._collection = index, collection

    @property
    def ids(self) -> Sequence[str]:
        found: Sequence[str] = self._index.ids
        return found

    def find(self, name: str) -> int | None:
        row: int | None = self._index.row(name)
        return row

    def with_key(self, key: str) -> list[int]:
        words = mapped(self._index.folder / KEYS, "<u8", (len(self._index), 4))
        wanted = np.frombuffer(bytes.fromhex(key), "<u8")
        rows = np.flatnonzero(words[:, 0] == wanted[0])
        rows = rows[(words[rows] == wanted).all(axis=1)]
        return [int(row) for row in np.setdiff1d(rows, self._index.removed)]

    def key(self, row: int) -> str:
        return str(self._index.keys(np.array([row]))[0])

    def take(self, rows: Sequence[int]) -> tuple[Any, list[int]]:
        """A row counts as known where the collection has its id with its very bytes."""
        keys = self._index.keys(np.array(rows, dtype=np.int64))
        names = [self._index.ids[row] for row in rows]
        table = rows_named(self._collection, set(names))
        pairs = zip(table["id"].to_pylist(), table["key"].to_pylist(), strict=True)
        at = {pair: i for i, pair in enumerate(pairs)}
        places = [at.get(pair) for pair in zip(names, keys, strict=True)]
        known = [row for row, place in zip(rows, places, strict=True) if place is not None]
        return _taken(table, [place for place in places if place is not None]), known


def rows_named(collection: Path, names: set[str]) -> Any:
    """The rows of a collection's file with these ids, as an Arrow table in the file's order."""
    import pyarrow as pa

    try:
        return _rows_named(collection, names)
    except (OSError, ValueError, KeyError, pa.ArrowException):
        from embed.collection import load_collection

        load_collection(collection)  # says what is wrong with it
        raise


def _rows_named(collection: Path, names: set[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(collection) as file:
        at = file.schema_arrow.get_field_index("id")
        wanted, parts, left = sorted(names), [file.schema_arrow.empty_table()], len(names)
        for group in range(file.num_row_groups):
            if not left:
                break
            if not _may_hold(file.metadata.row_group(group).column(at).statistics, wanted):
                continue
            ids = file.read_row_group(group, columns=["id"])["id"]
            here = pc.indices_nonzero(pc.is_in(ids, value_set=pa.array(wanted, ids.type)))
            if len(here):
                parts.append(file.read_row_group(group).take(here))
                left -= len(here)
    return pa.concat_tables(parts)


def _may_hold(statistics: Any, wanted: Sequence[str]) -> bool:
    """Whether any of the ids lies between the least and the greatest of a group."""
    if statistics is None or not statistics.has_min_max:
        return True
    return any(statistics.min <= name <= statistics.max for name in wanted)


def _taken(table: Any, places: Sequence[int]) -> Any:
    import pyarrow as pa

    return table.take(pa.array(places, pa.int64()))
