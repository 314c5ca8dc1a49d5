"""How sure an answer may be: calibration, fewer answers, and sets of classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.bootstrap import N_BOOT, difference, figure, interval, known, resampled
from classify.conformal import LEVELS, Conformal
from classify.conformal import METHODS as SETS
from classify.outcomes import F64, Outcomes
from classify.ratios import Sums
from classify.recalibrate import (
    METHODS,
    Evidence,
    Recalibration,
    best_method,
    crossfits,
    log_losses,
    why_not,
)
from classify.reliability import FEWEST, reliability
from classify.runs import Predictions
from classify.selective import risk_coverage
from embed.words import counted

Bools = NDArray[np.bool_]

METRICS = ("log_loss", "brier", "ece", "macro_f1")
WRITTEN = 0.9  # level of the sets in conformal.csv
CONFORMAL_COLUMNS = ("id", "label", *SETS)
FEWEST_OF_CLASS = 10  # test photos, to be named as the worst class


def calibration_report(
    oof: Predictions, test: Predictions, n_boot: int = N_BOOT, seed: int = 0
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What calibration.json holds, and the rows of conformal.csv (`CONFORMAL_COLUMNS`).

    oof : the run's out-of-fold predictions, on which all is fitted; test : those that judge, with
    the same classes. Photos of a class without a column count as wrong and are in no set.

    Each method has its figures [value, low, high] on `test`; `difference` to the probabilities as
    they come, on the same resamples; `moved`, the share of photos with another answer; and
    `out_of_fold`, the cross-fitted log-loss of the training photos, by which `best` is chosen.
    """
    if not np.array_equal(oof.classes, test.classes):
        raise ValueError("expected out-of-fold and test predictions of the same classes")
    evidence = Evidence.of(oof)
    drawing: dict[str, Any] = {"n_boot": n_boot, "seed": seed, "groups": test.group}
    out_of_fold = crossfits(evidence)
    losses = log_losses(evidence, out_of_fold)
    best = best_method(losses, evidence.group)
    outcomes = {
        m: Outcomes.of(
            test.y_index,
            Recalibration.fit(evidence.P, evidence.y_index, m).transform(test.P),
        )
        for m in out_of_fold
    }
    sets = {
        (m, level): Conformal.fit(evidence.P, evidence.y_index, m, level, seed)
        for m in SETS
        for level in LEVELS
    }
    inside = {key: one.sets(test.P) for key, one in sets.items()}
    found = {
        "methods": _methods(evidence, outcomes, losses, drawing),
        "best": best,
        "reliability": reliability(outcomes["none"], test.group),
        "reliability_calibrated": reliability(outcomes[best], test.group),
        "risk_coverage": risk_coverage(outcomes[best], out_of_fold[best].max(axis=1), **drawing),
        "conformal": _coverages(test, inside, drawing),
        "notes": _notes(best, outcomes, evidence, test, sets),
    }
    return found, _rows(test, {m: inside[m, WRITTEN] for m in SETS})


def _methods(
    evidence: Evidence,
    outcomes: Mapping[str, Outcomes],
    losses: Mapping[str, F64],
    drawing: Mapping[str, Any],
) -> dict[str, Any]:
    """The figures of each method, or why it was skipped."""
    groups = drawing["groups"]
    several = resampled(list(outcomes.values()), METRICS, **drawing)
    of = dict(zip(outcomes, several, strict=True))
    plain = outcomes["none"]
    units = len(plain.y) if groups is None else len(np.unique(groups))
    found: dict[str, Any] = {}
    for m in METHODS:
        if m not in outcomes:
            why = why_not(evidence.P, evidence.y_index, m)
            found[m] = {"skipped": why or "all out-of-fold photos are of one fold"}
            continue
        found[m] = {name: list(known(figure(name, of[m][name], units))) for name in METRICS}
        found[m]["out_of_fold"] = float(losses[m].mean()) if len(losses[m]) else None
        found[m]["moved"] = float((outcomes[m].predicted != plain.predicted).mean())
        if m != "none":
            found[m]["difference"] = {
                name: list(known(difference(of[m][name], of["none"][name]))) for name in METRICS
            }
    return found


