"""Perceptual hashes: 768 bits of how a photo looks, near for copies however they were saved.

Three hashes of `imagehash`, side by side, equal to its own bit for bit:

    phash, 16 × 16 of the lowest frequencies of the cosine transform: survives saving, scaling,
        light and contrast (Zauner 2010)
    dhash and dhash_vertical, 16 × 16 each, whether a pixel is lighter than its neighbour: a change
        of one place (a caption, a retouched head) costs the bits of that place only

A photo also has the hash of its mirror image, so that a flipped copy is found as well.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

U8 = NDArray[np.uint8]

SIDE = 16  # of each of the three hashes
BITS = 3 * SIDE * SIDE
HASHES = ("hash", "hash_mirrored")  # columns of hexadecimal text, empty where there is none
_FREQUENCIES = 4 * SIDE  # the side of the picture that is transformed
_MIRROR = np.where(np.arange(SIDE) % 2, -1.0, 1.0)  # odd waves change their sign
SHORTEST = _FREQUENCIES  # pixels of the short side that a photo must keep to be hashed


def perceptual_hash(image: Image.Image) -> tuple[str, str]:
    """The hash of a photo and that of its mirror image, 192 hexadecimal digits each."""
    grey = image.convert("L")
    waves = _spectrum(_resized(grey, _FREQUENCIES, _FREQUENCIES))
    both = np.stack([waves, waves * _MIRROR])
    across, down = _resized(grey, SIDE + 1, SIDE), _resized(grey, SIDE, SIDE + 1)
    bits = np.empty((2, 3, SIDE, SIDE), dtype=bool)
    bits[:, 0] = both > np.median(both, axis=(1, 2), keepdims=True)
    bits[0, 1] = across[:, 1:] > across[:, :-1]
    bits[1, 1] = (across[:, :-1] > across[:, 1:])[:, ::-1]
    bits[0, 2] = down[1:] > down[:-1]
    bits[1, 2] = bits[0, 2, :, ::-1]
    plain, mirrored = np.packbits(bits.reshape(2, -1), axis=1)
    return plain.tobytes().hex(), mirrored.tobytes().hex()


def packed(hashes: Iterable[Iterable[str]]) -> tuple[U8, NDArray[np.bool_]]:
    """Hashes as (n, 2, BITS / 8) uint8, and (n,) whether a photo has one; the others are zeros.

    hashes : (n, 2) hexadecimal text, `HASHES` of the facts; empty or NA where there is none.
        Raises `ValueError` for text of another length.
    """
    empty = "00" * (BITS // 8)
    texts = [[text if isinstance(text, str) and text else empty for text in row] for row in hashes]
    raw = bytes.fromhex("".join(text for row in texts for text in row))
    if len(raw) != len(texts) * 2 * BITS // 8:
        raise ValueError(f"expected two hashes of {BITS} bits a photo")
    bits = np.frombuffer(raw, np.uint8).reshape(-1, 2, BITS // 8)
    return bits, np.asarray(bits.any(axis=(1, 2)))


def _resized(grey: Image.Image, width: int, height: int) -> U8:
    return np.asarray(grey.resize((width, height), Image.Resampling.LANCZOS))


def _spectrum(pixels: U8) -> NDArray[np.float64]:
    """(SIDE, SIDE) the lowest frequencies, as scipy.fftpack computes them."""
    from scipy.fft import dct

    low: NDArray[np.float64] = dct(dct(pixels.astype(np.float64), axis=0), axis=1)
    return low[:SIDE, :SIDE]
