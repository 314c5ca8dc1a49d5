"""What a sweep says as blocks of a report: the best and its equals, effects, costs, photos."""

from collections.abc import Sequence

from classify.report_blocks import (
    Block,
    Chart,
    Column,
    Figure,
    ReportTable,
    Sentences,
    Series,
    Value,
    as_figure,
    as_number,
)
from classify.report_results import ranges_chart
from classify.sweep_answers import METRICS, Answers, Effect, LearningCurve, Row
from classify.sweep_text import (
    amount,
    cost_in_words,
    described,
    effect_sentence,
    how_compared,
    interaction_sentence,
    value_in_words,
    worth_a_look,
)
from classify.tables import bracketed
from embed.words import counted

MOST_BEST, MOST_EFFECTS, MOST_CURVES = 10, 24, 4
MOST_SAID = 6  # effects, and interactions, in sentences
_COST = "seconds"


def answer_blocks(its: Answers, name: str) -> list[Block]:
    """The blocks of one set of answers; `name` begins the names of its tables and charts."""
    return [
        Sentences([f"Sweep {its.name}: {described(its)}."]),
        Sentences(_said(its), bullets=True),
        _best_table(its, name),
        _best_chart(its, name),
        *_effects_chart(its, name),
        *_front_chart(its, name),
        *_curves_chart(its, name),
        *_effects_table(its, name),
    ]


def _said(its: Answers) -> list[str]:
    """The answers in sentences, what matters most first."""
    best, metric = its.best, its.metric
    said = [
        f"The best is {best.name}: {METRICS[metric]} {bracketed(best.figures[metric])}."
        + f" Chosen among many it is about {amount(metric, its.optimism)} too good "
        f"(bootstrap bias correction): rather {bracketed(its.corrected)}."
        * bool(its.optimism)
        + f" To fit it: `{its.command}`.",
    ]
    compared = sum(row.difference is not None for row in its.rows) - 1
    if compared > 0:
        said.append(
            f"Not significantly worse: {len(its.ties):,} of {compared:,} others. "
            f"{how_compared(its)}"
        )
    fast = min([best, *its.ties], key=_seconds)
    if 1.5 * fast.seconds < best.seconds:
        said.append(
            f"The fastest that is not significantly worse is {fast.name}: "
            f"{cost_in_words(_COST, fast.seconds)} in the place of "
            f"{cost_in_words(_COST, best.seconds)}."
        )
    widest = sorted(its.effects, key=lambda one: (one.p_holm, -abs(one.figures[metric][0])))
    said += [f"{one.axis}, {against(one)}: {_after(one, metric)}." for one in widest[:MOST_SAID]]
    said += [f"{interaction_sentence(metric, one)}." for one in worth_a_look(its)[:MOST_SAID]]
    said += [f"Photos, with {one.name}: {one.sentence}" for one in its.curves[:1]]
    return said + [f"{note[:1].upper()}{note[1:]}." for note in its.notes]


def _after(one: Effect, metric: str) -> str:
    """The effect without the name of its value."""
    return effect_sentence(metric, one).partition(": ")[2]


def _best_table(its: Answers, name: str) -> ReportTable:
    """The best, those that may be as good, and what comes next."""
    first = [row for row in its.rows if row.standing in ("best", "tie")]
    rows = [*first, *(row for row in its.rows if row not in first)][:MOST_BEST]
    metrics = list(dict.fromkeys([its.metric, "macro_f1", "accuracy"]))
    columns = [
        Column("configuration"),
        Column("standing"),
        *(Column(METRICS[metric], "number") for metric in metrics),
        Column("to the best", "number"),
        Column("P(best)", "share"),
        Column("seconds", "number"),
    ]
    values: list[list[Value]] = [
        [
            row.name,
            row.standing,
            *(as_figure(row.figures[metric]) for metric in metrics),
            as_figure(row.difference) if row.standing != "best" else None,
            row.probability_best,
            row.seconds,
        ]
        for row in rows
    ]
    more = len(first) - len(rows)
    note = (
        "tie: not significantly worse than the best, all configurations taken together. to the "
        f"best: paired difference in {METRICS[its.metric]}. P(best): share of the bootstrap's "
        "draws in which it is the best."
    )
    note += f" {more:,} more ties are in the table of all configurations." if more > 0 else ""
    title = f"Sweep {its.name}: the best and what may be as good"
    return ReportTable(f"{name}-best", title, columns, values, note, frozenset({0}))


