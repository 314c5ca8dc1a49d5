"""A workspace's photos opened to be searched: what is costly is read when it is asked for."""

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

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

F32 = NDArray[np.float32]

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
        self.table, self.label = _table(workspace)
        self.ids: list[str] = self.table["id"].to_pylist()
        self.keys: list[str] = self.table["key"].to_pylist()

    @property
    def dim(self) -> int:
        return sum(spec.dim for spec in self.specs)

    @cached_property
    def stores(self) -> list[EmbeddingStore]:
        """Opening them imports h5py."""
        return [EmbeddingStore.open(folder) for folder in self._places]

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row numbers by id."""
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def rows(self) -> Any:
        """The collection as a DataFrame, as `load_collection` gives it."""
        from embed.collection import load_collection

        return load_collection(self.workspace.collection).rows

    @cached_property
    def index(self) -> Index:
        """The saved index where it is of these photos; else a new one, saved. Its rows are ours."""
        folder, source = self.folder, self.source
        found = FlatFile.open(folder, self.ids, source)
        if found is not None:
            return found
        if Index.fresh(folder, source):
            with suppress(UserError):
                saved = Index.load(folder)
                if (saved.ids, saved.dim) == (self.ids, self.dim):
                    return saved
        index = Index.build(self.vectors(self.keys), self.ids, source=source)
        with suppress(UserError, OSError):  # it is only a copy
            index.save(folder)
        return index

    @cached_property
    def big(self) -> Any:
        """(the index of `cli index`, what has changed since or None); None where there is none."""
        if not (self.folder / "big").exists():
            return None
        from retrieval.index_command import open_big_index

        return open_big_index(self.workspace, self.stores)

    @cached_property
    def scale(self) -> SimilarityScale:
        """Of the cosines among random photos."""
        path, n = self.folder / SCALE, len(self.ids)
        return open_scale(path, self.source, n, lambda rows: self.row_vectors(rows.tolist()))

    @cached_property
    def source(self) -> str:
        """A digest that changes with the encoders, the ids and the photos."""
        parts = [*(spec.digest for spec in self.specs), *self.ids, *self.keys]
        return sha256("\n".join(parts).encode())

    @property
    def folder(self) -> Any:
        """Of the index, and of what is kept beside it."""
        return self.workspace.index(tuple(spec.name for spec in self.specs))

    def vectors(self, keys: Sequence[str]) -> F32:
        """(len(keys), dim) float32 unit rows by the photos' SHA-256."""
        return load_vectors(self.stores, keys)

    def row_vectors(self, rows: Sequence[int]) -> F32:
        """(len(rows), dim) float32 unit rows by their numbers."""
        if self.big is None and isinstance(self.index, FlatFile):
            return self.index.vectors(rows)
        return self.vectors([self.keys[row] for row in rows])

    def rows_with(self, key: str | None) -> list[int]:
        """The rows whose photo has these very bytes."""
        return [] if key is None else [row for row, own in enumerate(self.keys) if own == key]

    def path_of(self, row: int) -> str:
        """The location of a row's photo (see `embed.sources`)."""
        return str(self.table["path"][row])

    def value(self, column: str, row: int) -> str | None:
        """What the table says of a row."""
        found = self.table[column][row].as_py()
        return found if isinstance(found, str) else None


def _table(workspace: Workspace) -> tuple[Any, str | None]:
    """The collection as an Arrow table, and its label column. `pq.read_table` imports pandas."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(workspace.collection) as file:
            table = file.read()
        label = json.loads(table.schema.metadata[b"familia"])["label"]
        if {"id", "path", "file_path", "key", label or "id"} <= set(table.column_names):
            return table, label
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        pass
    from embed.collection import load_collection

    found = load_collection(workspace.collection)  # says what is wrong with it
    return pa.Table.from_pandas(found.rows, preserve_index=False), found.label
