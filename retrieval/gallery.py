"""Photos beside their look-alikes as one HTML page that needs nothing but itself."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embed import sources
from embed.images import decode
from embed.words import counted
from retrieval.boxes import Box
from retrieval.hit_forms import percent, rows_of
from retrieval.page import breakable, text, write_page
from retrieval.thumbnails import described, link, thumbnails


@dataclass(frozen=True)
class Tile:
    """A photo on a page and what is said of it; without a path, a query in words."""

    path: str | None  # its location: see `embed.sources`
    label: str | None = None
    similarity: float | None = None  # cosine
    match: bool | None = None  # has the query's label; None where that is not known
    caption: str = ""
    name: str = ""  # the path as shown, else the file's name
    percentile: float | None = None  # of the cosine, among pairs taken at random
    folded: int = 0  # photos nearly the same as this one that are not shown
    box: Box | None = None  # the part of it that was asked for
    rank: int | None = None  # else the place among the section's

    @property
    def title(self) -> str:
        return self.name or (self.path or "").rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Section:
    """A query and its hits, best first."""

    query: Tile
    tiles: Sequence[Tile]
    also: Sequence[Tile] = ()  # what else the query is made of; captions say how


def sections_of(
    hits: Any,
    queries: Mapping[Any, Tile],
    label: str | None = None,
    also: Mapping[Any, Sequence[Tile]] | None = None,
) -> list[Section]:
    """One section a query from the hits of `retrieval.lookalikes` (an Arrow table or a DataFrame).

    queries : a tile for every value of the column `query`; label : the column with the labels,
    which are compared with the query's own where both are known; also : further tiles of a query.
    The columns `percentile` and `folded` (see `Tile`) are shown where they are there.
    """
    found: dict[Any, list[Mapping[str, Any]]] = {query: [] for query in queries}
    for hit in rows_of(hits)[1]:
        if hit["query"] in found:
            found[hit["query"]].append(hit)
    return [
        Section(
            tile,
            [_hit_tile(hit, tile.label, label) for hit in found[query]],
            (also or {}).get(query, ()),
        )
        for query, tile in queries.items()
    ]


def _hit_tile(hit: Mapping[str, Any], truth: str | None, column: str | None) -> Tile:
    label = hit[column] if column else None
    return Tile(
        path=hit["path"],
        label=label,
        similarity=hit["similarity"],
        match=None if label is None or truth is None else label == truth,
        caption="the very same photo" if hit["same_photo"] else "",
        name=hit["file_path"],
        percentile=hit.get("percentile"),
        folded=hit.get("folded") or 0,
        rank=hit["rank"],
    )


def write_gallery(
    path: Path, title: str, sections: Sequence[Section], note: str = "", label: str = "label"
) -> None:
    """Write the page to `path` (UTF-8 HTML); it works from disk and loads nothing.

    note : a sentence below the title; label : what labels are called, as in "same family".
    Several queries have a table of contents. Originals are linked relative to the page where they
    lie beside or below it. A photo that cannot be read any more is a grey box with the reason.
    """
    tiles = [
        tile for section in sections for tile in (section.query, *section.also, *section.tiles)
    ]
    pictures = thumbnails(tile.path for tile in tiles if tile.path is not None)
    page = _Page(path.absolute().parent, pictures, label, len(sections) > 1)
    marks = page.legend() if any(tile.match is not None for tile in tiles) else ""
    among = any(tile.percentile is not None for tile in tiles)
    write_page(
        path,
        title,
        "\n".join(page.section(i, section) for i, section in enumerate(sections, 1))
        or "<p>Nothing to show.</p>",
        header=(f"<p>{text(note)}</p>" if note else "") + marks + page.contents(sections),
        footer=_KEYS + page.several * _NEXT + _COSINE + among * _AMONG,
        style=_STYLE,
        script=_SCRIPT,
        skip="To the first query" if page.several else "",
    )


@dataclass(frozen=True)
class _Page:
    folder: Path
    pictures: Mapping[str, str]  # an <img> without its alt, or the grey box
    label: str
    several: bool  # queries

    def contents(self, sections: Sequence[Section]) -> str:
        """A link to each query, where there are several."""
        if not self.several:
            return ""
        links = "".join(
            f'<li><a href="#q{i}">{breakable(section.query.title)}</a>'
            f"<span>{counted(len(section.tiles), 'hit')}</span></li>"
            for i, section in enumerate(sections, 1)
        )
        return f'<nav class="screen" aria-label="Queries"><ol>{links}</ol></nav>'

    def section(self, place: int, section: Section) -> str:
        name = section.query.title
        heading = f"<h2>{breakable(name)}</h2>\n" if self.several else ""
        query = "".join(map(self.tile, (section.query, *section.also)))
        hits = "\n".join(
            f"<li>{self.tile(tile, tile.rank or rank)}</li>"
            for rank, tile in enumerate(section.tiles, 1)
        )
        found = f'<ol class="hits">\n{hits}\n</ol>' if hits else "<p>No hits.</p>"
        return (
            f'<section id="q{place}" aria-label="{text(name)}">\n{heading}'
            f'<div class="query"><div>{query}</div></div>\n{found}\n</section>'
        )

    def tile(self, tile: Tile, rank: int | None = None) -> str:
        """A link to the original around the thumbnail and what is said of it; words are no link."""
        parts = [
            self._first_line(tile, rank),
            f'<b class="label">{text(tile.label)}</b>' if tile.label else "",
            f'<span class="caption">{text(tile.caption)}</span>' if tile.caption else "",
            self._mark(tile.match),
            f'<span class="alike">+{tile.folded:,} alike</span>' if tile.folded else "",
        ]
        if tile.path is None:
            words = f'<q class="words">{text(tile.title)}</q>'
            return f'<div class="tile" tabindex="-1">{words}{"".join(parts)}</div>'
        name = tile.title
        picture = described(self.pictures[tile.path], f"Photo {name}")
        frame = _frame(picture, tile.box, tile.path) if tile.box else ""
        return (
            f'<a class="tile" href="{link(tile.path, self.folder)}" title="{text(name)}">'
            f'<span class="photo">{picture}{frame}</span>{"".join(parts)}'
            f'<span class="name">{breakable(name)}</span></a>'
        )

    def legend(self) -> str:
        return f'<p class="legend">{self._mark(True)} {self._mark(False)} as the query</p>'

    def _first_line(self, tile: Tile, rank: int | None) -> str:
        place = "Query" if rank is None else f"{rank}"
        cosine = "" if tile.similarity is None else f"<span>cosine {tile.similarity:.3f}</span>"
        among = (
            f'<span class="among">over {percent(tile.percentile)}% of pairs</span>'
            if tile.percentile is not None
            else ""
        )
        return f'<span class="top"><span class="rank">{place}</span>{cosine}</span>{among}'

    def _mark(self, match: bool | None) -> str:
        if match is None:
            return ""
        sign, word = ("✓", "same") if match else ("✗", "other")
        return f'<span class="mark {word}">{sign} {word} {text(self.label)}</span>'


def _frame(picture: str, box: Box, location: str) -> str:
    """The part of a thumbnail that was asked for, as a drawing fitted just as the thumbnail is."""
    size = re.search(r'width="(\d+)" height="(\d+)"', picture)
    if size is None:
        return ""
    width, height = int(size[1]), int(size[2])
    whole = (1, 1) if box.shares else decode(sources.read(location)).size
    across, down = width / whole[0], height / whole[1]
    place = (
        f'x="{box.x * across:.1f}" y="{box.y * down:.1f}" '
        f'width="{min(box.width * across, width - box.x * across):.1f}" '
        f'height="{min(box.height * down, height - box.y * down):.1f}"'
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">'
        f'<rect class="under" {place}/><rect {place}/></svg>'
    )


_KEYS = "Arrow keys move among the hits, Enter opens the photo. "
_NEXT = "n and p go to the next and the previous query. "
_COSINE = "Cosine: 1 is the same direction of the two embeddings, 0 is unrelated. "
_AMONG = "Over 99% of pairs: the two look more alike than 99% of pairs of photos taken at random."
_STYLE = """
nav ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr));
  gap: .2rem 1.5rem; margin: 1rem 0 0; padding-left: 1.8rem; font-size: .87rem; }
