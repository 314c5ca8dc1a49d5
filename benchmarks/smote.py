"""Is our logistic regression with SMOTE as good as imbalanced-learn's pipeline, and faster?

Its pipeline is centring, scaling to length 1, SMOTE and scikit-learn's LogisticRegression (1,000
iterations at most), with C as it comes and with C = 100; ours chooses C inside `fit`. SMOTE there
takes one number of neighbours for all classes, so that of the smallest; ours one for each class.
Same folds and photos, each fit in turn with the other's; `data/species` of `FAMILIA_SHARED`,
EfficientNet-Lite0, 5 folds, the fold seeds 0 to 2 together, whole and cut to a tail (a quarter of
the largest class's size divided by the class's rank, 2 at least); and vectors of the size of Rare
Species (`_vectors.py`), fitted once. Differences are paired, with the 95% interval of a bootstrap
over the photos. `FAMILIA_QUICK=1`: less of each.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from _vectors import (
    LITE,
    NO_PHOTOS,
    NOTE,
    SEEDS,
    cut,
    long_tail,
    rare_species,
    species,
)

OURS = "ours"
PEERS = {"imbalanced-learn, C = 1": 1.0, "imbalanced-learn, C = 100": 100.0}
NEIGHBOURS = 5


@dataclass(frozen=True)
class Job:
    """Rows to fit on and rows to predict."""

    X: Any
    y: Any
    X_new: Any
    truth: Any  # (n_new,) class numbers
    group: Any  # (n_new,) rows that are one witness
    seed: int


def folds(photos: Any, sizes: Callable[[Any], Any] | None) -> Iterator[Job]:
    from classify.folds import held_out_folds

    index = np.unique(photos.y, return_inverse=True)[1]
    for seed in SEEDS:
        fold = held_out_folds(photos, 5, seed)
        for held_out in range(5):
            rows, new = np.flatnonzero(fold != held_out), fold == held_out
            if sizes:
                rows = rows[cut(photos.y[rows], sizes(photos.y[rows]), seed)]
            X, y = photos.X[rows], photos.y[rows]
            yield Job(X, y, photos.X[new], index[new], photos.group[new], seed)


def short_tail(y: Any) -> Any:
    return np.maximum(2, long_tail(y) // 4)


def ours(job: Job) -> Any:
    from classify.heads import make_head

    return make_head("logreg", balance="smote", random_state=job.seed)


def pipeline(job: Job, C: float) -> Any:
    from imblearn.over_sampling import SMOTE
    from imblearn.pipeline import make_pipeline
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import Normalizer, StandardScaler

    smallest = np.unique(job.y, return_counts=True)[1].min()
    return make_pipeline(
        StandardScaler(with_std=False),
        Normalizer(),
        SMOTE(k_neighbors=min(NEIGHBOURS, smallest - 1), random_state=job.seed),
        LogisticRegression(C=C, max_iter=1000),
    )


def table(what: str, jobs: list[Job]) -> str:
    from classify.metrics import paired_difference, score

    makers: dict[str, Callable[[Job], Any]] = {OURS: ours}
    makers |= {name: lambda job, C=C: pipeline(job, C) for name, C in PEERS.items()}
    P: dict[str, list[Any]] = {name: [] for name in makers}
    seconds = dict.fromkeys(makers, 0.0)
    for job in jobs:
        for name, make in makers.items():
            start = time.perf_counter()
            fitted = make(job).fit(job.X, job.y)
            seconds[name] += (time.perf_counter() - start) / len(jobs)
            P[name].append(fitted.predict_proba(job.X_new))
    truth = np.concatenate([job.truth for job in jobs])
    group = np.concatenate([job.group for job in jobs])
    rows = {name: np.concatenate(found) for name, found in P.items()}
    lines = [
        f"| {what} | macro-F1 | log-loss | ours less this, points | a fit, s | this / ours |",
        "| --- " * 6 + "|",
    ]
    for name, found in rows.items():
        gain = "{:+.2f} [{:+.2f}, {:+.2f}]".format(
            *(100 * v for v in paired_difference(truth, rows[OURS], found, groups=group))
        )
        cells = [name, *(f"{score(truth, found, m):.4f}" for m in ("macro_f1", "log_loss"))]
        cells += [gain if name != OURS else "", f"{seconds[name]:.2f}"]
        lines.append(f"| {' | '.join(cells)} | {seconds[name] / seconds[OURS]:.1f} × |")
    return "\n".join(lines)


def measure() -> str:
    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return NO_PHOTOS
    photos = species(LITE)
    rare, _ = rare_species(shared)
    truth = np.searchsorted(np.unique(rare.y), rare.y_new)
    once = Job(rare.X, rare.y, rare.X_new, truth, np.arange(len(truth)), 0)
    warm = next(folds(photos, short_tail))
    ours(warm).fit(warm.X, warm.y)
    pipeline(warm, 1.0).fit(warm.X, warm.y)
    parts = [
        table(f"species, {len(photos):,} photos", list(folds(photos, None))),
        table("species, a tail", list(folds(photos, short_tail))),
        table(f"{len(rare.y):,} drawn vectors", [once]),
    ]
    return NOTE + "\n\n".join(parts)
