"""The chapter on sweeps: every configuration, to be sliced, and what they say together."""

from collections.abc import Sequence
from typing import Any

from classify.cell_store import LIST, SweepResult, load_sweep
from classify.configurations import Configuration, configurations, varied
from classify.metrics import LESS_IS_BETTER
from classify.report_blocks import (
    Block,
    Column,
    Kind,
    ReportTable,
    Section,
    Sentences,
    Value,
    as_figure,
)
from classify.report_results import METRICS
from classify.report_source import Source
from classify.report_sweep_answers import answer_blocks
from classify.sweep_answers import Answers
from classify.sweep_show import show
from embed.words import counted
from embed.workspace import slug

MOST_ROWS, MOST_REASONS = 2000, 5
ABSENT = "–"  # the head has no such parameter, or chooses it itself
_MB = 1e6
_METRICS = ("macro_f1", "accuracy", "top_5", "log_loss", "brier", "ece")
_COSTS = (
    Column("seeds", "count"),
    Column("spread", "number", less=True, wide=True),
    Column("seconds", "number", less=True, wide=True),
    Column("memory, MB", "number", less=True, wide=True),
    Column("model, MB", "number", less=True, wide=True),
    Column("photos trained on", "count", wide=True),
)


def sweeps(source: Source) -> Section | None:
    """Each grid: its answers, and every configuration in a table."""
    blocks: list[Block] = []
    for path in sorted(source.workspace.sweeps.glob(f"*/{LIST}")):
        sweep = load_sweep(source.workspace, path.parent.name)
        if sweep.done:
            its = show(source.workspace, sweep.name)
            blocks += _answers(its, f"sweep-{slug(sweep.name)}")
            blocks.append(configurations_table(sweep, its))
        blocks += _unfinished(sweep)
    return Section("sweeps", "Sweeps", blocks) if blocks else None


def _answers(its: Answers, name: str) -> list[Block]:
    """Those of each set of photos that cells were scored on."""
    blocks = answer_blocks(its, name)
    for i, other in enumerate(its.elsewhere, start=2):
        split = other.best.cell.split
        blocks.append(Sentences([f"On other photos, those of the split {split}:"]))
        blocks += answer_blocks(other, f"{name}-{i}")
    return blocks


def configurations_table(sweep: SweepResult, its: Answers) -> ReportTable:
    """One row a configuration, the best first: the settings that vary, the figures, the costs."""
    found = configurations(sweep.done, its.metric)[:MOST_ROWS]
    compared = {row.cell: row for each in (its, *its.elsewhere) for row in each.rows}
    axes = varied(found) or ["head"]
    metrics = [
        name for name in _METRICS if all(name in r.figures for c in found for r in c.results)
    ]
    settings = [[axis_value(one, name) for name in axes] for one in found]
    columns = [
        *(Column(name, _kind(values)) for name, *values in zip(axes, *settings, strict=True)),
        Column("standing"),
        *(Column(METRICS[name][0], "number", less=name in LESS_IS_BETTER) for name in metrics),
        *_COSTS,
    ]
    rows: list[list[Value]] = [
        [
            *values,
            row.standing,
            *(as_figure(row.figures.get(name) or one.figure(name)) for name in metrics),
            len(one.seeds),
            row.spread,
            row.seconds,
            row.peak_bytes / _MB,
            row.model_bytes / _MB,
            row.train_photos,
        ]
        for one, values in zip(found, settings, strict=True)
        if (row := compared[one.cell])
    ]
    return ReportTable(
        f"sweep-{slug(sweep.name)}",
        f"Sweep {sweep.name}: every configuration",
        columns,
        rows,
        _note(found, axes, len(its.rows) - len(found)),
        sortable=True,
        axes=range(len(axes)) if len(found) > 1 else (),
    )


def _kind(values: Sequence[Value]) -> Kind:
    return "exact" if any(isinstance(value, int | float) for value in values) else "text"


def _note(found: Sequence[Configuration], axes: Sequence[str], more: int) -> str:
    said = (
        "Out of fold, on the training photos, means over the seeds; in brackets 95% intervals. The "
        "best of many is a little too good by the choosing. standing: a tie is not significantly "
        "worse than the best. seconds: of all folds, as if nothing had been shared with other "
        "configurations. spread: standard deviation of the macro-F1 over the seeds. "
        f"{ABSENT}: the head has no such parameter, or chooses it itself."
    )
    alike = [name for name in found[0].settings() if name not in axes]
    same = [f"{name} {value}" for name in alike if (value := axis_value(found[0], name)) != "none"]
    said += f" All have {', '.join(same)}." if same else ""
    return said + (f" {more:,} more, all worse, are not shown." if more > 0 else "")


def _unfinished(sweep: SweepResult) -> list[Block]:
    """What is missing, and why."""
    said = []
    if sweep.missing:
        cells = counted(sweep.missing, "cell")
        said.append(f"Sweep {sweep.name}: {cells} of its grid are not computed yet.")
    reasons = [f"{one.cell.describe()} failed: {one.error}" for one in sweep.failed]
    said += reasons[:MOST_REASONS]
    more = len(reasons) - MOST_REASONS
    said += [f"{more:,} more cells of sweep {sweep.name} failed."] if more > 0 else []
    return [Sentences(said, bullets=True)] if said else []


def axis_value(one: Configuration, name: str) -> str | int | float:
    """A setting as a table has it: a number, or a word for what is no number."""
    settings = one.settings()
    if name not in settings:
        return ABSENT
    value: Any = settings[name]
    if name == "photos":
        return "all" if value is None else value if isinstance(value, int) else f"{value:.0%}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return ABSENT if value is None else str(value) or "none"
