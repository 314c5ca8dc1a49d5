"""The side of every photo: shared out at random, whole groups held out, or by date."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classify.dates import newest, older_and_newer, one_date, read_dates, shown
from classify.grouping import column_of, place_cells, together
from classify.hold_out import held_groups
from classify.split_rule import SplitRule
from classify.stratify import Ints, assign, per_class_subset
from embed.errors import UserError
from embed.words import counted


@dataclass(frozen=True)
class Sides:
    """What a rule makes of the labelled rows."""

    side: NDArray[Any]  # (n,) train, val, test or '' for none
    not_testable: list[str]
    notes: list[str] = field(default_factory=list)
    since: str = ""  # the first date that is tested


class Members:
    """Which rows belong together, and which can only train."""

    def __init__(self, rows: Any, rule: SplitRule, near: Mapping[str, str] | None) -> None:
        self.notes: list[str] = []
        self.stays = np.zeros(len(rows), dtype=bool)  # (n,) rows that can only train
        columns = [rows["key"]] if "key" in rows else []
        if rule.by:
            columns.append(column_of(rows, rule.by, "--by"))
            if lone := int(columns[-1].isna().sum()):
                self.notes.append(f"{lone:,} photos without a {rule.by}, each a group of its own")
        for what, values in _all_or_train(rows, rule):
            columns.append(values)
            self.stays |= values.isna().to_numpy()
            if lone := int(values.isna().sum()):
                self.notes.append(f"{counted(lone, 'photo')} without a {what}: training only")
        if near is not None:
            columns.append(rows["id"].map(near))
        self.group = together(columns, len(rows))
        self.stays = np.isin(self.group, self.group[self.stays])


def _all_or_train(rows: Any, rule: SplitRule) -> Iterator[tuple[str, Any]]:
    """Columns whose missing values could be any: such a photo would test nothing new for sure."""
    if rule.hold_out:
        yield rule.hold_out, column_of(rows, rule.hold_out, "--hold-out")
    if rule.place:
        yield "place", place_cells(rows, rule.place, rule.cell_km)


def shared_out(labelled: Any, label: str, members: Members, rule: SplitRule) -> Sides:
    """At random: each class by the shares, as far as groups allow."""
    shares = {"train": 1 - rule.test - rule.val, "test": rule.test, "val": rule.val}
    used = [side for side, share in shares.items() if share > 0]
    free = ~members.stays
    side = np.full(len(labelled), "train", dtype="U5")
    if free.any():
        y, group = labelled[label][free], members.group[free]
        side[free] = np.array(used)[assign(y, group, [shares[s] for s in used], rule.seed)]
    return Sides(side, _of_one_group(labelled[label], members.group))


def held_out(labelled: Any, label: str, members: Members, rule: SplitRule) -> Sides:
    """Whole groups of each class: first those of the test, then of those left those of val."""
    side = np.full(len(labelled), "train", dtype="U5")
    left = ~members.stays
    for name, share in (("test", rule.test), ("val", rule.val / (1 - rule.test))):
        if share > 0 and left.any():
            y, group = labelled[label][left], members.group[left]
            rows = np.flatnonzero(left)[held_groups(y, group, share, rule.seed)]
            side[rows] = name
            left[rows] = False
    known = ~members.stays
    tested = set(labelled[label][side == "test"])
    single = _of_one_group(labelled[label][known], members.group[known])
    without = set(labelled[label]) - set(labelled[label][known])
    return Sides(side, sorted({*single, *without} - tested))


def by_date(labelled: Any, label: str, members: Members, rule: SplitRule) -> Sides:
    """The newest photos test, those before them validate, the older train."""
    assert rule.after
    dates, notes = read_dates(column_of(labelled, rule.after, "--after"), rule.after)
    if undated := int(np.isnat(dates).sum()):
        notes.append(f"{counted(undated, 'photo')} without a {rule.after}: training only")
    dates[members.stays] = np.datetime64("NaT")
    start = one_date(rule.since, "--since") if rule.since else newest(dates, rule.test)
    cuts = [] if start is None else [start]
    if cuts and rule.val:
        before = newest(dates[dates < cuts[0]], rule.val / (1 - rule.test))
        cuts = [*([before] if before is not None else []), *cuts]
    if not cuts or not (dates >= cuts[-1]).any() or not (~(dates >= cuts[0])).any():
        raise UserError(_no_cut(dates, rule))
    names = ["train", *["val"] * (len(cuts) - 1), "test", ""]  # the last is -1
    nth, out = older_and_newer(labelled[label], members.group, dates, cuts)
    if dropped := int((nth < 0).sum()):
        notes.append(
            f"{counted(dropped, 'photo')} on no side: newer ones of a group that has older photos "
            "in training, or of a class without older photos to learn from"
        )
    return Sides(np.array(names)[nth], out, notes, shown(cuts[-1]))


def cut_training(labels: Any, members: Members, sides: Sides, n: int, seed: int) -> None:
    """Leave all but `n` training photos of each class on no side."""
    train = np.flatnonzero(sides.side == "train")
    kept = per_class_subset(labels.iloc[train], members.group[train], n, seed)
    sides.side[train[~kept]] = ""
    sides.notes.append(
        f"{counted(int((~kept).sum()), 'photo')} on no side: {n} of each class train"
    )


def _no_cut(dates: Any, rule: SplitRule) -> str:
    known = dates[~np.isnat(dates)]
    if not len(known):
        return f"No photo has a date in '{rule.after}'. Dates are like 2020-06-01 or 2020."
    return (
        f"--after {rule.after} needs photos on both sides of a date; theirs are from "
        f"{shown(known.min())} to {shown(known.max())}. "
        + ("Choose a --since in between." if rule.since else "Choose another column.")
    )


def _of_one_group(labels: Any, group: Ints) -> list[str]:
    groups = pd.Series(group, index=labels.index).groupby(labels).nunique()
    return sorted(groups.index[groups == 1])
