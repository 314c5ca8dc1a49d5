"""The intervals hold what they promise: of all figures, by class and by size of class."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn import metrics as sk
from test_metrics import predictions
from threadpoolctl import threadpool_limits

from classify import bootstrap
from classify.bootstrap import (
    SCALES,
    figure,
    interval,
    resampled,
    resamples,
    wilson,
    wins,
    witnesses,
)
from classify.counts import Counts
from classify.metrics import (
    ALL_METRICS,
    HEADLINE,
    intervals,
    paired_difference,
    per_class,
    score,
)
from classify.outcomes import Outcomes, ratio
from classify.shares import share_interval
from classify.sizes import by_size


def test_resamples_draw_n_photos_or_whole_groups() -> None:
    first, later = resamples(30, 400, 0, None)
    assert (first == 1).all()
    assert (later.sum(axis=0) == 30).all()
    assert later.mean(axis=1) == pytest.approx(1, abs=0.25)
    assert later.var() == pytest.approx(29 / 30, rel=0.05)
    group = np.repeat(["a", "b", "c"], [1, 4, 10])
    _, grouped = resamples(15, 50, 0, group)
    for one in "abc":
        assert (grouped[group == one] == grouped[group == one][0]).all()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    y, P = predictions(50, 4, 0)
    whole = intervals(y, P, n_boot=100)
    monkeypatch.setattr(bootstrap, "_CELLS", 50 * 7)
    assert intervals(y, P, n_boot=100) == whole


def test_the_number_of_threads_changes_nothing() -> None:
    y, P = predictions(3000, 30, 0)
    with threadpool_limits(1):
        one = intervals(y, P, n_boot=50)
    with threadpool_limits(4):
        assert intervals(y, P, n_boot=50) == one


def test_perfect_predictions_of_few_photos_leave_doubt() -> None:
    y = np.repeat(np.arange(5), 4)
    figures = intervals(y, np.eye(5)[y])
    for loss in ("log_loss", "brier", "ece"):
        assert figures.pop(loss) == (0, 0, 0)
    assert figures.pop("auroc") == (None, None, None)  # there is no wrong answer to tell
    chance = {figures.pop(name) for name in ("mcc", "kappa")}
    (low,) = {low for value, low, high in figures.values() if value == high == 1}
    assert low == pytest.approx(0.8389, abs=1e-4)  # Wilson's, 20 of 20
    assert chance == {(1, 2 * low - 1, 1)}
    fewer = intervals(y, np.eye(5)[y], groups=y)["accuracy"]
    assert fewer[1] == pytest.approx(0.5655, abs=1e-4)  # 5 of 5 groups


def test_what_photos_of_one_class_cannot_tell_has_no_interval() -> None:
    y, P = np.zeros(20, dtype=int), np.eye(2)[np.arange(20) % 2]
    figures = intervals(y, P, ["mcc", "kappa"], n_boot=50)
    assert figures == {"mcc": (0, None, None), "kappa": (0, None, None)}


@pytest.mark.parametrize("place", [0, 5, 19])
def test_one_wrong_answer_proves_little_about_the_confidence(place: int) -> None:
    confidence = np.linspace(0.5, 1, 20)
    P = np.column_stack([confidence, 1 - confidence])
    value, low, high = intervals((np.arange(20) == place).astype(int), P, ["auroc"])["auroc"]
    assert value == pytest.approx(1 - place / 19)
    assert high - low > 0.7


def test_all_right_by_luck_is_covered() -> None:
    """Of twenty photos at a true accuracy of 0.95 all are right in a third of the cases."""
    rng = np.random.default_rng(0)
    y = np.zeros(20, dtype=int)
    covered = []
    for _ in range(200):
        P = np.eye(2)[(rng.random(20) > 0.95).astype(int)]
        _, low, high = intervals(y, P, ["accuracy"], n_boot=200)["accuracy"]
        covered.append(low <= 0.95 <= high)
    assert np.mean(covered) > 0.9


def test_intervals_are_reproducible_and_inside_the_scale() -> None:
    y, P = predictions(60, 12, 1, signal=2)
    figures = intervals(y, P, n_boot=200, seed=3)
    assert figures == intervals(y, P, n_boot=200, seed=3)
    assert figures != intervals(y, P, n_boot=200, seed=4)
    for name, (value, low, high) in figures.items():
        assert 0 <= low <= value <= high
        assert high <= {"log_loss": np.inf, "brier": 2}.get(name, 1)
        assert value == score(y, P, name)


@dataclass(frozen=True)
class World:
    """Many photos, from which a test draws a few hundred: the truth is that of all of them."""

    photos: Outcomes
    in_group: int  # photos that belong together, one after the other

    @classmethod
    def of(cls, in_group: int = 1, n: int = 40_000, n_classes: int = 10) -> Self:
        """Unequal classes of unequal difficulty; photos of a group are much alike."""
        rng = np.random.default_rng(0)
        share = np.linspace(2, 1, n_classes)
        y = np.repeat(rng.choice(n_classes, n // in_group, p=share / share.sum()), in_group)
        logits = np.repeat(rng.standard_normal((n // in_group, n_classes)), in_group, axis=0)
        if in_group > 1:
            logits = 0.9 * logits + 0.4 * rng.standard_normal((n, n_classes))
        logits[np.arange(n), y] += np.linspace(1.5, 3.5, n_classes)[y]
        P = np.exp(logits)
        return cls(Outcomes.of(y, P / P.sum(axis=1, keepdims=True)), in_group)

    def coverage(self, n: int, times: int, n_boot: int, by_group: bool = True) -> dict[str, float]:
        """name -> how often the interval of `n` photos drawn at random holds the truth."""
        (truth,) = resampled([self.photos], ALL_METRICS, 0)
        rng, covered = np.random.default_rng(1), dict.fromkeys(ALL_METRICS, 0.0)
        for seed in range(times):
            first = rng.integers(0, len(self.photos.y) // self.in_group, n // self.in_group)
            rows = (first[:, None] * self.in_group + np.arange(self.in_group)).ravel()
            groups = np.arange(n) // self.in_group if by_group else None
            one = self.photos.rows(rows)
            (samples,) = resampled([one], ALL_METRICS, n_boot, seed, groups)
            for name, values in samples.items():
                _, low, high = figure(name, values, witnesses(one, name, groups))
                covered[name] += (low <= truth[name][0] <= high) / times
        return covered


def test_intervals_cover_the_truth_in_95_of_100_cases() -> None:
    """See benchmarks/intervals.py for many more; of 300 cases 284 to 287 would do on average."""
    found = World.of().coverage(n=300, times=300, n_boot=400)
    assert min(found.values()) > 0.91, found
    assert max(found.values()) < 0.985, found


def test_intervals_over_groups_cover_where_photos_of_a_group_are_alike() -> None:
    world = World.of(in_group=4)
    found = world.coverage(n=800, times=200, n_boot=300)
    assert min(found.values()) > 0.89, found
    assert max(found.values()) < 0.99, found
    by_photo = world.coverage(n=800, times=60, n_boot=200, by_group=False)
    assert max(by_photo[name] for name in ("accuracy", "macro_f1", "mcc", "brier")) < 0.87


def test_the_interval_reaches_up_where_resamples_miss_photos_of_small_classes() -> None:
    y = np.repeat(np.arange(200), 2)
    y_pred = np.where(np.random.default_rng(0).random(400) < 0.7, y, (y + 1) % 200)
    P = np.eye(200)[y_pred]
    value, low, high = intervals(y, P, ["macro_f1"])["macro_f1"]
    (samples,) = resampled([Outcomes.of(y, P)], ["macro_f1"])
    assert np.median(samples["macro_f1"]) < value - 0.02
    assert low + 0.03 < value < high - 0.03


def test_a_share_near_one_has_its_doubt_below() -> None:
    """As Wilson's interval, and unlike a plain percentile."""
    y = np.zeros(300, dtype=int)
    P = np.eye(2)[(np.arange(300) < 6).astype(int)]
    value, low, high = intervals(y, P, ["accuracy"], n_boot=4000)["accuracy"]
    ends = wilson(np.array(value), np.array(300))
    assert (low, high) == pytest.approx([float(end) for end in ends], abs=0.004)


