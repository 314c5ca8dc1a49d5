"""A split that someone else made, as a table with the side of every photo."""

from pathlib import Path
from typing import Any

import pandas as pd

from embed.errors import UserError
from embed.tables import read_table

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


def given_sides(path: Path, labelled: Any, rows: Any) -> tuple[Any, list[str]]:
    """The side of those `labelled` photos that the file names (a Series over their index).

    rows : the whole collection, to tell what in the file is no photo of it
    Also returns what the user should know. A file that contradicts itself, or has nobody to
    train or test, is a `UserError`.
    """
    given, notes = _given_table(path)
    theirs, ours = _id_columns(path, given, rows)
    given = given[[theirs, "split"]].set_axis(["id", "split"], axis=1).drop_duplicates()
    if not given["id"].is_unique:
        twice = given["id"][given["id"].duplicated()].iloc[0]
        raise UserError(f"{path} puts the same photo on two sides: {theirs} '{twice}'. Keep one.")
    side = labelled[ours].map(given.set_index("id")["split"]).dropna()
    for needed in ("train", "test"):
        if needed not in set(side):
            raise UserError(f"{path} names no labelled {needed} photo of this collection.")
    notes.insert(0, f"read from {path.name}, matched by {theirs}")
    if unknown := int((~given["id"].isin(rows[ours])).sum()):
        notes.append(f"{unknown:,} rows of {path.name} are no photo of this collection")
    return side, notes


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
