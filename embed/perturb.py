"""Photos made worse on purpose, to see how well a model stands it.

The kinds follow Hendrycks and Dietterich (2019), in strengths near the middle of theirs. Each is
measured against the photo, so that it means the same at any size, and none draws at random: the
same photo gives the same pixels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from embed.errors import UserError, did_you_mean

if TYPE_CHECKING:  # a spec names a perturbation without Pillow
    from PIL.Image import Image

_MOST_JPEG = 65_500  # pixels of a side


def _blur(image: "Image", share: float, _side: int) -> "Image":
    from PIL import ImageFilter

    return image.filter(ImageFilter.GaussianBlur(share * min(image.size)))


def _jpeg(image: "Image", quality: float, side: int) -> "Image":
    """At the encoder's size: there the blocks of 8 pixels are as large for every photo."""
    from PIL import Image

    width, height = image.size
    scale = min(1.0, side / min(image.size), _MOST_JPEG / max(image.size))
    small = image.resize((max(1, round(width * scale)), max(1, round(height * scale))))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=round(quality))
    with Image.open(buffer) as read:
        return read.convert("RGB")


def _dark(image: "Image", stops: float, _side: int) -> "Image":
    """Less light, not less of the sRGB value: that is what a short exposure does."""
    table = [round(255 * _encoded(_linear(value / 255) / 2**stops)) for value in range(256)]
    return image.point(table * 3)


def _grey(image: "Image", _strength: float, _side: int) -> "Image":
    return image.convert("L").convert("RGB")


def _crop(image: "Image", area: float, _side: int) -> "Image":
    width, height = (max(1, round(side * math.sqrt(area))) for side in image.size)
    return image.crop((0, 0, width, height))


@dataclass(frozen=True)
class Perturbation:
    """One way to make a photo worse."""

    what: str  # a sentence
    strength: float
    apply: Callable[["Image", float, int], "Image"]  # photo, strength, encoder's side


PERTURBATIONS = {
    "blur": Perturbation(
        "out of focus: a Gaussian blur whose sigma is 1% of the shorter side", 0.01, _blur
    ),
    "jpeg": Perturbation(
        "small and strongly compressed: a JPEG of quality 10 at the encoder's size", 10, _jpeg
    ),
    "dark": Perturbation("two stops too dark: a quarter of the light", 2, _dark),
    "grey": Perturbation("without colours (ITU-R 601 luma)", 1, _grey),
    "crop": Perturbation("cut: the upper left 60% of the area", 0.6, _crop),
}


def perturb_word(name: str | None) -> str:
    """`NAME STRENGTH` as it stands in a transform: another strength makes other vectors."""
    return f"{name} {PERTURBATIONS[name].strength:g}" if name else ""


def perturbed(image: "Image", word: str, side: int) -> "Image":
    """An RGB photo after what `word` (see `perturb_word`) names; the photo itself stays as it is.

    side : pixels of the squares that the encoder makes of photos
    """
    name, strength = word.split()
    return PERTURBATIONS[name].apply(image, float(strength), side)


def chosen_perturbations(text: str) -> list[str]:
    """The names in `blur,grey`, each once; `all` is every one. Raises `UserError`."""
    names = [name.strip() for name in text.split(",")]
    if names == ["all"]:
        return list(PERTURBATIONS)
    for name in names:
        if name not in PERTURBATIONS:
            raise UserError(
                f"'{name}' is no perturbation. {did_you_mean(name, PERTURBATIONS)} "
                "Write several with commas, or all."
            )
    return list(dict.fromkeys(names))


def _linear(value: float) -> float:
    """sRGB to light (IEC 61966-2-1), both 0 to 1."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _encoded(light: float) -> float:
    """Light to sRGB."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055
