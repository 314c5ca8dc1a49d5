"""What a split holds, in numbers and in plain words."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from embed.words import counted

SIDES = ("train", "val", "test")


@dataclass(frozen=True)
class SplitReport:
    """Counts of one split.

    classes : one row a class (the index): photos on `train`, `val` and `test`, and `groups`
    groups : groups in all
    fractions : the share of each side that was asked for
    by : what the photos of a group have in common, in words
    leaks : groups of identical photos (or of `by`) that are on two sides
    clashes : photos that are there more than once, under different labels
    unlabelled, unplaced : photos without a label; photos with one that are on no side
    question : what a figure on the test photos answers
    not_testable : classes that such a split cannot both train and test
    dated : whether the sides are older and newer photos
    """

    classes: Any
    groups: int
    fractions: dict[str, float]
    by: str | None
    leaks: int
    clashes: int
    unlabelled: int
    unplaced: int
    notes: tuple[str, ...]
    question: str = ""
    not_testable: tuple[str, ...] = ()
    dated: bool = False

    @property
    def photos(self) -> dict[str, int]:
        """Photos on each side."""
        return {side: int(self.classes[side].sum()) for side in SIDES}

    def to_json(self) -> dict[str, Any]:
        """Plain values, with a record for every class."""
        classes = self.classes.rename_axis("class").reset_index().to_dict("records")
        return {**vars(self), "photos": self.photos, "classes": classes}

    def lines(self, most: int = 10) -> list[str]:
        """The report in plain words, a line each; names at most `most` of the small classes."""
        asks = [f"the test asks: {self.question}"] if self.question else []
        said = [*self._counts(), *asks, *self._groups(), *self._left_out()]
        return [*said, *self._small_classes(most)]

    def _counts(self) -> Iterator[str]:
        total = max(sum(self.photos.values()), 1)
        for side, photos in self.photos.items():
            share = photos / total
            if photos or self.fractions[side]:
                classes = counted((self.classes[side] > 0).sum(), "class", "classes")
                yield f"{side:<5} {counted(photos, 'photo')} ({share:.1%}) of {classes}"
            if abs(share - self.fractions[side]) > max(0.01, self.fractions[side] / 10):
                yield (
                    f"      {self.fractions[side]:.0%} was asked for: groups and classes that "
                    "cannot be shared out allow no nearer"
                )

    def _groups(self) -> Iterator[str]:
        if self.by:
            groups = counted(self.groups, "group")
            yield f"grouped by {self.by}: {groups}, none of them on two sides"
        if self.leaks:
            yield (
                f"LEAK: {counted(self.leaks, 'photo')} with identical copies on two sides, so "
                "the test is easier than it looks. `cli split` without --from keeps copies together"
            )
        if self.clashes:
            yield (
                f"{counted(self.clashes, 'photo')} with identical copies under different labels: "
                "check the table"
            )

    def _left_out(self) -> Iterator[str]:
        yield from self.notes
        if self.unlabelled:
            yield f"{counted(self.unlabelled, 'photo')} without a label, on no side"
        if self.unplaced:
            photos = counted(self.unplaced, "labelled photo")
            yield f"{photos} that the split does not name, on no side"

    @property
    def _kind(self) -> str:
        several = self.by and (" and " in self.by or self.by == "near-duplicates")
        return "group" if several else self.by or "photo"

    def _small_classes(self, most: int) -> Iterator[str]:
        """What becomes of the classes that are not both trained and tested, by name."""
        table = self.classes
        tested, trained = table["test"] > 0, table["train"] > 0
        one = (table["groups"] == 1) | table.index.isin(self.not_testable)
        fates = {"not in train, so they can never be predicted": ~trained}
        if self.photos["test"]:
            alone = f"of one {self._kind} only, so they stay in train and cannot be tested"
            if self.dated:
                alone = "without photos on both sides of the date, so not tested"
            fates[alone] = trained & ~tested & one
            fates["not in test this time (a larger --test may bring them in)"] = (
                trained & ~tested & ~one
            )
        else:
            yield "no test side: figures can only be out-of-fold"
        for fate, chosen in fates.items():
            if chosen.any():
                yield f"{chosen.sum()} of {counted(len(table), 'class', 'classes')}: {fate}"
                yield f"      {_names(table[chosen], most)}"


def _names(classes: Any, most: int) -> str:
    """`bovidae (34 photos), ursidae (38 photos) and 3 more`, the smallest first."""
    sizes = classes[list(SIDES)].sum(axis=1).sort_values(kind="stable")
    named = [f"{name} ({counted(n, 'photo')})" for name, n in sizes.head(most).items()]
    return ", ".join(named) + (f" and {len(sizes) - most} more" if len(sizes) > most else "")
