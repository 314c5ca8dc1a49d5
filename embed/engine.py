"""Photos without a vector through the encoders into the stores: streamed, resumable.

Each photo is read once: hashed, looked up and, where a vector is missing, decoded once for all
encoders. Decoding runs in threads ahead of the forward pass, and a batch is saved while the next
one is computed.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embed import sources, witness
from embed.backends import Pending
from embed.encoder import Encoder
from embed.errors import UserError
from embed.files import sha256
from embed.images import ImageProblem, decode_at
from embed.interrupt import deferred_interrupt
from embed.progress import progress
from embed.store import EmbeddingStore

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

_AHEAD = 32  # photos decoded ahead of the forward pass, beside those under way
_LOOKED_AT_ONCE = 1024  # photos whose stamps are compared between two batches


class Stamps:
    """What tells cheaply that a file is the one hashed before; row by row for a list of photos.

    keys : (n,) S64, SHA-256 of the file, empty where it is not known
    sizes, mtimes : (n,) int64, bytes and ns
    """

    def __init__(self, n: int) -> None:
        self.keys = np.zeros(n, dtype="S64")
        self.sizes = np.zeros(n, dtype=np.int64)
        self.mtimes = np.zeros(n, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.keys)

    def put(self, row: int, key: str, size: int, mtime: int) -> None:
        self.keys[row], self.sizes[row], self.mtimes[row] = key, size, mtime


@dataclass(frozen=True)
class Lane:
    """One encoder with its store."""

    encoder: Encoder
    store: EmbeddingStore


@dataclass
class Embedded:
    """What a run of the engine did."""

    stamps: Stamps  # of the photos with vectors
    problems: dict[str, str] = field(default_factory=dict)  # by path: why a photo has none
    encoded: dict[str, int] = field(default_factory=dict)  # by encoder: vectors computed
    seconds: float = 0.0

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(n,) whether a photo has its vectors."""
        return np.asarray(self.stamps.keys != b"")

    @property
    def keys(self) -> list[str]:
        """Of the readable photos, in the order of the paths."""
        return [key.decode() for key in self.stamps.keys[self.readable].tolist()]


@dataclass(frozen=True)
class _Photo:
    row: int
    key: str
    size: int
    mtime: int
    squares: Mapping[int, U8]  # by lane, where its vector is missing


@dataclass(frozen=True)
class _Bad:
    row: int
    reason: str


def embed_photos(
    paths: Sequence[str],
    lanes: Sequence[Lane],
    known: Stamps | None = None,
    batch_size: int | None = None,
    announce: bool = False,
) -> Embedded:
    """Give every readable photo of `paths` a vector in every lane's store.

    `known` stamps (row by row) save reading files whose size and time did not change. At most
    `batch_size` photos are under way, and lost, when a run is interrupted. With `announce` a line
    on standard error says which engine runs and how.
    """
    start = time.monotonic()
    result = Embedded(Stamps(len(paths)), encoded={lane.encoder.spec.name: 0 for lane in lanes})
    batches = [_Batches(lane, batch_size, result, announce) for lane in lanes]
    with progress(len(paths), "Embedding") as advance, deferred_interrupt() as check:
        try:
            for outcome in _outcomes(paths, lanes, known or Stamps(len(paths)), result):
                if isinstance(outcome, _Photo):
                    result.stamps.put(outcome.row, outcome.key, outcome.size, outcome.mtime)
                    for i, squares in outcome.squares.items():
                        batches[i].add(outcome.key, squares)
                elif isinstance(outcome, _Bad):
                    result.problems[paths[outcome.row]] = outcome.reason
                advance(outcome if isinstance(outcome, int) else 1)
                check()
        except KeyboardInterrupt:
            for batch in batches:
                batch.finish()
            raise
        for batch in batches:
            batch.flush()
        for lane in lanes:
            lane.store.compact()
        check()
    result.seconds = time.monotonic() - start
    return result


def readable_or_error(result: Embedded, listed: Path) -> None:
    """Raise `UserError` where not one photo could be read; the list of reasons is in `listed`."""
    if not result.readable.any():
        shown = "; ".join(f"{Path(p).name}: {why}" for p, why in list(result.problems.items())[:3])
        raise UserError(
            f"None of the {len(result.problems):,} photos could be read ({shown}). "
            f"The list with reasons: {listed}"
        )


def workers() -> int:
    """Threads that read and decode."""
    return os.cpu_count() or 1


def _outcomes(
    paths: Sequence[str], lanes: Sequence[Lane], known: Stamps, result: Embedded
) -> Iterator["_Photo | _Bad | int"]:
    """Photos, problems, or how many were known already; a bounded number is under way."""
    ahead = 4 * workers() + _AHEAD
    present = _present(known, lanes)
    with ThreadPoolExecutor(workers()) as pool:
        waiting: deque[Future[_Photo | _Bad]] = deque()
        try:
            for low in range(0, len(paths), _LOOKED_AT_ONCE):
                rows = range(low, min(low + _LOOKED_AT_ONCE, len(paths)))
                same = _unchanged(pool, paths, rows, known, present)
                for name in ("keys", "sizes", "mtimes"):
                    getattr(result.stamps, name)[same] = getattr(known, name)[same]
                yield len(same)
                for row in sorted(set(rows).difference(same)):
                    waiting.append(pool.submit(_prepare, row, paths[row], lanes))
                    if len(waiting) >= ahead:
                        yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # on Ctrl-C nothing more is decoded
                future.cancel()


