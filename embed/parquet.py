"""Parquet files: tables of text, and photos as bytes in the layout of the hub's data sets."""

import json
import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from embed.archives import check_size
from embed.images import ImageProblem

_IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "photo", "picture", "bytes")
_WINDOW = 12 * 2**20  # bytes of photos kept, for threads that come a little late
_STREAM = 2**20  # bytes read at a time


class ParquetPhotos:
    """The photos of one Parquet file, by row number; safe to read from several threads.

    Photos come from a window that moves on through a row group, and going back starts the group
    anew. A group is streamed where its writer cut it into pages; the hub's (100 photos) are often
    one page, which is then held as a whole.
    """

    def __init__(self, path: str) -> None:
        import pyarrow.parquet as pq

        self.path = path
        self.sidecars: list[str] = []
        self.problems: dict[str, str] = {}
        self.torn: str | None = None
        self.mtime_ns = 0
        self._file = pq.ParquetFile(path, buffer_size=_STREAM, pre_buffer=False)
        column = image_column(self._file.schema_arrow)
        if column is None:
            raise ImageProblem(
                "no column holds photos as bytes. If it is a table with their paths: "
                f"`cli embed --table {path}`"
            )
        self._column = column
        self._size = Path(path).stat().st_size
        sizes, packed = self._row_groups()
        *self._starts, self._rows = accumulate(sizes, initial=0)
        self.names = [str(row) for row in range(self._rows)]
        each = max(1, sum(packed) // max(1, self._rows))
        keep = max(_WINDOW // each, 2 * (os.cpu_count() or 1) + 8)
        self._batch = max(1, min(keep // 4, 1000))
        self._window: deque[tuple[int, Any]] = deque(maxlen=4)  # (first row, photos)
        self._batches: Iterator[Any] = iter(())
        self._at = 0  # the row group that `_batches` reads
        self._next = self._rows  # the first row of the batch to come
        self._damaged: dict[int, int] = {}  # by row group: the first row that cannot be read
        self._lock = threading.Lock()

    def size(self, name: str) -> int:
        """The size of the whole file: to know a row's own, its column must be read."""
        return self._size

    def read(self, name: str) -> bytes:
        if not name.isdecimal() or int(name) >= self._rows:
            raise ImageProblem("is not a row of the file")
        with self._lock:
            value = self._undamaged(int(name))
        if value is None:
            raise ImageProblem("holds no bytes")
        check_size(value.size)
        return value.to_pybytes()  # type: ignore[no-any-return]

    def columns(self) -> dict[str, list[str]]:
        """The other columns as text, by name; missing values are ''."""
        return text_columns(self._file)

    def file_names(self) -> list[str]:
        """What the photos were called, where that was kept; else ''."""
        found = self._file.read(columns=[f"{self._column.removesuffix('.bytes')}.path"])
        if not found.num_columns:
            return [""] * self._rows
        return [(value or {}).get("path") or "" for value in found.column(0).to_pylist()]

    def _row_groups(self) -> tuple[list[int], list[int]]:
        about = self._file.metadata
        groups = [about.row_group(group) for group in range(about.num_row_groups)]
        return [group.num_rows for group in groups], [group.total_byte_size for group in groups]

    def _undamaged(self, row: int) -> Any:
        import pyarrow as pa

        group = self._group(row)
        while row < self._damaged.get(group, self._rows):
            try:
                return self._value(row)
            except (pa.ArrowException, OSError):  # in the row's group, or in one on the way to it
                self._damaged[self._at] = self._next
                self._window.clear()
        raise ImageProblem("lies in a damaged part of the file")

    def _value(self, row: int) -> Any:
        """The bytes of a row as an Arrow buffer; None where it is null."""
        if not self._window or row < self._window[0][0] or self._is_far(row):
            self._window.clear()
            self._start_at(self._group(row))
        while row >= self._next:
            batch = next(self._batches, None)
            if batch is None:
                if self._group(self._next) == self._at:
                    raise OSError("fewer rows than its header says")
                self._start_at(self._group(self._next))
                continue
            photos = _flat(batch.column(0))
            self._window.append((self._next, photos))
            self._next += len(photos)
            if self._next == self._end(self._at):  # the group is done: let go of its pages
                self._batches = iter(())
        first, photos = next(batch for batch in reversed(self._window) if batch[0] <= row)
        return photos[row - first].as_buffer()

    def _is_far(self, row: int) -> bool:
        """Whether a leap to the row's group is quicker than going on to it."""
        ahead = self._starts[self._group(row)] > self._next
        return ahead and row - self._next > 4 * self._batch

    def _end(self, group: int) -> int:
        return self._starts[group + 1] if group + 1 < len(self._starts) else self._rows

    def _group(self, row: int) -> int:
        return bisect_right(self._starts, row) - 1

    def _start_at(self, group: int) -> None:
        self._at = group
        self._next = self._starts[group]
        self._batches = self._file.iter_batches(
            self._batch,
            row_groups=[group],
            columns=[self._column],
            use_threads=False,
        )


def image_column(schema: Any) -> str | None:
    """The column of an Arrow schema that holds photos as bytes, as Parquet names it."""
    import pyarrow.types as kinds

    def is_bytes(kind: Any) -> bool:
        return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))

    packed, plain = [], []
    for field in schema:
        if kinds.is_struct(field.type):
            inner = {child.name: child.type for child in field.type}
            if "bytes" in inner and is_bytes(inner["bytes"]):
                packed.append(field.name)
        elif is_bytes(field.type):
            plain.append(field.name)
    for names, ending in ((packed, ".bytes"), (plain, "")):
        best = [name for name in _IMAGE_NAMES if name in names] + names
        if best:
            return f"{best[0]}{ending}"
    return None


def text_columns(file: Any) -> dict[str, list[str]]:
    """The columns of single values of a `pyarrow.parquet.ParquetFile` as text; missing is ''.

    Classes that the hub's metadata names come as their names.
    """
    import pyarrow as pa

    schema = file.schema_arrow
    table = file.read(columns=[field.name for field in schema if _is_single(field.type)])
    classes = _class_names(schema)
    columns: dict[str, list[str]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            values = column.cast(pa.large_string()).to_pylist()
        except pa.ArrowException:  # a kind that Arrow has no text for
            values = [None if value is None else str(value) for value in column.to_pylist()]
        if name in classes:
            values = [_class_name(value, classes[name]) for value in values]
        columns[name] = [(value or "").strip() for value in values]
    return columns


def _is_single(kind: Any) -> bool:
    import pyarrow.types as kinds

    packed = (kinds.is_binary, kinds.is_large_binary, kinds.is_fixed_size_binary, kinds.is_nested)
    return not any(is_kind(kind) for is_kind in packed)


def _class_names(schema: Any) -> dict[str, Sequence[str]]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: [str(word) for word in feature["names"]]
            for name, feature in features.items()
            if feature.get("_type") == "ClassLabel"
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _class_name(value: str | None, names: Sequence[str]) -> str | None:
    """-1 stands for no class."""
    number = int(value) if value and value.lstrip("-").isdecimal() else None
    if number is not None and number < len(names):
        return names[number] if number >= 0 else None
    return value


def _flat(photos: Any) -> Any:
    """The column of bytes itself, out of the struct that it may stand in."""
    import pyarrow.compute as pc

    return pc.struct_field(photos, "bytes") if hasattr(photos, "field") else photos
