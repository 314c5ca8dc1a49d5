"""From an upright RGB photo to the squares of pixels that an encoder takes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from embed.perturb import perturbed

if TYPE_CHECKING:  # a command that only reads what a spec says does without Pillow
    from PIL.Image import Image, Resampling

ResizeMode = Literal["shortest", "longest", "squash"]
Interpolation = Literal["bilinear", "bicubic", "lanczos", "nearest"]
Views = Literal["center", "squash", "full", "flip", "both", "three", "five"]
U8 = NDArray[np.uint8]
# Squares of a photo, each with its weight in the mean over them.
VIEWS: dict[str, dict[str, int]] = {
    "center": {"center": 1},  # the network's own transform
    "squash": {"squash": 1},  # the whole photo, bilinear: how pybioclip prepares it
    "full": {"full": 1},  # the whole photo, squashed to the square
    "flip": {"center": 1, "flip": 1},
    "both": {"center": 1, "full": 1},
    "three": {"center": 1, "flip": 1, "full": 2},
    "five": {"center": 1, "top-left": 1, "top-right": 1, "bottom-left": 1, "bottom-right": 1},
}


@dataclass(frozen=True)
class Transform:
    """Resize, then crop or pad; normalising is the encoder's, on its own device.

    The arithmetic is torchvision's on PIL images (antialiased), as open_clip and timm use it:
    BioCLIP's vectors differ by how a photo was resized, so this belongs to an encoder's spec.
    """

    resize_mode: ResizeMode  # shortest or longest side to `resize`, or both (squash)
    resize: int  # pixels
    crop: int  # pixels: the side of the squares that come out
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fill: tuple[int, int, int] = (0, 0, 0)  # colour of the padding
    antialias: bool = True  # Pillow always does; written down because other tools do not
    views: Views = "center"
    shrink: int = 2  # a JPEG may be decoded smaller while its short side is this × `resize`; 0: no
    perturb: str = ""  # what is done to the photo first (see `embed.perturb`): as a rule nothing

    @property
    def weights(self) -> tuple[int, ...]:
        """Of each view in the mean over them."""
        return tuple(VIEWS[self.views].values())

    @property
    def shortest(self) -> int | None:
        """Pixels that the short side of a decoded photo must keep; None: the whole picture."""
        return self.shrink * max(self.resize, self.crop) or None

    def __call__(self, image: "Image") -> U8:
        """(views, crop, crop, 3) uint8 pixels of an RGB image."""
        if self.perturb:
            image = perturbed(image, self.perturb, max(self.resize, self.crop))
        return np.stack([self._view(view, image) for view in VIEWS[self.views]])

    def _view(self, view: str, image: "Image") -> U8:
        if view in ("center", "flip"):
            return self._center(image)[:, :: -1 if view == "flip" else 1]
        if view in ("full", "squash"):
            kind = "bilinear" if view == "squash" else self.interpolation
            return np.asarray(image.resize((self.crop, self.crop), _filter(kind)))
        width, height = self._size(*image.size)
        right, down = max(0, width - self.crop), max(0, height - self.crop)
        left = right if view.endswith("right") else 0
        return self._square(image, left, down if view.startswith("bottom") else 0)

    def _center(self, image: "Image") -> U8:
        width, height = self._size(*image.size)
        return self._square(
            image, round((width - self.crop) / 2.0), round((height - self.crop) / 2.0)
        )

    def _square(self, image: "Image", left: int, top: int) -> U8:
        """The square at (left, top) of the resized photo; only its own pixels are computed."""
        width, height = self._size(*image.size)
        side = self.crop
        if width < side or height < side:
            return self._padded(image, width, height)
        x, y = image.width / width, image.height / height
        box = (left * x, top * y, (left + side) * x, (top + side) * y)
        return np.asarray(image.resize((side, side), _filter(self.interpolation), box))

    def _padded(self, image: "Image", width: int, height: int) -> U8:
        from PIL.Image import new

        resized = image.resize((width, height), _filter(self.interpolation))
        side = self.crop
        padded = new("RGB", (max(width, side), max(height, side)), self.fill)
        padded.paste(resized, (max(0, side - width) // 2, max(0, side - height) // 2))
        left, top = round((padded.width - side) / 2.0), round((padded.height - side) / 2.0)
        return np.asarray(padded.crop((left, top, left + side, top + side)))

    def _size(self, width: int, height: int) -> tuple[int, int]:
        if self.resize_mode == "squash":
            return self.resize, self.resize
        if self.resize_mode == "longest":  # timm and open_clip round here ...
            ratio = max(width, height) / self.resize
            return max(1, round(width / ratio)), max(1, round(height / ratio))
        short, long = sorted((width, height))  # ... and torchvision truncates
        scaled = int(self.resize * long / short)
        return (self.resize, scaled) if width <= height else (scaled, self.resize)


def _filter(interpolation: str) -> "Resampling":
    from PIL.Image import Resampling

    return Resampling[interpolation.upper()]