def _present(known: Stamps, lanes: Sequence[Lane]) -> NDArray[np.bool_]:
    """(n,) whether a photo's known key has a vector in every lane."""
    found: NDArray[np.bool_] = known.keys != b""
    keys = [key.decode() for key in known.keys[found].tolist()]
    missing = {key for lane in lanes for key in lane.store.missing(keys)}
    if missing:
        found[found] = [key not in missing for key in keys]
    return found


def _unchanged(
    pool: ThreadPoolExecutor,
    paths: Sequence[str],
    rows: Sequence[int],
    known: Stamps,
    present: NDArray[np.bool_],
) -> list[int]:
    """Those of `rows` whose files have the size and time that are known."""

    def same(some: Sequence[int]) -> list[int]:
        return [row for row in some if _stamp(paths[row]) == (known.sizes[row], known.mtimes[row])]

    asked = [row for row in rows if present[row]]
    share = max(64, len(asked) // workers())
    parts = [asked[low : low + share] for low in range(0, len(asked), share)]
    return [row for found in pool.map(same, parts) for row in found]


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        return sources.stamp(path)
    except (ImageProblem, OSError):  # gone: reading it will say so
        return None


def _prepare(row: int, path: str, lanes: Sequence[Lane]) -> _Photo | _Bad:
    try:
        size, mtime = sources.stamp(path)
        data = sources.read(path)
        key = sha256(data)
        wanted = [i for i, lane in enumerate(lanes) if key not in lane.store]
        if not wanted:
            return _Photo(row, key, size, mtime, {})
        transforms = [lanes[i].encoder.spec.transform for i in wanted]
        images = decode_at(data, [transform.shortest for transform in transforms])
        squares = [transform(image) for transform, image in zip(transforms, images, strict=True)]
        return _Photo(row, key, size, mtime, dict(zip(wanted, squares, strict=True)))
    except ImageProblem as problem:
        return _Bad(row, str(problem))
    except OSError as error:
        return _Bad(row, error.strerror or str(error))


class _Batches:
    """Squares of pixels on their way through one lane, batch after batch."""

    def __init__(self, lane: Lane, size: int | None, result: Embedded, announce: bool) -> None:
        self.lane = lane
        self.result = result
        self.asked = size
        self.announce = announce
        self.in_flight = 1
        self.size = 0  # the encoder is asked, and built, only when there is work
        self.rows: dict[str, U8] = {}
        self.waiting: deque[tuple[list[str], U8, Pending]] = deque()

    def add(self, key: str, squares: U8) -> None:
        if key in self.rows or key in self.lane.store:  # a copy of a photo that came a moment ago
            return
        self.size = self.size or self._open()
        self.rows[key] = squares
        if len(self.rows) >= self.size:
            self._start()

    def flush(self) -> None:
        """Encode and save what is left."""
        if self.rows:
            self._start()
        self.finish()

    def finish(self) -> None:
        """Save what is under way."""
        while self.waiting:
            self._finish()

    def _open(self) -> int:
        """Photos a forward pass: `batch_size` over the batches in flight, which a crash costs."""
        encoder, store = self.lane.encoder, self.lane.store
        X = encoder.encode(witness.squares(encoder.spec))
        witness.check_witness(store.folder, encoder.spec, X, encoder.engine)
        under_way = self.asked or encoder.batch_size
        self.in_flight = min(encoder.in_flight, under_way)
        size = under_way // self.in_flight
        if self.announce:
            print(
                f"{encoder.spec.name}: {encoder.engine}; {workers()} threads decode, "
                f"{self.in_flight} × {size} photos under way",
                file=sys.stderr,
            )
        return size

    def _start(self) -> None:
        # another process may have saved some of them meanwhile
        under_way = {key for keys, _, _ in self.waiting for key in keys}
        keys = [k for k in self.lane.store.missing(list(self.rows)) if k not in under_way]
        rows, self.rows = self.rows, {}
        if not keys:
            return
        squares = np.stack([rows[key] for key in keys])
        while len(self.waiting) >= self.in_flight:
            self._finish()
        try:
            self.waiting.append((keys, squares, self.lane.encoder.start(squares)))
        except RuntimeError as error:
            self._save(keys, self._in_halves(squares, error))

    def _finish(self) -> None:
        keys, squares, pending = self.waiting.popleft()
        try:
            X = pending()
        except RuntimeError as error:
            X = self._in_halves(squares, error)
        self._save(keys, X)

    def _in_halves(self, squares: U8, error: RuntimeError) -> F32:
        """Again, in batches half as large, where the device had too little memory."""
        if "out of memory" not in str(error).lower() or len(squares) == 1:
            raise error
        half = len(squares) // 2
        self.size = min(self.size, half)
        parts = []
        for part in (squares[:half], squares[half:]):
            try:
                parts.append(self.lane.encoder.encode(part))
            except RuntimeError as again:
                parts.append(self._in_halves(part, again))
        return np.concatenate(parts)

    def _save(self, keys: list[str], X: F32) -> None:
        encoder = self.lane.encoder
        self.lane.store.append(keys, X, encoder.engine)
        self.result.encoded[encoder.spec.name] += len(keys)
