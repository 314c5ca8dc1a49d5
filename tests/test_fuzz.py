"""Photos with bytes changed, lost, added or swapped: a picture within the limits, or one line."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_images import encoded, orientation_tag, smooth_photo

from embed import images
from embed.images import ImageProblem, decode_at

PHOTO = smooth_photo(24, 16)
BLACK = Image.new("RGB", (24, 16))
SEEDS = {
    "JPEG": encoded(PHOTO, "JPEG", exif=orientation_tag(6)),
    "progressive JPEG": encoded(PHOTO, "JPEG", progressive=True, icc_profile=b"profile" * 30),
    "CMYK JPEG": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "MPO": encoded(PHOTO, "MPO", save_all=True, append_images=[PHOTO]),
    "PNG": encoded(PHOTO, "PNG", exif=orientation_tag(6), transparency=(1, 2, 3)),
    "palette PNG": encoded(PHOTO.quantize(16), "PNG", transparency=bytes(range(0, 160, 10))),
    "16-bit PNG": encoded(Image.fromarray(np.arange(384, dtype=np.uint16).reshape(16, 24)), "PNG"),
    "WebP": encoded(PHOTO, "WEBP", exif=orientation_tag(6)),
    "moving WebP": encoded(
        PHOTO, "WEBP", save_all=True, append_images=[Image.new("RGB", (24, 16))]
    ),
    "GIF": encoded(PHOTO, "GIF"),
    "moving GIF": encoded(
        PHOTO.quantize(4), "GIF", save_all=True, append_images=[BLACK.quantize(4)], disposal=2
    ),
    "TIFF": encoded(PHOTO, "TIFF", compression="tiff_lzw", exif=orientation_tag(6)),
    "plain TIFF": encoded(PHOTO.convert("F"), "TIFF"),
    "JPEG TIFF": encoded(PHOTO, "TIFF", compression="jpeg"),
    "BMP": encoded(PHOTO.quantize(16), "BMP"),
    "PPM": encoded(PHOTO, "PPM"),
    "AVIF": encoded(PHOTO, "AVIF"),
    "JPEG 2000": encoded(PHOTO, "JPEG2000"),
}
if find_spec("pillow_heif"):
    from pillow_heif import register_heif_opener

    register_heif_opener()
    SEEDS["HEIC"] = encoded(PHOTO, "HEIF")
LONGEST_LINE = 400  # characters


def examples(count: int) -> settings:
    """The same `count` examples in every run."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


def check(data: bytes, shortest: Sequence[int | None] = (None,)) -> bool:
    """Whether `data` gives pictures; anything but pictures or one line for the user is a bug."""
    try:
        found = decode_at(data, shortest)
    except ImageProblem as caught:
        problem = caught
    else:
        problem = None
    if problem:
        assert not isinstance(problem.__cause__, MemoryError)
        assert str(problem).isprintable()
        assert 0 < len(str(problem)) <= LONGEST_LINE
        return False
    assert len(found) == len(shortest)
    for image in found:
        assert image.mode == "RGB"
        assert image.width * image.height <= images.MAX_PIXELS
        assert np.asarray(image).shape == (image.height, image.width, 3)
    return True


@st.composite
def damaged(draw: st.DrawFn, seed: bytes, other: bytes) -> bytes:
    """`seed` after one to four accidents, in some of which a piece of `other` gets in."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 16)))
        match draw(st.sampled_from(("change", "flip", "insert", "cut", "end", "splice"))):
            case "change":
                data[at:to] = draw(st.binary(min_size=to - at, max_size=to - at))
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "insert":
                data[at:at] = draw(st.binary(max_size=16))
            case "cut":
                del data[at:to]
            case "end":
                del data[at:]
            case "splice":
                data[at:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)


@pytest.mark.parametrize("kind", SEEDS)
def test_the_seed_itself_is_a_picture(kind):
    assert check(SEEDS[kind], (None, 4, 1))


@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_photos(kind, capfd):
    @examples(150)
    @given(
        st.sampled_from(sorted(SEEDS)).flatmap(lambda other: damaged(SEEDS[kind], SEEDS[other])),
        st.lists(st.none() | st.integers(1, 20), min_size=1, max_size=3),
    )
    def each(data: bytes, shortest: list[int | None]) -> None:
        check(data, shortest)

    each()
    assert capfd.readouterr() == ("", "")  # not a word from the C libraries either


@pytest.mark.parametrize("start", sorted({data[:12] for data in SEEDS.values()} | {b""}))
def test_any_bytes(start):
    @examples(25)
    @given(st.binary(max_size=300))
    def each(rest: bytes) -> None:
        check(start + rest)

    each()


FLOOD = """
import faulthandler, random, resource, sys
from pathlib import Path

sys.path[:0] = sys.argv[1:3]
from PIL import Image
from test_fuzz import SEEDS, check
from embed import images

images.MAX_PIXELS, Image.MAX_IMAGE_PIXELS = 4_000_000, 2_000_000  # what may be taken: 16 MB each

faulthandler.dump_traceback_later(120, exit=True)  # a hang would end here
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 300 * 2**20,) * 2)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

rng = random.Random(0)
kinds = list(SEEDS)
pictures = early = 0
for number in range(8000):
    data = bytearray(SEEDS[kinds[number % len(kinds)]])
    reach = rng.choice((40, 80, len(data)))  # sizes stand at the beginning
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(min(reach, len(data)))] = rng.choice((0, 0x7F, 0xFF, rng.randrange(256)))
    pictures += check(bytes(data), (None, 2))
    if number == 1000:
        early = peak()
print(pictures, (peak() - early) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's limits of memory")
def test_a_flood_of_damaged_photos_needs_little_memory():
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", FLOOD, str(here), str(here.parent)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    pictures, megabytes_more = map(int, done.stdout.split())
    assert 1000 < pictures < 7000  # some damage is survived, some is not
    assert megabytes_more < 64
