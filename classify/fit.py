"""Fitting heads: out-of-fold probabilities on shared folds, then one fit on all training rows."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.balance import BALANCES
from classify.compare import paired_verdict
from classify.dataset import Dataset, load_dataset
from classify.folds import held_out_folds, in_one_group, out_of_fold, pooled_out_of_fold
from classify.heads import load_head, make_head, save_head
from classify.metrics import HEADLINE, intervals
from classify.runs import (
    Predictions,
    Run,
    RunConfig,
    best_first,
    find_run,
    new_run,
    versions,
)
from classify.stack import Stack, fit_pool
from embed.errors import UserError, did_you_mean
from embed.files import write_json
from embed.words import counted
from embed.workspace import Workspace

WIDE = 0.1  # of an interval of macro-F1: beyond it a comparison of heads says next to nothing
BASE_HEADS = ("logreg", "lgbm", "knn")
CHOICES = (*BASE_HEADS, "stack", "all")


@dataclass(frozen=True)
class Fitted:
    """A run with what is worth saying about it."""

    run: Run
    reused: bool  # an identical run was there already
    notes: list[str]


def fit(
    workspace: Workspace,
    head: str,
    balance: str = "none",
    encoders: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
    split: str = "default",
    on_run: Callable[[Fitted], None] = lambda fitted: None,
) -> list[str]:
    """Fit `head` on the training rows; each finished run is saved and handed over.

    `stack` fits the heads that it is made of first, so it is the same as `all`.

    Returns notes on the data. Raises `UserError` for unknown names and data that nothing can
    be learnt from.
    """
    _check_choice("head", head, CHOICES)
    _check_choice("balance", balance, BALANCES)
    dataset, notes = load_dataset(workspace, encoders, split)
    train = dataset.part("train")
    _check_learnable(train)
    fold = held_out_folds(train, folds, seed)
    names = tuple(spec.name for spec in train.specs)
    base = RunConfig("", balance, names, folds, seed, split, train.label)
    wanted = (*BASE_HEADS, "stack") if head in ("all", "stack") else (head,)
    for name in wanted:
        config = replace(base, head=name)
        if name == "stack":
            fitted = _fit_stack(workspace, train, fold, config)
        else:
            fitted = fit_head(workspace, train, fold, config)
        on_run(fitted)
    return notes + _small_classes(train) + _wide_interval(train, fitted.run)


def fit_head(
    workspace: Workspace, train: Dataset, fold: NDArray[np.int64], config: RunConfig
) -> Fitted:
    """One head's run; an identical finished one is returned as it is."""
    found = find_run(workspace, config, train.vectors_digest)
    if found is not None:
        found.touch()
        return Fitted(found, True, [])
    head = make_head(config.head, config.balance, config.seed)
    start = time.perf_counter()
    predictions = out_of_fold(head, train, fold)
    folds_seconds = time.perf_counter() - start
    start = time.perf_counter()
    head.fit(train.X, train.y)
    seconds = {"folds": folds_seconds, "fit": time.perf_counter() - start}
    run = _save(workspace, train, config, head, predictions, seconds)
    return Fitted(run, False, head.notes_.tolist() + _against_unbalanced(workspace, train, run))


def _fit_stack(
    workspace: Workspace, train: Dataset, fold: NDArray[np.int64], config: RunConfig
) -> Fitted:
    """The stack of the base heads' runs, which are there by now."""
    runs = [fit_head(workspace, train, fold, replace(config, head=name)).run for name in BASE_HEADS]
    found = find_run(workspace, config, train.vectors_digest)
    if found is not None:
        found.touch()
        return Fitted(found, True, _against_best(found, runs))
    start = time.perf_counter()
    members_out = [run.out_of_fold for run in runs]
    pooled = pooled_out_of_fold(members_out)
    folds_seconds = time.perf_counter() - start
    start = time.perf_counter()
    heads = {run.config.head: load_head(run.model_file) for run in runs}
    stack = Stack(heads, fit_pool(np.stack([m.P for m in members_out]), pooled.y_index))
    seconds = {"folds": folds_seconds, "fit": time.perf_counter() - start}
    for part in seconds:  # a stack costs what its members cost
        seconds[part] += sum(run.provenance["seconds"][part] for run in runs)
    run = _save(workspace, train, config, stack, pooled, seconds)
    return Fitted(run, False, _against_best(run, runs))


