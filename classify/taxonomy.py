"""Where each class stands between kingdom and species."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from classify.inconsistencies import Inconsistency, inconsistencies
from classify.outcomes import Ints
from classify.rank_columns import (
    above_and_below,
    as_text,
    folded,
    majority,
    rank_names,
    rank_of,
)
from embed.errors import UserError
from embed.words import counted

FORMAT = "familia-taxonomy-1"
LIFE = "life"  # the one taxon above all kingdoms


@dataclass(frozen=True)
class Tree:
    """The taxa of C classes at R ranks, numbered at each rank as they first appear.

    Two classes of one taxon share all taxa above it, whatever the table says. Where a class has
    no name at a rank, it stands there in a taxon without name that holds only what it holds at
    the next finer rank; so no two classes are joined by what nobody knows.
    """

    ranks: tuple[str, ...]  # coarsest first, the label's last
    classes: tuple[str, ...]
    node: Ints  # (C, R) the number of each class's taxon at each rank
    names: tuple[NDArray[np.str_], ...]  # for each rank (taxa,), empty for one without name
    root: str = LIFE  # what all classes share: life, or the finest rank above `ranks`

    def below(self, n_ranks: int) -> "Tree":
        """Without the `n_ranks` coarsest ranks, of which all classes share the taxa."""
        root = self.ranks[n_ranks - 1] if n_ranks else self.root
        cut = slice(n_ranks, None)
        return Tree(self.ranks[cut], self.classes, self.node[:, cut], self.names[cut], root)

    def named(self, node: Ints) -> NDArray[np.bool_]:
        """Of taxa (n, R) by number: which have names."""
        known = [names[node[:, r]] != "" for r, names in enumerate(self.names)]
        return np.stack(known, axis=1)


@dataclass(frozen=True)
class Taxonomy:
    """The ranks above a label, and the names that each class has there."""

    label: str
    ranks: tuple[str, ...]  # coarsest first, the label's own last
    lineages: Mapping[str, tuple[str, ...]]  # class -> its names, coarsest first, its own last
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, rows: Any, label: str) -> Self:
        """From a collection's table: a DataFrame with `id`, the label and any columns of ranks.

        Where the rows of a class disagree about a rank, the commonest name counts; so too where
        two classes of one genus disagree about its family. Names of ranks are the same in any
        case and with any spaces. One name in two kingdoms is two taxa, since the codes of
        nomenclature allow it.
        """
        rows = rows[rows[label].notna()].reset_index(drop=True)
        y = as_text(rows[label])
        names = rank_names(rows, label)
        above, finer = above_and_below(names, y, label)
        table = _agreed(names[above], y)
        first = table.assign(y=y).drop_duplicates("y").sort_values("y")
        lines = first[[*above, "y"]].itertuples(index=False, name=None)
        lineages = {line[-1]: tuple(map(str, line)) for line in lines}
        ranks = (*above, rank_of(label) or label)
        found = inconsistencies(rows, label)
        return cls(label, ranks, lineages, tuple(_notes(ranks, lineages, finer, found)))

    def lineage(self, name: str) -> tuple[str, ...]:
        """(R,) the names of a class, empty where not known: also for a class it never heard of."""
        return self.lineages.get(name, (*[""] * (len(self.ranks) - 1), name))

    @property
    def shared(self) -> int:
        """How many of the coarsest ranks say nothing, since all classes are of one taxon there."""
        for r in range(len(self.ranks) - 1):
            if len({line[r] for line in self.lineages.values()}) != 1:
                return r
        return len(self.ranks) - 1

    def tree(self, classes: Sequence[str]) -> Tree:
        """The taxa of these classes."""
        keys = [_keys(self.lineage(name)) for name in classes]
        numbers: list[dict[Any, int]] = [{} for _ in self.ranks]
        names: list[list[str]] = [[] for _ in self.ranks]
        node = np.empty((len(keys), len(self.ranks)), dtype=np.int64)
        for c, line in enumerate(keys):
            for r, key in enumerate(line):
                if key not in numbers[r]:
                    numbers[r][key] = len(names[r])
                    names[r].append(key[-1])
                node[c, r] = numbers[r][key]
        named = tuple(np.array(of_rank, dtype=str) for of_rank in names)
        return Tree(self.ranks, tuple(classes), node, named)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "format": FORMAT,
            "label": self.label,
            "ranks": list(self.ranks),
            "classes": {name: list(line) for name, line in self.lineages.items()},
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Raises `UserError` for what is no taxonomy."""
        try:
            if value["format"] != FORMAT:
                raise ValueError(f"format {value['format']!r}")
            lineages = {str(k): tuple(map(str, line)) for k, line in value["classes"].items()}
            ranks = tuple(map(str, value["ranks"]))
            if any(len(line) != len(ranks) or line[-1] != k for k, line in lineages.items()):
                raise ValueError("a class has not one name for each rank")
            return cls(str(value["label"]), ranks, lineages, tuple(value["notes"]))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise UserError(
                f"This is no taxonomy of this version ({error}). Run `cli fit` again."
            ) from error


def _keys(line: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """What each taxon of a lineage is the same by: its path, or the taxon below it."""
    keys: list[tuple[Any, ...]] = [line]
    for r in range(len(line) - 2, -1, -1):
        keys.append(line[: r + 1] if line[r] else (keys[-1], ""))
    return keys[::-1]


def _agreed(names: Any, y: Any) -> Any:
    """The same DataFrame with one lineage a class and one parent a taxon."""
    table = names.copy()
    for rank in table:
        spelled = majority(folded(table[rank]), table[rank])
        table[rank] = majority(y, spelled)
    for at in range(table.shape[1] - 1, 0, -1):
        name = table.iloc[:, at]
        key = _kingdom(table, name) + "\t" + name
        for up in range(at):
            above = table.iloc[:, up]
            table.isetitem(up, majority(key, above).where(name != "", above))
    return table


def _kingdom(table: Any, name: Any) -> Any:
    """The kingdom of each row, else that of others of the same name."""
    if "kingdom" not in table:
        return ""
    return table["kingdom"].where(table["kingdom"] != "", majority(name, table["kingdom"]))


def _notes(
    ranks: tuple[str, ...],
    lineages: Mapping[str, tuple[str, ...]],
    finer: Sequence[str],
    found: Sequence[Inconsistency],
) -> list[str]:
    notes = []
    if len(ranks) == 1:
        notes.append(f"the table has no rank above {ranks[0]}, so there is one rank only")
    if finer:
        notes.append(
            f"{' and '.join(finer)} of the table: below the label, so not predicted (a run with "
            "that label predicts them and all ranks above)"
        )
    for r, rank in enumerate(ranks[:-1]):
        taxa = {line[r] for line in lineages.values()}
        without = sum(not line[r] for line in lineages.values())
        if without:
            have = "class has" if without == 1 else "classes have"
            notes.append(f"{without:,} {have} no {rank} in the table: not scored at that rank")
        if len(taxa) == 1:
            notes.append(f"all classes are of one {rank}, so there is nothing to tell apart there")
    if found:
        rows = f"{counted(len(found), 'inconsistency', 'inconsistencies')} in the table's ranks"
        notes.append(f"{rows}, such as: {found[0].what} (see `cli inspect`)")
    return notes
