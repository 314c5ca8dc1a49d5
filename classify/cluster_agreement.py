"""How far clusters of photos are the classes of their table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

SHOWN = 3  # labels that a cluster is said to mix


@dataclass(frozen=True)
class Mixture:
    """The labels of one cluster.

    labelled : photos of it that have a label here; labels : (label, photos), the most first
    """

    cluster: int
    photos: int
    labelled: int
    labels: Sequence[tuple[str, int]]

    @property
    def purity(self) -> float | None:
        """The share of its first label; None where no photo has one."""
        return self.labels[0][1] / self.labelled if self.labels else None

    def words(self, shown: int = SHOWN) -> str:
        """`felidae 41, canidae 3, …`; the first alone where there is one only."""
        said = ", ".join(f"{name} {n:,}" for name, n in self.labels[:shown])
        return said + (", …" if len(self.labels) > shown else "")


@dataclass(frozen=True)
class Agreement:
    """Clusters against labels.

    photos : with a label; clustered : those of them that belong to a cluster
    figures : of the clustered photos alone: adjusted_rand (Hubert and Arabie 1985) and
        adjusted_mutual_information (Vinh, Epps and Bailey 2010): 0 is chance, 1 the same parts;
        homogeneity, completeness and their harmonic mean v_measure (Rosenberg and Hirschberg
        2007), which rise with the number of clusters by themselves; purity, the share of photos
        that have the first label of their cluster, which does so too
    everything : the same of all, what belongs to no cluster counted as one cluster
    mixtures : one a cluster, in order
    """

    photos: int
    clustered: int
    figures: Mapping[str, float]
    everything: Mapping[str, float]
    mixtures: Sequence[Mixture]


def agreement(labels: Sequence[str], cluster: NDArray[np.int64]) -> Agreement:
    """Compare n labels (empty where there is none) with clusters (n,), 0 being none."""
    y = np.asarray(labels, dtype=str)
    known, inside = y != "", cluster > 0
    return Agreement(
        photos=int(known.sum()),
        clustered=int((known & inside).sum()),
        figures=_figures(y[known & inside], cluster[known & inside]),
        everything=_figures(y[known], cluster[known]),
        mixtures=[
            _mixture(y, cluster, number) for number in range(1, int(cluster.max(initial=0)) + 1)
        ],
    )


def _figures(y: NDArray[np.str_], cluster: NDArray[np.int64]) -> dict[str, float]:
    if not len(y):
        return {}
    homogeneity, completeness, v = metrics.homogeneity_completeness_v_measure(y, cluster)
    table: Any = metrics.cluster.contingency_matrix(y, cluster)
    found = {
        "adjusted_rand": metrics.adjusted_rand_score(y, cluster),
        "adjusted_mutual_information": metrics.adjusted_mutual_info_score(y, cluster),
        "v_measure": v,
        "homogeneity": homogeneity,
        "completeness": completeness,
        "purity": table.max(axis=0).sum() / len(y),
    }
    return {name: float(value) for name, value in found.items()}


def _mixture(y: NDArray[np.str_], cluster: NDArray[np.int64], number: int) -> Mixture:
    inside = y[cluster == number]
    counts = Counter(inside[inside != ""].tolist())
    labels = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return Mixture(number, len(inside), counts.total(), labels)
