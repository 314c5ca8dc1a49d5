"""Perceptual hashes equal imagehash's bit for bit, mirrored ones those of the mirror image."""

import io

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from embed.perceptual import BITS, SIDE, packed, perceptual_hash


def scene(seed: int, width: int = 90, height: int = 70) -> Image.Image:
    """Smooth colours with some detail, no two seeds alike."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8))
    fine = Image.fromarray(rng.integers(0, 256, (28, 30, 3), dtype=np.uint8))
    large = [image.resize((width, height), Image.Resampling.BICUBIC) for image in (coarse, fine)]
    return Image.blend(*large, 0.3)


def bits(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    words, hashed = packed([perceptual_hash(image)])
    assert hashed.all()
    plain, mirrored = np.unpackbits(words[0], axis=1)
    return plain, mirrored


def by_library(image: Image.Image) -> np.ndarray:
    parts = (imagehash.phash, imagehash.dhash, imagehash.dhash_vertical)
    return np.concatenate([part(image, SIDE).hash.ravel() for part in parts])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(20, 200), st.integers(20, 200))
def test_hash_is_imagehash(seed: int, width: int, height: int) -> None:
    image = scene(seed, width, height)
    assert (bits(image)[0] == by_library(image)).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(20, 200), st.integers(20, 200))
def test_mirrored_hash_is_that_of_the_mirror_image(seed: int, width: int, height: int) -> None:
    image = scene(seed, width, height)
    assert (bits(image)[1] != by_library(ImageOps.mirror(image))).sum() <= 2  # ties of the DCT
    assert (bits(image)[0] != by_library(ImageOps.mirror(image))).sum() > BITS / 5


def test_copies_are_near_and_others_far() -> None:
    image = scene(1)
    saved = io.BytesIO()
    image.save(saved, "JPEG", quality=50)
    copies = [Image.open(saved), image.resize((45, 35)), image.point(lambda v: int(0.85 * v))]
    far = min((bits(image)[0] != bits(scene(seed))[0]).sum() for seed in range(2, 30))
    near = max((bits(image)[0] != bits(copy)[0]).sum() for copy in copies)
    assert near < BITS / 8
    assert far > BITS / 4


def test_packed_keeps_the_bits_and_says_who_has_none() -> None:
    pair = perceptual_hash(scene(3))
    words, hashed = packed([pair, ("", ""), (float("nan"), float("nan"))])  # type: ignore[list-item]
    assert words.shape == (3, 2, BITS // 8)
    assert hashed.tolist() == [True, False, False]
    assert [side.tobytes().hex() for side in words[0]] == list(pair)
    assert packed([])[0].shape == (0, 2, BITS // 8)


@pytest.mark.parametrize("text", ["ab", "zz" * (BITS // 8)])
def test_packed_refuses_other_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"two hashes|hexadecimal"):
        packed([(text, text)])
