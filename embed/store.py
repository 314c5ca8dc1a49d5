"""The embedding cache: one folder an encoder, immutable HDF5 parts, rows found by content.

A part is written whole under another name, synced, then renamed: a reader sees all of it or
nothing, any number of processes write side by side without a lock, and a crash costs the
batch in flight. `compact` merges parts; what it removes is always inside a part it wrote
before, so readers and writers may go on meanwhile.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.files import mendable, read_json, remove_left_over, write_json
from embed.keys import KeyIndex, digests
from embed.making import merge, write_rows_part
from embed.parts import (
    DTYPES,
    IMPORTED,
    UNIT,
    DamagedError,
    Part,
    gather,
    part_paths,
    places,
    read_part,
    rebuild,
)
from embed.spec import EncoderSpec

F32 = NDArray[np.float32]

ROWS_A_PART = 65_536
_FEW_PARTS = 8
_OWN_PARTS = 64  # so many small parts of its own a writer merges on its way


@dataclass(frozen=True)
class Compacted:
    """What `compact` did."""

    parts_before: int
    parts_after: int
    bytes: int  # of the parts now


class EmbeddingStore:
    """Vectors of one encoder by the SHA-256 of the photo's bytes. Open it with `open`.

    Safe in threads: one may append while others ask and load.
    """

    def __init__(self, folder: Path, spec: EncoderSpec, dtype: str | None = None) -> None:
        self.folder = folder
        self.spec = spec
        self._own: list[Part] = []  # small ones written here and not merged yet
        self._lock = RLock()  # over the index and the numbers of the parts in it
        self._forget()
        self.dtype = DTYPES[dtype or self._usual_dtype()]

    @classmethod
    def open(
        cls, folder: Path, spec: EncoderSpec | None = None, dtype: str | None = None
    ) -> "EmbeddingStore":
        """The store in `folder`; with a `spec` it is made where there is none.

        `dtype` (float32, float16) is what `append` keeps on the disk: by default what most rows
        there have, else float32. Raises `UserError` where there is no store and no `spec`, or
        where it holds vectors of another spec.
        """
        path = folder / "spec.json"
        if not path.exists():
            if spec is None:
                raise UserError(
                    f"There are no embeddings of '{folder.name}' here ({folder}). "
                    f"Run `cli embed PHOTOS --encoder {folder.name}` first."
                )
            write_json(path, spec.to_json())
        found = read_spec(folder)
        if spec is not None and found.digest != spec.digest:
            raise UserError(
                f"{folder} holds embeddings made by another encoder spec "
                f"({'; '.join(spec.differences(found))}). {rebuild(spec)}"
            )
        return cls(folder, found, dtype)

    @staticmethod
    def set_aside(folder: Path) -> Path | None:
        """Rename the store in `folder` so that a new one can be made; None where there is none."""
        if not folder.exists():
            return None
        number = 1
        while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
            number += 1
        try:
            folder.rename(aside)
        except OSError as error:
            raise mendable(error, aside) from error
        return aside

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: str) -> bool:
        try:
            return bytes.fromhex(key) in self._index
        except ValueError:
            return False

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` without a vector, each once, in order."""
        self._scan()
        asked = list(dict.fromkeys(keys))
        absent = self._index.find(digests(asked)) < 0
        return [asked[i] for i in np.flatnonzero(absent)]

    def append(self, keys: Sequence[str], X: F32, engine: str = "") -> None:
        """Save one part. X : (len(keys), dim) float32, unit rows. On return it is on disk.

        Of a key that stands twice in `keys` the first row is kept. `engine` is written down
        beside the versions of the libraries. Raises `ValueError` for rows that are no unit
        vectors (a bug in an encoder must not become a cache), `UserError` for a full or
        read-only disk.
        """
        X = np.ascontiguousarray(X, dtype=np.float32)
        if X.shape != (len(keys), self.spec.dim):
            raise ValueError(f"expected {(len(keys), self.spec.dim)} vectors, got {X.shape}")
        norms = np.linalg.norm(X, axis=1)
        if not np.allclose(norms, 1.0, atol=UNIT):  # NaN fails as well
            raise ValueError(f"expected unit rows, got norms from {norms.min()} to {norms.max()}")
        digests(keys)
        names, first = np.unique(np.array(keys, dtype="S64"), return_index=True)
        first.sort()
        names, X = np.array(keys, dtype="S64")[first], X[first].astype(self.dtype, copy=False)
        for start in range(0, len(names), ROWS_A_PART):
            rows = slice(start, start + ROWS_A_PART)
            part = write_rows_part(self.folder, self.spec, names[rows], X[rows], engine)
            self._note([(part, names[rows])])
            self._own.append(part)
        if len(self._own) >= _OWN_PARTS:
            own, self._own = self._own, []
            with suppress(FileNotFoundError):  # somebody else has merged them
                self._merge(own)

    def load(self, keys: Sequence[str]) -> F32:
        """(len(keys), dim) float32 unit rows in the order of `keys`.

        Every block of rows that is read is checked. Raises `UserError` for keys without a vector
        and for damaged parts.
        """
        self._scan()
        asked, X = digests(keys), np.empty((len(keys), self.spec.dim), dtype=np.float32)
        looked_again = False
        while True:
            with self._lock:
                parts, where = self._parts, self._index.find(asked)
            absent = int((where < 0).sum())
            if absent:
                raise UserError(
                    f"{absent:,} of {len(keys):,} photos have no '{self.spec.name}' embedding. "
                    f"{_how_to_make(self.spec)}"
                )
            try:
                gather(parts, where, X)
                return X
            except FileNotFoundError:  # merged by another process since we looked
                self._forget()
            except DamagedError:  # or written anew, with its rows at another place in the file
                if looked_again:
                    raise
                looked_again = True
                self._forget()

    def compact(self, force: bool = False) -> Compacted:
        """Merge many small parts into few; safe beside readers, writers and other merges.

        A few parts stay as they are unless it is forced. Memory holds a block of rows. Scratch
        files that a killed process left a day ago or earlier are removed.
        """
        remove_left_over(self.folder)
        before = part_paths(self.folder)
        if len(before) > (1 if force else _FEW_PARTS):
            with suppress(FileNotFoundError):  # somebody else is merging
                for group in _groups([read_part(path, self.spec) for path in before]):
                    self._merge(group)
            self._forget()
        after = part_paths(self.folder)
        return Compacted(len(before), len(after), bytes_of(after))

    def _merge(self, group: Sequence[Part]) -> None:
        part, keys = merge(self.folder, self.spec, group)
        self._note([(part, keys)])

    def _usual_dtype(self) -> str:
        usual = rows_by_dtype(self._parts).most_common(1)
        return usual[0][0] if usual else "float32"

    def _forget(self) -> None:
        with self._lock:
            self._index = KeyIndex()
            self._parts: list[Part] = []  # by number; some may be gone
            self._scanned: set[Path] = set()
            self._own = []
            self._scan()

    def _scan(self) -> None:
        """Note the parts not known yet, until two listings agree.

        A listing taken while another process merges may miss both the old parts and the new.
        """
        listed: list[Path] = []
        with self._lock:
            while (paths := part_paths(self.folder)) != listed:
                listed, found = paths, []
                for path in paths:
                    if path not in self._scanned:
                        with suppress(FileNotFoundError):
                            part = read_part(path, self.spec)
                            found.append((part, part.keys()))
                self._note(found)

    def _note(self, found: Sequence[tuple[Part, NDArray[np.bytes_]]]) -> None:
        if not found:
            return
        raw = b"".join(bytes.fromhex(keys.tobytes().decode("ascii")) for _, keys in found)
        with self._lock:
            first = len(self._parts)
            self._parts += [part for part, _ in found]
            at = [places(first + i, part.rows) for i, (part, _) in enumerate(found)]
            self._index.add(raw, np.concatenate(at))
            self._scanned.update(part.path for part, _ in found)


