"""Photos and a table as one collection: validated rows of id, path and the table's columns."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from embed.errors import UserError, did_you_mean, near_path
from embed.files import whole_file
from embed.folders import Scan, is_text, scan_photos
from embed.matching import ID_COLUMNS, PATH_COLUMNS, match_rows
from embed.tables import Table, find_name, read_table

DEFAULT_LABEL = "family"
COURSE_TABLE = "metadata.csv"  # a folder with such a table needs no --table
OWN_COLUMNS = ("id", "path", "file_path", "key", "size", "mtime_ns")  # a table's own are renamed

_SHOWN = 3  # reasons in an error about many rows
_METADATA = b"familia"  # in the Parquet schema: {"label": …, "root": …} as JSON


@dataclass(frozen=True)
class Problem:
    """A row or file that was left out."""

    where: str  # path of the file, or "table.csv line 17"
    reason: str
    id: str | None = None


@dataclass
class Collection:
    """Photos, one a row, in the order of the table or of their paths.

    rows : DataFrame of text, missing = NA: `id` (unique), `path` (absolute), `file_path` (as the
        table or the folder names it), then the table's columns; after `embed` also `key` and
        what tells cheaply that a file did not change
    """

    rows: Any
    label: str | None  # the column that holds the class
    root: Path
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # worth one printed line each


def read_collection(
    photos: Path | None, table: Path | None, label: str | None = None
) -> Collection:
    """The collection in a folder of class folders, in a folder with a table, or in a table alone.

    A table's paths are relative to `photos`, else to the table's own folder. What is wrong with a
    row or a file becomes a `Problem` and the rest goes on; what is wrong as a whole is a
    `UserError`.
    """
    if table is not None:
        folder = None if photos is None else _existing(photos)
        if folder is not None and not folder.is_dir():
            raise UserError(f"With --table, PHOTOS is the folder of the photos. Got {photos}.")
        return _from_table(read_table(table, PATH_COLUMNS), folder, label)
    if photos is None:
        raise UserError("Name the photos: `cli embed PHOTOS`, or `cli embed --table TABLE.csv`.")
    root = _existing(photos)
    notes = []
    if (root / COURSE_TABLE).is_file():
        course = read_table(root / COURSE_TABLE, PATH_COLUMNS)
        if course.find(PATH_COLUMNS) is not None:
            course.notes.insert(0, f"{COURSE_TABLE} in the folder is taken as its table")
            return _from_table(course, root, label)
        notes = [f"{COURSE_TABLE} in the folder names no photos, so it is not used as a table"]
    found = _from_classes(find_photos(root), label)
    found.notes[:0] = notes
    return found


def find_photos(photos: Path) -> Collection:
    """A single photo, or all photos in and below a folder: ids and paths, no label."""
    root = _existing(photos)
    if root.is_dir():
        return _from_scan(root)
    if root.suffix.lower() in (".csv", ".tsv", ".txt"):
        raise UserError(f"{photos} is a table, not a photo. Run `cli embed --table {photos}`.")
    return Collection(_rows(root.parent, [root.name]), None, root.parent)


def save_collection(rows: Any, label: str | None, root: Path, path: Path) -> None:
    """Write `rows` as Parquet that any reader opens; label and root go to the schema's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(rows, preserve_index=False)
    about = json.dumps({"label": label, "root": str(root)}).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _METADATA: about})
    with whole_file(path) as scratch:
        pq.write_table(table, scratch)


