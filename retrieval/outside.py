"""Photos that are not in the collection beside those that are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embed.collection import find_photos
from embed.encoder import Choice
from embed.engine import embed_photos
from embed.errors import UserError
from embed.ingest import HowToEmbed, open_lane, unreadable, with_stamps
from embed.store import EmbeddingStore
from embed.workspace import Workspace

SHOWN = 3  # unreadable photos that are named


def photos_outside(
    workspace: Workspace,
    stores: Sequence[EmbeddingStore],
    rows: Any,
    photos: Path,
    choice: Choice | None = None,
) -> tuple[Any, list[str]]:
    """The collection's rows with those of `photos` below, and notes worth printing.

    rows : DataFrame: id, path, file_path, key and new (False); photos : a folder, an archive or a
    photo. Its vectors go into the workspace's stores. A new photo's id is its path. Photos of the
    collection itself, and those that cannot be read, are left out. Raises `UserError` where no
    photo remains.
    """
    import pandas as pd

    found = find_photos(photos)
    known = found.rows["path"].isin(rows["path"])
    fresh = found.rows[~known].reset_index(drop=True)
    if not len(fresh):
        raise UserError(
            f"All photos of {photos} are in the collection already. Name a folder with others, or "
            "run `cli duplicates` without --against."
        )
    lanes = [open_lane(workspace, s.spec.source, HowToEmbed(choice or Choice())) for s in stores]
    done = embed_photos(fresh["path"].tolist(), lanes)
    problems = unreadable(fresh, done)
    if not done.readable.any():
        why = "; ".join(f"{one.where}: {one.reason}" for one in problems[:SHOWN])
        raise UserError(f"None of the photos of {photos} could be read ({why}).")
    new = with_stamps(fresh, done)[["path", "file_path", "key"]].assign(new=True)
    new.insert(0, "id", new["path"])
    notes = list(found.notes)
    if known.any():
        notes.append(f"photos of {photos} that are in the collection: {int(known.sum()):,}")
    notes += [f"{one.where} is left out: {one.reason}" for one in problems[:SHOWN]]
    if len(problems) > SHOWN:
        notes.append(f"and {len(problems) - SHOWN:,} more photos are left out")
    return pd.concat([rows, new], ignore_index=True), notes
