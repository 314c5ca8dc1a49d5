"""`.fvecs`, `.bvecs` and `.ivecs`: what goes in comes out, and what is no such file is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embed.errors import UserError
from embed.fvecs import KINDS, Vecs, read_vecs, write_vecs

ANY = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def theirs(path: Path, dtype: str) -> np.ndarray:
    """How TEXMEX's and FAISS's examples read them."""
    raw = np.fromfile(path, dtype=np.uint8)
    dim = int(raw[:4].view("<i4")[0])
    rows = raw.reshape(-1, 4 + dim * np.dtype(dtype).itemsize)
    return np.ascontiguousarray(rows[:, 4:]).view(dtype)


@pytest.mark.parametrize("ending", KINDS)
@given(data=st.data(), n=st.integers(1, 9), dim=st.integers(1, 9), rows=st.integers(1, 4))
@ANY
def test_round_trip(
    ending: str, data: st.DataObject, n: int, dim: int, rows: int, tmp_path: Path
) -> None:
    dtype = KINDS[ending]
    X = data.draw(arrays.arrays(dtype, (n, dim)))
    path = tmp_path / f"x{ending}"
    assert write_vecs(path, (X[i : i + rows] for i in range(0, n, rows))) == n
    assert path.stat().st_size == n * (4 + dim * dtype.itemsize)
    for found in (
        read_vecs(path),
        theirs(path, dtype.str),
        np.concatenate(list(Vecs(path).blocks(rows))),
    ):
        assert found.dtype == dtype
        assert found.tobytes() == X.tobytes()


def test_faiss_reads_and_writes_the_same(tmp_path: Path) -> None:
    from faiss.contrib.vecs_io import fvecs_read, fvecs_write, ivecs_read

    X = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    write_vecs(tmp_path / "x.fvecs", [X])
    np.testing.assert_array_equal(fvecs_read(str(tmp_path / "x.fvecs")), X)
    write_vecs(tmp_path / "x.ivecs", [np.arange(6).reshape(2, 3)])
    np.testing.assert_array_equal(ivecs_read(str(tmp_path / "x.ivecs")), [[0, 1, 2], [3, 4, 5]])
    fvecs_write(str(tmp_path / "y.fvecs"), X)
    np.testing.assert_array_equal(read_vecs(tmp_path / "y.fvecs"), X)


def test_every_shortened_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.fvecs"
    write_vecs(path, [np.ones((3, 2), np.float32)])
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        if size in (12, 24):  # the rows that are left are whole
            assert len(read_vecs(path)) == size // 12
        else:
            with pytest.raises(UserError, match=r"cut off|is no"):
                read_vecs(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "it is empty"),
        (b"\0\0\0\0", "0 values"),
        (b"\xff\xff\xff\xff" + bytes(8), "-1 values"),
        (b"\xff\xff\xff\x7f" + bytes(8), "2,147,483,647 values"),
        (np.array([1, 5, 2, 6, 1, 7], "<i4").tobytes(), "row 2 does not have 1 values"),
    ],
    ids=["empty", "none", "negative", "huge", "mixed"],
)
def test_hostile_files(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.ivecs"
    path.write_bytes(data)
    with pytest.raises(UserError, match=says):
        read_vecs(path)


def test_what_a_kind_cannot_hold(tmp_path: Path) -> None:
    for ending, X in ((".bvecs", [[256]]), (".bvecs", [[-1]]), (".ivecs", [[0.5]])):
        with pytest.raises(ValueError, match="whole numbers"):
            write_vecs(tmp_path / f"x{ending}", [np.array(X)])
    with pytest.raises(ValueError, match="rows, got"):
        write_vecs(tmp_path / "x.fvecs", [np.ones((1, 2)), np.ones((1, 3))])
    with pytest.raises(ValueError, match="one row"):
        write_vecs(tmp_path / "x.fvecs", [])
    assert list(tmp_path.iterdir()) == []


def test_other_endings_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="should end in"):
        read_vecs(tmp_path / "x.vecs")
    (tmp_path / "base.fvecs").touch()
    with pytest.raises(UserError, match=r"Did you mean 'base\.fvecs'"):
        read_vecs(tmp_path / "bases.fvecs")
