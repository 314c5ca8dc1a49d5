"""All photos in and below a folder."""

import os
import re
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from embed.formats import IMAGE_SUFFIXES
from embed.workspace import Workspace

ARCHIVE_SUFFIXES = (".tar", ".zip", ".parquet")  # they may hold photos

_IGNORED = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir"})
_SURROGATE = re.compile("[\ud800-\udfff]")  # how Python shows bytes that are not UTF-8

_WORKSPACE = Workspace(Path())
_WORKSPACE_FOLDERS = frozenset(
    path.parts[0]
    for path in (
        _WORKSPACE.embeddings,
        _WORKSPACE.runs,
        _WORKSPACE.sweeps,
        _WORKSPACE.split("x"),
        _WORKSPACE.index(("x",)),
    )
)


@dataclass
class Scan:
    """What lies in a folder, by posix path relative to it."""

    photos: list[str] = field(default_factory=list)  # sorted
    problems: dict[str, str] = field(default_factory=dict)  # what cannot be taken, and why
    others: Counter[str] = field(default_factory=Counter)  # files that are no photos, by suffix
    archives: list[str] = field(default_factory=list)  # sorted; they count as others too


def scan_photos(root: Path) -> Scan:
    """All files under `root` that are photos by their names.

    Hidden files and a workspace's own folders are passed over. Links to folders are followed
    after all real folders, and no folder is scanned twice, so a circle of links ends. Raises
    `OSError` where `root` itself cannot be read.
    """
    scan = Scan()
    folders, links = [""], deque[str]()
    seen: set[tuple[int, int]] = set()
    while folders or links:
        relative = folders.pop() if folders else links.popleft()
        try:
            status = (root / relative).stat()
            entries = _entries(root / relative)
        except OSError as error:
            if not relative:
                raise
            scan.problems[relative] = f"this folder cannot be read ({error.strerror})"
            continue
        if (status.st_dev, status.st_ino) in seen:
            scan.problems[relative] = "a link to a folder whose photos are taken already"
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            name = f"{relative}/{entry.name}" if relative else entry.name
            if not is_text(entry.name):
                shown = name.encode("utf-8", "backslashreplace").decode()
                scan.problems[shown] = "its name is not UTF-8 text: rename it"
            elif _is_folder(entry):
                (links if entry.is_symlink() else folders).append(name)
                if is_photo_name(name):
                    scan.problems[name] = "a folder, not a photo"
            elif is_photo_name(name):
                scan.photos.append(name)
            else:
                scan.others[Path(name).suffix.lower()] += 1
                if name.lower().endswith(ARCHIVE_SUFFIXES):
                    scan.archives.append(name)
    scan.photos.sort()
    scan.archives.sort()
    return scan


def is_text(name: str) -> bool:
    """Whether a name on the disk is UTF-8, so that it can be written to a table."""
    return _SURROGATE.search(name) is None


def is_photo_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - much quicker


def passed_over(name: str) -> bool:
    """Whether a path in an archive is hidden, or a trace of the system that packed it."""
    return any(part.startswith(".") or part in _IGNORED for part in name.split("/"))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    names = {entry.name for entry in found}
    passed_over = set(_IGNORED)
    if _WORKSPACE.collection.name in names:
        passed_over |= _WORKSPACE_FOLDERS  # its charts are pictures, but nobody's photos
    return [
        entry for entry in found if not entry.name.startswith(".") and entry.name not in passed_over
    ]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle, or to where nobody may look
        return False
