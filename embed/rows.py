"""A collection in the memory: one row a photo, its label, and what was left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from embed.columns import DEFAULT_LABEL, OWN_COLUMNS
from embed.errors import UserError

SHOWN = 3  # reasons in an error about many rows


@dataclass(frozen=True)
class Problem:
    """A row or file that was left out."""

    where: str  # path of the file, or "table.csv line 17"
    reason: str
    id: str | None = None


@dataclass
class Collection:
    """Photos, one a row, in the order of the table or of their paths.

    rows : DataFrame of text, missing = NA: `id` (unique), `path` (its location: an absolute path,
        ARCHIVE!/MEMBER or https://…, see `embed.sources`), `file_path` (as the table, the folder
        or the archive names it), then the table's columns; after `embed` also `key` and what
        tells cheaply that a file did not change
    """

    rows: Any
    label: str | None  # the column that holds the class
    root: Path
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # worth one printed line each


def photo_rows(root: Path, relative: Sequence[str], ids: Sequence[str] | None = None) -> Any:
    paths = [f"{root}/{name}" for name in relative]
    return frame({"id": relative if ids is None else ids, "path": paths, "file_path": relative})


def frame(columns: Mapping[str, Sequence[str | None]]) -> Any:
    return pd.DataFrame(columns, dtype="str")


def some_or_error(found: Collection) -> None:
    if not len(found.rows):
        why = [*found.notes, *(f"{p.where}: {p.reason}" for p in found.problems[:SHOWN])]
        raise UserError(
            f"There are no photos in {found.root} ({'; '.join(why) or 'the folder is empty'}). "
            "Expected files like .jpg, .png or .tif, in one folder for each class."
        )


def label_by_folder(
    found: Collection, label: str | None, names: Sequence[str | None] | None = None
) -> Collection:
    """Give every photo the name of its top-level folder as its label.

    names : the photos' paths below the folder of the class folders, where not `file_path`
    """
    name = label or DEFAULT_LABEL
    if name in OWN_COLUMNS:
        raise UserError(f"--label {name} is a column of the collection itself. Use another name.")
    folders = [(path or "").split("/") for path in names or found.rows["file_path"]]
    classes = [parts[0].strip() if len(parts) > 1 else None for parts in folders]
    loose = classes.count(None)
    if loose == len(classes):
        if label:
            raise UserError(
                f"{found.root} has no class folders, so there is no '{label}'. Sort the photos "
                "into one folder for each class, or give a table with --table."
            )
        found.notes.append("no class folders and no table: the photos have no label")
        return found
    if loose:
        found.notes.append(f"photos in no class folder, so without a {name}: {loose:,}")
    found.rows[name] = frame({name: classes})[name]
    found.label = name
    return found


def label_notes(found: Collection) -> list[str]:
    if found.label is None:
        return [f"no column '{DEFAULT_LABEL}': no labels (name their column with --label)"]
    labels = found.rows[found.label]
    notes = []
    if missing := int(labels.isna().sum()):
        notes.append(f"rows without a {found.label}: {missing:,} of {len(labels):,}")
    if words := int((labels == "NA").sum()):
        notes.append(f"rows whose {found.label} is the word 'NA': {words:,} (empty it if unknown)")
    return notes
