"""Is five minutes of `cli tune` as good as five minutes of Optuna on scikit-learn pipelines?

`data/species` of `FAMILIA_SHARED`, the vectors of EfficientNet-Lite0 and Lite2, one by one or side
by side as each search chooses. For each of five seeds 20% of the photos are held out by `cli split
--seed N`; neither search ever sees them. Each searches the other 80% for the same time on the same
cores, by the macro-F1 of 5 folds; what it chose is fitted on the 80% and scored on the 20%. Ours is
`cli tune` as it comes. The peer is Optuna's TPE with its median pruner over the folds, on
pipelines of StandardScaler (or none), PCA (or none), SMOTE of imbalanced-learn (or none, or class
weights) and LogisticRegression, KNeighborsClassifier, LinearDiscriminantAnalysis or LGBMClassifier
with their usual parameters in wide ranges; all cores are its BLAS's and LightGBM's. `in-sample` is
the figure of the winner by the photos that it was chosen by, `honest` ours without what the
choosing adds (BBC-CV), `test` the photos held out.
`FAMILIA_QUICK=1`: few photos, one seed, seconds.
"""

import contextlib
import io
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _vectors import NO_PHOTOS, NOTE, QUICK

import cli

ENCODERS = ("efficientnet-lite0",) if QUICK else ("efficientnet-lite0", "efficientnet-lite2")
SEEDS = range(1 if QUICK else 5)
MINUTES = 0.25 if QUICK else 5.0
CORES = os.cpu_count() or 1
EVERY = 8  # photo of a quick run


def command(*words: object) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        assert cli.run([str(word) for word in words]) == 0, words


def some_photos(species: Path, folder: Path) -> Path:
    """Every `EVERY`th photo of each class, as links."""
    for place in sorted(one for one in species.iterdir() if one.is_dir()):
        (folder / place.name).mkdir(parents=True)
        for photo in sorted(place.iterdir())[::EVERY]:
            (folder / place.name / photo.name).symlink_to(photo)
    return folder


def ours(workspace: Any, split: str, seed: int, test: Any) -> dict[str, Any]:
    from classify.tune import Request, tune
    from classify.tune_trial import Trials

    request = Request(minutes=MINUTES, split=split, seed=seed, encoders=ENCODERS, jobs=CORES)
    report = tune(workspace, request)
    cell = report.best.cell
    assert report.honest is not None
    fitted = Trials(workspace, workspace.sweeps / "cells", "macro_f1").fitted(cell)
    new = test(cell.encoders)
    return {
        "P": fitted(new),
        "in-sample": report.honest.best[0],
        "honest": report.honest.value[0],
        "trials": f"{len(report.rows)}",
        "chosen": cell.describe(),
    }


def peer(train: Any, new: Any, seed: int) -> dict[str, Any]:
    import optuna
    from sklearn.metrics import f1_score
    from sklearn.model_selection import StratifiedKFold

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    widths, y = train.layout, train.y
    end = time.monotonic() + 60 * MINUTES
    blocks = np.split(np.arange(train.X.shape[1]), np.cumsum(widths)[:-1])
    choices = {"+".join(ENCODERS): np.arange(train.X.shape[1])}
    choices |= dict(zip(ENCODERS, blocks, strict=True))
    folds = list(StratifiedKFold(5, shuffle=True, random_state=seed).split(train.X, y))

    def objective(trial: Any) -> float:
        columns = choices[trial.suggest_categorical("encoders", list(choices))]
        X, scores = train.X[:, columns], []
        for i, (rest, held_out) in enumerate(folds):
            if time.monotonic() > end and done:
                raise optuna.TrialPruned
            model = pipeline(trial, seed, X.shape[1])
            guess = model.fit(X[rest], y[rest]).predict(X[held_out])
            scores.append(f1_score(y[held_out], guess, average="macro", zero_division=0))
            trial.report(float(np.mean(scores)), i)
            if trial.should_prune():
                raise optuna.TrialPruned
        done.append(trial.number)
        return float(np.mean(scores))

    done: list[int] = []  # the first of all is waited for
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_warmup_steps=1),
    )
    study.optimize(objective, timeout=60 * MINUTES)
    best = study.best_trial
    fixed = optuna.trial.FixedTrial(best.params)
    columns = choices[fixed.suggest_categorical("encoders", list(choices))]
    model = pipeline(fixed, seed, len(columns)).fit(train.X[:, columns], y)
    classes = np.unique(y)
    P = np.zeros((len(new.X), len(classes)))
    P[:, np.searchsorted(classes, model.classes_)] = model.predict_proba(new.X[:, columns])
    return {
        "P": P,
        "in-sample": study.best_value,
        "honest": np.nan,
        "trials": f"{len(study.trials)}",
        "chosen": ", ".join(f"{name} {value}" for name, value in best.params.items()),
    }


