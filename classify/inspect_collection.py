"""A look at the whole collection before anything is fitted: files and one page."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from classify.census import Census
from classify.class_texts import text_encoder
from classify.dataset import Dataset
from classify.doubts import find_doubts
from classify.file_summary import FileSummary
from classify.folds import in_one_group
from classify.inconsistencies import inconsistencies
from classify.inspect_page import write_inspect_page
from classify.inspection import Inspection
from classify.no_organism import no_organism
from classify.splits import Split
from embed.collection import load_collection
from embed.errors import UserError
from embed.perceptual import HASHES
from embed.photo_facts import photo_facts
from embed.texts import text_vectors
from embed.vectors import load_vectors, open_stores
from embed.workspace import Workspace
from retrieval.near_duplicates import near_duplicates

SURE = ("exact", "near")  # kinds of pairs that are copies


def inspect_collection(
    workspace: Workspace,
    encoders: Sequence[str] | None = None,
    split_name: str = "default",
    seed: int = 0,
) -> Inspection:
    """Count, compare and judge what the collection holds; write `inspect/` in the workspace.

    Labels of test photos are counted but not judged: where there is a split, doubts are about
    the others alone. Copies are looked for among all photos. Raises `UserError` where there are
    no photos or vectors, and for a split that is named and not there.
    """
    photos, notes = whole_collection(workspace, encoders, split_name)
    facts = photo_facts(photos.rows, workspace.facts)
    keys = photos.rows["key"].tolist()
    pairs = near_duplicates(photos.X, photos.ids, facts[list(HASHES)].to_numpy(), keys)
    learnt = photos.some((photos.y != "") & (photos.side != "test"))
    labelled = bool(photos.label)
    empty, why = _no_organism(workspace, photos, learnt)
    found = Inspection(
        folder=workspace.folder / "inspect",
        photos=photos,
        census=Census.of(photos.rows, photos.label) if labelled else None,
        files=FileSummary.of(facts, max(spec.transform.crop for spec in photos.specs)),
        facts=facts,
        pairs=_with_sides(pairs, photos),
        doubts=find_doubts(_copies_joined(learnt, pairs), seed) if labelled else None,
        empty=empty,
        left_out=_left_out(workspace),
        inconsistencies=inconsistencies(photos.rows, photos.label) if labelled else [],
        notes=[*notes, *why],
    )
    found.write()
    write_inspect_page(found)
    return found


def whole_collection(
    workspace: Workspace, encoders: Sequence[str] | None, split_name: str
) -> tuple[Dataset, list[str]]:
    """Every photo of the collection, labelled or not, and notes worth printing.

    `y` is empty where there is no label, `side` where the split does not name the photo or there
    is none: none is made here.
    """
    collection = load_collection(workspace.collection)
    stores = open_stores(workspace, encoders)
    rows, label = collection.rows.reset_index(drop=True), collection.label
    path, notes = workspace.split(split_name), []
    sides = pd.DataFrame(columns=["split", "group"], dtype=str)
    if path.exists() or split_name != "default":
        sides = Split.load(path).table.set_index("id")
    elif label:
        notes.append(
            "no split yet, so all labels were judged; `cli split` first keeps those of the test "
            "photos out of it"
        )
    found = sides.reindex(rows["id"])
    photos = Dataset(
        rows=rows,
        X=load_vectors(stores, rows["key"].tolist()),
        y=rows[label].fillna("").to_numpy(dtype=str) if label else np.full(len(rows), ""),
        side=found["split"].fillna("").to_numpy(dtype=str),
        group=found["group"].astype(object).where(found["group"].notna(), rows["key"].to_numpy())
        .astype(str).to_numpy(dtype=str),
        label=label or "",
        specs=tuple(store.spec for store in stores),
    )  # fmt: skip
    return photos, notes


def _copies_joined(photos: Dataset, pairs: Any) -> Dataset:
    """The photos with near-duplicates in one group, at first or second hand.

    A class that is all of one group (a family with one species, split by species) could not be
    judged, so of its photos copies alone are joined.
    """
    own = np.where(in_one_group(photos), photos.rows["key"].to_numpy(dtype=str), photos.group)
    place = {name: i for i, name in enumerate(photos.ids)}
    sure = pairs[pairs["kind"].isin(SURE) & pairs["a"].isin(place) & pairs["b"].isin(place)]
    group = np.unique(own, return_inverse=True)[1]
    first = np.unique(group, return_index=True)[1][group]  # a row of the same group
    a = np.concatenate([np.arange(len(photos)), sure["a"].map(place).to_numpy(dtype=int)])
    b = np.concatenate([first, sure["b"].map(place).to_numpy(dtype=int)])
    links = coo_array((np.ones(len(a)), (a, b)), shape=(len(photos), len(photos)))
    return replace(photos, group=connected_components(links, directed=False)[1].astype(str))


def _with_sides(pairs: Any, photos: Dataset) -> Any:
    """Pairs with files, sides and labels; those of test photos stay unread."""
    rows = pd.DataFrame(
        {
            "file": photos.rows["file_path"].astype(str).to_numpy(),
            "path": photos.rows["path"].astype(str).to_numpy(),
            "side": photos.side,
            "label": np.where(photos.side == "test", "", photos.y),
        },
        index=photos.ids,
    )
    known = pairs.copy()
    for end in ("a", "b"):
        known = known.join(rows.add_suffix(f"_{end}"), on=end)
    both = (known["label_a"] != "") & (known["label_b"] != "")
    known["across_classes"] = both & (known["label_a"] != known["label_b"])
    both = (known["side_a"] != "") & (known["side_b"] != "")
    known["across_split"] = both & (known["side_a"] != known["side_b"])
    known.attrs = dict(pairs.attrs)
    return known


def _no_organism(workspace: Workspace, photos: Dataset, learnt: Dataset) -> tuple[Any, list[str]]:
    if text_encoder(photos) is None:
        return None, []
    try:
        return no_organism(photos, learnt, partial(text_vectors, workspace)), []
    except UserError as error:
        return None, [f"photos without an organism were not looked for: {error}"]


def _left_out(workspace: Workspace) -> list[dict[str, str]]:
    try:
        with workspace.skipped.open(newline="", encoding="utf-8") as handle:
            return list(csv.DictReader(handle))
    except FileNotFoundError:
        return []
