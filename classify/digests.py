"""Digests of arguments: equal where their content is."""

import mmap
import weakref
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Any

import numpy as np


class NoDigestError(TypeError):
    """There is no content to compare."""


_digests: dict[int, tuple["weakref.ref[Any]", bytes]] = {}  # of arrays that cannot change, by id


def digest(value: Any) -> bytes:
    """32 bytes that are equal for equal content; `NoDigestError` for what has none."""
    if isinstance(value, np.ndarray):
        return _digest_of_array(value)
    if value is None or isinstance(value, (bool, int, float, str, bytes, np.generic)):
        return _hash(type(value).__name__, repr(value))
    if isinstance(value, type):
        return _hash("type", f"{value.__module__}.{value.__qualname__}")
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if (inside := parts(value)) is None:
        raise NoDigestError(f"a {kind} has no digest")
    return _hash(kind, *map(digest, inside))


def _hash(*parts: Any) -> bytes:
    """Of strings and of what has bytes."""
    found = sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "little"))
        found.update(data)
    return found.digest()


def parts(value: Any) -> list[Any] | None:
    """What a container holds; None of anything else."""
    if isinstance(value, (tuple, list)):
        return list(value)
    if isinstance(value, dict):
        return [part for item in value.items() for part in item]
    if is_dataclass(value):
        return [getattr(value, field.name) for field in fields(value)]
    if hasattr(value, "indptr"):  # a sparse matrix by rows or columns
        return [value.data, value.indices, value.indptr, tuple(value.shape)]
    return None


def _digest_of_array(array: Any) -> bytes:
    known = _digests.get(id(array))
    if known is not None and known[0]() is array:
        return known[1]
    if array.dtype.hasobject:
        raise NoDigestError("an array of objects has no digest")
    # Sums of equal numbers in another order of the memory may differ in the last digit.
    layout = f"{array.dtype.str} {array.shape} {array.strides}"
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    found = _hash("array", layout, content)
    if _cannot_change(array):
        _remember(array, found)
    return found


def _remember(array: Any, found: bytes) -> None:
    number = id(array)
    _digests[number] = weakref.ref(array, lambda _: _digests.pop(number, None)), found


def unchanging(array: Any) -> Any:
    """`array`, made read-only: its content is then looked through once, not at every call."""
    for owner in views(array):
        owner.flags.writeable = False
    return array


def views(array: Any) -> list[Any]:
    """The array, that of which it is a view, and so on."""
    found = [array]
    while isinstance(found[-1].base, np.ndarray):
        found.append(found[-1].base)
    return found


def digest_of_result(array: Any, key: bytes, place: int) -> None:
    """Let the digest of an array that cannot change be by whose result it is, and where in it."""
    if id(array) not in _digests and not array.dtype.hasobject:
        _remember(array, _hash("result", key, str(place)))


def _cannot_change(array: Any) -> bool:
    owners = views(array)
    if any(owner.flags.writeable for owner in owners):
        return False
    return owners[-1].base is None or isinstance(owners[-1].base, (bytes, mmap.mmap))
