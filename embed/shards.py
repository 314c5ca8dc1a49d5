"""Archives of photos as rows: class folders, webdataset's keys, or the hub's Parquet."""

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embed.archives import Archive, open_archive
from embed.columns import ID_COLUMNS
from embed.images import ImageProblem
from embed.parquet import ParquetPhotos, image_column
from embed.tables import find_name

_DAMAGE = (  # an archive, or what Arrow finds in one
    ImageProblem, OSError, ValueError, TypeError, KeyError, NotImplementedError, MemoryError,
)  # fmt: skip
_SIDECAR = 2**20  # bytes of a .json, .cls or .txt beside a photo
_WEB_KEY = re.compile(r"((?:.*/)?[^/.]+)\.[^/]*", re.DOTALL)  # up to the first dot of the name


@dataclass
class Shards:
    """The photos of some archives; all lists have one entry a photo."""

    ids: list[str] = field(default_factory=list)  # unique
    file_paths: list[str] = field(default_factory=list)  # ARCHIVE!/MEMBER, relative to the root
    names: list[str | None] = field(default_factory=list)  # in the archive, where there are folders
    columns: dict[str, list[str | None]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)  # by file path: the reason
    others: Counter[str] = field(default_factory=Counter)  # members of no use, by suffix


@dataclass
class _Shard:
    file: str
    members: list[str]
    ids: list[str]
    names: list[str | None]
    columns: dict[str, list[str | None]]


def read_shards(root: Path, files: Sequence[str]) -> Shards:
    """The photos of the archives `files` (relative to `root`), in the order in which they lie.

    An archive that cannot be read is a problem like any other.
    """
    found = Shards()
    shards = []
    for file in files:
        try:
            archive = open_archive(f"{root}/{file}")
            shards.append(_read(archive, file, found))
        except _DAMAGE as problem:
            found.problems[file] = str(problem)
            continue
        found.problems |= {f"{file}!/{name}": why for name, why in archive.problems.items()}
        if archive.torn:
            found.problems[file] = archive.torn
    _join(shards, found)
    return found


def holds_photos(root: Path, file: str) -> bool:
    """Whether an archive is one of photos; damaged ones count, so that they are not passed over."""
    if not file.lower().endswith(".parquet") or not (root / file).is_file():
        return True
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return image_column(pq.read_schema(root / file)) is not None
    except (OSError, ValueError, pa.ArrowException):
        return True


def _read(archive: Archive, file: str, found: Shards) -> _Shard:
    if isinstance(archive, ParquetPhotos):
        return _from_parquet(archive, file)
    beside = _Sidecars(archive, file, found)
    columns = beside.columns()
    found.others.update(beside.unused())
    ids = [posixpath.splitext(name)[0] for name in archive.names] if columns else archive.names
    if not _unique(ids):
        ids = archive.names
    return _Shard(file, archive.names, ids, list(archive.names), columns)


def _join(shards: Sequence[_Shard], found: Shards) -> None:
    names = [name for shard in shards for name in shard.names if name is not None]
    outer = len(_common_folders(names))
    ids = [id_[outer:] if shard.names[0] else id_ for shard in shards for id_ in shard.ids]
    stems = [posixpath.splitext(shard.file)[0] for shard in shards for _ in shard.ids]
    for shard in shards:
        found.file_paths += [f"{shard.file}!/{member}" for member in shard.members]
        found.names += [name and name[outer:] for name in shard.names]
        for name in shard.columns:
            found.columns.setdefault(name, [])
    longer = [f"{stem}/{id_}" for stem, id_ in zip(stems, ids, strict=True)]
    # keys may begin anew in each shard, and x.tar lie beside x.zip
    found.ids = next(some for some in (ids, longer, found.file_paths) if _unique(some))
    for name, column in found.columns.items():
        for shard in shards:
            column += shard.columns.get(name) or [None] * len(shard.ids)


