"""How a page of findings looks: sections of items, photos beside those that tell."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from retrieval.page import breakable, text, write_page
from retrieval.thumbnails import described, link, thumbnails

SIDE, QUALITY = 168, 72  # of the pictures: pixels, and JPEG quality
ROWS = 100  # of a table


@dataclass(frozen=True)
class Shown:
    """A photo and what is said of it, a line each."""

    path: str
    name: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """Photos under a caption."""

    caption: str
    photos: Sequence[Shown]


@dataclass(frozen=True)
class Item:
    """One thing to decide: the photo or photos in question, and those that tell."""

    title: str
    photos: Sequence[Shown]
    beside: Sequence[Row] = ()


@dataclass(frozen=True)
class Section:
    """A part of the page; `body` is HTML, below the intro and above the items."""

    anchor: str
    title: str
    intro: Sequence[str] = ()
    items: Sequence[Item] = ()
    body: str = ""

    def __bool__(self) -> bool:
        return bool(self.items or self.body)

    def photos(self) -> Iterator[Shown]:
        for item in self.items:
            yield from item.photos
            for row in item.beside:
                yield from row.photos


def write_sections(path: Path, title: str, subtitle: str, sections: Iterable[Section]) -> None:
    """Write the page to `path`: those of the sections that say something, pictures and all."""
    said = [section for section in sections if section]
    paths = (photo.path for section in said for photo in section.photos())
    page = _Page(path.parent.absolute(), thumbnails(paths, SIDE, QUALITY))
    links = "".join(f'<li><a href="#{s.anchor}">{text(s.title)}</a></li>' for s in said)
    write_page(
        path,
        title,
        "\n".join(map(page.section, said)),
        header=f'<p>{text(subtitle)}</p><nav aria-label="Sections"><ul>{links}</ul></nav>',
        footer="Keys: n for the next item, p for the one before, Enter opens a photo. "
        "Cosine: 1 is the same direction of the two embeddings, 0 is unrelated.",
        style=_STYLE,
        script=_SCRIPT,
        skip="To the findings",
    )


def facts(parts: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Names with the lines said of each, for a body; examples (see `Inspection.parts`) are not."""
    pairs = [(name, [_words(line) for line in lines if line[:1] != " "]) for name, lines in parts]
    said = (f"<dt>{text(name)}</dt><dd>{'<br>'.join(lines)}</dd>" for name, lines in pairs if lines)
    return f"<dl>{''.join(said)}</dl>"


def _words(line: str) -> str:
    """A sentence of ours; what stands in backticks is a command."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", text(line))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table for a body; empty without rows."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>"
        for row in rows[:ROWS]
    )
    more = f"<p>and {len(rows) - ROWS:,} more in the files</p>" if len(rows) > ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else breakable(str(value))


@dataclass(frozen=True)
class _Page:
    folder: Path
    pictures: dict[str, str]

    def section(self, section: Section) -> str:
        name = f"{section.anchor}-title"
        intro = "".join(f"<p>{_words(line)}</p>" for line in section.intro)
        items = "\n".join(map(self.item, section.items))
        kind = "pairs" if all(len(item.photos) == 2 for item in section.items) else "items"
        return (
            f'<section id="{section.anchor}" aria-labelledby="{name}">\n'
            f'<h2 id="{name}">{text(section.title)}</h2>\n{intro}{section.body}\n'
            f'<div class="{kind}">\n{items}\n</div>\n</section>'
        )

    def item(self, item: Item) -> str:
        title = f"<h3>{text(item.title)}</h3>" if item.title else ""
        asked = f'<div class="asked">{"".join(map(self.photo, item.photos))}</div>'
        rows = "".join(map(self.row, item.beside))
        kind = "item" if item.photos else "item wide"
        return (
            f'<article class="{kind}" tabindex="-1">{title}<div class="sides">'
            f"{asked if item.photos else ''}"
            f"{f'<div>{rows}</div>' if rows else ''}</div></article>"
        )

    def row(self, row: Row) -> str:
        caption = f"<p>{text(row.caption)}</p>" if row.caption else ""
        photos = "".join(map(self.photo, row.photos)) or "<p>none but copies</p>"
        return f'<div class="row">{caption}<div class="photos">{photos}</div></div>'

    def photo(self, photo: Shown) -> str:
        lines = "".join(f"<span>{text(line)}</span>" for line in photo.lines)
        picture = described(self.pictures[photo.path], f"Photo {photo.name}")
        return (
            f'<a class="photo" href="{link(photo.path, self.folder)}" title="{text(photo.name)}">'
            f"{picture}{lines}<small>{breakable(photo.name)}</small></a>"
        )


_STYLE = """
nav ul { display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; margin: .8rem 0 0; padding: 0;
  list-style: none; }
