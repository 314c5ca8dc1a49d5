"""Which classes are taken for which, and the training photos that pulled the answers there.

A class is a number in `order`, where those that belong together stand side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.dataset import Dataset
from classify.errors import confident_errors
from classify.metrics import confusion
from classify.outcomes import F64, Ints
from classify.runs import Predictions
from embed.words import counted
from retrieval.hubs import Hubness, hubness, occurrences
from retrieval.index import F32, I64, Index

Lineage = Mapping[str, Sequence[str | None]] | Sequence[Sequence[str | None]]

N_PAIRS = 20
N_EXAMPLES = 3  # photos of a pair
N_PULLED = 3  # training photos of an example
N_WORST = 10
N_TAKEN_FOR = 5
N_HUBS = 20
MANY = 1000  # classes, above which the tree's branches are not turned: it would take minutes


def confusion_report(
    predictions: Predictions, train: Dataset, held_out: Dataset, lineage: Lineage | None = None
) -> dict[str, Any]:
    """What confusions.json holds: order, counts, pairs, worst, errors, hubs, hubness, notes.

    predictions : of the photos in `held_out`, in its order
    lineage : class -> its ranks, coarsest first, None where not known (or a list of them in the
        order of `predictions.classes`)

    A pair's example is pulled by the training photos of the predicted class that look most like
    it; `own` is the nearest one of its true class. A hub's `times` counts the other training
    photos that have it among their ten nearest, `tested` the held-out photos that do, and `wrong`
    those of them that were taken for the hub's class and are of another; the `pullers` are those
    with the highest `wrong`.
    """
    index = Index.build(train.X, train.ids, kind="flat")
    order, ordered_by = order_of_classes(predictions, train, lineage)
    truth, predicted = _numbers(order, predictions.y), _numbers(order, predictions.predicted)
    counts = confusion(truth, predicted, len(order))
    evidence = _Evidence(predictions, train, held_out)
    hubs = hubness(index, train.X)
    rows, columns = np.nonzero(counts)
    return {
        "order": order,
        "ordered_by": ordered_by,
        "counts": {
            "truth": rows.tolist(),
            "predicted": columns.tolist(),
            "n": counts[rows, columns].tolist(),
        },
        "pairs": [
            pair | {"examples": evidence.of(pair["truth"], pair["predicted"])}
            for pair in confused_pairs(counts, order)
        ],
        "worst": worst_classes(counts, order, set(predictions.classes.tolist())),
        "errors": confident_errors(predictions, train, held_out, index),
        **_hubs(hubs, index, predictions, train, held_out),
        "hubness": {"skew": hubs.skew, "k": hubs.k, "never": hubs.never},
        "notes": _notes(predictions, train, order),
    }


def order_of_classes(
    predictions: Predictions, train: Dataset, lineage: Lineage | None = None
) -> tuple[list[str], str]:
    """Every class of the truth and of the answers, and whether by "taxonomy" or "clustering".

    By clustering, classes stand beside those whose mean vector is like theirs (average linkage,
    leaves turned so that neighbours are near: Bar-Joseph, Gifford and Jaakkola 2001), those
    without a training photo last. By taxonomy, that is so within a taxon, and the taxa follow
    the alphabet rank by rank, those whose name is not known last.
    """
    names = predictions.classes.tolist()
    names += sorted(set(predictions.y.tolist()).difference(names))
    if lineage is not None and not isinstance(lineage, Mapping):
        lineage = dict(zip(predictions.classes.tolist(), lineage, strict=True))
    taxa = {name: _taxa(name, (lineage or {}).get(name, ())) for name in names}
    present = set(train.y.tolist()).intersection(names)
    order = _clustered(sorted(present), train) + sorted(set(names) - present)
    if not _groups(list(taxa.values())):
        return order, "clustering"
    key = {name: [(not word, word) for word in taxa[name]] or [(True, "")] for name in names}
    return sorted(order, key=key.__getitem__), "taxonomy"


def confused_pairs(counts: Ints, order: Sequence[str], most: int = N_PAIRS) -> list[dict[str, Any]]:
    """The pairs of classes with the most photos of `truth` taken for `predicted`.

    counts : (C, C) int, rows are the truth
    """
    wrong = counts - np.diag(np.diag(counts))
    of_truth = counts.sum(axis=1)
    rows, columns = np.nonzero(wrong)
    n = wrong[rows, columns]
    first = np.lexsort((columns, rows, -n / of_truth[rows], -n))[:most]
    return [
        {
            "truth": order[a],
            "predicted": order[b],
            "n": int(counts[a, b]),
            "share": float(counts[a, b] / of_truth[a]),
            "back": int(counts[b, a]),
        }
        for a, b in zip(rows[first], columns[first], strict=True)
    ]


def worst_classes(
    counts: Ints, order: Sequence[str], trained: set[str], most: int = N_WORST
) -> list[dict[str, Any]]:
    """The tested classes with the lowest F1, of those in `trained`, and what they are taken for."""
    n, predicted, hits = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
    f1 = 2 * hits / np.maximum(n + predicted, 1)
    tested = [c for c in range(len(order)) if n[c] and order[c] in trained]
    worst = sorted((c for c in tested if f1[c] < 1), key=lambda c: (f1[c], -n[c], order[c]))
    return [
        {
            "class": order[c],
            "n": int(n[c]),
            "f1": float(f1[c]),
            "taken_for": [
                [order[other], int(counts[c, other])]
                for other in np.argsort(-counts[c], kind="stable")[: N_TAKEN_FOR + 1]
                if other != c and counts[c, other]
            ][:N_TAKEN_FOR],
        }
        for c in worst[:most]
    ]


@dataclass(frozen=True)
class _Evidence:
    """Held-out photos beside the training photos that they look like."""

    predictions: Predictions
    train: Dataset
    held_out: Dataset

    def of(self, truth: str, predicted: str) -> list[dict[str, Any]]:
        """The surest of the photos of `truth` that were taken for `predicted`."""
        probability = self.predictions.P.max(axis=1)
        pair = (self.predictions.y == truth) & (self.predictions.predicted == predicted)
        photos = np.flatnonzero(pair)
        surest = photos[np.argsort(-probability[photos], kind="stable")][:N_EXAMPLES]
        own = self._nearest(surest, truth, 1)
        pulled = self._nearest(surest, predicted, N_PULLED)
        return [
            {
                "id": self.predictions.ids[i],
                "path": str(self.held_out.rows["path"].iloc[i]),
                "probability": float(probability[i]),
                "pulled_by": by,
                "own": mine[0] if mine else None,
            }
            for i, by, mine in zip(surest, pulled, own, strict=True)
        ]

    def _nearest(self, photos: I64, label: str, k: int) -> list[list[dict[str, Any]]]:
        """Of each photo its `k` nearest among the training photos of a class, nearest first."""
        rows = np.flatnonzero(self.train.y == label)
        cosines = self.held_out.X[photos] @ self.train.X[rows].T
        return [
            [
                _photo(self.train, rows[j]) | {"similarity": float(line[j])}
                for j in np.argsort(-line, kind="stable")[:k]
            ]
            for line in cosines
        ]


def _hubs(
    hubs: Hubness, index: Index, predictions: Predictions, train: Dataset, held_out: Dataset
) -> dict[str, list[dict[str, Any]]]:
    near, _ = index.query_rows(held_out.X, hubs.k)
    predicted = predictions.predicted
    pulled = (train.y[near] == predicted[:, None]) & (predicted != predictions.y)[:, None]
    tested, wrong = occurrences(near, len(train)), occurrences(near[pulled], len(train))
    first = {"hubs": hubs.times, "pullers": wrong}
    return {
        name: [
            _photo(train, row)
            | {"times": int(hubs.times[row]), "tested": int(tested[row]), "wrong": int(wrong[row])}
            for row in np.argsort(-by, kind="stable")[:N_HUBS]
            if by[row]
        ]
        for name, by in first.items()
    }


def _photo(dataset: Dataset, row: int) -> dict[str, Any]:
    one = dataset.rows.iloc[row]
    return {"id": str(one["id"]), "path": str(one["path"]), "label": str(dataset.y[row])}


def _clustered(names: list[str], train: Dataset) -> list[str]:
    """Names of training classes, like beside like."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(names) < 3:
        return names
    means: F64 = np.array([_mean(train.X[train.y == name]) for name in names])
    tree = linkage(means, "average", optimal_ordering=len(names) <= MANY)
    return [names[leaf] for leaf in leaves_list(tree)]


