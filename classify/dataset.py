"""Labelled vectors with their split: what every head, run and figure starts from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.columns import parse_specs
from classify.splits import Split, make_split
from embed.collection import load_collection
from embed.errors import UserError
from embed.files import sha256
from embed.spec import EncoderSpec
from embed.vectors import load_vectors, open_stores
from embed.words import counted
from embed.workspace import Workspace


@dataclass(frozen=True)
class Dataset:
    """Labelled photos of one side of a split, or of all sides."""

    rows: Any  # DataFrame, n rows: id, path, file_path, key and the table's columns
    X: NDArray[np.float32]  # (n, dim) unit rows
    y: NDArray[np.str_]  # (n,) labels
    side: NDArray[np.str_]  # (n,) train, val or test
    group: NDArray[np.str_]  # (n,) rows of one group never cross a split or a fold
    label: str
    specs: tuple[EncoderSpec, ...]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def layout(self) -> tuple[int, ...]:
        """Widths of the encoders' blocks in `X`."""
        return tuple(self.X.shape[1:]) if len(self.specs) < 2 else tuple(s.dim for s in self.specs)

    @property
    def ids(self) -> list[str]:
        return [str(value) for value in self.rows["id"]]

    def part(self, side: str) -> "Dataset":
        """The rows on one side of the split."""
        return self.some(self.side == side)

    def some(self, keep: NDArray[np.bool_]) -> "Dataset":
        """The rows that `keep` (n,) says."""
        rows = self.rows[keep].reset_index(drop=True)
        return Dataset(
            rows, self.X[keep], self.y[keep], self.side[keep], self.group[keep], self.label,
            self.specs,
        )  # fmt: skip

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over ids, contents, labels and groups: equal for equal photos."""
        columns = zip(self.ids, self.rows["key"], self.y, self.group, strict=True)
        lines = ["\t".join(map(str, row)) for row in columns]
        return sha256("\n".join([self.label, *lines]).encode())[:16]

    @cached_property
    def vectors_digest(self) -> str:
        """The same over the encoder specs too: equal for equal `X` and `y`."""
        return sha256("\n".join([self.digest, *(s.digest for s in self.specs)]).encode())[:16]

    def inputs_digest(self, columns: Sequence[str]) -> str:
        """The same over the values of these columns too, NAME or NAME:KIND each."""
        if not columns:
            return self.vectors_digest
        names = [spec.name for spec in parse_specs(columns, self.rows, self.label)]
        lines = ["\t".join(map(str, row)) for row in self.rows[names].to_numpy()]
        return sha256("\n".join([self.vectors_digest, *names, *lines]).encode())[:16]


def load_dataset(
    workspace: Workspace, encoders: Sequence[str] | None, split_name: str
) -> tuple[Dataset, list[str]]:
    """The labelled rows that stand in the split, and notes worth printing.

    Without a split of the default name one is made: 20% test, stratified, seed 0.
    """
    collection = load_collection(workspace.collection)
    label = collection.label
    if label is None:
        raise UserError(
            "The collection has no label column, so there is nothing to learn. "
            f"Its columns: {', '.join(collection.rows.columns)}. "
            "Run `cli embed PHOTOS --label COLUMN` (no photo is encoded again)."
        )
    stores = open_stores(workspace, encoders)
    split, notes = _split(workspace, split_name, collection.rows, label)
    sides = split.table.set_index("id")
    rows = collection.rows[collection.rows["id"].isin(sides.index)].reset_index(drop=True)
    unnamed = collection.rows[~collection.rows["id"].isin(sides.index)]
    for count, why in (
        (int(unnamed[label].isna().sum()), f"without a {label}"),
        (int(unnamed[label].notna().sum()), f"that the split '{split_name}' does not name"),
    ):
        if count:
            notes.append(f"left out: {counted(count, 'photo')} {why}")
    keys = rows["key"].tolist()
    chosen = sides.loc[rows["id"]]
    unlabelled = rows[label].isna()
    if unlabelled.any():
        raise UserError(
            f"The split '{split_name}' names photos that have no {label} any more. "
            "Run `cli split` again."
        )
    dataset = Dataset(
        rows=rows,
        X=load_vectors(stores, keys),
        y=rows[label].to_numpy(dtype=str),
        side=chosen["split"].to_numpy(dtype=str),
        group=chosen["group"].to_numpy(dtype=str),
        label=label,
        specs=tuple(store.spec for store in stores),
    )
    return dataset, notes


def _split(workspace: Workspace, name: str, rows: Any, label: str) -> tuple[Split, list[str]]:
    path = workspace.split(name)
    if path.exists() or name != "default":
        return Split.load(path), []
    split = make_split(rows, label)
    split.save(path)
    return split, ["no split yet, so one was made: 20% test, stratified (see `cli split --help`)"]
