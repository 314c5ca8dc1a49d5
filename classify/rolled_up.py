"""Probabilities of a label's classes, summed up to every rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from classify.outcomes import F64, Ints
from classify.runs import Predictions
from classify.taxonomy import Taxonomy, Tree

_QUANTA = 2.0**52


def roll_up(P: ArrayLike, node: Ints) -> list[F64]:
    """For each rank (n, taxa) the sums of the probabilities of its classes.

    P : (n, C) probabilities, rows sum to 1; node : (C, R) taxon of each class at each rank
    Probabilities are first rounded to whole multiples of 2**-52, which float64 adds without any
    error as long as the sum is below 2. So a taxon has exactly the sum of those within it, is
    never below one of them, and no order of the classes changes a bit; for that a probability
    moves by 1e-16 at most.
    """
    exact = np.rint(np.asarray(P, dtype=np.float64) * _QUANTA) / _QUANTA
    n_classes = exact.shape[1]
    rolled = []
    for taxon in node.T:
        cells = (np.ones(n_classes), (np.arange(n_classes), taxon))
        within = csr_array(cells, shape=(n_classes, int(taxon.max()) + 1))
        rolled.append(np.ascontiguousarray(exact @ within))
    return rolled


def expected_ranks(P: Sequence[F64], node: Ints) -> F64:
    """(n, C) at how many ranks each class would be right, expected: the sum of its taxa's.

    P : for each rank (n, taxa) as `roll_up` gives them; node : (C, R)
    """
    expected = np.zeros((len(P[0]), len(node)))
    for of_rank, taxon in zip(P, node.T, strict=True):
        expected += of_rank[:, taxon]
    return expected


def consistent_lineages(
    P: ArrayLike, classes: Sequence[str] | NDArray[np.str_], taxonomy: Taxonomy
) -> list[list[tuple[str, str, float]]]:
    """For each photo (rank, taxon, probability) from the coarsest rank on, all of one lineage.

    P : (n, C) probabilities of `classes`, rows sum to 1
    It is that of the class that is nearest to the truth, expected (see `Ranked`). Ranks at which
    its taxon has no name are left out.
    """
    tree = taxonomy.tree([str(name) for name in classes])
    rolled = roll_up(P, tree.node)
    chosen = tree.node[expected_ranks(rolled, tree.node).argmax(axis=1)]
    return [
        [
            (rank, str(names[taxon]), float(of_rank[i, taxon]))
            for rank, names, of_rank, taxon in zip(
                tree.ranks, tree.names, rolled, taxa, strict=True
            )
            if names[taxon]
        ]
        for i, taxa in enumerate(chosen)
    ]


@dataclass(frozen=True)
class Ranked:
    """Predictions of n photos with C classes at R ranks; taxa are numbers of `tree`.

    `consistent` is the class that is nearest to the truth, expected by its probabilities: of the
    mean distance (see `severity.distance`) it has the least (Deng et al. 2010, "What does
    classifying more than 10,000 image categories tell us?"; Karthik et al. 2021, "No cost
    likelihood manipulation at test time for making better mistakes"). From the top down, kingdom
    first, one would pay for an early slip at every rank below.
    """

    tree: Tree  # of the model's classes, then of those that only photos have
    n_classes: int  # the model's
    P: list[F64]  # for each rank (n, taxa of the model)
    truth: Ints  # (n, R) the lineage of each photo's class
    likeliest: Ints  # (n, R) the lineage of the likeliest class
    alone: Ints  # (n, R) the likeliest taxon of each rank, whatever the other ranks say
    consistent: Ints  # (n, R) the lineage that is right at the most ranks, expected

    @classmethod
    def of(cls, predictions: Predictions, taxonomy: Taxonomy) -> Self:
        classes = predictions.classes.tolist()
        only_true = sorted(set(predictions.y.tolist()) - set(classes))
        tree = taxonomy.tree([*classes, *only_true])
        column = {name: i for i, name in enumerate(tree.classes)}
        node = tree.node[: len(classes)]
        P = roll_up(predictions.P, node)
        return cls(
            tree=tree,
            n_classes=len(classes),
            P=P,
            truth=tree.node[[column[name] for name in predictions.y.tolist()]],
            likeliest=node[predictions.P.argmax(axis=1)],
            alone=np.stack([of_rank.argmax(axis=1) for of_rank in P], axis=1),
            consistent=node[expected_ranks(P, node).argmax(axis=1)],
        )

    def below(self, n_ranks: int) -> "Ranked":
        """Without the coarsest ranks, of which all classes share the taxa."""
        lineages = (self.truth, self.likeliest, self.alone, self.consistent)
        cut = (taxa[:, n_ranks:] for taxa in lineages)
        return Ranked(self.tree.below(n_ranks), self.n_classes, self.P[n_ranks:], *cut)

    @property
    def node(self) -> Ints:
        """(C, R) of the model's classes."""
        return self.tree.node[: self.n_classes]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n, R) whether the true class has a name at the rank."""
        return self.tree.named(self.truth)

    @property
    def on_one_line(self) -> NDArray[np.bool_]:
        """(n,) whether the likeliest taxa of the ranks lie within one another."""
        taxa = self.alone
        agrees = np.ones(len(taxa), dtype=bool)
        for r in range(1, taxa.shape[1]):
            parent = np.empty(self.P[r].shape[1], dtype=np.int64)
            parent[self.node[:, r]] = self.node[:, r - 1]
            agrees &= parent[taxa[:, r]] == taxa[:, r - 1]
        return agrees
