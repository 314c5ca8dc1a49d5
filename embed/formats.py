"""Kinds of files: which are photos by name, which are read, and what the others are called."""

import ctypes
import functools
import logging
import re

from PIL import Image, _imaging, features

RAW_SUFFIXES = frozenset((
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef",
    ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
))  # fmt: skip
_READ_SUFFIXES = frozenset((
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf",
    ".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
))  # fmt: skip
# What a scan of a folder takes for photos. HEIC, JPEG XL and RAW are photos to their owner:
# they come out as left out, with the reason, rather than vanish.
IMAGE_SUFFIXES = _READ_SUFFIXES | RAW_SUFFIXES | {".heic", ".heif", ".hif", ".jxl"}

_HEIC = re.compile(rb".{4}ftyp(hei|hev|(mif1|msf1)(?!.{0,80}avi[fs]))", re.DOTALL)


def _table(*rows: tuple[bytes, str]) -> tuple[tuple[re.Pattern[bytes], str], ...]:
    return tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in rows)


def convert(kind: str) -> str:
    """The line for a photo of a kind that is never read."""
    return f"{kind}, which is not supported: convert it to JPEG"


_REFUSED = _table(
    (
        rb"(?i:(\xef\xbb\xbf)?\s*<(!doctype )?html)",
        "a web page, not a photo (a failed download?)",
    ),
    (rb"PK\x03\x04", "a zip archive, not a photo"),
    (rb"%PDF-", "a PDF document, not a photo"),
    (
        rb".{4}ftypcrx |(II\*\0|MM\0\*).{4}CR|II\x1a\0.{4}HEAP|FUJIFILMCCD-RAW|II(RO|RS|U\0)"
        rb"|MMOR|FOVb|\0MRM",
        convert("a camera RAW photo"),
    ),
    (rb"\0\0\0\x0cJXL |\xff\x0a", convert("a JPEG XL photo")),
    (rb"(\xef\xbb\xbf)?\s*<.{0,2000}svg", convert("an SVG drawing")),
    (rb"8BPS", convert("a Photoshop file")),
    (rb".{4}ftyp(?!avi[fs]|mif1|msf1).{4}|RIFF.{4}AVI |\x1aE\xdf\xa3", convert("a video")),
)
_SUPPORTED = _table(
    (rb"\xff\xd8", "JPEG"),
    (rb"\x89PNG", "PNG"),
    (rb"GIF8", "GIF"),
    (rb"RIFF.{4}WEBP", "WebP"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (_HEIC.pattern, "HEIC"),
    (rb".{4}ftyp", "AVIF"),
    (rb"\0\0\0\x0cjP|\xff\x4f\xff\x51", "JPEG 2000"),
)
_LACKING = {  # what a Pillow may be built without
    kind
    for kind, feature in (("WebP", "webp"), ("AVIF", "avif"), ("JPEG 2000", "jpg_2000"))
    if not features.check(feature)
}

# Once, before any thread: Pillow's plugins register themselves without a lock. Formats that run
# programs (EPS) stay closed.
Image.init()
_READERS = tuple(
    name
    for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF")
    if name in Image.OPEN  # MPO comes through JPEG; older Pillows have no AVIF
)


def readers(data: bytes) -> tuple[str, ...]:
    """Pillow's names of the formats that the content of a photo's file may have."""
    return ("HEIF",) if _HEIC.match(data) else _READERS


def refusal(data: bytes) -> str | None:
    """Why a file of this kind is not read; None where it may be a photo."""
    if data.startswith((b"\xff\xd8", b"\x89PNG")):
        return None
    if _HEIC.match(data):
        return None if _has_heif() else _needs("a HEIC photo", "pillow-heif")
    for pattern, line in _REFUSED:
        if pattern.match(data):
            return line
    kind = kind_of(data)
    return _needs(f"a photo in {kind}", "--upgrade pillow") if kind in _LACKING else None


def kind_of(data: bytes) -> str:
    """What to call a photo's format by its first bytes; "image" where they say nothing."""
    return next((kind for pattern, kind in _SUPPORTED if pattern.match(data)), "image")


def keep_quiet() -> None:
    """Let Pillow and its libtiff print nothing of their own about damaged files."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    try:  # found through Pillow's own extension, so it is the very copy that Pillow calls
        silence = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (OSError, AttributeError):  # linked into it, as on Windows
        return
    silence.argtypes, silence.restype = (ctypes.c_void_p,), ctypes.c_void_p
    silence(None)


def _needs(kind: str, package: str) -> str:
    return f"{kind}: run `pip install {package}` to read it, or convert it to JPEG"


@functools.cache
def _has_heif() -> bool:
    """Whether HEIC can be read; the plug-in is looked for, and registered, at the first such file.

    Two threads at once would do the same twice, without harm.
    """
    try:
        from pillow_heif import (  # type: ignore[import-not-found, unused-ignore]
            register_heif_opener,
        )
    except ImportError:
        return False
    register_heif_opener()
    return True
