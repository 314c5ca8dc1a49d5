"""How many photos each class and each rank has, and how uneven that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from classify.rank_columns import rank_names
from embed.words import counted

FEW = 10  # photos: below it a class is called small


@dataclass(frozen=True)
class RankCount:
    """A rank of the table: how many names there are, and how many photos have none."""

    rank: str
    names: int
    without: int


@dataclass(frozen=True)
class Census:
    """The classes of a collection by size.

    classes : (class, photos), the largest first, equals by name
    ranks : coarsest first, those that the table has
    """

    classes: tuple[tuple[str, int], ...]
    ranks: tuple[RankCount, ...]

    @classmethod
    def of(cls, rows: Any, label: str) -> "Census":
        """Of a collection's `rows` (DataFrame) and their column `label`."""
        counts = rows[label].dropna().astype(str).value_counts().sort_index()
        counts = counts.sort_values(ascending=False, kind="stable")
        names = rank_names(rows, label)
        ranks = [
            RankCount(rank, len(set(values) - {""}), int((values == "").sum()))
            for rank, values in names.items()
        ]
        return cls(tuple((str(n), int(k)) for n, k in counts.items()), tuple(ranks))

    @property
    def sizes(self) -> Sequence[int]:
        return [photos for _, photos in self.classes]

    @property
    def ratio(self) -> float:
        """Photos of the largest class for each one of the smallest."""
        return self.sizes[0] / self.sizes[-1]

    @property
    def effective(self) -> float:
        """The number of equal classes that would be as diverse: exp of the Shannon entropy.

        The Hill number of order 1 (Hill 1973, "Diversity and evenness").
        """
        share = np.array(self.sizes) / sum(self.sizes)
        return float(np.exp(-(share * np.log(share)).sum()))

    @property
    def small(self) -> list[tuple[str, int]]:
        """The classes of fewer than `FEW` photos, the smallest first."""
        return [pair for pair in self.classes[::-1] if pair[1] < FEW]

    def lines(self) -> list[str]:
        """In words, a line each."""
        if not self.classes:
            return ["no photo has a label"]
        (most, largest), (least, smallest) = self.classes[0], self.classes[-1]
        lines = [
            f"{counted(len(self.classes), 'class', 'classes')}, from {counted(smallest, 'photo')} "
            f"({least}) to {largest:,} ({most}): {self.ratio:,.0f} to 1, as diverse as "
            f"{self.effective:.1f} classes of equal size"
        ]
        if self.small:
            lines.append(
                f"{counted(len(self.small), 'class', 'classes')} of fewer than {FEW} photos: "
                f"{some(self.small)}"
            )
        if len(self.ranks) > 1:
            lines.append("ranks: " + ", ".join(f"{r.rank} {r.names:,}" for r in self.ranks))
        return lines

    def to_json(self) -> dict[str, Any]:
        return {
            "classes": [{"class": name, "photos": photos} for name, photos in self.classes],
            "ranks": [vars(rank) for rank in self.ranks],
            "ratio": self.ratio if self.classes else None,
            "effective_classes": self.effective if self.classes else None,
            "small": [name for name, _ in self.small],
        }


def some(classes: Sequence[tuple[str, int]], most: int = 5) -> str:
    """`bovidae (3), ursidae (4) and 2 more`."""
    named = ", ".join(f"{name} ({photos})" for name, photos in classes[:most])
    return named + (f" and {len(classes) - most:,} more" if len(classes) > most else "")
