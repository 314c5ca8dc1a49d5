"""Dates as tables have them, and a split of photos into older and newer ones."""

import re
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.words import counted

Dates = NDArray[np.datetime64]  # in seconds; NaT where there is none

# 2020, 2020-06, 2020-06-01, 2020:06:01 10:11:12, 2020/6/1T10:11:12.5+02:00, 20200601
_YEAR_FIRST = re.compile(
    r"(\d{4})(?:\.0)?(?:([-:/.])(\d\d?)(?:\2(\d\d?))?)?"
    r"(?:[T ]+(\d\d?):(\d\d)(?::(\d\d))?.*)?"
)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)")
_YEAR_LAST = re.compile(r"(\d\d?)([./-])(\d\d?)\2(\d{4})(?:[T ,]+(\d\d?):(\d\d)(?::(\d\d))?.*)?")


def read_dates(column: Any, name: str) -> tuple[Dates, list[str]]:
    """(n,) datetime64[s] of a column of text, and what in it is no date, for the user.

    Read are ISO dates, years, the form of EXIF (`2020:01:02 10:11:12`), `20200102`, and days
    first or months first with the year last (`31.12.2020`, `12/31/2020`). Which of these two is
    told by a day above 12 in the column; `UserError` where `/` or `-` leaves it open. A year or
    month alone is its first day, of a span (`2020-01-02/2020-01-05`) the beginning counts, and a
    time zone is ignored: the clock of the camera is.
    """
    text = [_beginning(value) for value in column.astype("str").where(column.notna(), "")]
    day_first = _day_first([value for value in text if value], name)
    dates = np.array([_date(value, day_first) for value in text], dtype="datetime64[s]")
    odd = [value for value, date in zip(text, dates, strict=True) if value and np.isnat(date)]
    if not odd:
        return dates, []
    return dates, [f"{counted(len(odd), 'photo')} with a {name} that is no date, as '{odd[0]}'"]


def one_date(text: str, option: str) -> np.datetime64:
    """The date of an option, year first."""
    date = np.datetime64(_date(text.strip(), True) or "NaT", "s")
    if np.isnat(date):
        raise UserError(
            f"{option} takes a year or a date, as in {option} 2020-06-01, not '{text}'."
        )
    return date


def shown(date: np.datetime64) -> str:
    """`2020-06-01`, with the time where it is not midnight."""
    return str(date).removesuffix("T00:00:00").replace("T", " ")


def newest(dates: Dates, share: float) -> np.datetime64 | None:
    """The date from which on about `share` of the dates lie; None where all are one.

    Of the dates that are there, the second at the earliest: it has all its photos on one side.
    """
    known = np.sort(dates[~np.isnat(dates)])
    starts, first = np.unique(known, return_index=True)
    if len(starts) < 2:
        return None
    shares = 1 - first[1:] / len(known)
    return np.datetime64(starts[1:][np.argmin(np.abs(shares - share))])


def _beginning(value: Any) -> str:
    text = str(value).strip()
    first, slash, rest = text.partition("/")
    return first.strip() if slash and re.match(r"\d{4}-", first) else f"{first}{slash}{rest}"


def _date(text: str, day_first: bool) -> datetime | None:
    try:
        if match := _COMPACT.fullmatch(text):
            return datetime(*(int(part) for part in match.groups()))  # type: ignore[arg-type]
        if match := _YEAR_FIRST.fullmatch(text):
            year, _, month, day, *clock = match.groups()
        elif match := _YEAR_LAST.fullmatch(text):
            one, point, two, year, *clock = match.groups()
            day, month = (one, two) if day_first or point == "." else (two, one)
        else:
            return None
        hour, minute, second = (int(part or 0) for part in clock)
        return datetime(int(year), int(month or 1), int(day or 1), hour, minute, min(second, 59))
    except ValueError:  # a month 13, the year 0000 of an unset camera
        return None


def _day_first(texts: list[str], name: str) -> bool:
    """Whether 3/4/2020 is a day of April in this column."""
    open_ = [m for m in map(_YEAR_LAST.fullmatch, texts) if m is not None and m[2] != "."]
    above = [any(int(m[part]) > 12 for m in open_) for part in (1, 3)]
    if open_ and above[0] == above[1]:
        raise UserError(
            f"The dates of '{name}' cannot be told apart into days and months, as "
            f"'{open_[0][0]}'. Write them with the year first: 2020-12-31."
        )
    return above[0]


def older_and_newer(
    labels: Any, group: Any, dates: Dates, cuts: list[np.datetime64]
) -> tuple[NDArray[np.intp], list[str]]:
    """(n,) how many of the ascending `cuts` each row is not older than; and classes left out.

    A row without a date counts as older than all. -1 is no side: rows of a group that is on both
    sides of a cut and has its oldest on the other one, and rows of a class that has none before
    the first cut to learn from. So no training photo is newer than a test photo.
    """
    side = np.searchsorted(np.array(cuts), dates, side="right")
    side[np.isnat(dates)] = 0
    earliest = np.full(int(group.max()) + 1, len(cuts))
    np.minimum.at(earliest, group, side)
    side = np.where(side == earliest[group], side, -1)
    names, label_of = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    learnt = np.bincount(label_of[side == 0], minlength=len(names)) > 0
    side[~learnt[label_of]] = -1
    tested = np.bincount(label_of[side == len(cuts)], minlength=len(names)) > 0
    return side, names[~(learnt & tested)].tolist()
