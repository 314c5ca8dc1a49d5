"""Near-duplicates of a collection as groups: photos that look the same are no two witnesses."""

from collections.abc import Mapping, Sequence
from typing import Any

from embed.perceptual import HASHES
from embed.photo_facts import photo_facts
from embed.vectors import load_vectors, open_stores
from embed.workspace import Workspace
from retrieval.near_duplicates import groups_of, near_duplicates


def near_groups(
    workspace: Workspace, rows: Any, encoders: Sequence[str] | None = None
) -> Mapping[str, str]:
    """id -> the first id of its group, for those of the `rows` (id, path, key) that are in one.

    By the vectors of the first encoder and by perceptual hash (see `retrieval.near_duplicates`);
    pairs that are only maybe copies are taken for such, since a split loses nothing by it.
    """
    ids, keys = rows["id"].tolist(), rows["key"].tolist()
    X = load_vectors(open_stores(workspace, encoders)[:1], keys)
    hashes = photo_facts(rows, workspace.facts)[list(HASHES)].fillna("").to_numpy()
    pairs = near_duplicates(X, ids, hashes, keys)
    paired = {*pairs["a"], *pairs["b"]}
    groups = dict(zip(ids, groups_of(pairs, ids).tolist(), strict=True))
    return {id_: group for id_, group in groups.items() if id_ in paired}
