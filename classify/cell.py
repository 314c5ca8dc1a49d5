"""One configuration of a sweep, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from classify.fit import MEMBERS
from classify.heads import HEADS
from classify.runs import RunConfig

PRECISIONS = ("stored", "float16")
Figure = tuple[float, float, float]
"""value, and the ends of its 95% interval"""


@dataclass(frozen=True)
class Cell:
    """All that decides the figures of a configuration, beside the data."""

    encoders: tuple[str, ...]
    head: str
    balance: str = "none"
    photos: int | float | None = None
    """most training photos of a class in every fold (int), their share (float below 1), or all"""
    split: str = "default"
    seed: int = 0
    """of the folds, the drawn photos, balancing and the head"""
    folds: int = 5
    precision: str = "stored"
    """float16: vectors are rounded as a store of that precision keeps them"""
    columns: tuple[str, ...] = ()
    """of the table, beside the vectors, as `fit --with` takes them"""
    options: tuple[tuple[str, Any], ...] = ()
    """parameters of the head, by name; of a stack those of any of its heads, as HEAD.NAME"""

    def to_json(self) -> dict[str, Any]:
        """Plain values; `options` as an object."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return found | {
            "encoders": list(self.encoders),
            "columns": list(self.columns),
            "options": dict(self.options),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Cell":
        """The cell whose `to_json` this is."""
        return cls(**{
            **value,
            "encoders": tuple(value["encoders"]),
            "columns": tuple(value["columns"]),
            "options": tuple(sorted(value["options"].items())),
        })  # fmt: skip

    @property
    def members(self) -> tuple["Cell", ...]:
        """The cells of the heads that a stack is made of; none of another head."""
        if self.head != "stack":
            return ()
        return tuple(
            replace(
                self,
                head=head,
                balance=balance_of(head, self.balance),
                options=tuple(
                    (name.removeprefix(f"{head}."), value)
                    for name, value in self.options
                    if name.startswith(f"{head}.")
                ),
            )
            for head in MEMBERS
        )

    @property
    def fit_command(self) -> str:
        """The command that fits it on all photos; what `fit` cannot do is not in it."""
        return RunConfig(
            head=self.head,
            balance=self.balance,
            encoders=self.encoders,
            folds=self.folds,
            seed=self.seed,
            split=self.split,
            label="",
            options=dict(self.options),
            columns=self.columns,
        ).command

    def describe(self) -> str:
        """The cell in a few words: encoders, head, and what is not as usual."""
        usual = Cell((), "")
        words = ["+".join(self.encoders), self.head]
        words += [self.balance] * (self.balance != usual.balance)
        words += [f"{name} {value}" for name, value in self.options]
        words += [photos_in_words(self.photos)] * (self.photos is not None)
        words += [f"with {name}" for name in self.columns]
        words += [self.precision] * (self.precision != usual.precision)
        words += [f"split {self.split}"] * (self.split != usual.split)
        words += [f"{self.folds} folds"] * (self.folds != usual.folds)
        return ", ".join([*words, f"seed {self.seed}"])


@dataclass(frozen=True)
class CellResult:
    """What a finished cell leaves; its out-of-fold predictions lie in a file beside it."""

    cell: Cell
    id: str
    """of its files: a digest of the cell, the training photos, their vectors and the program"""
    figures: dict[str, Figure] = field(default_factory=dict)
    """the headline metrics; empty where it failed"""
    error: str = ""
    """the reason where it failed"""
    seconds: float = 0.0
    """of fitting and predicting all folds, as if nothing had been shared with other cells"""
    spent: float = 0.0
    """seconds that it really took, other cells having done a part of the work"""
    peak_bytes: int = 0
    model_bytes: int = 0
    """of what a fitted head keeps, mean over the folds"""
    train_photos: float = 0.0
    """that a fold trains on, mean over the folds"""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        figures = {name: list(figure) for name, figure in self.figures.items()}
        return found | {
            "cell": self.cell.to_json(), "figures": figures, "notes": list(self.notes)
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "CellResult":
        figures = {name: (f[0], f[1], f[2]) for name, f in value["figures"].items()}
        cell, notes = Cell.from_json(value["cell"]), tuple(value["notes"])
        return cls(**{**value, "cell": cell, "figures": figures, "notes": notes})


def balance_of(head: str, balance: str) -> str:
    """`balance`, or none where it means nothing to the head; a stack takes any."""
    return balance if head == "stack" or balance in HEADS[head].balances else "none"


def photos_in_words(photos: int | float | None) -> str:
    """5 photos a class, 25% of the photos, all photos."""
    if photos is None:
        return "all photos"
    return f"{photos} photos a class" if isinstance(photos, int) else f"{photos:.0%} of the photos"
