"""Sets of classes hold the truth as often as wanted."""

from itertools import pairwise

import numpy as np
import pytest
from crepes import ConformalClassifier
from crepes.extras import hinge
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.classification import SplitConformalClassifier
from probabilities_by_hand import honest, sharper
from scipy.stats import betabinom
from sklearn.base import BaseEstimator, ClassifierMixin

from classify.conformal import LEVELS, METHODS, Conformal, quantile
from embed.errors import UserError


class Said(ClassifierMixin, BaseEstimator):
    """A head whose photos are their own probabilities."""

    def __init__(self, n_classes):
        self.n_classes = n_classes

    def fit(self, X, y):
        return self

    def __sklearn_is_fitted__(self):
        return True

    @property
    def classes_(self):
        return np.arange(self.n_classes)

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(axis=1)


def photos(n, seed, n_classes=6):
    """Of a head that is too sure: what it says is no probability, and need not be one."""
    P, y = honest(n, n_classes, seed, spread=1.0)
    return sharper(P, 2.0), y


def holds(sets, y):
    return sets[np.arange(len(y)), y]


@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize("level", [0.8, 0.9])
def test_coverage_is_within_the_band_of_the_theory(method, level):
    """Of N new photos Beta-binomial(N, k, n + 1 - k) are held, k = ceil((n + 1) level)."""
    n, n_new, rounds = 49, 200, 400
    k = int(np.ceil((n + 1) * level - 1e-9))
    theory = betabinom(n_new, k, n + 1 - k)
    found = []
    for seed in range(rounds):
        P, y = photos(n + n_new, seed)
        fitted = Conformal.fit(P[:n], y[:n], method, level, seed)
        found.append(holds(fitted.sets(P[n:]), y[n:]).sum())
    assert np.mean(found) == pytest.approx(theory.mean(), abs=3.5 * theory.std() / rounds**0.5)
    assert np.std(found) == pytest.approx(theory.std(), rel=0.2)
    inside = np.mean((theory.ppf(0.05) <= found) & (found <= theory.ppf(0.95)))
    assert inside > 0.86


def test_class_by_class_each_class_is_held_as_often_as_wanted():
    level, rounds, each = 0.9, 150, 19
    k = 18  # of 19 scores, so that 18/20 are held on the mean
    held = np.zeros((rounds, 3))
    together = np.zeros((rounds, 3))
    for seed in range(rounds):
        P, y = photos(1500, 1000 + seed, n_classes=3)
        P[:, 0] = P[:, 0] ** 3  # one that the head hardly believes in
        P /= P.sum(axis=1, keepdims=True)
        fits = np.concatenate([np.flatnonzero(y == c)[:each] for c in range(3)])
        rest = np.setdiff1d(np.arange(len(y)), fits)
        for method, into in (("class", held), ("lac", together)):
            sets = Conformal.fit(P[fits], y[fits], method, level).sets(P[rest])
            into[seed] = [holds(sets, y[rest])[y[rest] == c].mean() for c in range(3)]
    spread = np.sqrt(k * (each + 1 - k) / (each + 1) ** 2 / (each + 2) / rounds)
    assert np.abs(held.mean(axis=0) - k / (each + 1)).max() < 4 * spread
    assert together.mean(axis=0)[0] < 0.85


def test_lac_is_mapies():
    P, y = photos(700, 3)
    for level in LEVELS:
        theirs = SplitConformalClassifier(
            Said(6), confidence_level=level, conformity_score="lac", prefit=True
        ).conformalize(P[:400], y[:400])
        expected = theirs.predict_set(P[400:])[1][:, :, 0]
        assert (Conformal.fit(P[:400], y[:400], "lac", level).sets(P[400:]) == expected).all()


def test_aps_without_lots_is_mapies_threshold_and_sets():
    """Theirs has other lots; with u = 0 both scores are the sum up to and with the class."""
    from mapie.conformity_scores import APSConformityScore

    P, y = photos(700, 4)
    score = APSConformityScore()
    score.classes = np.arange(6)
    up_to_truth, _ = score.get_true_label_cumsum_proba(y, P, np.arange(6))
    for level in LEVELS:
        fitted = Conformal.fit(P, y, "aps", level, seed=None)
        assert fitted.thresholds == pytest.approx(quantile(up_to_truth[:, 0], level))
        order = np.argsort(-P, axis=1)
        sums = np.cumsum(np.take_along_axis(P, order, axis=1), axis=1)
        expected = np.zeros_like(P, dtype=bool)
        np.put_along_axis(expected, order, sums <= fitted.thresholds + 1e-9, axis=1)
        assert (fitted.sets(P) == expected).all()


def test_aps_is_as_good_as_mapies_with_other_lots():
    P, y = photos(6000, 5)
    theirs = SplitConformalClassifier(
        Said(6), confidence_level=0.9, conformity_score="aps", prefit=True, random_state=1
    ).conformalize(P[:3000], y[:3000])
    options = {"include_last_label": "randomized"}
    expected = theirs.predict_set(P[3000:], conformity_score_params=options)[1][:, :, 0]
    ours = Conformal.fit(P[:3000], y[:3000], "aps", 0.9).sets(P[3000:])
    assert holds(ours, y[3000:]).mean() == pytest.approx(holds(expected, y[3000:]).mean(), abs=0.02)
    assert ours.sum() == pytest.approx(expected.sum(), rel=0.04)
    assert (ours == expected).mean() > 0.9


