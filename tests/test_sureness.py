"""The report on how sure an answer may be."""

import json

import numpy as np
import pytest
from probabilities_by_hand import honest, sharper

from classify import recalibrate
from classify.conformal import Conformal
from classify.metrics import score
from classify.recalibrate import Evidence, Recalibration
from classify.runs import Predictions
from classify.sureness import CONFORMAL_COLUMNS, calibration_report

CLASSES = np.array(["anatidae", "canidae", "felidae", "rosaceae", "zz"])


def predictions(n, seed, power=3.0, names=None, **more):
    P, y = honest(n, seed=seed)
    labels = CLASSES[y] if names is None else names(y)
    return Predictions(
        [f"{seed}-{i}" for i in range(n)], labels, sharper(P, power), CLASSES, **more
    )


def trained(n=1500, seed=0, power=3.0):
    return predictions(n, seed, power, fold=np.arange(n) % 5)


@pytest.fixture(scope="module")
def report():
    oof, test = trained(), predictions(600, 1)
    return oof, test, *calibration_report(oof, test, n_boot=200)


def test_figures_are_of_the_test_photos_by_what_the_others_fitted(report):
    oof, test, found, _ = report
    assert list(found["methods"]) == list(recalibrate.METHODS)
    for method, one in found["methods"].items():
        P = Recalibration.fit(oof.P, oof.y_index, method).transform(test.P)
        for name in ("log_loss", "brier", "ece", "macro_f1"):
            value, low, high = one[name]
            assert value == pytest.approx(score(test.y_index, P, name))
            assert low <= value <= high
    plain, warm = found["methods"]["none"], found["methods"]["temperature"]
    less = warm["log_loss"][0] - plain["log_loss"][0]
    assert warm["difference"]["log_loss"][0] == pytest.approx(less)
    assert warm["difference"]["log_loss"][2] < 0  # it was three times too sure
    assert warm["moved"] == 0


def test_the_best_is_chosen_out_of_fold(report):
    oof, _, found, _ = report
    assert found["best"] == Recalibration.of(oof, "best").method == "temperature"
    losses = {method: one["out_of_fold"] for method, one in found["methods"].items()}
    assert losses["temperature"] < losses["none"] - 0.1


def test_the_test_photos_have_no_say_in_what_is_fitted(report):
    oof, _, found, _ = report
    other = predictions(300, 7, names=lambda y: CLASSES[(y + 1) % 5])
    against, _ = calibration_report(oof, other, n_boot=5)
    assert against["best"] == found["best"]
    assert [row["threshold"] for row in against["risk_coverage"]["at"]] == [
        row["threshold"] for row in found["risk_coverage"]["at"]
    ]
    for method in recalibrate.METHODS:
        ours, theirs = (r["methods"][method]["out_of_fold"] for r in (found, against))
        assert ours == theirs


def test_reliability_is_better_for_the_calibrated(report):
    _, _, found, _ = report

    def gap(bins):
        return sum(row["n"] * abs(row["confidence"] - row["accuracy"]) for row in bins)

    assert gap(found["reliability_calibrated"]) < gap(found["reliability"]) / 2


def test_sets_are_those_of_the_out_of_fold_photos(report):
    oof, test, found, rows = report
    assert [(one["method"], one["level"]) for one in found["conformal"]] == [
        (method, level) for method in ("lac", "aps", "class") for level in (0.8, 0.9, 0.95)
    ]
    for one in found["conformal"]:
        sets = Conformal.fit(oof.P, oof.y_index, one["method"], one["level"]).sets(test.P)
        holds, size = sets[np.arange(600), test.y_index], sets.sum(axis=1)
        assert one["coverage"][0] == pytest.approx(holds.mean())
        assert one["mean_size"][0] == pytest.approx(size.mean())
        assert one["median_size"] == np.median(size)
        assert (one["singletons"], one["empty"]) == ((size == 1).mean(), (size == 0).mean())
        by_class = {c: holds[test.y == c].mean() for c in CLASSES}
        assert one["worst_class"]["coverage"] == pytest.approx(min(by_class.values()))
        assert one["worst_class"]["n"] == (test.y == one["worst_class"]["class"]).sum()
        if one["level"] == 0.9:
            for row, inside, p in zip(rows, sets, test.P, strict=True):
                named = [name for name in row[one["method"]].split("|") if name]
                assert set(named) == set(CLASSES[inside])
                places = [CLASSES.tolist().index(name) for name in named]
                assert (np.diff(p[places]) <= 0).all()
    assert [row["id"] for row in rows] == test.ids
    assert set(rows[0]) == set(CONFORMAL_COLUMNS)


