"""The finished cells of a sweep as runs of an experiment tracker: MLflow or TensorBoard.

Nothing is computed: parameters, figures and times are those that the sweep saved. A cell that is
there already is left alone, so an export after a larger grid adds what is new.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classify.cell import CellResult
from classify.cell_store import SweepResult, load_sweep
from classify.runs import versions
from embed.errors import UserError, did_you_mean
from embed.words import counted
from embed.workspace import Workspace

TRACKERS = ("mlflow", "tensorboard")
Parameter = str | int | float


@dataclass(frozen=True)
class Tracked:
    """What an export did."""

    sweep: str
    to: str
    """where it went: an address or a folder"""
    new: int
    there: int
    """cells that an earlier export brought"""
    failed: int
    """cells of the sweep without figures, which are not exported"""
    look: str
    """the command that shows it"""

    def to_json(self) -> dict[str, Any]:
        return {
            "sweep": self.sweep, "to": self.to, "new": self.new, "there": self.there,
            "failed": self.failed, "look": self.look,
        }  # fmt: skip

    def lines(self) -> list[str]:
        said = f"{counted(self.new, 'run')} of sweep {self.sweep} written to {self.to}"
        said += f"; {self.there:,} were there already" if self.there else ""
        said += f"; {counted(self.failed, 'failed cell')} left out" if self.failed else ""
        return [f"{said}.", f"To look at them: {self.look}"]


def track(workspace: Workspace, name: str, to: str) -> Tracked:
    """Export the sweep `name` to `mlflow:PATH`, `mlflow:URI` or `tensorboard:FOLDER`.

    Raises `UserError` for another word, for a sweep that is not there or has no finished cell,
    and where the tracker's package is missing or its store cannot be written.
    """
    tracker, _, place = to.partition(":")
    if tracker not in TRACKERS:
        raise UserError(
            f"--to '{to}' names no tracker. {did_you_mean(tracker, TRACKERS)} "
            "It is mlflow:PATH, mlflow:URI or tensorboard:FOLDER."
        )
    if not place:
        raise UserError(f"--to '{to}' names no place. Give one: `--to {tracker}:{tracker}-runs`.")
    sweep = load_sweep(workspace, name)
    if not sweep.done:
        raise UserError(
            f"Sweep '{name}' has no finished cell. Run `cli sweep sweeps/{name}/grid.toml` first."
        )
    if tracker == "mlflow":
        from classify.mlflow_export import to_mlflow

        return to_mlflow(sweep, place)
    from classify.tensorboard_export import to_tensorboard

    return to_tensorboard(sweep, Path(place))


def parameters(result: CellResult) -> dict[str, Parameter]:
    """All that was chosen for a cell, by name: the axes of the grid and the head's parameters.

    `photos` is `all` where no photo was left out. A parameter that the head does not have, or
    chose itself, is not there.
    """
    cell = result.cell
    found: dict[str, Any] = {
        "encoders": "+".join(cell.encoders),
        "head": cell.head,
        "balance": cell.balance,
        "photos": "all" if cell.photos is None else cell.photos,
        "split": cell.split,
        "seed": cell.seed,
        "folds": cell.folds,
        "precision": cell.precision,
        "columns": "+".join(cell.columns) or "none",
        **dict(cell.options),
    }
    return {name: _plain(value) for name, value in found.items() if value is not None}


def figures(result: CellResult) -> dict[str, float]:
    """The numbers of a cell by name: each metric, `METRIC_low`, `METRIC_high`, and the costs."""
    found: dict[str, float | None] = {}
    for metric, (value, low, high) in result.figures.items():
        found |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
    found |= {
        "seconds": result.seconds,
        "spent_seconds": result.spent,
        "peak_bytes": result.peak_bytes,
        "model_bytes": result.model_bytes,
        "train_photos": result.train_photos,
    }
    return {
        name: float(value)
        for name, value in found.items()
        if value is not None and value - value == 0  # a number, and finite
    }


def tags(sweep: SweepResult, result: CellResult) -> dict[str, str]:
    """What a run is known by."""
    return {
        "familia.sweep": sweep.name,
        "familia.cell": result.id,
        "familia.label": sweep.label,
        "familia.version": versions()["familia"],
        "familia.notes": "; ".join(result.notes),
    }


def finished_at(sweep: SweepResult, result: CellResult) -> float:
    """Seconds since 1970 at which the cell was saved."""
    return (sweep.cells / f"{result.id}.json").stat().st_mtime


def tables(sweep: SweepResult, largest: int = 20_000_000) -> Iterator[Path]:
    """The files that lie beside the list of a sweep's cells: its tables, pictures and grid."""
    for path in sorted(sweep.folder.glob("[!.]*")):
        if path.is_file() and path.stat().st_size <= largest:
            yield path


def missing_package(tracker: str, error: ImportError) -> UserError:
    return UserError(
        f"--to {tracker} needs the package {error.name}, which is not installed. "
        f"Run `pip install 'familia[{tracker}]'`."
    )


def _plain(value: Any) -> Parameter:
    if isinstance(value, Mapping | list | tuple | bool):
        return str(value)
    return value if isinstance(value, int | float) else str(value)
