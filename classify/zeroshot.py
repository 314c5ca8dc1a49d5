"""Classes known by their names alone: the cosine of a photo to the text of each class."""

from typing import Any

import numpy as np
from scipy.special import softmax

from classify.base import Head, unit_rows
from classify.centroid import left_out_cosines
from classify.left_out import fit_factors, judges
from classify.ranges import above
from classify.within import class_sums

SCALE = 100.0  # CLIP's and its kin's own (Radford et al. 2021)
CELLS = 1_000_000  # of a table rows × classes


class ZeroShot(Head):
    """p = softmax(scale · cosine of photo and text); photos teach at most the one scale.

    Parameters
    ----------
    class_names : (k,) str, or None
    class_vectors : (k, dim) in the order of `class_names` and the space of the rows: zero in the
        columns of encoders without words. None: the means of the classes' rows stand in
    scale : what cosines are multiplied by; None: the scale of the least log-loss on the training
        rows (a class mean lacking the row that judges it). The ranking is the same

    Attributes
    ----------
    text_ : (C, dim) float64
    scale_ : float
    """

    name = "zeroshot"
    centred = False
    balances = ("none",)  # knows no class sizes

    def __init__(
        self,
        balance: str = "none",
        random_state: int = 0,
        layout: tuple[int, ...] = (),
        class_names: Any = None,
        class_vectors: Any = None,
        scale: float | None = SCALE,
    ) -> None:
        super().__init__(balance, random_state, layout)
        self.class_names = class_names
        self.class_vectors = class_vectors
        self.scale = scale

    def check(self) -> None:
        super().check()
        above("scale", self.scale, optional=True)

    def _fit(self, rows: Any, index: Any) -> None:
        if self.class_vectors is None:
            self.text_ = class_sums(rows.astype(np.float64), index)
        else:
            self.text_ = texts_of(
                self.classes_, self.class_names, self.class_vectors, rows, self.layout
            )
        self.scale_ = self._fitted_scale(rows, index) if self.scale is None else float(self.scale)

    def _fitted_scale(self, rows: Any, index: Any) -> float:
        by_means = self.class_vectors is None
        panel = judges(index, CELLS // len(self.text_), equal=False, alone=not by_means)
        X = rows[panel.rows].astype(np.float64)
        near = left_out_cosines(X, self.text_, panel.index) if by_means else cosines(X, self.text_)
        return float(fit_factors([near], panel, [SCALE])[0][0])

    def _proba(self, rows: Any) -> Any:
        return softmax(self.scale_ * cosines(rows, self.text_), axis=1)


def texts_of(classes: Any, names: Any, vectors: Any, rows: Any, layout: Any = ()) -> Any:
    """The vectors (C, dim) float64 of `classes` (C,), found by their `names` (k,).

    Columns of the table, at the right of `rows`, have no text. Raises ValueError where a class
    has none, and where `vectors` (k, dim) do not fit to `rows`.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    if len(layout) and vectors.ndim == 2:
        vectors = np.pad(vectors, ((0, 0), (0, rows.shape[1] - sum(layout))))
    expected = (0 if names is None else len(names), rows.shape[1])
    if vectors.shape != expected:
        raise ValueError(
            f"expected class_vectors of shape {expected}, a row for each of class_names and the "
            f"columns of the photos' vectors; got {vectors.shape}"
        )
    place = {str(name): i for i, name in enumerate(names) if vectors[i].any()}
    if lacking := [str(label) for label in classes if str(label) not in place]:
        raise ValueError(
            f"expected a text vector for every class, got none for {', '.join(lacking[:5])}"
            + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        )
    return vectors[[place[str(label)] for label in classes]]


def cosines(rows: Any, texts: Any) -> Any:
    """Cosines (n, C) float64 of `rows` (n, dim) and `texts` (C, dim), where there is text.

    Columns in which no text has anything belong to encoders without words.
    """
    side = texts.any(axis=0)
    return unit_rows(rows[:, side].astype(np.float64)) @ unit_rows(texts[:, side]).T
