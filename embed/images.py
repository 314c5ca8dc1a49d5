"""Bytes to pixels, and in plain words everything that can be wrong with a photo's file."""

import re
import stat
import threading
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from io import BytesIO
from os import stat_result
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from embed import formats
from embed.formats import IMAGE_SUFFIXES as IMAGE_SUFFIXES

MAX_BYTES = 256 * 2**20
MAX_PIXELS = 200_000_000
MAX_RATIO = 200  # long to short side: resizing a 1 × 60,000 strip would need the whole memory
BIG_PIXELS = 40_000_000  # pictures above it are decoded one at a time, whatever the threads
_MAX_SCANS = 50  # of a JPEG; each of some bytes costs a pass over all pixels, and ten are usual
_MAX_READS = 4_000_000  # of a file: Pillow keeps some 100 bytes for each tiny piece of a header
_FEW_BYTES = 8 * 2**20  # cannot hold so many pieces that they matter

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION = 0x0112
_SCAN = b"\xff\xda"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # but for stuffing and restarts
_MOST_GREY = 1e36  # float32 holds the difference of two such values, and 255 times their inverse
_MAX_WORDS = 200  # characters of an error in a reason

_EMPTY = "an empty file (0 bytes)"
_PILLOW = r"PIL\b"
_QUIET = ("ignore", None, Warning, re.compile(_PILLOW), 0)
_QUIET_LOCK = threading.Lock()
_ONE_BIG = threading.Lock()

# Pillow's own check, at twice this, comes before any plug-in makes room for pixels.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
formats.keep_quiet()


class ImageProblem(Exception):  # noqa: N818 - a finding about a file, not a failure
    """Why a photo cannot be used, in words that a biologist understands."""


def check_file(path: Path) -> stat_result:
    """The status of a regular file; raises `ImageProblem` where there is none at `path`."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageProblem("a folder, not a photo")
    if not stat.S_ISREG(status.st_mode):  # opening a pipe could wait for ever
        raise ImageProblem("not a regular file (a pipe, a socket or a device)")
    return status


def read_bytes(path: Path) -> bytes:
    """The content of a photo's file, at most `MAX_BYTES`; raises `ImageProblem`."""
    size = check_file(path).st_size
    if path.suffix.lower() in formats.RAW_SUFFIXES:  # many are TIFFs that hold a thumbnail first
        raise ImageProblem(formats.convert("a camera RAW photo"))
    if size <= MAX_BYTES:
        try:
            with path.open("rb") as handle:
                data = handle.read(size + 1)  # what is asked for is set aside in memory
                if len(data) > size:  # it grew meanwhile
                    data += handle.read(MAX_BYTES + 1 - len(data))
        except OSError as error:
            raise _unreadable(path, error) from error
        size = len(data)
    if size > MAX_BYTES:
        raise ImageProblem(f"too large: a file of {size:,} bytes, at most {MAX_BYTES:,}")
    if not data:
        raise ImageProblem(_EMPTY)
    return data


def decode(data: bytes) -> Image.Image:
    """The first frame of a photo, RGB, upright, transparency over white; raises `ImageProblem`.

    Safe to call from several threads.
    """
    return decode_at(data, [None])[0]


def decode_at(data: bytes, shortest: Sequence[int | None]) -> list[Image.Image]:
    """A photo as `decode` gives it, for each of several encoders; raises `ImageProblem`.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, which is much faster, as long as its short
    side keeps the pixels in `shortest`; None is the whole picture. Equal sizes are one object, to
    be read only. What comes for one encoder does not depend on the others.
    """
    _ignore_warnings()
    if why := formats.refusal(data):
        raise ImageProblem(why)
    try:
        photo = _opened(data)
        scales = [_scale(photo, pixels) for pixels in shortest]
        images: dict[int, Image.Image] = {}
        for scale in dict.fromkeys(scales):
            images[scale] = _decoded(_opened(data) if images else photo, scale)
        return [images[scale] for scale in scales]
    except ImageProblem:
        raise
    except Exception as error:  # damaged files bring nearly every type out of Pillow
        raise ImageProblem(_reason(error, data)) from error


class _Pieces(BytesIO):
    """The bytes of a large file, which gives up on one that is made of millions of tiny pieces."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > _MAX_READS:
            raise ImageProblem("damaged: it is made of millions of tiny pieces")
        return super().read(size)


def _opened(data: bytes) -> Image.Image:
    """With its header read and found harmless."""
    stream = BytesIO(data) if len(data) < _FEW_BYTES else _Pieces(data)
    photo = Image.open(stream, formats=formats.readers(data))
    _check_size(*photo.size)
    if isinstance(photo, JpegImageFile) and not _is_one_scan(photo, data):
        _check_scans(data)
    return photo


def _scale(photo: Image.Image, shortest: int | None) -> int:
    """By how much a photo may shrink."""
    if shortest is None or not isinstance(photo, JpegImageFile):
        return 1
    return next((scale for scale in (8, 4, 2) if min(photo.size) >= scale * shortest), 1)


def _decoded(photo: Image.Image, scale: int) -> Image.Image:
    with photo:
        pixels = photo.width * photo.height
        if scale > 1:
            photo.draft(None, (photo.width // scale, photo.height // scale))
            if "progressive" not in photo.info:  # of those all coefficients are kept at once
                pixels = photo.width * photo.height
        with _ONE_BIG if pixels > BIG_PIXELS else nullcontext():
            photo.load()
            turn = _UPRIGHT.get(_orientation(photo))
            rgb = _to_rgb(photo)
            return rgb if turn is None else rgb.transpose(turn)


def _ignore_warnings() -> None:
    """Ignore Pillow's warnings on damaged metadata, whatever filters came since the last call.

    `warnings.catch_warnings` is not safe in threads.
    """
    if warnings.filters[:1] != [_QUIET]:
        with _QUIET_LOCK:
            warnings.filterwarnings("ignore", module=_PILLOW)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageProblem(_too_large(width * height))
    if max(width, height) > MAX_RATIO * min(width, height):
        size = f"{width:,} × {height:,} pixels"
        raise ImageProblem(f"too narrow: {size}, one side over {MAX_RATIO} times the other")


def _too_large(pixels: int) -> str:
    return f"too large: {pixels:,} pixels, at most {MAX_PIXELS:,}"


def _is_one_scan(photo: JpegImageFile, data: bytes) -> bool:
    """Whether the scan that Pillow's reading of the header ended at holds all colours in full."""
    if photo.fp is None or "progressive" in photo.info:
        return False
    end, colours = photo.fp.tell(), photo.layers
    return data.endswith(_SCAN + bytes((0, 6 + 2 * colours, colours)), 0, end - 3 - 2 * colours)


