"""All runs side by side, and which of their differences mean something."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from classify.bootstrap import FEW, wins
from classify.metrics import ALL_METRICS, LESS_IS_BETTER
from classify.runs import Run, all_runs
from classify.scored import Scored, scored
from classify.tables import Table, csv_text, json_text, page
from classify.verdicts import verdicts
from embed.errors import UserError
from embed.words import counted
from embed.workspace import Workspace

WHERE = {"oof": "Out of fold on the training photos", "val": "Val photos", "test": "Test photos"}
_METRICS = {
    "macro-F1": "macro_f1", "accuracy": "accuracy", "top-5": "top_5", "log-loss": "log_loss",
    "Brier": "brier", "ECE": "ece",
}  # fmt: skip
_WITH_INTERVAL = ("macro_f1", "accuracy")  # the others' are in CSV and JSON
_COSTS = {
    "fit s": ("fit_seconds", 1.0), "folds s": ("folds_seconds", 1.0),
    "ms/photo": ("predict_seconds_per_1000", 1.0), "MB": ("model_bytes", 1e6),
    "peak MB": ("peak_bytes", 1e6),
}  # fmt: skip


@dataclass(frozen=True)
class Board:
    """The runs of each data set together, best macro-F1 first; the newest data first."""

    part: str
    groups: list[list[dict[str, Any]]]  # one record a run
    notes: list[str]  # what a reader must know before comparing

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All records."""
        return [row for group in self.groups for row in group]

    @property
    def below(self) -> list[str]:
        """What balancing, another loss and columns bring, and how to read the table."""
        rows = self.rows
        drawn = sorted({_drawn(row["scored"], row["drawn"]) for row in rows})
        return [
            *(f"{row['run']}: {words}" for row in rows for words in row["verdicts"]),
            f"{WHERE[self.part]}. In brackets 95% intervals, by bootstrap over "
            f"{' or '.join(drawn)}, the same draws for all runs.",
            "P(best): share of the draws in which a run has the highest macro-F1. tie: its "
            "difference to the best may be chance (the paired interval includes 0).",
            "Of log-loss, Brier (0 to 2) and ECE (calibration error of the likeliest class, 15 "
            "bins of equal mass; too high for few photos) less is better.",
        ]

    def as_text(self, form: str = "table") -> str:
        """As `table`, `csv`, `json`, `markdown` or `latex`, with a line feed at the end."""
        if form == "csv":
            return csv_text(self.rows)
        if form == "json":
            return json_text(self.rows)
        tables = [_table(group, titled=len(self.groups) > 1) for group in self.groups]
        return page([*tables, self.below], form)


def leaderboard(workspace: Workspace, part: str = "oof") -> Board:
    """All runs that have predictions for `part`: oof, val or test.

    Each metric is [value, low, high] with the 95% interval of a paired bootstrap over the photos,
    over the groups where the split has them; times are in seconds, sizes in bytes. Runs compete
    with those of the same data only. Raises `UserError` where there is no run, or none evaluated.
    """
    runs = all_runs(workspace)
    if not runs:
        raise UserError("There is no run here yet. Run `cli fit --head all` first.")
    runs = [run for run in runs if part == "oof" or (run.folder / part / "metrics.json").exists()]
    if not runs:
        raise UserError(f"No run was evaluated on the {part} photos yet. Run `cli evaluate` first.")
    by_photos: dict[str, list[Scored]] = {}
    for one in scored(runs, part):
        by_photos.setdefault(one.photos, []).append(one)
    groups = sorted(by_photos.values(), key=lambda group: -max(_time(one.run) for one in group))
    notes = []
    if len(groups) > 1:
        notes.append(
            "not all runs had the same training photos, labels and groups, so compare only within "
            "one table"
        )
    least = min(one.units for group in groups for one in group)
    if least < FEW:
        notes.append(
            f"with {least} photos or groups to draw from the intervals are too narrow: most "
            "differences here are luck"
        )
    return Board(part, [_records(group) for group in groups], notes)


def _time(run: Run) -> int:
    return (run.folder / "config.json").stat().st_mtime_ns


def _records(group: Sequence[Scored]) -> list[dict[str, Any]]:
    """Those of runs on the same photos."""
    best_first = sorted(group, key=lambda one: (-one.samples["macro_f1"][0], one.run.name))
    shares = wins([one.samples["macro_f1"] for one in best_first])
    said = verdicts(best_first)
    return [
        _record(one, best_first[0], float(share)) | {"verdicts": said[one.run.name]}
        for one, share in zip(best_first, shares, strict=True)
    ]


def _record(one: Scored, best: Scored, share: float) -> dict[str, Any]:
    config, provenance = one.run.config, one.run.provenance
    difference, low, high = one.difference(best, "macro_f1")
    standing = "best" if one is best else "tie" if low <= 0 <= high else ""
    return {
        "run": one.run.name,
        "head": config.head,
        "balance": config.balance,
        "encoders": list(config.encoders),
        "options": [f"{name}={value}" for name, value in config.options.items()],
        "columns": list(config.columns),
        "standing": standing,
        "probability_best": share,
        "difference_to_best": [difference, low, high],
        **{name: list(one.figure(name)) for name in ALL_METRICS},
        "scored": one.n,
        "drawn": one.units,
        "photos": provenance["photos"],
        "data": provenance["data"],
        "split": config.split,
        "fit_seconds": provenance["seconds"]["fit"],
        "folds_seconds": provenance["seconds"]["folds"],
        "predict_seconds_per_1000": provenance["seconds"]["predict_1000"],
        "model_bytes": one.run.model_bytes,
        "peak_bytes": provenance.get("peak_bytes"),
    }


def _table(group: Sequence[dict[str, Any]], titled: bool) -> Table:
    columns = list(_METRICS.values())
    best = {
        name: (min if name in LESS_IS_BETTER else max)(row[name][0] for row in group)
        for name in columns
    }
    bold = {
        (r, 3 + c)
        for r, row in enumerate(group)
        for c, name in enumerate(columns)
        if row[name][0] == best[name]
    }
    first = group[0]
    return Table(
        header=["run", "standing", "P(best)", *_METRICS, *_COSTS],
        rows=[
            [
                row["run"],
                row["standing"],
                f"{row['probability_best']:.2f}",
                *(_figure(name, row[name]) for name in columns),
                *(_cost(row[name], unit) for name, unit in _COSTS.values()),
            ]
            for row in group
        ],
        bold=frozenset(bold),
        left=2,
        title=f"Data {first['data']}, split {first['split']}, "
        f"{_drawn(first['scored'], first['drawn'])}"
        if titled
        else "",
    )


def _figure(name: str, value: Sequence[float]) -> str:
    middle, low, high = value
    return f"{middle:.3f}" + f" [{low:.3f}, {high:.3f}]" * (name in _WITH_INTERVAL)


def _cost(value: float | None, unit: float) -> str:
    """Two digits that count: times differ from run to run by more."""
    if value is None:
        return ""
    value /= unit
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _drawn(photos: int, groups: int) -> str:
    of = counted(photos, "photo")
    return of if groups == photos else f"{counted(groups, 'group')} of {of}"
