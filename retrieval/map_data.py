"""What the script of a map reads: places, columns, links and pictures, as small as they go."""

import base64
import io
import json
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from embed import sources
from embed.columns import OWN_COLUMNS
from embed.images import ImageProblem, decode_at
from retrieval.layout_2d import F32
from retrieval.thumbnails import link

PICTURE_BYTES = 8_000_000  # of all pictures together, as they stand in the page
SIDE, QUALITY = 112, 55  # pixels of a picture's longest side, and its WebP quality
_FEWEST_NUMBERS = 9  # different numbers that make a scale; fewer are told apart by colour
_LONGEST = 200  # letters of a cell


def map_columns(rows: Any, first: str | None = None) -> list[str]:
    """The table's columns that a map may be coloured by, `first` first; copies of id left out."""
    ids = rows["id"].tolist()
    own = [name for name in rows.columns if name not in OWN_COLUMNS]
    own = [name for name in own if rows[name].notna().any() and rows[name].tolist() != ids]
    own += [name for name in ("size",) if name in rows.columns]
    return sorted(own, key=lambda name: name != first)


def most_central(xy: F32, most: int) -> list[int]:
    """At most `most` rows of xy : (n, 2) spread over the map: in each part of it the most central.

    All rows where there is room. In a grid of about `most` cells, the rows come in the order in
    which they lie around the middle of their cell's rows, one of each cell at a time.
    """
    import pandas as pd

    if len(xy) <= most:
        return list(range(len(xy)))
    side = max(1, round(most**0.5))
    low, high = xy.min(axis=0), xy.max(axis=0)
    cells = ((xy - low) / np.where(high > low, high - low, 1) * (side - 1e-6)).astype(np.int64)
    frame = pd.DataFrame({"cell": cells[:, 0] * side + cells[:, 1], "x": xy[:, 0], "y": xy[:, 1]})
    middle = frame.groupby("cell")[["x", "y"]].transform("mean")
    frame["away"] = ((frame[["x", "y"]] - middle) ** 2).sum(axis=1)
    frame["turn"] = frame.sort_values("away", kind="stable").groupby("cell").cumcount()
    return [int(i) for i in frame.sort_values("turn", kind="stable").index[:most]]


def map_data(rows: Any, xy: F32, columns: Sequence[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Ids, names, places and columns of all photos, and the way to each from `folder`.

    rows : the collection (DataFrame); xy : (n, 2) float32, finite; columns : of `map_column`.
    Places are whole numbers from 0; 65,535 is the longer side of the map.
    """
    low, span = xy.min(axis=0), max(float(np.ptp(xy, axis=0).max()), 1e-12)
    steps = np.rint((xy - low) / span * 65_535).astype(np.int64)
    names = rows["file_path"].tolist()
    return {
        "ids": rows["id"].tolist(),
        "names": names,
        "x": steps[:, 0].tolist(),
        "y": steps[:, 1].tolist(),
        "columns": list(columns),
        **_links([link(location, folder) for location in rows["path"]], names),
    }


def _links(links: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """The links, or what stands before every name where all of them are made that way."""
    first = links[0].removesuffix(quote(names[0]))
    alike = all(url == first + quote(name) for url, name in zip(links, names, strict=True))
    return {"base": first} if alike else {"links": list(links)}


def map_column(name: str, values: Any) -> dict[str, Any]:
    """A column as numbers with null, or as words: the different ones by how many, and codes."""
    import pandas as pd

    there = values.dropna()
    numbers = pd.to_numeric(there, errors="coerce").astype(float)
    padded = there.astype(str).str.match(r"-?0\d").any()
    exact = (numbers.abs() < 2**53).all() and not padded  # NaN and infinity are not below
    if exact and numbers.nunique() >= _FEWEST_NUMBERS:
        found = numbers.reindex(values.index)
        return {"name": name, "numbers": [None if v != v else _number(v) for v in found]}
    words = values.map(lambda value: str(value)[:_LONGEST], na_action="ignore")
    counts = words.value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable")
    place = {word: i for i, word in enumerate(counts.index)}
    codes = [place.get(word, -1) for word in words.tolist()]
    return {"name": name, "words": list(place), "codes": codes}


def _number(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def packed(value: Any) -> str:
    """JSON, deflated (zlib), in base 64."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(line.encode("utf-8", "replace"), 9)).decode("ascii")


def map_pictures(locations: Sequence[str], chosen: Sequence[int]) -> dict[int, str]:
    """Row -> WebP in base 64, until they are `PICTURE_BYTES`; without photos that cannot be read.

    locations : of the photos in the rows `chosen` (see `embed.sources`), in that order.
    """
    shown: dict[int, str] = {}
    total = 0
    with ThreadPoolExecutor(max_workers=4) as pool:
        for start in range(0, len(chosen), 200):
            made = pool.map(_picture, locations[start : start + 200])
            for row, picture in zip(chosen[start : start + 200], made, strict=True):
                total += len(picture)
                if total > PICTURE_BYTES:
                    return shown
                if picture:
                    shown[row] = picture
    return shown


def _picture(location: str) -> str:
    try:
        image = decode_at(sources.read(location), [SIDE])[0]
    except ImageProblem:
        return ""
    image.thumbnail((SIDE, SIDE))
    webp = io.BytesIO()
    image.save(webp, "WEBP", quality=QUALITY)
    return base64.b64encode(webp.getvalue()).decode("ascii")
