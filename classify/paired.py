"""Two sets of predictions for the same photos: who is right where the other is wrong."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.counts import Counts
from classify.outcomes import F64, Outcomes
from classify.runs import Predictions
from classify.scored import by_id, size_of

CLASS_COLUMNS = [
    "class", "size", "photos", "a_recall", "b_recall", "a_f1", "b_f1", "only_a", "only_b", "p",
    "p_holm",
]  # fmt: skip
PHOTO_COLUMNS = [
    "id", "file_path", "label", "right", "a_answer", "a_probability", "b_answer", "b_probability",
]  # fmt: skip


class Pair:
    """Predictions of a and b for n photos, put in the order of their ids."""

    def __init__(self, a: Predictions, b: Predictions) -> None:
        self.a, self.b = (_Side(one) for one in (a, b))
        if not np.array_equal(self.a.labels, self.b.labels):
            raise ValueError("expected predictions for the same photos with the same labels")

    @property
    def only_a(self) -> NDArray[np.bool_]:
        """(n,) a is right and b wrong."""
        return self.a.right & ~self.b.right

    @property
    def only_b(self) -> NDArray[np.bool_]:
        """(n,) b is right and a wrong."""
        return self.b.right & ~self.a.right

    @property
    def p_mcnemar(self) -> float:
        """McNemar's test of equal accuracy, exact: two-sided binomial over the photos that only
        one gets right (McNemar 1947)."""
        return sign_test(int(self.only_a.sum()), int(self.only_b.sum()))

    @property
    def p_groups(self) -> float:
        """The same over groups: in how many a gets more photos right than b, in how many fewer."""
        group = self.a.group
        net = np.bincount(group, self.only_a.astype(float) - self.only_b)
        return sign_test(int((net > 0).sum()), int((net < 0).sum()))

    def classes(self, sizes: Mapping[str, int]) -> list[dict[str, Any]]:
        """One record a class that has photos: recall and F1 of both, photos only one gets right.

        p is that of an exact sign test over those photos, p_holm the same corrected (`holm`) over
        the classes where there are any: with none nothing could be found.

        sizes : photos of each class that count for its size
        """
        f1_a, f1_b = self.a.f1, self.b.f1
        records = []
        for name in np.unique(self.a.y[np.isin(self.a.y, self.a.classes)]).tolist():
            mine = self.a.y == name
            only_a, only_b = (int(one[mine].sum()) for one in (self.only_a, self.only_b))
            records.append(
                {
                    "class": name,
                    "size": size_of(sizes.get(name, 0)),
                    "photos": int(mine.sum()),
                    "a_recall": float(self.a.right[mine].mean()),
                    "b_recall": float(self.b.right[mine].mean()),
                    "a_f1": f1_a[name],
                    "b_f1": f1_b[name],
                    "only_a": only_a,
                    "only_b": only_b,
                    "p": sign_test(only_a, only_b),
                }
            )
        differ = [record for record in records if record["only_a"] + record["only_b"]]
        corrected = holm([record["p"] for record in differ])
        for record in records:
            record["p_holm"] = 1.0
        for record, p in zip(differ, corrected, strict=True):
            record["p_holm"] = float(p)
        return records

    def photos(self, file_paths: Mapping[str, str]) -> list[dict[str, Any]]:
        """One record a photo that gets two answers: those only a gets right first, then b's.

        Among them the one with the surest wrong answer is first.
        """
        wrong = np.maximum(
            np.where(self.a.right, 0, self.a.confidence),
            np.where(self.b.right, 0, self.b.confidence),
        )
        kind = np.select([self.only_a, self.only_b], [0, 1], 2)
        rows = np.flatnonzero(self.a.answer != self.b.answer)
        rows = rows[np.lexsort((-wrong[rows], kind[rows]))]
        return [
            {
                "id": str(self.a.ids[i]),
                "file_path": file_paths.get(str(self.a.ids[i]), ""),
                "label": str(self.a.y[i]),
                "right": ("a", "b", "neither")[kind[i]],
                "a_answer": str(self.a.answer[i]),
                "a_probability": round(float(self.a.confidence[i]), 4),
                "b_answer": str(self.b.answer[i]),
                "b_probability": round(float(self.b.confidence[i]), 4),
            }
            for i in rows
        ]


def sign_test(more: int, less: int) -> float:
    """Two-sided p of an exact binomial test with equal chances; 1 where there is nothing."""
    from scipy.stats import binomtest

    return float(binomtest(more, more + less).pvalue) if more + less else 1.0


def holm(values: Sequence[float]) -> F64:
    """p values corrected for their number (Holm 1979).

    Of all that are then under .05 even one false claim has a chance of at most 5%.
    """
    p = np.array(values, dtype=float)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(steps, 1)
    return corrected


class _Side:
    """One set of predictions in the order of the ids."""

    def __init__(self, found: Predictions) -> None:
        order = by_id(found)
        self.ids = np.array(found.ids, dtype=str)[order]
        self.y, self.classes = found.y[order], found.classes
        self.group = np.unique(
            self.ids if found.group is None else found.group[order], return_inverse=True
        )[1]
        self._outcomes = Outcomes.of(found.y_index, found.P).rows(order)
        self.answer = self.classes[self._outcomes.predicted]
        self.confidence, self.right = self._outcomes.confidence, self._outcomes.right

    @property
    def labels(self) -> NDArray[np.str_]:
        """(n, 2) ids and labels."""
        return np.column_stack([self.ids, self.y])

    @cached_property
    def f1(self) -> dict[str, float]:
        counts = Counts.of(self._outcomes, np.ones((len(self.ids), 1)))
        return dict(zip(self.classes.tolist(), counts.f1[:-1, 0].tolist(), strict=True))