def _save(
    workspace: Workspace,
    train: Dataset,
    config: RunConfig,
    head: Any,
    predictions: Predictions,
    seconds: dict[str, float],
) -> Run:
    start = time.perf_counter()
    head.predict_proba(train.X[:1000])
    per_thousand = (time.perf_counter() - start) / min(len(train), 1000) * 1000
    name = config.run_name(train.vectors_digest)
    with new_run(workspace, name) as folder:
        save_head(head, folder / "model.npz")
        predictions.save(folder / "oof.parquet")
        figures = intervals(predictions.y_index, predictions.P, HEADLINE, groups=predictions.group)
        write_json(folder / "metrics.json", figures)
        write_json(
            folder / "provenance.json",
            {
                "data": train.digest,
                "vectors": train.vectors_digest,
                "photos": len(train),
                "classes": len(predictions.classes),
                "encoders": [spec.to_json() for spec in train.specs],
                "seconds": seconds | {"predict_1000": per_thousand},
                "notes": getattr(head, "notes_", np.array([], dtype=str)).tolist(),
                "versions": versions(),
            },
        )
        write_json(folder / "config.json", asdict(config))
    return Run(workspace.runs / name)


def _against_unbalanced(workspace: Workspace, train: Dataset, run: Run) -> list[str]:
    """Whether balancing helped, where the same run without it is there to compare with."""
    config = run.config
    if config.balance == "none":
        return []
    plain = find_run(workspace, replace(config, balance="none"), train.vectors_digest)
    if plain is None:
        return [f"to see whether {config.balance} helps, fit with --balance none as well"]
    return [paired_verdict(run, plain, f"{config.balance} against no balancing")]


def _against_best(stack: Run, members: Sequence[Run]) -> list[str]:
    """Whether the stack beats the best of its heads."""
    best = best_first(members)[0]
    what = f"stack against its best head, {best.config.head}"
    return [paired_verdict(stack, best, what)]


def _check_choice(what: str, word: str, choices: Sequence[str]) -> None:
    if word not in choices:
        raise UserError(f"'{word}' is no {what}. {did_you_mean(word, choices)}")


def _check_learnable(train: Dataset) -> None:
    classes = np.unique(train.y)
    if len(classes) < 2:
        only = f"only '{classes[0]}'" if len(classes) else "none"
        raise UserError(
            f"Expected at least two classes of '{train.label}' among the training photos, found "
            f"{only}. Check the column with `cli info`, or choose another: "
            "`cli embed PHOTOS --label COLUMN`."
        )


def _small_classes(train: Dataset) -> list[str]:
    classes, counts = np.unique(train.y, return_counts=True)
    notes = []
    if tiny := [f"{name} ({n})" for name, n in zip(classes, counts, strict=True) if n <= 3]:
        have = f"{counted(len(tiny), 'class has', 'classes have')} 1 to 3 training photos"
        shown = ", ".join(tiny[:8]) + (", …" if len(tiny) > 8 else "")
        notes.append(f"{have}: {shown}; kept, but their figures are mostly luck")
    single = len(np.unique(train.y[in_one_group(train)]))
    if single:
        fate = (
            "they always train and are not scored out of fold"
            if single < len(classes)
            else "held out, nothing can predict them, so all count as errors"
        )
        notes.append(
            f"{counted(single, 'class has', 'classes have')} all training photos in one group (a "
            f"single photo, or one value of `split --by`): {fate}"
        )
    return notes


def _wide_interval(train: Dataset, run: Run) -> list[str]:
    _, low, high = run.figures["macro_f1"]
    if high - low < WIDE:
        return []
    return [
        f"so few photos prove little: with {len(train):,} training photos the interval of "
        f"macro-F1 is {100 * (high - low):.0f} points wide, so most differences here are luck"
    ]
