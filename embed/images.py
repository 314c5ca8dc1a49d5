"""Bytes to pixels, and in plain words everything that can be wrong with a photo's file."""

import logging
import re
import stat
import threading
import warnings
from io import BytesIO
from os import stat_result
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

MAX_BYTES = 256 * 2**20
MAX_PIXELS = 200_000_000
MAX_RATIO = 200  # long to short side: resizing a 1 × 60,000 strip would need the whole memory

_RAW_SUFFIXES = frozenset((
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef",
    ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
))  # fmt: skip
_READ_SUFFIXES = frozenset((
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf",
    ".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
))  # fmt: skip
# What a scan of a folder takes for photos. HEIC, JPEG XL and RAW are photos to their owner:
# they come out as left out, with the reason, rather than vanish.
IMAGE_SUFFIXES = _READ_SUFFIXES | _RAW_SUFFIXES | {".heic", ".heif", ".hif", ".jxl"}

_UNSUPPORTED = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb".{4}ftyp(hei|hev|(mif1|msf1)(?!.{0,80}avi[fs]))", "a HEIC photo"),
        (
            rb".{4}ftypcrx |(II\*\0|MM\0\*).{4}CR|II\x1a\0.{4}HEAP|FUJIFILMCCD-RAW|II(RO|RS|U\0)"
            rb"|MMOR|FOVb|\0MRM",
            "a camera RAW photo",
        ),
        (rb"\0\0\0\x0cJXL |\xff\x0a", "a JPEG XL photo"),
        (rb"(\xef\xbb\xbf)?\s*<.{0,2000}svg", "an SVG drawing"),
        (rb"8BPS", "a Photoshop file"),
        (rb".{4}ftyp(?!avi[fs]|mif1|msf1).{4}|RIFF.{4}AVI |\x1aE\xdf\xa3", "a video"),
    )
)
_SUPPORTED = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"\xff\xd8", "JPEG"),
        (rb"\x89PNG", "PNG"),
        (rb"GIF8", "GIF"),
        (rb"RIFF.{4}WEBP", "WebP"),
        (rb"II[*+]\0|MM\0[*+]", "TIFF"),
        (rb".{4}ftyp", "AVIF"),
        (rb"\0\0\0\x0cjP|\xff\x4f\xff\x51", "JPEG 2000"),
    )
)

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

# Once, before any thread: Pillow's own bomb check warns and does not name the size, and its
# plugins register themselves without a lock. Formats that run programs (EPS) stay closed.
Image.MAX_IMAGE_PIXELS = None
Image.init()
logging.getLogger("PIL").setLevel(logging.CRITICAL)
_FORMATS = tuple(
    name
    for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF")
    if name in Image.OPEN  # MPO comes through JPEG; older Pillows have no AVIF
)
_EMPTY = "an empty file (0 bytes)"
_PILLOW = r"PIL\b"
_QUIET = ("ignore", None, Warning, re.compile(_PILLOW), 0)
_QUIET_LOCK = threading.Lock()


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
    if path.suffix.lower() in _RAW_SUFFIXES:  # many are TIFFs that hold a thumbnail first
        raise ImageProblem(_convert("a camera RAW photo"))
    if size <= MAX_BYTES:
        try:
            with path.open("rb") as handle:
                data = handle.read(MAX_BYTES + 1)
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
    _keep_quiet()
    for pattern, kind in _UNSUPPORTED:
        if pattern.match(data):
            raise ImageProblem(_convert(kind))
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as photo:
            _check_size(*photo.size)
            photo.load()
            turn = _UPRIGHT.get(_orientation(photo))
            rgb = _to_rgb(photo)
            return rgb if turn is None else rgb.transpose(turn)
    except ImageProblem:
        raise
    except Exception as error:  # damaged files bring nearly every type out of Pillow
        raise ImageProblem(_reason(error, data)) from error


def _keep_quiet() -> None:
    """Ignore Pillow's warnings on damaged metadata, whatever filters came since the last call.

    `warnings.catch_warnings` is not safe in threads.
    """
    if warnings.filters[:1] != [_QUIET]:
        with _QUIET_LOCK:
            warnings.filterwarnings("ignore", module=_PILLOW)


def _check_size(width: int, height: int) -> None:
    size = f"{width:,} × {height:,} pixels"
    if width * height > MAX_PIXELS:
        raise ImageProblem(f"too large: {size}, at most {MAX_PIXELS // 10**6} million")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ImageProblem(f"too narrow: {size}, one side over {MAX_RATIO} times the other")


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
        rgba = mask = photo.convert("RGBA")
    white = Image.new("RGB", photo.size, "white")
    white.paste(rgba, mask=mask)
    return white


def _to_8_bit(photo: Image.Image) -> Image.Image:
    """Grey of more than 8 bits as 8: white is the smallest usual depth that holds all pixels.

    A microscope's 12 bits in a 16-bit file would else come out black.
    """
    grey = np.nan_to_num(np.asarray(photo, dtype=np.float32), posinf=0, neginf=0)
    lowest, white = float(grey.min()), float(grey.max())
    if lowest < 0:
        grey -= lowest
        white -= lowest
    else:
        depths = (1,) * (photo.mode == "F") + (255, 1023, 4095, 16383, 65535)
        white = next((depth for depth in depths if white <= depth), white)
    grey *= 255 / (white or 1)
    return Image.fromarray(np.rint(grey, out=grey).astype(np.uint8))


def _convert(kind: str) -> str:
    return f"{kind}, which is not supported: convert it to JPEG"


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
    kind = next((kind for pattern, kind in _SUPPORTED if pattern.match(data)), "image")
    if "truncated" in str(error).lower():
        return f"truncated {kind}: the file ends before the picture does"
    if not isinstance(error, UnidentifiedImageError):
        return f"truncated or damaged {kind} ({error or type(error).__name__})"
    if kind != "image":
        return f"truncated or damaged {kind} (its header cannot be read)"
    return f"not an image (starts with {_opening(data)})"


def _opening(data: bytes) -> str:
    text = data[:24].decode("ascii", "replace").strip().split("\n")[0].strip()
    if text.isprintable() and "\ufffd" not in text:
        return f"“{text}”"
    return data[:8].hex(" ")
