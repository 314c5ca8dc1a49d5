"""Hostile and odd photo files: every one gives an RGB image with the right pixels or a reason."""

import io
import os
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from embed import images
from embed.images import ImageProblem, decode, decode_at, read_bytes

SIDE = 48


def smooth_photo(width: int = SIDE, height: int = 32) -> Image.Image:
    """A picture without symmetry, smooth enough to survive lossy formats."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = (255 * x / width, 255 * y / height, 255 * (x / width) * (y / height))
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(1)
    )


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    image = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def far(a: np.ndarray, b: Image.Image | np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(a.astype(float) - np.asarray(b).astype(float)).mean())


def png(width: int, height: int, depth: int, colour: int, body: bytes, *chunks: bytes) -> bytes:
    """A PNG by hand: for headers and depths that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(body))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def reason(data: bytes) -> str:
    with pytest.raises(ImageProblem) as caught:
        decode(data)
    return str(caught.value)


# ---- what comes out of good files


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_same_pixels(kind):
    photo = smooth_photo()
    assert np.array_equal(pixels(encoded(photo, kind)), np.asarray(photo))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "JPEG2000", "MPO"])
def test_lossy_formats_give_nearly_the_same_pixels(kind):
    photo = smooth_photo()
    assert far(pixels(encoded(photo, kind)), photo) < 4


