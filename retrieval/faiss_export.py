"""The vectors of a store as an index that autofaiss or clip-retrieval reads, with its ids."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from embed.collection import load_collection
from embed.errors import UserError, did_you_mean
from embed.exchange import ROWS_A_SHARD, Exported, whole_folder
from embed.files import whole_file, write_json
from embed.store import EmbeddingStore
from embed.vectors import open_stores
from embed.workspace import Workspace
from retrieval.index import load_faiss

F32 = NDArray[np.float32]
Form = Literal["autofaiss", "clip-retrieval-index"]
FORMS: tuple[str, ...] = get_args(Form)

FILES = {  # the index, facts about it, the folder of ids
    "autofaiss": ("knn.index", "index_infos.json", "ids"),
    "clip-retrieval-index": ("image.index", "image.json", "metadata"),
}
ROW = "i"  # autofaiss's column of row numbers
_ROWS_AT_ONCE = 4096


def export_index(
    workspace: Workspace, encoder: str | None, to: Path, form: str, built: bool = False
) -> Exported:
    """The collection's vectors as a flat index in the new folder `to`; see `write_index`.

    built : the index that `cli index` made instead (see `retrieval.faiss_built`).
    """
    stores = open_stores(workspace, [encoder] if encoder else None)
    if built:
        from retrieval.faiss_built import export_built

        return export_built(workspace, stores, to, form)
    if len(stores) > 1:
        names = ", ".join(store.spec.name for store in stores)
        raise UserError(f"The last embed used {names}. Choose one with --encoder NAME.")
    return write_index(stores[0], load_collection(workspace.collection).rows, to, form)


def write_index(store: EmbeddingStore, rows: Any, to: Path, form: str) -> Exported:
    """A flat index of the vectors of `rows`, a collection's DataFrame, in the new folder `to`.

    form : "autofaiss", or "clip-retrieval-index", which `clip-retrieval back` serves. Memory
    holds a few thousand rows. Raises `UserError` where `to` is there already.
    """

    def write(path: Path) -> dict[str, Any]:
        _write_flat(store, rows["key"].tolist(), path)
        return {"index_key": "Flat", "index_param": "", "reconstruction error %": 0.0}

    note = "the index is flat, so exact; --form clip-retrieval is what autofaiss makes others from"
    return write_folder(rows, store.spec.dim, to, form, write, note)


def write_folder(
    rows: Any, dim: int, to: Path, form: str, write: Callable[[Path], dict[str, Any]], note: str
) -> Exported:
    """The new folder `to`: the index that `write` writes, facts about it, the ids of `rows`.

    write : writes the file it is given and returns what autofaiss would say of its kind.
    """
    if form not in FORMS:
        raise UserError(f"'{form}' is no form of index. {did_you_mean(form, FORMS)}")
    if to.exists():
        raise UserError(f"{to} is there already. Name a new folder, or move it away.")
    if not len(rows):
        raise UserError("The collection has no photos. Run `cli embed PHOTOS` first.")
    frame = rows.drop(columns=[name for name in ("size", "mtime_ns") if name in rows])
    index, facts, folder = FILES[form]
    with whole_folder(to) as scratch:
        said = write(scratch / index)
        size = (scratch / index).stat().st_size
        known = {"index_path": str(to / index), "size in bytes": size}
        numbers = {"nb vectors": len(rows), "vectors dimension": dim}
        ratio = {"compression ratio": 4.0 * len(rows) * dim / size}
        write_json(scratch / facts, said | known | numbers | ratio)
        _write_metadata(frame, scratch / folder, form)
    total = sum(path.stat().st_size for path in to.rglob("*") if path.is_file())
    return Exported(form, to, len(frame), dim, total, [note])


def _blocks(store: EmbeddingStore, keys: list[str]) -> Iterator[F32]:
    for start in range(0, len(keys), _ROWS_AT_ONCE):
        yield store.load(keys[start : start + _ROWS_AT_ONCE])


def _write_flat(store: EmbeddingStore, keys: list[str], path: Path) -> None:
    """What `faiss.write_index` writes of an IndexFlatIP, without all rows in memory."""
    faiss = load_faiss()
    empty = faiss.serialize_index(faiss.IndexFlatIP(store.spec.dim)).tobytes()
    n, numbers = len(keys), len(keys) * store.spec.dim
    head = empty[:8] + n.to_bytes(8, "little") + empty[16:-8] + numbers.to_bytes(8, "little")
    with whole_file(path) as scratch, scratch.open("wb") as handle:
        handle.write(head)
        for X in _blocks(store, keys):
            handle.write(X.astype("<f4", copy=False).data)


def _write_metadata(frame: Any, folder: Path, form: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    taken = ROW if form == "autofaiss" else "image_path"
    frame = frame.rename(columns={taken: f"table_{taken}"} if taken in frame else {})
    frame = (
        frame.assign(**{ROW: np.arange(len(frame))})
        if form == "autofaiss"
        else frame.rename(columns={"path": "image_path"})
    )
    shards = -(-len(frame) // ROWS_A_SHARD)
    for i in range(shards):
        some = frame.iloc[i * ROWS_A_SHARD : (i + 1) * ROWS_A_SHARD]
        name = "part" if form == "autofaiss" else "metadata"
        number = str(i).zfill(len(str(shards)))
        with whole_file(folder / f"{name}_{number}.parquet") as path:
            pq.write_table(pa.Table.from_pandas(some, preserve_index=False), path)
