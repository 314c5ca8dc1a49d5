"""Ranges of the heads' parameters, checked in one sentence."""

import math
from numbers import Integral, Real
from typing import Any


def whole(name: str, value: Any, optional: bool = False, least: int = 1) -> None:
    """ValueError unless `value` is a whole number from `least` up (or None, if `optional`)."""
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be {least} or more{_or_none(optional)}, got {value!r}")


def above(name: str, value: Any, optional: bool = False, least: bool = False) -> None:
    """ValueError unless `value` is a finite number above 0 (or 0, if `least`; or None)."""
    if optional and value is None:
        return
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (value == 0 and not least):
        bound = "0 or more" if least else "above 0"
        raise ValueError(f"{name} must be {bound}{_or_none(optional)}, got {value!r}")


def _or_none(optional: bool) -> str:
    return " or None" if optional else ""
