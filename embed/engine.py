"""Photos without a vector through the encoders into the stores: streamed, resumable.

Each file is read once: hashed, looked up and, where a vector is missing, decoded once for all
encoders. Decoding runs in threads ahead of the forward pass.
"""

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embed.encoders import Encoder
from embed.errors import UserError
from embed.files import sha256
from embed.images import ImageProblem, decode, read_bytes
from embed.interrupt import deferred_interrupt
from embed.progress import progress
from embed.store import EmbeddingStore

U8 = NDArray[np.uint8]

_AHEAD = 32  # photos decoded ahead of the forward pass, beside those under way


@dataclass(frozen=True)
class Stamp:
    """What tells cheaply that a file is the one hashed before."""

    size: int
    mtime_ns: int
    key: str


@dataclass(frozen=True)
class Lane:
    """One encoder with its store."""

    encoder: Encoder
    store: EmbeddingStore


@dataclass
class Embedded:
    """What a run of the engine did."""

    stamps: dict[str, Stamp] = field(default_factory=dict)  # by path, of the photos with vectors
    problems: dict[str, str] = field(default_factory=dict)  # by path: why a photo has none
    encoded: dict[str, int] = field(default_factory=dict)  # by encoder: vectors computed
    seconds: float = 0.0


@dataclass(frozen=True)
class _Photo:
    path: str
    stamp: Stamp
    pixels: Mapping[int, U8]  # by lane, where its vector is missing


def embed_photos(
    paths: Sequence[str],
    lanes: Sequence[Lane],
    known: Mapping[str, Stamp],
    batch_size: int | None = None,
) -> Embedded:
    """Give every readable photo of `paths` a vector in every lane's store.

    `known` stamps (by path) save reading files whose size and time did not change. Each batch
    is on disk before the next one starts, so an interrupted run loses one batch at most.
    """
    start = time.monotonic()
    result = Embedded(encoded={lane.encoder.spec.name: 0 for lane in lanes})
    batches = [_Batch(lane, batch_size, result) for lane in lanes]
    with progress(len(paths), "Embedding") as advance, deferred_interrupt() as check:
        for outcome in _prepared(paths, lanes, known):
            if isinstance(outcome, _Photo):
                result.stamps[outcome.path] = outcome.stamp
                for i, pixels in outcome.pixels.items():
                    batches[i].add(outcome.stamp.key, pixels)
            else:
                result.problems.update([outcome])
            advance(1)
            check()
        for batch in batches:
            batch.flush()
        for lane in lanes:
            lane.store.compact()
        check()
    result.seconds = time.monotonic() - start
    return result


def _prepared(
    paths: Sequence[str], lanes: Sequence[Lane], known: Mapping[str, Stamp]
) -> Iterator["_Photo | tuple[str, str]"]:
    """Photos, or (path, reason), in the order of `paths`; a bounded number is under way."""
    workers = os.cpu_count() or 1
    ahead = 4 * workers + _AHEAD
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[_Photo | tuple[str, str]]] = deque()
        try:
            for path in paths:
                waiting.append(pool.submit(_prepare, path, lanes, known.get(path)))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # on Ctrl-C nothing more is decoded
                future.cancel()


def _prepare(path: str, lanes: Sequence[Lane], known: Stamp | None) -> "_Photo | tuple[str, str]":
    try:
        status = Path(path).stat()
        unchanged = (
            known is not None
            and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns)
            and all(known.key in lane.store for lane in lanes)
        )
        if known is not None and unchanged:
            return _Photo(path, known, {})
        data = read_bytes(Path(path))
        stamp = Stamp(status.st_size, status.st_mtime_ns, sha256(data))
        wanted = [i for i, lane in enumerate(lanes) if stamp.key not in lane.store]
        if not wanted:
            return _Photo(path, stamp, {})
        image = decode(data)
        pixels = {i: lanes[i].encoder.spec.transform(image) for i in wanted}
        return _Photo(path, stamp, pixels)
    except ImageProblem as problem:
        return path, str(problem)
    except OSError as error:
        return path, error.strerror or str(error)


class _Batch:
    """Pixels on their way through one lane."""

    def __init__(self, lane: Lane, size: int | None, result: Embedded) -> None:
        self.lane = lane
        self.result = result
        self.size = size or 0  # 0 asks the encoder, which loads torch only when there is work
        self.rows: dict[str, U8] = {}

    def add(self, key: str, pixels: U8) -> None:
        if key in self.lane.store:  # a copy of a photo that came a moment ago
            return
        self.size = self.size or self.lane.encoder.batch_size
        self.rows[key] = pixels
        if len(self.rows) >= self.size:
            self.flush()

    def flush(self) -> None:
        # another process may have saved some of them meanwhile
        rows = [(key, self.rows[key]) for key in self.lane.store.missing(list(self.rows))]
        self.rows = {}
        while rows:
            chunk = rows[: self.size]
            try:
                X = self.lane.encoder.encode(np.stack([pixels for _, pixels in chunk]))
            except RuntimeError as error:  # torch's out-of-memory errors are RuntimeErrors
                if "out of memory" not in str(error).lower() or self.size == 1:
                    raise
                self.size = max(1, self.size // 2)
                continue
            self.lane.store.append([key for key, _ in chunk], X)
            self.result.encoded[self.lane.encoder.spec.name] += len(chunk)
            rows = rows[len(chunk) :]


def readable_or_error(result: Embedded, listed: Path) -> None:
    """Raise `UserError` where not one photo could be read; the list of reasons is in `listed`."""
    if not result.stamps:
        shown = "; ".join(f"{Path(p).name}: {why}" for p, why in list(result.problems.items())[:3])
        raise UserError(
            f"None of the {len(result.problems):,} photos could be read ({shown}). "
            f"The list with reasons: {listed}"
        )
