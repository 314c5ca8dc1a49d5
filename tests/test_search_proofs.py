"""Neighbours and votes are those of scikit-learn and of lightly's formula."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from classify import knn
from classify.base import unit_rows
from classify.knn import Choice, Knn
from retrieval.flat_file import FlatFile
from retrieval.index import Index


def clustered(n: int, dim: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.sort(rng.integers(0, classes, n))
    X = rng.normal(size=(classes, dim))[y] + 1.5 * rng.normal(size=(n, dim))
    return unit_rows(X.astype(np.float32)), y


@pytest.mark.parametrize(("n", "dim", "k"), [(1500, 64, 10), (400, 512, 50), (37, 3, 37)])
def test_neighbours_are_scikit_learns(n: int, dim: int, k: int, tmp_path: Path) -> None:
    X, _ = clustered(n, dim, 12, seed=n)
    Q, _ = clustered(100, dim, 12, seed=1)
    theirs = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute")
    distances, rows = theirs.fit(X.astype(np.float64)).kneighbors(Q.astype(np.float64))
    # in float64 what we round to 2**-24 is no tie
    rounded = np.rint((1 - distances) * 2**24)
    rows = np.take_along_axis(rows, np.lexsort((rows, -rounded), axis=1), axis=1)
    ids = [f"photo {i}" for i in range(n)]
    index = Index.build(X, ids, "flat", "s")
    index.save(tmp_path)
    in_place = FlatFile.open(tmp_path, ids, "s")
    assert in_place is not None
    for ours in (index, in_place):
        found, cosines = ours.query(Q, k)
        assert found.tolist() == [[ids[row] for row in line] for line in rows]
        np.testing.assert_allclose(cosines, 1 - distances, atol=1e-7)


def lightly_votes(
    Q: np.ndarray, bank: np.ndarray, y: np.ndarray, k: int, temperature: float
) -> np.ndarray:
    """(q, classes) scores of `lightly.utils.benchmarking.knn_predict`: Wu et al. (2018), Eq. 4."""
    similarity = Q @ bank.T
    near = np.argsort(-similarity, axis=1)[:, :k]
    weights = np.exp(np.take_along_axis(similarity, near, axis=1) / temperature)
    one_hot = np.eye(y.max() + 1)[y[near]]
    return np.asarray((weights[:, :, None] * one_hot).sum(axis=1))


@pytest.mark.parametrize(("k", "temperature"), [(20, 0.1), (200, 0.1), (1, 0.5), (7, 0.02)])
def test_classes_are_those_of_lightlys_formula(
    k: int, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our head on rows as they are (not centred), in the plain cosine (ridge inf), with no
    correction for sizes and no floor."""
    monkeypatch.setattr(Knn, "centred", False)
    X, y = clustered(900, 48, 9, seed=3)
    Q, truth = clustered(300, 48, 9, seed=3)
    Q = unit_rows((Q + 0.1 * np.random.default_rng(4).normal(size=Q.shape)).astype(np.float32))
    plain = Choice(np.inf, k, temperature, 0.0, 0.0)
    monkeypatch.setattr(knn, "leave_one_out", lambda *_: plain)
    head = Knn().fit(X, y)
    P = head.predict_proba(Q)
    votes = lightly_votes(Q.astype(np.float64), X.astype(np.float64), y, k, temperature)
    assert head.predict(Q).tolist() == votes.argmax(axis=1).tolist()
    np.testing.assert_allclose(P, votes / votes.sum(axis=1, keepdims=True), atol=1e-4)
    assert len(np.unique(truth)) == 9