def _coverages(
    test: Predictions, inside: Mapping[tuple[str, float], Bools], drawing: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What the sets of each method and level are worth."""
    columns: dict[str, Any] = {"photos": np.ones(len(test.y))}
    for (m, level), one in inside.items():
        columns[f"{m} {level} holds"] = _holds(test, one)
        columns[f"{m} {level} size"] = one.sum(axis=1)
    sums = Sums.of(columns, **drawing)
    return [
        {
            "method": m,
            "level": level,
            "coverage": sums.share(f"{m} {level} holds", "photos"),
            "mean_size": list(
                known(interval(sums.samples[f"{m} {level} size"] / sums.samples["photos"]))
            ),
            "median_size": int(np.median(one.sum(axis=1))),
            "singletons": float((one.sum(axis=1) == 1).mean()),
            "empty": float((one.sum(axis=1) == 0).mean()),
            "worst_class": _worst_class(test, _holds(test, one)),
        }
        for (m, level), one in inside.items()
    ]


def _holds(test: Predictions, inside: Bools) -> Bools:
    """(n,) whether the set has the true class, which it has not where that has no column."""
    y = test.y_index
    return np.asarray(inside[np.arange(len(y)), y] & (y >= 0))


def _worst_class(test: Predictions, holds: Bools) -> dict[str, Any] | None:
    """The class with the lowest coverage; None where none has `FEWEST_OF_CLASS` photos."""
    names, index = np.unique(test.y, return_inverse=True)
    n = np.bincount(index)
    coverage = np.bincount(index, weights=holds) / n
    enough = np.flatnonzero(n >= FEWEST_OF_CLASS)
    if not len(enough):
        return None
    worst = enough[coverage[enough].argmin()]
    return {
        "class": str(names[worst]),
        "coverage": float(coverage[worst]),
        "n": int(n[worst]),
    }


def _rows(test: Predictions, inside: Mapping[str, Bools]) -> list[dict[str, Any]]:
    """A row for each photo, in each column the classes of a set, the likeliest first."""
    rows = []
    for i, (name, label) in enumerate(zip(test.ids, test.y.tolist(), strict=True)):
        row = {"id": name, "label": label}
        for m, one in inside.items():
            members = np.flatnonzero(one[i])
            members = members[np.argsort(-test.P[i, members], kind="stable")]
            row[m] = "|".join(test.classes[members].tolist())
        rows.append(row)
    return rows


def _notes(
    best: str,
    outcomes: Mapping[str, Outcomes],
    evidence: Evidence,
    test: Predictions,
    sets: Mapping[tuple[str, float], Conformal],
) -> list[str]:
    notes = [
        "everything is fitted on the out-of-fold predictions of the training photos; each fold's "
        "model learnt from the other folds only, the tested one from all photos, so the sets "
        "have no guarantee of their own: their coverage here tells what they are worth"
    ]
    if best == "none":
        notes.append(
            "out of fold no calibration is clearly better than the probabilities as they come"
        )
    moved = [m for m in outcomes if (outcomes[m].predicted != outcomes["none"].predicted).any()]
    if moved:
        notes.append(f"some answers change with {' and '.join(moved)} calibration")
    if silent := len(test.classes) - len(np.unique(evidence.y_index)):
        notes.append(
            f"{silent:,} of {counted(len(test.classes), 'class', 'classes')} have no photo out of "
            "fold: nothing here is known of how sure the model may be of them"
        )
    if evidence.unknown:
        notes.append(
            f"{counted(evidence.unknown, 'training photo')} left out: their class was unknown to "
            "the model of their fold"
        )
    if test.group is not None and len(np.unique(test.group)) < len(test.group):
        notes.append(
            "photos of one group are no independent witnesses, and a split by groups shows other "
            "groups than those learnt from: sets hold as often as wanted only on the mean over "
            "such groups"
        )
    if unseen := int((test.y_index < 0).sum()):
        notes.append(
            f"{counted(unseen, 'photo')} of classes without a training photo: in no set, and wrong"
        )
    for (m, level), one in sets.items():
        if one.pooled.any():
            notes.append(
                f"class by class at {level:.0%}: {int(one.pooled.sum()):,} of "
                f"{counted(len(one.pooled), 'class', 'classes')} have too few photos out of fold "
                "for a threshold of their own and share one"
            )
        if always := int(np.isinf(one.thresholds).sum()):
            notes.append(
                f"{m} at {level:.0%}: too few photos out of fold, so every set has all of "
                f"{counted(always, 'class', 'classes')}"
            )
    if len(test.y) < 2 * FEWEST:
        notes.append(f"{counted(len(test.y), 'photo')}: too few for a reliability diagram")
    return notes
