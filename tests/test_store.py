"""The store returns what was put in, in any order, and refuses what is not whole or not its own."""

import errno
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed import files, making, store
from embed.encoder import PixelEncoder
from embed.errors import UserError
from embed.files import sha256
from embed.keys import KeyIndex, digests, repeated
from embed.parts import check
from embed.spec import EncoderSpec
from embed.store import EmbeddingStore
from embed.verify import store_info, verify

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
    store = EmbeddingStore.open(folder, SPEC)
    for first in range(start, start + 50):
        chunk = list(range(first, first + 3))
        store.append([key(i) for i in chunk], vectors(chunk), f"writer {start}")
        if first % 10 == 0:
            store.compact(force=True)
    store.compact(force=True)


@pytest.mark.parametrize("count", [2, 4])
def test_writers_side_by_side(count: int, tmp_path: Path) -> None:
    """Each writes rows of its neighbour's too, and merges whatever lies there."""
    context = multiprocessing.get_context("spawn")
    starts = range(0, 30 * count, 30)
    writers = [context.Process(target=_write_and_merge, args=(tmp_path, start)) for start in starts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    assert verify(tmp_path).findings == []
    store = EmbeddingStore.open(tmp_path)
    everything = list(range(30 * count + 22))
    assert len(store) == len(everything)
    np.testing.assert_array_equal(store.load([key(i) for i in everything]), vectors(everything))
    assert not list(tmp_path.glob(".*"))


def test_one_thread_appends_while_others_look(tmp_path: Path) -> None:
    """The engine saves a batch while it asks for the next; other processes write as well."""
    mine, theirs = EmbeddingStore.open(tmp_path, SPEC), EmbeddingStore.open(tmp_path, SPEC)

    def write(made: EmbeddingStore, first: int) -> None:
        for i in range(first, 150, 2):
            made.append([key(i)], vectors([i]))

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, mine, 0), pool.submit(write, theirs, 1)]
        while not all(writer.done() for writer in writers):
            absent = set(mine.missing([key(i) for i in range(150)]))
            there = [i for i in range(150) if key(i) not in absent]
            assert all(key(i) in mine for i in there)
            np.testing.assert_array_equal(
                mine.load([key(i) for i in there]), vectors([*there, 0])[:-1]
            )
        for writer in writers:
            writer.result()
    assert mine.missing([key(i) for i in range(150)]) == []


def test_a_killed_process_leaves_nothing_for_long(tmp_path: Path) -> None:
    store = filled(tmp_path, [1])
    old, young = tmp_path / ".part-a.h5.1-a.tmp", tmp_path / ".part-b.h5.1-b.tmp"
    for scratch in (old, young):
        scratch.write_bytes(b"half")
    os.utime(old, (0, 0))
    store.compact()
    assert (old.exists(), young.exists()) == (False, True)


# ---- what is on the disk


def test_float16_takes_half_and_loads_unit_rows(tmp_path: Path) -> None:
    numbers = list(range(50))
    for dtype in ("float32", "float16"):
        made = EmbeddingStore.open(tmp_path / dtype, SPEC, dtype)
        made.append([key(i) for i in numbers], vectors(numbers))
    part = next((tmp_path / "float16").glob("part-*.h5"))
    with h5py.File(part) as handle:
        assert handle["vectors"].dtype == np.float16
    X = EmbeddingStore.open(tmp_path / "float16").load([key(i) for i in numbers])
    assert X.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(X, vectors(numbers), atol=5e-4)
    assert not np.array_equal(X, vectors(numbers))
    made.compact(force=True)
    np.testing.assert_array_equal(made.load([key(i) for i in numbers]), X)


