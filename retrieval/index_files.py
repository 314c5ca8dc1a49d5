"""The folder of a big index: rows in files that only grow, and index.json that says what counts.

A row is a vector, a key and an id at one place of three files, under one checksum a chunk. What
lies behind the rows that index.json counts is left over from a killed process and is cut off by
the next writer, so a reader never sees half a chunk.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.files import mendable, read_json, sha256, write_json
from embed.keys import DIGEST, digests
from embed.parts import check
from retrieval.plan import Plan
from retrieval.row_ids import ENDS, IDS, mapped
from retrieval.row_source import Chunk

Rows = NDArray[Any]

FORMAT = "familia-big-index-1"
VECTORS, KEYS = "vectors.bin", "keys.bin"
CODES, CODE_LISTS = "codes.scratch", "lists.scratch"  # of rows that are not in the lists yet
_ABOUT = "index.json"


@dataclass(frozen=True)
class About:
    """index.json. Rows before `indexed` are in FAISS's files, those from there to `n` are not."""

    dim: int
    plan: Plan
    encoders: list[list[str]]  # name and spec digest
    source: str  # digest of what the rows were made from, and of what was asked for
    planned: bool = False  # `plan` is the one to build, not yet where it waits for the rows
    collection: list[int] | None = None  # its stamp when the rows were last compared with it
    n: int = 0
    ids_bytes: int = 0
    chunks: list[list[int]] = field(default_factory=list)  # rows, bytes of ids, checksum
    indexed: int = 0
    coded: int = 0  # ivf: rows with codes, in the lists or in the file of codes
    files: dict[str, list[Any]] = field(default_factory=dict)  # name: bytes, SHA-256

    def named(self, prefix: str) -> str:
        """The file whose name begins so, or ''."""
        return next((name for name in self.files if name.startswith(prefix)), "")

    def without(self, prefix: str) -> "About":
        kept = {name: what for name, what in self.files.items() if not name.startswith(prefix)}
        return replace(self, files=kept)

    def row_files(self) -> dict[str, int]:
        """Bytes that count of each file that only grows."""
        width = np.dtype(self.plan.dtype).itemsize * self.dim
        sizes = {VECTORS: width * self.n, KEYS: DIGEST * self.n, ENDS: 8 * self.n}
        return {**sizes, IDS: self.ids_bytes}


def read_about(folder: Path) -> About:
    """index.json of `folder`; one that is absent, changed by hand or foreign is a `UserError`."""
    path = folder / _ABOUT
    if not path.exists():
        raise unusable(folder, f"it has no {_ABOUT}")
    found = read_json(path)
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise unusable(folder, f"{_ABOUT} is not of the format {FORMAT}")
    if found.pop("sha256", None) != _digest(found):
        raise unusable(folder, f"{_ABOUT} was changed after it was written")
    try:
        found.pop("faiss")
        return About(**(found | {"plan": Plan.from_json(found["plan"])}))
    except (ValueError, TypeError, KeyError) as error:
        raise unusable(folder, f"{_ABOUT} cannot be understood ({error})") from error


def write_about(folder: Path, about: About) -> None:
    """The commit of whatever was written before it."""
    import faiss

    found = asdict(about) | {"plan": about.plan.to_json(), "faiss": faiss.__version__}
    write_json(folder / _ABOUT, {"format": FORMAT, **found, "sha256": _digest(found)})


def _digest(about: dict[str, Any]) -> str:
    return sha256(json.dumps(about, sort_keys=True).encode())


def check_sizes(folder: Path, about: About) -> None:
    """Every file is there and as long as it must be; those that only grow may be longer."""
    exact = {name: size for name, (size, _) in about.files.items()}
    for name, size in (about.row_files() | exact).items():
        found = (folder / name).stat().st_size if (folder / name).exists() else -1
        if found < size or (name in exact and found != size):
            raise unusable(folder, f"{name} has {max(found, 0):,} bytes, not {size:,}")


def vectors_of(folder: Path, about: About) -> Rows:
    """(n, dim) the rows, memory-mapped."""
    return np.asarray(mapped(folder / VECTORS, about.plan.dtype, (about.n, about.dim)))


