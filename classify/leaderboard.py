"""All runs side by side."""

from typing import Any

from classify.runs import Run, all_runs
from embed.errors import UserError
from embed.workspace import Workspace


def leaderboard(workspace: Workspace, part: str = "oof") -> list[dict[str, Any]]:
    """One row a run, best macro-F1 first; `part` is oof, val or test.

    Figures are [value, low, high] with 95% bootstrap intervals; times in seconds, sizes in
    bytes. Raises `UserError` where there is no run, or none evaluated on `part`.
    """
    runs = all_runs(workspace)
    if not runs:
        raise UserError("There is no run here yet. Run `cli fit --head all` first.")
    found = [(run, run.figures if part == "oof" else run.evaluated(part)) for run in runs]
    rows = [_row(run, figures) for run, figures in found if figures is not None]
    if not rows:
        raise UserError(f"No run was evaluated on the {part} photos yet. Run `cli evaluate` first.")
    return sorted(rows, key=lambda row: (-row["macro_f1"][0], row["run"]))


def _row(run: Run, figures: dict[str, Any]) -> dict[str, Any]:
    provenance = run.provenance
    config = run.config
    return {
        "run": run.name,
        "head": config.head,
        "balance": config.balance,
        "encoders": list(config.encoders),
        **figures,
        "photos": provenance["photos"],
        "data": provenance["data"],
        "fit_seconds": provenance["seconds"]["fit"],
        "folds_seconds": provenance["seconds"]["folds"],
        "predict_seconds_per_1000": provenance["seconds"]["predict_1000"],
        "model_bytes": run.model_bytes,
    }
