"""What one can search by: photos, folders, rows, words, a part of a photo, several together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.words import counted
from retrieval.boxes import Box
from retrieval.searchable import Searchable
from retrieval.standard_input import PASTED, pasted_photo

if TYPE_CHECKING:
    from embed.encoder import Choice

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_SHOWN = 3  # names of photos that are searched together, and reasons in an error


@dataclass(frozen=True)
class SearchBy:
    """What the user wants to see the look-alikes of. "-" is a photo on standard input."""

    photos: Sequence[str] = ()  # paths of photos, folders and archives, and ids of rows
    texts: Sequence[str] = ()
    minus: Sequence[str] = ()  # as photos: what the hits should be less like
    box: Box | None = None  # the part of every photo that counts
    together: bool = False  # one query, the mean of all


@dataclass(frozen=True)
class Query:
    """One thing to search by.

    vector : (dim,) float32, unit length
    """

    name: str
    vector: F32
    key: str | None = None  # SHA-256 of the photo's bytes, where it is one whole photo
    path: str | None = None  # its location (see `embed.sources`); of several, the first's
    label: str | None = None
    exclude: tuple[str, ...] = ()  # ids of rows that are no hits of it
    single: bool = True  # one photo or a part of one: random pairs are a scale for its cosines
    box: Box | None = None  # the part of the photo
    plus: tuple["Query", ...] = ()  # of several together: all but the first
    minus: tuple["Query", ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """A query that could not be read."""

    where: str
    reason: str


@dataclass(frozen=True)
class _Subject:
    """A photo before it has a vector."""

    name: str
    path: str
    row: int | None = None


@dataclass
class _Read:
    """Queries by the name the user gave (a folder has several), and what was left out."""

    queries: dict[str, list[Query]] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def of(self, names: Sequence[str]) -> list[Query]:
        found = [query for name in names for query in self.queries.get(name, [])]
        return list({query.name: query for query in found}.values())  # each once


def read_queries(
    place: Searchable, asked: SearchBy, choice: "Choice | None" = None
) -> tuple[list[Query], list[LeftOut]]:
    """The queries in the order asked for, and what could not be read.

    Vectors of whole photos are kept in the store; those of parts are not: no bytes stand for them.
    With `together` or `minus` there is one query: the mean of the unit vectors, less the mean of
    those of `minus`, of unit length again. Raises `UserError` where nothing can be read, where an
    encoder has no text side, and where what is subtracted leaves nothing.
    """
    _check(asked)
    read = _read_photos(place, [*asked.photos, *asked.minus], asked.box, choice)
    found = read.of(asked.photos) + _read_texts(place, asked.texts)
    less = read.of(asked.minus)
    if not found or (asked.minus and not less):
        raise _nothing(read.left_out)
    if asked.minus or (asked.together and len(found) > 1):
        found = [combined(found, less)]
    return found, read.left_out


def combined(plus: Sequence[Query], minus: Sequence[Query] = ()) -> Query:
    """One query: the mean of the unit vectors of `plus`, less the mean of those of `minus`."""
    x = _mean(plus) - _mean(minus) if minus else _mean(plus)
    length = float(np.linalg.norm(x))
    if length < 1e-4:  # what is left is rounding
        raise UserError(
            f"Nothing is left of {_names(plus)} less {_names(minus)}: they look the same to this "
            "encoder. Subtract another photo."
        )
    labels = {query.label for query in plus}
    return Query(
        name=_names(plus) + (f" - {_names(minus)}" if minus else ""),
        vector=np.asarray(x / length, dtype=np.float32),
        path=plus[0].path,
        label=labels.pop() if len(labels) == 1 else None,
        exclude=tuple(dict.fromkeys(name for query in (*plus, *minus) for name in query.exclude)),
        single=False,
        box=plus[0].box,
        plus=tuple(plus[1:]),
        minus=tuple(minus),
    )


def _check(asked: SearchBy) -> None:
    if not asked.photos and not asked.texts:
        raise UserError(
            "Say what to search by: `cli search PHOTO`, a folder, the id of a row, or "
            '`cli search --text "a spotted cat"`.'
        )
    if asked.box and not asked.photos:
        raise UserError("--box is a part of a photo: name the photo, `cli search PHOTO --box …`.")


def _mean(queries: Sequence[Query]) -> F64:
    mean: F64 = np.stack([query.vector for query in queries]).mean(axis=0, dtype=np.float64)
    return mean


def _read_texts(place: Searchable, texts: Sequence[str]) -> list[Query]:
    said = list(dict.fromkeys(texts))
    if not said:
        return []
    from retrieval.query_texts import text_prompt, text_rows

    vectors = text_rows(place, [text_prompt(text) for text in said])
    return [Query(text, x, single=False) for text, x in zip(said, vectors, strict=True)]


def _names(queries: Sequence[Query]) -> str:
    names = [query.name for query in queries]
    if len(names) <= _SHOWN:
        return " + ".join(names)
    return f"{names[0]} + {counted(len(names) - 1, 'other')}"


def _nothing(left_out: Sequence[LeftOut]) -> UserError:
    if len(left_out) == 1:
        return UserError(f"{left_out[0].where}: {left_out[0].reason}")
    shown = "; ".join(f"{one.where}: {one.reason}" for one in left_out[:_SHOWN])
    return UserError(f"None of {len(left_out):,} queries could be read. {shown}")


# ---- photos and rows


def _read_photos(
    place: Searchable, names: Sequence[str], box: Box | None, choice: "Choice | None"
) -> _Read:
    read, subjects = _Read(), {}
    for name in dict.fromkeys(names):
        try:
            subjects[name] = _subjects(place, name)
        except UserError as error:
            read.left_out.append(LeftOut(name, str(error)))
    every = [subject for found in subjects.values() for subject in found]
    vectors = _vectors(place, every, box, choice, read.left_out)
    for name, found in subjects.items():
        read.queries[name] = [
            _query(place, subject, *vectors[subject.path], box)
            for subject in found
            if subject.path in vectors
        ]
    return read


def _subjects(place: Searchable, name: str) -> list[_Subject]:
    """The photos that a word of the command line means. An id wins over a file."""
    row = place.known.find(name)
    if row is not None and (location := _said_of(place, row, "path")) is not None:
        return [_Subject(name, location, row)]
    if (location := place.not_indexed(name)) is not None:
        return [_Subject(name, location)]
    if name == PASTED:
        return [_Subject(name, str(pasted_photo()))]
    from embed import sources  # more to import than a search for a row has to do
    from embed.folders import ARCHIVE_SUFFIXES

    path = Path(name)
    if path.is_dir() or (path.is_file() and name.lower().endswith(ARCHIVE_SUFFIXES)):
        from embed.collection import find_photos

        rows = find_photos(path).rows
        pairs = zip(rows["file_path"].tolist(), rows["path"].tolist(), strict=True)
        return [_Subject(f"{name.rstrip('/')}/{below}", location) for below, location in pairs]
    if path.exists() or sources.split(name):
        return [_Subject(name, str(path.absolute()) if path.exists() else name)]
    from retrieval.unknown_ids import nearest_ids

    raise UserError(
        "it is neither an id in the collection nor a photo here. "
        f"{nearest_ids(name, place.known.ids)}Ids are in the column id of collection.parquet; "
        "a photo is given by its path: `cli search folder/photo.jpg`."
    )


def _vectors(
    place: Searchable,
    subjects: Sequence[_Subject],
    box: Box | None,
    choice: "Choice | None",
    left_out: list[LeftOut],
) -> dict[str, tuple[F32, str | None]]:
    """Vector and key (none for a part) of each subject that can be read, by its path."""
    rows = [] if box else [subject.row for subject in subjects if subject.row is not None]
    found: dict[str, tuple[F32, str | None]] = {}
    if rows:
        for row, x in zip(rows, place.row_vectors(rows), strict=True):
            found[_said_of(place, row, "path") or ""] = x, place.known.key(row)
    rest = {subject.path: subject.name for subject in subjects if subject.path not in found}
    if rest:
        from retrieval.query_photos import encoded, encoded_parts

        if box:
            vectors, problems = encoded_parts(place, list(rest), box, choice)
        else:
            vectors, problems = encoded(place, list(rest), choice)
        found.update(vectors)
        left_out += [
            LeftOut(rest[path], f"it cannot be read: {why}") for path, why in problems.items()
        ]
    return found


def _query(
    place: Searchable, subject: _Subject, vector: F32, key: str | None, box: Box | None
) -> Query:
    row = subject.row
    if row is None and key is not None:
        row = next(iter(place.known.with_key(key)), None)  # a copy's label is the photo's
    return Query(
        name=f"{subject.name} [{box.said}]" if box else subject.name,
        vector=vector,
        key=key,
        path=subject.path,
        label=_said_of(place, row, place.label) if place.label and row is not None else None,
        exclude=() if subject.row is None else (subject.name,),
        box=box,
    )


def _said_of(place: Searchable, row: int, column: str) -> str | None:
    """What the table says of a row."""
    table, _ = place.known.take([row])
    found = table[column][0].as_py() if len(table) else None
    return found if isinstance(found, str) else None
