"""Photos and a table as one collection: validated rows of id, path and the table's columns."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from embed.archives import open_archive, refuse_packed
from embed.columns import PATH_COLUMNS, label_column, named_columns, no_label, own_names
from embed.errors import UserError, near_path
from embed.files import whole_file
from embed.folders import ARCHIVE_SUFFIXES, Scan, is_text, scan_photos
from embed.images import ImageProblem
from embed.matching import match_rows
from embed.places import PhotoArchive, PhotoFolder
from embed.rows import (
    SHOWN,
    Collection,
    Problem,
    frame,
    label_by_folder,
    label_notes,
    photo_rows,
    some_or_error,
)
from embed.shards import Shards, course_table, holds_photos, read_shards
from embed.tables import Table, csv_table, read_table

__all__ = [
    "Collection",
    "Problem",
    "find_photos",
    "load_collection",
    "read_collection",
    "save_collection",
]

COURSE_TABLE = "metadata.csv"  # a folder or archive with such a table needs no --table

_ROWS_A_GROUP = 8192  # bounds what the writer holds
_METADATA = b"familia"  # in the Parquet schema: {"label": …, "root": …} as JSON


def read_collection(
    photos: Path | None, table: Path | None, label: str | None = None, urls: bool = False
) -> Collection:
    """The collection in a folder of class folders, in archives, in either with a table, or in a
    table alone.

    A table's paths are relative to `photos`, else to the table's own folder; its https://
    addresses count with `urls` only. What is wrong with a row or a file becomes a `Problem` and
    the rest goes on; what is wrong as a whole is a `UserError`.
    """
    if table is not None:
        folder = None if photos is None else _existing(photos)
        if folder is not None and not folder.is_dir():
            raise UserError(f"With --table, PHOTOS is the folder of the photos. Got {photos}.")
        return _from_folder_table(read_table(table, PATH_COLUMNS), folder, label, urls)
    if photos is None:
        raise UserError("Name the photos: `cli embed PHOTOS`, or `cli embed --table TABLE.csv`.")
    root = _existing(photos)
    if _is_archive(root):
        return _from_archive(root, label, urls)
    notes = []
    if (root / COURSE_TABLE).is_file():
        course = read_table(root / COURSE_TABLE, PATH_COLUMNS)
        if course.find(PATH_COLUMNS) is not None:
            course.notes.insert(0, f"{COURSE_TABLE} in the folder is taken as its table")
            return _from_folder_table(course, root, label, urls)
        notes = [f"{COURSE_TABLE} in the folder names no photos, so it is not used as a table"]
    if not root.is_dir():
        return label_by_folder(_single(root), label)
    scan = _scan(root)
    if shards := _shards_in(root, scan):
        found = _from_shards(root, shards, label)
        found.problems += _problems(scan.problems)
    else:
        found = label_by_folder(_from_scan(root, scan), label)
    found.notes[:0] = notes
    return found


def find_photos(photos: Path) -> Collection:
    """A single photo, or all photos in a folder or in archives: ids and paths, no label."""
    root = _existing(photos)
    if _is_archive(root):
        found, _ = _shard_rows(root.parent, [root.name])
    elif not root.is_dir():
        return _single(root)
    else:
        scan = _scan(root)
        shards = _shards_in(root, scan)
        if not shards:
            return _from_scan(root, scan)
        found, _ = _shard_rows(root, shards)
    found.rows = found.rows[["id", "path", "file_path"]]
    return found


def save_collection(rows: Any, label: str | None, root: Path, path: Path) -> None:
    """Write `rows` as Parquet that any reader opens; label and root go to the schema's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(rows, preserve_index=False)
    about = json.dumps({"label": label, "root": str(root)}).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _METADATA: about})
    with whole_file(path) as scratch:
        pq.write_table(table, scratch, row_group_size=_ROWS_A_GROUP)


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


def _single(photo: Path) -> Collection:
    refuse_packed(photo)
    if photo.suffix.lower() in (".csv", ".tsv", ".txt"):
        raise UserError(f"{photo} is a table, not a photo. Run `cli embed --table {photo}`.")
    return Collection(photo_rows(photo.parent, [photo.name]), None, photo.parent)


def _from_scan(root: Path, scan: Scan) -> Collection:
    problems, notes = _problems(scan.problems), _passed_over(scan.others)
    found = Collection(photo_rows(root, scan.photos), None, root, problems, notes)
    some_or_error(found)
    return found


def _problems(reasons: Mapping[str, str]) -> list[Problem]:
    return [Problem(where, reason) for where, reason in sorted(reasons.items())]


def _passed_over(others: Counter[str]) -> list[str]:
    if not others.total():
        return []
    kinds = ", ".join(suffix or "no suffix" for suffix, _ in others.most_common(SHOWN))
    return [f"other files, passed over: {others.total():,} ({kinds})"]


