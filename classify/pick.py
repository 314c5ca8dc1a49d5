"""`cli pick`: which photos to label next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.dataset import Dataset
from classify.inspect_collection import whole_collection
from classify.near_groups import near_groups
from classify.runs import named_run
from classify.unsure import margin_uncertainty, probabilities_of
from embed.columns import DEFAULT_LABEL, ID_COLUMNS, OWN_COLUMNS
from embed.errors import UserError
from embed.files import write_json, write_rows
from embed.words import counted
from embed.workspace import Workspace
from retrieval.coverage import Chosen, cover, nearest_cosine, spread
from retrieval.sections import Item, Row, Section, Shown, facts, write_sections

FORMAT = "familia-pick-1"
BY = ("coverage", "spread", "uncertainty", "both")
PHOTOS = 200  # on the page
SHOWN = 8  # in the terminal
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Picked:
    """Photos to label next, the most useful first.

    photos : the whole collection; rows : (n,) those picked; scores : (n,) what each brings:
        coverage and both the rise of the mean (weighted) cosine to the nearest labelled photo,
        spread the distance to it, uncertainty 1 - the margin of the run
    label : the column to fill in
    candidates, copies : photos to choose from, and those that were left out as copies of one that
        is labelled or among the candidates
    before, after : mean cosine of the candidates with the nearest labelled photo, without and with
        the picks
    """

    folder: Path
    photos: Dataset
    label: str
    by: str
    run: str | None
    rows: I64
    scores: Any
    candidates: int
    labelled: int
    copies: int
    before: float
    after: float
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        """One screen: from how many, what they bring, the first of them."""
        return [f"{name:<10} {line}" for name, line in self.parts()] + [
            f"  {score:.4f}  {self.photos.rows['file_path'].iloc[row]}"
            for row, score in zip(self.rows[:SHOWN].tolist(), self.scores, strict=False)
        ]

    def parts(self) -> Iterator[tuple[str, str]]:
        """The same without the examples, as (name, line)."""
        copies = f", {counted(self.copies, 'copy', 'copies')} left out" if self.copies else ""
        known = f"{self.labelled:,} labelled" if self.labelled else "no label counts as known"
        yield "from", f"{counted(self.candidates, 'photo')}{copies}; {known}"
        run = f" of {self.run}" if self.run else ""
        yield "picked", f"{counted(len(self.rows), 'photo')} by {self.by}{run}"
        yield (
            "covered",
            f"mean cosine to the nearest labelled photo {self.before:.3f}, "
            f"with the picks {self.after:.3f}",
        )
        yield "next", f"fill in the column {self.label} of pick.csv or table.csv in {self.folder}"
        for note in self.notes:
            yield "note", note

    def to_json(self) -> dict[str, Any]:
        """All counts and the ids in their order."""
        ids = self.photos.ids
        return {
            "format": FORMAT,
            "by": self.by,
            "run": self.run,
            "label": self.label,
            "encoders": [spec.name for spec in self.photos.specs],
            "candidates": self.candidates,
            "labelled": self.labelled,
            "copies_left_out": self.copies,
            "covered_before": round(self.before, 6),
            "covered_after": round(self.after, 6),
            "picks": [
                {"id": ids[row], "score": round(float(score), 6)}
                for row, score in zip(self.rows.tolist(), self.scores, strict=True)
            ],
            "notes": list(self.notes),
        }

    def write(self) -> None:
        """pick.csv to fill in, table.csv (all photos, the picks on top), pick.html, pick.json."""
        table = self.photos.rows
        picks = (
            {"id": table["id"].iloc[row], "file_path": table["file_path"].iloc[row],
             self.label: "", "pick": place, "pick_score": f"{score:.6f}"}
            for place, (row, score) in enumerate(
                zip(self.rows.tolist(), self.scores, strict=True), start=1)
        )  # fmt: skip
        write_rows(
            self.folder / "pick.csv", ["id", "file_path", self.label, "pick", "pick_score"], picks
        )
        self._write_table()
        write_sections(
            self.folder / "pick.html",
            f"{counted(len(self.rows), 'photo')} to label next",
            "The most useful first. Their names go into pick.csv.",
            self._sections(),
        )
        write_json(self.folder / "pick.json", self.to_json())

    def _write_table(self) -> None:
        """The whole table as `embed --table` takes it."""
        rows = self.photos.rows
        same_id = any(c in rows and (rows[c] == rows["id"]).all() for c in ID_COLUMNS if c != "id")
        columns = [c for c in rows.columns if c not in OWN_COLUMNS and c != self.label]
        header = [*([] if same_id else ["id"]), "file_path", self.label, *columns]
        others = np.setdiff1d(np.arange(len(rows)), self.rows)
        ordered = rows.iloc[np.concatenate([self.rows, others])].astype(object)
        records = ordered.where(ordered.notna(), "").to_dict("records")
        write_rows(self.folder / "table.csv", header, ({self.label: "", **r} for r in records))

    def _sections(self) -> Iterator[Section]:
        yield Section(
            "overview", "Overview", body=facts((name, [line]) for name, line in self.parts())
        )
        shown = []
        for place, (row, score) in enumerate(zip(self.rows.tolist(), self.scores, strict=True), 1):
            photo = self.photos.rows.iloc[row]
            shown.append(Shown(photo["path"], photo["file_path"], (f"{place}. {score:.4f}",)))
        more = len(shown) - PHOTOS
        intro = [f"The first {PHOTOS} of {len(shown):,}; all are in pick.csv."] if more > 0 else []
        items = [Item("", [], [Row("", shown[:PHOTOS])])]
        yield Section("picks", "The picks", intro, items)


def pick(
    workspace: Workspace,
    n: int,
    by: str = "coverage",
    run: str | None = None,
    encoders: Sequence[str] | None = None,
    everything: bool = False,
    seed: int = 0,
    split_name: str = "default",
) -> Picked:
    """Choose n photos to label next; write `pick/` in the workspace.

    by : "coverage" (photos that stand for many that no labelled photo is like), "spread" (each as
        far as possible from what is known), "uncertainty" (of a run, by default the best) or
        "both" (coverage, where photos count as much as the run is unsure of them)
    everything : choose among labelled photos too, as if none were; their labels can then be
        checked. Photos of the test side are never picked, nor do their labels count as known.

    Of copies one is picked, and none of a photo that is labelled or of the test side. Raises
    `UserError` where there is nothing to choose from, no run, or n is below 1.
    """
    if by not in BY:
        raise ValueError(f"expected one of {BY}, got {by!r}")
    if n < 1:
        raise UserError(f"N is how many photos to pick, 1 or more. Got {n}.")
    if run is not None and by in ("coverage", "spread"):
        raise UserError(f"--run is for --by uncertainty or both; {by} asks no run.")
    photos, _ = whole_collection(workspace, encoders, split_name)
    learnt = (photos.y != "") & (photos.side != "test")
    free = (photos.side != "test") if everything else photos.y == ""
    if not free.any():
        raise UserError(
            "Every photo has a label already. Embed photos without one, or add --all to choose "
            "among labelled photos too (to have them checked)."
        )
    known = learnt & (not everything)
    rows = _one_of_each(workspace, photos, free, known | (photos.side == "test"), encoders)
    if not len(rows):
        raise UserError(
            "Every photo without a label is a copy of one that has one: see `cli duplicates`."
        )
    X, base = photos.X[rows], photos.X[known]
    asked = named_run(workspace, run) if by in ("uncertainty", "both") else None
    unsure = None
    if asked is not None:
        table = photos.rows.iloc[rows].reset_index(drop=True)
        unsure = margin_uncertainty(probabilities_of(workspace, asked, table))
    chosen = _choose(X, n, by, base, unsure, seed)
    notes = []
    if len(chosen.rows) < n:
        notes.append(f"there are only {counted(len(chosen.rows), 'photo')} to pick")
    picked = Picked(
        folder=workspace.folder / "pick",
        photos=photos,
        label=photos.label or DEFAULT_LABEL,
        by=by,
        run=None if asked is None else asked.name,
        rows=rows[chosen.rows],
        scores=chosen.gains,
        candidates=len(rows),
        labelled=int(known.sum()),
        copies=int(free.sum()) - len(rows),
        before=float(nearest_cosine(X, base).mean()),
        after=float(nearest_cosine(X, np.concatenate([base, X[chosen.rows]])).mean()),
        notes=notes,
    )
    picked.write()
    return picked


def _choose(X: Any, n: int, by: str, base: Any, unsure: Any, seed: int) -> Chosen:
    if by == "spread":
        return spread(X, n, base)
    if by == "uncertainty":
        order = np.argsort(-unsure, kind="stable")[:n]
        return Chosen(order, unsure[order])
    return cover(X, n, base, unsure, seed)


def _one_of_each(
    workspace: Workspace,
    photos: Dataset,
    free: NDArray[np.bool_],
    known: NDArray[np.bool_],
    encoders: Sequence[str] | None,
) -> I64:
    """The rows that are free and no copy of a known one nor of one before, in order."""
    group = near_groups(workspace, photos.rows, encoders)
    ids, keys = photos.ids, photos.rows["key"].tolist()
    seen = {group.get(ids[row], keys[row]) for row in np.flatnonzero(known).tolist()}
    kept = []
    for row in np.flatnonzero(free).tolist():
        name = group.get(ids[row], keys[row])
        if name not in seen:
            seen.add(name)
            kept.append(row)
    return np.asarray(kept, dtype=np.int64)
