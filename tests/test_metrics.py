"""The figures equal scikit-learn's, in every resample, and the intervals hold what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from classify import bootstrap
from classify.bootstrap import figure, resampled, resamples, wilson, wins
from classify.calibration_error import calibration_error
from classify.metrics import (
    ALL_METRICS,
    HEADLINE,
    confusion,
    intervals,
    paired_difference,
    per_class,
    score,
)
from classify.outcomes import NEVER, Outcomes, rank_of_truth

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]


def predictions(n: int, n_classes: int, seed: int, signal: float = 0.3) -> tuple[Ints, F64]:
    """True classes (some of them unknown to the model) and noisy probabilities."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    P = rng.dirichlet(np.full(n_classes, 0.5), n)
    P[np.arange(n), y] += signal
    P[rng.random(P.shape) < 0.2] = 0
    P += 1e-9
    y[rng.random(n) < 0.1] = -1
    return y, P / P.sum(axis=1, keepdims=True)


def naive(name: str, y: Ints, P: F64) -> float:
    y_pred = P.argmax(axis=1)
    if name == "macro_f1":
        return float(sk.f1_score(y, y_pred, labels=np.unique(y), average="macro", zero_division=0))
    if name == "weighted_f1":
        return float(sk.f1_score(y, y_pred, average="weighted", zero_division=0))
    if name == "balanced_accuracy":
        return float(np.mean([(y_pred[y == c] == c).mean() for c in np.unique(y)]))
    if name == "accuracy":
        return float(sk.accuracy_score(y, y_pred))
    if name == "log_loss":
        p = [P[i, c] if c >= 0 else 0 for i, c in enumerate(y)]
        return float(-np.log(np.clip(p, 1e-6, 1)).mean())
    if name == "brier":
        truth = np.zeros((len(y), P.shape[1] + 1))  # the last column is that of no column
        truth[np.arange(len(y)), y] = 1
        return float(((np.column_stack([P, np.zeros(len(y))]) - truth) ** 2).sum(axis=1).mean())
    if name == "ece":
        return naive_calibration_error(P.max(axis=1), y_pred == y)
    listed = np.argsort(-P, axis=1, kind="stable")[:, : int(name[4:])]
    return float(np.mean([c in row for c, row in zip(y, listed, strict=True)]))


def naive_calibration_error(confidence: F64, right: NDArray[np.bool_]) -> float:
    """Each photo as 15 of a fifteenth, so that every bin has whole ones."""
    gap = confidence - right
    for same in np.unique(confidence):  # nobody knows the order of equals
        gap[confidence == same] = gap[confidence == same].mean()
    ordered = np.repeat(gap[np.argsort(confidence)], 15)
    return float(np.mean([abs(part.mean()) for part in np.split(ordered, 15)]))


@pytest.mark.parametrize("name", [*ALL_METRICS, "top_1"])
@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 40),
    n_classes=st.integers(2, 8),
    seed=st.integers(0, 999),
    grouped=st.booleans(),
)
def test_every_resample_equals_the_naive_figure(
    name: str, n: int, n_classes: int, seed: int, grouped: bool
) -> None:
    y, P = predictions(n, n_classes, seed)
    groups = np.arange(n) // 3 if grouped else None
    (samples,) = resampled([Outcomes.of(y, P)], [name], 5, seed, groups)
    weights = np.hstack(list(resamples(n, 5, seed, groups))).astype(int)
    assert weights.shape == (n, 6)
    for value, times in zip(samples[name], weights.T, strict=True):
        drawn = np.repeat(np.arange(n), times)
        assert value == pytest.approx(naive(name, y[drawn], P[drawn]))


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


def test_chunks_do_not_change_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    y, P = predictions(50, 4, 0)
    whole = intervals(y, P, n_boot=300)
    monkeypatch.setattr(bootstrap, "_CELLS", 50 * 7)
    pieces = intervals(y, P, n_boot=300)
    for name, (value, low, high) in whole.items():
        assert pieces[name] == pytest.approx((value, low, high), abs=0.3 * (high - low))


