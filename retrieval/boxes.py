"""A part of a photo: a rectangle in pixels, or in shares of its width and height."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embed.errors import UserError

if TYPE_CHECKING:  # a search for a row needs no pictures
    from PIL.Image import Image


@dataclass(frozen=True)
class Box:
    """The corner (x, y) from the top left of the upright photo, and the size.

    Shares of the photo's width and height where all four are within 0 and 1, else whole pixels.
    """

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def parse(cls, text: str) -> "Box":
        """`x,y,w,h`; raises `UserError`."""
        try:
            x, y, width, height = (float(part) for part in text.split(","))
        except ValueError as error:
            raise _refused(text, "it is not four numbers") from error
        box = cls(x, y, width, height)
        if not (0 <= x < 1e9 and 0 <= y < 1e9 and 0 < width < 1e9 and 0 < height < 1e9):
            raise _refused(text, "the corner is 0 or more and the size above 0")
        if not box.shares and any(value % 1 for value in (x, y, width, height)):
            raise _refused(text, "pixels are whole numbers, shares lie within 0 and 1")
        return box

    @property
    def shares(self) -> bool:
        return max(self.x, self.y, self.width, self.height) <= 1

    @property
    def said(self) -> str:
        """As it is typed."""
        return ",".join(f"{value:g}" for value in (self.x, self.y, self.width, self.height))

    def crop(self, photo: "Image") -> "Image":
        """What lies in the box; what reaches beyond the photo is cut off.

        Raises `ImageProblem` where nothing is left, or a strip too narrow to be resized.
        """
        from embed.images import MAX_RATIO, ImageProblem

        across, down = photo.size if self.shares else (1, 1)
        left, top = round(self.x * across), round(self.y * down)
        right = min(round((self.x + self.width) * across), photo.width)
        bottom = min(round((self.y + self.height) * down), photo.height)
        size = f"the photo has {photo.width:,} × {photo.height:,} pixels"
        width, height = right - left, bottom - top
        if width < 1 or height < 1:
            raise ImageProblem(f"the box {self.said} has nothing of it ({size})")
        if max(width, height) > MAX_RATIO * min(width, height):
            raise ImageProblem(f"the box {self.said} is too narrow ({size})")
        return photo.crop((left, top, right, bottom))


def _refused(text: str, why: str) -> UserError:
    return UserError(
        f"--box {text}: {why}. Expected x,y,w,h from the top left corner, in pixels "
        "(`--box 40,30,200,150`) or in shares of the photo (`--box 0.25,0.25,0.5,0.5`)."
    )
