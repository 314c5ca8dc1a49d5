"""The store returns what was put in, in any order, and refuses what is not whole or not its own."""

import errno
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed import files
from embed.encoders import PixelEncoder
from embed.errors import UserError
from embed.files import sha256
from embed.spec import EncoderSpec
from embed.store import EmbeddingStore

SPEC = replace(PixelEncoder().spec, dim=5)


def key(i: int) -> str:
    return sha256(str(i).encode())


def vectors(numbers: list[int]) -> np.ndarray:
    """A unit vector that depends on the number alone."""
    X = np.stack([np.random.default_rng(i).normal(size=5) for i in numbers])
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def filled(folder: Path, numbers: list[int], batch: int = 3) -> EmbeddingStore:
    store = EmbeddingStore.open(folder, SPEC)
    for start in range(0, len(numbers), batch):
        chunk = numbers[start : start + batch]
        store.append([key(i) for i in chunk], vectors(chunk))
    return store


@settings(deadline=None, max_examples=25)
@given(
    stored=st.lists(st.integers(0, 40), min_size=1, max_size=40),
    asked=st.lists(st.integers(0, 40), max_size=30),
    merge=st.booleans(),
)
def test_returns_any_order(
    tmp_path_factory: pytest.TempPathFactory, stored: list[int], asked: list[int], merge: bool
) -> None:
    store = filled(tmp_path_factory.mktemp("store"), stored, batch=2)
    if merge:
        store.compact()
    reopened = EmbeddingStore.open(store.folder)
    there = [i for i in asked if i in stored]
    assert reopened.missing([key(i) for i in asked]) == [
        key(i) for i in dict.fromkeys(asked) if i not in stored
    ]
    if there:
        np.testing.assert_array_equal(reopened.load([key(i) for i in there]), vectors(there))


def test_compact_keeps_all_and_leaves_one_part(tmp_path: Path) -> None:
    store = filled(tmp_path, list(range(40)), batch=2)
    assert len(list(tmp_path.glob("part-*.h5"))) == 20
    reader = EmbeddingStore.open(tmp_path)  # knows the old parts only
    store.compact()
    assert len(list(tmp_path.glob("part-*.h5"))) == 1
    everything = list(range(40))
    np.testing.assert_array_equal(store.load([key(i) for i in everything]), vectors(everything))
    np.testing.assert_array_equal(reader.load([key(i) for i in everything]), vectors(everything))


def test_a_part_written_elsewhere_is_seen(tmp_path: Path) -> None:
    mine, theirs = EmbeddingStore.open(tmp_path, SPEC), EmbeddingStore.open(tmp_path, SPEC)
    theirs.append([key(1)], vectors([1]))
    assert mine.missing([key(1), key(2)]) == [key(2)]


def test_missing_key_names_the_command(tmp_path: Path) -> None:
    store = filled(tmp_path, [1])
    with pytest.raises(UserError, match=r"1 of 2 photos have no 'pixels' embedding.*cli embed"):
        store.load([key(1), key(2)])


def test_another_spec_is_refused_with_what_differs(tmp_path: Path) -> None:
    filled(tmp_path, [1])
    with pytest.raises(UserError, match=r"pooling: max, not avg.*--rebuild"):
        EmbeddingStore.open(tmp_path, replace(SPEC, pooling="max"))


def test_name_and_source_do_not_make_another_spec(tmp_path: Path) -> None:
    filled(tmp_path, [1])
    moved = replace(SPEC, name="mine", source="/elsewhere")
    assert EmbeddingStore.open(tmp_path, moved).missing([key(1)]) == []


def test_spec_survives_json() -> None:
    import json

    assert EncoderSpec.from_json(json.loads(json.dumps(SPEC.to_json()))) == SPEC


@pytest.mark.parametrize("bad", [np.nan, 2.0, 0.0], ids=["nan", "long", "zero"])
def test_rows_that_are_no_unit_vectors_are_a_bug(tmp_path: Path, bad: float) -> None:
    store = EmbeddingStore.open(tmp_path, SPEC)
    X = vectors([1, 2])
    X[1] = bad
    with pytest.raises(ValueError, match="unit rows"):
        store.append([key(1), key(2)], X)
    assert not list(tmp_path.glob("part-*"))


def test_truncated_part_is_named(tmp_path: Path) -> None:
    filled(tmp_path, [1])
    part = next(tmp_path.glob("part-*.h5"))
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"{part.name} is damaged"):
        EmbeddingStore.open(tmp_path).load([key(1)])


def test_flipped_bit_is_found(tmp_path: Path) -> None:
    filled(tmp_path, [1, 2])
    part = next(tmp_path.glob("part-*.h5"))
    with h5py.File(part, "r+") as handle:
        X = handle["vectors"][:]
        X[0] = -X[0]  # still a unit row
        handle["vectors"][:] = X
    with pytest.raises(UserError, match="checksum"):
        EmbeddingStore.open(tmp_path).load([key(1)])


def test_foreign_part_is_refused(tmp_path: Path) -> None:
    other = EmbeddingStore.open(tmp_path / "other", replace(SPEC, pooling="max"))
    other.append([key(1)], vectors([1]))
    filled(tmp_path / "mine", [2])
    part = next((tmp_path / "other").glob("part-*.h5"))
    part.rename(tmp_path / "mine" / part.name)
    with pytest.raises(UserError, match="another encoder spec"):
        EmbeddingStore.open(tmp_path / "mine")


def test_half_written_file_is_not_read(tmp_path: Path) -> None:
    filled(tmp_path, [1])
    (tmp_path / ".part-0123.h5.1-ab.tmp").write_bytes(b"\x89HDF\r\n\x1a\n half")
    assert len(EmbeddingStore.open(tmp_path)) == 1


def test_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path, [1])

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left.*same command again"):
        store.append([key(2)], vectors([2]))
    monkeypatch.undo()
    again = EmbeddingStore.open(tmp_path)
    assert again.missing([key(1), key(2)]) == [key(2)]
    assert not list(tmp_path.glob(".*"))


def _write_and_merge(folder: Path, start: int) -> None:
    store = filled(folder, list(range(start, start + 30)), batch=3)
    store.compact()


def test_four_writers_side_by_side(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_write_and_merge, args=(tmp_path, start))
        for start in (0, 15, 30, 45)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    store = EmbeddingStore.open(tmp_path)
    everything = list(range(75))
    np.testing.assert_array_equal(store.load([key(i) for i in everything]), vectors(everything))


def test_a_killed_process_leaves_nothing_for_long(tmp_path: Path) -> None:
    store = filled(tmp_path, [1])
    old, young = tmp_path / ".part-a.h5.1-a.tmp", tmp_path / ".part-b.h5.1-b.tmp"
    for scratch in (old, young):
        scratch.write_bytes(b"half")
    os.utime(old, (0, 0))
    store.compact()
    assert (old.exists(), young.exists()) == (False, True)
