"""Recalibrated probabilities, and which way to get them is the best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probabilities_by_hand import honest, sharper, softmax
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression

from classify.isotonic import isotonic_steps, stepped
from classify.recalibrate import (
    METHODS,
    Evidence,
    Recalibration,
    best_method,
    crossfits,
    log_losses,
)
from classify.runs import Predictions
from embed.errors import UserError


def log_loss(P, y):
    return -np.log(np.maximum(P[np.arange(len(y)), y], 1e-6)).mean()


def predictions(P, y, folds=5):
    classes = np.array([f"c{i:02}" for i in range(P.shape[1])])
    names = [f"{i}.jpg" for i in range(len(y))]
    return Predictions(names, classes[y], P, classes, np.arange(len(y)) % folds)


def test_temperature_undoes_what_made_a_head_too_sure():
    P, y = honest(4000)
    fitted = Recalibration.fit(sharper(P, 2.5), y, "temperature")
    assert fitted.slope == pytest.approx(1 / 2.5, rel=0.06)
    logs = np.log(sharper(P, 2.5))
    exact = minimize_scalar(lambda b: log_loss(softmax(b * logs), y), bounds=(0.1, 2))
    assert fitted.slope == pytest.approx(exact.x, rel=0.01)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.2, 5))
def test_temperature_keeps_the_order_of_the_classes(seed, power):
    P, y = honest(60, seed=seed)
    Q = Recalibration.fit(sharper(P, power), y, "temperature").transform(P)
    assert (np.argsort(Q, axis=1) == np.argsort(P, axis=1)).all()


def test_vector_scaling_leaves_honest_probabilities_as_they_are():
    P, y = honest(4000, n_classes=20)
    fitted = Recalibration.fit(P, y, "vector")
    assert np.abs(fitted.slope - 1).max() < 0.1
    assert np.abs(fitted.offset).max() < 0.15
    few = Recalibration.fit(P[:200], y[:200], "vector")  # ten photos a class say nothing
    assert np.abs(few.transform(P) - P).mean() < 0.02


def test_vector_scaling_finds_the_classes_that_are_named_too_often():
    P, y = honest(6000)
    wrong = np.array([1.5, 0, 0, 0, -1.5])
    fitted = Recalibration.fit(softmax(np.log(P) + wrong), y, "vector")
    assert fitted.offset - fitted.offset.mean() == pytest.approx(-wrong, abs=0.3)
    P, y = honest(6000, seed=1)
    moved = softmax(np.log(P) + wrong)
    assert log_loss(fitted.transform(moved), y) < log_loss(P, y) + 0.005
    plain = Recalibration.fit(moved, y, "temperature")
    assert log_loss(plain.transform(moved), y) > log_loss(P, y) + 0.1


def test_vector_scaling_does_not_hold_unscored_classes_for_absent_ones():
    """By groups, few classes may be scored out of fold; the test has photos of all."""
    P, y = honest(6000, n_classes=12)
    scored = (y < 3) & (np.arange(6000) < 3000)
    fitted = Recalibration.fit(P[scored], y[scored], "vector")
    warm = Recalibration.fit(P[scored], y[scored], "temperature")
    assert (fitted.offset[3:] == 0).all()
    assert fitted.slope[3:] == pytest.approx(warm.slope[0])
    assert abs(fitted.offset[:3]).max() < 0.5
    later = slice(3000, None)
    losses = [log_loss(one.transform(P[later]), y[later]) for one in (fitted, warm)]
    assert losses[0] < losses[1] + 0.05


def test_isotonic_is_scikit_learns_on_all_pairs_of_photo_and_class():
    P, y = honest(300)
    P = np.round(P, 2)  # many equal ones
    true = np.eye(5)[y]
    theirs = IsotonicRegression(out_of_bounds="clip").fit(P.ravel(), true.ravel())
    steps = isotonic_steps(P, y)
    assert np.interp(P, *steps) == pytest.approx(theirs.predict(P.ravel()).reshape(P.shape))
    between = np.linspace(0, 1, 501)
    assert np.interp(between, *steps) == pytest.approx(theirs.predict(between), abs=1e-12)


def test_isotonic_mends_what_no_temperature_can():
    """Probabilities of 0.9 and above that are right in four of five cases, others as they say."""
    P, y = honest(20_000, n_classes=2, spread=1.5)
    rng = np.random.default_rng(5)
    sure = P.max(axis=1) > 0.9
    y = np.where(sure & (rng.random(len(y)) < 0.15), 1 - y, y)
    own = {m: Recalibration.fit(P[:9000], y[:9000], m).transform(P[9000:]) for m in METHODS}
    losses = {m: log_loss(Q, y[9000:]) for m, Q in own.items()}
    assert losses["isotonic"] < losses["temperature"] - 0.002


def test_stepped_keeps_the_order_and_never_divides_by_nothing():
    steps = np.array([[0.0, 0.5, 0.6, 1.0], [0.0, 0.0, 0.4, 0.4]])
    P = np.array([[0.3, 0.4, 0.3], [1.0, 0.0, 0.0], [0.45, 0.05, 0.5]])
    Q = stepped(P, steps)
    assert Q.sum(axis=1) == pytest.approx(1)
    assert (Q.argmax(axis=1) == P.argmax(axis=1)).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 8), st.sampled_from(METHODS))
def test_rows_sum_to_one_and_hold_numbers_even_where_a_head_said_never(seed, n_classes, method):
    P, y = honest(1200, n_classes, seed)
    y[:300] = (y[:300] + 1) % n_classes  # enough errors for each method
    P[::3] = np.eye(n_classes)[P[::3].argmax(axis=1)]  # only 0 and 1
    y[::7] = -1
    Q = Recalibration.fit(P, y, method).transform(P)
    assert np.isfinite(Q).all()
    assert (Q >= 0).all()
    assert Q.sum(axis=1) == pytest.approx(1, abs=1e-12)


def test_photos_of_a_class_without_a_column_say_nothing():
    P, y = honest(500)
    known = np.arange(500) < 400
    for method in ("temperature", "vector"):
        all_of_them = Recalibration.fit(P, np.where(known, y, -1), method)
        without = Recalibration.fit(P[known], y[known], method)
        assert (all_of_them.transform(P) == without.transform(P)).all()


def test_too_few_photos_and_unknown_names_are_said():
    P, y = honest(900)
    with pytest.raises(UserError, match=r"1,000 photos .* 900 photos .* Take temperature"):
        Recalibration.fit(P, y, "isotonic")
    with pytest.raises(UserError, match="no out-of-fold photo"):
        Recalibration.fit(P, np.full(900, -1), "temperature")
    with pytest.raises(UserError, match="temperature"):
        Recalibration.fit(P, y, "temperatur")
    assert (Recalibration.fit(P, y, "none").transform(P) == P).all()


def test_no_photo_has_a_say_in_its_own_fold():
    P, y = honest(400)
    evidence = Evidence.of(predictions(P, y))
    before = crossfits(evidence)
    changed = y.copy()
    own = evidence.fold == 2
    changed[own] = (y[own] + 1) % 5
    after = crossfits(Evidence.of(predictions(P, changed)))
    for method in ("temperature", "vector"):
        assert (before[method][own] == after[method][own]).all()
        assert (before[method][~own] != after[method][~own]).any()


def test_the_best_is_the_simplest_of_those_that_out_of_fold_photos_call_as_good():
    P, y = honest(3000)
    moved = sharper(P, 3)
    evidence = Evidence.of(predictions(moved, y))
    losses = log_losses(evidence, crossfits(evidence))
    assert losses["none"].mean() == pytest.approx(log_loss(moved, y))
    assert losses["temperature"].mean() < losses["none"].mean() - 0.1
    assert best_method(losses, evidence.group) == "temperature"  # the others have nothing to mend
    assert Recalibration.of(predictions(moved, y), "best").method == "temperature"
    askew = softmax(np.log(P) + np.array([1.5, 0, 0, 0, -1.5]))
    assert Recalibration.of(predictions(askew, y), "best").method == "vector"
    assert Recalibration.of(predictions(P, y), "best").method == "none"


def test_photos_of_one_group_are_no_independent_witnesses_of_a_gain():
    none = np.random.default_rng(0).random(100) + 2
    group = np.arange(100) // 20
    gain = np.array([1, 1, 1, -1, -1])[group]  # three groups win, two lose
    losses = {"none": none, "temperature": none - gain}
    assert best_method(losses, np.arange(100)) == "temperature"
    assert best_method(losses, group) == "none"
    assert best_method({"none": none, "temperature": none}, group) == "none"


def test_classes_that_a_folds_model_never_saw_are_left_out():
    P, y = honest(100)
    fold = np.arange(100) % 5
    P[fold == 1, 2] = 0
    P /= P.sum(axis=1, keepdims=True)
    evidence = Evidence.of(predictions(P, y))
    assert evidence.unknown == ((fold == 1) & (y == 2)).sum() > 0
    assert not ((evidence.fold == 1) & (evidence.y_index == 2)).any()


def test_with_one_fold_nothing_can_be_chosen():
    P, y = honest(100)
    assert list(crossfits(Evidence.of(predictions(sharper(P, 9), y, folds=1)))) == ["none"]