def test_groups_widen_the_interval_of_photos_that_are_no_independent_witnesses() -> None:
    rng = np.random.default_rng(0)
    group = np.arange(300) // 10
    y = rng.integers(0, 2, 30)[group]
    P = np.eye(2)[(y + (rng.random(30) < 0.3)[group]) % 2]
    _, low, high = intervals(y, P, ["accuracy"])["accuracy"]
    _, low_by_group, high_by_group = intervals(y, P, ["accuracy"], groups=group)["accuracy"]
    assert high_by_group - low_by_group > 2 * (high - low)


def test_paired_difference() -> None:
    y, P = predictions(200, 6, 0)
    assert paired_difference(y, P, P.copy()) == (0, 0, 0)
    Q = P + 0.2 * np.eye(7)[y][:, :6]
    Q /= Q.sum(axis=1, keepdims=True)
    difference, low, high = paired_difference(y, Q, P, "accuracy")
    assert difference == pytest.approx(score(y, Q, "accuracy") - score(y, P, "accuracy"))
    assert 0 < low < difference < high
    _, low_alone, high_alone = intervals(y, P, ["accuracy"])["accuracy"]
    assert high - low < high_alone - low_alone


def test_wilson_is_the_textbooks() -> None:
    low, high = wilson(np.array([0.0, 0.5, 1.0]), np.array([10.0, 10.0, 10.0]))
    np.testing.assert_allclose(low, [0, 0.2366, 0.7225], atol=1e-4)
    np.testing.assert_allclose(high, [0.2775, 0.7634, 1], atol=1e-4)