def append_rows(folder: Path, about: About, chunk: Chunk) -> About:
    """Add a chunk to the row files and count it. On return it is on the disk."""
    ids = [name.encode() + b"\n" for name in chunk.ids]
    if chunk.X.shape != (len(ids), about.dim) or len(chunk.keys) != len(ids):
        raise ValueError(f"expected {(len(ids), about.dim)} vectors, got {chunk.X.shape}")
    norms = np.linalg.norm(chunk.X, axis=1)
    if not (np.abs(norms - 1) < 1e-3).all():  # NaN fails as well
        raise ValueError(f"expected unit rows, got norms from {norms.min()} to {norms.max()}")
    ends = about.ids_bytes + np.cumsum([len(name) for name in ids], dtype="<i8")
    data = {
        VECTORS: chunk.X.astype(about.plan.dtype).tobytes(),
        KEYS: digests(chunk.keys),
        IDS: b"".join(ids),
        ENDS: ends.tobytes(),
    }
    for name, start in about.row_files().items():
        append(folder / name, start, data[name])
    entry = [len(ids), len(data[IDS]), _check_of(data)]
    n, ids_bytes = about.n + len(ids), about.ids_bytes + len(data[IDS])
    about = replace(about, n=n, ids_bytes=ids_bytes, chunks=[*about.chunks, entry])
    write_about(folder, about)
    return about


def append(path: Path, start: int, data: bytes) -> None:
    """Write `data` at `start`, the end of what counts, and sync it."""
    try:
        with path.open("r+b" if path.exists() else "w+b") as handle:
            handle.truncate(start)
            handle.seek(start)
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise mendable(error, path) from error


def note_collection(folder: Path, stamp: list[int] | None) -> None:
    """Remember which file of the collection the rows were compared with."""
    with only_writer(folder):
        write_about(folder, replace(read_about(folder), collection=stamp))


def tidy(folder: Path, about: About) -> None:
    """Remove the files that do not count (any more); readers that have them open keep them."""
    own = {_ABOUT, ".lock", *about.files, *(about.row_files() if about.n else ())}
    own |= {CODES, CODE_LISTS} if about.coded > about.indexed else set()
    for path in folder.iterdir():
        if path.name not in own and path.is_file():
            path.unlink(missing_ok=True)


def add_file(about: About, path: Path, **changes: Any) -> About:
    """`about` with a file that was written whole, and its checksum."""
    files = about.files | {path.name: [path.stat().st_size, file_digest(path)]}
    return replace(about, **({"files": files} | changes))


def file_digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def verify_files(folder: Path) -> About:
    """Read every byte of the index and compare checksums; damage is a `UserError`."""
    about = read_about(folder)
    check_sizes(folder, about)
    for name, (_, digest) in about.files.items():
        if file_digest(folder / name) != digest:
            raise unusable(folder, f"{name} was changed after it was written")
    start = dict.fromkeys(about.row_files(), 0)
    for number, (rows, ids_bytes, expected) in enumerate(about.chunks):
        sizes = replace(about, n=rows, ids_bytes=ids_bytes).row_files()
        data = {name: _bytes_at(folder / name, start[name], sizes[name]) for name in sizes}
        if _check_of(data) != expected:
            raise unusable(folder, f"the rows of chunk {number} were changed after it was written")
        start = {name: start[name] + sizes[name] for name in sizes}
    return about


def _bytes_at(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as handle:
        handle.seek(start)
        return handle.read(size)


def _check_of(data: dict[str, bytes]) -> int:
    checks = [check(np.frombuffer(data[name], np.uint8)) for name in (VECTORS, KEYS, IDS, ENDS)]
    return check(np.array(checks, "<u4").view(np.uint8))


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("w")
    except OSError as error:
        raise mendable(error, folder) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"Another `cli index` is writing {folder}. Wait until it is done, then try again."
            ) from error
        yield


def unusable(folder: Path, why: str) -> UserError:
    return UserError(
        f"{folder} holds no index that can be used: {why}. "
        "Make it anew with `cli index --rebuild`; the embeddings are not touched."
    )
