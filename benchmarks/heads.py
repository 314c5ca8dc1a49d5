"""How good is each head, and does the stack earn its place?

`data/species` of `FAMILIA_SHARED`, near-duplicates in one fold, mean of the fold seeds 0 to 2.
With all photos: out-of-fold over 5 folds as `cli fit` reports it, the stack's pool of a fold
chosen and fitted on the other folds. With few photos everything is nested: of 5 outer folds the
training part is cut (to 5 or 10 photos a class, or so that the class of rank r by size keeps the
largest class's size divided by r), the stack is fitted on that part's own 5 folds, the heads are
fitted on the part, and the outer fold is predicted whole. The plain mean is that of the logs of
the same heads' probabilities; lgbm-columns and prior are no members of either.
`FAMILIA_QUICK=1`: a third of the photos, one seed, one encoder, one cut.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _vectors import (
    BEST,
    LITE,
    NO_PHOTOS,
    NOTE,
    QUICK,
    SEEDS,
    cut,
    equal_sizes,
    long_tail,
    species,
    subset,
)

Array = Any

OTHERS = ("lgbm-columns", "prior")  # no members of the stack
STACK, MEAN = "stack", "plain mean"
GOALS = {
    LITE: {"logreg": 0.920, "knn": 0.907, "lda": 0.916, "lgbm": 0.920, STACK: 0.930},
    BEST: {"logreg": 0.941, "knn": 0.930, "lda": 0.941, "lgbm": 0.943, STACK: 0.948},
}
CUTS: dict[str, Callable[[Array], Array]] = {
    "5 a class": partial(equal_sizes, n=5),
    "10 a class": partial(equal_sizes, n=10),
    "long tail": long_tail,
}
if QUICK:
    GOALS, CUTS = {LITE: GOALS[LITE]}, {"5 a class": CUTS["5 a class"]}


def whole(photos: Any, seed: int) -> tuple[dict[str, Array], dict[str, float]]:
    """Out-of-fold probabilities (n, C) with all other folds' photos, and CPU seconds a fold."""
    from classify.fit import MEMBERS
    from classify.folds import held_out_folds, out_of_fold
    from classify.stack import crossfit_pool

    fold = held_out_folds(photos, 5, seed)
    P, seconds = {}, {}
    for name in (*MEMBERS, *OTHERS):
        start = time.process_time()
        found = out_of_fold(model(name, seed), photos, fold)
        P[name], seconds[name] = found.P, (time.process_time() - start) / 5
    members = [P[name] for name in MEMBERS]
    start = time.process_time()
    P[STACK] = crossfit_pool(members, found.y_index, fold, class_sizes(photos))
    seconds[STACK] = time.process_time() - start
    P[MEAN] = plain_mean(members)
    return P, seconds


def nested(photos: Any, seed: int, sizes: Callable[[Array], Array]) -> dict[str, Array]:
    """Probabilities (n, C) of each outer fold by what the cut rest taught."""
    from classify.fit import MEMBERS
    from classify.folds import held_out_folds

    names = (*MEMBERS, *OTHERS, STACK, MEAN)
    P = {name: np.zeros((len(photos), len(np.unique(photos.y)))) for name in names}
    outer = held_out_folds(photos, 5, seed)
    for held_out in range(5):
        test, rest = outer == held_out, np.flatnonzero(outer != held_out)
        part = subset(photos, rest[cut(photos.y[rest], sizes(photos.y[rest]), seed)])
        heads, pool = fit_stack(part, seed)
        heads |= {name: model(name, seed).fit(part) for name in OTHERS}
        for name, fitted in heads.items():
            P[name][test] = fitted.predict_proba(photos.X[test])
        members = [P[name][test] for name in MEMBERS]
        P[STACK][test], P[MEAN][test] = pool(members), plain_mean(members)
    return P


def fit_stack(part: Any, seed: int) -> tuple[dict[str, Any], Any]:
    """The stack's fitted heads by name and their pool, from nothing but `part`, as `cli fit`."""
    from classify.fit import MEMBERS
    from classify.folds import held_out_folds, out_of_fold
    from classify.stack import fit_pool

    inner = held_out_folds(part, 5, seed)
    out = [out_of_fold(model(name, seed), part, inner) for name in MEMBERS]
    pool = fit_pool([one.P for one in out], out[0].y_index, out[0].fold, class_sizes(part))
    return {name: model(name, seed).fit(part) for name in MEMBERS}, pool