# ---- several on the same resamples


@settings(deadline=None, max_examples=50)
@given(
    values=st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=7, max_size=7), min_size=1, max_size=5
    )
)
def test_probabilities_of_winning_sum_to_one_and_equals_share(values: list[list[float]]) -> None:
    several = [np.array(row) for row in values]
    expected = np.zeros(len(several))
    for column in np.array(several)[:, 1:].T:  # the first is the value itself
        best = column == column.max()
        expected += best / best.sum() / 6
    found = wins(several)
    np.testing.assert_allclose(found, expected)
    assert found.sum() == pytest.approx(1)


def test_several_at_once_equal_each_alone() -> None:
    y, P = predictions(90, 5, 0)
    outcomes = [Outcomes.of(y, P), Outcomes.of(y, predictions(90, 5, 1)[1])]
    groups = np.arange(90) // 2
    together = resampled(outcomes, HEADLINE, 20, groups=groups)
    for one, found in zip(outcomes, together, strict=True):
        (alone,) = resampled([one], HEADLINE, 20, groups=groups)
        for name in HEADLINE:
            np.testing.assert_array_equal(found[name], alone[name])
    with pytest.raises(ValueError, match="same photos"):
        resampled([outcomes[0], outcomes[1].rows(np.arange(90)[::-1])], HEADLINE)


def test_macro_f1_of_some_classes_is_that_of_scikit_learn_over_their_labels() -> None:
    y, P = predictions(120, 6, 0)
    (found,) = resampled(
        [Outcomes.of(y, P)], [], 3, subsets={"some": np.isin(np.arange(6), [1, 4])}
    )
    weights = np.hstack(list(resamples(120, 3, 0, None))).astype(int)
    for value, times in zip(found["some"], weights.T, strict=True):
        drawn = np.repeat(np.arange(120), times)
        f1 = sk.f1_score(
            y[drawn], P[drawn].argmax(axis=1), labels=[1, 4], average="macro", zero_division=0
        )
        assert value == pytest.approx(f1)


@pytest.mark.parametrize("name", ALL_METRICS)
def test_intervals_stay_inside_the_scale_of_the_metric(name: str) -> None:
    least, most = SCALES.get(name, (0, 1))
    spread = np.random.default_rng(0).exponential(0.02, 200)
    for samples in (least + spread, min(most, 9) - spread):
        value, low, high = figure(name, samples, 30)
        assert least <= low <= value <= high <= most
        assert low == least or high == min(most, high)


def test_the_interval_of_a_calibration_error_reaches_down_to_what_is_not_chance() -> None:
    """The truth is 0 here, and all that is found is chance."""
    rng, ends = np.random.default_rng(0), []
    for seed in range(40):
        sure = rng.uniform(0.5, 1, 300)
        P = np.column_stack([sure, 1 - sure])
        y = (rng.random(300) > sure).astype(int)
        (samples,) = resampled([Outcomes.of(y, P)], ["ece"], 200, seed)
        ends.append([samples["ece"][0], figure("ece", samples["ece"], 300)[1]])
    value, low = np.array(ends).mean(axis=0)
    assert value > 0.05
    assert low < value / 3


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0.0, 0.2, 1.0, np.nan]), min_size=2, max_size=30))
def test_the_value_lies_in_its_interval_or_there_is_none(samples: list[float]) -> None:
    value, low, high = interval(np.array(samples))
    assert np.isnan([low, high]).all() or np.isnan(value) or low <= value <= high
    assert np.isnan(low) == (np.isnan(samples[1:]).all() or np.isnan(value))


# ---- by class and by size of class


