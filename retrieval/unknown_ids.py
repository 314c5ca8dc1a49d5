"""What to say of an id that is not there: the ids most like it."""

import heapq
from collections.abc import Iterable
from difflib import get_close_matches


def nearest_ids(name: str, ids: Iterable[str], n: int = 3) -> str:
    """A sentence with the ids most like `name`, or nothing. Quick for a million ids."""
    # difflib alone would take minutes there: only those that begin and end alike are compared
    alike = heapq.nlargest(50, ids, key=lambda other: _ends_alike(name, other))
    near = [repr(other) for other in get_close_matches(name, alike, n=n, cutoff=0.5)]
    return f"Did you mean {' or '.join(near)}? " if near else ""


def _ends_alike(a: str, b: str) -> int:
    """Letters that two words have in common at the beginning and at the end."""
    return _begin_alike(a, b) + _begin_alike(a[::-1], b[::-1])


def _begin_alike(a: str, b: str) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))
