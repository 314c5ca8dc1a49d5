"""Ranges of a grid: `{from = 1, to = 30, step = 1}`, `{from = 0.01, to = 100, log = 5}`."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

MOST = 10_000  # values of a range
_WAYS = ("step", "count", "log")


def expand(given: Mapping[str, Any], whole: bool) -> list[Any]:
    """The values of a range, rising, both ends among them (`to` only where a step meets it).

    step : the distance between two values; 1 where whole numbers are wanted and nothing is said
    count, log : how many values, evenly spaced or evenly in the logarithm, rounded to as few
        digits (2 or more) as tell them apart; where `whole`, to whole numbers, each once

    Raises ValueError that says what is wrong.
    """
    start, stop, way, value = _parts(given, whole)
    if way == "step":
        count = math.floor((stop - start) / value * (1 + 1e-12) + 1e-9) + 1
        _check_count(count)
        if whole:
            return [start + i * value for i in range(count)]
        return [float(f"{start + i * value:.12g}") for i in range(count)]
    spaced = np.geomspace if way == "log" else np.linspace
    points = [float(point) for point in spaced(start, stop, value)][1:-1]
    if whole:
        return sorted({start, *(round(point) for point in points), stop})
    return [float(start), *_readable(points, start, stop), float(stop)]


def _parts(given: Mapping[str, Any], whole: bool) -> tuple[Any, Any, str, Any]:
    """from, to, the way, its value; checked."""
    ways = [key for key in given if key in _WAYS] or ["step"] * whole
    if set(given) - {"from", "to", *_WAYS} or not {"from", "to"} <= set(given) or len(ways) != 1:
        raise ValueError(
            "a range is {from = 1, to = 9, step = 2}, {from = 0, to = 1, count = 5} or "
            f"{{from = 0.01, to = 100, log = 5}}, not one of {', '.join(given) or 'nothing'}"
        )
    way = ways[0]
    ends = {"from": given["from"], "to": given["to"]}
    for key, value in (ends | ({"step": given.get("step", 1)} if way == "step" else {})).items():
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            what = "a whole number" if whole else "a number"
            raise ValueError(f"'{key}' of a range is {what}, not {value!r}")
    start, stop, value = ends["from"], ends["to"], given.get(way, 1)
    if start >= stop:
        raise ValueError(f"a range goes up, not from {start} to {stop}")
    if way == "log" and start <= 0:
        raise ValueError(f"a range with 'log' begins above 0, not at {start}")
    if way == "step" and value <= 0:
        raise ValueError(f"'step' of a range is above 0, not {value}")
    if way != "step":
        if isinstance(value, bool) or not isinstance(value, int) or value < 2:
            raise ValueError(f"'{way}' of a range is how many values, 2 or more, not {value!r}")
        _check_count(value)
    return start, stop, way, value


def _check_count(count: int) -> None:
    if count > MOST:
        raise ValueError(f"a range has at most {MOST:,} values, not {count:,}")


def _readable(points: list[float], start: float, stop: float) -> list[float]:
    rounded = points
    for digits in range(2, 17):
        rounded = [float(f"{point:.{digits}g}") for point in points]
        if all(low < high for low, high in pairwise([start, *rounded, stop])):
            break
    return rounded
