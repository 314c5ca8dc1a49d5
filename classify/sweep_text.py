"""The answers of a sweep in words, for the terminal and for captions."""

from collections.abc import Iterator, Sequence
from typing import Any

from classify.bootstrap import Figure
from classify.cell import photos_in_words
from classify.metrics import LESS_IS_BETTER
from classify.scored import SIZES
from classify.sweep_answers import COSTS, METRICS, Answers, Effect, Interaction, Row
from classify.tables import Table, bracketed
from embed.words import counted

MOST_TIES, MOST_EFFECTS, MOST_INTERACTIONS, MOST_FRONT, MOST_FAILED = 8, 6, 5, 5, 5  # printed
LEVEL = 0.05


def answer_lines(found: Answers) -> list[str]:
    """The whole answer, short; the notes are apart."""
    parts = [_lines(found)]
    for other in found.elsewhere:
        parts += [["", f"Of the cells with split '{other.best.cell.split}', on other photos:"]]
        parts += [_lines(other)]
    return [line for part in parts for line in part]


def _lines(found: Answers) -> list[str]:
    parts = [
        list(_best(found)), list(_effects(found)), list(_interactions(found)),
        list(_pareto(found)), list(_curves(found)), list(_stability(found)), list(_failed(found)),
    ]  # fmt: skip
    lines: list[str] = []
    for part in parts:
        lines += [*([""] if lines and part else []), *part]
    return lines


def _best(found: Answers) -> Iterator[str]:
    best, metric = found.best, found.metric
    yield f"{found.name}: {described(found)}"
    yield f"Best: {best.name}: {METRICS[metric]} {bracketed(best.figures[metric])}"
    if found.optimism:
        yield (
            f"  The best of many is a little too good: without that, {bracketed(found.corrected)} "
            f"({amount(metric, found.optimism)} less good, by bootstrap bias correction)."
        )
    yield f"  {found.command}"
    if best.cell.photos is not None or best.cell.precision != "stored":
        yield "  (fit takes all photos, and vectors as they are stored)"
    compared = sum(row.difference is not None for row in found.rows) - 1
    if compared < 1:
        return
    yield (
        f"Not significantly worse: {len(found.ties):,} of {compared:,} others"
        + ":" * bool(found.ties)
    )
    rows = [
        [
            row.name,
            f"{row.figures[metric][0]:.3f}",
            with_ends(metric, row.difference),
            f"{row.p:.2f}",
        ]
        for row in found.ties[:MOST_TIES]
        if row.difference
    ]
    if rows:
        header = ["  tie", METRICS[metric], "less the best", "p"]
        table = Table(header, [["  " + row[0], *row[1:]] for row in rows])
        yield from table.as_text("table").splitlines()
        more = len(found.ties) - len(rows)
        yield from [f"  and {more:,} more: --format csv has all"] * bool(more)
    yield f"  {how_compared(found)}"


def described(found: Answers) -> str:
    """How many configurations, on what."""
    seeds = f" of {counted(len(found.seeds), 'seed')}" * (len(found.seeds) > 1)
    of = counted(found.photos, "photo")
    if found.units < found.photos:
        of += f" in {counted(found.units, 'group')}"
    waiting = f"; {counted(found.missing, 'cell')} not computed yet" * bool(found.missing)
    return (
        f"{counted(len(found.rows), 'configuration')}{seeds}, out of fold on {of}, "
        f"{counted(found.classes, 'class', 'classes')} of {found.label}{waiting}"
    )


def how_compared(found: Answers) -> str:
    """What was done about the many comparisons."""
    drawn = "groups" if found.units < found.photos else "photos"
    over = f"{drawn} and seeds" if len(found.seeds) > 1 else drawn
    return (
        f"Multiple comparisons with the best (Hsu 1984): one-sided max-T over {found.draws:,} "
        f"paired draws of {over}; the truly best is left out with a chance of at most 5%. "
        "Intervals are 95% each, not corrected."
    )


def amount(metric: str, value: float) -> str:
    """A difference of a metric: points of a share, log-loss as it is."""
    return f"{value:.3f}" if metric == "log_loss" else f"{100 * value + 0.0:.1f} points"


