"""A run's predictions at every rank from kingdom down to its label."""

from typing import Any

import numpy as np

from classify.bootstrap import N_BOOT
from classify.confident import NONE, confident
from classify.metrics import intervals
from classify.outcomes import Ints
from classify.ratios import Figure, Sums, as_figure
from classify.rolled_up import Ranked, consistent_lineages
from classify.runs import Predictions
from classify.severity import hierarchical, severity, vague
from classify.taxonomy import Taxonomy
from embed.words import counted

METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "log_loss")
ANSWER_COLUMNS = ["id", "label", "answer", "rank", "probability", "right", "lineage"]


def rank_report(
    predictions: Predictions,
    taxonomy: Taxonomy,
    threshold: float = 0.9,
    n_boot: int = N_BOOT,
    seed: int = 0,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What ranks.json and answers.csv (`ANSWER_COLUMNS`) hold.

    Figures are [value, low, high], None three times where there is nothing to divide by; whole
    groups are drawn where the predictions have groups. The prediction at a rank is its likeliest
    taxon by itself, so it may contradict another rank's: `inconsistent` is the share of photos
    where that happens, and `consistent_accuracy`, where it differs, that of one lineage a photo
    (see `Ranked`). The finest rank that all classes share is the root of all but `ranks`.

    Raises `UserError` for a threshold that is not above 0.5 and at most 1.
    """
    ranked = Ranked.of(predictions, taxonomy)
    drawing: dict[str, Any] = {"n_boot": n_boot, "seed": seed, "groups": predictions.group}
    rows = [_rank(ranked, r, predictions, drawing) for r in range(len(ranked.P))]
    ranked = ranked.below(taxonomy.shared)
    lineages = (ranked.tree, ranked.truth, ranked.likeliest)
    sure, answers, right = confident(ranked, threshold, **drawing)
    report = {
        "ranks": rows,
        "confident": sure,
        "hierarchical": hierarchical(*lineages, **drawing),
        "severity": severity(*lineages, **drawing),
        "inconsistent": _share(~ranked.on_one_line, **drawing),
        "notes": [*taxonomy.notes, *_notes(ranked)],
    }
    if (ranked.consistent != ranked.likeliest).any():
        report["consistent"] = severity(ranked.tree, ranked.truth, ranked.consistent, **drawing)
    lineage = consistent_lineages(predictions.P, predictions.classes, taxonomy)
    return report, _answer_rows(predictions, answers, right, lineage)


def _rank(
    ranked: Ranked, r: int, predictions: Predictions, drawing: dict[str, Any]
) -> dict[str, Any]:
    """The figures of one rank, over the photos whose class has a name there."""
    tree, known = ranked.tree, ranked.known[:, r]
    last = r == len(ranked.P) - 1
    P = predictions.P if last else ranked.P[r]  # the label's as they are: not one tie differs
    truth = _columns(ranked.truth[:, r], P.shape[1])
    named = int((tree.names[r][: P.shape[1]] != "").sum())
    row: dict[str, Any] = {"rank": tree.ranks[r], "classes": named, "photos": int(known.sum())}
    if not known.any():
        return row | {name: [None, None, None] for name in METRICS}
    groups = None if predictions.group is None else predictions.group[known]
    some = drawing | {"groups": groups}
    figures = intervals(truth[known], P[known], METRICS, **some)
    row |= {name: as_figure(figures[name]) for name in METRICS}
    if (ranked.consistent[:, r] != ranked.alone[:, r])[known].any():
        right = ranked.consistent[:, r] == ranked.truth[:, r]
        row["consistent_accuracy"] = _share(right[known], **some)
    return row


def _columns(taxa: Ints, n: int) -> Ints:
    """-1 for the taxa that only photos have: the first `n` are the model's."""
    return np.where(taxa < n, taxa, -1)


def _share(chosen: Any, **drawing: Any) -> Figure:
    values = {"chosen": chosen, "photos": np.ones(len(chosen))}
    return Sums.of(values, **drawing).share("chosen", "photos")


def _answer_rows(
    predictions: Predictions,
    answers: list[tuple[str, str, float]],
    right: Any,
    lineages: list[list[tuple[str, str, float]]],
) -> list[dict[str, Any]]:
    """`right` is yes or no, and empty where there is no answer."""
    truth, good_ones = predictions.y.tolist(), right.tolist()
    lines = zip(predictions.ids, truth, answers, good_ones, lineages, strict=True)
    return [
        {
            "id": name,
            "label": label,
            "answer": taxon,
            "rank": rank,
            "probability": round(p, 4),
            "right": "" if rank == NONE else "yes" if good else "no",
            "lineage": "|".join(taxon for _, taxon, _ in lineage),
        }
        for name, label, (rank, taxon, p), good, lineage in lines
    ]


def _notes(ranked: Ranked) -> list[str]:
    notes = []
    unseen = len(ranked.tree.classes) - ranked.n_classes
    if unseen:
        notes.append(
            f"{counted(unseen, 'class', 'classes')} without a training photo: wrong at the label, "
            "but right above it where other classes have the taxon"
        )
    errors = vague(ranked)
    if errors:
        notes.append(
            f"{counted(errors, 'error')} beside an empty rank: the common ancestor may be nearer "
            "than counted"
        )
    return notes
