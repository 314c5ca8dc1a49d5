"""Debian packages without Debian's tools: fetch one, and take named files out of it.

An archive is not trusted. Nothing is ever written by a path that it holds: only regular files
asked for by name are read, into memory, and both they and the whole stream are bounded.
"""

import gzip
import io
import lzma
import os
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, cast

from embed.errors import UserError

FILE_LIMIT = 8 << 20  # bytes of one file
STREAM_LIMIT = 2 << 30  # bytes of a whole unpacked archive, read or passed over

_MAGIC = b"!<arch>\n"
_HEADER = 60
_OPENERS: dict[str, Any] = {".xz": lzma.open, ".gz": gzip.open, "": nullcontext}
_DAMAGE = (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error, tarfile.TarError)


def download(package: str, folder: Path) -> Path:
    """The newest `package` as a .deb in `folder`, by `apt-get download` (needs no rights).

    Where the machine's package lists are missing or old, fresh ones go to `folder`, not to the
    system. No `apt-get`, or a failure of it, is a `UserError`.
    """
    apt = shutil.which("apt-get")
    if apt is None:
        raise UserError(f"This machine has no apt-get to fetch {package}. {_by_hand(package)}")
    lists = folder / "lists"
    fresh = ["-o", f"Dir::State::Lists={lists}"]
    done, said = _run([apt, "download", package], folder)
    if not done:
        (lists / "partial").mkdir(parents=True)
        # Its exit code also counts other sources of the machine: the download shows what matters.
        _run([apt, *fresh, "update"], folder)
        done, said = _run([apt, *fresh, "download", package], folder)
    found = sorted(folder.glob("*.deb"), key=lambda path: path.stat().st_mtime)
    if not done or not found:
        raise UserError(f"apt-get could not fetch {package} ({said}). {_by_hand(package)}")
    return found[-1]


def package_version(deb: Path, package: str) -> str:
    """The version of `deb`; a `UserError` unless it is a whole Debian package named `package`."""
    control = read_files(deb, {"control"}, part="control.tar").get("control", b"")
    lines = control.decode("utf-8", "replace").splitlines()
    fields = dict(line.split(": ", 1) for line in lines if ": " in line)
    if fields.get("Package") != package:
        raise UserError(
            f"Expected Debian's package {package}, but {deb} is "
            f"{fields.get('Package', 'a package without a name')}. {_by_hand(package)}"
        )
    return fields.get("Version", "unknown")


def read_files(deb: Path, wanted: Iterable[str], part: str = "data.tar") -> dict[str, bytes]:
    """The bytes of the `wanted` regular files of at most `FILE_LIMIT` bytes; others are absent.

    Names are relative to the package's root (`usr/share/…`). A damaged archive, or one that
    unpacks to more than `STREAM_LIMIT` bytes, is a `UserError`.
    """
    left = set(wanted)
    files: dict[str, bytes] = {}
    with _damage_told(deb), _tar_stream(deb, part) as stream, _open_tar(stream, deb) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if name not in left or not member.isreg() or member.size > FILE_LIMIT:
                continue
            if handle := tar.extractfile(member):
                files[name] = handle.read()
                left.remove(name)
            if not left:
                break
    return files


def _open_tar(stream: IO[bytes], deb: Path) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast("IO[bytes]", _Bounded(stream, deb)), mode="r|")


class _Bounded:
    """The unpacked bytes, up to `STREAM_LIMIT` of them."""

    def __init__(self, stream: IO[bytes], deb: Path) -> None:
        self._stream, self._deb, self._left = stream, deb, STREAM_LIMIT

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise UserError(
                f"{self._deb} unpacks to more than {STREAM_LIMIT >> 30} GB: it is no package "
                "that this command knows. Fetch it again."
            )
        return data


@contextmanager
def _tar_stream(deb: Path, part: str) -> Iterator[IO[bytes]]:
    """The unpacked tar stream of the member of `deb` that is named `part` plus a suffix."""
    name, start, size = _find_part(deb, part)
    suffix = name.removeprefix(part)
    if suffix == ".zst":
        with _dpkg_stream(deb, part) as stream:
            yield stream
        return
    if suffix not in _OPENERS:
        raise UserError(f"{deb} is packed as {name}, which this command cannot unpack.")
    with (
        deb.open("rb") as handle,
        io.BufferedReader(_Slice(handle, start, size)) as packed,
        _OPENERS[suffix](packed) as stream,
    ):
        yield stream


def _find_part(deb: Path, part: str) -> tuple[str, int, int]:
    """Name, offset and size of the `part` in the ar archive `deb`."""
    with deb.open("rb") as handle:
        end = handle.seek(0, os.SEEK_END)
        handle.seek(0)
        if handle.read(len(_MAGIC)) != _MAGIC:
            raise UserError(f"{deb} is not a Debian package (.deb). Give one with --archive FILE.")
        while len(header := handle.read(_HEADER)) == _HEADER:
            name = header[:16].decode("ascii").strip().rstrip("/")
            start, size = handle.tell(), int(header[48:58])
            if size < 0 or start + size > end:
                raise EOFError(f"{name} ends too early")
            if name.startswith(part):
                return name, start, size
            handle.seek(start + size + size % 2)
    raise EOFError(f"it holds no {part}")


class _Slice(io.RawIOBase):
    """`size` bytes of an open file from `start` on."""

    def __init__(self, handle: IO[bytes], start: int, size: int) -> None:
        handle.seek(start)
        self._handle, self._left = handle, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._handle.read(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _dpkg_stream(deb: Path, part: str) -> Iterator[IO[bytes]]:
    """The same from `dpkg-deb`: Python before 3.14 has no Zstandard."""
    dpkg = shutil.which("dpkg-deb")
    if dpkg is None:
        raise UserError(
            f"{deb} is packed with Zstandard and needs dpkg-deb, which is not on this machine. "
            "Give Debian's own package (packed with xz) with --archive FILE."
        )
    option = "--ctrl-tarfile" if part == "control.tar" else "--fsys-tarfile"
    command = [dpkg, option, str(deb.absolute())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()


@contextmanager
def _damage_told(deb: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"{deb} cannot be read ({error.strerror}).") from error
    except _DAMAGE as error:
        raise UserError(
            f"{deb} is damaged or cut short ({error}). Remove it and fetch it again."
        ) from error


def _run(command: list[str], folder: Path) -> tuple[bool, str]:
    """Run `command` in `folder`; whether it went well, and the last line it said."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        return False, str(error)
    lines = (done.stderr or done.stdout).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else f"exit code {done.returncode}"


def _by_hand(package: str) -> str:
    return "Download the .deb from a Debian mirror and give it with --archive FILE."