def test_perfect_predictions_of_few_photos_leave_doubt() -> None:
    y = np.repeat(np.arange(5), 4)
    figures = intervals(y, np.eye(5)[y])
    for loss in ("log_loss", "brier", "ece"):
        assert figures.pop(loss) == (0, 0, 0)
    (low,) = {low for value, low, high in figures.values() if value == high == 1}
    assert low == pytest.approx(0.8389, abs=1e-4)  # Wilson's, 20 of 20
    fewer = intervals(y, np.eye(5)[y], groups=y)["accuracy"]
    assert fewer[1] == pytest.approx(0.5655, abs=1e-4)  # 5 of 5 groups


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


@pytest.mark.parametrize("name", ["accuracy", "macro_f1"])
def test_the_interval_covers_the_truth_in_95_of_100_cases(name: str) -> None:
    rng = np.random.default_rng(0)
    right = np.linspace(0.5, 1, 20)  # recall of 20 classes; errors fall on the next class
    joint = np.diag(right) + np.roll(np.diag(1 - right), 1, axis=1)
    f1 = 2 * right / (joint.sum(axis=0) + joint.sum(axis=1))
    truth = right.mean() if name == "accuracy" else f1.mean()
    y = np.repeat(np.arange(20), 8)
    covered = 0
    for seed in range(200):
        y_pred = np.where(rng.random(len(y)) < right[y], y, (y + 1) % 20)
        _, low, high = intervals(y, np.eye(20)[y_pred], [name], 300, seed)[name]
        covered += low <= truth <= high
    assert 0.91 <= covered / 200 <= 0.995


def test_the_value_lies_in_the_middle_although_resamples_miss_photos_of_small_classes() -> None:
    y = np.repeat(np.arange(200), 2)
    y_pred = np.where(np.random.default_rng(0).random(400) < 0.7, y, (y + 1) % 200)
    value, low, high = intervals(y, np.eye(200)[y_pred], ["macro_f1"])["macro_f1"]
    assert (value - low) / (high - low) == pytest.approx(0.5, abs=0.1)


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


def test_equal_probabilities_rank_as_they_are_listed_and_zero_is_never_listed() -> None:
    P = np.array([[0.4, 0.4, 0.2, 0.0]] * 5)
    assert rank_of_truth(np.array([0, 1, 2, 3, -1]), P).tolist() == [0, 1, 2, NEVER, NEVER]
    assert score(np.array([3] * 5), P, "top_5") == 0


def test_per_class_table() -> None:
    y, P = predictions(80, 5, 2)
    y[y == 4] = 3
    table = per_class(y, P, list("abcde"))
    precision, recall, f1, n = sk.precision_recall_fscore_support(
        y, P.argmax(axis=1), labels=range(5), zero_division=0
    )
    assert table["class"].tolist() == list("abcde")
    assert table["n"].tolist() == n.tolist()
    assert table["predicted"].sum() == 80
    np.testing.assert_allclose(table["precision"], precision)
    np.testing.assert_allclose(table["f1"], f1)
    np.testing.assert_allclose(table["recall"][:4], recall[:4])
    assert table.loc[4, ["recall", "recall_low", "recall_high", "top5"]].isna().all()
    some = table[:4]
    assert (some["recall_low"] <= some["recall"]).all()
    assert (some["recall"] <= some["recall_high"]).all()
    assert (some["top5"] >= some["recall"]).all()


def test_wilson_is_the_textbooks() -> None:
    low, high = wilson(np.array([0.0, 0.5, 1.0]), np.array([10.0, 10.0, 10.0]))
    np.testing.assert_allclose(low, [0, 0.2366, 0.7225], atol=1e-4)
    np.testing.assert_allclose(high, [0.2775, 0.7634, 1], atol=1e-4)


def test_confusion_equals_sklearns_without_the_unknown() -> None:
    y, P = predictions(100, 6, 3)
    y_pred = P.argmax(axis=1)
    seen = y >= 0
    expected = sk.confusion_matrix(y[seen], y_pred[seen], labels=range(6))
    np.testing.assert_array_equal(confusion(y, y_pred, 6), expected)