def with_ends(metric: str, figure: Figure) -> str:
    """`+0.4 points [-0.2, +1.1]`."""
    if metric == "log_loss":
        return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*(value + 0.0 for value in figure))
    value, low, high = (round(100 * end, 1) + 0.0 for end in figure)
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def value_in_words(axis: str, value: Any) -> str:
    """`smote`, `20 photos a class`, `k 15`, `without columns`, `k auto` without a value."""
    if axis == "photos":
        return photos_in_words(value)
    if axis == "columns":
        return f"with {value}" if value else "without columns"
    if axis == "balance" and value == "none":
        return "no balancing"
    if axis == "folds":
        return f"{value} folds"
    if axis in ("encoders", "head", "balance", "precision", "split"):
        return str(value)
    return f"{axis} auto" if value is None else f"{axis} {value}"


def short_value(axis: str, value: Any) -> str:
    """For a column or a tick that is named after the axis: `smote`, `20`, `all`, `25%`, a dash."""
    if axis == "photos":
        if value is None:
            return "all"
        return f"{value:.0%}" if isinstance(value, float) else f"{value:,}"
    return "\N{EN DASH}" if value in (None, "") else str(value)


def effect_verdict(metric: str, one: Effect) -> str:
    """What may be claimed of an effect, their number taken into account."""
    value, low, high = one.figures[metric]
    good = (value > 0) != (metric in LESS_IS_BETTER)
    if one.p_holm < LEVEL:
        return "better" if good else "worse"
    if low > 0 or high < 0:
        return f"perhaps {'better' if good else 'worse'}"
    return "no clear difference"


def effect_sentence(metric: str, one: Effect) -> str:
    """`smote: +0.4 points [-0.2, +1.1], no clear difference; it helps classes of …`."""
    words = (
        f"{value_in_words(one.axis, one.value)}: {with_ends(metric, one.figures[metric])}, "
        f"{effect_verdict(metric, one)}"
    )
    clear = {name: its for name, its in one.by_size.items() if its[1] > 0 or its[2] < 0}
    if len(one.by_size) < 2 or not clear:
        return words
    if len(clear) == len(one.by_size) and len({its[0] > 0 for its in clear.values()}) == 1:
        return words  # for all sizes alike
    said = [
        f"{'helps' if its[0] > 0 else 'harms'} classes of {name} ({with_ends('macro_f1', its)})"
        for name, its in clear.items()
    ]
    return f"{words}; it {' and '.join(said)}"


def interaction_sentence(metric: str, one: Interaction) -> str:
    """`smote against no balancing: with lgbm +1.2 points [..] over what it brings with knn`."""
    value, reference = (value_in_words(one.axis, v) for v in (one.value, one.reference))
    other, its = (value_in_words(one.other_axis, v) for v in (one.other_value, one.other_reference))
    joint = "" if other.startswith("with") else "with "
    return (
        f"{value} against {reference}: {joint}{other} {with_ends(metric, one.difference)} over "
        f"what it brings {'' if its.startswith('with') else 'with '}{its}"
    )


def _effects(found: Answers) -> Iterator[str]:
    if not found.effects:
        return
    by_head = {(i.axis, i.value) for i in worth_a_look(found) if i.other_axis == "head"}
    yield (
        f"Effects on {METRICS[found.metric]}, all else being equal (Holm over "
        f"{counted(len(found.effects), 'comparison')}):"
    )
    for axis in dict.fromkeys(one.axis for one in found.effects):
        mine = [one for one in found.effects if one.axis == axis]
        yield f"  {axis}, against {value_in_words(axis, mine[0].reference)}"
        widest = sorted(mine, key=lambda one: -abs(one.figures[found.metric][0]))[:MOST_EFFECTS]
        for one in mine:
            if one in widest:
                yield f"    {effect_sentence(found.metric, one)}"
            if (axis, one.value) in by_head:
                yield "      " + "; ".join(
                    f"with {head} {with_ends(found.metric, its)}"
                    for head, its in one.by_head.items()
                )
        yield from [f"    and {len(mine) - len(widest):,} that change less"] * (
            len(mine) > len(widest)
        )


def worth_a_look(found: Answers) -> list[Interaction]:
    """Those that hold after Holm."""
    return [one for one in found.interactions if one.p_holm < LEVEL]


