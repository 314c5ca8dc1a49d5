"""What `inspect` found: in lines for the terminal, as JSON, as tables to edit."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from classify.census import Census
from classify.dataset import Dataset
from classify.decisions import DECISION, NEW_LABEL, SUGGESTED
from classify.doubts import Doubts
from classify.file_summary import FileSummary
from classify.inconsistencies import Inconsistency
from embed.files import write_json, write_rows
from embed.words import counted

FORMAT = "familia-inspection-1"
SHOWN = 5  # of each list, in the terminal
DIGITS = 4  # of scores and cosines in the tables

_EDIT = [DECISION, NEW_LABEL]
_PAIR = [
    "a", "b", "kind", "cosine", "hamming", "mirrored", "expected", "across_classes",
    "across_split", "label_a", "label_b", "side_a", "side_b", "file_a", "file_b",
]  # fmt: skip
_YES = ("mirrored", "across_classes", "across_split")


@dataclass(frozen=True)
class Inspection:
    """The parts of an inspection.

    photos : all of the collection; `y` is empty where there is no label, `side` where there is no
        split
    pairs : near-duplicates (see `retrieval.near_duplicates`) with the columns of `_PAIR`
    doubts : None where there is no label; its rows are those of `doubts.photos`
    empty : see `classify.no_organism`; None where no encoder knows words
    left_out : what `embed` left out: file_path, id, reason
    """

    folder: Path
    photos: Dataset
    census: Census | None
    files: FileSummary
    facts: Any  # DataFrame, row for row
    pairs: Any
    doubts: Doubts | None
    empty: Any
    left_out: Sequence[dict[str, str]]
    inconsistencies: Sequence[Inconsistency]
    notes: Sequence[str]

    @property
    def tested(self) -> int:
        """Test photos, whose labels were not judged."""
        return int((self.photos.side == "test").sum())

    @property
    def unlabelled(self) -> Any:
        """Rows without a label; none where nobody has one."""
        return np.flatnonzero(self.photos.y == "") if self.photos.label else np.array([], int)

    def lines(self) -> list[str]:
        """One screen: what there is, then what to look at."""
        return [
            f"{name if i == 0 else '':<9}{line}"
            for name, lines in self.parts()
            for i, line in enumerate(lines)
        ]

    def parts(self) -> list[tuple[str, list[str]]]:
        """The same as (name, lines); those that begin with a blank are examples."""
        parts: dict[str, Iterable[str]] = {
            "photos": self._photos(),
            "classes": self.census.lines() if self.census else ["no label column"],
            "files": self.files.lines(),
            "copies": self._copies(),
            "labels": self._labels(),
            "empty": self._empty(),
            "table": self._table(),
            "left out": self._left_out(),
            "note": self.notes,
        }
        return [(name, list(lines)) for name, lines in parts.items()]

    def _photos(self) -> Iterator[str]:
        sides = [(s, int((self.photos.side == s).sum())) for s in ("train", "val", "test")]
        split = ", ".join(f"{name} {n:,}" for name, n in sides if n)
        yield f"{len(self.photos):,}" + (f" ({split})" if split else ", no split yet")

    def _copies(self) -> Iterator[str]:
        kinds = self.pairs["kind"].value_counts()
        sure = int(kinds.get("exact", 0) + kinds.get("near", 0))
        yield (
            f"{counted(sure, 'pair')} of copies ({int(kinds.get('exact', 0)):,} of them exact), "
            f"and {int(kinds.get('maybe', 0)):,} that may be"
        )
        across = {
            "across the split": int(self.pairs["across_split"].sum()),
            "under two labels": int(self.pairs["across_classes"].sum()),
        }
        if any(across.values()):
            yield ", ".join(f"{n:,} {what}" for what, n in across.items() if n)

    def _labels(self) -> Iterator[str]:
        if self.doubts is None:
            return
        judged, doubted = len(self.doubts.table), self.doubts.doubted
        yield (
            f"{len(doubted):,} of {judged:,} judged look more like another class; "
            f"roughly {self.doubts.wrong:,} may be wrong, hard photos among them"
        )
        if self.tested:
            yield f"{counted(self.tested, 'test photo')} not judged: `evaluate` alone reads them"
        if self.doubts.unjudged:
            yield (
                f"{counted(self.doubts.unjudged, 'photo')} cannot be judged: no other photo of "
                "the class but copies"
            )
        names = self.doubts.photos.rows["file_path"]
        for doubt in doubted.head(SHOWN).itertuples():
            file_path = names.iloc[doubt.row]
            yield f"  {score_words(doubt.score)}  {doubt.label} -> {doubt.suggested}  {file_path}"

    def _empty(self) -> Iterator[str]:
        if self.empty is None or not len(self.empty):
            return
        yield f"{counted(len(self.empty), 'photo')} may show no organism"

    def _table(self) -> Iterator[str]:
        if not self.inconsistencies:
            return
        yield f"{counted(len(self.inconsistencies), 'contradiction')} in the names of taxa"
        for one in self.inconsistencies[:3]:
            yield f"  {one.what}"

    def _left_out(self) -> Iterator[str]:
        if len(self.left_out):
            yield f"{counted(len(self.left_out), 'photo or row', 'photos or rows')} by `cli embed`"
        if len(self.unlabelled):
            yield f"{counted(len(self.unlabelled), 'photo')} without a {self.photos.label}"

    def to_json(self) -> dict[str, Any]:
        """All counts and, of lists, the beginning that the terminal shows; the tables have all."""
        kinds = {str(k): int(n) for k, n in self.pairs["kind"].value_counts().items()}
        doubts = self.doubts
        return {
            "format": FORMAT,
            "photos": len(self.photos),
            "label": self.photos.label or None,
            "encoders": [spec.name for spec in self.photos.specs],
            "sides": {s: int((self.photos.side == s).sum()) for s in ("train", "val", "test")},
            "census": self.census.to_json() if self.census else None,
            "files": self.files.to_json(),
            "near_duplicates": {
                **{kind: kinds.get(kind, 0) for kind in ("exact", "near", "maybe")},
                "across_classes": int(self.pairs["across_classes"].sum()),
                "across_split": int(self.pairs["across_split"].sum()),
                "rule": self.pairs.attrs.get("rule"),
            },
            "doubts": None
            if doubts is None
            else {
                "judged": len(doubts.table),
                "doubted": len(doubts.doubted),
                "roughly_wrong": doubts.wrong,
                "unjudged": doubts.unjudged,
                "test_photos_left_out": self.tested,
                "first": [
                    {k: row[k] for k in ("id", "file_path", "label", SUGGESTED, "score")}
                    for row in doubt_rows(doubts, SHOWN)
                ],
            },
            "no_organism": None if self.empty is None else len(self.empty),
            "left_out": len(self.left_out),
            "unlabelled": len(self.unlabelled),
            "inconsistencies": [one.row() for one in self.inconsistencies],
            "notes": list(self.notes),
        }

    def write(self) -> None:
        """The tables and inspect.json, into the folder."""
        if self.doubts is not None:
            witnesses = [f"{of}_{n}{c}" for of in ("given", SUGGESTED) for n in (1, 2, 3)
                         for c in ("", "_cosine")]  # fmt: skip
            header = ["id", "file_path", "side", "label", SUGGESTED, "score", *_EDIT]
            header += ["confident", "p_label", "p_suggested", *witnesses]
            write_rows(self.folder / "doubts.csv", header, doubt_rows(self.doubts))
        write_rows(self.folder / "near_duplicates.csv", _PAIR, pair_rows(self.pairs))
        header = ["problem", "detail", "id", "file_path", "side", "label", SUGGESTED, *_EDIT]
        write_rows(self.folder / "problems.csv", header, self.problem_rows())
        write_json(self.folder / "inspect.json", self.to_json())  # last: the rest is there

    def problem_rows(self) -> Iterator[dict[str, Any]]:
        """A row for each photo with something else than its label to look at."""
        for row in self.left_out:
            yield {"problem": "left out by embed", "detail": row["reason"], **row}
        for i in self.unlabelled:
            yield self._problem("no label", "", i)
        for i in self.files.unreadable:
            yield self._problem("cannot be read now", self.facts["problem"].iloc[i], i)
        for i in self.files.blank:
            yield self._problem("nearly one tone", "", i)
        for found in () if self.empty is None else self.empty.itertuples():
            detail = f"looks like {found.looks_like} ({found.score:.2f})"
            yield self._problem("no organism", detail, found.row)

    def _problem(self, problem: str, detail: str, row: int) -> dict[str, Any]:
        photo = self.photos.rows.iloc[row]
        side = str(self.photos.side[row])
        return {
            "problem": problem,
            "detail": detail,
            "id": photo["id"],
            "file_path": photo["file_path"],
            "side": side,
            "label": "" if side == "test" else str(self.photos.y[row]),
        }


def score_words(score: float) -> str:
    """A score is never quite 1."""
    return f"{score:.3f}" if score < 0.9995 else ">.999"


def pair_rows(pairs: Any) -> Iterator[dict[str, Any]]:
    """The pairs as rows of near_duplicates.csv."""
    for pair in pairs.to_dict("records"):
        words = {name: "yes" if pair[name] else "no" for name in _PAIR if name in _YES}
        numbers = {"cosine": round(pair["cosine"], DIGITS), "expected": f"{pair['expected']:.2g}"}
        bits = "" if pd.isna(pair["hamming"]) else pair["hamming"]
        yield {**pair, **words, **numbers, "hamming": bits}


def doubt_rows(doubts: Doubts, most: int | None = None) -> Iterator[dict[str, Any]]:
    """The doubted photos as rows of doubts.csv, each with its witnesses."""
    photos, doubted = doubts.photos, doubts.doubted
    for doubt in doubted.head(len(doubted) if most is None else most).to_dict("records"):
        row = doubt["row"]
        found = {
            "id": doubt["id"],
            "file_path": photos.rows["file_path"].iloc[row],
            "side": str(photos.side[row]),
            "label": str(doubt["label"]),
            SUGGESTED: str(doubt["suggested"]),
            "confident": "yes" if doubt["confident"] else "no",
            **{name: round(doubt[name], DIGITS) for name in ("score", "p_label", "p_suggested")},
        }
        for of, label in (("given", doubt["label"]), (SUGGESTED, doubt["suggested"])):
            for n, witness in enumerate(doubts.witnesses(row, label), start=1):
                found[f"{of}_{n}"] = photos.rows["id"].iloc[witness.row]
                found[f"{of}_{n}_cosine"] = round(witness.cosine, DIGITS)
        yield found
