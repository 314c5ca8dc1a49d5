"""Which photos train, which validate, which test: made at random or read from a table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from classify.split_report import SIDES, SplitReport
from classify.stratify import Ints, assign, make_folds
from embed.collection import load_collection
from embed.errors import UserError, did_you_mean
from embed.files import read_json, write_json, write_rows
from embed.tables import read_table
from embed.workspace import Workspace

__all__ = [
    "Split", "SplitReport", "assign", "describe", "make_folds", "make_split", "new_split",
    "split_from_csv",
]  # fmt: skip


@dataclass(frozen=True)
class Split:
    """The side of every row of a collection that has one.

    table : columns `id` (str), `split` ('train', 'val' or 'test') and `group` (int)
    label, by : the columns it was stratified by and grouped by (`by` may be None)
    fractions : the share of each side that was asked for (that was found, for a given split)
    notes : what the user should know, a sentence each
    """

    table: Any
    label: str
    by: str | None
    seed: int | None
    fractions: dict[str, float]
    notes: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write `path` (CSV: id, split, group) and what made it beside it (`path`.json)."""
        facts = {name: value for name, value in vars(self).items() if name != "table"}
        write_json(path.with_suffix(".json"), facts)
        write_rows(path, ["id", "split", "group"], self.table.to_dict("records"))

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read what `save` wrote; a missing or damaged file is a `UserError`."""
        made_by = path.with_suffix(".json")
        if not (path.exists() and made_by.exists()):
            raise UserError(
                f"There is no split at {path} (with {made_by.name} beside it). "
                "Make one with `cli split`."
            )
        facts = read_json(made_by)
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            table = table[["id", "split", "group"]].astype({"group": int})
            if not (table["id"].is_unique and table["split"].isin(SIDES).all()):
                raise ValueError("each id must be there once, in train, val or test")
            return cls(table, **{**facts, "notes": tuple(facts["notes"])})
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is damaged: {error}. Make it anew with `cli split`."
            ) from error


def new_split(
    workspace: Workspace,
    name: str,
    test: float = 0.2,
    val: float = 0.0,
    by: str | None = None,
    seed: int = 0,
    given: Path | None = None,
) -> tuple[Split, Any]:
    """`cli split`: make a split of the workspace's collection, or read the `given` one; save it.

    Returns the split and the rows of the collection.
    """
    collection = load_collection(workspace.collection)
    rows, label = collection.rows, collection.label
    if label is None:
        raise UserError(
            "The collection has no label column to split by. Its columns: "
            f"{', '.join(rows.columns)}. Run `cli embed PHOTOS --label COLUMN`."
        )
    if given and by:
        raise UserError("--from takes a split as it is: leave out --by, or leave out --from.")
    split = (
        split_from_csv(given, rows, label)
        if given
        else make_split(rows, label, test, val, by, seed)
    )
    split.save(workspace.split(name))
    return split, rows


def make_split(
    rows: Any,
    label: str,
    test: float = 0.2,
    val: float = 0.0,
    by: str | None = None,
    seed: int = 0,
) -> Split:
    """Split a collection at random: stratified by `label`, identical photos on one side.

    rows : collection with `id`, `key` and the label column; rows without a label get no side
    test, val : share of the labelled rows on those sides
    by : column whose values (species, camera, individual…) may not be on two sides; a row that
        has no value there is a group of its own
    The order of the rows does not matter. Raises `UserError` where no such split exists.
    """
    _check_fractions(test, val)
    labelled = _labelled(rows, label)
    group = _groups(labelled, by)
    shares = {"train": 1 - test - val, "test": test, "val": val}
    used = [side for side, share in shares.items() if share > 0]
    side = np.array(used)[assign(labelled[label], group, [shares[s] for s in used], seed)]
    if test > 0 and "test" not in side:
        raise UserError(
            f"No photo is left for the test side: {len(labelled)} labelled photos in "
            f"{group.max() + 1} groups, and train needs every class. "
            "Use a larger --test, or a --by column with more groups "
            "in a class, or `cli split --test 0` to go without a test."
        )
    lone = int(labelled[by].isna().sum()) if by else 0
    notes = (f"{lone:,} photos without a {by}, each a group of its own",) if lone else ()
    fractions = {side: round(shares[side], 9) for side in SIDES}
    return Split(_table(labelled, side, group), label, by, seed, fractions, notes)


def _check_fractions(test: float, val: float) -> None:
    if not (test >= 0 and val >= 0 and test + val < 1):
        raise UserError(
            "--test and --val are shares of the photos: 0 or more, and below 1 together "
            f"(as in --test 0.2 --val 0.1). Got --test {test:g} --val {val:g}."
        )


def _labelled(rows: Any, label: str) -> Any:
    """The rows with a label, in the order of their ids (the index tells their order in `rows`)."""
    if label not in rows:
        raise UserError(f"The collection has no column '{label}'. {did_you_mean(label, rows)}")
    labelled = rows.reset_index(drop=True)
    labelled = labelled[labelled[label].notna()].sort_values("id")
    found = labelled[label].unique()
    if len(found) < 2:
        came = f"only '{found[0]}'" if len(found) else "none"
        raise UserError(
            f"A classifier needs photos of at least two classes in '{label}'; there is {came} "
            f"in {len(rows)} photos. Run `cli embed` with another --label or --table."
        )
    return labelled


def _groups(rows: Any, by: str | None) -> Ints:
    """(n,) int: rows that share a `key` or a value of `by`, at first or second hand, are one."""
    if by is not None and by not in rows:
        raise UserError(f"--by {by}: no such column in the collection. {did_you_mean(by, rows)}")
    n = len(rows)
    links = coo_array((n, n))
    for column in [column for column in ("key", by) if column in rows]:
        value = pd.factorize(rows[column])[0]
        here = np.flatnonzero(value >= 0)
        _, first, nth = np.unique(value[here], return_index=True, return_inverse=True)
        links = links + coo_array((np.ones(len(here)), (here, here[first][nth])), shape=(n, n))
    group: Ints = connected_components(links, directed=False)[1].astype(np.intp)
    return group


def _table(labelled: Any, side: Any, group: Ints) -> Any:
    table = pd.DataFrame({"id": labelled["id"], "split": side, "group": group})
    return table.sort_index(ignore_index=True).astype({"id": str, "split": str})


_ALIASES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# column of the file, column of the collection that it may name
_ID_COLUMNS = (
    ("id", "id"),
    ("rare_species_id", "rare_species_id"),
    ("rare_species_id", "id"),
    ("file_path", "file_path"),
)


def split_from_csv(path: Path, rows: Any, label: str) -> Split:
    """A split that someone else made: a table with `split` and `id` (or `file_path`).

    `split` holds train, val or test (or validation, dev, training…, in any case). Rows that the
    file does not name, and those without a label, get no side. A file that contradicts itself,
    fits none of `rows` or has nobody to train or test is a `UserError`.
    """
    labelled = _labelled(rows, label)
    given, notes = _given_table(path)
    theirs, ours = _id_columns(path, given, rows)
    given = given[[theirs, "split"]].set_axis(["id", "split"], axis=1).drop_duplicates()
    if not given["id"].is_unique:
        twice = given["id"][given["id"].duplicated()].iloc[0]
        raise UserError(f"{path} puts the same photo on two sides: {theirs} '{twice}'. Keep one.")

    side = labelled[ours].map(given.set_index("id")["split"]).dropna()
    shares = side.value_counts(normalize=True)
    for needed in ("train", "test"):
        if needed not in shares:
            raise UserError(f"{path} names no labelled {needed} photo of this collection.")
    named = labelled.loc[side.index]
    notes.insert(0, f"read from {path.name}, matched by {theirs}")
    if unknown := int((~given["id"].isin(rows[ours])).sum()):
        notes.append(f"{unknown:,} rows of {path.name} are no photo of this collection")
    fractions = {side: round(float(shares.get(side, 0)), 9) for side in SIDES}
    return Split(
        _table(named, side, _groups(named, None)), label, None, None, fractions, tuple(notes)
    )


def _given_table(path: Path) -> tuple[Any, list[str]]:
    """The file's rows (index: line; `split`: train, val or test) and what is wrong with them."""
    table = read_table(path, ["split"])
    columns = [column.casefold() for column in table.columns]
    given = pd.DataFrame(table.rows, index=table.lines, columns=columns, dtype=str)
    given = given.loc[:, ~given.columns.duplicated()]
    if "split" not in given:
        raise UserError(f"{path} has no column 'split'. It has: {', '.join(table.columns)}.")
    sides = given["split"].str.lower().map(_ALIASES)
    odd = given["split"][sides.isna()]
    if len(odd):
        raise UserError(
            f"{path}: the column 'split' must say train, val or test; {len(odd)} rows do not, "
            f"as line {odd.index[0]}: '{odd.iloc[0]}'."
        )
    bad = [f"line {line} of {path.name} is left out: {why}" for line, why in table.bad]
    return given.assign(split=sides), [*table.notes, *bad]


