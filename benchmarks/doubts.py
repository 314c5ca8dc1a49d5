"""Are wrong labels at the top of the doubt list, and is Cleanlab's list any better?

Of `data/species` (`FAMILIA_SHARED`, EfficientNet-Lite0, near-duplicates in one group) 3% of the
labels are replaced, by another class at random or by the class whose mean is most similar to the
photo; and again with at most 10 photos a class. Found: the share of them within the first 6% of the
list. Precision: the share of them in as many first places as there are wrong labels. All orders
are of the same out-of-fold probabilities: ours; Cleanlab's `find_label_issues`, ranked by
self-confidence and by normalised margin (it lists only those that it takes for wrong, the rest
count as not found); its `get_label_quality_scores`, which ranks all. Mean of 5 seeds. Below: how
many labels confident learning counts as wrong, and the time for vectors of the size of Rare
Species (`_vectors.py`).
"""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from _vectors import LITE, NO_PHOTOS, NOTE, QUICK, cut, equal_sizes, rare_species, species, subset

FLIPPED, TOP = 0.03, 0.06
FEW = 10
N_SEEDS = 1 if QUICK else 5
RANKINGS = ("self_confidence", "normalized_margin")


def wrong_labels(photos: Any, alike: bool, seed: int) -> tuple[Any, Any]:
    """Labels of which `FLIPPED` are another class, and (n,) which."""
    rng = np.random.default_rng(seed)
    classes, index = np.unique(photos.y, return_inverse=True)
    means = np.stack([photos.X[index == c].mean(axis=0) for c in range(len(classes))])
    likeness = photos.X @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    if not alike:
        likeness = rng.random(likeness.shape)
    likeness[np.arange(len(index)), index] = -np.inf
    wrong = np.zeros(len(index), dtype=bool)
    wrong[rng.choice(len(index), round(FLIPPED * len(index)), replace=False)] = True
    return np.where(wrong, classes[likeness.argmax(axis=1)], photos.y), wrong


def orders(photos: Any, seed: int) -> tuple[dict[str, Any], int, int]:
    """Rows of the photos, the most doubtful first; and how many are taken for wrong, by each."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    from classify.doubts import doubts_of, probabilities

    rows, P = probabilities(photos, seed)
    ours = doubts_of(photos, rows, P)
    given = np.unique(photos.y, return_inverse=True)[1][rows]
    found = {"ours": ours.table["row"].to_numpy()}
    for name in RANKINGS:
        issues = find_label_issues(given, P, return_indices_ranked_by=name, n_jobs=1)
        found[f"Cleanlab issues, {name.replace('_', '-')}"] = rows[issues]
    for name in RANKINGS:
        scores = get_label_quality_scores(given, P, method=name)
        found[f"Cleanlab scores, {name.replace('_', '-')}"] = rows[
            np.argsort(scores, kind="stable")
        ]
    return found, ours.wrong, len(issues)


def cases(photos: Any) -> Iterator[tuple[str, Any, bool]]:
    few = subset(photos, cut(photos.y, equal_sizes(photos.y, FEW), 0))
    for name, some in (("all photos", photos), (f"{FEW} photos a class", few)):
        yield f"{name}, at random", some, False
        yield f"{name}, the most similar class", some, True


def measure() -> str:
    if not os.environ.get("FAMILIA_SHARED"):
        return NO_PHOTOS
    photos = species(LITE)
    lines = [
        "| labels replaced | order | found in the first 6% | precision |",
        "| --- | --- | --- | --- |",
    ]
    counts = []
    for name, some, alike in cases(photos):
        figures: dict[str, list[tuple[float, float]]] = {}
        taken = []
        for seed in range(N_SEEDS):
            y, wrong = wrong_labels(some, alike, seed)
            found, ours, theirs = orders(replace(some, y=y), seed)
            taken.append((ours, theirs))
            top, n = round(TOP * len(y)), int(wrong.sum())
            for order, rows in found.items():
                shares = wrong[rows[:top]].sum() / n, wrong[rows[:n]].sum() / n
                figures.setdefault(order, []).append(shares)
        for order, shares in figures.items():
            recall, precision = np.mean(shares, axis=0)
            lines.append(f"| {name} | {order} | {recall:.1%} | {precision:.1%} |")
        ours, theirs = np.mean(taken, axis=0)
        counts.append(f"{name}: {ours:.0f} (Cleanlab's list {theirs:.0f}) where {n} are")
    return NOTE + "\n".join([*lines, "", *_counted(photos, counts), "", _time()])


def _counted(photos: Any, counts: list[str]) -> list[str]:
    from classify.doubts import find_doubts

    clean = find_doubts(photos).wrong
    return [
        f"Counted as wrong by confident learning: {'; '.join(counts)}. With no label replaced it "
        f"counts {clean} of {len(photos):,}: it is a rough count, and hard photos are in it."
    ]


def _time() -> str:
    import pandas as pd

    from classify.dataset import Dataset
    from classify.doubts import find_doubts

    drawn, _ = rare_species(os.environ["FAMILIA_SHARED"])
    ids = np.arange(len(drawn.y)).astype(str)
    table = pd.DataFrame({"id": ids, "key": ids})
    photos = Dataset(table, drawn.X, drawn.y, np.full(len(ids), "train"), ids, "family", ())
    wall, cpu = time.perf_counter(), time.process_time()
    find_doubts(photos)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    size = f"{len(ids):,} photos, {len(np.unique(drawn.y))} classes, {drawn.X.shape[1]} dimensions"
    return f"{size}: {wall:.1f} s ({cpu:.1f} s of processor time)."
