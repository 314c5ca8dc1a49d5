"""Look-alikes of a photo or of a row of the collection, with all that the table says of them."""

import heapq
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from retrieval.index import Index

F32 = NDArray[np.float32]

_FIRST = ("query", "rank", "id", "similarity", "file_path", "path", "same_photo")


def open_index(folder: Path, ids: Sequence[str], X: F32, source: str) -> Index:
    """The saved index where it was made from `source` with these ids; else a new one, saved.

    X : (n, dim) float32, unit rows in the order of `ids`; source : digest of what made them. A
    damaged index is made anew, and one that cannot be saved still searches: it is only a copy.
    """
    if Index.fresh(folder, source):
        try:
            index = Index.load(folder)
            if index.ids == list(ids) and index.dim == X.shape[1]:
                return index
        except UserError:
            pass
    index = Index.build(X, ids, source=source)
    with suppress(UserError, OSError):
        index.save(folder)
    return index


def search(
    rows: Any, X: F32, query: str | F32, k: int, key: str | None = None, index: Index | None = None
) -> Any:
    """The look-alikes of one row's id or one vector, as `neighbours` gives them.

    rows : the collection (DataFrame); X : (n, dim) float32, its unit rows; query : an id or a
    (dim,) float32 unit vector; key : SHA-256 of the photo's bytes where `query` is its vector;
    index : one over the same ids, or a flat one is built. Raises `UserError` for an unknown id.
    """
    if index is None:
        index = Index.build(X, rows["id"].tolist(), kind="flat")
    if isinstance(query, str):
        return search_by_id(index, rows, X, query, k)
    return search_by_vector(index, rows, query, k, key)


def search_by_id(index: Index, rows: Any, X: F32, name: str, k: int) -> Any:
    """The look-alikes of the row `name`, which itself is left out."""
    found = np.flatnonzero((rows["id"] == name).to_numpy(dtype=bool))
    if not len(found):
        raise UserError(
            f"'{name}' is neither an id in the collection nor a photo here. "
            f"{nearest_ids(name, rows['id'])}Ids are in the column id of collection.parquet; "
            "a photo is given by its path: `cli search folder/photo.jpg`."
        )
    keys = [rows["key"].iloc[found[0]]]
    return neighbours(index, rows, X[found[:1]], k, names=[name], keys=keys, exclude=[[name]])


def search_by_vector(index: Index, rows: Any, x: F32, k: int, key: str | None = None) -> Any:
    """The look-alikes of one vector x : (dim,); rows with the content `key` come first."""
    return neighbours(index, rows, x[None], k, keys=[key])


def neighbours(
    index: Index,
    rows: Any,
    X: F32,
    k: int,
    exclude: Sequence[Collection[str]] | None = None,
    names: Sequence[str] | None = None,
    keys: Sequence[str | None] | None = None,
) -> Any:
    """The k nearest rows of every query, as a DataFrame with one row a hit.

    X : (q, dim) float32, unit rows; exclude : ids that each query leaves out; names : what the
    queries are called (else 0, 1, …); keys : the SHA-256 of each query's photo, where it has one.
    Columns: query, rank (1 is best), id, similarity (cosine, float32), file_path, path, same_photo
    (the content is the query's own; such hits come first), then the table's. A column of the table
    that has one of our names is called `table_…`.
    """
    import pandas as pd

    row_of = {name: row for row, name in enumerate(index.ids)}
    parts = []
    for i, x in enumerate(X):
        banned = {row_of[name] for name in exclude[i] if name in row_of} if exclude else set()
        key = keys[i] if keys else None
        copies = [] if key is None else rows.loc[rows["key"] == key, "id"].map(row_of).tolist()
        copies = sorted(set(copies) - banned)
        near, _ = index.query_rows(x[None], k, [banned.union(copies)])
        place = np.concatenate([np.array(copies, dtype=np.int64), near[0]])[:k]
        parts.append(
            pd.DataFrame(
                {
                    "query": names[i] if names else i,
                    "rank": np.arange(1, len(place) + 1),
                    "id": [index.ids[row] for row in place],
                    "similarity": index.cosines(x, place),
                    "same_photo": np.arange(len(place)) < len(copies),
                }
            )
        )
    return _with_table(pd.concat(parts, ignore_index=True), rows)


def nearest_ids(name: str, ids: Iterable[str], n: int = 3) -> str:
    """A sentence with the ids most like `name`, or nothing. Quick for a million ids."""
    # difflib alone would take minutes there: only those that begin and end alike are compared
    alike = heapq.nlargest(50, ids, key=lambda other: _ends_alike(name, other))
    near = [repr(other) for other in get_close_matches(name, alike, n=n, cutoff=0.5)]
    return f"Did you mean {' or '.join(near)}? " if near else ""


def _ends_alike(a: str, b: str) -> int:
    """Letters that two words have in common at the beginning and at the end."""
    return _begin_alike(a, b) + _begin_alike(a[::-1], b[::-1])


def _begin_alike(a: str, b: str) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def _with_table(hits: Any, rows: Any) -> Any:
    """The hits with the columns of their rows in the collection."""
    ours = {name: f"table_{name}" for name in hits.columns if name != "id"}
    table = rows.rename(columns=ours).set_index("id")
    joined = hits.join(table, on="id", validate="many_to_one")
    return joined[[*_FIRST, *(name for name in joined.columns if name not in _FIRST)]]
