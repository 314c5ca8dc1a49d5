"""Members of tar and zip archives, read where they lie: nothing is unpacked to the disk."""

import io
import os
import posixpath
import stat
import struct
import tarfile
import threading
import weakref
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from embed.errors import UserError
from embed.folders import is_photo_name, is_text, passed_over
from embed.images import MAX_BYTES, ImageProblem

_OPEN = 4  # archives kept open: threads read one or two shards at a time
_HEADER = 2**20  # bytes: no honest tar header is longer
_BLOCK = 512
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a member of a zip
_PACKED_TARS = {
    (".tar.gz", ".tgz"): "gunzip -k",
    (".tar.bz2", ".tbz2", ".tbz"): "bunzip2 -k",
    (".tar.xz", ".txz"): "unxz -k",
    (".tar.zst", ".tzst"): "unzstd",
}


class Archive(Protocol):
    """Photos in one file, by name; safe to read from several threads."""

    path: str
    mtime_ns: int
    names: list[str]  # of the photos, in the order in which they lie
    sidecars: list[str]  # of other readable files
    problems: dict[str, str]  # members that cannot be taken, and why
    torn: str | None  # why members may be missing at the end

    def size(self, name: str) -> int: ...
    def read(self, name: str) -> bytes: ...


def check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ImageProblem(f"too large: {size:,} bytes, at most {MAX_BYTES:,}")


def refuse_packed(path: Path) -> None:
    """Raise `UserError` for a compressed tar: it can only be read from its start."""
    for suffixes, command in _PACKED_TARS.items():
        if path.name.lower().endswith(suffixes):
            raise UserError(
                f"{path} is a compressed tar, in which no photo can be found without unpacking "
                f"all before it. Unpack it once: `{command} {path.name}` (photos do not get "
                "smaller by compression)."
            )


# ---- archives that are open

_State = tuple[int, int, int, int]

_opened: OrderedDict[str, tuple[_State, Archive]] = OrderedDict()
_opening = threading.Lock()


def open_archive(path: str) -> Archive:
    """The archive at `path`, opened once while it does not change.

    Raises `ImageProblem` where there is none or where it is damaged as a whole.
    """
    state = _state(path)
    with _opening:
        known = _opened.get(path)
        if known and known[0] == state:
            _opened.move_to_end(path)
            return known[1]
        archive = _open(path)
        archive.mtime_ns = state[-1]
        _opened[path] = state, archive
        while len(_opened) > _OPEN:
            _opened.popitem(last=False)
        return archive


def _state(path: str) -> _State:
    try:
        status = os.stat(path)  # noqa: PTH116 - called for every photo: no Path objects
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ImageProblem(f"its archive cannot be read ({why})") from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageProblem("its archive is not a regular file")
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _open(path: str) -> Archive:
    from embed.parquet import ParquetPhotos

    kinds: dict[str, Callable[[str], Archive]] = {
        ".tar": _Tar,
        ".zip": _Zip,
        ".parquet": ParquetPhotos,
    }
    try:
        return kinds[Path(path).suffix.lower()](path)
    except ImageProblem:
        raise
    except Exception as error:  # damaged archives bring nearly every type out of their readers
        why = str(error) or type(error).__name__
        raise ImageProblem(f"a damaged archive ({why})") from error


# ---- tar and zip: a list of places


