"""Is our stack as good as AutoGluon's and scikit-learn's, in a fifth of their time?

`data/species` of `FAMILIA_SHARED`, EfficientNet-Lite0, the 5 folds of seed 0 with near-duplicates
in one fold: each fold predicted by what was fitted on the others, on the same vectors. Ours is
what `cli fit --head all` does there: every head of the stack on 5 inner folds, the pool, every head
on all. AutoGluon-Tabular has the preset best_quality and the time limit named, for a fold or for
all five together; it runs in `FAMILIA_AUTOGLUON`, a python that has it. scikit-learn's
StackingClassifier has LogisticRegression, KNeighborsClassifier and LinearDiscriminantAnalysis
with 5 inner folds, all as they come (but for 1,000 iterations). Seconds are those of fitting and
predicting all five folds.
`FAMILIA_QUICK=1`: a third of the photos and one fold, 100 s of AutoGluon.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _vectors import LITE, NO_PHOTOS, NOTE, QUICK, species, subset
from heads import fit_stack

FOLDS = range(1 if QUICK else 5)
LIMITS = {"10 minutes for all folds": 120, "10 minutes a fold": 600}  # seconds a fold
if QUICK:
    LIMITS = {"100 s": 100}
SHARE = 5  # times our seconds
# probabilities (n_new, C) and seconds, of a part to fit on and vectors to predict
Fit = Callable[[Any, Any], tuple[Any, float]]


class PeerError(Exception):
    """A peer gave up, and said why."""


def ours(part: Any, X_new: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    heads, pool = fit_stack(part, 0)
    P = pool([head.predict_proba(X_new) for head in heads.values()])
    return P, time.perf_counter() - start


def stacking_classifier(part: Any, X_new: Any) -> tuple[Any, float]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.ensemble import StackingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    members = [
        ("logreg", LogisticRegression(max_iter=1000)),
        ("knn", KNeighborsClassifier()),
        ("lda", LinearDiscriminantAnalysis()),
    ]
    start = time.perf_counter()
    stack = StackingClassifier(members, LogisticRegression(max_iter=1000), cv=5)
    P = stack.fit(part.X, part.y).predict_proba(X_new)
    return P, time.perf_counter() - start


def autogluon(python: str, limit: int) -> Fit:
    def fit(part: Any, X_new: Any) -> tuple[Any, float]:
        script = Path(__file__).parent / "_autogluon.py"
        with tempfile.TemporaryDirectory() as name:
            source, out = Path(name) / "in.npz", Path(name) / "out.npy"
            np.savez(source, X=part.X, y=part.y, X_new=X_new)
            command = [python, script, source, out, str(limit)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise PeerError(done.stderr.strip().splitlines()[-1])
            return np.load(out), float(done.stdout.split()[-1])

    return fit


def row(name: str, photos: Any, fold: Any, fit: Fit, first: tuple[float, float] | None) -> Any:
    """A line of the table, and (accuracy, seconds); `first` is ours to compare with."""
    from classify.metrics import score

    index = np.unique(photos.y, return_inverse=True)[1]
    found, truth, seconds = [], [], 0.0
    for held_out in FOLDS:
        new = fold == held_out
        P, took = fit(subset(photos, ~new), photos.X[new])
        found.append(P)
        truth.append(index[new])
        seconds += took
    y, P = np.concatenate(truth), np.concatenate(found)
    figures = [score(y, P, metric) for metric in ("accuracy", "macro_f1", "log_loss")]
    cells, ratio, verdict = [name, *(f"{value:.4f}" for value in figures)], 1.0, ""
    if first:
        ratio = seconds / first[1]
        verdict = "met" if first[0] >= figures[0] and ratio >= SHARE else "missed"
    cells += [f"{seconds:,.0f}", f"{ratio:.1f} ×", verdict]
    return f"| {' | '.join(cells)} |", (figures[0], seconds)


def measure() -> str:
    if not os.environ.get("FAMILIA_SHARED"):
        return NO_PHOTOS
    from classify.folds import held_out_folds

    photos = species(LITE)
    fold = held_out_folds(photos, 5, 0)
    line, first = row("our stack", photos, fold, ours, None)
    lines = ["| | accuracy | macro-F1 | log-loss | seconds | this / ours | goal |"]
    lines += ["| --- " * 7 + "|", line]
    peers: dict[str, Fit] = {"scikit-learn StackingClassifier": stacking_classifier}
    python = os.environ.get("FAMILIA_AUTOGLUON")
    if python:
        peers |= {f"AutoGluon, {what}": autogluon(python, n) for what, n in LIMITS.items()}
    for name, fit in peers.items():
        try:
            lines.append(row(name, photos, fold, fit, first)[0])
        except PeerError as error:
            lines.append(f"| {name} | failed: {error} | | | | | |")
    if not python:
        how = "`pip install autogluon.tabular[lightgbm,catboost,xgboost,fastai,ray]`"
        lines += ["", f"AutoGluon not run: {how}, and FAMILIA_AUTOGLUON=its python."]
    goal = f"Goal: accuracy not below theirs, in 1/{SHARE} of their seconds."
    return NOTE + "\n".join([*lines, "", goal])
