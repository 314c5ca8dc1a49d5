"""A table of configurations in a page, to be sliced: the page's script draws what is chosen."""

import re

from classify.report_blocks import Column, ReportTable, Value, shown
from retrieval.page import text

MOST_COLOURS = 12  # that a colour and a shape tell apart
ANY = "any"


def slice_html(table: ReportTable) -> str:
    """The tools and the place of the chart; the script reads the values from the table itself.

    Hidden until the script is there. One choice for each of `table.axes`, and what the chart has
    up, across and as colours; figures are the columns of numbers that are no axes.
    """
    name, title = text(table.name), text(table.title)
    across, colour = _first_view(table)
    figures = [i for i, column in enumerate(table.columns) if _is_figure(table, i, column)]
    coloured = [i for i in table.axes if len(_values(table, i)) <= MOST_COLOURS]
    drawn = [
        _select("Up", f'data-part="y" aria-controls="p-{name}"', _columns(table, figures)),
        _select(
            "across",
            'data-part="x"',
            _columns(table, [*table.axes, *figures], across),
        ),
        _select(
            "colour",
            'data-part="colour"',
            _option("", "none", colour is None) + _columns(table, coloured, colour),
        ),
        _select(
            "line through",
            'data-part="line"',
            _option("best", "the best", True) + _option("mean", "the mean") + _option("", "none"),
        ),
    ]
    only = [
        _select(
            table.columns[i].name,
            f'data-for="t-{name}" data-column="{i}"',
            _option("", ANY) + "".join(_option(word, word) for word in _values(table, i)),
        )
        for i in table.axes
    ]
    about = (
        f"{title}, drawn. Arrow keys go from dot to dot and say what it is. "
        "The table below says the same."
    )
    return (
        f'<div class="slice" data-slice="t-{name}" hidden>'
        f'<fieldset class="tools screen"><legend>Draw</legend>{"".join(drawn)}</fieldset>'
        f'<fieldset class="tools screen"><legend>Only</legend>{"".join(only)}'
        f'<button type="button" data-part="all">All again</button></fieldset>'
        f'<figure><figcaption></figcaption><ul class="legend"></ul>'
        f'<div class="plot" id="p-{name}" role="application" tabindex="0" aria-label="{about}" '
        f'aria-describedby="{name}-says"></div></figure>'
        f'<output class="says screen" id="{name}-says" aria-live="polite"></output></div>'
    )


def _first_view(table: ReportTable) -> tuple[int, int | None]:
    """What is across and what is a colour at first: an axis of amounts, and the heads."""
    names = {table.columns[i].name: i for i in table.axes}
    amounts = [i for i in table.axes if table.columns[i].kind != "text"]
    most = max(amounts or table.axes, key=lambda i: len(_values(table, i)))
    across = names.get("photos", most)
    others = [i for i in table.axes if i != across and 1 < len(_values(table, i)) <= MOST_COLOURS]
    if names.get("head") in others:
        return across, names["head"]
    return across, min(others, key=lambda i: len(_values(table, i)), default=None)


def _is_figure(table: ReportTable, i: int, column: Column) -> bool:
    return column.kind != "text" and i not in table.axes


def _values(table: ReportTable, i: int) -> list[str]:
    """The words of an axis in their order: numbers first, and numbers in words by their size."""
    found: dict[Value, None] = dict.fromkeys(row[i] for row in table.rows)
    numbers = sorted(value for value in found if isinstance(value, int | float))
    rest = sorted((str(value) for value in found if isinstance(value, str)), key=_natural)
    return [shown(value, table.columns[i].kind) for value in [*numbers, *rest]]


def _natural(words: str) -> list[str | int]:
    """`pca 8` before `pca 64`: texts and numbers by turns."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", words)]


def _columns(table: ReportTable, places: list[int], chosen: int | None = None) -> str:
    return "".join(_option(str(i), table.columns[i].name, i == chosen) for i in places)


def _select(title: str, attributes: str, options: str) -> str:
    return f"<label>{text(title)} <select {attributes}>{options}</select></label>"


def _option(value: str, words: str, chosen: bool = False) -> str:
    return f'<option value="{text(value)}"{" selected" * chosen}>{text(words)}</option>'
