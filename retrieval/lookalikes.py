"""`cli search`: the photos of the collection that look most like a given one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embed.collection import load_collection
from embed.encoder import Choice
from embed.engine import embed_photos
from embed.errors import UserError
from embed.files import sha256
from embed.ingest import HowToEmbed, open_lane
from embed.store import EmbeddingStore
from embed.vectors import load_vectors, open_stores
from embed.workspace import Workspace
from retrieval.gallery import Tile, sections_of, write_gallery
from retrieval.search import open_index, search


def find_lookalikes(
    workspace: Workspace,
    query: str,
    k: int,
    encoders: Sequence[str] | None = None,
    choice: Choice | None = None,
    gallery: Path | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """The `k` hits of a photo's path or a row's id, best first, and the name of the label column.

    A row's id wins over a file of the same name. With `gallery` a page is written as well.
    """
    collection = load_collection(workspace.collection)
    rows, label = collection.rows, collection.label
    stores = open_stores(workspace, encoders)
    keys = rows["key"].tolist()
    X = load_vectors(stores, keys)
    ids = rows["id"].tolist()
    source = sha256("\n".join([*(store.spec.digest for store in stores), *ids, *keys]).encode())
    index = open_index(workspace.index(tuple(s.spec.name for s in stores)), ids, X, source)
    own = rows[rows["id"] == query]
    queries: dict[Any, Tile]
    if len(own) or not Path(query).exists():
        hits = search(rows, X, query, k, index=index)  # an unknown id is an error here
        queries = {query: Tile(own["path"].iloc[0], _label_of(own, label), name=query)}
    else:
        x, key = _encoded(workspace, Path(query), stores, choice)
        hits = search(rows, X, x, k, key, index)
        queries = {0: Tile(str(Path(query).absolute()), name=query)}
    if gallery is not None:
        sections = sections_of(hits, queries, label)
        write_gallery(gallery, f"Look-alikes of {Path(query).name}", sections, label=label or "")
    return [_plain(hit) for hit in hits.to_dict("records")], label


def _encoded(
    workspace: Workspace, photo: Path, stores: Sequence[EmbeddingStore], choice: Choice | None
) -> tuple[Any, str]:
    """The query's vector and key; the vector goes to the store, so asking again is free."""
    if photo.is_dir():
        raise UserError(f"{photo} is a folder. `cli search` takes one photo, or the id of a row.")
    how = HowToEmbed(choice or Choice())
    lanes = [open_lane(workspace, store.spec.source, how) for store in stores]
    done = embed_photos([str(photo)], lanes)
    if done.problems:
        raise UserError(f"{photo} cannot be read: {done.problems[str(photo)]}.")
    return load_vectors([lane.store for lane in lanes], done.keys)[0], done.keys[0]


def _label_of(own: Any, label: str | None) -> str | None:
    value = own[label].iloc[0] if label else None
    return value if isinstance(value, str) else None


def _plain(hit: dict[str, Any]) -> dict[str, Any]:
    """A hit as JSON takes it: NA is None."""
    import pandas as pd

    return {
        name: None if pd.isna(value) else round(value, 6) if name == "similarity" else value
        for name, value in hit.items()
        if name not in ("query", "key", "size", "mtime_ns")
    }
