"""`cli cluster`: groups of photos that look alike, and how far they are the classes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classify.cluster_agreement import Agreement, agreement
from classify.dataset import Dataset
from classify.inspect_collection import whole_collection
from embed.errors import UserError
from embed.files import write_json, write_rows
from embed.words import counted
from embed.workspace import Workspace
from retrieval.clusters import METHODS, MIN_SIZE, Clustering, central_rows, cluster_rows
from retrieval.sections import Item, Row, Section, Shown, facts, table, write_sections

FORMAT = "familia-clusters-1"
SHOWN = 8  # clusters, in the terminal
CLUSTERS, CENTRAL = 100, 6  # on the page: 100 · 6 pictures
_NAMES = {
    "adjusted_rand": "adjusted Rand",
    "adjusted_mutual_information": "adjusted mutual information",
    "v_measure": "V-measure",
    "homogeneity": "homogeneity",
    "completeness": "completeness",
    "purity": "purity",
}


@dataclass(frozen=True)
class Clusters:
    """Clusters of the collection.

    photos : all of it; labels : (n,) empty where there is none and of test photos
    """

    folder: Path
    photos: Dataset
    found: Clustering
    labels: Any
    agreement: Agreement | None
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        """One screen: how many, how stable, how far they are the classes, and the largest."""
        return [
            f"{name if i == 0 else '':<10} {line}"
            for name, lines in self.parts()
            for i, line in enumerate(lines)
        ]

    def parts(self) -> Iterator[tuple[str, list[str]]]:
        """The same as (name, lines); those that begin with a blank are examples."""
        by, found = " and ".join(spec.name for spec in self.photos.specs), self.found
        sampled = (
            ""
            if found.sampled == len(self.photos)
            else f"; {found.sampled:,} of them were clustered, the others joined the nearest"
        )
        yield "photos", [f"{len(self.photos):,} by {by}{sampled}"]
        none = int((found.cluster == 0).sum())
        share = f", {none:,} photos ({none / len(self.photos):.0%}) in none" if none else ""
        yield "clusters", [f"{found.n_clusters:,} by {_method(found)}{share}"]
        yield (
            "stability",
            [
                f"adjusted Rand {_interval(found.stability)} with clusters of "
                f"{len(found.stability)} random parts of the photos; 1 is the same clusters"
            ],
        )
        if self.agreement is not None:
            yield self.photos.label, list(self._agreement(self.agreement))
        yield "largest", [f"  {line}" for line in self._largest()]
        yield "note", list(self.notes)

    def _agreement(self, said: Agreement) -> Iterator[str]:
        for name, figures in (
            (f"{said.clustered:,} photos in clusters", said.figures),
            (f"all {said.photos:,}, no cluster counted as one", said.everything),
        ):
            if figures and not (figures is said.everything and said.clustered == said.photos):
                text = ", ".join(f"{_NAMES[key]} {figures[key]:.3f}" for key in list(_NAMES)[:3])
                yield f"{name}: {text}, purity {figures['purity']:.3f}"

    def _largest(self) -> Iterator[str]:
        sizes = np.bincount(self.found.cluster, minlength=self.found.n_clusters + 1)
        for number in range(1, min(SHOWN, self.found.n_clusters) + 1):
            words = self.agreement.mixtures[number - 1].words() if self.agreement else ""
            yield f"{number:>3}  {sizes[number]:>5,}  {words}".rstrip()

    def to_json(self) -> dict[str, Any]:
        """All counts and figures; cluster.csv has the photos."""
        found, said = self.found, self.agreement
        return {
            "format": FORMAT,
            "photos": len(self.photos),
            "encoders": [spec.name for spec in self.photos.specs],
            "method": found.method,
            "sampled": found.sampled,
            "clusters": found.n_clusters,
            "in_none": int((found.cluster == 0).sum()),
            "silhouettes": {str(n): round(s, 4) for n, s in found.silhouettes.items()},
            "stability": [round(value, 4) for value in found.stability],
            "sizes": np.bincount(found.cluster, minlength=found.n_clusters + 1)[1:].tolist(),
            "label": self.photos.label or None,
            "agreement": None
            if said is None
            else {
                "labelled": said.photos,
                "clustered": said.clustered,
                "figures": _rounded(said.figures),
                "everything": _rounded(said.everything),
                "mixtures": [
                    {"cluster": one.cluster, "photos": one.photos, "labels": dict(one.labels)}
                    for one in said.mixtures
                ],
            },
            "notes": list(self.notes),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """One record a photo: id, file_path, cluster (empty: in none), membership, label."""
        names = self.photos.rows["file_path"]
        columns = (self.photos.ids, names, self.found.cluster, self.found.membership, self.labels)
        for id_, name, number, membership, label in zip(*columns, strict=True):
            yield {
                "id": id_,
                "file_path": name,
                "cluster": number or "",
                "membership": f"{membership:.4f}",
                "label": label,
            }

    def write(self) -> None:
        """cluster.csv, cluster.html and cluster.json, into the folder."""
        header = ["id", "file_path", "cluster", "membership", "label"]
        write_rows(self.folder / "cluster.csv", header, self.rows())
        write_sections(
            self.folder / "cluster.html",
            f"{counted(len(self.photos), 'photo')} in {counted(self.found.n_clusters, 'cluster')}",
            "Photos that look alike, the most central of each cluster first.",
            self._sections(),
        )
        write_json(self.folder / "cluster.json", self.to_json())

    def _sections(self) -> Iterator[Section]:
        yield Section("overview", "Overview", body=facts(self.parts()))
        n, sizes = self.found.n_clusters, np.bincount(self.found.cluster)
        items = [
            Item(
                f"Cluster {number}",
                [],
                [Row(self._caption(number, int(sizes[number])), self._central(number))],
            )
            for number in range(1, min(n, CLUSTERS) + 1)
        ]
        intro = (
            [f"The {CLUSTERS} largest of {n:,}; all are in cluster.csv."] if n > CLUSTERS else []
        )
        yield Section("clusters", "The clusters", intro, items)
        if self.found.silhouettes:
            rows = [(k, f"{score:.3f}") for k, score in self.found.silhouettes.items()]
            body = table(("clusters", "mean silhouette"), rows)
            yield Section("number", "How their number was chosen", body=body)

    def _caption(self, number: int, size: int) -> str:
        words = self.agreement.mixtures[number - 1].words(6) if self.agreement else ""
        return counted(size, "photo") + (f": {words}" if words else "")

    def _central(self, number: int) -> list[Shown]:
        shown = []
        for row in central_rows(self.photos.X, self.found.cluster, number, CENTRAL).tolist():
            photo = self.photos.rows.iloc[row]
            lines = (str(self.labels[row]),) if self.labels[row] else ()
            shown.append(Shown(photo["path"], photo["file_path"], lines))
        return shown


def cluster_collection(
    workspace: Workspace,
    encoders: Sequence[str] | None = None,
    method: str | None = None,
    clusters: int | None = None,
    min_size: int | None = None,
    seed: int = 0,
    split_name: str = "default",
) -> Clusters:
    """Cluster the collection's photos; write `cluster/` in the workspace.

    method : "hdbscan" or "kmeans"; by default the latter where a number of `clusters` is given.
    min_size : see `retrieval.clusters.cluster_rows`. Labels take no part; they are compared
    afterwards, those of test photos left out. Raises `UserError` where there are no photos or
    vectors, and for numbers that fit neither the method nor the photos.
    """
    photos, _ = whole_collection(workspace, encoders, split_name)
    method = method or ("hdbscan" if clusters is None else "kmeans")
    _check(len(photos), method, clusters, min_size)
    found = cluster_rows(photos.X, method, clusters, min_size or MIN_SIZE, seed)
    labels = np.where(photos.side == "test", "", photos.y)
    tested = int(((photos.side == "test") & (photos.y != "")).sum())
    notes = []
    if tested:
        notes.append(
            f"labels of {counted(tested, 'test photo')} not compared: `evaluate` alone reads them"
        )
    if not found.n_clusters:
        notes.append("no cluster was found: lower --min-size, or give a number with --clusters N")
    report = Clusters(
        folder=workspace.folder / "cluster",
        photos=photos,
        found=found,
        labels=labels,
        agreement=agreement(labels.tolist(), found.cluster) if (labels != "").any() else None,
        notes=notes,
    )
    report.write()
    return report


def _check(n: int, method: str, clusters: int | None, min_size: int | None) -> None:
    if method not in METHODS:
        raise ValueError(f"expected one of {METHODS}, got {method!r}")
    if n < 3:
        raise UserError(f"Clusters need 3 photos or more; there are {n}. Run `cli embed PHOTOS`.")
    if clusters is not None and not 2 <= clusters <= n:
        raise UserError(f"--clusters is a number from 2 to the {n:,} photos. Got {clusters}.")
    if clusters is not None and method == "hdbscan":
        raise UserError(
            "HDBSCAN finds the number itself: leave --clusters out, or --method kmeans."
        )
    if min_size is not None and not 2 <= min_size <= n:
        raise UserError(f"--min-size is a number from 2 to the {n:,} photos. Got {min_size}.")
    if min_size is not None and method == "kmeans":
        raise UserError("--min-size is for --method hdbscan; k-means takes --clusters N.")


def _method(found: Clustering) -> str:
    if found.method == "hdbscan":
        return "HDBSCAN"
    best = found.silhouettes.get(found.n_clusters)
    chosen = "" if best is None else f", chosen by the mean silhouette ({best:.2f})"
    return f"k-means{chosen}"


def _interval(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}