def test_intervals_of_recall_and_f1_behave_where_all_is_right_or_wrong() -> None:
    y = np.repeat(np.arange(4), [12, 12, 3, 5])
    y_pred = np.repeat([0, 2, 2, 3], [12, 12, 3, 5])
    table = per_class(y, np.eye(6)[y_pred], list("abcdef"))
    assert table["f1"].tolist()[:2] == [1, 0]
    low, high = wilson(np.array([1.0, 0.0]), np.array([12.0, 12.0]))
    np.testing.assert_allclose(table["recall_low"][:2], low)
    np.testing.assert_allclose(table["f1_low"][:2], 2 * low / (1 + low))
    np.testing.assert_allclose(table["f1_high"][:2], 2 * high / (1 + high))
    tested = table[:4]
    assert (tested["f1_low"] <= tested["f1"]).all()
    assert (tested["f1"] <= tested["f1_high"]).all()
    assert table.loc[4:, ["f1_low", "f1_high", "recall_low"]].isna().all().all()


@pytest.mark.parametrize("in_group", [1, 4])
def test_intervals_by_class_cover_the_truth(in_group: int) -> None:
    """Of classes with 8 to 16 photos in 8 to 16 or in 2 to 4 groups; see `share_interval`."""
    world = World.of(in_group)
    photos = world.photos
    counts = Counts.of(photos, np.ones((len(photos.y), 1)))
    truth = {"recall": ratio(counts.hits, counts.truth)[:10, 0], "f1": counts.f1[:10, 0]}
    rng = np.random.default_rng(2)
    found: dict[str, list[float]] = {"recall": [], "f1": [], "f1 by photo": []}
    for _ in range(120):
        first = rng.integers(0, len(photos.y) // in_group, 120 // in_group)
        rows = (first[:, None] * in_group + np.arange(in_group)).ravel()
        y, P = photos.y[rows], np.eye(10)[photos.predicted[rows]]
        for groups, names in ((np.arange(120) // in_group, truth), (None, ["f1"])):
            table = per_class(y, P, list("abcdefghij"), groups)
            for name in names:
                low, high = table[f"{name}_low"], table[f"{name}_high"]
                inside = low.le(truth[name]) & high.ge(truth[name])
                kind = name if groups is not None else "f1 by photo"
                found[kind].append(inside[table["n"] > 0].mean())
    naive = np.mean(found.pop("f1 by photo"))
    assert all(0.93 <= np.mean(each) <= 0.985 for each in found.values())
    assert in_group == 1 or naive < 0.88


def test_photos_that_are_groups_of_their_own_are_worth_what_photos_are() -> None:
    rng = np.random.default_rng(0)
    whole = rng.random((5, 400)) < 0.5
    part = whole & (rng.random((5, 400)) < 0.8)
    cells = [csr_array(each.astype(float)) for each in (part, whole)]
    by_photo, by_group = (share_interval(*cells, groups) for groups in (None, np.arange(400)))
    np.testing.assert_allclose(by_photo, by_group, atol=2e-3)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), grouped=st.booleans())
def test_figures_by_size_are_those_of_its_photos_and_labels(seed: int, grouped: bool) -> None:
    y, P = predictions(80, 6, seed)
    trained = np.array([0, 9, 10, 49, 50, 2000])
    found = by_size(y, P, trained, np.arange(80) // 3 if grouped else None, n_boot=20)
    y_pred = P.argmax(axis=1)
    names = ["under 10 photos", "10 to 49 photos", "50 photos or more"]
    for name, labels in zip(names, ([0, 1], [2, 3], [4, 5]), strict=True):
        some = np.isin(y, labels)
        assert (name in found) == some.any()
        if not some.any():
            continue
        present = np.unique(y[some])
        f1 = sk.f1_score(y, y_pred, labels=present, average="macro", zero_division=0)
        value, low, high = found[name]["macro_f1"]
        assert value == pytest.approx(f1, abs=1e-9)
        assert low <= value <= high
        assert found[name]["accuracy"][0] == pytest.approx((y == y_pred)[some].mean(), abs=1e-9)
        assert (found[name]["classes"], found[name]["photos"]) == (len(present), some.sum())


def test_resamples_without_a_photo_of_a_size_do_not_count() -> None:
    """One photo of a rare class, rightly told: a third of the resamples have none."""
    y = np.r_[np.zeros(99, dtype=int), 1]
    found = by_size(y, np.eye(2)[y], np.array([100, 3]), n_boot=200)["under 10 photos"]
    low = wilson(np.array(1.0), np.array(1))[0]
    assert found["accuracy"] == pytest.approx([1, float(low), 1])
