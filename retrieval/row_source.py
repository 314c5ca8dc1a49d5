"""Where an index takes its rows from: chunk by chunk, in order, from any row on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.files import sha256
from embed.store import EmbeddingStore
from embed.vectors import load_vectors

F32 = NDArray[np.float32]


class Chunk(NamedTuple):
    ids: list[str]
    keys: list[str]  # SHA-256 of the photos' bytes, hexadecimal
    X: F32  # (len(ids), dim) unit rows


class RowSource(Protocol):
    """n rows that are the same, in the same order, whenever they are asked for."""

    @property
    def n(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def encoders(self) -> list[list[str]]:
        """Name and spec digest of each encoder."""
        ...

    @property
    def digest(self) -> str:
        """Changes where the rows may have changed."""
        ...

    def chunks(self, start: int, rows: int) -> Iterator[Chunk]:
        """The rows from `start` on, `rows` at a time."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """X : (n, dim) unit rows in memory or memory-mapped, any float dtype.

    Without `ids` a row is called by its number; without `keys` its key is a digest of its id.
    """

    X: NDArray[Any]
    ids: Sequence[str] | None = None
    keys: Sequence[str] | None = None
    name: str = "array"

    @property
    def n(self) -> int:
        return len(self.X)

    @property
    def dim(self) -> int:
        return int(self.X.shape[1])

    @property
    def encoders(self) -> list[list[str]]:
        return [[self.name, ""]]

    @property
    def digest(self) -> str:
        return f"{self.name} {self.X.shape}"

    def chunks(self, start: int, rows: int) -> Iterator[Chunk]:
        for first in range(start, self.n, rows):
            part = slice(first, min(first + rows, self.n))
            ids = list(self.ids[part]) if self.ids else list(map(str, range(first, part.stop)))
            keys = list(self.keys[part]) if self.keys else [sha256(i.encode()) for i in ids]
            yield Chunk(ids, keys, np.asarray(self.X[part], dtype=np.float32))


@dataclass(frozen=True)
class StoreSource:
    """The photos of `collection` (its Parquet file) with their vectors in `stores`.

    only : (rows of the collection,) booleans, where not all are wanted. Holds a chunk at a time,
    and the stores' own lists of keys.
    """

    collection: Path
    stores: Sequence[EmbeddingStore]
    only: NDArray[np.bool_] | None = None

    @property
    def n(self) -> int:
        return len_of(self.collection) if self.only is None else int(self.only.sum())

    @property
    def dim(self) -> int:
        return sum(store.spec.dim for store in self.stores)

    @property
    def encoders(self) -> list[list[str]]:
        return encoders_of(self.stores)

    @property
    def digest(self) -> str:
        only = "" if self.only is None else sha256(self.only.tobytes())
        return sha256(f"{self.encoders} {stamp_of(self.collection)} {only}".encode())

    def chunks(self, start: int, rows: int) -> Iterator[Chunk]:
        ids: list[str] = []
        keys: list[str] = []
        first = seen = 0
        for more_ids, more_keys in id_batches(self.collection):
            if self.only is not None:
                wanted = np.flatnonzero(self.only[first : first + len(more_ids)])
                first += len(more_ids)
                more_ids = [more_ids[i] for i in wanted]
                more_keys = [more_keys[i] for i in wanted]
            skip = min(len(more_ids), max(0, start - seen))
            seen += len(more_ids)
            ids += more_ids[skip:]
            keys += more_keys[skip:]
            while len(ids) >= rows:
                yield self._chunk(ids[:rows], keys[:rows])
                ids, keys = ids[rows:], keys[rows:]
        if ids:
            yield self._chunk(ids, keys)

    def _chunk(self, ids: list[str], keys: list[str]) -> Chunk:
        return Chunk(ids, keys, load_vectors(self.stores, keys))


def encoders_of(stores: Sequence[EmbeddingStore]) -> list[list[str]]:
    return [[store.spec.name, store.spec.digest] for store in stores]


def stamp_of(collection: Path) -> list[int]:
    """Bytes and time of change of the collection's file: the same stamp, the same photos."""
    found = _file(collection).stat()
    return [found.st_size, found.st_mtime_ns]


def len_of(collection: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(_file(collection)).num_rows)


def id_batches(collection: Path, rows: int = 65_536) -> Iterator[tuple[list[str], list[str]]]:
    """Ids and keys of the photos, some rows at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(_file(collection)) as table:
            for batch in table.iter_batches(rows, columns=["id", "key"]):
                yield batch["id"].to_pylist(), batch["key"].to_pylist()
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise UserError(
            f"{collection} cannot be read ({error}). Move it away and run `cli embed PHOTOS` "
            "again: the stored vectors stay good."
        ) from error


def _file(collection: Path) -> Path:
    if not collection.exists():
        raise UserError(
            f"There is no collection in {collection.parent} yet. Run `cli embed PHOTOS` first."
        )
    return collection