def pipeline(trial: Any, seed: int, dim: int) -> Any:
    """The pipeline of a trial; asked again within a trial it is the same."""
    from imblearn.over_sampling import SMOTE
    from imblearn.pipeline import Pipeline
    from lightgbm import LGBMClassifier
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    steps: list[tuple[str, Any]] = []
    if trial.suggest_categorical("scale", [True, False]):
        steps.append(("scale", StandardScaler()))
    if trial.suggest_categorical("pca", [True, False]):
        most = min(512, dim, 200 if QUICK else 512)
        axes = trial.suggest_int("axes", 16, most, log=True)
        steps.append(("pca", PCA(axes, random_state=seed)))
    head = trial.suggest_categorical("head", ["logreg", "knn", "lda", "lgbm"])
    balance = trial.suggest_categorical("balance", ["none", "weights", "smote"])
    if balance == "smote":
        steps.append(("smote", SMOTE(k_neighbors=1 if QUICK else 5, random_state=seed)))
    weight = "balanced" if balance == "weights" else None
    if head == "logreg":
        C = trial.suggest_float("C", 1e-3, 1e3, log=True)
        model: Any = LogisticRegression(C=C, class_weight=weight, max_iter=1000)
    elif head == "knn":
        model = KNeighborsClassifier(
            trial.suggest_int("k", 1, 50, log=True),
            weights=trial.suggest_categorical("votes", ["uniform", "distance"]),
            metric=trial.suggest_categorical("metric", ["cosine", "euclidean"]),
        )
    elif head == "lda":
        shrinkage = trial.suggest_float("shrinkage", 1e-3, 1.0, log=True)
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    else:
        model = LGBMClassifier(
            n_estimators=trial.suggest_int("rounds", 20, 300, log=True),
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
            num_leaves=trial.suggest_int("leaves", 4, 63, log=True),
            class_weight=weight, n_jobs=CORES, random_state=seed, verbosity=-1,
        )  # fmt: skip
    return Pipeline([*steps, ("model", model)])


def measure() -> str:
    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return NO_PHOTOS
    from classify.dataset import load_dataset
    from classify.metrics import paired_difference, score
    from embed.workspace import Workspace

    lines = ["| seed | search | trials | in-sample | honest | test | chosen |"]
    lines.append("| --- " * 7 + "|")
    tests: dict[str, list[float]] = {"cli tune": [], "Optuna + scikit-learn": []}
    truth: list[Any] = []
    P: dict[str, list[Any]] = {name: [] for name in tests}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = Path(shared) / "data" / "species"
        if QUICK:
            photos = some_photos(photos.resolve(), folder / "photos")
        workspace = Workspace(folder)
        chosen = [word for encoder in ENCODERS for word in ("--encoder", encoder)]
        command("embed", photos, *chosen, "-w", folder)
        for seed in SEEDS:
            split = f"seed-{seed}"
            command("split", "--seed", seed, "--name", split, "-w", folder)
            train, new = (load_dataset(workspace, ENCODERS, split)[0].part(s)
                          for s in ("train", "test"))  # fmt: skip

            def test(encoders: Any, split: str = split) -> Any:
                return load_dataset(workspace, encoders, split)[0].part("test")

            y = np.searchsorted(np.unique(train.y), new.y)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = {
                    "cli tune": ours(workspace, split, seed, test),
                    "Optuna + scikit-learn": peer(train, new, seed),
                }
            for who, one in found.items():
                tests[who].append(score(y, one["P"], "macro_f1"))
                P[who].append(one["P"])
                honest = "" if np.isnan(one["honest"]) else f"{one['honest']:.4f}"
                lines.append(
                    f"| {seed} | {who} | {one['trials']} | {one['in-sample']:.4f} | {honest} | "
                    f"{tests[who][-1]:.4f} | {one['chosen']} |"
                )
            truth.append(y)
    means = {who: float(np.mean(values)) for who, values in tests.items()}
    lead = means["cli tune"] - means["Optuna + scikit-learn"]
    each = [paired_difference(y, a, b) for y, a, b in zip(truth, *P.values(), strict=True)]
    said = ", ".join(
        f"{100 * d:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]" for d, low, high in each
    )
    verdict = "met" if lead >= 0 else "missed"
    both = ", ".join(f"{who} {mean:.4f}" for who, mean in means.items())
    lines += [
        "",
        f"Mean test macro-F1 over {len(truth)} seeds: {both}: {100 * lead:+.2f} points. By seed, "
        f"paired 95% intervals over the test photos: {said}.",
        "",
        f"Goal: `cli tune` not below in the same {MINUTES:g} minutes on {CORES} cores: {verdict}.",
    ]
    return NOTE + "\n".join(lines)


if __name__ == "__main__":
    print(measure())
