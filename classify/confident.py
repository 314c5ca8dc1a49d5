"""An answer for each photo at the finest rank that is sure enough."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classify.outcomes import F64, Ints
from classify.ratios import Figure, Sums
from classify.rolled_up import Ranked, roll_up
from classify.severity import hierarchical
from classify.taxonomy import Taxonomy, Tree
from embed.errors import UserError

NONE = "none"
CURVE = tuple(n / 100 for n in range(51, 101))  # thresholds
_SLACK = 1e-9  # a sum of all classes may be this much below 1


@dataclass(frozen=True)
class Surest:
    """For n photos the likeliest taxon of each rank."""

    tree: Tree
    taxa: Ints  # (n, R)
    probability: F64  # (n, R), never rising towards the finer ranks

    @classmethod
    def of(cls, tree: Tree, P: Sequence[F64]) -> "Surest":
        """P : for each rank (n, taxa) as `roll_up` gives them."""
        taxa = np.stack([of_rank.argmax(axis=1) for of_rank in P], axis=1)
        return cls(tree, taxa, np.stack([of_rank.max(axis=1) for of_rank in P], axis=1))

    def depth(self, threshold: float) -> Ints:
        """(n,) how many ranks down an answer goes: 0 for none, 1 the coarsest, R the label.

        To the finest rank whose likeliest taxon has at least this probability. Above one half such
        taxa lie within one another, and the finest has a name: one without is as likely as the
        taxon below it. Valmadre 2022, "Hierarchical classification at
        multiple operating points", finds this rule hard to beat.
        """
        enough = self.probability >= threshold - _SLACK
        depth: Ints = (enough * np.arange(1, enough.shape[1] + 1)).max(axis=1)
        return depth

    def answers(self, depth: Ints) -> list[tuple[str, str, float]]:
        """(rank, taxon, probability) of each photo; where there is none, of the coarsest rank."""
        found = []
        for taxa, p, d in zip(self.taxa.tolist(), self.probability.tolist(), depth, strict=True):
            r = max(int(d) - 1, 0)
            taxon = str(self.tree.names[r][taxa[r]])
            found.append((self.tree.ranks[r], taxon, p[r]) if d else (NONE, "", p[r]))
        return found


def confident_answers(
    P: ArrayLike, classes: Sequence[str] | NDArray[np.str_], taxonomy: Taxonomy, threshold: float
) -> list[tuple[str, str, float]]:
    """For each photo (rank, taxon, probability): the finest taxon that reaches the threshold.

    P : (n, C) probabilities of `classes`, rows sum to 1
    Where no rank has one, ("none", "", probability of the likeliest taxon at the coarsest rank).
    A rank of which the whole table has one taxon is no answer.

    Raises `UserError` for a threshold that is not above 0.5 and at most 1.
    """
    check_threshold(threshold)
    tree = taxonomy.tree([str(name) for name in classes]).below(taxonomy.shared)
    surest = Surest.of(tree, roll_up(P, tree.node))
    return surest.answers(surest.depth(threshold))


def check_threshold(threshold: float) -> None:
    """Raises `UserError` where two taxa of one rank could reach it, or none can."""
    if not 0.5 < threshold <= 1:
        raise UserError(
            f"--confidence {threshold:g} was given: expected more than 0.5 (an answer that is "
            "likelier than not) and at most 1, such as --confidence 0.9."
        )


def confident(
    ranked: Ranked, threshold: float, **drawing: Any
) -> tuple[dict[str, Any], list[tuple[str, str, float]], NDArray[np.bool_]]:
    """The part `confident` of ranks.json, the answers, and (n,) whether each is right.

    drawing : n_boot, seed, groups as in `Sums.of`
    An answer at a rank at which the true class has no name counts as wrong.
    """
    check_threshold(threshold)
    surest = Surest.of(ranked.tree, ranked.P)
    depth = surest.depth(threshold)
    right = _right(ranked, surest, depth)
    answers = surest.answers(depth)
    answered = depth > 0
    promised = [p for rank, _, p in answers if rank != NONE]
    photos = np.ones(len(depth))
    values = {"photos": photos, "answered": answered, "right": right, "depth": depth}
    sums = Sums.of(values, **drawing)
    correct = sums.share("right", "answered")
    part = {
        "threshold": threshold,
        "answers": _by_rank(ranked.tree.ranks, depth, right),
        "answered": sums.share("answered", "photos"),
        "correct": correct,
        "holds": _holds(correct, threshold),
        "mean_probability": float(np.mean(promised)) if promised else None,
        "mean_rank_answered": sums.share("depth", "photos", most=len(ranked.tree.ranks)),
        "hierarchical": hierarchical(ranked.tree, ranked.truth, surest.taxa, depth, **drawing),
        "curve": [_point(ranked, surest, at) for at in CURVE],
    }
    return part, answers, right


def _right(ranked: Ranked, surest: Surest, depth: Ints) -> NDArray[np.bool_]:
    rows, r = np.arange(len(depth)), np.maximum(depth - 1, 0)
    same = np.equal(ranked.truth[rows, r], surest.taxa[rows, r])
    return np.logical_and(depth > 0, same)


def _by_rank(ranks: Sequence[str], depth: Ints, right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Finest first, then those without an answer."""
    n = np.bincount(depth, minlength=len(ranks) + 1)
    good = np.bincount(depth[right], minlength=len(ranks) + 1)
    names = (NONE, *ranks)
    return [
        {"rank": names[d], "photos": int(n[d]), "right": int(good[d])}
        for d in (*range(len(ranks), 0, -1), 0)
    ]


def _holds(correct: Figure, threshold: float) -> bool | None:
    """Whether answers are right at least as often as asked; None where that is not settled."""
    _, low, high = correct
    if low is None or high is None:
        return None
    return True if low >= threshold else False if high < threshold else None


def _point(ranked: Ranked, surest: Surest, threshold: float) -> dict[str, Any]:
    depth = surest.depth(threshold)
    answered = depth > 0
    good = _right(ranked, surest, depth)[answered]
    return {
        "threshold": threshold,
        "answered": float(answered.mean()),
        "right": float(good.mean()) if len(good) else None,
        "mean_rank_answered": float(depth.mean()),
    }
