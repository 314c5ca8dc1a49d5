"""What a store holds, and whether every vector in it is as it was written."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.files import left_over
from embed.keys import repeated
from embed.making import merged_makers
from embed.parts import (
    ROW_BITS,
    THREADS,
    UNIT,
    DamagedError,
    Part,
    PartError,
    gather,
    part_paths,
    places,
    read_part,
    spec_in,
    unit,
)
from embed.spec import EncoderSpec
from embed.store import EmbeddingStore, bytes_of, read_spec, rows_by_dtype

I64 = NDArray[np.int64]

SAME = 0.999  # cosine of two vectors of one photo: two batches or engines differ by less

_ROWS_AT_ONCE = 2048
_MOVED = "moved to damaged/, its photos are embedded anew"
_ROWS_MOVED = "moved to damaged/, its sound rows are kept in a new part"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in a store."""

    file: str
    kind: Literal["part", "rows", "name", "spec", "scratch"]
    reason: str
    rows: int | None  # how many it touches; None where that cannot be known
    repair: str  # what `cli store repair` does
    bad: tuple[int, ...] = field(default=(), repr=False)  # of kind "rows": which


@dataclass(frozen=True)
class Verified:
    """What `verify` saw."""

    folder: Path
    encoder: str
    parts: int
    rows: int  # of all parts: a key may stand in two
    bytes: int
    findings: list[Finding]

    @property
    def clean(self) -> bool:
        return not self.findings


def verify(folder: Path) -> Verified:
    """Read every byte of the store in `folder`; memory holds 40 bytes a row and a few blocks.

    Safe beside writers and merges. Raises `UserError` where there is no store.
    """
    spec, findings = right_spec(folder)
    seen: dict[Path, _Checked] = {}
    while todo := [path for path in part_paths(folder) if path not in seen]:
        with ThreadPoolExecutor(THREADS) as pool:
            checked = pool.map(lambda path: _check(path, spec), todo)
            seen.update(zip(todo, checked, strict=True))
    good = [one for one in seen.values() if one.part is not None]
    for one in seen.values():
        findings += one.findings
    findings += _contradictions(good)
    for path in left_over(folder):
        reason = "left over by a process that was killed"
        findings.append(Finding(path.name, "scratch", reason, 0, "moved to damaged/"))
    return Verified(
        folder,
        spec.name if spec else folder.name,
        len(seen),
        sum(one.part.rows for one in good if one.part),
        bytes_of(list(seen)),
        findings,
    )


def store_info(folder: Path) -> dict[str, Any]:
    """What the store in `folder` holds, as JSON takes it; `made_by` counts rows by engine.

    Raises `UserError` as `EmbeddingStore.open` does.
    """
    store = EmbeddingStore.open(folder)
    parts = []
    for path in part_paths(folder):
        with suppress(FileNotFoundError):
            parts.append(read_part(path, store.spec))
    return {
        "encoder": store.spec.name,
        "folder": str(folder),
        "spec_digest": store.spec.digest,
        "rows": len(store),
        "parts": len(parts),
        "bytes": bytes_of([part.path for part in parts]),
        "dtypes": dict(rows_by_dtype(parts)),
        "made_by": merged_makers(part.made_by for part in parts),
        "spec": store.spec.to_json(),
    }


@dataclass
class _Checked:
    """A part, with the digests of its keys and the rows that are bad; None: nothing is usable."""

    part: Part | None = None
    raw: bytes = b""
    bad: set[int] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)


def right_spec(folder: Path) -> tuple[EncoderSpec | None, list[Finding]]:
    """What `spec.json` says, or what all parts say where it is damaged."""
    if not folder.is_dir() or not ((folder / "spec.json").exists() or part_paths(folder)):
        raise UserError(f"There are no embeddings in {folder}. Run `cli embed PHOTOS` first.")
    specs = [spec for path in part_paths(folder) if (spec := spec_in(path)) is not None]
    inside = Counter(spec.digest for spec in specs)
    usual = next((s for s in specs if s.digest == inside.most_common(1)[0][0]), None)
    remedy = "moved to damaged/, and written anew from what the parts say"
    try:
        spec = read_spec(folder)
    except UserError:
        if usual is None:
            remedy = "Run `cli embed PHOTOS --rebuild`: no part says what it should be"
        return usual, [Finding("spec.json", "spec", "it cannot be read", 0, remedy)]
    if usual is not None and len(inside) == 1 and spec.digest not in inside:
        differ = "; ".join(spec.differences(usual))
        reason = f"it says something else than all parts ({differ} in the parts)"
        return usual, [Finding("spec.json", "spec", reason, 0, remedy)]
    return spec, []