@pytest.mark.parametrize(
    ("y", "P"),
    [
        (np.array([0]), np.array([[np.nan, 1.0]])),
        (np.array([0, 1]), np.array([[0.5, 0.5]])),
        (np.array([], dtype=int), np.zeros((0, 2))),
    ],
)
def test_figures_of_nothing_are_refused(y: Ints, P: F64) -> None:
    with pytest.raises(ValueError, match="photos need"):
        intervals(y, P)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="f2"):
        score(np.array([0]), np.ones((1, 2)), "f2")


# ---- probabilities


def seen(n: int, n_classes: int, seed: int) -> tuple[Ints, F64]:
    """Labels that all have columns, every one of them there: what scikit-learn takes."""
    y, P = predictions(n, n_classes, seed)
    y[:n_classes] = np.arange(n_classes)
    y[y < 0] = 0
    P += 0.01 * np.random.default_rng(seed).random(P.shape)  # no 0 and no equals
    return y, P / P.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_classes", [2, 7])
def test_figures_equal_scikit_learns(n_classes: int, seed: int) -> None:
    y, P = seen(60, n_classes, seed)
    y_pred, labels = P.argmax(axis=1), np.arange(n_classes)
    theirs = {
        "accuracy": sk.accuracy_score(y, y_pred),
        "balanced_accuracy": sk.balanced_accuracy_score(y, y_pred),
        "macro_f1": sk.f1_score(y, y_pred, average="macro"),
        "weighted_f1": sk.f1_score(y, y_pred, average="weighted"),
        "log_loss": sk.log_loss(y, P, labels=labels),
        "brier": sk.brier_score_loss(y, P, labels=labels, scale_by_half=False),
    }
    if n_classes > 5:
        theirs["top_5"] = sk.top_k_accuracy_score(y, P, k=5, labels=labels)
    for name, value in theirs.items():
        assert score(y, P, name) == pytest.approx(value)


def test_a_class_absent_from_a_fold_or_without_a_column_costs_what_it_should() -> None:
    P = np.array([[0.5, 0.5, 0.0]])
    for y in (np.array([2]), np.array([-1])):
        assert score(y, P, "brier") == pytest.approx(1.5)
        assert score(y, P, "log_loss") == pytest.approx(-np.log(1e-6))
        assert score(y, P, "ece") == pytest.approx(0.5)
        assert score(y, P, "top_5") == score(y, P, "macro_f1") == 0
    assert score(np.array([1]), np.array([[1.0, 0.0]]), "brier") == pytest.approx(2)


def test_calibration_error_is_the_textbooks_where_bins_are_whole() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.permutation(np.linspace(0.2, 0.99, 150))
    right = rng.random(150) < confidence**2
    bins = np.array_split(np.argsort(confidence), 15)
    expected = np.mean([abs(confidence[rows].mean() - right[rows].mean()) for rows in bins])
    once = np.ones((150, 1))
    assert calibration_error(confidence, right, once)[0] == pytest.approx(expected)
    order = rng.permutation(150)
    shuffled = calibration_error(confidence[order], right[order], once)
    assert shuffled[0] == pytest.approx(expected)


def test_calibration_error_of_one_confidence_is_its_distance_to_the_accuracy() -> None:
    """As of the head `prior`, which says the same of every photo: no order of them may matter."""
    right = np.arange(40) % 4 == 0
    for order in (np.arange(40), np.argsort(right), np.argsort(~right)):
        found = calibration_error(np.full(40, 0.6), right[order], np.ones((40, 1)))
        assert found[0] == pytest.approx(0.35)


def test_calibration_error_is_too_high_for_few_photos() -> None:
    """The truth is 0 here: what is found is chance, and the more the fewer the photos."""
    rng = np.random.default_rng(0)

    def found(n: int) -> float:
        confidence = rng.uniform(0.5, 1, (30, n))
        right = rng.random((30, n)) < confidence
        return float(
            np.mean(
                [
                    calibration_error(c, r, np.ones((n, 1)))[0]
                    for c, r in zip(confidence, right, strict=True)
                ]
            )
        )

    assert found(60) > 3 * found(6000) > 0


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
    samples = np.concatenate([[0.001], np.random.default_rng(0).exponential(0.02, 200)])
    _, low, high = figure(name, samples, 30)
    assert low == 0
    assert high <= 1
