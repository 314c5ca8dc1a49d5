"""Candidates and their columns: what a photo that is left out sees, by really leaving it out."""

from typing import Any

import numpy as np
import pytest
from conftest import embeddings
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.base import unit_rows
from classify.candidates import COLUMNS, NEAREST, VOTE_TEMPERATURE, pairs, pairs_left_out
from classify.spaces import Bank, blocks, make_bank, whitening


def bank_of(
    sizes: tuple[int, ...], dim: int, spread: float = 1.0, widths: tuple[int, ...] = ()
) -> tuple[Any, Any, Bank, Any]:
    """Rows, class numbers, their bank; and of the whitening the weight of S and the diagonal."""
    X, y = embeddings(sizes, dim=dim, spread=spread)
    X = unit_rows(X * np.geomspace(1, 0.1, dim, dtype=np.float32))  # something to whiten
    index = np.unique(y, return_inverse=True)[1]
    X, index = X[np.argsort(index, kind="stable")], np.sort(index)
    parts = blocks(X, widths)
    found = [whitening(part, index) for part in parts]
    share = np.repeat([each.shrinkage for each in found], [part.shape[1] for part in parts])
    mean = [np.trace(scatter_within(part, index)) / part.shape[1] for part in parts]
    diagonal = share * np.repeat(mean, [part.shape[1] for part in parts])
    inside = np.sqrt((1 - share)[:, None] * (1 - share))
    at = 0
    for part in parts:  # encoders are whitened apart
        width = part.shape[1]
        inside[at : at + width, at + width :] = inside[at + width :, at : at + width] = 0
        at += width
    return X.astype(float), index, make_bank(X, index, found), (inside, np.diag(diagonal))


def scatter_within(X: Any, index: Any) -> Any:
    scatter = np.zeros((X.shape[1], X.shape[1]))
    for c in np.unique(index):
        within = X[index == c].astype(float) - X[index == c].mean(axis=0, dtype=float)
        scatter += within.T @ within
    return scatter


def naive(X: Any, index: Any, members: Any, query: Any, weights: Any) -> dict[str, Any]:
    """Columns (C,) of one photo by the definitions: `X` (n, dim) whitens, `members` are seen."""
    n_classes = index.max() + 1
    scatter = scatter_within(X, index)
    inverse = np.linalg.inv(weights[0] * scatter + weights[1])
    freedom = len(X) - len(np.unique(index))
    columns: dict[str, Any] = {name: np.full(n_classes, np.nan) for name in COLUMNS}
    for space, A in {"raw": np.eye(len(inverse)), "whitened": inverse}.items():

        def cosine(a: Any, b: Any, A: Any = A) -> float:
            return float(a @ A @ b / np.sqrt((a @ A @ a) * (b @ A @ b)))

        everyone = np.array([cosine(query, X[j]) for j in members])
        nearest = np.argsort(-everyone)[:50]
        for c in range(n_classes):
            mine = members[index[members] == c]
            if len(mine) == 0:
                continue
            near = np.sort([cosine(query, X[j]) for j in mine])[::-1][:NEAREST]
            for place, value in enumerate(near, start=1):
                columns[f"{space}_member_{place}"][c] = value
            columns[f"{space}_members"][c] = near.mean()
            centroid = X[mine].mean(axis=0)
            columns[f"{space}_centroid"][c] = cosine(query, centroid)
            for m in (5, 15, 50):
                voters = nearest[:m]
                weight = np.exp((everyone[voters] - everyone.max()) / VOTE_TEMPERATURE)
                hit = index[members[voters]] == c
                columns[f"{space}_votes_{m}"][c] = weight[hit].sum() / weight.sum()
            if space == "whitened":
                odds = freedom * (query @ A @ centroid - centroid @ A @ centroid / 2)
                columns["lda"][c] = odds
            columns["log_size"][c] = np.log(len(mine))
    return columns


def seen(members: Any, index: Any, i: int, sizes: Any) -> Any:
    """The bank without photo i and, of each other class, member i modulo its size."""
    starts = np.cumsum(sizes) - sizes
    out = [
        i,
        *(s + i % n for c, (s, n) in enumerate(zip(starts, sizes, strict=True)) if c != index[i]),
    ]
    return np.setdiff1d(members, out)