def test_one_pixel():
    assert pixels(encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG")).tolist() == [[[9, 8, 7]]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_comes_out_in_its_colours(kind):
    photo = smooth_photo()
    assert far(pixels(encoded(photo.convert("CMYK"), kind)), photo) < 6


@pytest.mark.parametrize("mode", ["LAB", "YCbCr"])
def test_tiffs_of_other_colour_spaces_come_out_in_their_colours(mode):
    photo = smooth_photo()
    assert far(pixels(encoded(photo.convert(mode), "TIFF")), photo) < 4


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_and_black_and_white_have_three_equal_channels(mode):
    grey = smooth_photo().convert(mode)
    expected = np.asarray(grey.convert("L"))
    assert np.array_equal(pixels(encoded(grey, "PNG")), np.stack([expected] * 3, axis=-1))


def test_palette_comes_out_in_its_colours():
    palette = smooth_photo().quantize(200)
    assert np.array_equal(pixels(encoded(palette, "PNG")), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparent_is_white_and_half_transparent_is_half_way(kind):
    photo = Image.new("RGBA", (3, 1))
    photo.putdata([(200, 0, 0, 255), (200, 0, 0, 0), (100, 0, 0, 128)])
    options = {"lossless": True} if kind == "WEBP" else {}
    solid, clear, half = pixels(encoded(photo, kind, **options))[0].astype(int)
    assert solid.tolist() == [200, 0, 0]
    assert clear.tolist() == [255, 255, 255]
    assert np.abs(half - [(100 + 255) / 2, 127, 127]).max() <= 1.5


def test_grey_with_alpha_over_white():
    photo = Image.new("LA", (2, 1))
    photo.putdata([(90, 255), (90, 0)])
    assert pixels(encoded(photo, "PNG"))[0].tolist() == [[90] * 3, [255] * 3]


def test_palette_with_alpha_channel_over_white():
    photo = Image.new("PA", (2, 1))
    photo.putpalette([0, 0, 0, 10, 20, 30])
    photo.putdata([(1, 255), (1, 0)])
    assert pixels(encoded(photo, "TIFF"))[0].tolist() == [[10, 20, 30], [255] * 3]


@pytest.mark.parametrize(
    ("clear", "expected"),
    [(1, [[10, 20, 30], [255] * 3]), (bytes([255, 0]), [[10, 20, 30], [255] * 3])],
    ids=["one-index", "alpha-of-each-colour"],
)
def test_palette_with_transparent_colour_over_white(clear, expected):
    photo = Image.new("P", (2, 1))
    photo.putpalette([10, 20, 30, 40, 50, 60])
    photo.putdata([0, 1])
    assert pixels(encoded(photo, "PNG", transparency=clear))[0].tolist() == expected


@pytest.mark.parametrize(
    ("depth", "colour", "row", "clear", "expected"),
    [
        (8, 0, bytes([7, 90]), struct.pack(">H", 7), [[255] * 3, [90] * 3]),
        (16, 0, struct.pack(">2H", 514, 65535), struct.pack(">H", 514), [[255] * 3, [255] * 3]),
        (16, 0, struct.pack(">2H", 7, 65535), struct.pack(">H", 9), [[0] * 3, [255] * 3]),
        (8, 2, bytes([1, 2, 3, 4, 5, 6]), struct.pack(">3H", 1, 2, 3), [[255] * 3, [4, 5, 6]]),
        (
            16,
            2,
            struct.pack(">6H", 2570, 5140, 7710, 257, 514, 771),
            struct.pack(">3H", 2570, 5140, 7710),
            [[255] * 3, [1, 2, 3]],
        ),
    ],
    ids=["grey", "grey16", "grey16-unused", "rgb", "rgb16"],
)
def test_png_with_a_transparent_colour_over_white(depth, colour, row, clear, expected):
    data = png(2, 1, depth, colour, b"\0" + row, chunk(b"tRNS", clear))
    assert pixels(data)[0].tolist() == expected


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
def test_16_bit_grey_spans_black_to_white(kind):
    ramp = np.linspace(0, 65535, SIDE).astype(np.uint16)[None].repeat(SIDE, axis=0)
    options = {"irreversible": False} if kind == "JPEG2000" else {}
    out = pixels(encoded(Image.fromarray(ramp), kind, **options))
    assert np.abs(out[..., 0] - ramp / 257).max() <= 1


@pytest.mark.parametrize("top", [255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_integers_of_any_usual_depth_span_black_to_white(mode, top):
    values = np.array([[0, top // 2, top]])
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": np.int32, "F": np.float32}[mode]
    image = Image.frombytes(mode, (3, 1), values.astype(dtype).tobytes())
    assert pixels(encoded(image, "TIFF"))[0, :, 0].tolist() in ([0, 127, 255], [0, 128, 255])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, np.nan, 1e6], [0, 0, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
        ([0.0, np.inf, 255.0], [0, 0, 255]),
        ([-3.4e38, 0.0, 3.4e38], [0, 128, 255]),
        ([-1e-40, -1e-40, -1e-40], [0, 0, 0]),
    ],
)
def test_fractions_are_scaled_sensibly(values, expected):
    image = Image.fromarray(np.array([values], dtype=np.float32))
    out = pixels(encoded(image, "TIFF"))[0, :, 0].astype(int)
    assert np.abs(out - expected).max() <= 1


def test_16_bit_colour_keeps_its_high_byte():
    data = png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 257 * 10, 257 * 20, 257 * 30))
    assert pixels(data).tolist() == [[[10, 20, 30]]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert pixels(data)[4, 4].tolist() == [255, 0, 0]


# ---- EXIF


def turned(orientation: int) -> Image.Image:
    """The pixels a camera stores for an upright `smooth_photo` with that orientation tag."""
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = smooth_photo()
    return upright.transpose(inverse[orientation]) if orientation in inverse else upright


def orientation_tag(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "limit"), [("PNG", 0), ("TIFF", 0), ("JPEG", 4), ("WEBP", 4)])
def test_every_orientation_comes_out_upright(kind, limit, orientation):
    data = encoded(turned(orientation), kind, exif=orientation_tag(orientation))
    assert far(pixels(data), smooth_photo()) <= limit


def test_orientation_of_a_transparent_photo():
    photo = turned(6).convert("RGBA")
    data = encoded(photo, "PNG", exif=orientation_tag(6))
    assert np.array_equal(pixels(data), np.asarray(smooth_photo()))


def one_tag(kind: int, count: int, value: int) -> bytes:
    """EXIF of an orientation tag alone, with a type, count and value of one's choice."""
    return b"Exif\0\0" + struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x0112, kind, count, value, 0)


BROKEN_EXIF = {
    "empty": b"Exif\0\0",
    "noise": b"Exif\0\0" + bytes(range(200)),
    "cut-off": b"Exif\0\0" + orientation_tag(6)[6:16],
    "text-as-orientation": one_tag(2, 2, ord("x")),
    "unknown-orientation": one_tag(3, 1, 99),
    "unknown-type": one_tag(77, 1, 6),
    "fraction-over-zero": one_tag(5, 1, 0),
    "value-outside": one_tag(3, 0xFFFF, 0xFFFFFF),
    "offset-outside": b"Exif\0\0II*\0\xff\xff\xff\x7f",
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
def test_broken_exif_does_not_cost_the_photo(kind, exif):
    photo = smooth_photo()
    assert far(pixels(encoded(photo, kind, exif=exif)), photo) < 4


# ---- one photo for several encoders


def shrunk(data: bytes, *shortest: int | None) -> list[Image.Image]:
    return decode_at(data, shortest)


@pytest.mark.parametrize(
    ("size", "shortest", "expected"),
    [
        ((640, 480), 480, (640, 480)),
        ((640, 480), 241, (640, 480)),
        ((640, 480), 240, (320, 240)),
        ((640, 480), 120, (160, 120)),
        ((640, 480), 60, (80, 60)),
        ((640, 480), 1, (80, 60)),
        ((480, 640), 60, (60, 80)),
        ((641, 479), 119, (161, 120)),
        ((15, 31), 1, (2, 4)),
        ((7, 7), 1, (2, 2)),
        ((1, 1), 1, (1, 1)),
        ((640, 480), None, (640, 480)),
    ],
)
def test_a_jpeg_shrinks_as_far_as_its_short_side_allows(size, shortest, expected):
    assert shrunk(encoded(smooth_photo(*size), "JPEG"), shortest)[0].size == expected


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.lists(st.none() | st.integers(1, 60), min_size=1, max_size=4),
)
def test_no_encoder_gets_other_pixels_for_the_sake_of_another(size, shortest):
    data = encoded(smooth_photo(*size), "JPEG")
    together = shrunk(data, *shortest)
    assert len(together) == len(shortest)
    for image, pixels_wanted in zip(together, shortest, strict=True):
        alone = shrunk(data, pixels_wanted)[0]
        assert image.tobytes() == alone.tobytes()
        assert image.size == alone.size
        assert min(image.size) >= min(pixels_wanted or 90, *size)
    assert len({id(image) for image in together}) == len({image.size for image in together})


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF", "AVIF", "JPEG2000", "BMP"])
def test_only_a_jpeg_shrinks_and_others_are_decoded_once(kind):
    data = encoded(smooth_photo(400, 300), kind)
    full, small = shrunk(data, None, 10)
    assert full is small
    assert full.size == (400, 300)


JPEGS: dict[str, tuple[str, str, dict[str, Any]]] = {  # mode, format, options
    "colour": ("RGB", "JPEG", {}),
    "full colour": ("RGB", "JPEG", {"subsampling": "4:4:4"}),
    "progressive": ("RGB", "JPEG", {"progressive": True}),
    "grey": ("L", "JPEG", {}),
    "CMYK": ("CMYK", "JPEG", {}),
    "two pictures": ("RGB", "MPO", {"save_all": True, "append_images": [Image.new("RGB", (9, 9))]}),
}


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("case", JPEGS)
def test_a_shrunk_jpeg_is_the_same_picture(case, scale):
    mode, kind, options = JPEGS[case]
    data = encoded(smooth_photo(640, 480).convert(mode), kind, **options)
    full, small = shrunk(data, None, 480 // scale)
    assert small.mode == "RGB"
    assert small.size == (640 // scale, 480 // scale)
    assert far(np.asarray(small), full.reduce(scale)) < 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_shrunk_jpeg_is_upright(orientation):
    photo = turned(orientation).resize([8 * side for side in turned(orientation).size])
    small = shrunk(encoded(photo, "JPEG", exif=orientation_tag(orientation)), 64)[0]
    assert far(np.asarray(small), smooth_photo().resize((96, 64))) < 4


def test_a_header_is_read_once_for_each_size(monkeypatch):
    opened = []
    original = images.Image.open
    monkeypatch.setattr(
        images.Image, "open", lambda *args, **named: opened.append(1) or original(*args, **named)
    )
    data = encoded(smooth_photo(640, 480), "JPEG")
    assert len(shrunk(data, 240, 200, 239)) == 3
    assert len(opened) == 1
    shrunk(data, 240, None, 120)
    assert len(opened) == 1 + 3


# ---- room for large pictures


def let_two_meet(monkeypatch: pytest.MonkeyPatch, patience: float) -> None:
    """Decoding fails where no other picture comes to its middle within so many seconds."""
    barrier = threading.Barrier(2, timeout=patience)
    original = images._to_rgb

    def wait(photo: Image.Image) -> Image.Image:
        barrier.wait()
        return original(photo)

    monkeypatch.setattr(images, "_to_rgb", wait)
    monkeypatch.setattr(images, "BIG_PIXELS", 80 * 60)


@pytest.mark.parametrize(
    ("data", "shortest", "together"),
    [
        (encoded(smooth_photo(80, 60), "PNG"), None, True),
        (encoded(smooth_photo(81, 60), "PNG"), None, False),
        (encoded(smooth_photo(160, 120), "JPEG"), None, False),
        (encoded(smooth_photo(160, 120), "JPEG"), 60, True),
        (encoded(smooth_photo(160, 120), "JPEG", progressive=True), 60, False),
    ],
    ids=["small", "large", "large JPEG", "shrunk JPEG", "shrunk progressive JPEG"],
)
def test_large_pictures_are_decoded_one_at_a_time(monkeypatch, data, shortest, together):
    let_two_meet(monkeypatch, patience=60 if together else 1)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(decode_at, data, [shortest]) for _ in range(2)]
    assert all(future.exception() is None for future in both) == together


def test_a_small_picture_does_not_wait_for_a_large_one(monkeypatch):
    let_two_meet(monkeypatch, patience=60)
    files = [encoded(smooth_photo(*size), "PNG") for size in ((200, 100), (40, 30))]
    with ThreadPoolExecutor(2) as pool:
        assert [image.size for image in pool.map(decode, files)] == [(200, 100), (40, 30)]


def test_a_large_picture_that_fails_lets_the_next_one_in(monkeypatch):
    monkeypatch.setattr(images, "BIG_PIXELS", 1)
    data = encoded(smooth_photo(), "PNG")
    reason(data[: len(data) // 2])
    assert decode(data).size == smooth_photo().size


# ---- what is refused, and why


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_truncated_jpeg(share, progressive):
    data = encoded(smooth_photo(400, 300), "JPEG", quality=95, progressive=progressive)
    assert reason(data[: int(len(data) * share)]).startswith("truncated")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_other_formats_truncated(kind, share):
    data = encoded(smooth_photo(200, 150), kind)
    assert "truncated" in reason(data[: int(len(data) * share)])


def test_a_jpeg_cut_anywhere_is_whole_or_refused():
    photo = smooth_photo()
    data = encoded(photo, "JPEG")
    for end in range(0, len(data), 7):
        reason(data[:end])


def test_huge_picture_is_refused_before_decoding():
    rows = zlib.compressobj()
    body = rows.compress(b"\0" * 90_001 * 10) + rows.flush()
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body)
    start = time.process_time()
    assert reason(data) == "too large: 900,000,000 pixels, at most 200,000,000"
    assert time.process_time() - start < 0.5


def test_the_limit_of_pixels_is_the_last_size_taken(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 10_000)
    assert decode(encoded(Image.new("L", (100, 100)), "PNG")).size == (100, 100)
    assert reason(encoded(Image.new("L", (101, 100)), "PNG")).startswith("too large: 10,100 pixels")


def test_a_strip_that_no_encoder_could_resize_is_refused():
    assert reason(encoded(Image.new("L", (1, 5000)), "PNG")).startswith("too narrow: 1 × 5,000")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file (0 bytes)"),
        (b"\0" * 500, "nothing but zero bytes"),
        (b"Remember to copy the photos\nand the table", "not an image (starts with “Remember to"),
        (b"<!DOCTYPE html><html>404<svg></html>", "a web page, not a photo (a failed download?)"),
        (b"PK\x03\x04\x14\0", "a zip archive, not a photo"),
        (b"%PDF-1.7\n", "a PDF document, not a photo"),
        (b"   \n  ", "not an image (starts with 20 20 20 0a 20 20)"),
        (b"BMW is no bitmap", "not an image (starts with “BMW is no bitmap”)"),
        (b"\x01\x02\x03\x04", "not an image (starts with 01 02 03 04)"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
        (b"\xff\xd8\xff", "truncated or damaged JPEG"),
        (b"II*\0\x10\0\0\0CR\x02\0", "a camera RAW photo"),
        (b"FUJIFILMCCD-RAW 0201", "a camera RAW photo"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01", "a camera RAW photo"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "an SVG drawing"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL photo"),
        (b"8BPS\0\x01", "a Photoshop file"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a video"),
    ],
)
def test_what_is_no_photo_is_named(data, words):
    assert reason(data).startswith(words)


def test_a_png_that_hides_a_gigabyte_of_text():
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 80_000_000))
    data = png(1, 1, 8, 0, b"\0\0", text)
    assert "damaged PNG" in reason(data)


def test_out_of_memory_is_a_reason(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(images.Image, "open", fail)
    assert reason(b"\xff\xd8\xff") == "too large for the memory of this machine"


# ---- reading files


def problem_of(path: Path) -> str:
    with pytest.raises(ImageProblem) as caught:
        read_bytes(path)
    return str(caught.value)


def test_bytes_come_back_as_they_are(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"\0\xff12")
    assert read_bytes(tmp_path / "x.jpg") == b"\0\xff12"


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "photo.NEF").write_bytes(encoded(smooth_photo(), "TIFF"))
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    assert problem_of(tmp_path / "folder.jpg") == "a folder, not a photo"
    assert problem_of(tmp_path / "empty.jpg") == "an empty file (0 bytes)"
    assert problem_of(tmp_path / "none.jpg") == "does not exist"
    assert problem_of(tmp_path / "lost.jpg") == "a link to a file that does not exist"
    assert problem_of(tmp_path / "photo.NEF").startswith("a camera RAW photo")
    assert problem_of(tmp_path / "a.jpg").startswith("cannot be read (Too many levels")
    assert problem_of(tmp_path / ("x" * 300)).startswith("cannot be read (File name too long")
    assert problem_of(tmp_path / "a\0b.jpg").startswith("cannot be read (embedded null byte")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_socket_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.jpg"))
        assert problem_of(tmp_path / "pipe.jpg").startswith("not a regular file")
        assert problem_of(tmp_path / "s.jpg").startswith("not a regular file")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_no_permission(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"1")
    (tmp_path / "x.jpg").chmod(0)
    assert problem_of(tmp_path / "x.jpg") == "no permission to read it"


def test_permission_and_disk_errors_are_reasons(tmp_path, monkeypatch):
    (tmp_path / "x.jpg").write_bytes(b"1")
    for error, words in [
        (PermissionError(13, "Permission denied"), "no permission to read it"),
        (OSError(5, "Input/output error"), "cannot be read (Input/output error)"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", lambda *_, error=error: (_ for _ in ()).throw(error))
            assert problem_of(tmp_path / "x.jpg") == words


def test_a_file_over_the_limit_is_not_read(tmp_path):
    with (tmp_path / "x.jpg").open("wb") as handle:
        handle.truncate(images.MAX_BYTES + 1)  # sparse: takes no space
    start = time.process_time()
    assert problem_of(tmp_path / "x.jpg").startswith("too large: a file of 268,435,457 bytes")
    assert time.process_time() - start < 0.1


def test_suffixes_are_lower_case_and_name_photos_only():
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in images.IMAGE_SUFFIXES)
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".heic", ".nef"} <= images.IMAGE_SUFFIXES
    assert not {".csv", ".txt", ".svg", ".mp4", ".pdf", ""} & images.IMAGE_SUFFIXES


# ---- threads and noise


def test_many_threads_at_once_agree_and_no_warning_escapes():
    photo = smooth_photo()
    files = [encoded(photo, "JPEG", exif=exif) for exif in BROKEN_EXIF.values()]
    start = threading.Barrier(8)

    def work(number: int) -> bytes:
        start.wait()
        return b"".join(decode(data).tobytes() for data in files)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(work, range(8)))) == 1
