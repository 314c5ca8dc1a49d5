"""How often is a look-alike of the same family, and are the copies that are listed found?

`data/species` (`FAMILIA_SHARED`), each photo searched among the others as `cli search` does it.
Precision@10: the share of the ten best hits that are of the query's label, first the mean of each
label's photos, then of the labels. Hits that are listed as near-duplicates of the query are left
out. Intervals (95%): 1,000 bootstrap samples of the photos within each label. Duplicates: those of
the 20 listed pairs that `cli duplicates` puts into one group, and the others it groups.
"""

import contextlib
import csv
import io
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from quality import groups

ENCODERS = (
    "pixels",
    "efficientnet-lite0",
    "efficientnet-lite0@both,gem",
    "efficientnet-lite2",
    "efficientnet-lite2@both,gem",
)
K, SAMPLES = 10, 1_000


def precisions(X: np.ndarray, y: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(n,) share of each photo's `K` best hits of its label, copies left out."""
    from retrieval.index import Index

    most = int(np.bincount(group).max())
    rows, _ = Index.build(X, [str(i) for i in range(len(X))], "flat").query_rows(X, K + most)
    found = np.empty(len(X))
    for i, near in enumerate(rows):
        others = near[group[near] != group[i]][:K]
        found[i] = (y[others] == y[i]).mean()
    return found


def macro(precision: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean([precision[y == label].mean() for label in np.unique(y)]))


def interval(precision: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """95%, of samples drawn within each label."""
    rng = np.random.default_rng(0)
    means = []
    for label in np.unique(y):
        own = precision[y == label]
        means.append(own[rng.integers(0, len(own), (SAMPLES, len(own)))].mean(axis=1))
    low, high = np.quantile(np.mean(means, axis=0), [0.025, 0.975])
    return float(low), float(high)


def measure() -> str:
    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return "Not run: FAMILIA_SHARED is not set."
    import cli
    from embed.collection import load_collection
    from embed.vectors import load_vectors, open_stores
    from embed.workspace import Workspace
    from retrieval.duplicates import find_duplicates

    root = Path(shared) / "data" / "species"
    with (root / "near_duplicates.csv").open() as handle:
        listed = {frozenset((row["a"], row["b"])) for row in csv.DictReader(handle)}
    lines = [
        f"| encoder | precision@{K} | 95% | worst label | listed pairs found | further pairs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        place = Workspace(Path(folder))
        for name in ENCODERS:
            assert cli.run(["embed", str(root), "--encoder", name, "-w", folder]) == 0
            there = load_collection(place.collection)
            paths, labels = there.rows["file_path"].tolist(), there.rows[there.label]
            y, group = labels.factorize()[0], groups(root, paths)
            X = load_vectors(open_stores(place, [name]), there.rows["key"].tolist())
            precision = precisions(X, y, group)
            low, high = interval(precision, y)
            by_label = {label: precision[labels == label].mean() for label in labels.unique()}
            worst = min(by_label, key=by_label.__getitem__)
            pairs = grouped_pairs(find_duplicates(place, [name]))
            lines.append(
                f"| {name} | {macro(precision, y):.3f} | {low:.3f} to {high:.3f} | "
                f"{worst} {by_label[worst]:.2f} | {len(pairs & listed)} of {len(listed)} | "
                f"{len(pairs - listed)} |"
            )
    counts = np.bincount(y)
    chance = float(np.mean((counts - 1) / (len(y) - 1)))
    lines += ["", f"By chance {chance:.3f}: {len(y):,} photos of {len(counts)} labels."]
    return "\n".join(lines)


def grouped_pairs(found: Any) -> set[frozenset[str]]:
    """All pairs of photos that stand in one group."""
    return {
        frozenset(pair)
        for group in found.groups
        for pair in itertools.combinations(group["file_path"], 2)
    }


if __name__ == "__main__":
    print(measure())
