"""A table in which somebody decided which photos to leave out and which label others get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embed.errors import UserError
from embed.tables import find_name, read_table
from embed.words import counted

NAMED_BY = ("id", "file_path")
DECISION, NEW_LABEL, SUGGESTED = "decision", "new_label", "suggested"
EXCLUDE, RELABEL, KEEP = "exclude", "relabel", "keep"


@dataclass(frozen=True)
class Decisions:
    """The rows of such a table, one or more, that name a photo.

    by : id or file_path, what names the photos
    rows : the cells by the lower-case names of their columns
    notes : what is wrong with the table, a sentence each
    """

    path: Path
    by: str
    rows: Sequence[Mapping[str, str]]
    notes: tuple[str, ...]

    def excluded(self) -> list[str]:
        """With a column `decision` the photos of which it says "exclude", else all photos."""
        if DECISION not in self.rows[0]:
            return [row[self.by] for row in self.rows]
        found = [row[self.by] for row in self.rows if _decision(row) == EXCLUDE]
        if not found:
            raise UserError(
                f"{self.path} excludes nothing: no row says '{EXCLUDE}' in the column "
                f"'{DECISION}'. Write it beside the photos to leave out, or take the column away "
                "to leave out all."
            )
        return found

    def relabelled(self, label: str) -> dict[str, str]:
        """Photo -> new label, from the column `new_label`, else from the one called as the label.

        A row that says "relabel" and names no label takes the one in `suggested`; one that says
        "keep" or "exclude" changes no label.
        """
        names = (NEW_LABEL, label.casefold())
        column = next((name for name in names if name in self.rows[0]), None)
        if column is None:
            raise UserError(
                f"{self.path} needs a column '{NEW_LABEL}' (or '{label}') with the new labels. "
                f"It has: {', '.join(self.rows[0])}."
            )
        new: dict[str, str] = {}
        for row in self.rows:
            if name := self._new_label(row, column):
                photo = row[self.by]
                if new.setdefault(photo, name) != name:
                    raise self._twice(photo, "labels", new[photo], name)
        if not new:
            raise UserError(f"{self.path} relabels nothing: its column '{column}' is empty.")
        return new

    def _new_label(self, row: Mapping[str, str], column: str) -> str:
        decision = _decision(row)
        if decision in (EXCLUDE, KEEP):
            return ""
        if row[column] or decision != RELABEL:
            return row[column]
        if not row.get(SUGGESTED):
            raise UserError(
                f"{self.path} says '{RELABEL}' of '{row[self.by]}', but not as what: "
                f"fill in its {column}."
            )
        return row[SUGGESTED]

    def check(self) -> None:
        """Refuse an unknown word, and two decisions about one photo."""
        decided: dict[str, str] = {}
        for row in self.rows:
            decision, photo = _decision(row), row[self.by]
            if decision not in (EXCLUDE, RELABEL, KEEP, ""):
                raise UserError(
                    f"{self.path}: the decision about '{photo}' is '{row[DECISION]}'. "
                    f"Expected {EXCLUDE}, {RELABEL}, {KEEP} or nothing."
                )
            if decision and decided.setdefault(photo, decision) != decision:
                raise self._twice(photo, "decisions", decided[photo], decision)

    def _twice(self, photo: str, what: str, first: str, second: str) -> UserError:
        return UserError(
            f"{self.path} has two {what} for {self.by} '{photo}': '{first}' and '{second}'. "
            "Keep one."
        )


def read_decisions(path: Path) -> Decisions:
    """The table at `path` (see `embed.tables.read_table`).

    Raises `UserError` where it names no photo or contradicts itself.
    """
    table = read_table(path, NAMED_BY)
    by = next((name for name in NAMED_BY if find_name(table.columns, [name]) is not None), None)
    if by is None:
        raise UserError(
            f"{path} needs a column 'id' or 'file_path' that names the photos. "
            f"It has: {', '.join(table.columns)}."
        )
    names = [column.casefold() for column in table.columns]
    # of two columns with one name the first counts, as elsewhere
    records = [dict(zip(names[::-1], row[::-1], strict=True)) for row in table.rows]
    rows = [row for row in records if row[by]]
    notes = [f"line {line} of {path.name} is left out: {why}" for line, why in table.bad]
    if nameless := len(records) - len(rows):
        notes.append(f"{counted(nameless, 'row')} of {path.name} left out: no {by}")
    if not rows:
        raise UserError(f"{path} names no photo: there is no {by} in any row.")
    decisions = Decisions(path, by, rows, (*table.notes, *notes))
    decisions.check()
    return decisions


def _decision(row: Mapping[str, str]) -> str:
    return row.get(DECISION, "").lower()
