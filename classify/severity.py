"""How far an error is from the truth on the tree of life, and what of the lineage is right."""

from typing import Any

import numpy as np

from classify.bootstrap import N_BOOT
from classify.outcomes import Ints
from classify.ratios import Figure, Sums
from classify.rolled_up import Ranked
from classify.taxonomy import Tree


def distance(a: Ints, b: Ints) -> Ints:
    """(n,) height of the lowest common ancestor of lineages a and b (n, R), 0 to R.

    0 for one class, 1 where both are of one taxon at the next rank of the table, R where they
    share none (Bertinetto et al. 2020, "Making better mistakes"). An ultrametric.
    """
    apart: Ints = (a != b).sum(axis=1)
    return apart


def lineage_values(tree: Tree, truth: Ints, said: Ints, depth: Any = None) -> dict[str, Any]:
    """name -> (n,): how many taxa truth and answer share, and how many each has.

    truth, said : (n, R) taxa; depth : (n,) how many ranks an answer names, by default all
    Taxa without a name are in neither set.
    """
    n_ranks = truth.shape[1]
    answered = np.arange(n_ranks) < (n_ranks if depth is None else np.asarray(depth)[:, None])
    true, stated = tree.named(truth), tree.named(said) & answered
    return {
        "shared": ((truth == said) & stated).sum(axis=1),
        "true": true.sum(axis=1),
        "stated": stated.sum(axis=1),
    }


def hierarchical(
    tree: Tree, truth: Ints, said: Ints, depth: Any = None, **drawing: Any
) -> dict[str, Figure]:
    """Precision, recall and F1 of sets: each class with all taxa above it, but not life itself.

    Summed over the photos before dividing (Kiritchenko et al. 2006, "Learning and evaluation in
    the presence of class hierarchies"). Where every answer goes down to the label and no name is
    missing the three are equal.

    drawing : n_boot, seed, groups as in `Sums.of`
    """
    sums = Sums.of(lineage_values(tree, truth, said, depth), **drawing)
    return {
        "precision": sums.share("shared", "stated"),
        "recall": sums.share("shared", "true"),
        "f1": sums.f1("shared", "stated", "true"),
    }


def severity(
    tree: Tree,
    truth: Ints,
    said: Ints,
    n_boot: int = N_BOOT,
    seed: int = 0,
    groups: Any = None,
) -> dict[str, Any]:
    """average_mistake: mean distance of the errors; mean_distance: of all photos; and both counted.

    errors_by_common_ancestor : rank -> errors whose truth and answer meet there, finest first;
        at last those that share no rank
    """
    far = distance(truth, said)
    n_ranks = len(tree.ranks)
    values = {"distance": far, "errors": far > 0, "photos": np.ones(len(far))}
    sums = Sums.of(values, n_boot, seed, groups)
    heights = (tree.root, *tree.ranks[:-1])[::-1]
    counts = np.bincount(far, minlength=n_ranks + 1)
    return {
        "average_mistake": sums.share("distance", "errors", most=n_ranks),
        "mean_distance": sums.share("distance", "photos", most=n_ranks),
        "errors_by_common_ancestor": {
            rank: int(n) for rank, n in zip(heights, counts[1:], strict=True)
        },
        "steps": n_ranks,
    }


def vague(ranked: Ranked) -> int:
    """How many errors might have a nearer common ancestor, had no rank been empty."""
    wrong = ranked.truth[:, -1] != ranked.likeliest[:, -1]
    meet = np.clip((ranked.truth == ranked.likeliest).sum(axis=1), 0, len(ranked.P) - 1)
    rows = np.arange(len(meet))
    named = ranked.known[rows, meet] & ranked.tree.named(ranked.likeliest)[rows, meet]
    return int((wrong & ~named).sum())
