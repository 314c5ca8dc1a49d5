"""Photos left out and labels changed by hand, in a table: the collection stays as it is."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from classify.dataset import Dataset
from classify.decisions import DECISION, EXCLUDE, NAMED_BY, NEW_LABEL, RELABEL, read_decisions
from classify.rank_columns import rank_of
from embed.errors import UserError
from embed.files import sha256, write_rows
from embed.prompts import RANKS
from embed.words import counted

SHOWN = 3  # ids in an error


@dataclass(frozen=True)
class Corrections:
    """What was decided of some photos.

    by : what names them, a column of the collection: id or file_path
    exclude : the photos to leave out, sorted
    relabel : (photo, its new label), sorted; none of them is in `exclude`
    notes : what the reader of the tables should know, a sentence each
    """

    by: str
    exclude: tuple[str, ...] = ()
    relabel: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.exclude or self.relabel)

    @classmethod
    def read(cls, exclude: Path | None, relabel: Path | None, label: str) -> "Corrections":
        """From the tables given to `--exclude` and `--relabel`; either may be missing.

        Raises `UserError` where they are no such tables or contradict themselves; see
        `classify.decisions`.
        """
        tables = [None if path is None else read_decisions(path) for path in (exclude, relabel)]
        given = [table for table in tables if table is not None]
        if len({table.by for table in given}) > 1:
            raise UserError(
                f"{exclude} names photos by {given[0].by} and {relabel} by {given[1].by}: "
                "give both the same column."
            )
        out = set(tables[0].excluded() if tables[0] else ())
        new = tables[1].relabelled(label) if tables[1] else {}
        notes = list(dict.fromkeys(note for table in given for note in table.notes))
        if both := out & new.keys():
            notes.append(
                f"both excluded and relabelled, so excluded: {counted(len(both), 'photo')}"
            )
        kept = sorted((name, value) for name, value in new.items() if name not in out)
        by = given[0].by if given else NAMED_BY[0]
        return cls(by, tuple(sorted(out)), tuple(kept), tuple(notes))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits: equal for equal decisions; empty where there are none."""
        lines = [self.by, *self.exclude, "", *("\t".join(pair) for pair in self.relabel)]
        return sha256("\n".join(lines).encode())[:16] if self else ""

    def save(self, path: Path) -> None:
        """Write them as a table that `--exclude` and `--relabel` take too."""
        rows = [{self.by: name, DECISION: EXCLUDE} for name in self.exclude]
        rows += [{self.by: n, DECISION: RELABEL, NEW_LABEL: new} for n, new in self.relabel]
        write_rows(path, [self.by, DECISION, NEW_LABEL], rows)

    @classmethod
    def load(cls, path: Path) -> "Corrections":
        """What `save` wrote."""
        try:
            with path.open(newline="", encoding="utf-8") as handle:
                reader = csv.DictReader(handle, strict=True)
                rows = list(reader)
            by = (reader.fieldnames or [""])[0]
            if by not in NAMED_BY or any(row[DECISION] not in (EXCLUDE, RELABEL) for row in rows):
                raise ValueError("columns or decisions are missing")
            out = [row[by] for row in rows if row[DECISION] == EXCLUDE]
            new = [(row[by], row[NEW_LABEL]) for row in rows if row[DECISION] == RELABEL]
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise UserError(
                f"{path} is damaged ({error}). Remove its run's folder and run `cli fit` again."
            ) from error
        return cls(by, tuple(out), tuple(new))

    def apply(self, photos: Dataset, rows: Any = None) -> tuple[Dataset, list[str]]:
        """The photos as they are to be learnt from, and notes worth printing.

        rows : the whole collection (DataFrame), where photos may be named that have no label or
            no side: they are counted in a note. Without it they count as unknown.

        Test photos stay as they are: a test set that a model has cleaned flatters it. A photo
        with a new label takes over the ranks above it from its new class, where all photos of
        that class agree, and loses those below. Raises `UserError` for unknown photos, and where
        fewer than two classes are left to train on.
        """
        if not self:
            return photos, []
        place = {str(name): i for i, name in enumerate(photos.rows[self.by])}
        new = dict(self.relabel)
        listed = [*self.exclude, *new]
        elsewhere = self._elsewhere(listed, place, rows)
        tested = {n for n in listed if n in place and photos.side[place[n]] == "test"}
        notes = [*self.notes, *_untouched(len(tested), elsewhere)]
        out = np.array([place[n] for n in self.exclude if n in place and n not in tested], int)
        moved = {place[n]: new[n] for n in new if n in place and n not in tested}
        moved = {i: name for i, name in moved.items() if photos.y[i] != name}
        keep = np.ones(len(photos), dtype=bool)
        keep[out] = False
        changed = _relabel(photos, moved).some(keep)
        notes += [*_counts(int((~keep).sum()), len(moved)), *_classes(photos, changed, moved)]
        return changed, notes

    def _elsewhere(self, listed: Sequence[str], place: Mapping[str, int], rows: Any) -> int:
        """How many of `listed` are in the collection only; unknown ones are a `UserError`."""
        absent = [name for name in listed if name not in place]
        known = set() if rows is None else set(rows[self.by].astype(str))
        unknown = [name for name in absent if name not in known]
        if unknown:
            raise UserError(_unknown(unknown, len(listed), self.by, [*place, *known]))
        return len(absent)


