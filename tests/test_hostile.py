"""Files that mean harm or went wrong: the line a user reads, and that the rest goes on.

The kinds that tests/test_images.py and tests/test_bad_input.py cover are not repeated here.
"""

import csv
import functools
import os
import socket
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Result, photo
from PIL import Image, ImageOps
from test_images import chunk, encoded, far, png, smooth_photo

from embed import formats, images, ingest
from embed.images import ImageProblem, decode, read_bytes

GOOD = smooth_photo()  # 48 × 32
JPEG, PNG = encoded(GOOD, "JPEG"), encoded(GOOD, "PNG")


def spliced(data: bytes, mark: bytes, skip: int, new: bytes) -> bytes:
    """`data` with other bytes from `skip` after the start of `mark`."""
    at = data.index(mark) + skip
    return data[:at] + new + data[at + len(new) :]


def jpeg_that_claims(width: int, height: int, bits: int = 8, frame: int = 0xC0) -> bytes:
    claim = b"\xff" + bytes((frame,)) + struct.pack(">HBHH", 17, bits, height, width)
    return spliced(JPEG, b"\xff\xc0", 0, claim)


def jpeg_in_passes(count: int) -> bytes:
    """Each pass costs libjpeg a walk over all pixels, and the file some bytes."""
    data = encoded(Image.new("L", (64, 64), 90), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (count - data.count(b"\xff\xda")) + data[-2:]


def ycck() -> bytes:
    """A CMYK photo as Photoshop saves it: in luminance and colour differences."""
    channels = ImageOps.invert(GOOD).convert("YCbCr").split()
    inks = [channel.point(lambda value: 255 - value) for channel in channels]
    stored = Image.merge("CMYK", (*inks, Image.new("L", GOOD.size, 0)))
    return spliced(encoded(stored, "JPEG", quality=95), b"Adobe", 11, b"\x02")


def gif(canvas: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """37 bytes; disposing of its frame needs as many bytes as it has pixels."""
    control = b"!\xf9\x04" + bytes((8, 0, 0, 0, 0))
    return b"".join((
        b"GIF89a", struct.pack("<2H3B", *canvas, 0, 0, 0), control,
        b",", struct.pack("<4HB", 0, 0, *frame, 0), b"\x02\x02\x44\x01\0;",
    ))  # fmt: skip


def tiff(**changes: int | tuple[int, int]) -> bytes:
    """8 × 8 grey pixels; `changes` are tags, each a value or (count, value); -1 drops one."""
    numbers = {
        "width": 256, "height": 257, "bits": 258, "compression": 259, "colours": 262,
        "strip_at": 273, "samples": 277, "rows": 278, "strip_size": 279, "tile_width": 322,
        "tile_height": 323, "tile_at": 324, "tile_size": 325,
    }  # fmt: skip
    values: dict[str, Any] = {
        "width": 8, "height": 8, "bits": 8, "compression": 1, "colours": 1,
        "strip_at": 200, "samples": 1, "rows": 8, "strip_size": 64,
    } | changes  # fmt: skip
    tags = sorted((numbers[name], value) for name, value in values.items() if value != -1)
    body = b"MM\0*" + struct.pack(">IH", 8, len(tags))
    for number, value in tags:
        count, value = value if isinstance(value, tuple) else (1, value)
        body += struct.pack(">HHII", number, 4, count, value)
    return (body + struct.pack(">I", 8)).ljust(200, b"\0") + bytes(400)  # the next page is itself


TILES = {"strip_at": -1, "rows": -1, "strip_size": -1, "tile_at": 200, "tile_size": 64}


def webp(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + sides
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@functools.cache
def zeros_png() -> bytes:
    """All of 50,000 × 50,000 black pixels, 300 MB unpacked."""
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(6251 * 1000)) for _ in range(50)) + packer.flush()
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


BOMB = zlib.compress(bytes(80_000_000))
MEGABYTE = zlib.compress(b"a" * 1_000_000)
INSIDE = "truncated or damaged PNG (too much text, or too large a colour profile, inside)"

BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    # more pixels than a machine has room for
    "zeros.png": (zeros_png, "too large: 2,500,000,000 pixels, at most 200,000,000"),
    "claims-4-gigapixels.jpg": (
        lambda: jpeg_that_claims(65535, 65535),
        "too large: 4,294,836,225 pixels",
    ),
    "canvas.gif": (lambda: gif((65535, 65535), (1, 1)), "too large: 4,294,836,225 pixels"),
    "frame-over-canvas.gif": (
        lambda: gif((9, 9), (65535, 65535)),
        "too large: 4,294,836,225 pixels",
    ),
    "canvas.webp": (lambda: webp(2**24, 250), "too large: 4,194,304,000 pixels"),
    "large.webp": (lambda: webp(16383, 16383), "too large: 268,402,689 pixels"),
    "large.avif": (
        lambda: spliced(encoded(GOOD, "AVIF"), b"ispe", 8, struct.pack(">II", 16000, 16000)),
        "too large: 256,000,000 pixels",
    ),
    "huge.avif": (
        lambda: spliced(encoded(GOOD, "AVIF"), b"ispe", 8, struct.pack(">II", 2**31, 2**31)),
        "truncated or damaged AVIF",
    ),
    "huge.tif": (lambda: tiff(width=2**32 - 1, height=2**32 - 1), "too large: 18,446,744,065,119,"),
    "huge.bmp": (
        lambda: b"BM" + struct.pack("<3I3i2H6I", 99, 0, 54, 40, 2**31 - 1, 99, 1, 24, *[0] * 6),
        "too large: 212,600,881,053 pixels",
    ),
    "huge.ppm": (lambda: b"P6 99999 99999 255\n" + bytes(50), "too large: 9,999,800,001 pixels"),
    "huge.jp2": (
        lambda: spliced(encoded(GOOD, "JPEG2000"), b"ihdr", 4, struct.pack(">II", 60000, 60000)),
        "too large: 3,600,000,000 pixels",
    ),
    "strip.jpg": (
        lambda: encoded(Image.new("L", (1, 20_000)), "JPEG"),
        "too narrow: 1 × 20,000 pixels, one side over 200 times the other",
    ),
    # little bytes that unpack to many, or take for ever
    "profile.png": (lambda: png(1, 1, 8, 0, b"\0\0", chunk(b"iCCP", b"p\0\0" + BOMB)), INSIDE),
    "texts.png": (
        lambda: png(1, 1, 8, 0, b"\0\0", *[chunk(b"zTXt", b"k\0\0" + MEGABYTE)] * 70),
        INSIDE,
    ),
    "passes.jpg": (lambda: jpeg_in_passes(51), "a JPEG in over 50 passes, which would take too"),
    # headers that cannot be
    "no-rows.jpg": (lambda: jpeg_that_claims(48, 0), "truncated or damaged JPEG"),
    "twelve-bits.jpg": (lambda: jpeg_that_claims(48, 32, bits=12), "truncated or damaged JPEG"),
    "lossless.jpg": (lambda: jpeg_that_claims(48, 32, frame=0xC3), "truncated or damaged JPEG"),
    "twice-begun.jpg": (lambda: b"\xff\xd8" + JPEG, "truncated or damaged JPEG"),
    "no-picture.jpg": (lambda: b"\xff\xd8\xff\xd9", "truncated or damaged JPEG"),
    "no-columns.png": (lambda: png(0, 5, 8, 0, b""), "truncated or damaged PNG"),
    "seven-bits.png": (lambda: png(2, 2, 7, 0, bytes(6)), "truncated or damaged PNG"),
    "bad-checksum.png": (lambda: spliced(PNG, b"IHDR", 17, bytes(4)), "truncated or damaged PNG"),
    "no-pixels.png": (lambda: PNG[:33] + PNG[-12:], "truncated or damaged PNG"),
    "too-few-pixels.png": (lambda: png(20, 20, 8, 0, bytes(30)), "truncated PNG: the file ends"),
    "garbage.png": (lambda: spliced(PNG, b"IDAT", 4, b"\xff" * 30), "truncated or damaged PNG"),
    "no-canvas.gif": (lambda: gif((0, 0), (0, 0)), "truncated or damaged GIF"),
    "wrong-length.webp": (
        lambda: spliced(encoded(GOOD, "WEBP"), b"RIFF", 4, b"\xff\xff\xff\x7f"),
        "truncated or damaged WebP",
    ),
    "wrong-picture.webp": (
        lambda: spliced(encoded(GOOD, "WEBP"), b"VP8 ", 18, b"\xff" * 40),
        "truncated or damaged WebP",
    ),
    "strip-outside.tif": (lambda: tiff(strip_at=10**9), "truncated TIFF: the file ends"),
    "countless-strips.tif": (lambda: tiff(strip_at=(2**32 - 1, 99)), "truncated or damaged TIFF"),
    "strange-bits.tif": (lambda: tiff(bits=999), "truncated or damaged TIFF"),
    "strange-compression.tif": (lambda: tiff(compression=12345), "truncated or damaged TIFF"),
    "many-samples.tif": (lambda: tiff(samples=60_000), "truncated or damaged TIFF"),
    "no-rows-a-strip.tif": (lambda: tiff(rows=0), "truncated or damaged TIFF"),
    "huge-tile.tif": (
        lambda: tiff(**TILES, compression=5, tile_width=12_000, tile_height=12_000),
        "truncated or damaged TIFF (decoder error",
    ),
    "not-a-number.ppm": (lambda: b"P3 2 2 255\n1 2 3 x", "truncated or damaged image (invalid"),
    # other things under a photo's name
    "page.jpg": (lambda: b"\n<!doctype HTML>\n<svg>", "a web page, not a photo"),
    "archive.jpg": (lambda: b"PK\3\4" + bytes(99), "a zip archive, not a photo"),
    "paper.jpg": (lambda: b"%PDF-1.7\n%\xe2\xe3", "a PDF document, not a photo"),
    "program.jpg": (lambda: b"\x7fELF\2\1\1" + bytes(99), "not an image (starts with 7f 45 4c 46"),
    "packed.jpg": (lambda: b"\x1f\x8b\x08\0abcd", "not an image (starts with 1f 8b 08 00"),
    "icon.png": (lambda: encoded(Image.new("RGB", (16, 16)), "ICO"), "not an image"),
    "runs-a-program.jpg": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image (starts with “%!PS"),
    "spaces.jpg": (lambda: b" " * 5_000_000, "not an image (starts with 20 20 20"),
    "all-ones.jpg": (lambda: b"\xff" * 5000, "not an image (starts with ff ff"),
    "drawing.jpg": (lambda: b"<?xml version='1.0'?>\n<svg/>", "an SVG drawing"),
    "film.jpg": (lambda: b"\0\0\0\x18ftypmp42" + bytes(99), "a video"),
}  # fmt: skip

PROFILE = b"\0" * 128 + b"no colour profile" * 50

ODD: dict[str, Callable[[], bytes]] = {  # strange, but `GOOD` to the eye
    "profile.jpg": lambda: encoded(GOOD, "JPEG", icc_profile=PROFILE),
    "profile.png": lambda: encoded(GOOD, "PNG", icc_profile=PROFILE),
    "profile.tif": lambda: encoded(GOOD, "TIFF", icc_profile=PROFILE),
    "profile.webp": lambda: encoded(GOOD, "WEBP", icc_profile=PROFILE),
    "profile.avif": lambda: encoded(GOOD, "AVIF", icc_profile=PROFILE),
    "packed-profile.png": lambda: PNG[:33] + chunk(b"iCCP", b"p\0\0no zlib") + PNG[33:],
    "text.png": lambda: PNG[:33] + chunk(b"tEXt", b"k\0" + b"x" * 5_000_000) + PNG[33:],
    "comments.jpg": lambda: JPEG[:2] + (b"\xff\xfe\xff\xff" + b"x" * 65533) * 50 + JPEG[2:],
    "then-an-archive.jpg": lambda: JPEG + b"PK\3\4" * 99,
    "then-a-film.jpg": lambda: (
        encoded(GOOD, "JPEG", progressive=True) + b"\xff\xda\0\2" * 200
    ),
    "wrong-end.png": lambda: spliced(PNG, b"IEND", 4, b"1234"),
    "ycck.jpg": ycck,
    "lost-second-picture.mpo": lambda: spliced(
        encoded(GOOD, "MPO", save_all=True, append_images=[GOOD]), b"MPF\0", 40, b"\xff" * 20
    ),
    "as-jpeg.png": lambda: JPEG,
    "moving.png": lambda: encoded(
        GOOD, "PNG", save_all=True, append_images=[Image.new("RGB", GOOD.size)]
    ),
}  # fmt: skip
ORIENTATIONS = (0, 9, 65535)


def reason(data: bytes) -> str:
    with pytest.raises(ImageProblem) as caught:
        decode(data)
    return str(caught.value)


# ---- one by one


@pytest.mark.parametrize("name", BAD)
def test_the_line_of_a_bad_file(name: str) -> None:
    make, line = BAD[name]
    data = make()
    tracemalloc.start()  # NumPy's and Python's memory; for C's see the flood in test_fuzz.py
    try:
        assert reason(data).startswith(line)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(data) + 100 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ODD)
