"""Photos beside their look-alikes as one HTML page that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.page import breakable, text, write_page
from retrieval.thumbnails import described, link, thumbnails


@dataclass(frozen=True)
class Tile:
    """A photo on a page and what is said of it."""

    path: str  # its location: see `embed.sources`
    label: str | None = None
    similarity: float | None = None  # cosine
    match: bool | None = None  # has the query's label; None where that is not known
    caption: str = ""
    name: str = ""  # the path as shown, else the file's name


@dataclass(frozen=True)
class Section:
    """A query and its hits, best first."""

    query: Tile
    tiles: Sequence[Tile]


def sections_of(hits: Any, queries: Mapping[Any, Tile], label: str | None = None) -> list[Section]:
    """One section a query from the hits that `retrieval.search` gives (a DataFrame).

    queries : a tile for every value of the column `query`; label : the column with the labels,
    which are compared with the query's own where both are known.
    """
    return [
        Section(tile, [_hit_tile(hit, tile.label, label) for hit in found.to_dict("records")])
        for query, tile in queries.items()
        for found in [hits[hits["query"] == query]]
    ]


def _hit_tile(hit: Mapping[str, Any], truth: str | None, column: str | None) -> Tile:
    value = hit[column] if column else None
    label = value if isinstance(value, str) else None
    return Tile(
        path=hit["path"],
        label=label,
        similarity=float(hit["similarity"]),
        match=None if label is None or truth is None else label == truth,
        caption="the very same photo" if hit["same_photo"] else "",
        name=hit["file_path"],
    )


def write_gallery(
    path: Path, title: str, sections: Sequence[Section], note: str = "", label: str = "label"
) -> None:
    """Write the page to `path` (UTF-8 HTML); it works from disk and loads nothing.

    note : a sentence below the title; label : what labels are called, as in "same family".
    Originals are linked relative to the page where they lie beside or below it. A photo that
    cannot be read any more is a grey box with the reason.
    """
    tiles = [tile for section in sections for tile in (section.query, *section.tiles)]
    pictures = thumbnails(tile.path for tile in tiles)
    page = _Page(path.absolute().parent, pictures, label)
    marks = page.legend() if any(tile.match is not None for tile in tiles) else ""
    write_page(
        path,
        title,
        "\n".join(map(page.section, sections)) or "<p>Nothing to show.</p>",
        header=(f"<p>{text(note)}</p>" if note else "") + marks,
        footer=f"Arrow keys move among the hits, Enter opens the photo. {_COSINE}",
        style=_STYLE,
        script=_SCRIPT,
    )


@dataclass(frozen=True)
class _Page:
    folder: Path
    pictures: Mapping[str, str]  # an <img> without its alt, or the grey box
    label: str

    def section(self, section: Section) -> str:
        hits = "\n".join(
            f"<li>{self.tile(tile, rank)}</li>" for rank, tile in enumerate(section.tiles, 1)
        )
        return (
            f'<section>\n<div class="query">{self.tile(section.query)}</div>\n'
            f'<ol class="hits">\n{hits}\n</ol>\n</section>'
        )

    def tile(self, tile: Tile, rank: int | None = None) -> str:
        """A link to the original around the thumbnail and what is said of it."""
        name = tile.name or tile.path.rsplit("/", 1)[-1]
        lines = [
            self._first_line(tile, rank),
            f'<b class="label">{text(tile.label)}</b>' if tile.label else "",
            f'<span class="caption">{text(tile.caption)}</span>' if tile.caption else "",
            self._mark(tile.match),
            f'<span class="name">{breakable(name)}</span>',
        ]
        picture = described(self.pictures[tile.path], f"Photo {name}")
        return (
            f'<a class="tile" href="{link(tile.path, self.folder)}" title="{text(name)}">'
            f'<span class="photo">{picture}</span>{"".join(lines)}</a>'
        )

    def legend(self) -> str:
        return f'<p class="legend">{self._mark(True)} {self._mark(False)} as the query</p>'

    def _first_line(self, tile: Tile, rank: int | None) -> str:
        place = "Query" if rank is None else f"{rank}"
        cosine = "" if tile.similarity is None else f"<span>cosine {tile.similarity:.3f}</span>"
        return f'<span class="top"><span class="rank">{place}</span>{cosine}</span>'

    def _mark(self, match: bool | None) -> str:
        if match is None:
            return ""
        sign, word = ("✓", "same") if match else ("✗", "other")
        return f'<span class="mark {word}">{sign} {word} {text(self.label)}</span>'


_COSINE = "Cosine: 1 is the same direction of the two embeddings, 0 is unrelated."
_STYLE = """
.legend { display: flex; flex-wrap: wrap; gap: .25rem .9rem; font-size: .87rem; }
section { display: grid; grid-template-columns: minmax(12rem, 17rem) 1fr; gap: 1.5rem;
  margin-top: 1.5rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
.query .tile { position: sticky; top: 1rem; border: 2px solid var(--accent); }
.hits { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: 1rem;
  align-content: start; margin: 0; padding: 0; list-style: none; }
.hits li { display: grid; content-visibility: auto; contain-intrinsic-size: auto 17rem; }
.tile { display: flex; flex-direction: column; gap: .1rem; padding: .5rem .6rem .6rem; min-width: 0;
  border: 1px solid var(--line); border-radius: 10px; background: var(--card); color: inherit;
  text-decoration: none; }
.tile:hover { border-color: var(--accent); }
.tile:focus-visible { outline: 3px solid var(--accent); outline-offset: -2px; }
.photo { display: grid; place-items: center; aspect-ratio: 4 / 3; margin: -.1rem -.2rem .35rem;
  overflow: hidden; border-radius: 6px; background: var(--well); }
.photo img { width: 100%; height: 100%; object-fit: contain; }
.top { display: flex; justify-content: space-between; color: var(--soft); font-size: .82rem;
  font-variant-numeric: tabular-nums; }
.rank { font-weight: 650; color: var(--accent); }
.label { font-weight: 650; overflow-wrap: anywhere; }
.caption { font-size: .87rem; overflow-wrap: anywhere; }
.mark { font-size: .82rem; font-weight: 600; }
.same { color: var(--same); }
.other { color: var(--other); }
.tile:has(.other) { border-style: dashed; border-color: var(--other); }
.name { color: var(--soft); font-size: .75rem; overflow-wrap: anywhere; }
@media (max-width: 42rem) { section { grid-template-columns: 1fr; }
  .query .tile { position: static; max-width: 17rem; }
  .hits { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .6rem; } }
@media print { .hits li { break-inside: avoid; } .query .tile { position: static; } }
"""
_SCRIPT = """
const tiles = [...document.querySelectorAll(".hits .tile")];
const box = tile => tile.getBoundingClientRect();
function vertical(from, down) {
  const here = box(from), ahead = tiles.filter(tile =>
    down ? box(tile).top >= here.bottom : box(tile).bottom <= here.top);
  const away = tile =>
    Math.hypot(1000 * (box(tile).top - here.top), box(tile).left - here.left);
  return ahead.sort((a, b) => away(a) - away(b))[0];
}
addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const at = tiles.indexOf(document.activeElement);
  const next = { ArrowRight: () => tiles[at + 1], ArrowLeft: () => tiles[at - 1],
    ArrowDown: () => at < 0 ? tiles[0] : vertical(tiles[at], true),
    ArrowUp: () => at < 0 ? undefined : vertical(tiles[at], false),
    Home: () => tiles[0], End: () => tiles.at(-1) }[event.key]?.();
  if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({ block: "nearest" }); }
});
"""
