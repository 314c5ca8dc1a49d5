"""From an upright RGB photo to the square of pixels that an encoder takes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ResizeMode = Literal["shortest", "longest", "squash"]
Interpolation = Literal["bilinear", "bicubic", "lanczos", "nearest"]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Transform:
    """Resize, then crop or pad the centre; normalising is the encoder's, on its own device.

    The arithmetic is torchvision's on PIL images (antialiased), as open_clip and timm use it:
    BioCLIP's vectors differ by how a photo was resized, so this belongs to an encoder's spec.
    """

    resize_mode: ResizeMode  # shortest or longest side to `resize`, or both (squash)
    resize: int  # pixels
    crop: int  # pixels: the side of the square that comes out
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fill: tuple[int, int, int] = (0, 0, 0)  # colour of the padding

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """(crop, crop, 3) uint8 pixels of an RGB image."""
        resized = image.resize(self._size(*image.size), _FILTERS[self.interpolation])
        return np.asarray(_centre(resized, self.crop, self.fill))

    def _size(self, width: int, height: int) -> tuple[int, int]:
        if self.resize_mode == "squash":
            return self.resize, self.resize
        if self.resize_mode == "longest":  # timm and open_clip round here ...
            ratio = max(width, height) / self.resize
            return max(1, round(width / ratio)), max(1, round(height / ratio))
        short, long = sorted((width, height))  # ... and torchvision truncates
        scaled = int(self.resize * long / short)
        return (self.resize, scaled) if width <= height else (scaled, self.resize)


def _centre(image: Image.Image, side: int, fill: tuple[int, int, int]) -> Image.Image:
    width, height = image.size
    if width < side or height < side:
        padded = Image.new("RGB", (max(width, side), max(height, side)), fill)
        padded.paste(image, (max(0, side - width) // 2, max(0, side - height) // 2))
        image, (width, height) = padded, padded.size
    left, top = round((width - side) / 2.0), round((height - side) / 2.0)
    return image.crop((left, top, left + side, top + side))