def _id_columns(path: Path, given: Any, rows: Any) -> tuple[str, str]:
    """The pair of columns by which `given` names photos of the collection."""
    pairs = [(a, b) for a, b in _ID_COLUMNS if a in given and b in rows]
    for theirs, ours in pairs:
        if given[theirs].isin(rows[ours]).any():
            return theirs, ours
    if not pairs:
        raise UserError(
            f"{path} needs a column 'id', 'rare_species_id' or 'file_path' that names the photos. "
            f"It has: {', '.join(given)}."
        )
    theirs, ours = pairs[0]
    raise UserError(
        f"{path} names no photo of this collection: its {theirs} are like "
        f"'{next(iter(given[theirs]), '')}', the collection's {ours} like '{rows[ours].iloc[0]}'."
    )


def describe(split: Split, rows: Any) -> SplitReport:
    """Count what `split` does with the collection `rows`."""
    named = split.table.set_index("id").reindex(rows["id"])
    label = rows[split.label]
    frame = pd.DataFrame(
        {
            "label": label.to_numpy(),
            "side": named["split"].to_numpy(),
            "group": named["group"].to_numpy(),
        }
    )
    placed = frame.dropna()
    classes = pd.crosstab(placed["label"], placed["side"])
    classes = classes.reindex(index=sorted(label.dropna().unique()), columns=SIDES, fill_value=0)
    classes["groups"] = placed.groupby("label")["group"].nunique()
    return SplitReport(
        classes=classes.fillna(0).astype(int),
        groups=placed["group"].nunique(),
        fractions=split.fractions,
        by=split.by,
        leaks=int((placed.groupby("group")["side"].nunique() > 1).sum()),
        clashes=int((rows.groupby("key")[split.label].nunique() > 1).sum()) if "key" in rows else 0,
        unlabelled=int(label.isna().sum()),
        unplaced=int(frame["label"].notna().sum()) - len(placed),
        notes=split.notes,
    )
