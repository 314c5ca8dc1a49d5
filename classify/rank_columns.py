"""The columns of a table that name ranks, and their names as they should be read."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from embed.prompts import RANKS

NO_NAMES = frozenset(
    {"", "?", "-", "na", "n/a", "nan", "none", "null", "unknown", "unidentified", "unassigned",
     "not assigned", "incertae sedis"}
)  # fmt: skip
_TELLS = 0.95  # of the rows with a value: what tells this many determines it, but for slips


def rank_of(column: str) -> str | None:
    """The rank that a column of this name holds, in any case, `class_` too; None for others."""
    name = column.strip().lower().rstrip("_")
    return name if name in RANKS else None


def rank_columns(columns: Sequence[str], label: str) -> dict[str, str]:
    """rank -> column, coarsest first; the first column of a rank, but the label where it is one."""
    found: dict[str, str] = {}
    for column in sorted(columns, key=lambda column: column != label):
        rank = rank_of(column)
        if rank is not None:
            found.setdefault(rank, column)
    return {rank: found[rank] for rank in RANKS if rank in found}


def rank_names(rows: Any, label: str) -> Any:
    """DataFrame, a row for each of `rows` and a column for each rank, coarsest first.

    Names have single spaces and the words for no name (`NO_NAMES`) are empty. A species of one
    word is an epithet and gets its genus before it. The label's own column is left as it is:
    its values are the names of the classes.
    """
    columns = rank_columns(list(rows.columns), label)
    table = pd.DataFrame(
        {rank: _cleaned(rows[column]) for rank, column in columns.items()}, index=rows.index
    )
    own = rank_of(label)
    table = table.loc[:, (table != "").any() | (table.columns == own)]
    if own is not None:
        table[own] = as_text(rows[label])
    if "genus" in table and "species" in table and own != "species":
        epithet = (table["species"] != "") & ~table["species"].str.contains(" ")
        alone = epithet & (table["genus"] != "")
        table.loc[alone, "species"] = table["genus"] + " " + table["species"]
    return table


def above_and_below(names: Any, y: Any, label: str) -> tuple[list[str], list[str]]:
    """The ranks of `names` (as `rank_names` gives them) above and below the label, coarsest first.

    y : Series of labels
    Where the label is a rank they are those before and after it. Where its column is called
    otherwise, those above are what it tells for 95% of the rows. A rank that is but another name
    for each class is neither.
    """
    own = rank_of(label)
    if own is not None:
        place = RANKS.index(own)
        sides = {rank: RANKS.index(rank) - place for rank in names}
    else:
        sides = {rank: _side(names[rank], y) for rank in names}
    return [r for r in names if sides[r] < 0], [r for r in names if sides[r] > 0]


def majority(keys: Any, values: Any) -> Any:
    """Series: for each row the commonest value that is not empty among the rows of its key.

    Of equally common ones the first by name; empty where there is none.
    """
    votes = pd.DataFrame({"key": keys, "value": values})
    votes = votes[votes["value"] != ""].value_counts(sort=False).sort_index().reset_index()
    first = votes.sort_values("count", ascending=False, kind="stable").drop_duplicates("key")
    return keys.map(first.set_index("key")["value"]).fillna("")


def folded(names: Any) -> Any:
    """Series of names without case and needless spaces: the same for all spellings."""
    return names.str.split().str.join(" ").str.casefold()


def as_text(values: Any) -> Any:
    """Series of str; empty where there is no value."""
    return values.astype(object).where(values.notna(), "").astype(str)


def _cleaned(values: Any) -> Any:
    names = as_text(values).str.split().str.join(" ")
    return names.where(~names.str.lower().isin(NO_NAMES), "")


def _side(names: Any, y: Any) -> int:
    """-1 for names that the label tells, 1 for those it does not, 0 where each tells the other."""
    known = names != ""
    if not known.any():
        return 0
    names, y = names[known], y[known]
    if (majority(y, names) == names).mean() < _TELLS:
        return 1
    return 0 if (majority(names, y) == y).mean() >= _TELLS else -1
