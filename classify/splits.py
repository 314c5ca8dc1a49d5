"""Which photos train, which validate, which test: made by a rule or read from a table."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from classify.given_split import given_sides
from classify.sides import Members, by_date, cut_training, held_out, shared_out
from classify.split_report import SIDES, SplitReport
from classify.split_rule import SplitRule
from classify.stratify import Ints, assign, make_folds
from embed.collection import load_collection
from embed.errors import UserError, did_you_mean
from embed.files import read_json, write_json, write_rows
from embed.workspace import Workspace

__all__ = [
    "Split", "SplitReport", "SplitRule", "assign", "describe", "make_folds", "make_split",
    "new_split", "split_from_csv",
]  # fmt: skip


@dataclass(frozen=True)
class Split:
    """The side of every row of a collection that has one.

    table : columns `id` (str), `split` ('train', 'val' or 'test') and `group` (int)
    label : the column it was stratified by
    by : what its groups have in common beside the photo itself, in words (may be None)
    fractions : the share of each side that was asked for (that was found, for a given split)
    notes : what the user should know, a sentence each
    question : what a figure on its test photos answers
    not_testable : classes that no split by this rule can both train and test
    rule : the fields of `SplitRule` that made it
    """

    table: Any
    label: str
    by: str | None
    seed: int | None
    fractions: dict[str, float]
    notes: tuple[str, ...] = ()
    question: str = ""
    not_testable: tuple[str, ...] = ()
    rule: dict[str, Any] = field(default_factory=dict)

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
            lists = {k: tuple(value) for k, value in facts.items() if isinstance(value, list)}
            return cls(table, **{**facts, **lists})
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
    *,
    hold_out: str | None = None,
    after: str | None = None,
    since: str | None = None,
    place: str | None = None,
    cell: float | None = None,
    near_duplicates: bool = False,
    per_class: int | None = None,
) -> tuple[Split, Any]:
    """`cli split`: make a split of the workspace's collection, or read the `given` one; save it.

    The arguments are those of `SplitRule`. Returns the split and the rows of the collection.
    """
    collection = load_collection(workspace.collection)
    rows, label = collection.rows, collection.label
    if label is None:
        raise UserError(
            "The collection has no label column to split by. Its columns: "
            f"{', '.join(rows.columns)}. Run `cli embed PHOTOS --label COLUMN`."
        )
    rule = SplitRule(
        test, val, by, seed, hold_out, after, since, place, cell, near_duplicates, per_class
    )
    rule.check()
    if given:
        rule.check_alone()
        split = split_from_csv(given, rows, label)
    else:
        split = make_split(rows, label, rule, _near(workspace, rows) if near_duplicates else None)
    split.save(workspace.split(name))
    return split, rows


def _near(workspace: Workspace, rows: Any) -> Mapping[str, str]:
    from classify.near_groups import near_groups

    return near_groups(workspace, rows)


def make_split(
    rows: Any, label: str, rule: SplitRule | None = None, near: Mapping[str, str] | None = None
) -> Split:
    """Split a collection by the `rule`: stratified by `label`, no group on two sides.

    rows : collection with `id`, `key`, the label column and those that the rule names; rows
        without a label get no side
    near : id -> its group of near-duplicates, for ids that are in one
    The order of the rows does not matter. Raises `UserError` where no such split exists.
    """
    rule = rule or SplitRule()
    rule.check()
    labelled = _labelled(rows, label)
    members = Members(labelled, rule, near)
    made = by_date if rule.after else held_out if rule.hold_out else shared_out
    sides = made(labelled, label, members, rule)
    if rule.test > 0 and "test" not in sides.side:
        raise UserError(
            f"No photo is left for the test side: {len(labelled)} labelled photos in "
            f"{members.group.max() + 1} groups, and train needs every class. "
            f"Use a larger --test, or {rule.remedy}, or `cli split --test 0` to go without a test."
        )
    if rule.per_class:
        cut_training(labelled[label], members, sides, rule.per_class, rule.seed)
    placed = sides.side != ""
    table = _table(labelled[placed], sides.side[placed], members.group[placed])
    wished = {"train": 1 - rule.test - rule.val, "val": rule.val, "test": rule.test}
    fractions = _shares(table["split"]) if rule.since or rule.per_class else wished
    return Split(
        table=table,
        label=label,
        by=rule.groups,
        seed=rule.seed,
        fractions={name: round(share, 9) for name, share in fractions.items()},
        notes=(*members.notes, *sides.notes),
        question=rule.question(label, sides.since) if rule.test > 0 else "",
        not_testable=tuple(sides.not_testable),
        rule=asdict(rule),
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


def _table(labelled: Any, side: Any, group: Ints) -> Any:
    table = pd.DataFrame({"id": labelled["id"], "split": side, "group": group})
    return table.sort_index(ignore_index=True).astype({"id": str, "split": str})


def _shares(side: Any) -> dict[str, float]:
    found = side.value_counts(normalize=True)
    return {name: round(float(found.get(name, 0)), 9) for name in SIDES}


def split_from_csv(path: Path, rows: Any, label: str) -> Split:
    """A split that someone else made: a table with `split` and `id` (or `file_path`).

    `split` holds train, val or test (or validation, dev, training…, in any case). Rows that the
    file does not name, and those without a label, get no side. A file that contradicts itself,
    fits none of `rows` or has nobody to train or test is a `UserError`.
    """
    labelled = _labelled(rows, label)
    side, notes = given_sides(path, labelled, rows)
    named = labelled.loc[side.index]
    group = Members(named, SplitRule(), None).group
    return Split(
        _table(named, side, group), label, None, None, _shares(side), tuple(notes),
        question=f"what {path.name} was made to ask: it was taken as it is",
        rule={"from": path.name},
    )  # fmt: skip


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
        question=split.question,
        not_testable=split.not_testable,
        dated=bool(split.rule.get("after")),
    )
