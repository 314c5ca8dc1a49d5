"""Copies as groups, and which photo of each to keep."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.files import write_json, write_rows
from embed.words import counted
from retrieval.near_duplicates import groups_of

FORMAT = "familia-duplicates-1"
KINDS = ("exact", "near", "maybe")  # the surest first
HEADER = ["group", "id", "file_path", "kind", "cosine", "keep", "new", "width", "height", "bytes",
          "path"]  # fmt: skip
SHOWN = 5  # groups, in the terminal


@dataclass(frozen=True)
class Duplicates:
    """Groups of copies.

    table : DataFrame, one row a photo that has a copy, group by group (the surest kind first, then
        the largest, then by id), in each the one to keep first. Columns: `HEADER`; group counts
        from 1; kind is the surest of the pairs that join the photo to its group; cosine is that
        with the photo to keep; keep and new are bool; width, height and bytes are NA where the
        file cannot be read now
    maybe : pairs that a person would have to judge, where they were not taken for copies
    rule : where the line between copies and others is
    """

    folder: Path
    table: Any
    photos: int
    outside: int | None  # photos compared with the collection; None where none were
    encoders: Sequence[str]
    maybe: int
    rule: str
    notes: Sequence[str] = ()

    @cached_property
    def groups(self) -> list[Any]:
        """The rows of each group."""
        return [rows for _, rows in self.table.groupby("group", sort=True)]

    @property
    def redundant(self) -> Any:
        """The rows of the photos that are not the one to keep; of photos outside, where any are."""
        rows = self.table[~self.table["keep"]]
        return rows if self.outside is None else rows[rows["new"]]

    @property
    def redundant_paths(self) -> list[str]:
        """Where the redundant photos lie."""
        return [str(path) for path in self.redundant["path"]]

    def lines(self) -> list[str]:
        """One screen: how many, what the rule is, and the first groups."""
        return [f"{name:<10} {line}" for name, line in self.parts()] + list(self._examples())

    def parts(self) -> Iterator[tuple[str, str]]:
        """The same without the examples, as (name, line)."""
        by = " and ".join(self.encoders)
        yield (
            "photos",
            f"{self.photos:,} compared by {by}"
            + ("" if self.outside is None else f", with {self.outside:,} that are not among them"),
        )
        kinds = [(kind, sum(g["kind"].iloc[0] == kind for g in self.groups)) for kind in KINDS]
        said = ", ".join(f"{n:,} {kind}" for kind, n in kinds if n)
        yield "groups", f"{len(self.groups):,}" + (f": {said}" if said else "")
        if len(self.table):
            size = int(self.redundant["bytes"].fillna(0).sum())
            yield (
                "redundant",
                f"{counted(len(self.redundant), 'photo')} ({size / 1e6:,.1f} MB), if one of each "
                "group is kept; nothing was removed",
            )
        if self.maybe:
            yield "maybe", f"{counted(self.maybe, 'more pair')} to judge by eye: --maybe shows them"
        yield "rule", self.rule
        for note in self.notes:
            yield "note", note

    def _examples(self) -> Iterator[str]:
        for rows in self.groups[:SHOWN]:
            kept, *others = rows.to_dict("records")
            yield f"  {kept['kind']}, {counted(len(rows), 'photo')}: keep {kept['file_path']}"
            for row in others[:2]:
                yield f"    {row['cosine']:.3f}  {row['file_path']}"

    def to_json(self) -> dict[str, Any]:
        """All counts and the groups as lists of ids, the one to keep first."""
        return {
            "format": FORMAT,
            "photos": self.photos,
            "outside": self.outside,
            "encoders": list(self.encoders),
            "rule": self.rule,
            "redundant": len(self.redundant),
            "maybe_pairs": self.maybe,
            "groups": [
                {"kind": str(rows["kind"].iloc[0]), "ids": rows["id"].tolist()}
                for rows in self.groups
            ],
            "notes": list(self.notes),
        }

    def write(self) -> None:
        """duplicates.csv and duplicates.json, into the folder."""
        yes = {True: "yes", False: ""}
        rows = self.table.astype(object).where(self.table.notna(), "").to_dict("records")
        shown = (
            row | {n: yes[row[n]] for n in ("keep", "new")} | {"cosine": f"{row['cosine']:.4f}"}
            for row in rows
        )
        write_rows(self.folder / "duplicates.csv", HEADER, shown)
        write_json(self.folder / "duplicates.json", self.to_json())


def grouped(rows: Any, X: NDArray[np.float32], facts: Any, pairs: Any) -> Any:
    """The table of `Duplicates`.

    rows : DataFrame, n rows: id, path, file_path and new; X : (n, dim) unit rows; facts :
    DataFrame, row for row: width, height and bytes; pairs : DataFrame: a, b and kind
    """
    import pandas as pd

    table = rows[["id", "file_path", "new", "path"]].reset_index(drop=True)
    table = table.join(facts[["width", "height", "bytes"]].reset_index(drop=True))
    kind = pd.Categorical(pairs["kind"], categories=KINDS, ordered=True).codes
    ends = pd.Series(np.tile(kind, 2), index=[*pairs["a"], *pairs["b"]]).groupby(level=0).min()
    table["surest"] = table["id"].map(ends)
    table["first"] = groups_of(pairs, table["id"].tolist())
    table["row"] = np.arange(len(table))
    table["pixels"] = (table["width"] * table["height"]).fillna(0)
    table["size"] = table["bytes"].fillna(0)
    table = table[table["surest"].notna()]
    whole = table.groupby("first")
    table = table[whole["new"].transform("any") | (not rows["new"].any())]
    table = table.assign(best=table.groupby("first")["surest"].transform("min"),
                         many=-table.groupby("first")["id"].transform("size"))  # fmt: skip
    order = ["best", "many", "first", "new", "pixels", "size", "id"]
    ascending = [True, True, True, True, False, False, True]
    table = table.sort_values(order, ascending=ascending, kind="stable").reset_index(drop=True)
    table["keep"] = ~table["first"].duplicated()
    table["group"] = table["keep"].cumsum()
    table["kind"] = [KINDS[int(code)] for code in table["surest"]]
    kept = table.loc[table["keep"], "row"].to_numpy()[table["group"].to_numpy() - 1]
    a, b = (X[i].astype(np.float64) for i in (table["row"].to_numpy(), kept))
    table["cosine"] = np.vecdot(a, b)
    return table[HEADER]
