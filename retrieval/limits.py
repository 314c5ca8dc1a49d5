"""How much memory and how many seconds the user grants: "2GB", "10ms"."""

import re
from collections.abc import Mapping

from embed.errors import UserError

_BYTES = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}
_BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60}


def parse_memory(text: str) -> int:
    """Bytes of "2GB" (10**9), "512 MiB" (2**20) or "1000000"; else a `UserError`."""
    return int(_amount(text, _BYTES, "an amount of memory such as 2GB or 512MB", "--memory 2GB"))


def parse_latency(text: str) -> float:
    """Seconds of "10ms", "0.5 s" or "800us"; a number without a unit is a `UserError`."""
    return _amount(text, _SECONDS, "a time such as 10ms or 0.5s", "--latency 10ms")


def _amount(text: str, units: Mapping[str, float], expected: str, option: str) -> float:
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{0,9})?|\.\d{1,9})\s*([a-zµ]*)", text.strip().lower())
    value = float(found[1]) * units[found[2]] if found and found[2] in units else 0.0
    if value <= 0:
        raise UserError(f"Expected {expected}, got {text!r}. Write `{option}`.")
    return value


def memory_text(size: float) -> str:
    """Bytes as "1.3 GB"."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= one:
            return f"{size / one:.3g} {unit}"
    return f"{size:.0f} B"


def seconds_text(seconds: float) -> str:
    """Seconds as "2.1 ms" or "1.3 s"."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
