"""Tip-Adapter: the formula, its cache without the photo itself, the best choice left out."""

from typing import Any

import numpy as np
import pytest
from conftest import embeddings
from scipy.special import log_softmax, softmax
from test_zeroshot import with_texts

from classify import tip
from classify.base import unit_rows
from classify.left_out import judges
from classify.tip import BETAS, Tip, left_out_caches
from classify.zeroshot import ZeroShot


def naive_cache(x: Any, rows: Any, index: Any, head: Tip) -> Any:
    like = np.exp(-head.beta_ * (1 - rows @ x))
    return np.bincount(index, like) / head.divide_


@pytest.mark.parametrize("balance", ["none", "weights"])
@pytest.mark.parametrize("scale", [100.0, 20.0, None])
def test_tip_equals_the_naive_version(
    balance: str, scale: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tip, "CELLS", 40)  # several blocks
    X, y, names, texts = with_texts()
    new = with_texts(seed=1)[0]
    given = {"class_names": names, "class_vectors": texts, "layout": (7, 12)}
    head = Tip(balance=balance, scale=scale, **given).fit(X, y)
    index = np.unique(y, return_inverse=True)[1]
    share = unit_rows(X[:, :7]), unit_rows(X[:, 7:])
    bank = np.hstack(share) / np.sqrt(2)
    queries = np.hstack([unit_rows(new[:, :7]), unit_rows(new[:, 7:])]) / np.sqrt(2)
    rows, asked = (unit_rows(part - bank.mean(axis=0)) for part in (bank, queries))
    assert scale is None or head.scale_ == scale
    log_odds = head.scale_ * new[:, 7:] @ texts[[2, 3, 0], 7:].T + head.intercept_
    log_odds = log_odds + head.alpha_ * np.array([naive_cache(x, rows, index, head) for x in asked])
    np.testing.assert_allclose(head.predict_proba(new), softmax(log_odds, axis=1), atol=1e-4)


def test_left_out_caches_lack_the_photo_itself() -> None:
    X, y = embeddings((5, 4, 1))
    index = np.unique(y, return_inverse=True)[1]
    panel, seen = judges(index, 100, equal=False, alone=True), []
    assert len(panel.rows) == 10
    for beta, mean, found in left_out_caches(X, np.bincount(index), panel, only_means=False):
        seen.append((beta, mean))
        for i in range(10):
            kept = np.arange(10) != i
            like = np.exp(-beta * (1 - X[kept] @ X[i]))
            expected = np.bincount(index[kept], like, minlength=3)
            if mean:
                expected /= np.maximum(np.bincount(index[kept], minlength=3), 1)
            np.testing.assert_allclose(found[i], expected, rtol=1e-3)
    assert seen == [(beta, mean) for beta in BETAS for mean in (True, False)]


def test_the_choice_is_the_best_left_out() -> None:
    X, y = embeddings((12, 9, 5), spread=1.5)
    head, index = Tip().fit(X, y), np.unique(y, return_inverse=True)[1]
    panel = judges(index, 100, equal=False)
    frequency = head.intercept_
    wanted = np.eye(3)[index] * len(y) / (len(y) + 1) + 1 / 3 / (len(y) + 1)
    caches = {
        (beta, mean): cache
        for beta, mean, cache in left_out_caches(head.bank_, head.counts_, panel, False)
    }

    def loss(beta: float, mean: bool, alpha: float) -> float:
        log_odds = alpha * caches[beta, mean] + frequency
        return -(wanted * log_softmax(log_odds, axis=1)).sum()

    mean = bool((head.divide_ > 1).any())
    best = loss(head.beta_, mean, head.alpha_)
    assert best < min(loss(head.beta_, mean, head.alpha_ * step) for step in (0.8, 1.25))
    for beta, by_mean in caches:
        loudest = tip.LOUDEST / (1 if by_mean else 12)
        assert all(best <= loss(beta, by_mean, a) + 1e-6 for a in np.geomspace(0.01, loudest, 40))


def test_photos_mend_what_a_wrong_name_says() -> None:
    X, y, names, texts = with_texts()
    new, truth = with_texts(seed=1)[:2]
    swapped = {"class_names": names, "class_vectors": texts[[2, 1, 0, 3]], "layout": (7, 12)}
    by_name = ZeroShot(**swapped).fit(X, y).predict(new)
    by_both = Tip(scale=None, **swapped).fit(X, y).predict(new)
    assert (by_name == truth).mean() < 0.6
    assert (by_both == truth).mean() > 0.9


def test_a_name_is_enough_for_a_class_of_one_photo() -> None:
    X, y, names, texts = with_texts()
    few = np.r_[0, 9, 15]
    given = {"class_names": names, "class_vectors": texts, "layout": (7, 12)}
    head = Tip(**given).fit(X[few], y[few])
    assert (head.predict(X) == y).mean() > 0.9


def test_one_photo_of_each_class_and_no_names() -> None:
    X, y = embeddings((1, 1, 1))
    assert (Tip().fit(X, y).predict(X) == y).all()
