"""A picture as sixels: rows of six pixels as text, as DEC's VT340 and many terminals draw them."""

import re

import numpy as np
from PIL import Image

COLOURS = 255
_RUN = re.compile(rb"(.)\1{3,}")
_BITS = np.array([1, 2, 4, 8, 16, 32])[:, None]


def sixel(picture: Image.Image) -> str:
    """`picture` (RGBA) with at most `COLOURS` colours; what is transparent is left as it was.

    Each colour is given in percent, so that it may be off by 1 of 255 beside the choice of
    colours. See DEC's "VT330/VT340 Programmer Reference Manual", volume 2, chapter 14.
    """
    indexed = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    palette = np.array(indexed.getpalette(), dtype=float).reshape(-1, 3)
    seen = np.asarray(picture.getchannel("A")) > 127
    colours = np.where(seen, np.asarray(indexed, dtype=np.int64), -1)
    width, height = picture.size
    full = np.full((-height % 6, width), -1)
    bands = np.concatenate([colours, full]).reshape(-1, 6, width)
    return "".join(
        [
            f'\x1bP0;1;0q"1;1;{width};{height}',
            *(_register(i, palette[i]) for i in np.unique(colours[seen])),
            "-".join(map(_band, bands)),
            "\x1b\\",
        ]
    )


def _register(i: int, colour: np.ndarray) -> str:
    red, green, blue = np.rint(colour / 2.55).astype(int)
    return f"#{i};2;{red};{green};{blue}"


def _band(band: np.ndarray) -> str:
    """Six rows of pixels (6, width): one pass over the line for each colour."""
    return "$".join(
        f"#{colour}{_short(((band == colour) * _BITS).sum(axis=0))}"
        for colour in np.unique(band[band >= 0])
    )


def _short(bits: np.ndarray) -> str:
    """The characters of one pass, with runs as `!12~`; nothing is said of an empty rest."""
    line = (bits + 63).astype(np.uint8).tobytes().rstrip(b"?")
    return _RUN.sub(lambda run: b"!%d%b" % (len(run[0]), run[1]), line).decode("ascii")
