"""Which columns of a table are the path, the id and the label, and what the others become."""

from collections.abc import Mapping, Sequence

from embed.errors import UserError, did_you_mean
from embed.tables import Table, find_name

PATH_COLUMNS = ("file_path", "path", "filepath", "filename", "file_name", "image", "image_path")
ID_COLUMNS = ("rare_species_id", "id", "image_id")
DEFAULT_LABEL = "family"
OWN_COLUMNS = ("id", "path", "file_path", "key", "size", "mtime_ns")  # a table's own are renamed


def named_columns(table: Table, path_at: int) -> tuple[dict[int, str], list[str]]:
    """The names that the table's columns get here, by place; and notes on those renamed."""
    id_at = table.find(ID_COLUMNS)
    kept = {}
    for at, column in enumerate(table.columns):
        is_our_id = at == id_at and column.lower() == "id"
        nothing = not column and not any(row[at] for row in table.rows)
        if not (at == path_at or is_our_id or nothing):
            kept[at] = column
    columns = dict(zip(kept, own_names(list(kept.values()), list(kept)), strict=True))
    notes = [
        f"column {at + 1} of {table.path.name} is called '{name}' here"
        for at, name in columns.items()
        if name != table.columns[at]
    ]
    return columns, notes


def label_column(
    columns: Mapping[int, str], header: Sequence[str], label: str | None
) -> int | None:
    """The place of the label's column: by its name in the header, else by its name here."""
    for names in ({at: header[at] for at in columns}, columns):
        found = find_name(list(names.values()), [label or DEFAULT_LABEL])
        if found is not None:
            return list(names)[found]
    return None


def no_label(source: object, columns: Sequence[str], label: str) -> UserError:
    choices = did_you_mean(label, columns)
    return UserError(f"{source} has no column '{label}' for the label. {choices}")


def own_names(columns: Sequence[str], places: Sequence[int]) -> list[str]:
    """`columns` with names of their own, none of them one of ours."""
    taken = set(OWN_COLUMNS)
    names = []
    for column, at in zip(columns, places, strict=True):
        name = column or f"column_{at + 1}"
        while name in taken:
            name = f"table_{name}"
        taken.add(name)
        names.append(name)
    return names