def test_all_of_it_can_be_written(report):
    _, _, found, _ = report
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_photos_of_a_class_without_training_photos_are_wrong_and_in_no_set():
    oof = trained()
    new = predictions(200, 3, names=lambda y: np.where(np.arange(200) < 50, "unheard", CLASSES[y]))
    found, rows = calibration_report(oof, new, n_boot=20)
    rest = np.arange(200) >= 50
    known = Predictions(new.ids[50:], new.y[rest], new.P[rest], CLASSES)
    only, _ = calibration_report(oof, known, n_boot=20)
    assert any("50 photos of classes without a training photo" in note for note in found["notes"])
    for all_, some in zip(found["conformal"], only["conformal"], strict=True):
        if all_["method"] != "aps":  # whose lots go by the place of a photo
            assert all_["coverage"][0] == pytest.approx(some["coverage"][0] * 0.75)
    assert rows[0]["label"] == "unheard"


def test_groups_widen_the_intervals():
    oof, one = trained(), predictions(60, 4)
    many = np.repeat(np.arange(60), 10)
    P, ids = one.P[many], [str(i) for i in range(600)]
    alone = Predictions(ids, one.y[many], P, CLASSES)
    grouped = Predictions(ids, one.y[many], P, CLASSES, group=many.astype(str))
    found = [calibration_report(oof, each, n_boot=200)[0] for each in (alone, grouped)]
    for path in (
        lambda r: r["methods"]["none"]["log_loss"],
        lambda r: r["conformal"][0]["coverage"],
        lambda r: r["conformal"][0]["mean_size"],
    ):
        widths = [path(each)[2] - path(each)[1] for each in found]
        assert widths[1] > 1.5 * widths[0]
    assert any("group" in note for note in found[1]["notes"])


def test_few_photos_are_said():
    found, _ = calibration_report(trained(60), predictions(12, 5), n_boot=20)
    assert "1,000 photos" in found["methods"]["isotonic"]["skipped"]
    assert any("too few for a reliability diagram" in note for note in found["notes"])
    assert any("share one" in note for note in found["notes"])
    assert found["conformal"][0]["worst_class"] is None
    tiny, rows = calibration_report(trained(6), predictions(12, 5), n_boot=20)
    assert any("every set has all of 5 classes" in note for note in tiny["notes"])
    assert all(row["lac"].count("|") == 4 for row in rows)
    json.dumps(tiny, allow_nan=False)


def test_honest_probabilities_need_no_calibration():
    found, _ = calibration_report(
        trained(1500, 11, power=1.0), predictions(300, 12, 1.0), n_boot=20
    )
    assert found["best"] == "none"
    assert any("no calibration is clearly better" in note for note in found["notes"])


def test_classes_that_are_not_scored_out_of_fold_are_said():
    oof = trained()
    few = oof.y_index < 2
    some = Predictions(
        [i for i, kept in zip(oof.ids, few, strict=True) if kept],
        oof.y[few], oof.P[few], CLASSES, oof.fold[few],
    )  # fmt: skip
    found, _ = calibration_report(some, predictions(100, 6), n_boot=20)
    assert any("3 of 5 classes have no photo out of fold" in note for note in found["notes"])


def test_nothing_known_out_of_fold_is_survived_and_said():
    oof = trained(50)
    unknown = Predictions(oof.ids, np.full(50, "gone"), oof.P, CLASSES, oof.fold)
    assert Evidence.of(unknown).unknown == 50
    found, _ = calibration_report(unknown, predictions(40, 6), n_boot=20)
    assert found["best"] == "none"
    assert "skipped" in found["methods"]["temperature"]
    assert found["risk_coverage"]["at"] == []
    json.dumps(found, allow_nan=False)


def test_predictions_of_other_classes_are_refused():
    oof, test = trained(50), predictions(50, 1)
    other = Predictions(test.ids, test.y, test.P[:, :4], CLASSES[:4])
    with pytest.raises(ValueError, match="same classes"):
        calibration_report(oof, other)
