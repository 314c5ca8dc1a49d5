"""Where the paths of a table lead: into one folder or one archive, never out of it."""

import os
import posixpath
import re
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from embed import web
from embed.archives import Archive
from embed.images import ImageProblem, check_file

_WEB_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def address(text: str, urls: bool) -> str | None:
    """The web address in a table's cell, or None where it is a path; raises `ImageProblem`."""
    if not text:
        raise ImageProblem("no path")
    if not _WEB_ADDRESS.match(text):
        return None
    url = web.checked(text)
    if not urls:
        raise ImageProblem(
            f"'{text}' is a web address: fetch it with --urls, or download the photo first"
        )
    return url


class PhotoFolder:
    """Finds the files that a table names, in and below one folder."""

    def __init__(self, root: Path, urls: bool = False) -> None:
        self.root = root.resolve()
        self.urls = urls
        self._text = str(self.root)
        self._inside = self._text.rstrip(os.sep) + os.sep
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def locate(self, text: str) -> str:
        """The location of the photo that a table calls `text`; raises `ImageProblem`.

        Windows' backslashes and another Unicode normal form than the disk's are understood.
        """
        if url := address(text, self.urls):
            return url
        path = self._absolute(text.replace("\\", "/"))
        if _is_file(path):
            return path
        if not os.path.lexists(path):
            literal = self._absolute(text)
            path = literal if os.path.lexists(literal) else self._respelled(path)
        try:
            check_file(Path(path))
        except ImageProblem as problem:
            raise ImageProblem(f"'{text}': {problem}") from problem
        return path

    def _absolute(self, spelling: str) -> str:
        path = os.path.normpath(f"{self._inside}{spelling}" if spelling[0] != "/" else spelling)
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
            alike = self._listing(here).get(folded(part), [])
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
            self._listings[folder] = _by_reading(_names(folder))
        return self._listings[folder]


class PhotoArchive:
    """Finds the members that a table in an archive names, in and below the table's folder."""

    def __init__(self, archive: Archive, table: str, urls: bool = False) -> None:
        self.root = Path(archive.path)
        self.urls = urls
        folder = posixpath.dirname(table)
        self._inside = f"{folder}/" if folder else ""
        self._archive = archive
        self._alike = _by_reading(archive.names)

    def locate(self, text: str) -> str:
        """The location of the photo that the table calls `text`; raises `ImageProblem`."""
        if url := address(text, self.urls):
            return url
        name = posixpath.normpath(posixpath.join(self._inside, text.replace("\\", "/")))
        if name.startswith(("/", "../")) or not name.startswith(self._inside):
            raise ImageProblem(f"'{text}' leads out of the folder of the table in {self.root.name}")
        if name in self._archive.problems:
            raise ImageProblem(f"'{text}': {self._archive.problems[name]}")
        alike = self._alike.get(folded(name), [])
        exact = [other for other in alike if _normal(other) == _normal(name)]
        if not exact:
            near = f" (did you mean '{alike[0]}'?)" if alike else ""
            raise ImageProblem(f"'{text}' does not exist in the archive{near}")
        return f"{self._archive.path}!/{name if name in exact else exact[0]}"


def folded(name: str) -> str:
    """How a name reads without case and normal form."""
    return _normal(_normal(name).casefold())


def _by_reading(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(folded(name), []).append(name)
    return found


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - quick: for every row
    except (OSError, ValueError):
        return False


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except NotADirectoryError:
        return []
    except OSError as error:
        raise ImageProblem(f"the folder {folder} cannot be read ({error.strerror})") from error


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