def _unknown(unknown: Sequence[str], listed: int, by: str, known: Sequence[str]) -> str:
    shown = []
    for name in unknown[:SHOWN]:
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        shown.append(f"'{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
    more = f" and {len(unknown) - SHOWN:,} more" if len(unknown) > SHOWN else ""
    return (
        f"{len(unknown):,} of {counted(listed, 'photo')} listed have no {by} of the collection's: "
        f"{', '.join(shown)}{more}. Its {by} are like '{known[0]}'. Take them out of the table, or "
        "choose the workspace whose `cli inspect` wrote it."
    )


def _untouched(tested: int, elsewhere: int) -> Iterator[str]:
    if tested:
        yield (
            f"{counted(tested, 'listed photo')} of the test side left as they are: a test set "
            "that was cleaned with a model's help flatters it"
        )
    if elsewhere:
        yield f"{counted(elsewhere, 'listed photo')} without a label or a side in this split"


def _counts(excluded: int, relabelled: int) -> Iterator[str]:
    if excluded:
        yield f"excluded: {counted(excluded, 'photo')}"
    if relabelled:
        yield f"relabelled: {counted(relabelled, 'photo')}"


def _classes(before: Dataset, after: Dataset, moved: Mapping[int, str]) -> Iterator[str]:
    """Classes that are gone or new among the training photos."""
    had, has = (set(part.y[part.side == "train"].tolist()) for part in (before, after))
    if len(has) < 2:
        raise UserError(
            f"After the corrections {counted(len(has), 'class is', 'classes are')} left to train "
            "on; a classifier needs two. Exclude fewer photos."
        )
    if gone := sorted(had - has):
        yield f"no training photo is left of {', '.join(gone)}: never predicted, always an error"
    known = set(before.y.tolist())
    for name, n in sorted(Counter(moved.values()).items()):
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1, cutoff=0.8)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            yield f"'{name}' is a new class ({counted(n, 'photo')}){hint}"


def _relabel(photos: Dataset, moved: Mapping[int, str]) -> Dataset:
    """The photos with new labels by row; the other columns that name taxa follow."""
    if not moved:
        return photos
    y = photos.y.astype(object)
    y[list(moved)] = list(moved.values())
    rows = photos.rows.copy()
    for column in rows.columns:
        above = _above(column, photos.label)
        if above is None:
            continue
        values = [_shared(photos, column, name) if above else None for name in moved.values()]
        rows.loc[rows.index[list(moved)], column] = values
    rows.loc[rows.index[list(moved)], photos.label] = list(moved.values())
    return replace(photos, rows=rows, y=y.astype(str))


def _above(column: str, label: str) -> bool | None:
    """Whether the column is a rank above the label's; None where the two cannot be compared."""
    rank, own = rank_of(column), rank_of(label)
    if rank is None or own is None or rank == own:
        return None
    return RANKS.index(rank) < RANKS.index(own)


def _shared(photos: Dataset, column: str, name: str) -> str | None:
    """The one value of the column among the photos of a class; None where they differ."""
    values = photos.rows[column][photos.y == name].dropna().unique()
    return str(values[0]) if len(values) == 1 else None
