"""`verify` finds every kind of damage, `set_bad_aside` keeps what is sound and deletes nothing."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from embed import making
from embed.encoder import PixelEncoder
from embed.errors import UserError
from embed.files import sha256
from embed.making import made_by, write_part
from embed.parts import DTYPES
from embed.repair import set_bad_aside
from embed.store import EmbeddingStore
from embed.verify import Verified, store_info, verify

SPEC = replace(PixelEncoder().spec, dim=24)
F32, F16 = DTYPES["float32"], DTYPES["float16"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "_BLOCK_BYTES", 8 * 24 * 4)  # eight rows


def key(i: int) -> str:
    return sha256(str(i).encode())


def vectors(numbers: range | list[int]) -> np.ndarray:
    X = np.stack([np.random.default_rng(i).normal(size=24) for i in numbers])
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def filled(folder: Path, *batches: range, dtype: str | None = None) -> Path:
    store = EmbeddingStore.open(folder, SPEC, dtype)
    for numbers in batches:
        store.append([key(i) for i in numbers], vectors(numbers), "test engine")
    return folder


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.h5"))


def written(folder: Path, keys: list[str], X: np.ndarray) -> Path:
    """A part as no encoder of ours writes it."""
    names = np.array(keys, dtype="S64")
    blocks = [X[i : i + 8] for i in range(0, len(X), 8)]
    part = write_part(folder, SPEC, names, X.dtype, lambda: blocks, made_by("", len(keys)))
    return part.path


def reasons(seen: Verified) -> list[str]:
    return [finding.reason for finding in seen.findings]


def mended(folder: Path, lost: set[int], there: range) -> None:
    """After setting aside the store is clean, lost keys are named and all others still there."""
    before = {p.name: p.read_bytes() for p in folder.glob("part-*.h5")}
    keys = set_bad_aside(folder, verify(folder).findings)
    assert set(keys) == {key(i) for i in lost}
    assert verify(folder).findings == []
    store = EmbeddingStore.open(folder)
    stay = [i for i in there if i not in lost]
    assert store.missing([key(i) for i in there]) == [key(i) for i in there if i in lost]
    if stay:
        np.testing.assert_array_equal(store.load([key(i) for i in stay]), vectors(stay))
    now = {p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert set(before.values()) <= now  # nothing was deleted


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_sound_store(dtype: str, tmp_path: Path) -> None:
    seen = verify(filled(tmp_path, range(20), range(20, 33), dtype=dtype))
    assert seen.clean
    assert (seen.parts, seen.rows) == (2, 33)


def test_every_flipped_byte_is_found_or_does_no_harm(tmp_path: Path) -> None:
    filled(tmp_path, range(20))
    part = parts(tmp_path)[0]
    data = part.read_bytes()
    with h5py.File(part) as handle:
        rows = {name: handle[name].id.get_offset() for name in ("keys", "vectors")}
    rng = np.random.default_rng(0)
    structure = [at for at in range(len(data)) if at < rows["keys"]]
    structure += range(rows["vectors"] + 20 * 24 * 4, len(data))
    places = [*rng.choice(structure, 250), *rng.choice(np.arange(rows["keys"], len(data)), 100)]
    harmless = 0
    for at in places:
        damaged = bytearray(data)
        damaged[at] ^= int(rng.integers(1, 256))
        part.write_bytes(damaged)
        try:
            X = EmbeddingStore.open(tmp_path).load([key(i) for i in range(20)])
        except UserError:
            assert verify(tmp_path).findings, at
        else:
            np.testing.assert_array_equal(X, vectors(range(20)))
        if verify(tmp_path).clean:
            harmless += 1
            assert at in structure
            with h5py.File(part) as handle:  # nor is it read otherwise by other programs
                np.testing.assert_array_equal(handle["vectors"][:], vectors(range(20)))
                assert handle["keys"][3].decode() == key(3)
            np.testing.assert_array_equal(
                EmbeddingStore.open(tmp_path).load([key(5)]), vectors([5])
            )
        else:
            with pytest.raises(UserError):
                EmbeddingStore.open(tmp_path).load([key(i) for i in range(20)])
    assert 0 < harmless < 250  # padding of the file's structures


@pytest.mark.parametrize("length", [0, 7, 100, 3000, -1, -500])
def test_truncated(length: int, tmp_path: Path) -> None:
    filled(tmp_path, range(20), range(20, 33))
    part = next(path for path in parts(tmp_path) if len(h5py_keys(path)) == 20)
    part.write_bytes(part.read_bytes()[:length])
    assert len(verify(tmp_path).findings) == 1
    set_bad_aside(tmp_path, verify(tmp_path).findings)
    assert verify(tmp_path).clean
    assert len(EmbeddingStore.open(tmp_path)) == 13
    assert (tmp_path / "damaged" / part.name).exists()


def h5py_keys(path: Path) -> np.ndarray:
    with h5py.File(path) as handle:
        return np.asarray(handle["keys"][:])


def test_a_damaged_block_costs_only_its_rows(tmp_path: Path) -> None:
    filled(tmp_path, range(20))
    part = parts(tmp_path)[0]
    data = bytearray(part.read_bytes())
    with h5py.File(part) as handle:
        at = handle["vectors"].id.get_offset() + 9 * 24 * 4
    data[at] ^= 1
    part.write_bytes(data)
    seen = verify(tmp_path)
    assert [(f.kind, f.rows) for f in seen.findings] == [("rows", 8)]
    assert EmbeddingStore.open(tmp_path).load([key(3)]).shape == (1, 24)  # of another block
    mended(tmp_path, set(range(8, 16)), range(20))
    assert store_info(tmp_path)["made_by"][0]["engine"] == "test engine"


def test_rows_that_are_no_unit_vectors(tmp_path: Path) -> None:
    filled(tmp_path, range(5))
    X = vectors(range(10, 20))
    X[2], X[5, 1], X[7, 0] = 2 * X[2], np.nan, np.inf
    written(tmp_path, [key(i) for i in range(10, 20)], X)
    assert sorted(reasons(verify(tmp_path))) == [
        "rows that are not finite",
        "rows that are not of length 1",
    ]
    mended(tmp_path, {12, 15, 17}, range(10, 20))


def test_keys_that_stand_twice_in_a_part(tmp_path: Path) -> None:
    filled(tmp_path, range(5))
    X = vectors([10, 10, 11, 12, 13, 13])
    X[4] = X[0]  # 13 contradicts itself
    written(tmp_path, [key(i) for i in (10, 10, 11, 12, 13, 13)], X)
    (found,) = verify(tmp_path).findings
    assert (found.reason, found.bad) == ("keys that stand twice in it", (1, 4, 5))
    mended(tmp_path, {13}, range(10, 14))


def test_a_key_in_two_parts(tmp_path: Path) -> None:
    """With one vector it is fine, also rounded; with two nobody knows which is right."""
    filled(tmp_path, range(10), range(5, 15))
    filled(tmp_path, range(3), dtype="float16")
    assert verify(tmp_path).clean
    X = vectors([7, 20, 21])
    X[0] = X[1]
    written(tmp_path, [key(i) for i in (7, 20, 21)], X)
    seen = verify(tmp_path)
    assert {(f.reason, f.rows) for f in seen.findings} == {
        ("keys that have another vector in another part", 1)
    }
    assert len(seen.findings) == 3
    mended(tmp_path, {7}, range(3, 15))


def test_a_part_of_another_spec_or_program(tmp_path: Path) -> None:
    filled(tmp_path, range(5))
    filled(tmp_path, range(10, 14))
    other = EmbeddingStore.open(tmp_path / "other", replace(SPEC, pooling="max"))
    other.append([key(30)], vectors([30]))
    foreign = parts(tmp_path / "other")[0]
    foreign.rename(tmp_path / foreign.name)
    with h5py.File(tmp_path / "part-mine.h5", "w") as handle:
        handle["x"] = np.arange(3)
    (tmp_path / "part-notes.h5").write_text("not ours")
    shutil.rmtree(tmp_path / "other")
    found = {f.file: f.reason for f in verify(tmp_path).findings}
    assert "another encoder spec" in found[foreign.name]
    assert "no part of this program" in found["part-mine.h5"]
    assert "no readable HDF5" in found["part-notes.h5"]
    mended(tmp_path, {30}, range(5))


@pytest.mark.parametrize(
    ("dim", "kind", "says"), [(23, F32, "expected 4 vectors of 24"), (24, np.dtype("<f8"), "f")]
)
def test_wrong_dimensions_and_dtype(dim: int, kind: np.dtype, says: str, tmp_path: Path) -> None:
    filled(tmp_path, range(10, 14))
    X = vectors(range(4))[:, :dim].astype(kind)
    path = written(tmp_path / "elsewhere", [key(i) for i in range(4)], vectors(range(4)))
    with h5py.File(path, "r+") as handle:
        del handle["vectors"]
        handle["vectors"] = X
    path.rename(tmp_path / path.name)
    (found,) = verify(tmp_path).findings
    assert (found.kind, found.file) == ("part", path.name)
    assert says in found.reason
    mended(tmp_path, set(), range(10, 14))


def test_a_part_under_another_name(tmp_path: Path) -> None:
    filled(tmp_path, range(5), range(5, 9))
    one, two = parts(tmp_path)
    one.rename(tmp_path / "part-0000000000000000.h5")
    shutil.copy(two, tmp_path / "part-copy.h5")
    assert [f.kind for f in verify(tmp_path).findings] == ["name", "name"]
    mended(tmp_path, set(), range(9))
    assert parts(tmp_path) == [one, two]


def _broken(text: str) -> str:
    return text[:20]


def _changed(text: str) -> str:
    return text.replace('"avg"', '"avh"')


def _gone(text: str) -> str:
    return ""


@pytest.mark.parametrize("damage", [_broken, _changed, _gone])
def test_a_damaged_spec_is_written_anew(damage: Callable[[str], str], tmp_path: Path) -> None:
    filled(tmp_path, range(5), range(5, 9))
    path = tmp_path / "spec.json"
    before = json.loads(path.read_text())
    path.write_text(damage(path.read_text()))
    if not path.read_text():
        path.unlink()
    assert [f.kind for f in verify(tmp_path).findings] == ["spec"]
    mended(tmp_path, set(), range(9))
    assert json.loads(path.read_text()) == before


def test_a_damaged_spec_without_parts_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{")
    with pytest.raises(UserError, match="--rebuild"):
        set_bad_aside(tmp_path, verify(tmp_path).findings)


def test_scratch_files_count_when_they_are_old(tmp_path: Path) -> None:
    filled(tmp_path, range(5))
    old, young = tmp_path / ".part-a.h5.1-a.tmp", tmp_path / ".part-b.h5.1-b.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert [f.file for f in verify(tmp_path).findings] == [old.name]
    mended(tmp_path, set(), range(5))
    assert young.exists()


def test_where_there_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cli embed PHOTOS"):
        verify(tmp_path / "none")


def test_setting_aside_twice_keeps_both(tmp_path: Path) -> None:
    for _ in range(2):
        filled(tmp_path, range(5))
        parts(tmp_path)[0].write_bytes(b"broken")
        set_bad_aside(tmp_path, verify(tmp_path).findings)
    assert len(list((tmp_path / "damaged").iterdir())) == 2


def test_info_counts_rows_by_engine_and_dtype(tmp_path: Path) -> None:
    store = EmbeddingStore.open(tmp_path, SPEC)
    store.append([key(i) for i in range(7)], vectors(range(7)), "openvino, cpu, bf16")
    store = EmbeddingStore.open(tmp_path, SPEC, "float16")
    store.append([key(i) for i in range(7, 10)], vectors(range(7, 10)), "torch, cpu")
    info = json.loads(json.dumps(store_info(tmp_path)))
    assert (info["rows"], info["parts"], info["encoder"]) == (10, 2, "pixels")
    assert info["dtypes"] == {"float32": 7, "float16": 3}
    assert {m["engine"]: m["rows"] for m in info["made_by"]} == {
        "openvino, cpu, bf16": 7,
        "torch, cpu": 3,
    }
    assert "numpy" in info["made_by"][0]["versions"]
    assert info["bytes"] == sum(path.stat().st_size for path in parts(tmp_path))
