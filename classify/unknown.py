"""How well photos of classes that nobody taught are told from those of known ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.base import unit_rows
from classify.bootstrap import N_BOOT, figure, resamples
from classify.dataset import Dataset
from classify.discrimination import confidence_auroc
from classify.folds import held_out_folds
from classify.model import Model
from classify.outcomes import F64, ratio
from classify.ratios import Sums
from classify.stack import Stack
from embed.words import counted
from retrieval.index import Index

ROUNDS = 5
KEPT = 0.95  # of the photos of known classes: what a threshold is set to let pass
NEAREST = 3  # a class may have no more photos
N_CLASSES = 10
SCORES = {
    "max_probability": "probability of the likeliest class",
    "max_logit": "highest logit (Hendrycks et al. 2022)",
    "energy": "energy, the log of the summed exponentials of the logits (Liu et al. 2020)",
    "knn": "mean cosine to the three nearest training photos (after Sun et al. 2022)",
}

Scores = Mapping[str, F64]  # name of `SCORES` -> (n,), higher for what looks known


@dataclass(frozen=True)
class Round:
    """What was found when some classes were left out."""

    left_out: list[str]
    known: NDArray[np.bool_]  # (n,) which test photos are of classes that were taught
    scores: Scores  # of the n test photos
    thresholds: Mapping[str, float]


def unknown_report(
    model: Model,
    train: Dataset,
    held_out: Dataset,
    rounds: int = ROUNDS,
    seed: int = 0,
    n_boot: int = N_BOOT,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """What unknown.json holds: the classes are left out in turns, and their photos shown then.

    In each round `model` is fitted anew on four fifths of the training photos of the other
    classes. Of the last fifth, which it did not see, comes the threshold that `KEPT` of known
    photos pass; the photos of `held_out` judge it. Those of a class without any training photo
    are unknown in every round.

    `auroc` is the mean over the rounds, `fpr95` the share of unknown photos that pass where 95% of
    these known ones do; `kept` and `told` are the shares of known photos that pass the threshold
    and of unknown ones that do not.
    """
    found = []
    turns = _turns(np.unique(train.y), rounds, seed)
    for i, left_out in enumerate(turns, 1):
        say(f"without {counted(len(left_out), 'class', 'classes')}: {i} of {len(turns)}")
        found.append(_one(model, train, held_out, left_out, seed))
    drawing = {"n_boot": n_boot, "seed": seed, "groups": held_out.group}
    scores = {name: _figures(name, found, drawing) for name in found[0].scores}
    best = max(scores, key=lambda name: scores[name]["auroc"][0])
    return {
        "left_out": [one.left_out for one in found],
        "photos": int(found[0].known.size),
        "scores": scores,
        "best": best,
        "rule": _rule(best, scores[best]),
        "least_told": _least_told(best, found, held_out.y),
        "notes": _notes(model, best),
    }


def _turns(classes: NDArray[np.str_], rounds: int, seed: int) -> list[list[str]]:
    """Each class in one of the rounds; at least two classes are left to learn in each."""
    rounds = max(2, min(rounds, len(classes) // 2))
    shuffled = np.random.default_rng(seed).permutation(classes)
    return [sorted(shuffled[i::rounds].tolist()) for i in range(rounds)]


def _one(model: Model, train: Dataset, test: Dataset, left_out: Sequence[str], seed: int) -> Round:
    taught = train.some(~np.isin(train.y, left_out))
    fold = held_out_folds(taught, min(5, len(np.unique(taught.group))), seed)
    beside = fold == 0
    fits = ~np.isin(taught.group, taught.group[beside])
    head = _fitted(model, taught, fits)
    near = Nearness(taught.X[fits])
    by = {
        name: _scores(head, near, part)
        for name, part in (("check", taught.some(beside)), ("test", test))
    }
    known = np.isin(test.y, np.unique(taught.y[fits]))
    thresholds = {name: _threshold(values) for name, values in by["check"].items()}
    return Round(list(left_out), known, by["test"], thresholds)


class Nearness:
    """How near a photo is to those that were learnt from.

    X : (n, dim) float32 unit rows; they are centred, as every head does it
    """

    def __init__(self, X: NDArray[np.float32]) -> None:
        self.mean = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        rows = unit_rows(X - self.mean)
        self.index = Index.build(rows, [str(i) for i in range(len(rows))], kind="flat")

    def __call__(self, X: NDArray[np.float32]) -> F64:
        """(m,) mean cosine to the `NEAREST` of them."""
        cosines = self.index.query_rows(unit_rows(X - self.mean), NEAREST)[1]
        return np.array([np.mean(each, dtype=np.float64) for each in cosines])


def _fitted(model: Model, taught: Dataset, fits: NDArray[np.bool_]) -> list[Model]:
    """The model on other classes; of a stack its heads."""
    if not isinstance(model.head, Stack):
        return [model.unfitted().fit(taught, fits)]
    heads = model.head.heads.values()
    return [Model(head, model.columns).unfitted().fit(taught, fits) for head in heads]


def _scores(heads: Sequence[Model], near: Nearness, photos: Dataset) -> Scores:
    logs = [np.log(np.maximum(head.predict_proba(photos.X, photos.rows), 1e-9)) for head in heads]
    mean = np.mean(logs, axis=0)
    P = np.exp(mean)
    found = {"max_probability": P.max(axis=1) / P.sum(axis=1)}
    if len(heads) == 1:
        head = heads[0]
        logits = head.head.logits(head.inputs(photos.X, photos.rows))
        if logits is not None:
            found["max_logit"] = logits.max(axis=1)
            found["energy"] = np.logaddexp.reduce(logits, axis=1)
    return found | {"knn": near(photos.X)}


def _threshold(values: F64) -> float:
    """What a new photo like these is below with at most 1 - `KEPT` (a conformal p-value)."""
    least = int((1 - KEPT) * (len(values) + 1))
    return float(np.sort(values)[least - 1]) if least else -np.inf


def _figures(name: str, found: Sequence[Round], drawing: Mapping[str, Any]) -> dict[str, Any]:
    n = len(found[0].known)
    draws = resamples(n, drawing["n_boot"], drawing["seed"], drawing["groups"])
    auroc = np.concatenate(
        [_mean([confidence_auroc(one.scores[name], one.known, w) for one in found]) for w in draws]
    )
    passed = [one.scores[name] >= one.thresholds[name] for one in found]
    fair = [one.scores[name] >= _quantile(one, name) for one in found]
    known = [one.known for one in found]
    values = {
        "known": np.sum(known, axis=0),
        "unknown": np.sum(np.invert(known), axis=0),
        "kept": np.sum([k & p for k, p in zip(known, passed, strict=True)], axis=0),
        "told": np.sum([~k & ~p for k, p in zip(known, passed, strict=True)], axis=0),
        "pass": np.sum([~k & p for k, p in zip(known, fair, strict=True)], axis=0),
    }
    sums = Sums.of(values, **drawing)
    units = n if drawing["groups"] is None else len(np.unique(drawing["groups"]))
    return {
        "what": SCORES[name],
        "auroc": list(figure("auroc", auroc, units)),
        "fpr95": sums.share("pass", "unknown"),
        "kept": sums.share("kept", "known"),
        "told": sums.share("told", "unknown"),
    }


def _mean(rounds: Sequence[F64]) -> F64:
    """(B,) of those rounds in which a resample has both known and unknown photos."""
    values = np.array(rounds)
    there = np.isfinite(values)
    return ratio(np.where(there, values, 0).sum(axis=0), there.sum(axis=0), np.nan)


def _quantile(one: Round, name: str) -> float:
    return float(np.quantile(one.scores[name][one.known], 1 - KEPT, method="lower"))


def _rule(name: str, found: Mapping[str, Any]) -> str:
    kept, told = (f"{v:.0%} [{low:.0%}, {high:.0%}]" for v, low, high in _given(found))
    return (
        f"Best told by the {SCORES[name].partition(' (')[0].partition(',')[0]}. A threshold set "
        f"on training photos to let {KEPT:.0%} of the known pass let {kept} pass here, and told "
        f"{told} of the photos of classes that were left out."
    )


def _given(found: Mapping[str, Any]) -> list[Any]:
    return [found[name] for name in ("kept", "told")]


def _least_told(name: str, found: Sequence[Round], y: NDArray[np.str_]) -> list[dict[str, Any]]:
    """The left-out classes whose photos pass most often: what is taken for something known."""
    rows: list[dict[str, Any]] = []
    for one in found:
        passed = one.scores[name] >= one.thresholds[name]
        for label in one.left_out:
            own = y == label
            if own.any():
                n, told = int(own.sum()), int((own & ~passed).sum())
                rows.append({"class": label, "photos": n, "told": told})
    return sorted(rows, key=lambda row: (row["told"] / row["photos"], row["class"]))[:N_CLASSES]


def _notes(model: Model, best: str) -> list[str]:
    notes = [
        f"the best score ({best}) was chosen by these figures, so its own is a little too good; "
        "the classes are real ones of this collection: what is wholly unlike them is told more "
        "easily"
    ]
    if isinstance(model.head, Stack):
        notes.append(
            "the stack's heads were fitted anew and pooled by their plain mean; it has no logits"
        )
    elif not hasattr(model.head, "coef_"):
        notes.append(f"{model.head.name} has no logits, so neither highest logit nor energy")
    return notes