def _interactions(found: Answers) -> Iterator[str]:
    if not found.interactions:
        return
    asked = counted(len(found.interactions), "interaction")
    clear = worth_a_look(found)
    if not clear:
        yield f"Interactions: none of {asked} is clear (Holm)."
        return
    yield f"Interactions worth a look ({len(clear):,} of {asked}, Holm):"
    for one in clear[:MOST_INTERACTIONS]:
        yield f"  {interaction_sentence(found.metric, one)}"
    more = len(clear) - MOST_INTERACTIONS
    yield from [f"  and {more:,} more: --format csv has all"] * (more > 0)


def cost_in_words(cost: str, value: float) -> str:
    """Seconds, or bytes in the unit that suits."""
    if cost == "seconds":
        return f"{value:,.0f} s" if value >= 10 else f"{value:.2g} s"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            shown = value / size
            return f"{shown:,.0f} {unit}" if shown >= 10 else f"{shown:.2g} {unit}"
    return f"{value:.0f} B"


def _pareto(found: Answers) -> Iterator[str]:
    known = [cost for cost in COSTS if any(cost in row.front for row in found.rows)]
    if len(found.rows) < 2 or not known:
        return
    yield "Not beaten by a cheaper one (as if computed alone):"
    for cost in known:
        on_it = sorted((r for r in found.rows if cost in r.front), key=lambda r: cost_of(r, cost))
        more = len(on_it) - MOST_FRONT
        shown = on_it if more <= 0 else [*on_it[:2], *on_it[2 - MOST_FRONT :]]
        yield f"  {COSTS[cost]}" + f" ({more:,} more between them)" * (more > 0)
        costs = [cost_in_words(cost, cost_of(row, cost)) for row in shown]
        wide = max(map(len, costs))
        for said, row in zip(costs, shown, strict=True):
            yield f"    {said:>{wide}}  {row.figures[found.metric][0]:.3f}  {row.name}"
    cheap = min([found.best, *found.ties], key=lambda row: row.seconds)
    if cheap is not found.best and cheap.seconds * 1.5 < found.best.seconds:
        yield (
            f"  The fastest that is not significantly worse takes "
            f"{cost_in_words('seconds', cheap.seconds)} in the place of "
            f"{cost_in_words('seconds', found.best.seconds)}: {cheap.name}"
        )


def cost_of(row: Row, cost: str) -> float:
    return float(getattr(row, cost))


def _curves(found: Answers) -> Iterator[str]:
    if not found.curves:
        return
    one = found.curves[0]
    points = ", ".join(f"{point.per_class:.0f}: {bracketed(point.figure)}" for point in one.points)
    yield f"Learning curve of {one.name}, {METRICS[found.metric]} by photos a class: {points}"
    yield f"  {one.sentence}"
    more = [curve for curve in found.curves[1:] if curve.gain]
    if more:
        yield (
            f"  {counted(len(more), 'other curve')} can be carried on too: --format csv, --pictures"
        )


def _stability(found: Answers) -> Iterator[str]:
    one = found.stability
    if len(found.rows) < 2:
        return
    said = [f"the best is the best in {one.probability_best:.0%} of the draws"]
    if one.seeds > 1:
        said.append(f"by {one.best_in_seeds} of {one.seeds} seeds")
    yield "Stability: " + " and ".join(said) + "."
    taus = [
        f"{value:.2f} between {what}"
        for value, what in ((one.tau_seeds, "two seeds"), (one.tau_draws, "a draw and all photos"))
        if value is not None
    ]
    if taus:
        yield f"  Order of all configurations (Kendall's tau, 1 is the same): {', '.join(taus)}."


def _failed(found: Answers) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for name, why in found.failed:
        reasons.setdefault(why, []).append(name)
    if not reasons:
        return
    yield f"{counted(len(found.failed), 'cell')} failed:"
    for why, names in list(reasons.items())[:MOST_FAILED]:
        more = f" and {len(names) - 1:,} more" * (len(names) > 1)
        yield f"  {names[0]}{more}: {_one_line(why)}"
    yield from [f"  {len(reasons) - MOST_FAILED:,} more reasons"] * (len(reasons) > MOST_FAILED)


def sizes_in(rows: Sequence[Row]) -> list[str]:
    """The sizes of classes that are there, small first."""
    return [name for name in SIZES if any(name in row.by_size for row in rows)]


def _one_line(text: str) -> str:
    return " ".join(text.split())