section { margin-top: 2rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
h2 { margin: 0 0 .4rem; font-size: 1.25rem; font-weight: 650; }
h3 { margin: 0 0 .6rem; font-size: 1rem; font-weight: 650; overflow-wrap: anywhere; }
section > p { max-width: 46rem; margin: .3rem 0; color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.items, .pairs { display: grid; gap: 1rem; margin-top: 1rem; }
.items { grid-template-columns: repeat(auto-fill, minmax(min(100%, 36rem), 1fr)); }
.pairs { grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
.item { min-width: 0; padding: .9rem 1rem 1rem; border: 1px solid var(--line);
  border-radius: 10px; background: var(--card); content-visibility: auto;
  contain-intrinsic-size: auto 24rem; scroll-margin-top: 1rem; }
.wide { grid-column: 1 / -1; }
.sides { display: flex; flex-wrap: wrap; gap: 1rem 1.4rem; }
.asked { display: flex; gap: .7rem; }
.pairs .asked { flex: 1; }
.pairs .photo { flex: 1; width: auto; }
.row p { margin: 0 0 .3rem; font-size: .87rem; }
.row + .row { margin-top: .8rem; }
.photos { display: flex; flex-wrap: wrap; gap: .6rem; }
.photo { display: flex; flex-direction: column; gap: .1rem; width: 7rem; min-width: 0;
  color: inherit; text-decoration: none; font-size: .82rem; overflow-wrap: anywhere; }
.asked .photo { width: 10.5rem; }
.photo img, .photo .missing { width: 100%; height: auto; aspect-ratio: 4 / 3; object-fit: contain;
  border-radius: 6px; background: var(--well); }
.photo .missing { padding: .4rem; overflow: hidden; font-size: .75rem; }
.photo:hover img { outline: 2px solid var(--accent); }
.photo small { color: var(--soft); font-size: .72rem; line-height: 1.3; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; font-weight: 400; overflow-wrap: anywhere; }
thead th { color: var(--soft); font-size: .82rem; }
.classes { width: 100%; max-width: 46rem; }
.bar { width: 60%; padding-right: 0; }
.bar span { display: block; height: .8rem; margin-top: .25rem; min-width: 1px; border-radius: 2px;
  background: var(--accent); }
@media (max-width: 42rem) { .photo { width: calc((100% - 1.2rem) / 3); }
  .asked { width: 100%; } .row, .sides > div { width: 100%; } .asked .photo { width: 100%; }
  .bar { width: 35%; } }
@media print { .item { break-inside: avoid; content-visibility: visible; } }
"""
_SCRIPT = """
const items = [...document.querySelectorAll(".item")];
addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const step = { n: 1, p: -1 }[event.key];
  if (!step) return;
  const here = document.activeElement.closest(".item");
  const at = here ? items.indexOf(here) : items.findIndex(item =>
    item.getBoundingClientRect().top >= 0) - (step > 0 ? 1 : 0);
  const next = items[at + step];
  if (next) { next.focus({ preventScroll: true }); next.scrollIntoView({ block: "start" }); }
});
"""
