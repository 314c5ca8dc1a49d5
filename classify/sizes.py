"""The figures of rare, medium and frequent classes."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from classify.bootstrap import N_BOOT, figure, resamples
from classify.counts import Counts, class_rows
from classify.outcomes import F64, Ints, Outcomes
from classify.scored import SIZES, size_of


def by_size(
    y: Ints,
    P: F64,
    trained: Ints,
    groups: ArrayLike | None = None,
    n_boot: int = N_BOOT,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """name in `SIZES` -> classes and photos, and macro_f1 and accuracy as [value, low, high].

    trained : (C,) int, photos of each class in training
    groups : (n,) where given, whole groups are drawn

    Only classes with photos count, and sizes that have such. Photos of a class without a column
    are in none. Resamples that have no photo of a size say nothing about it.
    """
    one = Outcomes.of(y, P)
    name_of = np.array([size_of(n) for n in trained])
    tested = np.bincount(one.y, minlength=one.n_classes + 1)[:-1]
    names = [name for name in SIZES if (tested[name_of == name] > 0).any()]
    samples: dict[str, dict[str, list[F64]]] = {
        name: {"macro_f1": [], "accuracy": []} for name in names
    }
    rows = class_rows(one)
    for weights in resamples(len(one.y), n_boot, seed, groups):
        counts = Counts.from_sums(np.asarray(rows @ weights))
        for name in names:
            samples[name]["macro_f1"].append(counts.macro_f1(name_of == name))
            samples[name]["accuracy"].append(counts.accuracy(name_of == name))
    group = np.arange(len(one.y)) if groups is None else np.asarray(groups)
    found = {}
    for name in names:
        some = name_of == name
        units = len(np.unique(group[np.append(some, False)[one.y]]))
        found[name] = {
            "classes": int((tested[some] > 0).sum()),
            "photos": int(tested[some].sum()),
            **{m: list(figure(m, np.concatenate(v), units)) for m, v in samples[name].items()},
        }
    return found
