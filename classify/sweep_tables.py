"""The answers of a sweep as tables to be read: in a caption stands what their marks mean."""

from collections.abc import Sequence

from classify.latex_text import latex
from classify.metrics import LESS_IS_BETTER
from classify.sweep_answers import METRICS, Answers, Row
from classify.sweep_text import (
    LEVEL,
    described,
    how_compared,
    interaction_sentence,
    short_value,
    sizes_in,
    value_in_words,
    with_ends,
    worth_a_look,
)
from classify.tables import Table

PRINTED = 20  # configurations in a table to be read
_DAGGER = "\u2020"


def printed(found: Answers, table: str, most: int = PRINTED) -> tuple[Table, list[str]]:
    """The table as it is read, and what its caption says."""
    made = {
        "configurations": _configurations_table, "effects": _effects_table,
        "interactions": _interactions_table, "curves": _curves_table,
    }  # fmt: skip
    return made[table](found, most)


def latex_table(table: Table, caption: Sequence[str], label: str) -> str:
    """A float with the rules of booktabs, made smaller where it is wider than the line."""

    def cell(text: str, bold: bool, number: bool) -> str:
        text = text.replace("-", "\N{MINUS SIGN}") if number else text
        value, space, ends = text.partition(" [")
        shown = latex(value).replace(r"\dag{}", r"\textsuperscript{\dag}")
        shown = rf"\textbf{{{shown}}}" if bold and shown else shown
        return shown + (rf" {{\scriptsize {latex('[' + ends)}}}" if space else "")

    sides = "".join("l" if i < table.left else "r" for i in range(len(table.header)))
    rows = [
        " & ".join(cell(text, (r, c) in table.bold, c >= table.left) for c, text in enumerate(row))
        + r" \\"
        for r, row in enumerate(table.rows)
    ]
    name = "".join(c if c.isascii() and (c.isalnum() or c in ":-") else "-" for c in label)
    return "\n".join(
        [
            r"\begin{table}[tbp]",
            r"\centering",
            r"\small",
            rf"\caption{{{' '.join(map(latex, caption))}}}",
            rf"\label{{{name}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{@{{}}{sides}@{{}}}}",
            r"\toprule",
            " & ".join(map(latex, table.header)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _configurations_table(found: Answers, most: int) -> tuple[Table, list[str]]:
    rows = found.rows[:most]
    axes = [name for name, values in found.axes.items() if len(values) > 1]
    metrics = [found.metric, *(name for name in METRICS if name != found.metric)]
    body, bold = [], set()
    for row in rows:
        mark = _DAGGER * (row.standing == "tie")
        first = "{:.3f}{} [{:.3f}, {:.3f}]".format(
            row.figures[found.metric][0], mark, *row.figures[found.metric][1:]
        )
        body.append(
            [
                *(short_value(name, row.settings.get(name)) for name in axes),
                first,
                *(f"{row.figures[name][0]:.3f}" for name in metrics[1:]),
                _difference(found.metric, row),
                _seconds(row.seconds),
                f"{row.model_bytes / 1e6:.2g}",
            ]
        )
    for c, name in enumerate(metrics):
        values = [row.figures[name][0] for row in rows]
        best = (min if name in LESS_IS_BETTER else max)(values)
        bold |= {(r, len(axes) + c) for r, value in enumerate(values) if value == best}
    unit = "" if found.metric == "log_loss" else " (points)"
    header = [*axes, *(METRICS[name] for name in metrics), f"to the best{unit}", "s", "MB"]
    shown = (
        f"The {len(rows)} best of {len(found.rows):,} configurations"
        if len(rows) < len(found.rows)
        else "All configurations"
    )
    caption = [
        f"{shown} of the sweep {found.name} ({described(found)}), best {METRICS[found.metric]} "
        "first.",
        "In brackets 95% intervals. Bold: the best of a column as shown.",
        f"{_DAGGER}: not significantly worse than the best. {how_compared(found)}",
        f"Chosen from all, the best is too good by about {_optimism(found)} (bootstrap bias "
        "correction, Tsamardinos et al. 2018).",
        "s: seconds of all folds; MB: of the fitted head.",
    ]
    return Table(header, body, frozenset(bold), left=len(axes)), caption


def _optimism(found: Answers) -> str:
    if found.metric == "log_loss":
        return f"{found.optimism:.3f}"
    return f"{100 * found.optimism:.1f} points"


def _difference(metric: str, row: Row) -> str:
    if row.difference is None or row.standing == "best":
        return "\N{EN DASH}"
    return with_ends(metric, row.difference).replace(" points", "")


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _effects_table(found: Answers, most: int) -> tuple[Table, list[str]]:
    metrics = [found.metric, *(name for name in METRICS if name != found.metric)]
    sizes = sizes_in(found.rows)
    body, bold = [], set()
    for r, one in enumerate(found.effects):
        if one.p_holm < LEVEL:
            bold.add((r, 3))
        body.append(
            [
                one.axis,
                f"{value_in_words(one.axis, one.value)} against "
                f"{value_in_words(one.axis, one.reference)}",
                f"{one.pairs:,}",
                *(_short_ends(name, one.figures[name]) for name in metrics[:1]),
                *(_short_ends(name, one.figures[name], ends=False) for name in metrics[1:]),
                *(_short_ends("macro_f1", one.by_size[name]) for name in sizes),
                _p(one.p_holm),
            ]
        )
    header = [
        "axis", "difference", "pairs", *(METRICS[name] for name in metrics), *sizes, "p (Holm)"
    ]  # fmt: skip
    caption = [
        f"Main effects in the sweep {found.name} ({described(found)}): mean paired differences, "
        "all else being equal, in points (log-loss as it is), with 95% intervals.",
        "The columns of numbers of photos are macro-F1 of the classes with as many.",
        f"Bold: p below .05 after Holm's correction for {len(found.effects):,} comparisons.",
    ]
    return Table(header, body, frozenset(bold), left=2), caption


def _interactions_table(found: Answers, most: int) -> tuple[Table, list[str]]:
    shown = worth_a_look(found) or list(found.interactions)
    body = [
        [
            interaction_sentence(found.metric, one).replace(
                f" {with_ends(found.metric, one.difference)}", ""
            ),
            _short_ends(found.metric, one.difference),
            _p(one.p_holm),
        ]
        for one in shown[:most]
    ]
    caption = [
        f"Interactions in the sweep {found.name}: differences of paired differences in "
        f"{METRICS[found.metric]}, with 95% intervals; p after Holm's correction for "
        f"{len(found.interactions):,} that can be asked about."
    ]
    return Table(["interaction", "difference", "p (Holm)"], body), caption


def _curves_table(found: Answers, most: int) -> tuple[Table, list[str]]:
    body = [
        [
            curve.name,
            f"{point.per_class:.1f}",
            f"{point.train_photos:,.0f}",
            "{:.3f} [{:.3f}, {:.3f}]".format(*point.figure),
            f"{curve.more}: {_short_ends(found.metric, curve.gain)}"
            if curve.gain and point is curve.points[-1]
            else "",
        ]
        for curve in found.curves[:most]
        for point in curve.points
    ]
    header = ["configuration", "photos a class", "photos", METRICS[found.metric], "more: gain"]
    caption = [
        f"Learning curves in the sweep {found.name} ({described(found)}), with 95% intervals.",
        "Photos a class are means over classes and folds. The last column says how many photos a "
        "class more would bring how many points, where a power law of the errors (Hestness et al. "
        "2017) is believed.",
    ]
    return Table(header, body), caption


def _short_ends(metric: str, figure: Sequence[float], ends: bool = True) -> str:
    text = with_ends(metric, (figure[0], figure[1], figure[2])).replace(" points", "")
    return text if ends else text.partition(" [")[0]


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
