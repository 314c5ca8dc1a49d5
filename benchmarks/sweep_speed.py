"""How fast are sweeps, against scikit-learn's GridSearchCV, in 4 GB, and on a second core?

Species: 200 configurations × 5 folds on `data/species` of `FAMILIA_SHARED`, each of EfficientNet
Lite0 and Lite2 with 5, 10, 20 and all photos a class, for which there are 25 settings of the heads:
kNN (three balances × five k), logistic regression and LDA (three balances each), centroid and lgbm
(the two balances that mean something to them). Goals: under 4 minutes with two jobs, 10 times as
fast as GridSearchCV, and two jobs 1.7 times as fast as one.

GridSearchCV has the same cells, folds and training photos, in the same run after ours: for each
number of photos one search over a `Pipeline` with `memory=`, the folds as a predefined `cv`,
`n_jobs=2`, `refit=False`, one BLAS thread a worker, as ours. It is run twice. With our heads both
do the same arithmetic, and accuracy and macro-F1 of every fold are asserted to be equal; a memory
of transformers cannot share what a sweep does, which happens within a head, across settings. With
stock heads it is what one would write without this project: SMOTE of imbalanced-learn,
StandardScaler, KNeighborsClassifier (cosine, by distance; k 10 for "auto"), LogisticRegression at
its usual C (ours is chosen inside), LinearDiscriminantAnalysis (lsqr, shrunk automatically),
NearestCentroid and LGBMClassifier as it comes, whose first fold alone is run and taken five times,
as it needs an hour for all. These have other scores: the table says by how much.
Our time also has the processes' start, the intervals, and all cells saved to disk.

Large: 100 configurations on 12,120 drawn points of 512 dimensions in 202 classes, in 4 GB
(goal: under 15 minutes). `FAMILIA_QUICK=1`: drawn points throughout, and few.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _sweeping import ROOT, Swept, columns_of, drawn_workspace, swept
from _vectors import NO_PHOTOS, NOTE, QUICK, many_classes

ENCODERS = ("efficientnet-lite0", "efficientnet-lite2")
JOBS, FOLDS = 2, 5
PHOTOS = [5, 10, 20, "all"]
NEIGHBOURS = ["auto", 1, 5, 15, 50]
BALANCES = ["none", "weights", "smote"]
LARGE_CLASSES, LARGE_EACH = (8, 20) if QUICK else (202, 60)
STOCK_K = 10  # for k = "auto"
MEMORY = 4 * 10**9
if QUICK:
    ENCODERS, PHOTOS, NEIGHBOURS = ("first", "second"), [5, "all"], ["auto", 5]


def species_grid() -> str:
    return f"""