def _mean(rows: F32) -> NDArray[np.float64]:
    """Of length 1, so that the distance of two means rises as their cosine falls."""
    mean = rows.mean(axis=0, dtype=np.float64)
    return np.asarray(mean / max(np.linalg.norm(mean), 1e-12))


def _groups(ranks: Sequence[Sequence[str]]) -> bool:
    """Whether at some rank there are several taxa, and one of them has several classes."""
    columns = zip_longest(*ranks, fillvalue="")
    known = [[word for word in column if word] for column in columns]
    return any(1 < len(set(words)) < len(words) for words in known)


def _taxa(name: str, ranks: Sequence[str | None]) -> list[str]:
    """The taxa above a class, empty where one has no name (None, NaN)."""
    words = [word if isinstance(word, str) else "" for word in ranks]
    return words[:-1] if words[-1:] == [name] else words


def _numbers(order: Sequence[str], labels: NDArray[np.str_]) -> I64:
    place = {name: i for i, name in enumerate(order)}
    return np.array([place[label] for label in labels.tolist()], dtype=np.int64)


def _notes(predictions: Predictions, train: Dataset, order: Sequence[str]) -> list[str]:
    absent = set(order).difference(train.y.tolist()) & set(predictions.y.tolist())
    if not absent:
        return []
    names = ", ".join(sorted(absent)[:8])
    classes = counted(len(absent), "class", "classes")
    return [f"{classes} in the matrix without a training photo, so never an answer: {names}"]
