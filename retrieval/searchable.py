"""A workspace's photos opened to be searched: what is costly is read when it is asked for."""

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.files import sha256
from embed.spec import EncoderSpec
from embed.store import EmbeddingStore, read_spec
from embed.vectors import chosen_folders, load_vectors
from embed.workspace import Workspace
from retrieval.flat_file import FlatFile
from retrieval.index import Index
from retrieval.similarity_scale import SimilarityScale, open_scale

if TYPE_CHECKING:
    from retrieval.big_index import BigIndex
    from retrieval.known_rows import KnownRows, TableRows

F32 = NDArray[np.float32]

COUNTED = 200_000  # rows of a big index up to which the photos are compared with it in a search
SCALE = "similarity_scale.npz"  # beside the index


class Searchable:
    """The collection of a workspace with the vectors of one encoder, or of several side by side.

    A search for one row imports neither pandas nor FAISS, each of which takes longer than it.
    Raises `UserError` where there is no collection, or where vectors are missing.
    """

    def __init__(self, workspace: Workspace, encoders: Sequence[str] | None = None) -> None:
        self.workspace = workspace
        self._places = chosen_folders(workspace, encoders)
        self.specs: list[EncoderSpec] = [read_spec(folder) for folder in self._places]
        if self.big is None:
            _ = self.photos  # says at once what is wrong with them

    @property
    def dim(self) -> int:
        return sum(spec.dim for spec in self.specs)

    @cached_property
    def stores(self) -> list[EmbeddingStore]:
        """Opening them imports h5py."""
        return [EmbeddingStore.open(folder) for folder in self._places]

    @cached_property
    def photos(self) -> "TableRows":
        """The rows of the collection, in memory."""
        from retrieval.known_rows import TableRows

        return TableRows(_table(self.workspace)[0])

    @cached_property
    def known(self) -> "KnownRows":
        """The rows that are searched: those of the big index where there is one."""
        from retrieval.known_rows import IndexRows

        return IndexRows(self.big, self.workspace.collection) if self.big else self.photos

    @cached_property
    def label(self) -> str | None:
        """The column of the labels."""
        return _label(self.workspace)

    @cached_property
    def rows(self) -> Any:
        """The collection as a DataFrame, as `load_collection` gives it."""
        from embed.collection import load_collection

        return load_collection(self.workspace.collection).rows

    @cached_property
    def index(self) -> Index:
        """The saved index where it is of these photos; else a new one, saved. Its rows are ours."""
        folder, source = self.folder, self.source
        ids = self.photos.ids
        found = FlatFile.open(folder, ids, source)
        if found is not None:
            return found
        if Index.fresh(folder, source):
            with suppress(UserError):
                saved = Index.load(folder)
                if (saved.ids, saved.dim) == (ids, self.dim):
                    return saved
        index = Index.build(self.vectors(self.photos.keys), ids, source=source)
        with suppress(UserError, OSError):  # it is only a copy
            index.save(folder)
        return index

    @cached_property
    def _found(self) -> "tuple[BigIndex, bool] | None":
        if not (self.folder / "big").exists():
            return None
        from retrieval.index_command import find_big_index

        return find_big_index(self.workspace, self.specs)

    @property
    def big(self) -> "BigIndex | None":
        """The index of `cli index`; None where there is none."""
        return self._found[0] if self._found else None

    @property
    def stale(self) -> bool:
        """Whether the collection's file is another one than the big index was compared with."""
        return self._found is not None and not self._found[1]

    def staleness(self) -> str:
        """How the photos differ from the big index, in a sentence; of many, that they may."""
        if not self.stale or self.big is None:
            return ""
        if len(self.big) > COUNTED:
            return (
                "The collection was written anew since the index was made: photos that are new in "
                "it are not found. Run `cli index`, which takes them in without building anew."
            )
        from retrieval.index_command import changes

        differ = changes(self.big, self.workspace.collection)
        return differ.line() if differ else ""

    def not_indexed(self, name: str) -> str | None:
        """Where the photo of an id lies that the collection has and the big index lacks."""
        if not self.stale:
            return None
        from retrieval.known_rows import rows_named

        found = rows_named(self.workspace.collection, {name})
        return str(found["path"][0]) if len(found) else None

    @cached_property
    def scale(self) -> SimilarityScale:
        """Of the cosines among random photos."""
        path, n = self.folder / SCALE, len(self.known.ids)
        return open_scale(path, self.source, n, lambda rows: self.row_vectors(rows.tolist()))

    @cached_property
    def source(self) -> str:
        """A digest that changes with the encoders, the ids and the photos."""
        parts = [spec.digest for spec in self.specs]
        if self.big is not None:
            return sha256("\n".join([*parts, self.big.about.source, str(len(self.big))]).encode())
        return sha256("\n".join([*parts, *self.photos.ids, *self.photos.keys]).encode())

    @property
    def folder(self) -> Any:
        """Of the index, and of what is kept beside it."""
        return self.workspace.index(tuple(spec.name for spec in self.specs))

    def vectors(self, keys: Sequence[str]) -> F32:
        """(len(keys), dim) float32 unit rows by the photos' SHA-256."""
        return load_vectors(self.stores, keys)

    def row_vectors(self, rows: Sequence[int]) -> F32:
        """(len(rows), dim) float32 unit rows by their numbers in `known`."""
        if self.big is not None:
            return self.big.vectors(np.array(rows, dtype=np.int64))
        if isinstance(self.index, FlatFile):
            return self.index.vectors(rows)
        return self.vectors([self.photos.keys[row] for row in rows])

    def photo_vectors(self, rows: Sequence[int]) -> F32:
        """The same by their numbers in the collection."""
        if self.big is None:
            return self.row_vectors(rows)
        return self.vectors(self.rows["key"].iloc[list(rows)].tolist())


def _label(workspace: Workspace) -> str | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(workspace.collection) as file:
            label: str | None = json.loads(file.schema_arrow.metadata[b"familia"])["label"]
        return label
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return _table(workspace)[1]  # says what is wrong with it


def _table(workspace: Workspace) -> tuple[Any, str | None]:
    """The collection as an Arrow table, and its label column. `pq.read_table` imports pandas."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(workspace.collection) as file:
            table = file.read(use_threads=False)  # starting them takes longer
        label = json.loads(table.schema.metadata[b"familia"])["label"]
        if {"id", "path", "file_path", "key", label or "id"} <= set(table.column_names):
            return table, label
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        pass
    from embed.collection import load_collection

    found = load_collection(workspace.collection)  # says what is wrong with it
    return pa.Table.from_pandas(found.rows, preserve_index=False), found.label
