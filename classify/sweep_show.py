"""`cli sweep show`: what a finished sweep says, from its out-of-fold predictions alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from classify.best_of_many import optimism, p_best
from classify.bootstrap import N_BOOT, difference, few_witnesses, figure, wins
from classify.cell import Cell
from classify.cell_store import SweepResult, load_sweep
from classify.configurations import Configuration
from classify.effects import contrasts, effects, find_axes, interactions
from classify.extrapolation import forecast
from classify.outcomes import F64, Outcomes
from classify.pareto import front
from classify.rank_stability import stability
from classify.sweep_answers import COSTS, METRICS, Answers, CurvePoint, LearningCurve, Row
from classify.sweep_scores import Photos, Scores, read_outcomes, scores, sign
from classify.sweep_text import value_in_words
from embed.errors import UserError
from embed.words import counted
from embed.workspace import Workspace

LEVEL = 0.05  # p below it: worse than the best


def show(workspace: Workspace, name: str, metric: str = "macro_f1", draws: int = N_BOOT) -> Answers:
    """The answers of the sweep `name`; nothing is fitted.

    metric : one of `sweep_answers.METRICS`, by which configurations stand in order
    draws : of the bootstrap over photos (groups where the split has them) and seeds
    Raises `UserError` for an unknown sweep or metric, or where no cell is finished.
    """
    if metric not in METRICS:
        raise UserError(f"--metric is one of {', '.join(METRICS)}. Got '{metric}'.")
    found = load_sweep(workspace, name)
    if not found.done:
        raise UserError(_nothing(found))
    parts = [
        _answers(found, photos, outcomes, metric, draws)
        for photos, outcomes in read_outcomes(found)
    ]
    first, *others = parts
    notes = list(dict.fromkeys([*found.notes, *(note for one in parts for note in one.notes)]))
    if others:
        notes.append(
            "not all cells were scored on the same photos (they are of several splits): each set "
            "of photos has its own answers, and they are not compared"
        )
    return replace(first, notes=tuple(notes), elsewhere=tuple(others))


def _nothing(found: SweepResult) -> str:
    if found.failed:
        first = found.failed[0]
        return (
            f"Every cell of the sweep '{found.name}' failed. The first, {first.cell.describe()}: "
            f"{first.error}"
        )
    return f"No cell of the sweep '{found.name}' is finished yet. Run `cli sweep` on its grid."


def _answers(
    found: SweepResult, photos: Photos, outcomes: dict[Cell, Outcomes], metric: str, draws: int
) -> Answers:
    its = scores(photos, outcomes, found.done, metric, draws)
    settings = [one.settings() for one in its.configurations]
    in_order = list({one.cell: _settings(one.cell) for one in found.done}.values())
    axes = find_axes(settings, [one for one in in_order if one in settings])
    every = [*its.configurations, *its.incomplete]
    named = find_axes([one.settings() for one in every], in_order)
    up = sign(metric) * its.samples[metric]
    too_good = optimism(its.outcomes, up, metric, photos.groups)
    rows = _rows(its, metric, named)
    pairs = contrasts(settings, axes)
    best = rows[0]
    corrected: Any = tuple(end - sign(metric) * too_good for end in best.figures[metric])
    return Answers(
        name=found.name,
        folder=found.folder,
        label=found.label,
        metric=metric,
        draws=draws,
        photos=len(photos),
        units=photos.units,
        classes=photos.classes,
        seeds=its.seeds,
        axes={name: tuple(values) for name, values in named.items()},
        rows=tuple(rows),
        optimism=too_good,
        corrected=corrected,
        effects=tuple(effects(pairs, settings, its.samples, metric, photos.units)),
        interactions=tuple(interactions(pairs, settings, axes, its.samples[metric], photos.units)),
        curves=tuple(_curves(its, metric, named, found.label)),
        stability=stability(up, sign(metric) * its.by_seed),
        command=best.cell.fit_command,
        failed=tuple((one.cell.describe(), one.error) for one in found.failed),
        missing=found.missing,
        notes=tuple(_notes(its, axes, {one.axis for one in pairs})),
    )


def _settings(cell: Cell) -> dict[str, Any]:
    return Configuration(cell, ()).settings()


def _rows(its: Scores, metric: str, axes: Mapping[str, Sequence[Any]]) -> list[Row]:
    samples, up = its.samples, sign(metric) * its.samples[metric]
    p = p_best(up)
    share = wins(list(up))
    fronts = _fronts(its.configurations, up[:, 0])
    rows = []
    for i, one in enumerate(its.configurations):
        standing = "best" if i == 0 else "worse" if p[i] < LEVEL else "tie"
        row = _row(one, metric, axes, i + 1, standing)
        rows.append(
            replace(
                row,
                figures={m: figure(m, samples[m][i], its.photos.units) for m in METRICS},
                by_size={name: float(samples[name][i, 0]) for name in its.photos.subsets},
                difference=difference(samples[metric][i], samples[metric][0]),
                p=float(p[i]),
                probability_best=float(share[i]),
                front=tuple(cost for cost, on_it in fronts.items() if on_it[i]),
            )
        )
    for k, one in enumerate(its.incomplete):
        rows.append(_row(one, metric, axes, len(its.configurations) + k + 1, "incomplete"))
    return rows


def _row(
    one: Configuration, metric: str, axes: Mapping[str, Sequence[Any]], rank: int, standing: str
) -> Row:
    settings = one.settings()
    return Row(
        rank=rank,
        name=in_words(settings, axes),
        settings={name: settings.get(name) for name in axes},
        cell=one.cell,
        ids=tuple(result.id for result in one.results),
        seeds=one.seeds,
        figures={name: one.figure(name) for name in METRICS},
        by_size={},
        spread=one.spread(metric),
        standing=standing,
        difference=None,
        p=None,
        probability_best=None,
        seconds=one.mean("seconds"),
        peak_bytes=one.mean("peak_bytes"),
        model_bytes=one.mean("model_bytes"),
        train_photos=one.mean("train_photos"),
    )


def in_words(settings: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> str:
    """What of the settings differs within the sweep: `pixels, knn, smote, k 15`."""
    words = [value_in_words(name, settings.get(name)) for name in axes if _said(settings, name)]
    return ", ".join(words) or f"{settings['encoders']}, {settings['head']}"


def _said(settings: Mapping[str, Any], name: str) -> bool:
    """Whether it is one of its parameters; that a stack has no columns need not be said."""
    return settings.get(name) not in (None, "") or name == "photos"


def _fronts(found: Sequence[Configuration], gain: F64) -> dict[str, Any]:
    """cost -> (K,) who is on the front; without a cost that was not measured."""
    costs = {name: np.array([one.mean(name) for one in found]) for name in COSTS}
    return {name: front(gain, cost) for name, cost in costs.items() if cost.any()}


def _curves(
    its: Scores, metric: str, axes: Mapping[str, Sequence[Any]], label: str
) -> list[LearningCurve]:
    lines: dict[Cell, list[int]] = {}
    for i, one in enumerate(its.configurations):
        lines.setdefault(replace(one.cell, photos=None), []).append(i)
    others = {name: values for name, values in axes.items() if name != "photos"}
    return [_curve(its, metric, others, rows, label) for rows in lines.values() if len(rows) > 1]


def _curve(
    its: Scores, metric: str, others: Mapping[str, Sequence[Any]], rows: list[int], label: str
) -> LearningCurve:
    found = its.configurations
    rows = sorted(rows, key=lambda i: found[i].mean("train_photos"))
    per_class = [found[i].mean("train_photos") / its.photos.trained for i in rows]
    samples = its.samples[metric][rows]
    points = [
        CurvePoint(
            found[i].cell.photos,
            x,
            found[i].mean("train_photos"),
            figure(metric, its.samples[metric][i], its.photos.units),
        )
        for i, x in zip(rows, per_class, strict=True)
    ]
    name = in_words(found[rows[0]].settings(), others)
    ranks = tuple(i + 1 for i in rows)
    if metric == "log_loss":
        return LearningCurve(name, ranks, tuple(points), "Log-loss is not carried on.")
    said = forecast(per_class, samples, label)
    return LearningCurve(name, ranks, tuple(points), said.sentence, said.more, said.gain, said.law)


def _notes(its: Scores, axes: Mapping[str, Any], told: set[str]) -> list[str]:
    notes = list(few_witnesses(its.photos.units, len(its.photos)))
    if len(its.seeds) == 1 and len(its.configurations) > 1:
        notes.append(
            "with one seed the intervals know of other photos, and nothing of other folds and "
            "draws: give the grid several seeds"
        )
    if its.incomplete:
        seeds = ", ".join(map(str, its.seeds))
        notes.append(
            f"{counted(len(its.incomplete), 'configuration')} without all of the seeds {seeds}: "
            "not compared"
        )
    untold = [name for name in axes if name not in told]
    if untold:
        notes.append(
            f"no two configurations differ in {' or '.join(untold)} alone, so nothing is said of "
            "its effect"
        )
    return notes