def _check_scans(data: bytes) -> None:
    """Raise `ImageProblem` where the first picture of a JPEG has more than `_MAX_SCANS`."""
    scans, at = 0, 2
    while scans <= _MAX_SCANS:
        found = _MARKER.search(data, at)
        if found is None or found[0] == b"\xff\xd9":
            return
        scans += found[0] == _SCAN
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    raise ImageProblem(f"a JPEG in over {_MAX_SCANS} passes, which would take too long to read")


def _orientation(photo: Image.Image) -> int:
    try:
        return int(photo.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # broken EXIF is no reason to lose a photo
        return 1


def _to_rgb(photo: Image.Image) -> Image.Image:
    if photo.has_transparency_data:
        return _over_white(photo)
    if photo.mode.startswith(("I", "F")):
        return _to_8_bit(photo).convert("RGB")
    return photo if photo.mode == "RGB" else photo.convert("RGB")


def _over_white(photo: Image.Image) -> Image.Image:
    clear = photo.info.get("transparency")
    if photo.mode.startswith("I"):
        mask = Image.fromarray(np.asarray(photo) != clear)
        rgba = _to_8_bit(photo).convert("RGB")
    else:
        if isinstance(clear, tuple) and max(clear) > 255:  # a 16-bit colour, pixels read as 8-bit
            photo.info["transparency"] = tuple(value >> 8 for value in clear)
        rgba = mask = photo if photo.mode == "RGBA" else photo.convert("RGBA")
    white = Image.new("RGB", photo.size, "white")
    white.paste(rgba, mask=mask)
    return white


def _to_8_bit(photo: Image.Image) -> Image.Image:
    """Grey of more than 8 bits as 8: white is the smallest usual depth that holds all pixels.

    A microscope's 12 bits in a 16-bit file would else come out black.
    """
    grey = np.array(photo, dtype=np.float32)
    np.nan_to_num(grey, copy=False, posinf=0, neginf=0)
    np.clip(grey, -_MOST_GREY, _MOST_GREY, out=grey)
    lowest, white = float(grey.min()), float(grey.max())
    if lowest < 0:
        grey -= lowest
        white -= lowest
    else:
        depths = (1,) * (photo.mode == "F") + (255, 1023, 4095, 16383, 65535)
        white = next((depth for depth in depths if white <= depth), white)
    grey *= 255 / max(white, 1 / _MOST_GREY)
    return Image.fromarray(np.rint(grey, out=grey).astype(np.uint8))


def _unreadable(path: Path, error: OSError | ValueError) -> ImageProblem:
    if isinstance(error, FileNotFoundError):
        link = path.is_symlink()
        return ImageProblem("a link to a file that does not exist" if link else "does not exist")
    if isinstance(error, PermissionError):
        return ImageProblem("no permission to read it")
    why = error.strerror if isinstance(error, OSError) else error
    return ImageProblem(f"cannot be read ({why})")


def _reason(error: Exception, data: bytes) -> str:
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine"
    if not data.strip(b"\0"):
        return "nothing but zero bytes (a copy or download that failed?)" if data else _EMPTY
    if isinstance(error, Image.DecompressionBombError) and (count := re.search(r"\d+", str(error))):
        return _too_large(int(count[0]))
    kind = formats.kind_of(data)
    if "truncated" in str(error).lower():
        return f"truncated {kind}: the file ends before the picture does"
    if not isinstance(error, UnidentifiedImageError):
        return f"truncated or damaged {kind} ({_line(error)})"
    if kind != "image":
        return f"truncated or damaged {kind} (its header cannot be read)"
    return f"not an image (starts with {_opening(data)})"


def _line(error: Exception) -> str:
    """What an error says, without what bytes of the file may have brought into it."""
    if "MAX_TEXT" in str(error):
        return "too much text, or too large a colour profile, inside"
    text = "".join(char if char.isprintable() else " " for char in str(error))
    return " ".join(text.split())[:_MAX_WORDS] or type(error).__name__


def _opening(data: bytes) -> str:
    text = data[:24].decode("ascii", "replace").strip().split("\n")[0].strip()
    if text and text.isprintable() and "\ufffd" not in text:
        return f"“{text}”"
    return data[:8].hex(" ")
