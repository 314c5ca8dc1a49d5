"""`--one-factor BASE`: the cells around a base, from which each differs in one axis."""

import re
from collections.abc import Iterator, Sequence

from classify.grid_axes import AXES, in_words
from classify.grid_factors import Factor, Point, joined
from classify.grid_toml import SINGULAR
from embed.errors import UserError, did_you_mean

FIRST = "first"
_BETWEEN = re.compile(r",\s*(?=[\w.-]+\s*=)")  # an encoder's name may have commas


def around(products: Sequence[Sequence[Factor]], base: str) -> list[Iterator[Point]]:
    """The points of each product at its base and one step from it: another row of one factor.

    base : `first`, the first value of every axis; or `head=knn,photos=all`, the others' first

    Seeds are repetitions: every point is there with all of them, or with the one that `base`
    names. Raises `UserError` that names the axis where no product has it or its value.
    """
    wanted = _wanted(base)
    for axis, word in wanted.items():
        factors = [f for product in products for f in product if axis in f.axes]
        known = dict.fromkeys(in_words(axis, row[axis]) for f in factors for row in f.rows)
        if not factors:
            axes = {axis for product in products for f in product for axis in f.axes}
            raise UserError(f"--one-factor: the grid has no '{axis}'. {did_you_mean(axis, axes)}")
        if word not in known:
            raise UserError(
                f"--one-factor: the grid has no {axis} {word}. {did_you_mean(word, known)}"
            )
    return [_walk(product, wanted) for product in products]


def _wanted(base: str) -> dict[str, str]:
    if base.strip() == FIRST:
        return {}
    found = {}
    for part in _BETWEEN.split(base):
        axis, equals, word = (text.strip() for text in part.partition("="))
        if not equals or not axis or not word:
            raise UserError(
                f"--one-factor takes '{FIRST}' or a base such as head=knn,photos=all, "
                f"not '{base}'. Axes: {', '.join(AXES)} and HEAD.PARAMETER."
            )
        found[SINGULAR.get(axis, axis)] = word
    return found


def _walk(product: Sequence[Factor], wanted: dict[str, str]) -> Iterator[Point]:
    at_base = [_base_row(factor, wanted) for factor in product]
    steps = [at_base]
    seeds: list[Point] = [{}]
    for i, factor in enumerate(product):
        if factor.axes == ("seeds",):
            seeds = [at_base[i]] if "seeds" in wanted else list(factor.rows)
            continue
        others = [row for row in factor.rows if row != at_base[i]]
        steps += [[*at_base[:i], row, *at_base[i + 1 :]] for row in others]
    for rows in steps:
        for seed in seeds:
            yield joined([*rows, seed])


def _base_row(factor: Factor, wanted: dict[str, str]) -> Point:
    """The first row with what is wanted of its axes, or the first."""
    own = [axis for axis in factor.axes if axis in wanted]
    fitting = (row for row in factor.rows if all(in_words(a, row[a]) == wanted[a] for a in own))
    return next(fitting, factor.rows[0])
