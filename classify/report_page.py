"""A report as one HTML page that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from classify.charts import chart_svg
from classify.report_blocks import (
    Block,
    Chart,
    Column,
    Evidence,
    Facts,
    Gallery,
    Matrix,
    Photo,
    ReportData,
    ReportTable,
    Section,
    Sentences,
    Value,
    shown,
)
from classify.report_matrix import matrix_html
from classify.report_slice import slice_html
from embed.words import counted
from retrieval.page import breakable, text, write_page
from retrieval.thumbnails import described, thumbnails

SIDE, QUALITY = 160, 75  # pixels of a thumbnail's longest side, and its JPEG quality
MOST_PICTURES = 360  # on the page: even of noise they are below 10 MB
SCRIPTS = ("report.js", "report_slice.js")
OPEN_PAIRS = 3  # galleries of pairs that are open at first


def write_report_page(data: ReportData, path: Path) -> None:
    """Write the report to `path` as one HTML file, thumbnails and all (UTF-8).

    Opens from disk, loads nothing, and reads without its script. At most `MOST_PICTURES`
    thumbnails; a photo that cannot be read is a grey box with the reason.
    """
    page = _Page(_pictures(data))
    files_ = files("classify")
    write_page(
        path,
        data.title,
        "\n".join([*map(page.section, data.sections), _left_out(data)]),
        header=_head(data),
        footer=_foot(data),
        style=files_.joinpath("report.css").read_text("utf-8"),
        script="".join(files_.joinpath(name).read_text("utf-8") for name in SCRIPTS),
        skip="To the report",
    )


def _pictures(data: ReportData) -> dict[str, str]:
    """Location -> thumbnail, for the first `MOST_PICTURES` tiles."""
    places = [
        photo.path
        for gallery in data.blocks(Gallery)
        for item in gallery.items
        for photo in (item.photo, *item.near)
        if photo.path
    ]
    return thumbnails(places[:MOST_PICTURES], SIDE, QUALITY)


def _head(data: ReportData) -> str:
    first, rest = data.headline[:1], data.headline[1:]
    links = "".join(
        f'<li><a href="#{text(section.key)}">{text(section.title)}</a></li>'
        for section in data.sections
    )
    return (
        "".join(f'<p class="lead">{text(line)}</p>' for line in first)
        + "".join(f'<p class="worth">{text(line)}</p>' for line in rest)
        + f'<nav class="screen" aria-label="Chapters"><ol>{links}</ol></nav>'
    )


def _foot(data: ReportData) -> str:
    run, part = (text(data.about.get(key, "")) for key in ("run", "part"))
    return (
        f"<p>Made by <code>cli report {run}</code> from the files in <code>runs/{run}/{part}/"
        "</code>. Photos belong to those who took them.</p>"
    )


def _left_out(data: ReportData) -> str:
    if not data.left_out:
        return ""
    lines = "".join(
        f"<li>{text(title)}: <code>{text(command)}</code></li>" for title, command in data.left_out
    )
    return (
        '<section id="left-out" class="screen" aria-labelledby="left-out-h">'
        '<h2 id="left-out-h">Not in this report</h2>'
        f"<p>These chapters are made by commands that were not run:</p><ul>{lines}</ul></section>"
    )


@dataclass
class _Page:
    pictures: Mapping[str, str]
    placed: int = 0  # tiles with a picture

    def section(self, section: Section) -> str:
        key = text(section.key)
        pairs = [block for block in section.blocks if _is_pair(block)]
        body = "\n".join(
            self.group(kind, list(blocks))
            for kind, blocks in groupby(
                (block for block in section.blocks if not _is_pair(block)), key=type
            )
        )
        return (
            f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">'
            f"{text(section.title)}</h2>\n{body}{self.pairs(pairs)}</section>"
        )

    def group(self, kind: type[Block], blocks: Sequence[Block]) -> str:
        """Blocks of one kind; charts stand side by side where there is room."""
        made = "\n".join(map(self.block, blocks))
        return f'<div class="charts">{made}</div>' if kind is Chart else made

    def block(self, block: Block) -> str:
        if isinstance(block, Sentences):
            return sentences_html(block)
        if isinstance(block, Facts):
            pairs = (f"<dt>{coded(k)}</dt><dd>{coded(v)}</dd>" for k, v in block.pairs)
            return f"<dl>{''.join(pairs)}</dl>"
        if isinstance(block, ReportTable):
            return table_html(block)
        if isinstance(block, Chart):
            title = text(block.title)
            return f"<figure><figcaption>{title}</figcaption>{chart_svg(block)}</figure>"
        if isinstance(block, Matrix):
            return matrix_html(block)
        return f"<h3>{text(block.title)}</h3>{self.gallery(block)}"

    def pairs(self, galleries: Sequence[Block]) -> str:
        """The most confused pairs, each to open."""
        items = [
            f"<details{' open' * (i < OPEN_PAIRS)}><summary><b>{text(gallery.title)}</b> "
            f"{text(gallery.note)}</summary>{self.items(gallery)}</details>"
            for i, gallery in enumerate(galleries)
            if isinstance(gallery, Gallery)
        ]
        return "<h3>The most confused pairs</h3>" + "".join(items) if items else ""

    def gallery(self, gallery: Gallery) -> str:
        note = f'<p class="note">{text(gallery.note)}</p>' if gallery.note else ""
        return note + self.items(gallery)

    def items(self, gallery: Gallery) -> str:
        alone = not any(item.near for item in gallery.items)
        kind = "tiles" if alone else "evidences"
        return f'<ul class="{kind}">{"".join(map(self.evidence, gallery.items))}</ul>'

    def evidence(self, item: Evidence) -> str:
        near = "".join(f"<li>{self.tile(photo)}</li>" for photo in item.near)
        beside = (
            f'<ol class="near" aria-label="Most like it in training">{near}</ol>' if near else ""
        )
        return f'<li class="evidence">{self.tile(item.photo, asked=True)}{beside}</li>'

    def tile(self, photo: Photo, asked: bool = False) -> str:
        name = photo.name.rsplit("/", 1)[-1]
        lines = [
            f'<b class="label">{text(photo.label)}</b>' if photo.label else "",
            f'<span class="caption">{text(photo.caption)}</span>' if photo.caption else "",
            ""
            if photo.similarity is None
            else f'<span class="soft">cosine {photo.similarity:.3f}</span>',
            _match(photo.match),
            f'<span class="name" title="{text(photo.name)}">{breakable(name)}</span>',
        ]
        kind = "tile asked" if asked else "tile"
        return (
            f'<div class="{kind}"><span class="photo">{self.picture(photo)}</span>'
            f"{''.join(lines)}</div>"
        )

    def picture(self, photo: Photo) -> str:
        found = self.pictures.get(photo.path)
        if not photo.path:
            return '<span class="missing">No picture: nobody knows where the photo is</span>'
        if found is None or self.placed >= MOST_PICTURES:
            return '<span class="missing">No room for more pictures on one page</span>'
        self.placed += 1
        of = f" of {photo.label}" if photo.label else ""
        return described(found, f"Photo{of}: {photo.name.rsplit('/', 1)[-1]}")


def _is_pair(block: Block) -> bool:
    return isinstance(block, Gallery) and block.name.startswith("pair-")


def _match(match: bool | None) -> str:
    if match is None:
        return ""
    sign, word, kind = ("✓", "the true class", "same") if match else ("✗", "the answer", "other")
    return f'<span class="mark {kind}">{sign} {word}</span>'


def sentences_html(block: Sentences) -> str:
    """Paragraphs, or a list."""
    if block.bullets:
        return f"<ul>{''.join(f'<li>{coded(line)}</li>' for line in block.lines)}</ul>"
    return "".join(f"<p>{coded(line)}</p>" for line in block.lines)


def table_html(table: ReportTable) -> str:
    """A table in a frame that scrolls; what is sortable has its tools above."""
    name, title = text(table.name), text(table.title)
    rows = "\n".join(_row(table, i) for i in range(len(table.rows)))
    head = "".join(_head_cell(column, table) for column in table.columns)
    note = f'<p class="note">{text(table.note)}</p>' if table.note else ""
    kind = ' class="sortable"' if table.sortable else ""
    body = (
        f'{_tools(table) if table.sortable else ""}<div class="scroll" role="region" tabindex="0" '
        f'aria-label="{title}"><table id="t-{name}"{kind} aria-label="{title}">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>{note}"
    )
    if table.name == "pairs":
        lines = counted(len(table.rows), "row")
        return f"<details><summary>{title} ({lines})</summary>{body}</details>"
    sliced = slice_html(table) if table.axes else ""
    return f'<div class="table"><h3>{title}</h3>{sliced}{body}</div>'


def _tools(table: ReportTable) -> str:
    """To filter by words and by one choice."""
    name = text(table.name)
    choice = ""
    if table.facet is not None:
        place = table.facet
        values = dict.fromkeys(str(row[place]) for row in table.rows if row[place])
        options = "".join(f"<option>{text(value)}</option>" for value in values)
        title = text(table.columns[place].name)
        choice = (
            f'<label>{title} <select data-for="t-{name}" data-column="{place}">'
            f'<option value="">any</option>{options}</select></label>'
        )
    return (
        f'<p class="tools screen"><label>Find <input type="search" data-for="t-{name}"></label>'
        f'{choice}<output data-count="t-{name}">{counted(len(table.rows), "row")}</output></p>'
    )


def _head_cell(column: Column, table: ReportTable) -> str:
    name = text(column.name)
    side = "" if column.kind == "text" else ' class="n"'
    if table.axes:
        side += f' data-kind="{column.kind}"'
        side += " data-less" * column.less + " data-wide" * column.wide
    if not table.sortable:
        return f'<th scope="col"{side}>{name}</th>'
    return (
        f'<th scope="col"{side} aria-sort="none" data-name="{name}">'
        f'<button type="button">{name}</button></th>'
    )


def _row(table: ReportTable, i: int) -> str:
    cells = [
        _cell(value, column, table, first=place == 0)
        for place, (value, column) in enumerate(zip(table.rows[i], table.columns, strict=True))
    ]
    marked = ' class="marked"' if i in table.marked else ""
    return f"<tr{marked}>{''.join(cells)}</tr>"


def _cell(value: Value, column: Column, table: ReportTable, first: bool) -> str:
    words = text(shown(value, column.kind))
    key = ""
    if isinstance(value, tuple):
        if table.axes and value[1] is not None and value[2] is not None:
            key = f' data-low="{value[1]}" data-high="{value[2]}"'
        middle, _, between = words.partition(" ")
        words = f'{middle} <span class="soft">{between}</span>' if between else middle
        value = value[0]
    if table.sortable and column.kind != "text" and isinstance(value, int | float):
        key += f' data-v="{value}"'
    side = "" if column.kind == "text" else ' class="n"'
    if first:
        return f'<th scope="row"{side}{key}>{words}</th>'
    return f"<td{side}{key}>{words}</td>"


def coded(line: str) -> str:
    """Text for HTML; what stands in backticks is code."""
    parts = text(line).split("`")
    if len(parts) % 2 == 0:
        return text(line)
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
