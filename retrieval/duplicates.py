"""`cli duplicates`: the copies in a collection, exact and near, as groups."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embed.collection import load_collection
from embed.encoder import Choice
from embed.errors import UserError
from embed.perceptual import HASHES
from embed.photo_facts import photo_facts
from embed.vectors import load_vectors, open_stores
from embed.workspace import Workspace
from retrieval.cosine_pairs import pairs_above
from retrieval.duplicate_groups import Duplicates, grouped
from retrieval.duplicates_page import write_duplicates_page
from retrieval.near_duplicates import near_duplicates
from retrieval.outside import photos_outside


def find_duplicates(
    workspace: Workspace,
    encoders: Sequence[str] | None = None,
    threshold: float | None = None,
    maybe: bool = False,
    against: Path | None = None,
    choice: Choice | None = None,
) -> Duplicates:
    """Group the copies of a collection; write `duplicates/` in the workspace. Nothing is deleted.

    threshold : a cosine from which on photos count as copies; without, the line is found from the
        data (see `retrieval.near_duplicates`); maybe : take pairs that are only maybe copies for
        such; against : a folder or a photo that is not in the collection: only groups with one of
        its photos are kept, and the collection's own photo is the one to keep; choice : where
        those are encoded

    Raises `UserError` where there is no collection, where a photo's vector is missing, and for a
    threshold that is no cosine.
    """
    collection = load_collection(workspace.collection)
    stores = open_stores(workspace, encoders)
    rows = collection.rows[["id", "path", "file_path", "key"]].assign(new=False)
    notes: list[str] = []
    photos, outside = len(rows), None
    if against is not None:
        rows, notes = photos_outside(workspace, stores, rows, against, choice)
        outside = len(rows) - photos
    keys, ids = rows["key"].tolist(), rows["id"].tolist()
    X = load_vectors(stores, keys)
    facts = photo_facts(rows, workspace.facts)
    if threshold is None:
        pairs = near_duplicates(X, ids, facts[list(HASHES)].fillna("").to_numpy(), keys)
        rule = str(pairs.attrs["rule"])
    else:
        pairs = pairs_above(X, ids, keys, threshold)
        rule = f"a cosine of {threshold:g} or more, as given"
    unsure = pairs["kind"] == "maybe"
    taken = pairs if maybe else pairs[~unsure]
    found = Duplicates(
        folder=workspace.folder / "duplicates",
        table=grouped(rows, X, facts, taken),
        photos=photos,
        outside=outside,
        encoders=[store.spec.name for store in stores],
        maybe=0 if maybe else _asked(pairs[unsure], rows, outside),
        rule=rule,
        notes=notes,
    )
    if threshold is not None and max(map(len, found.groups), default=0) > max(2, len(rows) / 2):
        raise UserError(
            f"With a cosine of {threshold:g} more than half of all photos hang together as one "
            "group: that joins different photos. Give a higher --threshold, or none."
        )
    found.write()
    write_duplicates_page(found)
    return found


def _asked(pairs: Any, rows: Any, outside: int | None) -> int:
    """How many of the pairs are about a photo that was asked for."""
    new = set(rows.loc[rows["new"], "id"])
    return (
        len(pairs) if outside is None else int((pairs["a"].isin(new) | pairs["b"].isin(new)).sum())
    )