def assert_columns(found: Any, candidates: Any, expected: dict[str, Any]) -> None:
    table = np.stack([values[candidates] for values in expected.values()], axis=1)
    for f, name in enumerate(COLUMNS):
        base, _, way = name.rpartition("_")
        if way in ("gap", "rank"):
            values = found[:, COLUMNS.index(base)]
            others = [np.delete(values, j) for j in range(len(values))]
            if way == "gap":
                table[:, f] = [v - o.max() for v, o in zip(values, others, strict=True)]
            else:
                table[:, f] = [(o > v).sum() for v, o in zip(values, others, strict=True)]
        scale = 0.02 if base == "lda" or name == "lda" else 4e-4
        np.testing.assert_allclose(found[:, f], table[:, f], atol=scale, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize(("dim", "widths"), [(4, ()), (12, ()), (70, ()), (14, (5, 6))])
def test_left_out_columns_are_those_without_the_photo(dim: int, widths: tuple[int, ...]) -> None:
    """Also where there are more dimensions than photos; whitening, centroids and votes."""
    sizes = np.array([9, 2, 14, 5, 1, 7])
    X, index, bank, weights = bank_of(tuple(sizes), dim, widths=widths)
    everyone = np.arange(len(X))
    numbers = np.flatnonzero(sizes[index] > 1)
    found = pairs_left_out(bank, 4, numbers)
    for i, candidates, columns in zip(numbers, *found, strict=True):
        kept = np.delete(everyone, i)
        members = np.searchsorted(kept, seen(everyone, index, i, sizes))
        expected = naive(X[kept], index[kept], members, X[i], weights)
        assert_columns(columns, candidates, expected)


def test_columns_of_new_photos_are_those_of_the_whole_bank() -> None:
    X, index, bank, weights = bank_of((9, 2, 14, 1), 12)
    new = embeddings((3, 3), dim=12, spread=1.0, seed=5)[0]
    found = pairs(bank, 4, new)
    for q, query in enumerate(new.astype(float)):
        expected = naive(X, index, np.arange(len(X)), query, weights)
        assert_columns(found.columns[q], found.candidates[q], expected)


def test_the_truth_is_not_given_away_by_lacking_a_member() -> None:
    """Five photos a class: left out, the true class must not be the only one of four."""
    _, _, bank, _ = bank_of((5,) * 8, 12)
    found = pairs_left_out(bank, 8, np.arange(40))
    assert (found.columns[:, :, COLUMNS.index("log_size")] == np.float32(np.log(4))).all()
    assert np.isnan(found.columns[:, :, COLUMNS.index("raw_member_5")]).all()
    assert not np.isnan(found.columns[:, :, COLUMNS.index("raw_member_4")]).any()


@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=9), k=st.integers(1, 12), dim=st.just(6)
)
@settings(max_examples=30, deadline=None)
def test_candidates_are_different_classes_with_members(sizes: list[int], k: int, dim: int) -> None:
    _, index, bank, _ = bank_of(tuple(sizes), dim)
    new = embeddings((4, 3), dim=dim, seed=3)[0]
    several = {c for c, n in enumerate(sizes) if n > 1}
    found = [(pairs(bank, k, new), set(range(len(sizes))))]
    if several:
        numbers = np.flatnonzero(np.isin(index, list(several)))
        found.append((pairs_left_out(bank, k, numbers), several))
    for (chosen, columns), able in found:
        assert chosen.shape[1] == min(k, len(able))
        assert all(len(set(row)) == len(row) for row in chosen.tolist())
        assert set(chosen.ravel()) <= able
        assert np.isfinite(columns[:, :, COLUMNS.index("raw_member_1")]).all()


def test_nearest_class_and_nearest_centroid_are_always_candidates() -> None:
    X, index, bank, _ = bank_of((6,) * 30, 8, spread=2.0)
    new = embeddings((20, 20), dim=8, spread=2.0, seed=5)[0]
    found = pairs(bank, 3, new)
    nearest = index[(new @ X.T).argmax(axis=1)]
    assert (found.candidates == nearest[:, None]).any(axis=1).all()
    everyone = pairs(bank, 30, new)
    at = everyone.columns[:, :, COLUMNS.index("whitened_centroid")].argmax(axis=1)
    likeliest = np.take_along_axis(everyone.candidates, at[:, None], axis=1)
    assert (found.candidates == likeliest).any(axis=1).all()


def test_blocks_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, index, bank, _ = bank_of((30, 12, 40), 16)
    new = embeddings((40, 40), dim=16, seed=5)[0]
    whole = pairs(bank, 3, new), pairs_left_out(bank, 3, np.arange(len(index)))
    monkeypatch.setattr("classify.candidates._BLOCK", 7 * len(index))
    small = pairs(bank, 3, new), pairs_left_out(bank, 3, np.arange(len(index)))
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    alone = pairs(bank, 3, new), pairs_left_out(bank, 3, np.arange(len(index)))
    for a, b, c in zip(whole, small, alone, strict=True):
        np.testing.assert_array_equal(a.candidates, b.candidates)
        np.testing.assert_allclose(a.columns, b.columns, atol=0.011)  # a step of rounding
        np.testing.assert_array_equal(b.columns, c.columns)


def test_the_shrinkage_is_that_of_oracle_approximation() -> None:
    from sklearn.covariance import oas

    X = np.random.default_rng(0).normal(size=(800, 60)) * np.geomspace(1, 0.2, 60)
    found = whitening(X, np.zeros(800, dtype=int))
    covariance, share = oas(X)  # it leaves out the terms 2 / dim
    assert found.shrinkage == pytest.approx(share, rel=0.05)
    A = found.matrix.astype(float) @ found.matrix.T
    np.testing.assert_allclose(A * 800 @ covariance, np.eye(60), atol=0.05)


def test_classes_of_one_point_each_are_not_whitened() -> None:
    found = whitening(embeddings((1, 1, 1), dim=5)[0], np.arange(3))
    np.testing.assert_array_equal(found.matrix, np.eye(5))
