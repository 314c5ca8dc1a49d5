"""Rows of a table matched to the photos that they name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from embed.columns import ID_COLUMNS
from embed.images import ImageProblem
from embed.tables import Table


@dataclass(frozen=True)
class NamedPhoto:
    """A row of a table with the photo it names."""

    line: int
    id: str
    path: str  # its location: see `embed.sources`
    file_path: str  # as the table gives it
    label: str
    cells: list[str]


def match_rows(
    table: Table, locate: Callable[[str], str], path_at: int, label_at: int | None
) -> tuple[list[NamedPhoto], list[tuple[int, str, str | None]]]:
    """The rows that name a photo, each once; and (line, reason, id) of all others.

    locate : from what the table calls a photo to its location; raises `ImageProblem`.

    An id is that of the first of `ID_COLUMNS`, else the path. Of two rows with one id or one
    photo the first stays.
    """
    id_at = table.find(ID_COLUMNS)
    found: list[NamedPhoto] = []
    left_out: list[tuple[int, str, str | None]] = [(*bad, None) for bad in table.bad]
    ids: dict[str, NamedPhoto] = {}
    paths: dict[str, NamedPhoto] = {}
    for line, cells in zip(table.lines, table.rows, strict=True):
        name = cells[path_at]
        id_ = (cells[id_at] if id_at is not None else "") or name
        try:
            path = locate(name)
        except ImageProblem as problem:
            left_out.append((line, str(problem), id_ or None))
            continue
        label = cells[label_at] if label_at is not None else ""
        photo = NamedPhoto(line, id_, path, name, label, cells)
        clash = _clash(photo, ids, paths, table.unit)
        if clash:
            left_out.append((line, clash, id_))
        else:
            ids[id_] = paths[path] = photo
            found.append(photo)
    return found, sorted(left_out, key=lambda row: row[0])


def _clash(
    photo: NamedPhoto,
    ids: Mapping[str, NamedPhoto],
    paths: Mapping[str, NamedPhoto],
    unit: str,
) -> str | None:
    same = paths.get(photo.path)
    if same and same.label == photo.label:
        return f"'{photo.file_path}' stands already in {unit} {same.line}"
    if same:
        here, there = photo.label or "no label", same.label or "no label"
        return (
            f"'{photo.file_path}' stands already in {unit} {same.line} with another label: "
            f"'{there}' there, which stays, and '{here}' here"
        )
    if photo.id in ids:
        return f"the id '{photo.id}' stands already in {unit} {ids[photo.id].line}"
    return None