nav a { overflow-wrap: anywhere; }
nav span { margin-left: .5rem; color: var(--soft); white-space: nowrap; }
h2 { grid-column: 1 / -1; margin: 0; font-size: 1.1rem; line-height: 1.3; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem .9rem; font-size: .87rem; }
section { display: grid; grid-template-columns: minmax(12rem, 17rem) 1fr; gap: 1.5rem;
  margin-top: 1.5rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
.query > div { position: sticky; top: 1rem; display: grid; gap: .6rem; }
.query .tile { border: 2px solid var(--accent); }
.words { padding: .6rem .2rem; font-size: 1.25rem; line-height: 1.3; overflow-wrap: anywhere; }
.hits { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: 1rem;
  align-content: start; margin: 0; padding: 0; list-style: none; }
.hits li { display: grid; content-visibility: auto; contain-intrinsic-size: auto 17rem; }
.tile { display: flex; flex-direction: column; gap: .1rem; padding: .5rem .6rem .6rem; min-width: 0;
  border: 1px solid var(--line); border-radius: 10px; background: var(--card); color: inherit;
  text-decoration: none; }
.tile:hover { border-color: var(--accent); }
.tile:focus-visible { outline: 3px solid var(--accent); outline-offset: -2px; }
.photo { display: grid; grid-template: 100% / 100%; place-items: center;
  aspect-ratio: 4 / 3; margin: -.1rem -.2rem .35rem; overflow: hidden;
  border-radius: 6px; background: var(--well); }
.photo > * { grid-area: 1 / 1; }
.photo img, .photo svg { width: 100%; height: 100%; object-fit: contain; }
.photo rect { fill: none; stroke: #fff; stroke-width: 2; vector-effect: non-scaling-stroke; }
.photo .under { stroke: #000; stroke-width: 4; }
.top { display: flex; justify-content: space-between; color: var(--soft); font-size: .82rem;
  font-variant-numeric: tabular-nums; }
.among { color: var(--soft); font-size: .82rem; font-variant-numeric: tabular-nums; }
.alike { font-size: .82rem; font-weight: 600; }
.rank { font-weight: 650; color: var(--accent); }
.label { font-weight: 650; overflow-wrap: anywhere; }
.caption { font-size: .87rem; overflow-wrap: anywhere; }
.mark { font-size: .82rem; font-weight: 600; }
.same { color: var(--same); }
.other { color: var(--other); }
.tile:has(.other) { border-style: dashed; border-color: var(--other); }
.name { color: var(--soft); font-size: .75rem; overflow-wrap: anywhere; }
@media (max-width: 42rem) { section { grid-template-columns: 1fr; }
  .query > div { position: static; max-width: 17rem; }
  .hits { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .6rem; } }
@media print { .hits li { break-inside: avoid; } .query > div { position: static; } }
"""
_SCRIPT = """
const tiles = [...document.querySelectorAll(".hits .tile")];
const queries = [...document.querySelectorAll("section")];
const box = tile => tile.getBoundingClientRect();
function query(step) {
  const within = queries.indexOf(document.activeElement.closest("section"));
  const here = within < 0 ? queries.filter(one => box(one).top < 40).length - 1 : within;
  queries[here + step]?.scrollIntoView();
  queries[here + step]?.querySelector(".tile").focus({ preventScroll: true });
}
function vertical(from, down) {
  const here = box(from), ahead = tiles.filter(tile =>
    down ? box(tile).top >= here.bottom : box(tile).bottom <= here.top);
  const away = tile =>
    Math.hypot(1000 * (box(tile).top - here.top), box(tile).left - here.left);
  return ahead.sort((a, b) => away(a) - away(b))[0];
}
addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.key === "n" || event.key === "p") return query(event.key === "n" ? 1 : -1);
  const at = tiles.indexOf(document.activeElement);
  const next = { ArrowRight: () => tiles[at + 1], ArrowLeft: () => tiles[at - 1],
    ArrowDown: () => at < 0 ? tiles[0] : vertical(tiles[at], true),
    ArrowUp: () => at < 0 ? undefined : vertical(tiles[at], false),
    Home: () => tiles[0], End: () => tiles.at(-1) }[event.key]?.();
  if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({ block: "nearest" }); }
});
"""
