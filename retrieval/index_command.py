"""`cli index`: the big index of a workspace, built, kept up with its photos, and described."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.keys import KeyIndex
from embed.spec import EncoderSpec
from embed.store import EmbeddingStore
from embed.vectors import open_stores
from embed.workspace import Workspace
from retrieval.big_index import BigIndex
from retrieval.index_building import Choose, Progress, add, build, remove, silent
from retrieval.index_files import note_collection
from retrieval.plan import Dtype, Plan
from retrieval.row_source import StoreSource, encoders_of, id_batches, stamp_of

I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

_BATCH = 65_536
_GROWN = 0.2  # of the rows, after which recall is measured anew


class _Wish(NamedTuple):
    recall: float
    k: int
    memory: int | None  # bytes
    latency: float | None  # seconds


class Changes(NamedTuple):
    """How the collection differs from an index; a photo whose bytes changed is in both."""

    new: Mask  # (rows of the collection,) those the index lacks
    gone: I64  # rows of the index whose photo is no longer there

    def __bool__(self) -> bool:
        return bool(self.new.any() or len(self.gone))

    def line(self) -> str:
        return (
            f"The photos have changed since the index was made: {int(self.new.sum()):,} are not "
            f"in it, {len(self.gone):,} of its rows are no longer there. Run `cli index`: it "
            "takes them in without building anew."
        )


@dataclass(frozen=True)
class IndexReport:
    """What `build_index` did, and how good the index is as far as it was measured."""

    folder: Path
    rows: int  # photos one can find
    dim: int
    plan: Plan
    bytes: int  # of its files
    done: str

    def lines(self) -> list[str]:
        plan = self.plan
        layout = {
            "flat": "every row is compared: exact",
            "hnsw": f"a graph of {plan.M} links a row, {plan.code} in memory",
            "ivf": f"{plan.nlist:,} lists with {plan.code} codes, {plan.nprobe:,} looked at",
        }[plan.kind]
        candidates = f"{plan.refine} candidate{'s' if plan.refine > 1 else ''}"
        again = "" if plan.kind == "flat" else f", {candidates} a hit ranked anew"
        return [
            f"{self.done}: {self.rows:,} photos x {self.dim} numbers, {self.bytes / 1e6:,.1f} MB",
            f"{plan.kind}: {layout}{again}",
            _measured(plan),
            *plan.notes,
            f"Index: {self.folder}",
        ]

    def to_json(self) -> dict[str, Any]:
        about = {"folder": str(self.folder), "rows": self.rows, "dim": self.dim}
        return about | {"bytes": self.bytes, "done": self.done, "plan": self.plan.to_json()}


def build_index(
    workspace: Workspace,
    encoders: Sequence[str] | None = None,
    kind: str = "auto",
    recall: float = 0.95,
    memory: int | None = None,
    latency: float | None = None,
    k: int = 10,
    plan: Plan | None = None,
    rebuild: bool = False,
    progress: Progress = silent,
) -> IndexReport:
    """Make the index of the collection, or bring the one that is there up to date.

    kind : auto, flat, hnsw, ivf, ivfpq, or ivf with its code (ivfsq8, ivfpq64); recall : wished
    at `k`; memory : bytes, latency : seconds a query, both while searching; plan : one given by
    hand, nothing is chosen or measured. An index that is there and was made by the same encoders
    is kept, with photos added and removed, unless `rebuild`, another kind or another layout says
    otherwise; where a fifth more photos came since it was measured, it is measured anew. Raises
    `UserError`.
    """
    from retrieval.choosing import check_kind
    from retrieval.tuning import held_out

    check_kind(kind)
    if not 0 < recall <= 1:
        raise UserError(f"--recall is a share above 0 and at most 1, such as 0.95. Got {recall:g}.")
    wish = _Wish(recall, k, memory, latency)
    stores = open_stores(workspace, encoders)
    folder = big_folder(workspace, stores)
    if not rebuild and folder.exists():
        index = BigIndex.load(folder)
        if _still_wanted(index, stores, kind, plan):
            done = _keep_up(workspace, stores, index, progress)
            index = BigIndex.load(folder)
            short = index.plan.k != k or (index.plan.recall or 0) < recall
            if plan is None and (short or _outgrown(index)):
                index = _tuned(folder, wish, progress)
            return _report(index, done)
    source = StoreSource(workspace.collection, stores)
    stamp = stamp_of(workspace.collection)
    dtype: Dtype = "float16" if all(s.dtype == np.float16 for s in stores) else "float32"
    # Rows that come later than the graph are asked for: of its own it answers too well.
    later = held_out(source.n) if plan is None else np.zeros(source.n, dtype=bool)
    if later.any():
        source = StoreSource(workspace.collection, stores, ~later)
    build(source, folder, plan or _chooser(kind, wish, dtype), f"{kind} {wish}", dtype, progress)
    if later.any():
        add(folder, StoreSource(workspace.collection, stores, later), progress)
    note_collection(folder, stamp)
    index = _tuned(folder, wish, progress) if plan is None else BigIndex.load(folder)
    return _report(index, "Built")


def open_big_index(
    workspace: Workspace, stores: Sequence[EmbeddingStore]
) -> tuple[BigIndex, Changes | None] | None:
    """The workspace's big index, and how the photos differ from it; None where there is none.

    Nothing is compared where the collection's file is the one that was indexed. An index of
    another encoder, or a damaged one, is a `UserError`.
    """
    found = find_big_index(workspace, [store.spec for store in stores])
    if found is None or found[1]:
        return found and (found[0], None)
    return found[0], changes(found[0], workspace.collection) or None


def find_big_index(
    workspace: Workspace, specs: Sequence[EncoderSpec]
) -> tuple[BigIndex, bool] | None:
    """As `open_big_index`, with whether the collection's file is the one that was indexed.

    Takes no time and no memory, whatever the size.
    """
    folder = workspace.index(tuple(spec.name for spec in specs)) / "big"
    if not folder.exists():
        return None
    index = BigIndex.load(folder)
    if index.about.encoders != [[spec.name, spec.digest] for spec in specs]:
        raise UserError(
            f"{folder} was made of vectors of another encoder spec than the ones here now. "
            "Run `cli index --rebuild`."
        )
    return index, index.about.collection == stamp_of(workspace.collection)


def remove_photos(
    workspace: Workspace, ids: Sequence[str], encoders: Sequence[str] | None = None
) -> IndexReport:
    """Take photos out of the index by their ids; `cli index` takes those in the collection back."""
    folder = big_folder(workspace, open_stores(workspace, encoders))
    index = BigIndex.load(folder)
    rows = {name: index.row(name) for name in ids}
    if unknown := [name for name, row in rows.items() if row is None]:
        raise UserError(
            f"{len(unknown):,} of {len(ids):,} ids are not in the index, such as {unknown[0]!r}. "
            "Ids are in the column id of collection.parquet."
        )
    remove(folder, np.array([row for row in rows.values() if row is not None], dtype=np.int64))
    note_collection(folder, None)
    return _report(BigIndex.load(folder), f"Removed {len(rows):,}")


def verify_index(workspace: Workspace, encoders: Sequence[str] | None = None) -> BigIndex:
    """Read every byte of the index against its checksums, and compare rows with the store's.

    A thousand rows, evenly spread, must be the vectors that the store has under their keys.
    """
    from embed.vectors import load_vectors

    stores = open_stores(workspace, encoders)
    index = BigIndex.load(big_folder(workspace, stores))
    index.verify()
    alive = np.setdiff1d(np.arange(len(index)), index.removed)
    rows = alive[:: max(1, len(alive) // 1000)]
    if not np.allclose(index.vectors(rows), load_vectors(stores, index.keys(rows)), atol=1e-3):
        raise UserError(
            f"{index.folder} holds other vectors than the store has for the same photos. "
            "Run `cli index --rebuild`."
        )
    return index


def big_folder(workspace: Workspace, stores: Sequence[EmbeddingStore]) -> Path:
    return workspace.index(tuple(store.spec.name for store in stores)) / "big"


def changes(index: BigIndex, collection: Path) -> Changes:
    """Compare ids and keys of the collection with those of the index: 55 bytes a row of memory."""
    rows_of, found = KeyIndex(), np.zeros(len(index), bool)
    found[index.removed] = True
    alive = np.flatnonzero(~found)
    for start in range(0, len(alive), _BATCH):
        rows = alive[start : start + _BATCH]
        pairs = zip((index.ids[row] for row in rows.tolist()), index.keys(rows), strict=True)
        rows_of.add(b"".join(_pair(*pair) for pair in pairs), rows)
    new = []
    for ids, keys in id_batches(collection):
        where = rows_of.find(b"".join(_pair(*pair) for pair in zip(ids, keys, strict=True)))
        found[where[where >= 0]] = True
        new.append(where < 0)
    return Changes(np.concatenate(new or [np.empty(0, bool)]), np.flatnonzero(~found))


def _pair(name: str, key: str) -> bytes:
    return hashlib.sha256(f"{key} {name}".encode()).digest()


def _still_wanted(
    index: BigIndex, stores: Sequence[EmbeddingStore], kind: str, plan: Plan | None
) -> bool:
    if index.about.encoders != encoders_of(stores):
        return False
    there = index.plan
    if plan is not None:
        return there.layout == plan.layout
    own = ("auto", there.kind, there.kind + there.code)
    return kind in own or (kind == "ivfpq" and there.short)


def _keep_up(
    workspace: Workspace, stores: Sequence[EmbeddingStore], index: BigIndex, progress: Progress
) -> str:
    stamp = stamp_of(workspace.collection)
    if index.about.collection == stamp:
        return "Up to date"
    differ = changes(index, workspace.collection)
    if len(differ.gone):
        remove(index.folder, differ.gone)
    if differ.new.any():
        add(index.folder, StoreSource(workspace.collection, stores, differ.new), progress)
    note_collection(index.folder, stamp)
    added = f"Added {int(differ.new.sum()):,}, removed {len(differ.gone):,}"
    return added if differ else "Up to date"


def _chooser(kind: str, wish: _Wish, dtype: Dtype) -> Choose:
    from retrieval.choosing import chooser

    return chooser(kind, wish.k, wish.recall, wish.memory, wish.latency, dtype)


def _tuned(folder: Path, wish: _Wish, progress: Progress) -> BigIndex:
    """The index with the least effort that keeps the wish, measured on its own rows."""
    from retrieval.tuning import tune_index

    progress("measuring", 0, 1)
    index = BigIndex.load(folder)
    found = tune_index(index, wish.recall, wish.k, wish.memory, wish.latency, index.removed)
    index.save_plan(replace(found, rows=_alive(index)))
    progress("measuring", 1, 1)
    return index


def _alive(index: BigIndex) -> int:
    return len(index) - len(index.removed)


def _outgrown(index: BigIndex) -> bool:
    """Whether so many photos came since it was measured that the figures say little any more."""
    measured = index.plan.rows
    return measured is not None and _alive(index) > (1 + _GROWN) * measured


def _report(index: BigIndex, done: str) -> IndexReport:
    size = sum(path.stat().st_size for path in index.folder.iterdir())
    return IndexReport(index.folder, _alive(index), index.dim, index.plan, size, done)


def _measured(plan: Plan) -> str:
    if plan.recall is None:
        return "exact" if plan.kind == "flat" else "recall was not measured"
    said = [f"recall@{plan.k} {plan.recall:.3f}"]
    if plan.latency_ms is not None:
        said.append(f"{plan.latency_ms:.2f} ms a query")
    if plan.memory_bytes is not None:
        said.append(f"{plan.memory_bytes / 1e6:,.0f} MB of memory")
    return f"measured on these photos: {', '.join(said)}"
