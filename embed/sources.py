"""Where a photo is: a local file, a member of an archive, or an https:// address.

A location is the text in the column `path` of a collection:

    /photos/felidae/1.jpg                  a file
    /photos/shard.tar!/felidae/1.jpg       a member of a tar or zip
    /photos/train-00000.parquet!/17        the bytes in row 17 of a Parquet file
    https://example.org/1.jpg              fetched at need

All functions are safe in threads. What is wrong with a photo is an `ImageProblem`.
"""

import os
from pathlib import Path

from embed import web
from embed.archives import open_archive
from embed.folders import ARCHIVE_SUFFIXES
from embed.formats import RAW_SUFFIXES, convert
from embed.images import ImageProblem, check_file, read_bytes

_INSIDE = "!/"


def read(location: str) -> bytes:
    """The content of the photo at `location`, 1 to `images.MAX_BYTES` bytes."""
    if is_address(location):
        _check_name(location)
        return _some(web.fetch(location))
    member = split(location)
    if member is None:
        return read_bytes(Path(location))
    _check_name(member[1])
    return _some(open_archive(member[0]).read(member[1]))


def stamp(location: str) -> tuple[int, int]:
    """(size, mtime in ns): equal as long as the photo need not be read again.

    A member has the time of its archive; a row of Parquet also has its size, because a row's own
    is not known without reading. An address is (0, 0): what is known is not fetched again.
    """
    if is_address(location):
        return 0, 0
    if _INSIDE in location and (member := split(location)):
        archive = open_archive(member[0])
        return archive.size(member[1]), archive.mtime_ns
    try:
        status = os.stat(location)  # noqa: PTH116 - for every photo of a run: no Path objects
    except (OSError, ValueError):
        status = check_file(Path(location))  # says why in words
    return status.st_size, status.st_mtime_ns


def is_address(location: str) -> bool:
    """Whether the photo at `location` is on the web."""
    return location.startswith(web.SCHEME)


def split(location: str) -> tuple[str, str] | None:
    """(archive, member), or None for a local file, whose name may hold `!/` as well."""
    if _INSIDE not in location or os.path.lexists(location):
        return None
    at = location.find(_INSIDE)
    while at > 0:
        archive = location[:at]
        if archive.lower().endswith(ARCHIVE_SUFFIXES) and os.path.isfile(archive):  # noqa: PTH113
            return archive, location[at + len(_INSIDE) :]
        at = location.find(_INSIDE, at + 1)
    return None


def _check_name(name: str) -> None:
    if os.path.splitext(name)[1].lower() in RAW_SUFFIXES:  # noqa: PTH122
        raise ImageProblem(convert("a camera RAW photo"))


def _some(data: bytes) -> bytes:
    if not data:
        raise ImageProblem("an empty file (0 bytes)")
    return data
