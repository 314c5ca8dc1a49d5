"""Photos unlike the others of their class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from classify.dataset import Dataset
from retrieval.outliers import isolation, percentile

LEAST = 5  # different photos that a class needs for its distances to say something


@dataclass(frozen=True)
class ClassOutliers:
    """Every photo that could be compared with others of its class, the most unlike first.

    table : DataFrame: row (in the photos given), times (the distance to its k-th nearest of the
        class as a multiple of the class's median one), lof (the local outlier factor among the
        class), percentile (of the one that the order goes by, among the photos of the class), near
        (rows of the class, the nearest first), cosine (float32, of those)
    unjudged : labelled photos of classes with fewer than `LEAST` different photos
    """

    table: Any
    unjudged: int


def class_outliers(photos: Dataset, k: int, by: str = "distance") -> ClassOutliers:
    """Compare each labelled photo that is not of the test side with those of its class.

    by : what the order goes by, "distance" or "lof"
    """
    learnt = (photos.y != "") & (photos.side != "test")
    keys = photos.rows["key"].to_numpy(dtype=str)
    found: dict[str, list[Any]] = {n: [np.empty(0)] for n in ("row", "times", "lof", "percentile")}
    unjudged = 0
    near: list[Any] = []
    cosine: list[Any] = []
    for name in np.unique(photos.y[learnt]):
        rows = np.flatnonzero(learnt & (photos.y == name))
        if len(np.unique(keys[rows])) < LEAST:
            unjudged += len(rows)
            continue
        one = isolation(photos.X[rows], keys[rows].tolist(), k)
        values = (rows, one.times, one.lof, percentile(one.lof if by == "lof" else one.distance))
        for column, value in zip(found, values, strict=True):
            found[column].append(value)
        near += list(rows[one.near])
        cosine += list(one.cosine)
    table = pd.DataFrame({name: np.concatenate(values) for name, values in found.items()})
    table = table.assign(row=table["row"].astype(np.int64), near=near, cosine=cosine)
    order = np.lexsort((table["row"], -table["lof" if by == "lof" else "times"]))
    return ClassOutliers(table.iloc[order].reset_index(drop=True), unjudged)
