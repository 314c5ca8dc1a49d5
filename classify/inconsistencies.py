"""What a table of ranks contradicts itself in: each with its rows counted, and examples."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from classify.rank_columns import above_and_below, as_text, folded, rank_names, rank_of
from embed.words import counted

N_EXAMPLES = 3


@dataclass(frozen=True)
class Inconsistency:
    """One contradiction of the table."""

    kind: str  # two parents, spelling, gap, two ranks
    rank: str
    name: str  # the taxon
    what: str  # a sentence
    rows: int  # that are affected: where some must be wrong, the fewer ones
    examples: tuple[str, ...]  # ids of up to three of them

    def row(self) -> dict[str, Any]:
        """As a line of a CSV or JSON file."""
        return asdict(self) | {"examples": list(self.examples)}


def inconsistencies(rows: Any, label: str) -> list[Inconsistency]:
    """All that the rank columns of `rows` contradict themselves in, the most rows first.

    rows : DataFrame with `id` and the table's columns
    A name under two parents (of two kingdoms both may be right: Oenanthe is a bird and a plant),
    one name spelled with different case or spaces, an empty rank between filled ones, one name
    at two ranks. What follows from a contradiction higher up is not told again.
    """
    rows = rows.reset_index(drop=True)
    names = rank_names(rows, label)
    if rank_of(label) is None and label in rows:
        y = as_text(rows[label])
        above, _ = above_and_below(names, y, label)
        names.insert(list(names).index(above[-1]) + 1 if above else 0, label, y)
    ids = rows["id"].astype(str) if "id" in rows else rows.index.astype(str).to_series()
    ids = ids.reset_index(drop=True)
    kinds = (_two_parents, _spellings, _gaps, _two_ranks)
    found = [one for kind in kinds for one in kind(names, ids)]
    return sorted(found, key=lambda one: -one.rows)


def _inconsistency(kind: str, rank: str, name: str, what: str, ids: Any) -> Inconsistency:
    return Inconsistency(kind, rank, name, what, len(ids), tuple(ids[:N_EXAMPLES]))


def _two_parents(names: Any, ids: Any) -> Iterator[Inconsistency]:
    ranks = list(names)
    plain = names.apply(folded)
    for at, rank in enumerate(ranks):
        told: set[str] = set()
        for up in range(at - 1, -1, -1):
            both = plain[(plain[rank] != "") & (plain[ranks[up]] != "")]
            pairs = both[[rank, ranks[up]]].drop_duplicates()
            several = pairs[rank][pairs[rank].duplicated()].unique()
            rows = plain[plain[rank].isin(set(several) - told)]
            told |= set(several)
            for _, chosen in rows.groupby(rank):
                if not (chosen[ranks[up + 1 : at]] != "").all().any():
                    yield _conflict(names.loc[chosen.index], ids[chosen.index], rank, ranks[up])


def _conflict(names: Any, ids: Any, rank: str, parent: str) -> Inconsistency:
    """names : the rows of one taxon, which has several parents."""
    known = names[parent] != ""
    parents = names.loc[known, parent]
    counts = parents.groupby(folded(parents)).agg(["size", "first"])
    counts = counts.sort_values("size", ascending=False, kind="stable")
    name = names[rank].mode()[0]
    shown = " and ".join(
        f"{parent} {row['first']} ({counted(int(row['size']), 'row')})"
        for _, row in counts.iterrows()
    )
    fewer = ids[known][folded(parents) != counts.index[0]]
    return _inconsistency("two parents", rank, name, f"{rank} {name} is under {shown}", list(fewer))


def _spellings(names: Any, ids: Any) -> Iterator[Inconsistency]:
    for rank in names:
        plain = folded(names[rank])
        pairs = pd.DataFrame({"plain": plain, "name": names[rank]}).drop_duplicates()
        for one in pairs["plain"][pairs["plain"].duplicated() & (pairs["plain"] != "")].unique():
            chosen = names[rank][plain == one]
            counts = chosen.value_counts().sort_index().sort_values(ascending=False, kind="stable")
            shown = ", ".join(f"'{name}' ({counted(n, 'row')})" for name, n in counts.items())
            rarer = ids[chosen.index[chosen != counts.index[0]]]
            what = f"{rank} is spelled {shown}"
            yield _inconsistency("spelling", rank, str(counts.index[0]), what, list(rarer))


def _gaps(names: Any, ids: Any) -> Iterator[Inconsistency]:
    ranks = list(names)
    filled = names != ""
    for at, rank in enumerate(ranks):
        left = ~filled[rank] & filled[ranks[:at]].any(axis=1)
        for fine in ranks[at + 1 :]:
            for name, chosen in names[left & filled[fine]].groupby(fine):
                what = f"{fine} {name} has no {rank}, but has ranks above it"
                yield _inconsistency("gap", rank, str(name), what, list(ids[chosen.index]))
            left &= ~filled[fine]


def _two_ranks(names: Any, ids: Any) -> Iterator[Inconsistency]:
    plain = names.apply(folded)
    for coarse, fine in combinations(filter(rank_of, names), 2):
        if (coarse, fine) == ("genus", "species"):  # epithets may repeat the genus: Hyaena hyaena
            continue
        shared = set(plain[coarse]) & set(plain[fine]) - {""}
        for one in sorted(shared):
            chosen = (plain[coarse] == one) | (plain[fine] == one)
            name = names.loc[plain[fine] == one, fine].iloc[0]
            what = f"{name} stands as {coarse} and as {fine}"
            yield _inconsistency("two ranks", fine, name, what, list(ids[chosen]))