def test_parts_of_both_kinds_side_by_side(tmp_path: Path) -> None:
    filled(tmp_path, [1, 2, 3, 4], batch=2)
    small = EmbeddingStore.open(tmp_path, SPEC, "float16")
    small.append([key(5)], vectors([5]))
    small.append([key(6)], vectors([6]))
    assert small.compact(force=True).parts_after == 2  # numbers are not changed by merging
    again = EmbeddingStore.open(tmp_path)
    np.testing.assert_array_equal(again.load([key(i) for i in (4, 1)]), vectors([4, 1]))
    np.testing.assert_allclose(again.load([key(6), key(2)]), vectors([6, 2]), atol=5e-4)


def test_a_store_goes_on_in_the_kind_it_has(tmp_path: Path) -> None:
    EmbeddingStore.open(tmp_path, SPEC, "float16").append([key(1)], vectors([1]))
    EmbeddingStore.open(tmp_path, SPEC).append([key(2)], vectors([2]))
    assert store_info(tmp_path)["dtypes"] == {"float16": 2}


def test_who_made_it_does_not_name_the_part(tmp_path: Path) -> None:
    names = []
    for engine in ("openvino", "torch"):
        made = EmbeddingStore.open(tmp_path / engine, SPEC)
        made.append([key(1), key(2)], vectors([1, 2]), engine)
        names.append(next(made.folder.glob("part-*.h5")).name)
        assert store_info(made.folder)["made_by"][0]["engine"] == engine
    assert names[0] == names[1]


def test_merging_keeps_who_made_it(tmp_path: Path) -> None:
    made = EmbeddingStore.open(tmp_path, SPEC)
    for i in range(6):
        made.append([key(i)], vectors([i]), "torch" if i % 3 else "openvino")
    made.compact(force=True)
    makers = store_info(tmp_path)["made_by"]
    assert {maker["engine"]: maker["rows"] for maker in makers} == {"torch": 4, "openvino": 2}


def test_of_a_key_given_twice_the_first_row_stays(tmp_path: Path) -> None:
    made = EmbeddingStore.open(tmp_path, SPEC)
    made.append([key(2), key(1), key(2)], vectors([2, 1, 3]))
    assert verify(tmp_path).findings == []
    np.testing.assert_array_equal(made.load([key(1), key(2)]), vectors([1, 2]))


def test_nothing_is_no_part(tmp_path: Path) -> None:
    made = EmbeddingStore.open(tmp_path, SPEC)
    made.append([], np.empty((0, 5), np.float32))
    assert (len(made), list(tmp_path.glob("part-*"))) == (0, [])
    assert made.load([]).shape == (0, 5)


def test_a_writer_merges_its_small_parts_on_its_way(tmp_path: Path) -> None:
    """A run over a million photos does not leave a hundred thousand files to look through."""
    made = filled(tmp_path, list(range(200)), batch=1)
    assert len(list(tmp_path.glob("part-*.h5"))) < 70
    everything = list(range(200))
    np.testing.assert_array_equal(made.load([key(i) for i in everything]), vectors(everything))
    assert verify(tmp_path).findings == []


def test_a_file_gone_while_another_is_written_is_not_blamed_on_that(tmp_path: Path) -> None:
    """A merge reads parts that another process may have merged: it must hear so."""
    with pytest.raises(FileNotFoundError), files.whole_file(tmp_path / "written"):
        (tmp_path / "gone").read_bytes()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="cannot be written"), files.whole_file(tmp_path / "a"):
        raise FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path))


def test_large_appends_and_merges_stay_in_parts_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ROWS_A_PART", 10)
    made = filled(tmp_path, list(range(25)), batch=25)
    assert len(list(tmp_path.glob("part-*.h5"))) == 3
    filled(tmp_path, list(range(30, 42)), batch=2)
    made.compact(force=True)
    rows = [len(h5py.File(path)["keys"]) for path in tmp_path.glob("part-*.h5")]
    assert (max(rows), sum(rows)) == (10, 37)