def _best_chart(its: Answers, name: str, most: int = 20) -> Chart:
    rows = its.rows[:most]
    metric = METRICS[its.metric]
    shared, names = _apart([row.name for row in rows])
    title = f"Sweep {its.name}: the best of {counted(len(its.rows), 'configuration')}"
    return ranges_chart(
        f"{name}-chart",
        f"{title}, all {', '.join(shared)}" if shared else title,
        f"out-of-fold {metric} (line: 95% interval)",
        names,
        {metric: [as_figure(row.figures[its.metric]) for row in rows]},
        f"The best is {its.best.name}.",
    )


def _effects_chart(its: Answers, name: str) -> list[Chart]:
    found = its.effects[:MOST_EFFECTS]
    if not found:
        return []
    metric = METRICS[its.metric]
    values: dict[str, list[Figure | None]] = {
        metric: [as_figure(one.figures[its.metric]) for one in found]
    }
    return [
        ranges_chart(
            f"{name}-effects-chart",
            "What each choice changes, all else being equal",
            f"difference in {metric} (line: 95% interval)",
            [against(one) for one in found],
            values,
            f"Mean paired differences in {metric} against the reference of each axis.",
        )
    ]


def _effects_table(its: Answers, name: str) -> list[ReportTable]:
    if not its.effects:
        return []
    sizes = list(dict.fromkeys(size for one in its.effects for size in one.by_size))
    metrics = list(dict.fromkeys([its.metric, "macro_f1", "accuracy"]))
    columns = [
        Column("choice"),
        *(Column(METRICS[metric], "number") for metric in metrics),
        *(Column(f"macro-F1, {size}", "number") for size in sizes),
        Column("p (Holm)", "number"),
        Column("pairs", "count"),
    ]
    rows: list[list[Value]] = [
        [
            against(one),
            *(as_figure(one.figures[metric]) for metric in metrics),
            *(as_figure(one.by_size.get(size)) for size in sizes),
            one.p_holm,
            one.pairs,
        ]
        for one in its.effects
    ]
    note = (
        "Mean difference to the reference over the pairs of configurations that are equal in all "
        "else, on the same photos, with its 95% interval. p is corrected for the number of effects "
        "(Holm 1979); the intervals are not."
    )
    title = f"Sweep {its.name}: what each choice changes"
    return [ReportTable(f"{name}-effects", title, columns, rows, note)]


def _front_chart(its: Answers, name: str) -> list[Chart]:
    """The configurations than which none is as good and faster."""
    front = sorted((row for row in its.rows if _COST in row.front), key=_seconds)
    if len(front) < 2:
        return []
    metric = METRICS[its.metric]
    series = _series("front", [(row.seconds, *row.figures[its.metric]) for row in front])
    fast, slow = front[0], front[-1]
    return [
        Chart(
            f"{name}-front",
            "What is worth its time",
            "lines",
            "seconds for all folds",
            f"{metric} (bars: 95% interval)",
            [series],
            f"For each of these no other is as good in less time: from {fast.name} in "
            f"{fast.seconds:.2g} seconds to {slow.name} in {slow.seconds:.2g}.",
            log_x=front[0].seconds > 0,
        )
    ]


def _curves_chart(its: Answers, name: str) -> list[Chart]:
    curves = [one for one in its.curves if len(one.points) > 1][:MOST_CURVES]
    if not curves:
        return []
    metric = METRICS[its.metric]
    shared, names = _apart([one.name for one in curves])
    series = [_curve(one, name) for one, name in zip(curves, names, strict=True)]
    law = curves[0].law
    if law:
        series.append(_series(f"{names[0]}: a power law", law))
    return [
        Chart(
            f"{name}-curves",
            f"More photos, all {', '.join(shared)}" if shared else "More photos",
            "lines",
            "training photos of a class",
            f"{metric} (bars: 95% interval)",
            series,
            " ".join(one.sentence for one in curves[:1]),
            log_x=True,
        )
    ]


def _curve(one: LearningCurve, name: str) -> Series:
    return _series(name, [(round(point.per_class, 1), *point.figure) for point in one.points])


def _series(name: str, points: Sequence[tuple[float, float, float, float]]) -> Series:
    """points : (x, value, low, high) each"""
    x, *figure = (list(values) for values in zip(*points, strict=True))
    y, low, high = ([as_number(value) for value in values] for values in figure)
    return Series(name, x, y, low, high)


def _apart(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(what all the names say, what is left of each), so that a short label tells them apart."""
    parts = [name.split(", ") for name in names]
    shared = [part for part in parts[0] if all(part in each for each in parts)]
    left = [", ".join(part for part in each if part not in shared) for each in parts]
    return (shared, left) if all(left) else ([], list(names))


def against(one: Effect) -> str:
    """`smote against no balancing`."""
    value, reference = (value_in_words(one.axis, v) for v in (one.value, one.reference))
    return f"{value} against {reference}"


def _seconds(row: Row) -> float:
    return row.seconds