def test_what_is_only_odd_is_a_photo(name: str) -> None:
    assert far(np.asarray(decode(ODD[name]())), GOOD) < 6


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_orientation_that_does_not_exist_turns_nothing(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert far(np.asarray(decode(encoded(GOOD, kind, exif=exif.tobytes()))), GOOD) < 4


@pytest.mark.parametrize("part", range(20))
@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG"])
def test_cut_at_twenty_points(kind: str, part: int) -> None:
    noise = Image.effect_noise((120, 90), 60).convert("RGB")
    options: dict[str, Any] = {"progressive": True} if kind == "progressive" else {}
    data = encoded(noise, "PNG" if kind == "PNG" else "JPEG", **options)
    line = reason(data[: len(data) * part // 20])
    assert line.startswith("truncated" if part else "an empty file")


def test_a_jpeg_whose_header_claims_another_size_is_a_picture_of_that_size() -> None:
    for size in ((16, 16), (480, 32), (48, 4800)):
        assert decode(jpeg_that_claims(*size)).size == size


def test_fifty_passes_are_read() -> None:
    assert decode(jpeg_in_passes(50)).size == (64, 64)


@pytest.mark.parametrize("start", [JPEG[:2], PNG[:33]], ids=["JPEG", "PNG"])
def test_headers_of_millions_of_pieces(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_FEW_BYTES", 1000)
    monkeypatch.setattr(images, "_MAX_READS", 1000)
    piece = b"\xff\xe1\0\2" if start == JPEG[:2] else chunk(b"abCd", b"")
    whole = JPEG if start == JPEG[:2] else PNG
    rest = whole[len(start) :]
    assert decode(start + piece * 200 + rest).size == GOOD.size
    assert reason(start + piece * 1000 + rest) == "damaged: it is made of millions of tiny pieces"


def test_a_gif_makes_no_room_for_what_it_claims() -> None:
    """Pillow fills a frame's area while it reads the header, so before it tells the size."""
    resource = pytest.importorskip("resource", reason="needs a Unix system")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reason(gif((65535, 65535), (65535, 65535)))
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert more < 10**6  # kB on Linux, bytes on macOS; 4 GB without the guard


# ---- HEIC and AVIF, with and without what reads them


HEIC_STARTS = [b"\0\0\0\x24ftyp" + brand + b"\0\0\0\0mif1heic" for brand in (b"heic", b"mif1")]


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Forgets, before and after, whether the plug-in was found."""
    formats._has_heif.cache_clear()
    yield monkeypatch
    formats._has_heif.cache_clear()


@pytest.mark.parametrize("data", HEIC_STARTS, ids=["heic", "mif1"])
def test_heic_without_the_plug_in(data: bytes, plug_in: pytest.MonkeyPatch) -> None:
    plug_in.setitem(sys.modules, "pillow_heif", None)
    assert reason(data) == (
        "a HEIC photo: run `pip install pillow-heif` to read it, or convert it to JPEG"
    )


@pytest.mark.usefixtures("plug_in")
def test_heic_with_the_plug_in() -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    heif.register_heif_opener()  # to save
    data = encoded(GOOD, "HEIF", quality=90)
    assert far(np.asarray(decode(data)), GOOD) < 6
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(GOOD.transpose(Image.Transpose.ROTATE_90), "HEIF", exif=exif.tobytes())
    assert far(np.asarray(decode(turned)), GOOD) < 6
    assert "damaged HEIC" in reason(HEIC_STARTS[0])
    for part in range(1, 20):
        assert "HEIC" in reason(data[: len(data) * part // 20])


def test_avif_where_pillow_was_built_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_LACKING", {"AVIF"})
    assert reason(encoded(GOOD, "AVIF")) == (
        "a photo in AVIF: run `pip install --upgrade pillow` to read it, or convert it to JPEG"
    )


# ---- all of them in one folder


class Trap:
    """A folder of photos, good and bad, with the line that each bad one must get."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lines: dict[str, str] = {}
        (root / "a").mkdir(parents=True)

    def bad(self, name: str, line: str) -> Path:
        self.lines[f"a/{name}"] = line
        return self.root / "a" / name

    def good(self, name: str) -> None:
        photo((90, 60, 30), len(name)).save(self.root / "a" / name, "PNG")


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path / "photos")


def skipped(workspace: Path) -> dict[str, str]:
    with (workspace / "embed-skipped.csv").open(newline="", encoding="utf-8") as handle:
        return {row["file_path"]: row["reason"] for row in csv.DictReader(handle)}


def check_run(run: Callable[..., Result], trap: Trap, good: int) -> None:
    workspace = trap.root.parent / "workspace"
    for arguments, code in ([], 0), (["--strict"], 1):
        result = run("embed", trap.root, "--encoder", "pixels", "-w", workspace, *arguments)
        assert result.code == code, result
        assert f"{good} photos in the collection" in result.out
        assert "Traceback" not in result.err
    found = skipped(workspace)
    assert set(found) == set(trap.lines)
    for name, line in trap.lines.items():
        assert found[name].startswith(line), name


def test_all_of_them_cost_themselves_alone(run: Callable[..., Result], trap: Trap) -> None:
    for name, (make, line) in BAD.items():
        trap.bad(name, line).write_bytes(make())
    trap.good("first.png")
    trap.good("last.png")
    check_run(run, trap, good=2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a Unix file system")
def test_names_and_links_that_mean_harm(run: Callable[..., Result], trap: Trap) -> None:
    for name in ("new\nline.png", 'quote".png', "comma,.png", "-rf.png", "$(x).png", "=1+1.png"):
        trap.good(name)
    trap.good("x" * 251 + ".png")
    trap.bad("bad\nline.png", "not an image").write_bytes(b"text")
    Path(os.fsdecode(os.fsencode(trap.root / "a") + b"/caf\xe9.png")).write_bytes(PNG)
    trap.lines["a/caf\\udce9.png"] = "its name is not UTF-8 text: rename it"
    os.mkfifo(trap.bad("pipe.jpg", "not a regular file (a pipe, a socket or a device)"))
    trap.bad("folder.jpg", "a folder, not a photo").mkdir()
    trap.bad("lost.jpg", "a link to a file that does not exist").symlink_to("nowhere.jpg")
    trap.bad("self.jpg", "cannot be read (Too many levels").symlink_to("self.jpg")
    trap.bad("one.jpg", "cannot be read (Too many levels").symlink_to("two.jpg")
    trap.bad("two.jpg", "cannot be read (Too many levels").symlink_to("one.jpg")
    trap.bad("circle", "a link to a folder whose photos are taken already").symlink_to(trap.root)
    trap.bad("null.jpg", "not a regular file").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(trap.bad("socket.jpg", "not a regular file")))
        check_run(run, trap, good=7)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_files_that_nobody_may_read(run: Callable[..., Result], trap: Trap) -> None:
    trap.good("good.png")
    locked = trap.bad("locked.png", "no permission to read it")
    locked.write_bytes(PNG)
    locked.chmod(0)
    check_run(run, trap, good=1)


def test_photos_that_change_between_listing_and_reading(
    run: Callable[..., Result], trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stays.png", "vanishes.png", "empties.png", "becomes-folder.png", "cut.png"):
        trap.good(name)
    original = ingest.read_collection

    def listed(*arguments: Any) -> Any:
        collection = original(*arguments)
        folder = trap.root / "a"
        (folder / "vanishes.png").unlink()
        (folder / "empties.png").write_bytes(b"")
        (folder / "becomes-folder.png").unlink()
        (folder / "becomes-folder.png").mkdir()
        (folder / "cut.png").write_bytes(PNG[: len(PNG) // 2])
        return collection

    monkeypatch.setattr(ingest, "read_collection", listed)
    assert run("embed", trap.root, "--encoder", "pixels", "-w", tmp_path / "w").code == 0
    assert skipped(tmp_path / "w") == {
        "a/vanishes.png": "does not exist",
        "a/empties.png": "an empty file (0 bytes)",
        "a/becomes-folder.png": "a folder, not a photo",
        "a/cut.png": "truncated PNG: the file ends before the picture does",
    }


def test_a_file_that_shrinks_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    original = images.check_file

    def then_empty(path: Path) -> os.stat_result:
        status = original(path)
        path.write_bytes(b"")
        return status

    monkeypatch.setattr(images, "check_file", then_empty)
    with pytest.raises(ImageProblem, match="an empty file"):
        read_bytes(path)
