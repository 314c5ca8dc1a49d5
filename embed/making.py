"""Making a part: laid out by HDF5, filled block by block; with it, what made its vectors."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.files import whole_file
from embed.parts import FORMAT, Part, check, gather, places
from embed.spec import EncoderSpec

S64 = NDArray[np.bytes_]
Rows = NDArray[Any]  # float32 or float16, as on the disk

_BLOCK_BYTES = 1 << 20  # read at once to get one row; small enough for a processor's cache
_LIBRARIES = ("familia", "torch", "openvino", "timm", "open_clip_torch", "pillow", "numpy")


def write_rows_part(folder: Path, spec: EncoderSpec, keys: S64, X: Rows, engine: str) -> Part:
    """One part of the rows X (n, dim), which `engine` made just now."""
    size = _block_rows(spec, X.dtype)
    starts = range(0, len(X), size)
    makers = made_by(engine, len(X))
    return write_part(
        folder, spec, keys, X.dtype, lambda: (X[i : i + size] for i in starts), makers
    )


def pick_rows(
    folder: Path, spec: EncoderSpec, parts: Sequence[Part], keys: S64, where: NDArray[np.int64]
) -> Part:
    """One new part of the rows at `where` (n,) in `parts`, all of one dtype, unchanged."""
    dtype = parts[0].dtype
    size = _block_rows(spec, dtype)

    def blocks() -> Iterator[Rows]:
        for start in range(0, len(where), size):
            some = where[start : start + size]
            X = np.empty((len(some), spec.dim), dtype)
            gather(parts, some, X)
            yield X

    makers = merged_makers(part.made_by for part in parts)
    return write_part(folder, spec, keys, dtype, blocks, makers)


def merge(folder: Path, spec: EncoderSpec, parts: Sequence[Part]) -> tuple[Part, S64]:
    """One part in place of several of one dtype, and its keys; of equal keys the first row."""
    keys = np.concatenate([part.keys() for part in parts])
    where = np.concatenate([places(i, part.rows) for i, part in enumerate(parts)])
    first = np.sort(np.unique(keys, return_index=True)[1])
    merged = pick_rows(folder, spec, parts, keys[first], where[first])
    for part in parts:
        if part.path != merged.path:
            part.path.unlink(missing_ok=True)
    return merged, keys[first]


def write_part(
    folder: Path,
    spec: EncoderSpec,
    keys: S64,
    dtype: np.dtype[Any],
    blocks: Callable[[], Iterable[Rows]],
    makers: list[dict[str, Any]],
) -> Part:
    """Write a part and sync it to disk; equal keys and vectors give a file of the same name.

    `blocks` is called twice and gives the rows in blocks of equal size: once for the checksums,
    once for the disk, so that memory holds a block and not a part.
    """
    import h5py

    size = _block_rows(spec, dtype)
    digest, checks = hashlib.sha256(keys.tobytes()), [check(keys.view(np.uint8))]
    for X in blocks():
        digest.update(X.data)
        checks.append(check(X.reshape(-1).view(np.uint8)))
    checked = np.array(checks, "<u4")
    texts = {
        "format": FORMAT,
        "spec": json.dumps(spec.to_json()),
        "spec_digest": spec.digest,
        "sha256": digest.hexdigest(),
        "made_by": json.dumps(makers),
    }
    path = folder / f"part-{texts['sha256'][:16]}.h5"
    with whole_file(path) as scratch:
        with (
            _plain_errors(),
            h5py.File(scratch, "w", libver=("v108", "v108"), locking=False) as part,
        ):
            for name, text in texts.items():
                part.attrs[name] = np.bytes_(text.encode())  # HDF5 checksums text of fixed length
            part.attrs["checks"], part.attrs["block_rows"] = checked, size
            keys_at = _reserve(part, "keys", keys.shape, keys.dtype)
            vectors_at = _reserve(part, "vectors", (len(keys), spec.dim), dtype)
        with scratch.open("r+b") as handle:
            handle.seek(keys_at)
            handle.write(keys.tobytes())
            handle.seek(vectors_at)
            for X in blocks():
                handle.write(X.data)
    return Part(
        path, len(keys), spec.dim, dtype, keys_at, vectors_at, size, checked, texts["sha256"],
        texts["made_by"].encode(),
    )  # fmt: skip


def _block_rows(spec: EncoderSpec, dtype: np.dtype[Any]) -> int:
    return max(1, _BLOCK_BYTES // (spec.dim * dtype.itemsize))


def _reserve(part: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Make a dataset whose room is taken but not written; where in the file it lies."""
    from h5py import h5d, h5p

    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5d.FILL_TIME_NEVER)
    return int(part.create_dataset(name, shape, dtype, dcpl=plan).id.get_offset())


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Where HDF5 says in a long text that the disk is full, raise what Python would."""
    try:
        yield
    except RuntimeError as error:
        said = re.search(r"errno = (\d+)", str(error))
        if said is None:
            raise
        raise OSError(int(said[1]), os.strerror(int(said[1]))) from error


def made_by(engine: str, rows: int) -> list[dict[str, Any]]:
    """What makes `rows` vectors here and now."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return [{"engine": engine, "versions": _versions(), "from": day, "to": day, "rows": rows}]


def merged_makers(parts: Iterable[bytes]) -> list[dict[str, Any]]:
    """What made the rows of several parts: each engine with its versions once."""
    found: dict[str, dict[str, Any]] = {}
    for maker in (maker for part in parts for maker in json.loads(part)):
        same = found.setdefault(json.dumps([maker["engine"], maker["versions"]]), maker)
        if same is not maker:
            same["rows"] += maker["rows"]
            same["from"] = min(same["from"], maker["from"])
            same["to"] = max(same["to"], maker["to"])
    return list(found.values())


@cache
def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
