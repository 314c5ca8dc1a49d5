"""What the file of each photo is: size, format, grey or blank, perceptual hash; cached by content.

    facts/part-*.parquet    one row a photo that was readable, under the SHA-256 of its bytes

Parts are immutable and of one recipe; one that is damaged or of another recipe is made anew.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from embed import formats, sources
from embed.engine import workers
from embed.files import remove_left_over, sha256, whole_file
from embed.images import ImageProblem, decode_at
from embed.perceptual import HASHES, SHORTEST, perceptual_hash
from embed.progress import Advance, progress

RECIPE = "familia-facts-1"
KINDS: dict[str, Any] = {
    "bytes": "int64",
    "width": "int64",
    "height": "int64",
    "format": "str",
    "mode": "str",
    "grey": "bool",
    "blank": "bool",
    **dict.fromkeys(HASHES, "str"),
}
_BATCH = 1024  # photos that an interruption loses at most
_GREY = 8  # of 255: channels that differ by less, in 99 of 100 pixels, look grey
_BLANK = 8  # of 255: a picture whose pixels, but for 2 of 100, lie closer shows nothing

Show = Callable[[int, str], AbstractContextManager[Advance]]


def photo_facts(rows: Any, cache: Path, progress: Show = progress) -> Any:
    """Facts of the photos in `rows` (columns id, path and key): a DataFrame, row for row.

    Columns: id, key, bytes, width and height (upright), format and mode (Pillow's names), grey
    (no colour, whatever the mode), blank (nearly one tone), `HASHES` (hexadecimal text, empty where
    blank), problem (why a photo cannot be read now; its facts are then NA). What the folder `cache`
    knows under a key is not read again.
    """
    known = _load(cache)
    left = np.flatnonzero(~rows["key"].isin(known.index))
    problems = dict.fromkeys(range(len(rows)), "")
    paths, keys = rows["path"].tolist(), rows["key"].tolist()
    with progress(len(left), "Looking at photos") as advance, ThreadPoolExecutor(workers()) as pool:
        for low in range(0, len(left), _BATCH):
            found: dict[str, dict[str, Any]] = {}
            batch = left[low : low + _BATCH].tolist()
            for row, facts in zip(
                batch, pool.map(lambda row: _facts(paths[row], keys[row]), batch), strict=True
            ):
                if isinstance(facts, str):
                    problems[row] = facts
                else:
                    found[keys[row]] = facts
                advance(1)
            known = pd.concat([known, _save(cache, found)])
    known = known[~known.index.duplicated()]
    _compact(cache, known)
    facts = known.reindex(keys).reset_index(names="key")
    facts.insert(0, "id", rows["id"].to_numpy())
    facts["problem"] = list(problems.values())
    return facts


def _facts(path: str, key: str) -> dict[str, Any] | str:
    """The facts of one photo, or why there are none."""
    try:
        data = sources.read(path)
        if sha256(data) != key:
            return "changed since `cli embed`: run it again"
        return _look(data)
    except ImageProblem as problem:
        return str(problem)
    except OSError as error:
        return error.strerror or str(error)


def _look(data: bytes) -> dict[str, Any]:
    small = decode_at(data, [SHORTEST])[0]
    with Image.open(BytesIO(data), formats=formats.readers(data)) as photo:
        (width, height), format_, mode = photo.size, photo.format, photo.mode
    if (small.width > small.height) != (width > height):  # it was turned upright
        width, height = height, width
    grey = small.convert("L")
    blank = _is_blank(grey)
    hashes = ("", "") if blank else perceptual_hash(grey)
    values = (len(data), width, height, format_, mode, _is_grey(small), blank, *hashes)
    return dict(zip(KINDS, values, strict=True))


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = (np.asarray(channel) for channel in image.split())
    most = np.maximum(np.maximum(red, green), blue)
    least = np.minimum(np.minimum(red, green), blue)
    return bool(np.count_nonzero(most - least > _GREY) < 0.01 * most.size)


def _is_blank(grey: Image.Image) -> bool:
    counts = np.cumsum(grey.histogram())
    low, high = np.searchsorted(counts, (0.01 * counts[-1], 0.99 * counts[-1]))
    return bool(high - low <= _BLANK)


def _load(cache: Path) -> pd.DataFrame:
    """What is known, by key."""
    parts = [_frame({})]
    for path in sorted(cache.glob("part-*.parquet")):
        try:
            part = pd.read_parquet(path)
            if part.attrs.get("recipe") == RECIPE:
                parts.append(part.set_index("key").astype(KINDS)[list(KINDS)])
                continue
        except Exception:  # a damaged file brings nearly every type
            pass
        with suppress(OSError):
            path.unlink()
    return pd.concat(parts)


def _frame(found: dict[str, dict[str, Any]]) -> pd.DataFrame:
    columns = {name: [facts[name] for facts in found.values()] for name in KINDS}
    index = pd.Index(list(found), dtype="str", name="key")
    return pd.DataFrame(columns, index=index).astype(KINDS)


def _save(cache: Path, found: dict[str, dict[str, Any]]) -> pd.DataFrame:
    part = _frame(found)
    if found:
        _write(cache, part)
    return part


def _write(cache: Path, part: pd.DataFrame) -> Path:
    """One part; its name says what it holds, so that nobody's part is overwritten by another."""
    path = cache / f"part-{sha256(''.join(sorted(part.index)).encode())[:16]}.parquet"
    table = part.reset_index()
    table.attrs["recipe"] = RECIPE
    with whole_file(path) as scratch:
        table.to_parquet(scratch, index=False)
    return path


def _compact(cache: Path, known: pd.DataFrame) -> None:
    """All parts as one."""
    parts = list(cache.glob("part-*.parquet"))
    if len(parts) > 1:
        whole = _write(cache, known)
        for path in parts:
            if path != whole:
                path.unlink(missing_ok=True)
    remove_left_over(cache)
