"""`cli search`: the photos of the collection that look most like what is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.workspace import Workspace
from retrieval.queries import LeftOut, Query, SearchBy, read_queries
from retrieval.searchable import Searchable

if TYPE_CHECKING:
    from embed.encoder import Choice
    from retrieval.eligible import SearchIndex
    from retrieval.gallery import Tile

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

_OURS = ("query", "rank", "similarity", "percentile", "same_photo", "folded")
_FIRST = ("query", "rank", "id", "similarity", "percentile", "file_path", "path", "same_photo")
_ALSO = 24  # pictures of a query


@dataclass(frozen=True)
class Lookalikes:
    """What a search found.

    ours : by column, a list with one value a hit: query (its name), rank (1 is best), similarity
        (cosine), percentile (see `similarity_scale`; None where random pairs are no scale for the
        query), same_photo; with --unique also folded
    rows : Arrow table of the hits' rows of the collection
    """

    ours: dict[str, list[Any]]
    rows: Any
    queries: list[Query]
    label: str | None
    left_out: list[LeftOut] = field(default_factory=list)
    note: str = ""  # what the percentiles are of

    @property
    def column_names(self) -> list[str]:
        """Of a hit, in order: ours, then the collection's. One of our name is `table_…` there."""
        names = [*self.ours, *self._table_names]
        first = [name for name in _FIRST if name in names]
        return [*first, *(name for name in names if name not in _FIRST)]

    def to_pylist(self) -> list[dict[str, Any]]:
        """The hits, missing values as None. As an Arrow table has it; pandas is not imported."""
        names = self.column_names
        table = self.rows.rename_columns(self._table_names).to_pylist()
        found = []
        for values, row in zip(zip(*self.ours.values(), strict=True), table, strict=True):
            hit = row | dict(zip(self.ours, values, strict=True))
            found.append({name: hit[name] for name in names})
        return found

    @property
    def frame(self) -> Any:
        """The hits as a DataFrame."""
        import pandas as pd

        table = self.rows.rename_columns(self._table_names).to_pandas()
        types = {"similarity": "float32", "percentile": "float64"}
        joined = pd.DataFrame(self.ours).astype(types).join(table)
        return joined[self.column_names]

    @property
    def _table_names(self) -> list[str]:
        return [f"table_{n}" if n in self.ours else n for n in self.rows.column_names]


def lookalikes(
    workspace: Workspace,
    asked: SearchBy,
    k: int,
    encoders: Sequence[str] | None = None,
    choice: "Choice | None" = None,
    **narrow: Any,
) -> Lookalikes:
    """The `k` hits of every query, best first.

    narrow : which rows may be hits, and which are shown: see `retrieval.narrowing.narrowed_hits`
    """
    place = Searchable(workspace, encoders)
    queries, left_out = read_queries(place, asked, choice)
    if narrow.keys() - {"page"}:
        ours, rows = narrowed(place, place.big or place.index, queries, k, **narrow)
    else:
        ours, rows = _all(place, queries, k, narrow.get("page", 1))
    notes = [place.staleness(), add_percentiles(place, queries, ours)]
    note = "; ".join(filter(None, notes))
    return Lookalikes(ours, rows, queries, place.label, left_out, note)


def add_percentiles(place: Searchable, queries: Sequence[Query], ours: dict[str, list[Any]]) -> str:
    """Give each hit its percentile, None where there is no scale for it; returns what they are."""
    ours["percentile"] = [None] * len(ours["query"])
    single = {query.name for query in queries if query.single}
    if not single:
        return ""
    told = place.scale.percentile(np.array(ours["similarity"], dtype=np.float32)).tolist()
    pairs = zip(ours["query"], told, strict=True)
    ours["percentile"] = [p if name in single and p >= 0 else None for name, p in pairs]
    return place.scale.note


