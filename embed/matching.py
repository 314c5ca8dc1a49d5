"""Rows of a table matched to the photos on the disk that they name."""

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embed.images import ImageProblem, check_file
from embed.tables import Table

PATH_COLUMNS = ("file_path", "path", "filepath", "filename", "file_name", "image", "image_path")
ID_COLUMNS = ("rare_species_id", "id", "image_id")

_WEB_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True)
class NamedPhoto:
    """A row of a table with the file it names."""

    line: int
    id: str
    path: str  # absolute
    file_path: str  # as the table gives it
    label: str
    cells: list[str]


def match_rows(
    table: Table, root: Path, path_at: int, label_at: int | None
) -> tuple[list[NamedPhoto], list[tuple[int, str, str | None]]]:
    """The rows that name a photo in `root`, each once; and (line, reason, id) of all others.

    An id is that of the first of `ID_COLUMNS`, else the path. Of two rows with one id or one
    photo the first stays.
    """
    folder = PhotoFolder(root)
    id_at = table.find(ID_COLUMNS)
    found: list[NamedPhoto] = []
    left_out: list[tuple[int, str, str | None]] = [(*bad, None) for bad in table.bad]
    ids: dict[str, NamedPhoto] = {}
    paths: dict[str, NamedPhoto] = {}
    for line, cells in zip(table.lines, table.rows, strict=True):
        name = cells[path_at]
        id_ = (cells[id_at] if id_at is not None else "") or name
        try:
            path = folder.locate(name)
        except ImageProblem as problem:
            left_out.append((line, str(problem), id_ or None))
            continue
        label = cells[label_at] if label_at is not None else ""
        photo = NamedPhoto(line, id_, path, name, label, cells)
        clash = _clash(photo, ids, paths)
        if clash:
            left_out.append((line, clash, id_))
        else:
            ids[id_] = paths[path] = photo
            found.append(photo)
    return found, sorted(left_out, key=lambda row: row[0])


def _clash(
    photo: NamedPhoto, ids: Mapping[str, NamedPhoto], paths: Mapping[str, NamedPhoto]
) -> str | None:
    same = paths.get(photo.path)
    if same and same.label == photo.label:
        return f"'{photo.file_path}' stands already in line {same.line}"
    if same:
        here, there = photo.label or "no label", same.label or "no label"
        return (
            f"'{photo.file_path}' stands already in line {same.line} with another label: "
            f"'{there}' there, which stays, and '{here}' here"
        )
    if photo.id in ids:
        return f"the id '{photo.id}' stands already in line {ids[photo.id].line}"
    return None


class PhotoFolder:
    """Finds the files that a table names, in and below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._inside = str(self.root).rstrip(os.sep) + os.sep
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def locate(self, text: str) -> str:
        """The absolute path of the photo that a table calls `text`; raises `ImageProblem`.

        Windows' backslashes and another Unicode normal form than the disk's are understood.
        """
        if not text:
            raise ImageProblem("no path")
        if _WEB_ADDRESS.match(text):
            raise ImageProblem(f"'{text}' is a web address: download the photo first")
        path = self._absolute(text.replace("\\", "/"))
        if not os.path.lexists(path):
            literal = self._absolute(text)
            path = literal if os.path.lexists(literal) else self._respelled(path)
        try:
            check_file(Path(path))
        except ImageProblem as problem:
            raise ImageProblem(f"'{text}': {problem}") from problem
        return path

    def _absolute(self, spelling: str) -> str:
        path = os.path.normpath(self.root / spelling)
        if not f"{path}{os.sep}".startswith(self._inside):
            # an absolute path may lead here by a link
            path = os.path.realpath(Path(path).parent) + os.sep + Path(path).name
        if not f"{path}{os.sep}".startswith(self._inside):
            raise ImageProblem(f"'{spelling}' leads out of the folder {self.root}")
        return path

    def _respelled(self, path: str) -> str:
        """The file whose path differs from `path` by Unicode normal form alone."""
        relative = Path(os.path.relpath(path, self.root))
        here, same = self.root, True
        for part in relative.parts:
            alike = self._listing(here).get(_folded(part), [])
            if not alike:
                raise ImageProblem(f"'{relative}' does not exist")
            exact = [name for name in alike if _normal(name) == _normal(part)]
            same = same and bool(exact)
            here = here / (exact or alike)[0]
        if not same:
            near = here.relative_to(self.root)
            raise ImageProblem(f"'{relative}' does not exist (did you mean '{near}'?)")
        return str(here)

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        """Names in `folder` by how they read without case and normal form."""
        if folder not in self._listings:
            listing = self._listings[folder] = {}
            for name in _names(folder):
                listing.setdefault(_folded(name), []).append(name)
        return self._listings[folder]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except NotADirectoryError:
        return []
    except OSError as error:
        raise ImageProblem(f"the folder {folder} cannot be read ({error.strerror})") from error


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _normal(_normal(name).casefold())