def test_lac_and_class_by_class_hold_what_crepes_p_values_do_not_reject():
    """p > 1 - level (Vovk 2012); its own sets take p = 1 - level too, one score more at times."""
    P, y = photos(900, 6)
    true, every = hinge(P[:600], np.arange(6), y[:600]), hinge(P[600:])
    plain = ConformalClassifier().fit(true).predict_p(every, smoothing=False)
    fitted = ConformalClassifier().fit(true, bins=y[:600])
    own = np.stack(
        [
            fitted.predict_p(every[:, [c]], bins=np.full(300, c), smoothing=False)[:, 0]
            for c in range(6)
        ],
        axis=1,
    )
    for level in LEVELS:
        for method, p in (("lac", plain), ("class", own)):
            ours = Conformal.fit(P[:600], y[:600], method, level).sets(P[600:])
            assert (ours == (p > 1 - level + 1e-9)).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 80), st.sampled_from(METHODS))
def test_a_higher_level_takes_nothing_out_of_a_set(seed, n, method):
    P, y = photos(n + 20, seed)
    levels = (0.5, *LEVELS, 0.99)
    if method == "class":  # the classes that share a threshold differ from level to level
        y = np.zeros_like(y)
    sets = [Conformal.fit(P[:n], y[:n], method, level).sets(P[n:]) for level in levels]
    for lower, higher in pairwise(sets):
        assert (lower[:, y[0]] <= higher[:, y[0]]).all()
        assert method == "class" or (lower <= higher).all()


def test_aps_takes_the_likeliest_classes_first():
    P, y = photos(500, 8)
    sets = Conformal.fit(P[:300], y[:300], "aps", 0.9).sets(P[300:])
    sizes = sets.sum(axis=1)
    ranks = np.argsort(np.argsort(-P[300:], axis=1), axis=1)
    assert (sets == (ranks < sizes[:, None])).all()
    assert len(np.unique(sizes)) > 3  # hard photos have larger ones


def test_the_same_seed_draws_the_same_lots():
    P, y = photos(400, 9)
    one, same, other = (
        Conformal.fit(P[:300], y[:300], "aps", 0.9, seed).sets(P[300:]) for seed in (1, 1, 2)
    )
    assert (one == same).all()
    assert (one != other).any()


def test_classes_with_too_few_photos_share_a_threshold():
    P, y = photos(2000, 10)
    few = np.concatenate(
        [np.flatnonzero(y == c)[:n] for c, n in enumerate((5, 6, 100, 100, 100, 0))]
    )
    fitted = Conformal.fit(P[few], y[few], "class", 0.9)
    assert fitted.pooled.tolist() == [True, True, False, False, False, True]
    small = few[y[few] < 2]
    expected = quantile(1 - P[small, y[small]], 0.9)
    assert fitted.thresholds[[0, 1, 5]] == pytest.approx(expected)
    assert np.isfinite(fitted.thresholds).all()


def test_the_next_smallest_class_joins_where_the_small_ones_are_too_few_together():
    P, y = photos(2000, 11)
    few = np.concatenate(
        [np.flatnonzero(y == c)[:n] for c, n in enumerate((2, 3, 30, 40, 100, 100))]
    )
    fitted = Conformal.fit(P[few], y[few], "class", 0.9)
    assert fitted.pooled.tolist() == [True, True, True, False, False, False]
    assert np.isfinite(fitted.thresholds).all()


@pytest.mark.parametrize("method", METHODS)
def test_with_too_few_photos_every_class_is_in_every_set(method):
    P, y = photos(28, 12)
    assert Conformal.fit(P[:8], y[:8], method, 0.9).sets(P[8:]).all()
    assert Conformal.fit(P[:0], y[:0], method, 0.8).sets(P[8:]).all()


@pytest.mark.parametrize("method", METHODS)
def test_photos_of_a_class_without_a_column_say_nothing(method):
    P, y = photos(400, 13)
    known = np.arange(400) < 300
    some = Conformal.fit(P, np.where(known, y, -1), method, 0.9)
    assert (some.thresholds == Conformal.fit(P[known], y[known], method, 0.9).thresholds).all()


def test_the_threshold_is_exact_where_rounding_would_move_it():
    scores = np.arange(1, 20) / 20
    assert quantile(scores, 0.95) == scores[18]  # 20 · 0.95 is 19, the highest of 19
    assert quantile(scores[:18], 0.95) == np.inf
    assert quantile(scores[:9], 0.9) == scores[8]
    assert quantile(scores[:4], 0.8) == scores[3]
    many = np.arange(1, 100) / 100
    assert quantile(many, 0.55) == many[54]  # 100 · 0.55 is 55.00000000000001


@pytest.mark.parametrize(("level", "enough"), [(0.8, 4), (0.9, 9), (0.95, 19)])
def test_a_threshold_of_its_own_takes_so_many_photos(level, enough):
    P, y = photos(2000, 15)
    few = np.concatenate(
        [np.flatnonzero(y == c)[:n] for c, n in enumerate((enough - 1, enough, 30, 30, 30, 30))]
    )
    pooled = Conformal.fit(P[few], y[few], "class", level).pooled
    assert pooled.tolist() == [True, True, False, False, False, False]  # one alone is too few
    plenty = np.concatenate([np.flatnonzero(y == c)[:enough] for c in range(6)])
    assert not Conformal.fit(P[plenty], y[plenty], "class", level).pooled.any()


def test_unknown_names_and_levels_are_said():
    P, y = photos(50, 14)
    with pytest.raises(UserError, match="lac"):
        Conformal.fit(P, y, "lacc", 0.9)
    with pytest.raises(UserError, match=r"such as 0\.9"):
        Conformal.fit(P, y, "lac", 90)