def _check(path: Path, spec: EncoderSpec | None) -> _Checked:
    try:
        part = read_part(path, spec)
        keys = part.keys().tobytes()
        return _check_rows(part, keys, bytes.fromhex(keys.decode("ascii")))
    except FileNotFoundError:  # merged by another process: its rows are in a part we find next
        return _Checked()
    except PartError as error:
        rows = None
        with suppress(PartError, FileNotFoundError):
            rows = read_part(path, None).rows
        return _Checked(findings=[Finding(path.name, "part", error.why, rows, _MOVED)])
    except ValueError:
        why = "its keys are no SHA-256"
        return _Checked(findings=[Finding(path.name, "part", why, part.rows, _MOVED)])


def _check_rows(part: Part, keys: bytes, raw: bytes) -> _Checked:
    name = part.path.name
    found = _Checked(part, raw)
    bad: dict[str, list[int]] = defaultdict(list)
    digest = hashlib.sha256(keys)
    buffer = part.buffer()
    with part.path.open("rb", buffering=0) as handle:
        for number in range(part.blocks):
            first = number * part.block_rows
            try:
                rows = part.block(handle, number, buffer)
            except DamagedError as error:
                last = min(first + part.block_rows, part.rows)
                bad[error.why] += range(first, last)
                continue
            digest.update(rows.data)
            X = rows.astype(np.float32)
            lengths = np.sqrt(np.einsum("ij,ij->i", X, X))
            finite = np.isfinite(lengths)
            bad["rows that are not finite"] += (first + np.flatnonzero(~finite)).tolist()
            long = finite & (np.abs(lengths - 1) > UNIT)
            bad["rows that are not of length 1"] += (first + np.flatnonzero(long)).tolist()
    found.bad = {row for rows in bad.values() for row in rows}
    bad["keys that stand twice in it"] += _twice(part, raw, found.bad)
    found.bad.update(bad["keys that stand twice in it"])
    for reason, which in bad.items():
        if which:
            found.findings.append(
                Finding(name, "rows", reason, len(which), _ROWS_MOVED, tuple(which))
            )
    if not found.bad and digest.hexdigest() != part.sha256:
        why = "its SHA-256 does not match its content"
        return _Checked(findings=[Finding(name, "part", why, part.rows, _MOVED)])
    if not found.bad and name != (right := right_name(part)):
        why = f"by its content it is called {right}"
        found.findings.append(Finding(name, "name", why, part.rows, "renamed"))
    return found


def right_name(part: Part) -> str:
    return f"part-{part.sha256[:16]}.h5"


def _twice(part: Part, raw: bytes, bad: set[int]) -> list[int]:
    """Rows to drop of keys that stand twice: all but the first, or all where they differ."""
    row, key = _of_sound(*repeated(raw), bad)
    first = np.concatenate([[True], key[1:] != key[:-1]])[: len(key)]
    drop = ~first | _disagree([part], row, key)
    return [int(i) for i in row[drop]]


def _contradictions(checked: Sequence[_Checked]) -> list[Finding]:
    """Keys with different vectors in two parts: nobody knows which is right."""
    parts = [one.part for one in checked if one.part is not None]
    if len(parts) < 2:
        return []
    where = np.concatenate([places(i, part.rows) for i, part in enumerate(parts)])
    row, key = repeated(b"".join(one.raw for one in checked))
    bad = {(i << ROW_BITS) + row for i, one in enumerate(checked) for row in one.bad}
    place, key = _of_sound(where[row], key, bad)
    place = place[_disagree(parts, place, key)]
    reason = "keys that have another vector in another part"
    return [
        Finding(
            part.path.name, "rows", reason, int(mine.sum()), _ROWS_MOVED,
            tuple(np.sort(place[mine] & ((1 << ROW_BITS) - 1)).tolist()),
        )
        for i, part in enumerate(parts)
        if (mine := place >> ROW_BITS == i).any()
    ]  # fmt: skip


def _of_sound(where: I64, key: I64, bad: set[int]) -> tuple[I64, I64]:
    sound = ~np.isin(where, np.fromiter(bad, np.int64, len(bad)))
    return where[sound], key[sound]


def _disagree(parts: Sequence[Part], where: I64, key: I64) -> NDArray[np.bool_]:
    """(m,) whether the row's key has vectors that differ; rows of one key follow on each other."""
    wrong: set[int] = set()
    for start in range(0, len(where), _ROWS_AT_ONCE):
        some = slice(max(0, start - 1), start + _ROWS_AT_ONCE)
        X = np.empty((len(where[some]), parts[0].dim), np.float32)
        with suppress(FileNotFoundError):  # merged by another process
            gather(parts, where[some], X)
            cosines = np.einsum("ij,ij->i", unit(X[1:]), unit(X[:-1]))
            same = key[some][1:] == key[some][:-1]
            wrong.update(key[some][1:][same & (cosines < SAME)].tolist())
    return np.isin(key, np.fromiter(wrong, np.int64, len(wrong)))
