"""Test pictures whose vectors tell whether an engine still makes the vectors that are stored.

Another version of a library, another engine or device, a broken driver: whatever makes other
vectors under the same spec makes them of these pictures too.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embed.errors import UserError
from embed.files import whole_file
from embed.spec import EncoderSpec

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

LOWEST = {"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999}  # cosine, by precision
_FILE = "witness.npy"
_SIZES = ((320, 240), (240, 320), (300, 300), (500, 260))


def pictures() -> list[Image.Image]:
    """Four RGB pictures of waves, edges and grain, made from whole numbers alone."""
    made = []
    for i, (width, height) in enumerate(_SIZES):
        y, x = np.mgrid[:height, :width].astype(np.int64)
        planes = [
            (x * (3 + i) + y * y // (40 + 7 * c)) % 256 // (1 + (x // 37 + y // 29 + c) % 3)
            + (x * 7919 + y * 104729 + c * 1299709) % 31
            for c in range(3)
        ]
        made.append(Image.fromarray(np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)))
    return made


def squares(spec: EncoderSpec) -> U8:
    """(4, views, crop, crop, 3) uint8 pixels of the test pictures."""
    return np.stack([spec.transform(picture) for picture in pictures()])


def lowest_cosine(X: F32, Y: F32) -> float:
    """Between unit rows of the same pictures; NaN counts as -1."""
    return float(np.nan_to_num((X * Y).sum(axis=1), nan=-1.0).min())


def check_witness(folder: Path, spec: EncoderSpec, X: F32, engine: str) -> None:
    """Hold vectors `X` of the test pictures against those kept in the store's `folder`.

    The first engine that writes to a store leaves them there. Raises `UserError` where this
    engine's are others.
    """
    path = folder / _FILE
    try:
        kept = np.load(path, allow_pickle=False)
        if kept.shape != X.shape:
            raise ValueError(f"shape {kept.shape}")
    except (OSError, ValueError, EOFError):  # none yet, or damaged: the parts are what counts
        with whole_file(path) as scratch, scratch.open("wb") as handle:
            np.save(handle, X, allow_pickle=False)
        return
    cosine = lowest_cosine(kept, X)
    if cosine < LOWEST[spec.precision]:
        raise UserError(
            f"The vectors in {folder} and those that {engine} makes here do not agree: cosine "
            f"{cosine:.4f} on a test picture, at least {LOWEST[spec.precision]} expected. Try "
            f"`--engine torch`, or run `cli embed PHOTOS --encoder {spec.source} --rebuild` to set "
            "the stored vectors aside and make new ones."
        )
