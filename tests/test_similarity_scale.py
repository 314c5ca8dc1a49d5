"""A percentile is the share of pairs that are less alike, counted one by one."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.base import unit_rows
from retrieval import similarity_scale as module
from retrieval.index import exact_cosines
from retrieval.similarity_scale import SAMPLE, SimilarityScale, open_scale, sample


def rows_of(n: int, dim: int = 12, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return unit_rows((rng.normal(size=(n, dim)) + rng.normal(size=dim)).astype(np.float32))


@settings(deadline=None, max_examples=30)
@given(n=st.integers(15, 40), copies=st.integers(0, 8), seed=st.integers(0, 1000))
def test_percentile_is_the_naive_count(n: int, copies: int, seed: int) -> None:
    X = rows_of(n, seed=seed)
    X = np.concatenate([X, X[:copies]])  # pairs that tie, at 1 and elsewhere
    pairs = [float(exact_cosines(X[[j]], X[i])[0]) for i, j in combinations(range(len(X)), 2)]
    scale = SimilarityScale.of(X)
    assert scale.pairs == len(pairs)
    asked = np.array([*pairs[:50], -1, 0, 1], dtype=np.float32)
    naive = [sum(pair < cosine for pair in pairs) / len(pairs) * 100 for cosine in asked]
    found = scale.percentile(asked)
    told = np.array(naive) < scale.highest
    assert told.any()
    assert (~told).any()
    # two digits, never rounded up
    assert ((found <= np.array(naive) + 1e-9) & (found > np.array(naive) - 0.01))[told].all()
    assert (found[~told] == scale.highest).all()


def test_ten_pairs_must_lie_above_what_is_told() -> None:
    scale = SimilarityScale(np.linspace(-1, 1, 1000, dtype=np.float32), "")
    assert scale.highest == 99.0
    assert scale.percentile(scale.cosines[[989, 990, 999]]).tolist() == [98.9, 99.0, 99.0]
    assert "of 1,000 random pairs" in scale.note
    assert "99.00 is the highest told" in scale.note
    million = SimilarityScale(np.linspace(-1, 1, 1_124_250, dtype=np.float32), "")
    assert million.percentile(np.ones(1, np.float32)).tolist() == [99.99]


def test_few_pairs_tell_nothing() -> None:
    scale = SimilarityScale.of(rows_of(14))  # 91 pairs
    assert np.isnan(scale.percentile(np.ones(2, np.float32))).all()
    assert scale.note == ""
    assert SimilarityScale.of(rows_of(1)).pairs == 0


def test_a_sample_stands_for_all_pairs() -> None:
    assert sample(40).tolist() == list(range(40))
    chosen = sample(100_000)
    assert len(set(chosen.tolist())) == SAMPLE
    assert (np.diff(chosen) > 0).all()
    assert chosen.max() > 90_000
    np.testing.assert_array_equal(chosen, sample(100_000))
    X = rows_of(4000)
    every, some = SimilarityScale.of(X), SimilarityScale.of(X[sample(4000)])
    at = np.quantile(every.cosines, [0.1, 0.5, 0.9, 0.99])
    np.testing.assert_allclose(some.percentile(at), [10, 50, 90, 99], atol=1.5)


def test_it_is_made_once_for_a_collection(tmp_path: Path) -> None:
    X, file = rows_of(60), tmp_path / "new" / "scale.npz"
    first = open_scale(file, "a", 60, lambda rows: X[rows])

    def read(rows: np.ndarray) -> np.ndarray:
        raise AssertionError("vectors were read")

    again = open_scale(file, "a", 60, read)
    np.testing.assert_array_equal(first.cosines, again.cosines)
    with pytest.raises(AssertionError, match="were read"):
        open_scale(file, "another collection", 60, read)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    for damaged in (bytes(data), data[:100], b""):
        file.write_bytes(damaged)
        assert SimilarityScale.load(file, "a") is None
        mended = open_scale(file, "a", 60, lambda rows: X[rows])
        np.testing.assert_array_equal(mended.cosines, first.cosines)


def test_one_that_cannot_be_saved_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(module.SimilarityScale, "save", full)
    assert open_scale(tmp_path / "scale.npz", "a", 60, lambda rows: rows_of(60)[rows]).pairs == 1770