# ---- archives


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVE_SUFFIXES) and path.is_file()


def _shards_in(root: Path, scan: Scan) -> list[str]:
    """The archives with photos, where a folder has no photos beside them."""
    return [] if scan.photos else [name for name in scan.archives if holds_photos(root, name)]


def _from_archive(path: Path, label: str | None, urls: bool) -> Collection:
    try:
        archive = open_archive(str(path))
        name = course_table(archive, COURSE_TABLE)
        data = b"" if name is None else archive.read(name)
    except ImageProblem as problem:
        raise UserError(f"{path} cannot be read: {problem}.") from problem
    if name is not None:
        course = csv_table(path / name, data, PATH_COLUMNS)
        if course.find(PATH_COLUMNS) is not None:
            course.notes.insert(0, f"{name} in {path.name} is taken as its table")
            return _from_table(course, PhotoArchive(archive, name, urls), label)
    return _from_shards(path.parent, [path.name], label)


def _from_shards(root: Path, files: Sequence[str], label: str | None) -> Collection:
    """The label is a column of that name, else the top-level folder in the archive."""
    found, shards = _shard_rows(root, files)
    columns = dict(enumerate(list(found.rows)[3:]))
    at = label_column(columns, list(shards.columns), label)
    if at is not None:
        found.label = columns[at]
        found.notes += label_notes(found)
        return found
    if columns and not any("/" in (name or "") for name in shards.names):
        if label is not None:
            raise no_label(_place(root, files), list(columns.values()), label)
        found.notes += label_notes(found)
        return found
    return label_by_folder(found, label, shards.names)


def _shard_rows(root: Path, files: Sequence[str]) -> tuple[Collection, Shards]:
    shards = read_shards(root, files)
    rows = photo_rows(root, shards.file_paths, shards.ids)
    names = own_names(list(shards.columns), range(len(shards.columns)))
    columns = dict(zip(names, shards.columns.values(), strict=True))
    problems, notes = _problems(shards.problems), _passed_over(shards.others)
    some_or_error(Collection(rows, None, _place(root, files), problems, notes))
    rows = pd.concat([rows, frame(columns)], axis=1) if columns else rows
    return Collection(rows, None, root, problems, notes), shards


def _place(root: Path, files: Sequence[str]) -> Path:
    return root / files[0] if len(files) == 1 else root


# ---- tables


def _from_folder_table(
    table: Table, folder: Path | None, label: str | None, urls: bool
) -> Collection:
    root = folder or _existing(table.path.parent)
    found = _from_table(table, PhotoFolder(root, urls), label)
    found.root = root
    if folder:
        found.notes += _notes_on_unnamed(found)
    return found


def _from_table(table: Table, place: PhotoFolder | PhotoArchive, label: str | None) -> Collection:
    path_at = table.find(PATH_COLUMNS)
    if path_at is None:
        raise UserError(
            f"{table.path} has no column that names the photos: expected one of "
            f"{', '.join(PATH_COLUMNS)}; found {_some(table.columns)}."
        )
    if not table.rows and not table.bad:
        raise UserError(f"{table.path} has a header but no rows: expected one line a photo.")
    columns, notes = named_columns(table, path_at)
    label_at = label_column(columns, table.columns, label)
    if label is not None and label_at is None:
        raise no_label(table.path, list(columns.values()), label)
    named, left_out = match_rows(table, place.locate, path_at, label_at)
    problems = [
        Problem(f"{table.path.name} {table.unit} {line}", reason, id_)
        for line, reason, id_ in left_out
    ]
    if not named:
        raise UserError(
            f"Not one of the {len(problems):,} rows of {table.path} names a photo in {place.root}: "
            f"{'; '.join(f'{p.where}: {p.reason}' for p in problems[:SHOWN])}. "
            "Name the folder of the photos: `cli embed PHOTOS --table TABLE`."
        )
    rows = frame(
        {
            "id": [photo.id for photo in named],
            "path": [photo.path for photo in named],
            "file_path": [photo.file_path for photo in named],
            **{name: [photo.cells[at] or None for photo in named] for at, name in columns.items()},
        }
    )
    found = Collection(rows, None, place.root, problems, [*table.notes, *notes])
    if label_at is not None:
        found.label = columns[label_at]
    found.notes += label_notes(found)
    return found


def _notes_on_unnamed(found: Collection) -> list[str]:
    named = set(found.rows["path"])
    unnamed = sum(f"{found.root}/{name}" not in named for name in _scan(found.root).photos)
    return [f"photos in the folder that no row names: {unnamed:,}"] if unnamed else []


def _some(names: Sequence[str]) -> str:
    shown = [name[:40] if name.isprintable() else repr(name[:40]) for name in names[:20]]
    return ", ".join(shown) + (" …" if len(names) > len(shown) else "")
