"""Fewer answers, fewer errors; and how right an answer of such a confidence is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probabilities_by_hand import honest, sharper

from classify.bootstrap import wilson
from classify.outcomes import Outcomes
from classify.reliability import reliability
from classify.selective import area_under_risk, risk_coverage


def naive(confidence, right):
    """Mean over k of the errors among the k surest; of equals each order is as likely."""
    order = np.argsort(-confidence, kind="stable")
    confidence, wrong = confidence[order], (~right[order]).astype(float)
    for value in np.unique(confidence):
        same = confidence == value
        wrong[same] = wrong[same].mean()
    return np.mean([wrong[:k].mean() for k in range(1, len(wrong) + 1)])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 3)), min_size=1))
def test_area_is_that_of_the_naive_loop_for_resamples_too(photos):
    confidence = np.array([c / 9 for c, _, _ in photos])
    right = np.array([r for _, r, _ in photos])
    times = np.array([t for _, _, t in photos])
    times[0] += 1
    weights = np.stack([np.ones(len(photos)), times], axis=1)
    drawn = np.repeat(np.arange(len(photos)), times)
    expected = [naive(confidence, right), naive(confidence[drawn], right[drawn])]
    assert area_under_risk(confidence, right, weights) == pytest.approx(expected)


def test_area_is_the_mean_over_all_orders_of_equals():
    confidence, right = np.full(6, 0.5), np.array([1, 1, 1, 0, 1, 0], dtype=bool)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(6) for _ in range(4000)]
    means = [np.mean(np.cumsum(~right[o]) / np.arange(1, 7)) for o in orders]
    found = area_under_risk(confidence, right, np.ones((6, 1)))[0]
    assert found == pytest.approx(np.mean(means), abs=0.01)
    assert found == pytest.approx(1 / 3)


def test_area_knows_the_best_and_the_worst_order():
    right = np.arange(10) < 8
    best, worst = np.linspace(1, 0, 10), np.linspace(0, 1, 10)
    ones = np.ones((10, 1))
    assert area_under_risk(best, right, ones)[0] == pytest.approx((1 / 9 + 2 / 10) / 10)
    assert area_under_risk(worst, right, ones)[0] > area_under_risk(np.ones(10), right, ones)[0]
    assert area_under_risk(best, np.ones(10, dtype=bool), ones)[0] == 0


def outcomes(n, seed=0, power=1.0):
    P, y = honest(n, seed=seed)
    return Outcomes.of(y, sharper(P, power))


def test_the_curve_has_the_risks_of_the_surest():
    one = outcomes(150)
    found = risk_coverage(one, one.confidence, n_boot=50)
    order = np.argsort(-one.confidence)
    risks = np.cumsum(~one.right[order]) / np.arange(1, 151)
    assert found["risk"] == pytest.approx(risks)
    assert found["coverage"] == pytest.approx(np.arange(1, 151) / 150)
    many = outcomes(5000)
    thinned = risk_coverage(many, many.confidence, n_boot=2)
    assert len(thinned["risk"]) == len(thinned["coverage"]) <= 200
    assert thinned["coverage"][-1] == 1
    assert thinned["risk"][-1] == pytest.approx(1 - many.right.mean())


def test_thresholds_come_from_the_out_of_fold_photos():
    one, trained = outcomes(400), outcomes(900, seed=1, power=3.0).confidence
    found = risk_coverage(one, trained, n_boot=200)
    for row in found["at"]:
        assert (trained >= row["threshold"]).mean() == pytest.approx(row["coverage"], abs=0.002)
        given_ = one.confidence >= row["threshold"]
        assert row["answered"][0] == pytest.approx(given_.mean())
        assert row["risk"][0] == pytest.approx(1 - one.right[given_].mean())
        assert row["risk"][1] <= row["risk"][0] <= row["risk"][2]
    assert found["at"][0]["answered"][0] < 0.5  # these photos are less sure


def test_intervals_are_of_groups_where_there_are_some():
    P, y = honest(40, seed=2)
    one = Outcomes.of(np.repeat(y, 10), np.repeat(P, 10, axis=0))
    groups = np.repeat(np.arange(40), 10)
    alone = risk_coverage(one, one.confidence, n_boot=300)["aurc"]
    whole = risk_coverage(one, one.confidence, n_boot=300, groups=groups)["aurc"]
    assert whole[0] == alone[0]
    assert whole[2] - whole[1] > 2 * (alone[2] - alone[1])


def test_nothing_but_right_answers_is_no_certainty():
    y = np.arange(20) % 4
    found = risk_coverage(Outcomes.of(y, np.eye(4)[y]), np.ones(30), n_boot=100)
    assert found["aurc"][0] == 0
    assert found["aurc"][2] > 0.1
    assert found["auroc"] == [None, None, None]
    assert found["coverage"] == [1.0]
    assert all(row["answered"][0] == 1 and row["risk"][2] > 0.1 for row in found["at"])


def test_bins_hold_the_same_number_of_photos_and_their_shares():
    one = outcomes(3000)
    bins = reliability(one)
    assert len(bins) == 15
    assert {row["n"] for row in bins} == {200}
    for row in bins:
        inside = (one.confidence >= row["low"]) & (one.confidence <= row["high"])
        assert inside.sum() == row["n"]
        assert row["accuracy"] == pytest.approx(one.right[inside].mean())
        assert row["confidence"] == pytest.approx(one.confidence[inside].mean())
        low, high = wilson(np.array(row["accuracy"]), np.array(row["n"]))
        assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx((low, high))
    # Of honest probabilities about 95% of the intervals hold the confidence.
    held = [row["accuracy_low"] <= row["confidence"] <= row["accuracy_high"] for row in bins]
    assert sum(held) >= 12


def test_few_photos_have_few_bins_and_equal_confidences_stay_together():
    assert len(reliability(outcomes(45))) == 2
    assert len(reliability(outcomes(7))) == 1
    y = np.arange(300) % 4
    bins = reliability(Outcomes.of(y, np.full((300, 4), 0.25)))
    assert [(row["n"], row["accuracy"]) for row in bins] == [(300, 0.25)]


def test_photos_of_one_group_are_no_independent_witnesses():
    P, y = honest(30, seed=3)
    one = Outcomes.of(np.repeat(y, 20), np.repeat(P, 20, axis=0))
    alone, whole = reliability(one), reliability(one, np.repeat(np.arange(30), 20))
    width = [sum(row["accuracy_high"] - row["accuracy_low"] for row in r) for r in (alone, whole)]
    assert width[1] > 1.5 * width[0]
