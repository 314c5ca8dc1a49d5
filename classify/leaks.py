"""Columns that tell the label by themselves: found on the training rows, with the evidence."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from classify.columns import ColumnSpec, column_values, parse_specs
from classify.encodings import as_dates, as_numbers
from embed.errors import UserError
from embed.words import counted

TOLD = 0.98  # of the errors of a guess that a column takes away where it says something
MOST = 0.5  # of its rows, of which it must say something
SURE = 0.9  # of the witnesses that must agree, else they say nothing
_FEWEST = 10  # rows that it must say something of
_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Leak:
    """A column that determines the label."""

    column: str
    evidence: str  # a sentence


@dataclass(frozen=True)
class _Rows:
    """The training rows with a value in one column."""

    values: list[str]  # (n,)
    index: Any  # (n,) class numbers
    groups: Any  # (n,) numbers
    classes: Any  # (C,) labels
    label: str


def refuse_leaks(
    rows: Any,
    y: Any,
    columns: Sequence[str],
    label: str,
    allow_leak: bool = False,
    groups: Any = None,
) -> list[str]:
    """A note for each of `columns` (NAME or NAME:KIND) that determines the label, where allowed.

    rows : DataFrame, n training rows; y : (n,) their labels
    groups : (n,) rows of one are no witnesses for each other; by default each is its own

    Raises `UserError` with the evidence where not, and for columns that cannot be taken.
    """
    leaks = find_leaks(rows, y, parse_specs(columns, rows, label), label, groups)
    if leaks and not allow_leak:
        evidence = " ".join(leak.evidence for leak in leaks)
        names = ", ".join(f"--with {leak.column}" for leak in leaks)
        raise UserError(
            f"{evidence} A model given this reads the table, not the photo, and its figures mean "
            f"nothing for photos without it. Leave {names} out, or add --allow-leak if you want "
            "it all the same."
        )
    return [f"allowed by --allow-leak: {leak.evidence}" for leak in leaks]


def find_leaks(
    rows: Any, y: Any, specs: Sequence[ColumnSpec], label: str = "label", groups: Any = None
) -> list[Leak]:
    """The columns of `specs` that determine the labels `y` (n,) of `rows`.

    Each row's label is told from the rows of other groups: by those with the same value, by the
    nearest number or date, by the one word in it that tells best; and by a class named in it. A
    way says something where its witnesses agree. A column is a leak where one of them does for half
    of the rows with a value, and is right there but for 2% of the errors of a blind guess.
    """
    classes, index = np.unique(y, return_inverse=True)
    groups = np.arange(len(rows)) if groups is None else pd.factorize(np.asarray(groups))[0]
    leaks = []
    for name in dict.fromkeys(spec.name for spec in specs):
        values = column_values(rows, name)
        known = values.notna().to_numpy()
        present = _Rows(values[known].tolist(), index[known], groups[known], classes, label)
        given = _Rows(np.where(known, "yes", "no").tolist(), index, groups, classes, label)
        judged = (_judged(name, present, way) for way in _WAYS)
        found = [*judged, _judged(f"whether {name} is given", given, _same_value)]
        leaks += [Leak(name, evidence) for evidence in found if evidence is not None][:1]
    return leaks


@dataclass(frozen=True)
class _Told:
    """Class numbers (n,) that a way tells, -1 where it says nothing, and how, for row i."""

    index: Any
    how: Callable[[int], str]
    by: str


def _judged(name: str, rows: _Rows, way: Callable[[_Rows], _Told]) -> str | None:
    if len(rows.values) < _FEWEST:
        return None
    told = way(rows)
    said = told.index >= 0
    if said.sum() < max(_FEWEST, MOST * len(said)):
        return None
    right = told.index == rows.index
    truth = rows.index[said]
    guess = 1 - np.bincount(truth).max() / len(truth)
    share = right[said].mean()
    if 1 - share > (1 - TOLD) * guess or not guess:
        return None
    typical = _commonest(rows.index, right)
    percent = f"{100 * share:.1f}".removesuffix(".0")
    return (
        f"{name} tells the {rows.label} by itself: {told.by}, it is right for {percent}% of "
        f"{counted(int(said.sum()), 'photo')} ({said.mean():.0%} of those with a value), as "
        f"{told.how(typical)} -> {rows.classes[rows.index[typical]]}."
    )


def _commonest(index: Any, right: Any) -> int:
    """The first row that is right, of the class of which most are."""
    c = np.bincount(index[right]).argmax()
    return int(np.flatnonzero(right & (index == c))[0])


def _shown(value: str) -> str:
    short = value if len(value) <= 60 else value[:60] + "…"
    return short if short.isprintable() else repr(short)


def _same_value(rows: _Rows) -> _Told:
    folded = pd.factorize(np.array([value.casefold() for value in rows.values], dtype=object))[0]
    each = np.arange(len(rows.values))
    told, _ = _by_tokens(each, folded, rows)
    classes_of = pd.Series(rows.index).groupby(folded)
    repeated = classes_of.size() > 1
    mixed = int((classes_of.nunique()[repeated] > 1).sum())
    where = f"{mixed:,} of them in more than one" if mixed else "each in only one"
    by = (
        f"from the other photos with its value ({counted(int(repeated.sum()), 'such value')}, "
        f"{where} {rows.label})"
    )
    return _Told(told, lambda i: _shown(rows.values[i]), by)


def _one_word(rows: _Rows) -> _Told:
    words = [sorted(set(_words(value))) for value in rows.values]
    owner = np.repeat(np.arange(len(words)), [len(one) for one in words])
    flat = np.array([word for one in words for word in one], dtype=object)
    told, best = _by_tokens(owner, pd.factorize(flat)[0], rows)
    return _Told(told, lambda i: f"'{_shown(flat[best[i]])}'", "by one word in it")


def _by_tokens(owner: Any, token: Any, rows: _Rows) -> tuple[Any, Any]:
    """Class numbers (n,) by the token of each row that tells most, and which (n,) it is.

    Row `owner[j]` has token number `token[j]`. A token tells the commonest class of the other
    groups that have it, each counted once a class.
    """
    index = rows.index[owner]
    witness = pd.DataFrame({"token": token, "index": index, "group": rows.groups[owner]})
    votes = witness.drop_duplicates().groupby(["token", "index"]).size()
    ranked = votes.reset_index(name="n").sort_values(["token", "n"], ascending=[True, False])
    first = ranked.groupby("token").nth(0).set_index("token").reindex(token)
    second = ranked.groupby("token").nth(1).set_index("token").reindex(token, fill_value=0)
    others = ranked.groupby("token")["n"].sum().reindex(token).to_numpy() - 1
    own = first["index"].to_numpy() == index
    n1, n2 = first["n"].to_numpy() - own, second["n"].to_numpy()
    told = np.where(n1 > n2, first["index"].to_numpy(), second["index"].to_numpy())
    score = np.where(others > 0, np.maximum(n1, n2) / (others + 1), -1.0)
    best = np.full(len(rows.index), -1)
    order = np.argsort(score, kind="stable")
    best[owner[order]] = order  # the last, and so the surest, stays
    told = np.where((others > 0) & (np.maximum(n1, n2) >= SURE * others), told, -1)
    return np.append(told, -1)[best], best


def _class_named(rows: _Rows) -> _Told:
    names = {tuple(_words(name)): c for c, name in enumerate(rows.classes.tolist())}
    longest = max(map(len, names))
    told = np.array([_named(_words(value), names, longest) for value in rows.values])
    return _Told(told, lambda i: f"'{_shown(rows.values[i])}'", f"as the {rows.label} named in it")


def _named(words: list[str], names: dict[tuple[str, ...], int], longest: int) -> int:
    """The class with the longest name in `words`; -1 for none or several as long."""
    for length in range(longest, 0, -1):
        spans = (tuple(words[i : i + length]) for i in range(len(words) - length + 1))
        if found := {names[span] for span in spans if span in names}:
            return found.pop() if len(found) == 1 else -1
    return -1


def _words(text: str) -> list[str]:
    """Without case, digits as words too: `chordata_felidae/12.jpg` has four."""
    return _WORDS.findall(text.casefold())


def _nearest(rows: _Rows) -> _Told:
    x, beside = _beside(rows)
    gap = np.where(beside >= 0, np.abs(x - x[beside]), np.inf)
    nearer = np.where(gap[0] <= gap[1], beside[0], beside[1])
    return _Told(
        np.where(nearer >= 0, rows.index[nearer], -1),
        lambda i: f"{_shown(rows.values[i])} beside {_shown(rows.values[nearer[i]])}",
        "from the photo with the nearest value",
    )


def _between(rows: _Rows) -> _Told:
    _, beside = _beside(rows)
    below, above = np.where(beside >= 0, rows.index[beside], -1)
    return _Told(
        np.where(below == above, below, -1),
        lambda i: f"{_shown(rows.values[i])} beside {_shown(rows.values[beside[0, i]])}",
        f"from the photos with the values next to it, where these are of one {rows.label}",
    )


def _beside(rows: _Rows) -> tuple[Any, Any]:
    """Numbers or dates as numbers (n,), and the rows (2, n) of another group just before and after
    each in their order, -1 for none."""
    year, hour = as_dates(rows.values)
    x = np.where(np.isnan(year), as_numbers(rows.values), year + np.nan_to_num(hour) / 24 / 366)
    mixed = np.random.default_rng(0).permutation(len(x))  # a table's order may be by class
    order = mixed[np.argsort(x[mixed], kind="stable")][: np.isfinite(x).sum()]
    change = np.flatnonzero(np.diff(rows.groups[order])) + 1
    run = np.searchsorted(change, np.arange(len(order)), side="right")
    left = np.concatenate([[0], change])[run] - 1
    right = np.concatenate([change, [len(order)]])[run]
    padded = np.append(order, -1)  # both ends fall on the -1
    beside = np.full((2, len(x)), -1)
    beside[:, order] = padded[left], padded[right]
    return x, beside


_WAYS = (_same_value, _class_named, _one_word, _nearest, _between)
