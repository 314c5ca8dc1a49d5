"""The embedding cache: one folder an encoder, immutable HDF5 parts, rows found by content.

A part is written whole under another name, synced, then renamed: a reader sees all of it or
nothing, any number of processes write side by side without a lock, and a crash costs the
batch in flight. `compact` merges parts; what it removes is always inside a part it wrote
before, so readers and writers may go on meanwhile.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.files import mendable, read_json, write_bytes, write_json
from embed.spec import EncoderSpec

F32 = NDArray[np.float32]

FORMAT = "familia-embeddings-1"
_ROWS_PER_MERGED_PART = 65_536  # keeps a merge of 1,280 columns under 400 MB of memory
_FEW_PARTS = 8
_SECONDS_A_DAY = 86_400


class EmbeddingStore:
    """Vectors of one encoder by the SHA-256 of the photo's bytes. Open it with `open`."""

    def __init__(self, folder: Path, spec: EncoderSpec) -> None:
        self.folder = folder
        self.spec = spec
        self._where: dict[str, tuple[Path, int]] = {}
        self._scanned: set[Path] = set()
        self._scan()

    @classmethod
    def open(cls, folder: Path, spec: EncoderSpec | None = None) -> "EmbeddingStore":
        """The store in `folder`; with a `spec` it is made where there is none.

        Raises `UserError` where there is none and no `spec`, or where it holds vectors of
        another spec.
        """
        path = folder / "spec.json"
        if not path.exists():
            if spec is None:
                raise UserError(
                    f"There are no embeddings of '{folder.name}' here ({folder}). "
                    f"Run `cli embed PHOTOS --encoder {folder.name}` first."
                )
            write_json(path, spec.to_json())
        try:
            found = EncoderSpec.from_json(read_json(path))
        except (UserError, ValueError) as error:
            raise UserError(f"{path} is damaged: {error} {_rebuild(folder.name)}") from error
        if spec is not None and found.digest != spec.digest:
            raise UserError(
                f"{folder} holds embeddings made by another encoder spec "
                f"({'; '.join(spec.differences(found))}). {_rebuild(spec.source)}"
            )
        return cls(folder, found)

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
        return len(self._where)

    def __contains__(self, key: str) -> bool:
        return key in self._where

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` without a vector, each once, in order."""
        self._scan()
        return [key for key in dict.fromkeys(keys) if key not in self._where]

    def append(self, keys: Sequence[str], X: F32) -> None:
        """Save one part. X : (len(keys), dim) float32, unit rows. On return it is on disk.

        Raises `ValueError` for rows that are no unit vectors (a bug in an encoder must not
        become a cache), `UserError` for a full or read-only disk.
        """
        X = np.ascontiguousarray(X, dtype=np.float32)
        if X.shape != (len(keys), self.spec.dim):
            raise ValueError(f"expected {(len(keys), self.spec.dim)} vectors, got {X.shape}")
        norms = np.linalg.norm(X, axis=1)
        if not np.allclose(norms, 1.0, atol=1e-3):  # NaN fails as well
            raise ValueError(f"expected unit rows, got norms from {norms.min()} to {norms.max()}")
        path = self._write_part(list(keys), X)
        self._note(path, list(keys))

    def load(self, keys: Sequence[str]) -> F32:
        """(len(keys), dim) float32 unit rows in the order of `keys`.

        Raises `UserError` for keys without a vector and for damaged parts.
        """
        self._scan()
        absent = [key for key in keys if key not in self._where]
        if absent:
            raise UserError(
                f"{len(absent):,} of {len(keys):,} photos have no '{self.spec.name}' embedding. "
                f"Run `cli embed PHOTOS --encoder {self.spec.source}` to make them."
            )
        X = np.empty((len(keys), self.spec.dim), dtype=np.float32)
        wanted: dict[Path, list[tuple[int, int]]] = {}
        for position, key in enumerate(keys):
            path, row = self._where[key]
            wanted.setdefault(path, []).append((position, row))
        for path, pairs in wanted.items():
            try:
                _, vectors = self._read_part(path)
            except FileNotFoundError:  # merged by another process since we looked
                self._forget()
                return self.load(keys)
            positions, rows = np.array(pairs).T
            X[positions] = vectors[rows]
        return X

    def compact(self) -> None:
        """Merge many small parts into few; safe beside readers, writers and other merges.

        Scratch files that a killed process left a day ago or earlier are removed.
        """
        for scratch in self.folder.glob(".part-*.tmp"):
            with suppress(OSError):
                if time.time() - scratch.stat().st_mtime > _SECONDS_A_DAY:
                    scratch.unlink()
        parts = self._parts()
        if len(parts) <= _FEW_PARTS:
            return
        with suppress(FileNotFoundError):  # somebody else is merging
            self._merge(parts)
        self._forget()

    def _merge(self, parts: list[Path]) -> None:
        for group in self._groups(parts):
            loaded = [self._read_part(path) for path in group]
            rows = {key: X[i] for keys, X in loaded for i, key in enumerate(keys)}
            merged = self._write_part(list(rows), np.stack(list(rows.values())))
            for path in group:
                if path != merged:
                    path.unlink(missing_ok=True)

    def _groups(self, parts: list[Path]) -> Iterator[list[Path]]:
        group: list[Path] = []
        total = 0
        for path in parts:
            rows = len(self._read_keys(path))
            if group and total + rows > _ROWS_PER_MERGED_PART:
                if len(group) > 1:
                    yield group
                group, total = [], 0
            group.append(path)
            total += rows
        if len(group) > 1:
            yield group

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.h5"))

    def _forget(self) -> None:
        self._where.clear()
        self._scanned.clear()
        self._scan()

    def _scan(self) -> None:
        """Note the parts not known yet, until two listings agree.

        A listing taken while another process merges may miss both the old parts and the new.
        """
        listed: list[Path] = []
        while (parts := self._parts()) != listed:
            listed = parts
            for path in parts:
                if path not in self._scanned:
                    with suppress(FileNotFoundError):
                        self._note(path, self._read_keys(path))

    def _note(self, path: Path, keys: list[str]) -> None:
        self._scanned.add(path)
        for row, key in enumerate(keys):
            self._where.setdefault(key, (path, row))

    def _write_part(self, keys: list[str], X: F32) -> Path:
        import h5py

        encoded = np.array(keys, dtype="S64")
        checksum = _checksum(encoded, X)
        path = self.folder / f"part-{checksum[:16]}.h5"
        # Built in memory and written by us: HDF5 itself leaves half a file on a full disk.
        with h5py.File(path.name, "w", driver="core", backing_store=False) as part:
            part.create_dataset("keys", data=encoded)
            part.create_dataset("vectors", data=X)
            part.attrs["format"] = FORMAT
            part.attrs["spec"] = json.dumps(self.spec.to_json())
            part.attrs["spec_digest"] = self.spec.digest
            part.attrs["sha256"] = checksum
            part.flush()
            image = part.id.get_file_image()
        write_bytes(path, image)
        return path

    def _read_keys(self, path: Path) -> list[str]:
        with _opened(path, self.spec) as part:
            return [key.decode("ascii") for key in part["keys"][:]]

    def _read_part(self, path: Path) -> tuple[list[str], F32]:
        with _opened(path, self.spec) as part:
            keys, X = part["keys"][:], part["vectors"][:]
            if X.shape != (len(keys), self.spec.dim) or _checksum(keys, X) != part.attrs["sha256"]:
                raise _damaged(path, "its checksum does not match its content")
            return [key.decode("ascii") for key in keys], X


@contextmanager
def _opened(path: Path, spec: EncoderSpec) -> Iterator[Any]:
    """An HDF5 part open for reading, with what may be wrong with it in words."""
    import h5py

    try:
        part = h5py.File(path, "r", locking=False)
    except OSError as error:
        if not path.exists():  # HDF5 has several words for a file that goes while it opens it
            raise FileNotFoundError(path) from error
        raise _damaged(path, "it is no readable HDF5 file") from error
    try:
        with part:
            if part.attrs.get("spec_digest") != spec.digest:
                raise UserError(
                    f"{path} was made by another encoder spec than {path.parent / 'spec.json'} "
                    f"says. {_rebuild(spec.source)}"
                )
            yield part
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise _damaged(path, "parts of it cannot be read") from error


def _checksum(keys: NDArray[np.bytes_], X: F32) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(keys).tobytes())
    digest.update(np.ascontiguousarray(X, dtype=np.float32).data)
    return digest.hexdigest()


def _rebuild(source: str) -> str:
    return (
        f"Run `cli embed PHOTOS --encoder {source} --rebuild` to set the stored vectors aside "
        "and make new ones."
    )


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} is damaged: {why}. Move it out of the folder and run `cli embed PHOTOS` again: "
        "only its photos are computed anew."
    )
