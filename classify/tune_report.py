"""What a search found, in words, tables and files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classify.bootstrap import Figure, few_witnesses
from classify.cell import Cell
from classify.compare import METRICS
from classify.metrics import LESS_IS_BETTER
from classify.tables import Table, page
from classify.tune_honest import Honest
from classify.tune_importance import Importance
from classify.tune_nested import Nested
from classify.tune_picture import Dot, history_picture
from classify.verdicts import reading
from embed.files import write_json, write_rows
from embed.words import counted

SHOWN = 5  # best trials in the table
SETTINGS = 8  # rows of the importance table


@dataclass(frozen=True)
class Row:
    """A finished trial."""

    number: int
    """from 1"""
    state: str
    """complete, pruned or failed"""
    value: float | None
    """the metric out of fold; of a pruned trial over the folds it had"""
    seconds: float
    cell: Cell
    id: str
    """of the cell in `sweeps/cells`"""
    error: str = ""


@dataclass(frozen=True)
class TuneReport:
    """A search and what is to be thought of it."""

    name: str
    folder: Path
    metric: str
    label: str
    rows: list[Row]
    """in the order of the trials"""
    computed: int
    """of them in this call; the others were there"""
    seconds: float
    best: Row
    default: Row | None
    """the best default configuration; None where all failed"""
    honest: Honest | None
    nested: Nested | None
    importance: Importance | None
    units: int
    """groups or photos that the intervals are drawn from"""
    photos: int
    notes: list[str]

    @property
    def command(self) -> str:
        """What fits the best configuration."""
        return self.best.cell.fit_command

    @property
    def verdict(self) -> str:
        """Is tuning worth it here?"""
        if self.default is None:
            return "No default configuration could be fitted, so there is nothing to compare with."
        if self.best.cell == self.default.cell:
            return (
                f"Tuning is not worth it here: {self.default.cell.head} as it comes is the best "
                "of all that was tried."
            )
        gain = self.nested.gain if self.nested else self.honest.gain if self.honest else None
        if gain is None:
            return ""
        low, high = (-gain[2], -gain[1]) if self.metric in LESS_IS_BETTER else gain[1:]
        said = {
            "better": "Tuning is worth it here",
            "worse": "Tuning does harm here",
        }.get(reading(low, high), "Tuning is not worth it here, as far as these photos can tell")
        return (
            f"{said}: {in_unit(self.metric, gain)} of {METRICS[self.metric]} over the best default "
            f"configuration ({self.default.cell.head} as it comes), what the choosing adds taken "
            "off."
        )

    def as_text(self) -> str:
        """In plain words and tables."""
        parts: list[Table | Sequence[str]] = [[self._counts], self._best_table()]
        parts.append([*self._estimates, self.verdict])
        if table := self._importance_table():
            parts.append(table)
        parts.append(
            [f"Trials: {self.folder / 'trials.csv'}", f"Picture: {self.folder / 'history.png'}"]
        )
        commands = [f"Fit it: {self.command}"]
        if self.default is not None and self.default.cell != self.best.cell:
            commands.append(f"Or the default: {self.default.cell.fit_command}")
        parts.append(commands)
        return page(parts, "table")

    def to_json(self) -> dict[str, Any]:
        """Plain values; figures are [value, low, high]."""
        honest, nested, importance = self.honest, self.nested, self.importance
        return {
            "name": self.name,
            "folder": str(self.folder),
            "metric": self.metric,
            "trials": {state: self._count(state) for state in ("complete", "pruned", "failed")},
            "computed": self.computed,
            "seconds": round(self.seconds, 1),
            "best": {"cell": self.best.cell.to_json(), "id": self.best.id,
                     "value": self.best.value},
            "default": None if self.default is None else {
                "cell": self.default.cell.to_json(), "id": self.default.id,
                "value": self.default.value,
            },
            "in_sample": None if honest is None else list(honest.best),
            "honest": None if honest is None else list(honest.value),
            "gain": None if honest is None else list(honest.gain),
            "chosen_again": None if honest is None else honest.again,
            "nested": None if nested is None else {
                "folds": nested.folds,
                "trials": nested.trials,
                "chosen": [cell.to_json() for cell in nested.chosen],
                "value": list(nested.value),
                "gain": list(nested.gain),
            },
            "importance": None if importance is None else importance.shares,
            "verdict": self.verdict,
            "command": self.command,
            "notes": self.notes,
        }  # fmt: skip

    def save(self) -> None:
        """Write trials.csv, history.png, history.svg and tune.json into the folder."""
        lower = self.metric in LESS_IS_BETTER
        records = [_record(row) for row in self.rows]
        write_rows(self.folder / "trials.csv", list(records[0]), records)
        dots = [
            Dot(row.number, row.value, row.cell.head, row.state == "pruned")
            for row in self.rows
            if row.value is not None
        ]
        default = self.honest.default if self.honest else None
        honest = self.nested.value if self.nested else self.honest.value if self.honest else None
        history_picture(dots, METRICS[self.metric], lower, default, honest, self.folder)
        write_json(self.folder / "tune.json", self.to_json())

    def _count(self, state: str) -> int:
        return sum(row.state == state for row in self.rows)

    @property
    def _counts(self) -> str:
        failed = f", {self._count('failed')} failed" if self._count("failed") else ""
        return (
            f"{counted(len(self.rows), 'trial')}: {self._count('complete')} complete, "
            f"{self._count('pruned')} given up early{failed}; {self.computed:,} computed now, "
            f"in {self.seconds / 60:.1f} minutes."
        )

    def _best_table(self) -> Table:
        lower = self.metric in LESS_IS_BETTER
        complete = [row for row in self.rows if row.state == "complete"]
        first = sorted(complete, key=lambda row: (row.value or 0) * (1 if lower else -1))[:SHOWN]
        if self.default is not None and self.default not in first:
            first.append(self.default)
        cells = [
            [
                f"{row.number}",
                "+".join(row.cell.encoders),
                row.cell.head,
                row.cell.balance,
                ", ".join(f"{name} {value}" for name, value in row.cell.options) or "as it comes",
                f"{row.value:.4f}",
                f"{row.seconds:.1f}",
            ]
            for row in first
        ]
        header = ["trial", "encoders", "head", "balance", "parameters", METRICS[self.metric], "s"]
        return Table(header, cells, left=5)

    @property
    def _estimates(self) -> list[str]:
        name = METRICS[self.metric]
        said = []
        if honest := self.honest:
            complete = self._count("complete")
            said += [
                f"The best of these trials has {name} {_figure(honest.best)} out of fold, which is "
                f"too good: it is the best of {counted(complete, 'complete trial')}.",
                f"Honest estimate: {name} {_figure(honest.value)} (bootstrap bias corrected, "
                "BBC-CV); the same one "
                f"is chosen in {honest.again:.0%} of the resamples.",
            ]
        if nested := self.nested:
            heads = ", ".join(cell.head for cell in nested.chosen)
            said.append(
                f"Nested estimate: {name} {_figure(nested.value)} on {nested.folds} outer folds "
                f"that their searches never saw (trials: "
                f"{', '.join(map(str, nested.trials))}; chosen: {heads})."
            )
        return [*said, *few_witnesses(self.units, self.photos)]

    def _importance_table(self) -> Table | None:
        if self.importance is None:
            return None
        rows = [
            [name, f"{share:.0%}"]
            for name, share in list(self.importance.shares.items())[:SETTINGS]
            if share >= 0.005
        ]
        title = (
            f"What decided whether a trial was among the {self.importance.best} best of "
            f"{self.importance.trials} (PED-ANOVA)"
        )
        return Table(["parameter", "share"], rows, title=title)


def in_unit(metric: str, gain: Figure) -> str:
    """A difference with its interval: points of a share, else as it is."""
    if metric in ("log_loss", "brier"):
        return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*gain)
    return "{:+.1f} points [{:+.1f}, {:+.1f}]".format(*(100 * value + 0.0 for value in gain))


def _figure(figure: Figure) -> str:
    return "{:.3f} [{:.3f}, {:.3f}]".format(*figure)


def _record(row: Row) -> dict[str, Any]:
    return {
        "trial": row.number,
        "state": row.state,
        "value": "" if row.value is None else row.value,
        "seconds": row.seconds,
        "encoders": "+".join(row.cell.encoders),
        "head": row.cell.head,
        "balance": row.cell.balance,
        "parameters": "; ".join(f"{name}={value}" for name, value in row.cell.options),
        "cell": row.id,
        "error": row.error,
    }