def load_collection(path: Path) -> Collection:
    """What `save_collection` wrote; `UserError` where there is nothing or it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as handle:
            table = pq.read_table(handle)
        about = json.loads(table.schema.metadata[_METADATA])
        rows, label, root = table.to_pandas(), about["label"], Path(about["root"])
        wanted = {"id", "path", "file_path", "key", label or "id"}
        if not wanted <= set(rows) or not rows["id"].is_unique:
            raise ValueError("columns are missing")
    except FileNotFoundError as error:
        raise UserError(
            f"There is no collection in {path.parent} yet. Run `cli embed PHOTOS` first."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise UserError(
            f"{path} cannot be read: it is damaged, or `cli embed` did not write it. Move it away "
            "and run `cli embed PHOTOS` again: the stored vectors stay good."
        ) from error
    return Collection(rows, label, root)


# ---- folders


def _existing(path: Path) -> Path:
    """The absolute path of a folder, free of links, or of a file in such a folder."""
    try:
        path.stat()
        if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
            raise UserError(f"{path} cannot be read: there is no permission.")
    except FileNotFoundError as error:
        raise UserError(f"There is no folder or photo {path}.{near_path(path)}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    real = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
    if not is_text(str(real)):
        raise UserError(f"The name of {str(real)!r} is not UTF-8 text: rename it.")
    return real


def _scan(root: Path) -> Scan:
    try:
        return scan_photos(root)
    except OSError as error:
        raise UserError(f"The folder {root} cannot be read ({error.strerror}).") from error


def _from_scan(root: Path) -> Collection:
    scan = _scan(root)
    problems = [Problem(where, reason) for where, reason in sorted(scan.problems.items())]
    notes = []
    if scan.others:
        kinds = ", ".join(suffix or "no suffix" for suffix, _ in scan.others.most_common(_SHOWN))
        notes.append(f"other files, passed over: {scan.others.total():,} ({kinds})")
    if not scan.photos:
        found = "; ".join([*notes, *(f"{p.where}: {p.reason}" for p in problems[:_SHOWN])])
        raise UserError(
            f"There are no photos in {root} ({found or 'the folder is empty'}). "
            "Expected files like .jpg, .png or .tif, in one folder for each class."
        )
    return Collection(_rows(root, scan.photos), None, root, problems, notes)


def _rows(root: Path, relative: Sequence[str]) -> Any:
    paths = [f"{root}/{name}" for name in relative]
    return _frame({"id": relative, "path": paths, "file_path": relative})


def _from_classes(found: Collection, label: str | None) -> Collection:
    """Give every photo the name of its top-level folder as its label."""
    name = label or DEFAULT_LABEL
    if name in OWN_COLUMNS:
        raise UserError(f"--label {name} is a column of the collection itself. Use another name.")
    folders = [path.split("/") for path in found.rows["file_path"]]
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
    found.rows[name] = _frame({name: classes})[name]
    found.label = name
    return found


# ---- tables


def _from_table(table: Table, folder: Path | None, label: str | None) -> Collection:
    path_at = table.find(PATH_COLUMNS)
    if path_at is None:
        raise UserError(
            f"{table.path} has no column that names the photos: expected one of "
            f"{', '.join(PATH_COLUMNS)}; found {_some(table.columns)}."
        )
    if not table.rows and not table.bad:
        raise UserError(f"{table.path} has a header but no rows: expected one line a photo.")
    root = folder or _existing(table.path.parent)
    columns, notes = _columns(table, path_at)
    label_at = _label_column(table, columns, label)
    named, left_out = match_rows(table, root, path_at, label_at)
    problems = [
        Problem(f"{table.path.name} line {line}", reason, id_) for line, reason, id_ in left_out
    ]
    if not named:
        raise UserError(
            f"Not one of the {len(problems):,} rows of {table.path} names a photo in {root}: "
            f"{'; '.join(f'{p.where}: {p.reason}' for p in problems[:_SHOWN])}. "
            "Name the folder of the photos: `cli embed PHOTOS --table TABLE`."
        )
    rows = _frame(
        {
            "id": [photo.id for photo in named],
            "path": [photo.path for photo in named],
            "file_path": [photo.file_path for photo in named],
            **{name: [photo.cells[at] or None for photo in named] for at, name in columns.items()},
        }
    )
    found = Collection(rows, None, root, problems, [*table.notes, *notes])
    if label_at is not None:
        found.label = columns[label_at]
    found.notes += _label_notes(found)
    if folder:
        found.notes += _notes_on_unnamed(found)
    return found


def _columns(table: Table, path_at: int) -> tuple[dict[int, str], list[str]]:
    """The names that the table's columns get here, by place; and notes on those renamed."""
    taken, columns, notes = set(OWN_COLUMNS), {}, []
    id_at = table.find(ID_COLUMNS)
    for at, column in enumerate(table.columns):
        is_our_id = at == id_at and column.lower() == "id"
        nothing = not column and not any(row[at] for row in table.rows)
        if at == path_at or is_our_id or nothing:
            continue
        name = column or f"column_{at + 1}"
        while name in taken:
            name = f"table_{name}"
        taken.add(name)
        columns[at] = name
        if name != column:
            notes.append(f"column {at + 1} of {table.path.name} is called '{name}' here")
    return columns, notes


def _label_column(table: Table, columns: Mapping[int, str], label: str | None) -> int | None:
    for names in ({at: table.columns[at] for at in columns}, columns):
        found = find_name(list(names.values()), [label or DEFAULT_LABEL])
        if found is not None:
            return list(names)[found]
    if label is None:
        return None
    choices = did_you_mean(label, columns.values())
    raise UserError(f"{table.path} has no column '{label}' for the label. {choices}")


def _label_notes(found: Collection) -> list[str]:
    if found.label is None:
        return [f"no column '{DEFAULT_LABEL}': no labels (name their column with --label)"]
    labels = found.rows[found.label]
    notes = []
    if missing := int(labels.isna().sum()):
        notes.append(f"rows without a {found.label}: {missing:,} of {len(labels):,}")
    if words := int((labels == "NA").sum()):
        notes.append(f"rows whose {found.label} is the word 'NA': {words:,} (empty it if unknown)")
    return notes


def _notes_on_unnamed(found: Collection) -> list[str]:
    named = set(found.rows["path"])
    unnamed = sum(f"{found.root}/{name}" not in named for name in _scan(found.root).photos)
    return [f"photos in the folder that no row names: {unnamed:,}"] if unnamed else []


def _frame(columns: Mapping[str, Sequence[str | None]]) -> Any:
    return pd.DataFrame(columns, dtype="str")


def _some(names: Sequence[str]) -> str:
    shown = [name[:40] if name.isprintable() else repr(name[:40]) for name in names[:20]]
    return ", ".join(shown) + (" …" if len(names) > len(shown) else "")
