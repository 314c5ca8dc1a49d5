"""A photo, or a list of photos and ids, from standard input."""

import atexit
import shutil
import sys
from functools import cache
from pathlib import Path

from embed.errors import UserError

PASTED = "-"  # the photo on standard input
_MAX_LIST = 256 * 2**20  # bytes


def pasted_photo() -> Path:
    """The photo whose bytes are on standard input, as a file that is removed at the end.

    Raises `UserError` where there is none, or one of more bytes than photos may have.
    """
    from embed.images import MAX_BYTES

    data = _read(MAX_BYTES, "a photo")
    path = _scratch() / "pasted"
    path.write_bytes(data)
    return path


def listed() -> list[str]:
    """The lines of standard input, without empty ones: paths and ids. Bytes need not be UTF-8."""
    lines = _read(_MAX_LIST, "a list").decode("utf-8", "surrogateescape").splitlines()
    return [line for line in lines if line.strip()]


def _read(most: int, what: str) -> bytes:
    if sys.stdin.isatty():
        raise UserError(
            f"Standard input is this terminal: expected {what}. Send a photo's bytes with "
            "`cli search - < photo.jpg`, a list with `ls photos/*.jpg | cli search --stdin`."
        )
    data = sys.stdin.buffer.read(most + 1)
    if not data.strip(b"\n"):
        raise UserError(f"Standard input is empty: expected {what}.")
    if len(data) > most:
        raise UserError(f"Standard input is too large for {what}: at most {most:,} bytes.")
    return data


@cache
def _scratch() -> Path:
    import tempfile

    folder = tempfile.mkdtemp(prefix="familia-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
