"""Writing files so that nobody ever sees half of one, and naming them by their content."""

import csv
import errno
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from embed.errors import UserError

_SECONDS_A_DAY = 86_400


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; once it is written and on disk it becomes `path`.

    A failure or a crash leaves `path` as it was. A full or read-only disk is a `UserError`.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield scratch
        with scratch.open("rb") as handle:
            os.fsync(handle.fileno())
        scratch.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.filename and Path(error.filename) not in (scratch, *path.parents):
            raise  # another file, read on the way, says nothing about `path`
        raise mendable(error, path) from error
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def left_over(folder: Path) -> list[Path]:
    """Scratch files in `folder` of processes that were killed a day ago or earlier."""
    found = []
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _SECONDS_A_DAY:
                found.append(path)
    return found


def remove_left_over(folder: Path) -> None:
    """Scratch files are nobody's: what they were to become is there, or is made again."""
    for path in left_over(folder):
        with suppress(OSError):
            path.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with whole_file(path) as scratch:
        scratch.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path`, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON (NaN is refused: it is no JSON)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_rows(path: Path, header: list[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `rows` as a CSV file with `header` (UTF-8, comma, LF)."""
    with whole_file(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, header, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def read_json(path: Path) -> Any:
    """The value in a JSON file; a damaged file is a `UserError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path} cannot be read as JSON ({error}). Remove it and run again."
        ) from error


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`: the key of a photo in the store."""
    return hashlib.sha256(data).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot sync a folder; the rename itself holds.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def mendable(error: OSError, path: Path) -> Exception:
    """What a user can do about a failed write to `path`; other failures come back as they are."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"No space left on the disk while writing {path}. What was saved before is whole: "
            "free some space and run the same command again; it goes on from there."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
        return UserError(
            f"{path} cannot be written ({error.strerror}). "
            "Choose a folder you may write to with --workspace FOLDER."
        )
    if error.errno == errno.EISDIR or (error.errno == errno.ENOTEMPTY and path.is_dir()):
        return UserError(f"{path} is a folder. Name a file to write.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return UserError(
            f"{path} cannot be written: a file stands where its folder should be. "
            "Choose another folder with --workspace FOLDER."
        )
    return error