encoders = {list(ENCODERS)}
photos = {PHOTOS}
folds = {FOLDS}
[[grid]]
heads = ["knn"]
balance = {BALANCES}
knn.k = {NEIGHBOURS}
[[grid]]
heads = ["logreg", "lda"]
balance = {BALANCES}
[[grid]]
heads = ["centroid", "lgbm"]
balance = ["none", "weights"]
"""


LARGE_GRID = """
encoders = ["drawn"]
[[grid]]
heads = ["knn"]
balance = ["none", "weights", "smote"]
knn.k = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50]
[[grid]]
heads = ["lda"]
balance = ["none", "weights", "smote"]
lda.ridge = {from = 0.01, to = 100, log = 11}
[[grid]]
heads = ["logreg"]
logreg.C = {from = 1, to = 300, log = 10}
[[grid]]
heads = ["logreg"]
balance = ["none", "weights"]
[[grid]]
heads = ["centroid", "lgbm"]
balance = ["none", "weights"]
"""


def measure() -> str:
    if not QUICK and not os.environ.get("FAMILIA_SHARED"):
        return NO_PHOTOS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return NOTE + "\n\n".join([_species(folder), _large(folder)])


def _species(folder: Path) -> str:
    first, second = folder / "two-jobs", folder / "one-job"
    _species_workspace(first)
    shutil.copytree(first, second)
    grid = folder / "species.toml"
    grid.write_text(species_grid())
    two, one = swept(first, grid, JOBS), swept(second, grid, 1)
    print(f"2 jobs {two.seconds:.0f} s, 1 job {one.seconds:.0f} s", file=sys.stderr, flush=True)
    cells = two.report["cells"]
    if two.report["failed"] or one.report["failed"]:
        raise RuntimeError(str(two.report["notes"]))
    scores = _our_scores(first, cells)
    same, same_scores = _grid_search(first, cells, our_heads())
    for cell, found in scores.items():
        np.testing.assert_allclose(found, same_scores[cell], atol=1e-10, err_msg=cell)
    stock, stock_scores = _grid_search(first, cells, stock_heads())
    gain = one.seconds / two.seconds
    rows = [
        ("configurations × folds", f"{len(cells)} × {FOLDS}", "", ""),
        ("sweep, 2 jobs", f"{two.seconds:.0f} s", "< 240 s", _met(two.seconds < 240)),
        (
            "one by one, nothing shared",
            f"{two.report['seconds_with_nothing_shared']:.0f} s",
            "",
            "",
        ),
        ("GridSearchCV, our heads: same scores", *_faster(same, two)),
        ("GridSearchCV, stock heads", *_faster(stock, two)),
        ("macro-F1, points ahead of stock", _ahead(cells, scores, stock_scores), "", ""),
        ("sweep, 1 job", f"{one.seconds:.0f} s", "", ""),
        ("1 → 2 jobs", f"{gain:.2f} ×", "≥ 1.7 ×", _met(gain >= 1.7)),
        ("peak memory, 2 jobs and 1", f"{_mega(two)}, {_mega(one)}", "", ""),
    ]
    return _table("Species", rows)


def _large(folder: Path) -> str:
    photos = many_classes(LARGE_CLASSES, LARGE_EACH)
    drawn_workspace(folder / "large", {"drawn": photos.X}, photos.y)
    grid = folder / "large.toml"
    grid.write_text(LARGE_GRID)
    found = swept(folder / "large", grid, JOBS, MEMORY)
    if found.report["failed"]:
        raise RuntimeError(str(found.report["notes"]))
    alone = found.report["seconds_with_nothing_shared"]
    rows = [
        ("configurations", f"{found.report['total']}", "", ""),
        ("sweep, 2 jobs", f"{found.seconds:.0f} s", "≤ 900 s", _met(found.seconds <= 900)),
        ("one by one, nothing shared", f"{alone:.0f} s", "", ""),
        ("peak memory", _mega(found), "≤ 4,000 MB", _met(found.peak_bytes <= MEMORY)),
    ]
    return _table(f"{len(photos.y):,} × {photos.X.shape[1]} × {LARGE_CLASSES}", rows)


def _table(title: str, rows: list[tuple[str, str, str, str]]) -> str:
    lines = [f"### {title}", "", "| | | goal | |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _faster(theirs: float, ours: Swept) -> tuple[str, str, str]:
    ratio = theirs / ours.seconds
    return f"{theirs:,.0f} s: {ratio:.1f} × as long", "≥ 10 ×", _met(ratio >= 10)


def _met(goal: bool) -> str:
    return "met" if goal else "missed"


def _mega(found: Swept) -> str:
    return f"{found.peak_bytes / 1e6:,.0f} MB"


def _species_workspace(folder: Path) -> None:
    if QUICK:
        photos = many_classes(6, 20)
        blocks = dict(zip(ENCODERS, np.split(photos.X, 2, axis=1), strict=True))
        drawn_workspace(folder, blocks, photos.y)
        return
    photos = Path(os.environ["FAMILIA_SHARED"]) / "data" / "species"
    named = [word for name in ENCODERS for word in ("--encoder", name)]
    for command in (["embed", photos, *named], ["split"]):
        words = [sys.executable, "-m", "cli", *map(str, command), "-w", str(folder)]
        subprocess.run(words, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


# GridSearchCV over the same cells


@dataclass(frozen=True)
class Peer:
    """What GridSearchCV is given."""

    steps: list[tuple[str, Any]]
    """of the pipeline, the first the choice of the encoder, the last the head"""
    setting: Callable[[Any, int], dict[str, Any]]
    """what to set for a cell, given the columns of its encoder"""
    one_fold: tuple[str, ...] = ()
    """heads that are run on the first fold only, their time taken five times"""


def our_heads() -> Peer:
    from classify.heads import make_head

    def setting(cell: Any, dim: int) -> dict[str, Any]:
        head = make_head(cell.head, cell.balance, cell.seed, **dict(cell.options))
        return {"head": head.set_params(layout=(dim,))}

    return Peer([("head", make_head("prior"))], setting)


def stock_heads() -> Peer:
    from imblearn.over_sampling import SMOTE
    from lightgbm import LGBMClassifier
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    from sklearn.preprocessing import StandardScaler

    def head(cell: Any, weights: str | None) -> Any:
        if cell.head == "knn":
            k = dict(cell.options).get("k", STOCK_K)
            return KNeighborsClassifier(k, weights="distance", metric="cosine")
        if cell.head == "logreg":
            return LogisticRegression(max_iter=1000, class_weight=weights)
        if cell.head == "lda":
            return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        if cell.head == "centroid":
            return NearestCentroid()
        return LGBMClassifier(n_jobs=1, verbose=-1, class_weight=weights)

    def setting(cell: Any, dim: int) -> dict[str, Any]:
        near = min(5, (cell.photos or 6) - 1)
        smote = SMOTE(k_neighbors=near, random_state=cell.seed)
        return {
            "scale": StandardScaler() if cell.head in ("logreg", "lda") else "passthrough",
            "balance": smote if cell.balance == "smote" else "passthrough",
            "head": head(cell, "balanced" if cell.balance == "weights" else None),
        }

    steps = [("scale", "passthrough"), ("balance", "passthrough"), ("head", NearestCentroid())]
    return Peer(steps, setting, one_fold=("lgbm",))


def _grid_search(workspace: Path, cells: list[Any], peer: Peer) -> tuple[float, dict[str, Any]]:
    """Seconds, and the (accuracy, macro-F1) of every fold that was run, (folds, 2), by cell id."""
    from imblearn.pipeline import Pipeline
    from sklearn.model_selection import GridSearchCV
    from sklearn.preprocessing import FunctionTransformer

    X, train, blocks = _side_by_side(workspace, cells)
    searches: dict[Any, list[Any]] = {}
    for one in cells:
        folds = 1 if one["cell"]["head"] in peer.one_fold else FOLDS
        searches.setdefault((one["cell"]["photos"], folds), []).append(one)
    seconds, scores = 0.0, {}
    for (_, folds), same in searches.items():
        settings = []
        for each in map(_cell, same):
            block = blocks[each.encoders]
            values = peer.setting(each, block.stop - block.start)
            values["encoder__kw_args"] = {"block": block}
            settings.append({name: [value] for name, value in values.items()})
        cv = _held_out(train, _cell(same[0]))[:folds]
        with tempfile.TemporaryDirectory() as cache:
            search = GridSearchCV(
                Pipeline([("encoder", FunctionTransformer(columns_of)), *peer.steps], memory=cache),
                settings, cv=cv, n_jobs=JOBS, refit=False, scoring=["accuracy", "f1_macro"],
            )  # fmt: skip
            begin = time.perf_counter()
            found = search.fit(X, train.y).cv_results_
            seconds += (time.perf_counter() - begin) * FOLDS / folds
        for i, one in enumerate(same):
            scores[one["id"]] = np.array([
                [found[f"split{k}_test_{metric}"][i] for metric in ("accuracy", "f1_macro")]
                for k in range(folds)
            ])  # fmt: skip
    return seconds, scores


def _held_out(train: Any, cell: Any) -> list[tuple[Any, Any]]:
    """Training and test rows of each fold of a cell."""
    from classify.cell_data import which_train
    from classify.folds import held_out_folds

    fold, allowed, cv = held_out_folds(train, FOLDS, cell.seed), which_train(train, cell), []
    for held_out in range(FOLDS):
        test = fold == held_out
        fits = allowed(~np.isin(train.group, train.group[test]))
        cv.append((np.flatnonzero(fits), np.flatnonzero(test)))
    return cv


def _side_by_side(workspace: Path, cells: list[Any]) -> tuple[Any, Any, dict[Any, slice]]:
    """The vectors of all encoders (n, sum of dims), the photos, and where each encoder stands."""
    from classify.cell_data import training_data
    from embed.workspace import Workspace

    each = {cell.encoders: cell for cell in map(_cell, cells)}
    trains = {e: training_data(Workspace(workspace), cell)[0] for e, cell in each.items()}
    ends = np.cumsum([0, *(train.X.shape[1] for train in trains.values())])
    blocks = {e: slice(int(ends[i]), int(ends[i + 1])) for i, e in enumerate(trains)}
    some = next(iter(trains.values()))
    return np.hstack([train.X for train in trains.values()]), some, blocks


def _cell(one: Any) -> Any:
    from classify.cell import Cell

    return Cell.from_json(one["cell"])


def _our_scores(workspace: Path, cells: list[Any]) -> dict[str, Any]:
    """The (accuracy, macro-F1) of every fold, (folds, 2), by cell id, from our predictions."""
    from sklearn.metrics import accuracy_score, f1_score

    from classify.runs import Predictions

    scores = {}
    for one in cells:
        found = Predictions.load(workspace / "sweeps" / "cells" / f"{one['id']}.parquet")
        here = [found.fold == k for k in range(FOLDS)]
        pairs = [(found.y[rows], found.predicted[rows]) for rows in here]
        scores[one["id"]] = np.array([
            (accuracy_score(y, said), f1_score(y, said, average="macro")) for y, said in pairs
        ])  # fmt: skip
    return scores


def _ahead(cells: list[Any], ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """By how many points of macro-F1 our cells of each head are better, on the folds of both."""
    by_head: dict[str, list[float]] = {}
    for one in cells:
        both = theirs[one["id"]]
        gain = (ours[one["id"]][: len(both)] - both)[:, 1].mean()
        by_head.setdefault(one["cell"]["head"], []).append(100 * float(gain))
    return ", ".join(f"{head} {np.mean(gains):+.1f}" for head, gains in by_head.items())
