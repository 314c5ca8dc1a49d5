"""`cli search --index`: look-alikes in a FAISS index that another program made.

Its rows are known by the ids that travel with it. Where the workspace has all of them, everything
works as with an index of one's own; else the hits are described by the index's own metadata.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embed.columns import PATH_COLUMNS
from embed.errors import UserError
from embed.workspace import Workspace
from retrieval.faiss_exchange import Foreign, ForeignIndex, metadata_rows, read_index
from retrieval.faiss_export import ROW
from retrieval.lookalikes import Lookalikes, add_percentiles, narrowed
from retrieval.queries import Query, SearchBy, read_queries
from retrieval.searchable import Searchable

if TYPE_CHECKING:
    from embed.encoder import Choice

_COMPARED = 50  # rows that must be the encoder's
_AMONG = 10  # best hits, of which one must be the row itself
_OWN = 0.98  # a vector's cosine with itself, kept as float16 or scaled elsewhere
_PLACES = ("path", "image_path", *PATH_COLUMNS, "url")  # the first two are where a photo lies
_OPTIONS = {
    "where": "--where", "exclude_same": "--exclude-same", "unique": "--unique",
    "diverse": "--diverse",
}  # fmt: skip


def foreign_lookalikes(
    workspace: Workspace,
    index: Path,
    ids: Path | None,
    asked: SearchBy,
    k: int,
    encoders: Sequence[str] | None = None,
    choice: "Choice | None" = None,
    **narrow: Any,
) -> Lookalikes:
    """The `k` hits of every query among the rows of an index that was made elsewhere, best first.

    index : a folder of autofaiss or clip-retrieval, or a FAISS file with `ids`, the Parquet file
    or folder that names its rows (see `read_index`); the other arguments as of `lookalikes`. The
    queries are photos, rows of the workspace and words, by the encoder that made the index.

    Where the workspace lacks some of the rows, hits have the columns of the index's metadata and
    no percentile, and of `narrow` only `page` is possible. Raises `UserError` for an index that is
    no good or of another encoder, and for filters that need rows that are not here.
    """
    place = Searchable(workspace, encoders)
    found = read_index(index, ids)
    if found.index.dim != place.dim:
        names = " + ".join(spec.name for spec in place.specs)
        raise UserError(
            f"{index} has {found.index.dim:,} numbers a photo and {names} gives {place.dim:,}. "
            "Choose the encoder that made it: --encoder NAME (`cli encoders` lists them)."
        )
    missing = sum(name not in place.photos.row_of for name in found.index.ids)
    if missing:
        _refuse(narrow, missing, len(found.index))
    else:
        _check_encoder(place, found, index)
    queries, left_out = read_queries(place, asked, choice)
    if missing:
        ours, rows = _described(found, queries, k, narrow.get("page", 1))
        label = place.label if place.label in rows.column_names else None
        scale = f"{missing:,} of {len(found.index):,} photos of the index are not in this workspace"
        note = f"{scale}: no percentiles, and nothing tells whether its encoder is the same"
    else:
        ours, rows = narrowed(place, found.index, queries, k, **narrow)
        note, label = add_percentiles(place, queries, ours), place.label
    return Lookalikes(ours, rows, queries, label, left_out, "; ".join([*found.notes, note]))


def _refuse(narrow: dict[str, Any], missing: int, n: int) -> None:
    for name, option in _OPTIONS.items():
        if name in narrow:
            raise UserError(
                f"{option} needs the rows of the index in this workspace, and {missing:,} of "
                f"{n:,} are not in it. Run `cli embed` on those photos, or leave {option} out."
            )


def _check_encoder(place: Searchable, found: Foreign, path: Path) -> None:
    """That rows of the index are what the workspace's encoder made of the same photos."""
    n = len(found.index)
    rows = np.arange(0, n, max(1, n // _COMPARED))
    own = [place.photos.row_of[found.index.ids[row]] for row in rows]
    near, cosines = found.index.search(
        place.vectors([place.photos.keys[row] for row in own]), _AMONG
    )
    itself = near == rows[:, None]
    if not isinstance(found.index, ForeignIndex):  # exact cosines: the vector itself, or none
        alike = cosines.max(axis=1) >= _OWN
        itself &= alike[:, None]
    if itself.any(axis=1).mean() < 0.5:
        names = " + ".join(spec.name for spec in place.specs)
        raise UserError(
            f"{path} holds other vectors than {names} made of the same photos. Choose the encoder "
            "that made it: --encoder NAME."
        )


def _described(
    found: Foreign, queries: Sequence[Query], k: int, page: int
) -> tuple[dict[str, list[Any]], Any]:
    """The hits with the columns of the index's own metadata."""
    index = found.index
    most = k * page + max((len(query.exclude) for query in queries), default=0)
    near, cosines = index.search(np.stack([query.vector for query in queries]), most)
    hits = []
    for i, query in enumerate(queries):
        pairs = zip(near[i].tolist(), cosines[i].tolist(), strict=True)
        left = [(row, cosine) for row, cosine in pairs if index.ids[row] not in query.exclude]
        hits += [(query, rank, *hit) for rank, hit in enumerate(left[: k * page], 1)]
    hits = [hit for hit in hits if hit[1] > k * (page - 1)]
    rows = _named(metadata_rows(found, [hit[2] for hit in hits]), [index.ids[h[2]] for h in hits])
    keys = rows["key"].to_pylist()
    ours: dict[str, list[Any]] = {
        "query": [query.name for query, *_ in hits],
        "rank": [rank for _, rank, *_ in hits],
        "similarity": [cosine for *_, cosine in hits],
        "percentile": [None] * len(hits),
        "same_photo": [
            key is not None and key == hit[0].key for key, hit in zip(keys, hits, strict=True)
        ],
    }
    return ours, rows


def _named(table: Any, ids: Sequence[str]) -> Any:
    """The metadata with the columns that a hit has: id, path, file_path and key before the rest."""
    import pyarrow as pa

    def texts(*names: str) -> list[str | None] | None:
        there = next((name for name in names if name in table.column_names), None)
        if there is None:
            return None
        return [None if v is None else str(v) for v in table[there].to_pylist()]

    paths = texts(*_PLACES) or [""] * len(ids)
    own = {
        "id": pa.array(ids, pa.string()),
        "path": pa.array(paths, pa.string()),
        "file_path": pa.array(texts("file_path", *_PLACES) or paths, pa.string()),
        "key": pa.array(texts("key") or [None] * len(ids), pa.string()),
    }
    rest = {n: table[n] for n in table.column_names if n not in own and n != ROW}
    return pa.table(own | rest)