def read_spec(folder: Path) -> EncoderSpec:
    """The spec of the store in `folder`; a damaged `spec.json` is a `UserError`."""
    path = folder / "spec.json"
    try:
        return EncoderSpec.from_json(read_json(path))
    except (UserError, ValueError) as error:
        raise UserError(
            f"{path} is damaged: {error} `cli store repair` writes it anew from what the parts "
            f"say. Or run `cli embed PHOTOS --encoder {folder.name} --rebuild` to set the stored "
            "vectors aside and make new ones."
        ) from error


def _groups(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Parts of one dtype that together make one of at most `ROWS_A_PART` rows."""
    for dtype in DTYPES.values():
        group: list[Part] = []
        for part in parts:
            if part.dtype != dtype:
                continue
            if group and sum(p.rows for p in group) + part.rows > ROWS_A_PART:
                if len(group) > 1:
                    yield group
                group = []
            group.append(part)
        if len(group) > 1:
            yield group


def rows_by_dtype(parts: Sequence[Part]) -> Counter[str]:
    rows: Counter[str] = Counter()
    for part in parts:
        rows[part.dtype.name] += part.rows
    return rows


def bytes_of(paths: Sequence[Path]) -> int:
    total = 0
    for path in paths:
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _how_to_make(spec: EncoderSpec) -> str:
    if spec.library == IMPORTED:
        return "Its vectors were imported: add them with `cli store import`."
    return f"Run `cli embed PHOTOS --encoder {spec.source}` to make them."