def test_a_part_written_anew_with_its_rows_elsewhere_is_no_damage(tmp_path: Path) -> None:
    """Another process saves the same vectors: the same name, but more is said of who made it."""
    made = EmbeddingStore.open(tmp_path, SPEC)
    made.append([key(1), key(2)], vectors([1, 2]), "a")
    EmbeddingStore.open(tmp_path).append([key(1), key(2)], vectors([1, 2]), "b" * 5000)
    np.testing.assert_array_equal(made.load([key(2)]), vectors([2]))


@settings(deadline=None, max_examples=25)
@given(asked=st.lists(st.integers(0, 99), max_size=60), block=st.integers(1, 40))
def test_rows_of_any_block(
    tmp_path_factory: pytest.TempPathFactory, asked: list[int], block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "_BLOCK_BYTES", block * 20)
        made = filled(tmp_path_factory.mktemp("store"), list(range(100)), batch=50)
    np.testing.assert_array_equal(
        made.load([key(i) for i in asked]), vectors([*asked, 0])[: len(asked)]
    )


@given(st.binary(min_size=1, max_size=20_000), st.data())
def test_any_changed_byte_changes_the_check(data: bytes, draw: st.DataObject) -> None:
    changed = bytearray(data)
    at = draw.draw(st.integers(0, len(data) - 1))
    changed[at] ^= draw.draw(st.integers(1, 255))
    before, after = (check(np.frombuffer(bytes(d), np.uint8)) for d in (data, changed))
    assert before != after


def test_moved_pages_change_the_check() -> None:
    data = np.random.default_rng(0).integers(0, 256, 1 << 19, dtype=np.uint8)
    pages = data.reshape(-1, 4096)
    for i, j in ((0, 1), (0, 2), (3, 127)):
        moved = pages.copy()
        moved[[i, j]] = pages[[j, i]]
        assert check(moved.reshape(-1)) != check(data)


def test_what_hdf5_says_of_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = filled(tmp_path, [1])

    def full(*_: object) -> None:
        raise RuntimeError("flush failed (file write failed: errno = 28, error message = …)")

    monkeypatch.setattr(making, "_reserve", full)
    with pytest.raises(UserError, match=r"No space left.*same command again"):
        made.append([key(2)], vectors([2]))
    monkeypatch.undo()
    assert not list(tmp_path.glob(".*"))
    made.append([key(2)], vectors([2]))


# ---- keys


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 60), max_size=30, unique=True), st.integers(0, 9)),
        max_size=8,
    ),
    st.integers(1, 50),
)
def test_the_index_is_a_dict(adds: list[tuple[list[int], int]], few: int) -> None:
    """Also where several keys share a 64-bit hash: here every other one does."""
    index, expected = KeyIndex(), dict[str, int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embed.keys._FEW", few)
        patch.setattr("embed.keys._ODD", (1 << 63, 0, 0, 1 << 63))
        for numbers, place in adds:
            names = [f"{i:064x}" for i in numbers]
            places = np.arange(len(names), dtype=np.int64) + 100 * place
            index.add(digests(names), places)
            expected.update(zip(names, places.tolist(), strict=True))
            asked = [f"{i:064x}" for i in range(60, -1, -1)]
            found = index.find(digests(asked)).tolist()
            assert found == [expected.get(name, -1) for name in asked]
            assert [bytes.fromhex(name) in index for name in asked] == [f >= 0 for f in found]
        assert len(index) == len(expected)


@given(st.lists(st.integers(0, 9), max_size=40))
def test_repeated_keys(numbers: list[int]) -> None:
    row, number = repeated(digests([f"{i:064x}" for i in numbers]))
    groups = [row[number == n].tolist() for n in dict.fromkeys(number.tolist())]
    where = {i: [at for at, j in enumerate(numbers) if i == j] for i in numbers}
    assert sorted(groups) == sorted(rows for rows in where.values() if len(rows) > 1)


@pytest.mark.parametrize(
    "keys", [["a" * 63, "b" * 65], ["g" * 64], ["ab\n" + "c" * 61, "d" * 66], ["a" * 32]]
)
def test_what_is_no_sha256_is_no_key(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        digests(keys)
