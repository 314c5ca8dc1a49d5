"""`cli outliers`: photos unlike everything else, and photos unlike their class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classify.class_outliers import LEAST, ClassOutliers, class_outliers
from classify.dataset import Dataset
from classify.inspect_collection import whole_collection
from embed.errors import UserError
from embed.files import write_json, write_rows
from embed.words import counted
from embed.workspace import Workspace
from retrieval.outliers import Isolation, K, isolation, percentile
from retrieval.sections import Item, Row, Section, Shown, facts, write_sections

FORMAT = "familia-outliers-1"
BY = ("distance", "lof")
SHOWN = 5  # of each list, in the terminal
PHOTOS, NEAREST = 40, 4  # of each list, on the page: 2 · 40 · 5 pictures
HEADER = [
    "rank", "id", "file_path", "side", "label", "percentile", "times_median", "distance", "lof",
    "lof_percentile", "nearest", "nearest_cosine", "class_percentile", "class_times_median",
    "class_lof",
]  # fmt: skip


@dataclass(frozen=True)
class Outliers:
    """All photos, those most unlike the others first.

    order : (n,) rows of `photos`
    within : None where there is no label
    """

    folder: Path
    photos: Dataset
    by: str
    apart: Isolation
    order: Any
    within: ClassOutliers | None
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        """One screen: the photos most unlike all others, then those most unlike their class."""
        return [
            f"{name if i == 0 else '':<8} {line}"
            for name, lines in self.parts()
            for i, line in enumerate(lines)
        ]

    def parts(self) -> Iterator[tuple[str, list[str]]]:
        """The same as (name, lines); those that begin with a blank are examples."""
        by = " and ".join(spec.name for spec in self.photos.specs)
        compared = f"{len(self.photos):,} compared by {by}, {self.apart.k} neighbours of each"
        yield "photos", [compared]
        yield "apart", [self._says(), *(self._line(row) for row in self.order[:SHOWN])]
        if self.within is not None:
            lines = [
                f"{len(self.within.table):,} compared with their {self.photos.label} alone, in the "
                "same way",
            ]
            for one in self.within.table.head(SHOWN).itertuples():
                name = self.photos.rows["file_path"].iloc[one.row]
                lines.append(
                    f"  {self._score(one.times, one.lof)}  {self.photos.y[one.row]}  {name}"
                )
            yield "class", lines
        yield "note", [*self._left_out(), *self.notes]

    def _says(self) -> str:
        if self.by == "lof":
            return (
                "by local outlier factor: about 1 among equals, above where neighbours are denser"
            )
        return "by the distance to the last neighbour, as a multiple of the median photo's"

    def _line(self, row: int) -> str:
        score = self._score(self.apart.times[row], self.apart.lof[row])
        return f"  {score}  {self.photos.rows['file_path'].iloc[row]}"

    def _score(self, times: float, lof: float) -> str:
        return f"factor {lof:.2f}" if self.by == "lof" else f"{times:.2f}×"

    def _left_out(self) -> Iterator[str]:
        tested = int((self.photos.side == "test").sum())
        if self.within is not None and tested:
            yield (
                f"{counted(tested, 'test photo')} not compared with their {self.photos.label}: "
                "`evaluate` alone reads those labels"
            )
        if self.within is not None and self.within.unjudged:
            yield (
                f"{counted(self.within.unjudged, 'photo')} of classes with fewer than {LEAST} "
                "different photos not compared with their class"
            )

    def rows(self) -> Iterator[dict[str, Any]]:
        """One record a photo with the columns of `HEADER`, the most unlike first."""
        far, dense = percentile(self.apart.distance), percentile(self.apart.lof)
        within = {} if self.within is None else self.within.table.set_index("row").to_dict("index")
        for rank, row in enumerate(self.order.tolist(), start=1):
            photo, near = self.photos.rows.iloc[row], self.apart.near[row]
            record = {
                "rank": rank,
                "id": photo["id"],
                "file_path": photo["file_path"],
                "side": self.photos.side[row],
                "label": "" if self.photos.side[row] == "test" else self.photos.y[row],
                "percentile": f"{far[row]:.2f}",
                "times_median": f"{self.apart.times[row]:.4f}",
                "distance": f"{self.apart.distance[row]:.5f}",
                "lof": f"{self.apart.lof[row]:.4f}",
                "lof_percentile": f"{dense[row]:.2f}",
            }
            if len(near):
                record["nearest"] = self.photos.rows["id"].iloc[near[0]]
                record["nearest_cosine"] = f"{self.apart.cosine[row, 0]:.4f}"
            if row in within:
                record["class_percentile"] = f"{within[row]['percentile']:.2f}"
                record["class_lof"] = f"{within[row]['lof']:.4f}"
                record["class_times_median"] = f"{within[row]['times']:.4f}"
            yield record

    def to_json(self) -> dict[str, Any]:
        """Counts, and the beginning of both lists; outliers.csv has all."""
        ids = self.photos.ids
        within = self.within
        return {
            "format": FORMAT,
            "photos": len(self.photos),
            "encoders": [spec.name for spec in self.photos.specs],
            "k": self.apart.k,
            "by": self.by,
            "first": [
                {
                    "id": ids[row],
                    "file_path": self.photos.rows["file_path"].iloc[row],
                    "times_median": round(float(self.apart.times[row]), 4),
                    "lof": round(float(self.apart.lof[row]), 4),
                }
                for row in self.order[:PHOTOS].tolist()
            ],
            "within_class": None
            if within is None
            else {
                "compared": len(within.table),
                "unjudged": within.unjudged,
                "first": [
                    {
                        "id": ids[one.row],
                        "file_path": self.photos.rows["file_path"].iloc[one.row],
                        "label": str(self.photos.y[one.row]),
                        "times_median": round(float(one.times), 4),
                        "lof": round(float(one.lof), 4),
                    }
                    for one in within.table.head(PHOTOS).itertuples()
                ],
            },
            "notes": [*self._left_out(), *self.notes],
        }

    def write(self) -> None:
        """outliers.csv, outliers.html and outliers.json, into the folder."""
        write_rows(self.folder / "outliers.csv", HEADER, self.rows())
        write_sections(
            self.folder / "outliers.html",
            f"The odd ones among {counted(len(self.photos), 'photo')}",
            "An odd photo is no error: it may show a larva, a drawing, a tag or nothing at all.",
            self._sections(),
        )
        write_json(self.folder / "outliers.json", self.to_json())

    def _sections(self) -> Iterator[Section]:
        yield Section("overview", "Overview", body=facts(self.parts()))
        items = [
            Item(
                f"{place}. {self._score(self.apart.times[row], self.apart.lof[row])}",
                [self._photo(row)],
                [Row("Nearest of all", self._near(self.apart.near[row], self.apart.cosine[row]))],
            )
            for place, row in enumerate(self.order[:PHOTOS].tolist(), start=1)
        ]
        yield Section("apart", "Unlike everything else", [self._says().capitalize() + "."], items)
        if self.within is None:
            return
        items = [
            Item(
                f"{place}. {self._score(one.times, one.lof)} in {self.photos.y[one.row]}",
                [self._photo(one.row)],
                [Row(f"Nearest of {self.photos.y[one.row]}", self._near(one.near, one.cosine))],
            )
            for place, one in enumerate(self.within.table.head(PHOTOS).itertuples(), start=1)
        ]
        intro = [
            "Compared with the photos of the same class alone, in the same way. Labels to doubt "
            "are found better by `cli inspect`, which also asks what else a photo looks like."
        ]
        yield Section("class", f"Unlike their {self.photos.label}", intro, items)

    def _photo(self, row: int, *lines: str) -> Shown:
        photo = self.photos.rows.iloc[row]
        label = "" if self.photos.side[row] == "test" else str(self.photos.y[row])
        return Shown(photo["path"], photo["file_path"], tuple(filter(None, (*lines, label))))

    def _near(self, rows: Any, cosines: Any) -> list[Shown]:
        pairs = list(zip(rows, cosines, strict=True))[:NEAREST]
        return [self._photo(int(row), f"cosine {cosine:.3f}") for row, cosine in pairs]


def find_outliers(
    workspace: Workspace,
    encoders: Sequence[str] | None = None,
    k: int = K,
    by: str = "distance",
    split_name: str = "default",
) -> Outliers:
    """Rank all photos by how unlike the others they are; write `outliers/` in the workspace.

    by : "distance" to the k-th nearest, or "lof" (see `retrieval.outliers`). Labels of test photos
    are not read. Raises `UserError` where there are no photos or vectors, and for a k below 1.
    """
    if by not in BY:
        raise ValueError(f"expected one of {BY}, got {by!r}")
    if k < 1:
        raise UserError(f"--k is how many neighbours are looked at, 1 or more. Got {k}.")
    photos, _ = whole_collection(workspace, encoders, split_name)
    apart = isolation(photos.X, photos.rows["key"].tolist(), k)
    score = apart.distance if by == "distance" else apart.lof
    found = Outliers(
        folder=workspace.folder / "outliers",
        photos=photos,
        by=by,
        apart=apart,
        order=np.lexsort((np.array(photos.ids), -score)),
        within=class_outliers(photos, k, by) if photos.label else None,
    )
    found.write()
    return found
