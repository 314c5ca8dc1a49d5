"""The floor: how common the classes are."""

import numpy as np
from conftest import embeddings

from classify.prior import Prior


def test_the_prior_is_how_common_the_classes_are() -> None:
    X, y = embeddings((7, 2, 1))
    expected = np.tile([8 / 13, 3 / 13, 2 / 13], (len(X), 1))
    np.testing.assert_allclose(Prior().fit(X, y).predict_proba(X), expected)
    equal = Prior(balance="weights").fit(X, y).predict_proba(X)
    np.testing.assert_allclose(equal, 1 / 3)