def narrowed(
    place: Searchable, index: "SearchIndex", queries: Sequence[Query], k: int, **narrow: Any
) -> tuple[dict[str, list[Any]], Any]:
    """The hits among the rows of `index` that the collection has, as in `Lookalikes`."""
    import pyarrow as pa

    from retrieval.folding import GROUPED_UP_TO, copy_groups, open_copy_groups
    from retrieval.narrowing import narrowed_hits

    def vectors(rows: I64) -> F32:
        return place.photo_vectors(rows.tolist())

    if narrow.get("unique") is True and len(place.rows) <= GROUPED_UP_TO:
        narrow["unique"] = open_copy_groups(
            place.folder / "copies.npz",
            place.source,
            lambda: copy_groups(
                place.rows, place.vectors(place.rows["key"].tolist()), place.workspace.facts
            ).tolist(),
        )
    hits = narrowed_hits(index, place.rows, vectors, queries, k, **narrow)
    ours = [name for name in _OURS if name in hits and name != "percentile"]
    table = pa.Table.from_pandas(hits.drop(columns=ours), preserve_index=False)
    return {name: hits[name].tolist() for name in ours}, table


def _all(
    place: Searchable, queries: Sequence[Query], k: int, page: int
) -> tuple[dict[str, list[Any]], Any]:
    """Photos with the very bytes of the query's come first, then the others by cosine and row."""
    import pyarrow as pa

    if k < 1 or page < 1:
        raise UserError(f"--k and --page count from 1, got {k} and {page}.")
    most = asked = k * page
    while True:  # rows of a big index may be of photos that are gone
        ranked = _ranked(place, queries, asked)
        table, known = place.known.take([hit[0] for hits in ranked for hit in hits])
        there = set(known)
        shown = [[hit for hit in hits if hit[0] in there] for hits in ranked]
        pairs = zip(ranked, shown, strict=True)
        if all(len(hits) < asked or len(left) >= most for hits, left in pairs):
            break
        asked *= 2
    ours: dict[str, list[Any]] = {name: [] for name in ("query", "rank", "similarity")}
    ours["same_photo"], rows, at = [], [], 0
    for query, hits in zip(queries, shown, strict=True):
        on_page = hits[most - k : most]
        ours["query"] += [query.name] * len(on_page)
        ours["rank"] += range(most - k + 1, most - k + 1 + len(on_page))
        ours["similarity"] += [cosine for _, cosine, _ in on_page]
        ours["same_photo"] += [same for *_, same in on_page]
        rows.append(table.slice(at + most - k, len(on_page)))
        at += len(hits)
    return ours, pa.concat_tables(rows)


def _ranked(
    place: Searchable, queries: Sequence[Query], k: int
) -> list[list[tuple[int, float, bool]]]:
    """The k best of each query: row, cosine, and whether it has the very bytes of the query's."""
    known = place.known
    own = [[known.find(name) for name in query.exclude] for query in queries]
    copies = [
        [row for row in known.with_key(query.key) if row not in rows] if query.key else []
        for query, rows in zip(queries, own, strict=True)
    ]
    most = max(len(a) + len(b) for a, b in zip(copies, own, strict=True))
    Q = np.stack([query.vector for query in queries])
    near, cosines = (place.big or place.index).search(Q, k + most)
    ranked = []
    for i in range(len(queries)):
        pairs = zip(near[i].tolist(), cosines[i].tolist(), strict=True)
        left_out = {*own[i], *copies[i]}
        others = [(row, cosine, False) for row, cosine in pairs if row not in left_out]
        ranked.append([*((row, 1.0, True) for row in copies[i]), *others][:k])  # the same vector
    return ranked


def write_lookalikes(page: Path, found: Lookalikes) -> None:
    """Write the queries beside their hits as one page with thumbnails."""
    from retrieval.gallery import sections_of, write_gallery

    title = f"Look-alikes of {Path(found.queries[0].name).name}"
    if len(found.queries) > 1:
        title += f" and {len(found.queries) - 1} more"
    tiles, also = query_tiles(found.queries), also_tiles(found.queries)
    sections = sections_of(found, tiles, found.label, also)
    write_gallery(page, title, sections, label=found.label or "")


def query_tiles(queries: Sequence[Query]) -> "dict[str, Tile]":
    """A tile for every query by its name, for `gallery.sections_of`."""
    return {query.name: _tile(query, query.name) for query in queries}


def also_tiles(queries: Sequence[Query]) -> "dict[str, list[Tile]]":
    """What else a query is made of, at most `_ALSO` tiles."""
    return {
        query.name: [
            _tile(part, part.name, caption)
            for caption, parts in (("together with", query.plus), ("less like", query.minus))
            for part in parts
        ][:_ALSO]
        for query in queries
    }


def _tile(query: Query, name: str, caption: str = "") -> "Tile":
    from retrieval.gallery import Tile

    return Tile(query.path, query.label, caption=caption, name=name, box=query.box)
