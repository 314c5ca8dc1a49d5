"""Datasets that FiftyOne exported (`FiftyOneDataset`), read sample by sample; see the export."""

import base64
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.fiftyone_export import FIELDS, OURS
from embed.files import read_json

_CHUNK = 2**20  # characters read at a time
_LONGEST = 2**26  # characters of one sample
_MOST_DIM = 1_000_000
_BETWEEN = " \t\r\n,"
_ROWS_AT_ONCE = 1024


class FiftyOneSamples:
    """The samples of an exported dataset that have a vector, checked while they are read.

    columns : texts by field, "" where a sample has none: `file_path` is its filepath, a
        `Classification` gives its label; (n, dim) vectors come from `blocks`.
    """

    def __init__(self, folder: Path) -> None:
        """Raises `UserError` for other folders, for damage, and without one vector field."""
        self.path = folder / "samples.json"
        about = read_json(folder / "metadata.json")
        fields = about.get("sample_fields") if isinstance(about, dict) else None
        if not isinstance(fields, list) or not all(isinstance(one, dict) for one in fields):
            raise UserError(f"{folder} is no FiftyOneDataset: its metadata.json lists no fields.")
        kinds = {str(one.get("name")): str(one.get("ftype")) for one in fields}
        vectors = [name for name, kind in kinds.items() if kind == f"{FIELDS}VectorField"]
        if len(vectors) != 1:
            raise UserError(
                f"{folder} has {len(vectors)} fields of vectors "
                f"({', '.join(vectors) or 'none'}): expected one. Export it with "
                "`dataset.exclude_fields([…])`, or compute embeddings into a field first."
            )
        self._vector, self.dim, self._rows = vectors[0], 0, 0
        self.dtype = ""
        texts = [n for n in kinds if not n.startswith("_") and n not in (self._vector, "filepath")]
        self.columns: dict[str, list[str]] = {name: [] for name in ("file_path", *texts)}
        for number, sample in self._samples():
            self._note(number, sample)
        names = [n for n in self.columns if n == "file_path" or any(self.columns[n])]
        back = {there: ours for ours, there in OURS.items() if there in names}
        self.columns = {back.get(name, name): self.columns[name] for name in names if name != "id"}
        if not self._rows:
            raise UserError(f"{folder} has no sample with a vector in '{self._vector}'.")

    def __len__(self) -> int:
        return self._rows

    def blocks(self) -> Iterator[NDArray[Any]]:
        """(≤ 1024, dim) arrays, in order."""
        block = []
        for number, sample in self._samples():
            block.append(_vector(self.path, number, sample[self._vector]))
            if len(block) == _ROWS_AT_ONCE:
                yield np.stack(block)
                block = []
        if block:
            yield np.stack(block)

    def _note(self, number: int, sample: dict[str, Any]) -> None:
        x = _vector(self.path, number, sample[self._vector])
        if self._rows == 0:
            self.dim, self.dtype = len(x), x.dtype.name
        elif (len(x), x.dtype.name) != (self.dim, self.dtype):
            raise UserError(
                f"{self.path}, sample {number}: {len(x):,} numbers ({x.dtype}), where the first "
                f"has {self.dim:,} ({self.dtype})."
            )
        self._rows += 1
        for name, cells in self.columns.items():
            cells.append(_text(sample.get("filepath" if name == "file_path" else name)))

    def _samples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(number from 1, sample) of those with a vector; one in memory at a time."""
        for number, sample in enumerate(_documents(self.path), start=1):
            if not isinstance(sample, dict):
                raise UserError(f"{self.path}: sample {number} is no object. It is damaged.")
            if sample.get(self._vector) is not None:
                yield number, sample


def _documents(path: Path) -> Iterator[Any]:
    """The values in the list `samples` of a JSON file, without reading all of it."""
    decoder = json.JSONDecoder()
    try:
        with path.open(encoding="utf-8") as handle:
            text = handle.read(_CHUNK)
            start = re.match(r'\s*\{\s*"samples"\s*:\s*\[', text)
            if not start:
                raise UserError(f"{path} does not start with a list of samples.")
            text, ended = text[start.end() :].lstrip(_BETWEEN), False
            while not text.startswith("]"):
                try:
                    value, end = decoder.raw_decode(text)
                except ValueError as error:
                    if ended or len(text) > _LONGEST:
                        raise UserError(f"{path} is cut off or damaged ({error}).") from error
                    more = handle.read(max(_CHUNK, len(text)))  # doubled: linear work in all
                    text, ended = (text + more).lstrip(_BETWEEN), not more
                    continue
                yield value
                text = text[end:].lstrip(_BETWEEN)
                if len(text) < _CHUNK // 2 and not ended:
                    more = handle.read(_CHUNK)
                    text, ended = (text + more).lstrip(_BETWEEN), not more
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}).") from error


def _vector(path: Path, number: int, value: Any) -> NDArray[Any]:
    """A `VectorField`; never more memory than a vector of a million numbers."""
    try:
        packed = base64.b64decode(value["$binary"]["base64"], validate=True)
        engine = zlib.decompressobj()
        data = engine.decompress(packed, 8 * _MOST_DIM + 1024)
        if engine.unconsumed_tail:
            raise ValueError("longer than any vector")
        x = np.load(io.BytesIO(data), allow_pickle=False)
        if x.ndim != 1 or x.dtype.kind != "f" or not len(x):
            raise ValueError(f"{x.dtype} {x.shape}")
    except (ValueError, TypeError, KeyError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path}, sample {number}: its vector cannot be read ({error}).") from error
    return np.asarray(x)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("label", value.get("$oid"))
    return str(value) if isinstance(value, str | int | float) else ""
