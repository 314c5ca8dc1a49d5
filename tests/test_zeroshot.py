"""Zero-shot: photos compared with the names of the classes, in the columns that know words."""

from typing import Any

import numpy as np
import pytest
from conftest import embeddings
from scipy.special import softmax

from classify.base import unit_rows
from classify.zeroshot import ZeroShot


def with_texts(seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Rows of a wordless encoder and of one with words side by side, labels, names, texts."""
    worded, y = embeddings((9, 6, 3), dim=12, spread=0.8, seed=seed)
    wordless = embeddings((9, 6, 3), dim=7, seed=seed + 50)[0]
    names = np.array(["family 2", "unseen", "family 0", "family 1"])
    truth = unit_rows(np.random.default_rng(99).normal(size=(3, 12)).astype(np.float32))
    texts = np.zeros((4, 19), dtype=np.float32)
    texts[:, 7:] = np.stack([truth[2], -truth[0], truth[0], truth[1]])
    return np.hstack([wordless, worded]), y, names, texts


def test_the_text_with_the_largest_cosine_wins() -> None:
    X, y, names, texts = with_texts()
    new = with_texts(seed=1)[0]
    head = ZeroShot(layout=(7, 12), class_names=names, class_vectors=texts).fit(X, y)
    cosines = new[:, 7:] @ texts[[2, 3, 0], 7:].T  # the wordless columns have no say
    np.testing.assert_allclose(head.predict_proba(new), softmax(100 * cosines, axis=1), atol=1e-4)


def test_a_fitted_scale_is_the_best_and_changes_no_ranking() -> None:
    X, y, names, texts = with_texts()
    given = {"layout": (7, 12), "class_names": names, "class_vectors": texts}
    fixed, fitted = (ZeroShot(scale=s, **given).fit(X, y) for s in (100.0, None))
    cosines, index = X[:, 7:] @ texts[[2, 3, 0], 7:].T, np.unique(y, return_inverse=True)[1]
    wanted = np.eye(3)[index] * len(y) / (len(y) + 1) + 1 / 3 / (len(y) + 1)

    def loss(scale: float) -> float:
        return -(wanted * np.log(softmax(scale * cosines, axis=1))).sum()

    assert loss(fitted.scale_) < min(loss(0.9 * fitted.scale_), loss(1.1 * fitted.scale_))
    np.testing.assert_array_equal(fitted.predict(X), fixed.predict(X))


def test_without_texts_the_class_means_stand_in() -> None:
    X, y = embeddings((9, 6, 3))
    means = np.array([X[y == label].mean(axis=0) for label in np.unique(y)])
    expected = np.unique(y)[(X @ unit_rows(means).T).argmax(axis=1)]
    for scale in (100.0, None):
        np.testing.assert_array_equal(ZeroShot(scale=scale).fit(X, y).predict(X), expected)


def test_a_class_without_a_text_is_named() -> None:
    X, y, names, texts = with_texts()
    texts[2] = 0
    for given in ((names[:3], texts[:3], "family 1"), (names, texts, "family 0")):
        head = ZeroShot(class_names=given[0], class_vectors=given[1])
        with pytest.raises(ValueError, match=given[2]):
            head.fit(X, y)


@pytest.mark.parametrize("wrong", [(4, 12), (3, 19)])
def test_texts_of_another_shape_are_refused(wrong: tuple[int, int]) -> None:
    X, y, names, _ = with_texts()
    head = ZeroShot(class_names=names, class_vectors=np.ones(wrong))
    with pytest.raises(ValueError, match="shape"):
        head.fit(X, y)
