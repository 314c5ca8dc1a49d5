"""Photos as small pictures inside a page, and the way from the page to the photo itself."""

import base64
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from embed import sources
from embed.images import ImageProblem, decode
from retrieval.page import text

SIDE = 256  # pixels: the longest side of a thumbnail


def thumbnails(locations: Iterable[str], side: int = SIDE, quality: int = 85) -> dict[str, str]:
    """Location -> an `<img>` without its alt (see `described`), or a grey box that says why not.

    locations : see `embed.sources`; side : pixels of the longest side; quality : of the JPEG.
    """
    photos = list(dict.fromkeys(locations))
    with ThreadPoolExecutor(max_workers=4) as pool:
        pictures = pool.map(lambda photo: _picture(photo, side, quality), photos)
        return dict(zip(photos, pictures, strict=True))


def described(picture: str, alt: str) -> str:
    """A picture of `thumbnails` with its alternative text."""
    return picture.replace("<img", f'<img alt="{text(alt)}"', 1)


def link(location: str, folder: Path) -> str:
    """The `href` of a photo in a page that lies in `folder`; of the archive around it if in one.

    Relative where the photo lies beside or below the page.
    """
    if sources.is_address(location):
        return text(location)
    path = Path((sources.split(location) or (location,))[0]).absolute()
    if path.is_relative_to(folder):
        return quote(os.fsencode(path.relative_to(folder).as_posix()))
    return path.as_uri()


def _picture(location: str, side: int, quality: int) -> str:
    try:
        image = decode(sources.read(location))
    except ImageProblem as error:
        return f'<span class="missing">No picture: {text(error)}</span>'
    image.thumbnail((side, side))
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=quality)
    data = base64.b64encode(jpeg.getvalue()).decode("ascii")
    width, height = image.size
    return f'<img width="{width}" height="{height}" src="data:image/jpeg;base64,{data}">'