def _unique(ids: Sequence[str]) -> bool:
    return len(set(ids)) == len(ids)


def _common_folders(names: Sequence[str]) -> str:
    """The folders around all class folders: people pack the folder, not what lies in it."""
    if not names:
        return ""
    low, high = min(names).split("/"), max(names).split("/")
    depth = min(name.count("/") for name in names) - 1  # the last folder is a class
    same = 0
    while same < depth and low[same] == high[same]:
        same += 1
    return "".join(f"{part}/" for part in low[:same])


# ---- webdataset


class _Sidecars:
    """Files beside the photos of a tar that have the photo's key: .json, .cls, .txt."""

    def __init__(self, archive: Archive, file: str, found: Shards) -> None:
        self._archive, self._file, self._found = archive, file, found
        self._used: set[str] = set()
        self._beside: dict[str, list[str]] = {}
        for name in archive.sidecars:
            key, suffix = posixpath.splitext(name)
            if suffix.lower() in (".json", ".cls", ".txt"):
                self._beside.setdefault(key, []).append(name)

    def columns(self) -> dict[str, list[str | None]]:
        """One list a column, in the order of the archive's photos; {} where no photo has any."""
        columns: dict[str, list[str | None]] = {}
        for row, photo in enumerate(self._archive.names):
            for name, value in self._values(photo):
                column = columns.setdefault(name, [None] * len(self._archive.names))
                column[row] = value
        return columns

    def unused(self) -> list[str]:
        """The suffixes of the files that belong to no photo."""
        names = [name for name in self._archive.sidecars if name not in self._used]
        return [posixpath.splitext(name)[1].lower() for name in names]

    def _values(self, photo: str) -> Iterator[tuple[str, str | None]]:
        match = _WEB_KEY.fullmatch(photo)
        keys = dict.fromkeys([posixpath.splitext(photo)[0], *(match.groups() if match else ())])
        for sidecar in next((self._beside[key] for key in keys if key in self._beside), []):
            self._used.add(sidecar)
            try:
                yield from self._read(sidecar)
            except (ImageProblem, ValueError, RecursionError) as problem:
                self._found.problems[f"{self._file}!/{sidecar}"] = f"cannot be read ({problem})"

    def _read(self, name: str) -> list[tuple[str, str | None]]:
        if self._archive.size(name) > _SIDECAR:
            raise ImageProblem(f"more than {_SIDECAR:,} bytes")
        text = self._archive.read(name).decode("utf-8-sig").strip()
        suffix = posixpath.splitext(name)[1].lower()
        if suffix != ".json":
            return [({".cls": "cls", ".txt": "text"}[suffix], text or None)]
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ImageProblem("not a JSON object")
        return [(_unicode(key).strip(), _as_text(value)) for key, value in values.items()]


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _unicode(text).strip() or None


def _unicode(text: str) -> str:
    """JSON may escape halves of letters, which no table takes."""
    return text.encode("utf-8", "replace").decode()


# ---- the hub's Parquet


def _from_parquet(photos: ParquetPhotos, file: str) -> _Shard:
    columns = photos.columns()
    at = find_name(list(columns), ID_COLUMNS)
    rows = photos.names
    if any(len(column) != len(rows) for column in columns.values()):
        raise ImageProblem("damaged: its columns are of different length")
    named = columns[list(columns)[at]] if at is not None else []
    ids = next(
        ids
        for ids in (named, photos.file_names(), rows)
        if len(ids) == len(rows) and all(ids) and _unique(ids)
    )
    if ids is named:
        columns.pop("id", None)
    values = {name: [value or None for value in column] for name, column in columns.items()}
    return _Shard(file, rows, ids, [None] * len(rows), values)


# ---- a table in an archive


def course_table(archive: Archive, name: str) -> str | None:
    """The outermost member called `name`, or None."""
    found = [member for member in archive.sidecars if posixpath.basename(member) == name]
    return min(found, key=lambda member: member.count("/"), default=None)
