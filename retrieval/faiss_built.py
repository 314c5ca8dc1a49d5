"""The index that `cli index` built as one FAISS file, which autofaiss and clip-retrieval read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embed.collection import load_collection
from embed.errors import UserError
from embed.exchange import Exported
from embed.files import whole_file
from embed.store import EmbeddingStore
from embed.words import counted
from embed.workspace import Workspace
from retrieval.big_index import BigIndex
from retrieval.faiss_export import write_folder
from retrieval.faiss_parts import fast_scan
from retrieval.index import load_faiss
from retrieval.index_building import TRAINED
from retrieval.index_command import open_big_index
from retrieval.inverted_lists import open_lists
from retrieval.plan import Plan

_ROWS_AT_ONCE = 4096
_CODES = {"fp32": "Flat", "fp16": "SQfp16", "sq8": "SQ8", "rabitq": "RaBitQ"}  # FAISS's words


def export_built(
    workspace: Workspace, stores: Sequence[EmbeddingStore], to: Path, form: str
) -> Exported:
    """The workspace's index in the new folder `to`, with its rows' ids (see `write_folder`).

    Memory holds the codes, not the rows. Raises `UserError` where there is no index, or where the
    photos have changed since.
    """
    found = open_big_index(workspace, stores)
    if found is None:
        raise UserError("There is no index yet. Run `cli index` first, or leave out --built.")
    index, changes = found
    if changes is not None:
        raise UserError(changes.line())
    if index.kind == "flat":
        raise UserError("`cli index` made a flat index: every row is compared. Leave out --built.")
    if len(index.removed):
        raise UserError(
            f"{counted(len(index.removed), 'photo')} taken out of the index: a FAISS file cannot "
            "know of it. Run `cli index --rebuild` first."
        )

    def write(path: Path) -> dict[str, Any]:
        with whole_file(path) as scratch:
            load_faiss().write_index(whole_faiss(index), str(scratch))
        return _about(index.plan)

    rows = load_collection(workspace.collection).rows.set_index("id", drop=False)
    rows = rows.loc[list(index.ids)].reset_index(drop=True)
    note = (
        "the index as `cli index` built it: other programs do not rank its candidates anew by "
        "exact cosines, so they find fewer of the nearest than `cli search` does"
    )
    return write_folder(rows, index.dim, to, form, write, note)


def _about(plan: Plan) -> dict[str, str]:
    """Kind and parameters as FAISS and autofaiss write them."""
    M, bits = plan.pq
    code = f"PQ{M}x{bits}{'fs' if plan.fast_scan else ''}" if M else _CODES[plan.code]
    if plan.kind == "hnsw":
        return {"index_key": f"HNSW{plan.M},{code}", "index_param": f"efSearch={plan.ef_search}"}
    return {"index_key": f"IVF{plan.nlist},{code}", "index_param": f"nprobe={plan.nprobe}"}


def whole_faiss(index: BigIndex) -> Any:
    """One FAISS index in memory with all rows of `index`, numbered as there.

    Those that came after its lists or graph were made are encoded as the others.
    """
    faiss, about, plan = load_faiss(), index.about, index.plan
    if plan.kind == "hnsw":
        whole = faiss.read_index(str(index.folder / about.named("graph-")))
        whole.hnsw.efSearch = plan.ef_search
    else:
        whole = faiss.read_index(str(index.folder / TRAINED))
        lists = faiss.ArrayInvertedLists(whole.nlist, whole.code_size)
        by_row = faiss.InvertedLists.SUBSET_TYPE_ID_RANGE
        sizes = np.load(index.folder / about.named("sizes-"), allow_pickle=False)
        here = open_lists(index.folder / about.named("lists-"), sizes, whole.code_size)
        here.copy_subset_to(lists, by_row, 0, about.indexed)
        whole.replace_invlists(lists, True)
        lists.this.disown()  # FAISS deletes them with the index
        whole.ntotal, whole.nprobe = about.indexed, plan.nprobe
    for start in range(about.indexed, about.n, _ROWS_AT_ONCE):
        whole.add(index.vectors(np.arange(start, min(start + _ROWS_AT_ONCE, about.n))))
    return fast_scan(whole) if plan.fast_scan else whole