def model(name: str, seed: int) -> Any:
    from classify.heads import make_head
    from classify.model import Model

    return Model(make_head(name, random_state=seed))


def class_sizes(photos: Any) -> Array:
    return np.unique(photos.y, return_counts=True)[1]


def plain_mean(P: list[Array]) -> Array:
    """Geometric mean, (n, C): no temperature, no weight; a zero counts as 1e-9."""
    mean = np.exp(np.mean([np.log(np.maximum(p, 1e-9)) for p in P], axis=0))
    return mean / mean.sum(axis=1, keepdims=True)


def scores(photos: Any, found: list[dict[str, Array]]) -> dict[str, Array]:
    """By name (2, n_seeds): macro-F1 and log-loss."""
    from classify.metrics import score

    y = np.unique(photos.y, return_inverse=True)[1]
    return {
        name: np.array([[score(y, P[name], m) for P in found] for m in ("macro_f1", "log_loss")])
        for name in found[0]
    }


def table(photos: Any, goals: dict[str, float]) -> str:
    """All photos: a row a head, with its goal."""
    found = [whole(photos, seed) for seed in SEEDS]
    by_name = scores(photos, [P for P, _ in found])
    lines = ["| | macro-F1 | each seed | log-loss | CPU s a fold | goal | |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for name, (f1, loss) in by_name.items():
        took = [seconds[name] for _, seconds in found if name in seconds]
        cells = [name, f"{f1.mean():.4f}", " ".join(f"{v:.3f}" for v in f1), f"{loss.mean():.3f}"]
        cells += [f"{np.mean(took):.2f}" if took else "", *goal(f1.mean(), goals.get(name))]
        lines.append(f"| {' | '.join(cells)} |")
    f1 = {name: float(values[0].mean()) for name, values in by_name.items()}
    return "\n".join([*lines, "", "The stack's seconds are those of all its pools.", "", earns(f1)])


def goal(value: float, wanted: float | None) -> list[str]:
    if wanted is None:
        return ["", ""]
    return [f"≥ {wanted:.3f}", "met" if value >= wanted else "missed"]


def earns(f1: dict[str, float]) -> str:
    """The stack against the best head and the plain mean, and lgbm against kNN, in points."""
    best = max((name for name in f1 if name not in (STACK, MEAN)), key=f1.__getitem__)
    pairs = ((STACK, best), (STACK, MEAN), ("lgbm", "knn"))
    said = [f"{a} - {b} {100 * (f1[a] - f1[b]):+.2f}" for a, b in pairs]
    return f"Points of macro-F1: {', '.join(said)}."


def cuts_table(photos: Any) -> str:
    """Few photos: macro-F1 and log-loss, a column a cut; then what the goals are about."""
    found = {
        what: scores(photos, [nested(photos, seed, sizes) for seed in SEEDS])
        for what, sizes in CUTS.items()
    }
    lines = [f"| macro-F1 (log-loss) | {' | '.join(found)} |", "| --- " * (len(found) + 1) + "|"]
    for name in next(iter(found.values())):
        means = [by_name[name].mean(axis=1) for by_name in found.values()]
        lines.append(f"| {name} | {' | '.join(f'{f1:.4f} ({loss:.3f})' for f1, loss in means)} |")
    lines += ["", "Goals: the stack not below the best head, lgbm not below kNN, in each.", ""]
    for what, by_name in found.items():
        f1 = {name: float(values[0].mean()) for name, values in by_name.items()}
        lines.append(f"- {what}: {earns(f1)}")
    return "\n".join(lines)


def measure() -> str:
    if not os.environ.get("FAMILIA_SHARED"):
        return NO_PHOTOS
    parts = []
    for encoders, goals in GOALS.items():
        photos = species(encoders)
        what = f"{' + '.join(encoders)}: {len(photos):,} photos, {photos.X.shape[1]:,} numbers"
        parts += [f"### {what}", table(photos, goals), cuts_table(photos)]
    return NOTE + "\n\n".join(parts)
