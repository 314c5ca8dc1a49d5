"""The figures equal scikit-learn's and torchmetrics', in every resample and on odd inputs."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk
from sklearn.exceptions import UndefinedMetricWarning

from classify.bootstrap import resampled, resamples
from classify.calibration_error import BINS, calibration_error
from classify.counts import Figures
from classify.discrimination import confidence_auroc
from classify.metrics import ALL_METRICS, confusion, per_class, score
from classify.outcomes import NEVER, Outcomes, rank_of_truth

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]
CASES = (
    "random", "one class", "one prediction", "one and the same", "all right", "all wrong",
    "never predicted", "ties", "certain", "unknown classes",
)  # fmt: skip


def exactly(value: float) -> Any:
    return pytest.approx(value, abs=1e-9, rel=0, nan_ok=True)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Ints, F64, Ints]:
    """True classes, -1 for unknown ones; probabilities; and how often each photo counts."""
    n, n_classes = draw(st.integers(1, 30)), draw(st.integers(2, 8))
    case, seed = draw(st.sampled_from(CASES)), draw(st.integers(0, 9999))
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    P = rng.dirichlet(np.full(n_classes, 0.5), n) + 1e-4
    first = np.eye(n_classes)[0]
    if case in ("one class", "one and the same"):
        y[:] = 0
    if case in ("one prediction", "one and the same"):
        P += 2 * first
    if case == "all right":
        P += 2 * np.eye(n_classes)[y]
    if case == "all wrong":
        P += 2 * np.eye(n_classes)[(y + 1) % n_classes]
    if case == "never predicted":
        P[:, 0] = 1e-5
    if case == "ties":
        P = np.round(P * 4) + 1
    if case == "certain":
        P = np.eye(n_classes)[P.argmax(axis=1)]
    if case == "unknown classes":
        y[rng.random(n) < 0.4] = -1
    times = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    times[draw(st.integers(0, n - 1))] += 1
    return y, P / P.sum(axis=1, keepdims=True), times


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


def theirs(name: str, y: Ints, P: F64) -> float:
    """scikit-learn's; our own words only where it has no such figure."""
    y_pred = P.argmax(axis=1)
    present = np.unique(y)
    columns = P.shape[1] + 1  # the last is that of classes without a column
    wide, y_wide = np.column_stack([P, np.zeros(len(y))]), np.where(y < 0, columns - 1, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        warnings.filterwarnings("ignore", "A single label was found")
        if name == "accuracy":
            return float(sk.accuracy_score(y, y_pred))
        if name == "macro_f1":
            return f1(y, y_pred, labels=present, average="macro")
        if name in ("micro_f1", "weighted_f1"):
            return f1(y, y_pred, average=name[:-3])
        if name == "balanced_accuracy":
            recall = sk.recall_score(y, y_pred, labels=present, average="macro", zero_division=0)
            return float(recall)
        if name == "mcc":
            return float(sk.matthews_corrcoef(y, y_pred))
        if name == "kappa":
            return float(sk.cohen_kappa_score(y, y_pred))
        if name == "auroc":
            right = y == y_pred
            mixed = 0 < right.sum() < len(right)
            return float(sk.roc_auc_score(right, P.max(axis=1))) if mixed else np.nan
        if name == "log_loss":
            p = wide[np.arange(len(y)), y_wide]
            return float(-np.log(np.clip(p, 1e-6, 1)).mean())
        if name == "brier":
            labels = np.arange(columns)
            return float(sk.brier_score_loss(y_wide, wide, labels=labels, scale_by_half=False))
    if name == "ece":
        return naive_calibration_error(P.max(axis=1), y_pred == y)
    listed = np.argsort(-P, axis=1, kind="stable")[:, : int(name[4:])]
    return float(np.mean([c in row[p[row] > 0] for c, row, p in zip(y, listed, P, strict=True)]))


def f1(*given: Any, **options: Any) -> float:
    return float(sk.f1_score(*given, **options, zero_division=0))


def naive_calibration_error(confidence: F64, right: NDArray[np.bool_]) -> float:
    """Each photo as 15 of a fifteenth, so that every bin has whole ones."""
    gap = confidence - right
    for same in np.unique(confidence):  # nobody knows the order of equals
        gap[confidence == same] = gap[confidence == same].mean()
    ordered = np.repeat(gap[np.argsort(confidence)], BINS)
    return float(np.mean([abs(part.mean()) for part in np.split(ordered, BINS)]))


@pytest.mark.parametrize("name", [*ALL_METRICS, "top_1"])
@settings(deadline=None, max_examples=100)
@given(answers())
def test_every_metric_equals_scikit_learns(name: str, given: tuple[Ints, F64, Ints]) -> None:
    y, P, times = given
    drawn = np.repeat(np.arange(len(y)), times)
    of_weighted = Figures(Outcomes.of(y, P), [name], {})(times[:, None].astype(float))
    assert of_weighted[name][0] == exactly(theirs(name, y[drawn], P[drawn]))
    assert score(y, P, name) == exactly(theirs(name, y, P))


@settings(deadline=None, max_examples=60)
@given(answers(), st.booleans())
def test_every_resample_equals_scikit_learns(given: tuple[Ints, F64, Ints], grouped: bool) -> None:
    y, P, _ = given
    groups = np.arange(len(y)) // 3 if grouped else None
    (samples,) = resampled([Outcomes.of(y, P)], ALL_METRICS, 3, 0, groups)
    weights = np.hstack(list(resamples(len(y), 3, 0, groups))).astype(int)
    assert weights.shape == (len(y), 4)
    for i, times in enumerate(weights.T):
        drawn = np.repeat(np.arange(len(y)), times)
        for name in ALL_METRICS:
            assert samples[name][i] == exactly(theirs(name, y[drawn], P[drawn])), name


def test_figures_without_a_meaning_are_nan() -> None:
    """As scikit-learn's kappa and AUROC are; its MCC is 0 where it divides by 0."""
    same = np.array([[0.9, 0.1]] * 4)
    assert np.isnan(score(np.zeros(4, dtype=int), same, "auroc"))
    assert np.isnan(score(np.ones(4, dtype=int), same, "auroc"))
    assert np.isnan(score(np.zeros(4, dtype=int), same, "kappa"))
    assert score(np.zeros(4, dtype=int), same, "mcc") == 0
    assert score(np.array([0, 1, 0, 1]), same, "auroc") == 0.5


def test_micro_f1_is_the_accuracy_where_every_photo_has_one_answer() -> None:
    y, P = predictions(200, 6, 0)
    assert score(y, P, "micro_f1") == score(y, P, "accuracy")


def test_kappa_and_mcc_are_the_textbooks() -> None:
    """Of 100 photos 35 and 25 right, 15 and 25 wrong: p_o = .6, p_e = .6 * .5 + .4 * .5."""
    y = np.repeat([0, 0, 1, 1], [35, 15, 25, 25])
    P = np.eye(2)[np.repeat([0, 1, 1, 0], [35, 15, 25, 25])]
    assert score(y, P, "kappa") == exactly(0.2)
    assert score(y, P, "mcc") == exactly(1000 / np.sqrt(60 * 40 * 50 * 50) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_calibration_error_equals_torchmetrics_where_equal_widths_are_equal_masses(
    seed: int,
) -> None:
    """Their function in front of this one rounds to float32."""
    torch = pytest.importorskip("torch")
    module = pytest.importorskip("torchmetrics.functional.classification.calibration_error")
    rng = np.random.default_rng(seed)
    n, n_classes = 10 * BINS, 400  # so that the likeliest class may have little
    confidence = rng.permutation((np.arange(n) + 0.5) / n)
    predicted = rng.integers(0, n_classes, n)
    P = np.repeat((1 - confidence)[:, None] / (n_classes - 1), n_classes, axis=1)
    P[np.arange(n), predicted] = confidence
    y = np.where(rng.random(n) < confidence**2, predicted, (predicted + 1) % n_classes)
    right = torch.from_numpy(y == predicted)
    expected = module._ce_compute(torch.from_numpy(confidence), right, BINS, norm="l1")
    assert score(y, P, "ece") == exactly(float(expected))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=1))
def test_auroc_counts_pairs_and_halves_of_equals(photos: list[tuple[int, bool, int]]) -> None:
    confidence, right, times = (np.array(each) for each in zip(*photos, strict=True))
    drawn = np.repeat(np.arange(len(times)), times)
    good = [confidence[i] for i in drawn if right[i]]
    bad = [confidence[i] for i in drawn if not right[i]]
    pairs = [(a > b) + (a == b) / 2 for a in good for b in bad]
    found = confidence_auroc(confidence.astype(float), right, times[:, None].astype(float))[0]
    assert found == exactly(float(np.mean(pairs)) if pairs else np.nan)


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
        Outcomes.of(y, P)


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