class _Members:
    """Places of the members of one archive, and its open file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.names: list[str] = []
        self.sidecars: list[str] = []
        self.problems: dict[str, str] = {}
        self.torn: str | None = None
        self.mtime_ns = 0
        self._places: dict[str, tuple[int, ...]] = {}
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)  # when no thread reads from it any more
        for name, problem, place in self._members():
            self._take(name, problem, place)
        photos = [name for name in self._places if is_photo_name(name)]
        self.names, self.sidecars = photos, [n for n in self._places if not is_photo_name(n)]

    def size(self, name: str) -> int:
        return self._place(name)[1]

    def _members(self) -> Iterable[tuple[str, str | None, tuple[int, ...]]]:
        """(name, problem, (offset, size, …)) of every member that is no folder."""
        raise NotImplementedError

    def _take(self, raw: str, problem: str | None, place: tuple[int, ...]) -> None:
        name = posixpath.normpath(raw)
        photo = is_photo_name(name)
        if not is_text(name):
            name = name.encode("utf-8", "backslashreplace").decode()
            problem = "its name is not UTF-8 text"
        elif name.startswith(("/", "../")):
            problem = "its name leads out of the archive"
        elif passed_over(name):
            return
        if problem is None:
            if photo and name in self._places:
                self.problems[name] = "stands in the archive twice: the later one counts"
                del self._places[name]
            self._places[name] = place
        elif photo:
            self.problems[name] = problem

    def _place(self, name: str) -> tuple[int, ...]:
        try:
            return self._places[name]
        except KeyError:
            raise ImageProblem(self.problems.get(name, "is not in the archive")) from None

    def _bytes(self, offset: int, size: int) -> bytes:
        check_size(size)
        try:
            data = os.pread(self._file, size, offset)
        except (OSError, OverflowError) as error:  # a place that is no place, a disk that fails
            raise ImageProblem(f"cannot be read from the archive ({error})") from error
        if len(data) < size:
            raise ImageProblem("the archive ends before the photo does")
        return data


class _Tar(_Members):
    def read(self, name: str) -> bytes:
        return self._bytes(*self._place(name))

    def _members(self) -> Iterator[tuple[str, str | None, tuple[int, ...]]]:
        end = os.fstat(self._file).st_size
        with (
            _Headers(self.path) as headers,
            tarfile.open(fileobj=headers, mode="r:", encoding="utf-8") as tar,
        ):
            while True:
                try:
                    member = tar.next()
                except Exception as error:
                    if not self._places:
                        raise
                    self.torn = f"damaged after byte {tar.offset:,} ({error})"
                    return
                if member is None:
                    break
                tar.members.clear()  # type: ignore[attr-defined]  # else memory grows with the photos
                if member.size < 0 or tar.offset <= member.offset:  # would never end
                    self.torn = f"damaged after byte {member.offset:,}"
                    return
                if not member.isdir():
                    problem = _tar_problem(member, end)
                    yield member.name, problem, (member.offset_data, member.size)
            self.torn = self._end(tar.offset, end)

    def _end(self, offset: int, end: int) -> str | None:
        block = os.pread(self._file, _BLOCK, offset)
        if not block:
            return f"cut off after byte {end:,}: it has no end mark"
        return f"damaged after byte {offset:,}" if block.strip(b"\0") else None


def _tar_problem(member: tarfile.TarInfo, end: int) -> str | None:
    if member.issym() or member.islnk():
        return "a link in the archive, not a photo"
    if not member.isreg():
        return "not a regular file (a pipe or a device)"
    if member.issparse():
        return "a sparse member of the archive, which is not supported"
    if member.offset_data + member.size > end:
        return "the archive ends before the photo does"
    return None


class _Headers(io.FileIO):
    """A tar as `tarfile` reads it, which believes every length in it."""

    ends = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        data = super().read(size)
        self.ends += not data
        if self.ends > 4:  # it would go on reading at the end for ever
            raise tarfile.ReadError("a header ends with the file")
        return data


class _Zip(_Members):
    """Places are (offset of the local header, size, packed size, method, CRC)."""

    def read(self, name: str) -> bytes:
        offset, size, packed, method, crc = self._place(name)
        check_size(size)
        signature, name_size, extra_size = _LOCAL_HEADER.unpack(
            self._bytes(offset, _LOCAL_HEADER.size)
        )
        if signature != b"PK\3\4":
            raise ImageProblem("damaged: it does not lie where the archive says")
        data = self._bytes(offset + _LOCAL_HEADER.size + name_size + extra_size, packed)
        if method == zipfile.ZIP_DEFLATED:
            data = _inflated(data, size)
        if len(data) != size or zlib.crc32(data) != crc:
            raise ImageProblem("damaged in the archive: its checksum is wrong")
        return data

    def _members(self) -> Iterator[tuple[str, str | None, tuple[int, ...]]]:
        with zipfile.ZipFile(self.path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    place = (
                        member.header_offset,
                        member.file_size,
                        member.compress_size,
                        member.compress_type,
                        member.CRC,
                    )
                    yield _zip_name(member), _zip_problem(member), place


def _inflated(data: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error as error:
        raise ImageProblem(f"damaged in the archive ({error})") from error


def _zip_name(member: zipfile.ZipInfo) -> str:
    """The name as UTF-8 where it is, for many programs do not say so."""
    name = member.filename
    if not member.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name if "/" in name else name.replace("\\", "/")


def _zip_problem(member: zipfile.ZipInfo) -> str | None:
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a link in the archive, not a photo"
    if member.flag_bits & 0x1:
        return "locked with a password: unpack the archive"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "packed in a way that is not supported: pack the archive anew (deflate)"
    return None
