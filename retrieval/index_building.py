"""Building a big index chunk by chunk, going on where a killed build stopped; adding, removing."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.files import mendable, whole_file
from embed.parts import unit
from retrieval.faiss_parts import encode_rows, new_graph, train_ivf
from retrieval.index import load_faiss
from retrieval.index_files import (
    CODE_LISTS,
    CODES,
    About,
    add_file,
    append,
    append_rows,
    only_writer,
    read_about,
    tidy,
    vectors_of,
    write_about,
)
from retrieval.inverted_lists import fold, pack
from retrieval.plan import Dtype, Plan
from retrieval.row_ids import mapped
from retrieval.row_source import RowSource

I64 = NDArray[np.int64]
Rows = NDArray[Any]
Choose = Callable[[Rows], Plan]  # from the rows, memory-mapped
Progress = Callable[[str, int, int], None]  # what, done, of how many

TAIL = 16_384  # rows behind FAISS's files, compared one by one, before they are folded in
TRAINED = "trained.faiss"
_CHUNK_BYTES = 32 * 2**20
_GRAPH_STEPS = 8  # a killed build of a graph loses an eighth at most


def rows_a_chunk(dim: int) -> int:
    return max(1024, _CHUNK_BYTES // (4 * dim))


def silent(what: str, done: int, total: int) -> None:
    """No progress."""


def build(
    source: RowSource,
    folder: Path,
    plan: Plan | Choose,
    wish: str = "",
    dtype: Dtype = "float32",
    progress: Progress = silent,
    chunk_rows: int | None = None,
) -> About:
    """An index of all rows of `source` in `folder`, in place of what was there.

    plan : a `Plan`, or what makes one from the rows (n, dim) once they lie in the folder, kept as
    `dtype`; wish : what tells one such maker from another. Memory holds a chunk (32 MB), the
    sample that is trained on (256 MB) and, of hnsw alone, the graph. The work lies in
    FOLDER.building until it is whole. Called again after a kill with the same source and plan, it
    goes on from the last chunk (of a graph from the last eighth). Raises `UserError`.
    """
    work = folder.with_name(f"{folder.name}.building")
    made_by = f"{source.digest} {plan.to_json() if isinstance(plan, Plan) else wish}"
    if folder.exists() and any(folder.iterdir()) and not (folder / "index.json").exists():
        raise UserError(f"{folder} is not an index: choose another folder, or remove it yourself.")
    with only_writer(work):
        first = plan if isinstance(plan, Plan) else Plan("flat", dtype=dtype)
        about = _begin(work, About(source.dim, first, source.encoders, made_by))
        about = _take_rows(work, about, source, progress, chunk_rows)
        if about.n == 0:
            raise UserError("There are no photos to index. Run `cli embed PHOTOS` first.")
        if not about.planned:
            chosen = plan if isinstance(plan, Plan) else plan(vectors_of(work, about))
            about = replace(about, plan=replace(chosen, dtype=about.plan.dtype), planned=True)
            write_about(work, about)
        about = index_rows(work, about, progress, chunk_rows)
        tidy(work, about)
        _put_in_place(work, folder)
    return about


def add(
    folder: Path, source: RowSource, progress: Progress = silent, chunk_rows: int | None = None
) -> About:
    """Append the rows of `source`, whose ids the index must not have yet.

    Each chunk counts as soon as it is on the disk. Rows are found at once; from 16,384 on they
    go into the lists or the graph. Raises `UserError` for vectors of another encoder.
    """
    with only_writer(folder):
        about = read_about(folder)
        if about.encoders != source.encoders:
            raise UserError(
                f"{folder} was made of vectors of {_names(about.encoders)}, not of "
                f"{_names(source.encoders)} as it is now. Run `cli index --rebuild`."
            )
        tidy(folder, about)
        end, start = about.n + source.n, about.n
        for chunk in source.chunks(0, chunk_rows or rows_a_chunk(source.dim)):
            about = append_rows(folder, about, chunk)
            progress("rows", about.n - start, end - start)
        if about.n - about.indexed > TAIL:
            about = index_rows(folder, about, progress, chunk_rows)
        tidy(folder, about)
    return about


def remove(folder: Path, rows: I64) -> About:
    """Take rows out of all answers. Their bytes stay until the index is built anew."""
    with only_writer(folder):
        about = read_about(folder)
        gone = np.union1d(removed_rows(folder, about), rows).astype("<i8")
        if len(gone) and not 0 <= gone[0] <= gone[-1] < about.n:
            raise ValueError(f"expected rows below {about.n}, got {gone[0]} to {gone[-1]}")
        about = _with_array(folder, about, "removed", f"removed-{len(gone)}.npy", gone)
        write_about(folder, about)
        tidy(folder, about)
    return about


def removed_rows(folder: Path, about: About) -> I64:
    """(m,) rows that were removed, ascending."""
    name = about.named("removed-")
    return np.load(folder / name, allow_pickle=False) if name else np.empty(0, np.int64)


def index_rows(
    folder: Path, about: About, progress: Progress, chunk_rows: int | None = None
) -> About:
    """Bring the rows from `about.indexed` on into the lists or the graph."""
    rows = chunk_rows or rows_a_chunk(about.dim)
    if about.plan.kind == "ivf":
        return _fold(folder, _encode(folder, _train(folder, about, progress), progress, rows))
    if about.plan.kind == "hnsw":
        return _grow(folder, about, progress, rows)
    return about


def _begin(work: Path, wanted: About) -> About:
    """What a killed build left, where it is of the same rows and plan; else an empty folder."""
    try:
        about = read_about(work)
        if (about.source, about.encoders) == (wanted.source, wanted.encoders):
            tidy(work, about)
            return about
    except UserError:
        pass
    tidy(work, wanted)
    write_about(work, wanted)
    return wanted


def _take_rows(
    work: Path, about: About, source: RowSource, progress: Progress, chunk_rows: int | None
) -> About:
    if about.n < source.n:
        for chunk in source.chunks(about.n, chunk_rows or rows_a_chunk(source.dim)):
            about = append_rows(work, about, chunk)
            progress("rows", about.n, source.n)
    return about


def _put_in_place(work: Path, folder: Path) -> None:
    old = folder.with_name(f"{folder.name}.old")
    try:
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        work.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise mendable(error, folder) from error


# ---- IVF


def _train(folder: Path, about: About, progress: Progress) -> About:
    if TRAINED in about.files:
        return about
    progress("training", 0, 1)
    ivf = train_ivf(about.plan, vectors_of(folder, about))
    about = _with_faiss(folder, about, "trained", TRAINED, ivf)
    write_about(folder, about)
    progress("training", 1, 1)
    return about


def _encode(folder: Path, about: About, progress: Progress, rows: int) -> About:
    ivf, start = load_faiss().read_index(str(folder / TRAINED)), about.indexed
    while about.coded < about.n:
        at = slice(about.coded, min(about.coded + rows, about.n))
        lists, codes = encode_rows(ivf, unit(vectors_of(folder, about)[at]))
        append(folder / CODES, (at.start - start) * ivf.code_size, codes.tobytes())
        append(folder / CODE_LISTS, (at.start - start) * 4, lists.astype("<i4").tobytes())
        about = replace(about, coded=at.stop)
        write_about(folder, about)
        progress("codes", at.stop - start, about.n - start)
    return about


def _fold(folder: Path, about: About) -> About:
    m = about.coded - about.indexed
    if m == 0:
        return about
    ivf = load_faiss().read_index(str(folder / TRAINED))
    new = mapped(folder / CODE_LISTS, "<i4", (m,))
    old, before = None, np.empty(0, "<i4")
    if name := about.named("lists-"):
        old = folder / name, np.load(folder / about.named("sizes-"))
        before = np.load(folder / about.named("list-of-row-"), mmap_mode="r")
    path = folder / f"lists-{about.coded}.bin"
    with whole_file(path) as scratch:
        sizes = fold(
            old, folder / CODES, new, about.indexed, ivf.code_size, about.plan.nlist, scratch
        )
    about = add_file(about.without("lists-"), path)
    if about.plan.fast_scan:
        path = folder / f"blocks-{about.coded}.bin"
        with whole_file(path) as scratch:
            pack(ivf, folder / about.named("lists-"), sizes, scratch)
        about = add_file(about.without("blocks-"), path)
    about = _with_array(folder, about, "sizes", f"sizes-{about.coded}.npy", sizes)
    of_row = np.concatenate([before, new])
    name = f"list-of-row-{about.coded}.npy"
    about = replace(_with_array(folder, about, "list-of-row", name, of_row), indexed=about.coded)
    write_about(folder, about)
    return about


# ---- HNSW


def _grow(folder: Path, about: About, progress: Progress, rows: int) -> About:
    faiss = load_faiss()
    name = about.named("graph-")
    graph = faiss.read_index(str(folder / name)) if name else new_graph(about.plan, about.dim)
    step = max(rows, -(-(about.n - about.indexed) // _GRAPH_STEPS))
    if not graph.is_trained:  # the range of sq8's bytes
        sample = np.sort(np.random.default_rng(0).choice(about.n, min(about.n, 65_536), False))
        graph.train(unit(vectors_of(folder, about)[sample]))
    while about.indexed < about.n:
        stop = min(about.indexed + step, about.n)
        for at in range(about.indexed, stop, rows):
            part = slice(at, min(at + rows, stop))
            graph.add(unit(vectors_of(folder, about)[part]))
            progress("graph", part.stop, about.n)
        about = _with_faiss(folder, about, "graph", f"graph-{stop}.faiss", graph)
        about = replace(about, indexed=stop, coded=stop)
        write_about(folder, about)
    return about


# ---- files


def _with_array(folder: Path, about: About, prefix: str, name: str, array: Any) -> About:
    with whole_file(folder / name) as scratch, scratch.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)
    return add_file(about.without(f"{prefix}-"), folder / name)


def _with_faiss(folder: Path, about: About, prefix: str, name: str, index: Any) -> About:
    faiss = load_faiss()
    with whole_file(folder / name) as scratch, scratch.open("wb") as handle:
        # FAISS's own file writer does not notice a disk that fills up at the close
        faiss.write_index(index, faiss.PyCallbackIOWriter(handle.write))
    return add_file(about.without(f"{prefix}-"), folder / name)


def _names(encoders: list[list[str]]) -> str:
    return " and ".join(f"{name} ({digest[:8]})" for name, digest in encoders)
