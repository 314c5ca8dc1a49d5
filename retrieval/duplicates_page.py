"""The page of duplicates: each group side by side, the photo to keep first."""

from collections.abc import Iterator
from typing import Any

from embed.words import counted
from retrieval.duplicate_groups import Duplicates
from retrieval.sections import Item, Row, Section, Shown, facts, write_sections

# What bounds the page: 80 · 8 pictures.
GROUPS, PHOTOS = 80, 8
_TITLES = {
    "exact": "The same file, or the same picture to the bit",
    "near": "The same photo, saved or cut differently",
    "maybe": "Maybe the same: to judge by eye",
}


def write_duplicates_page(found: Duplicates) -> None:
    """Write duplicates.html into the folder: one file that loads nothing."""
    write_sections(
        found.folder / "duplicates.html",
        f"{counted(len(found.groups), 'group')} of copies",
        "In each group the photo to keep stands first: the one with the most pixels, then bytes. "
        "Nothing was removed.",
        _sections(found),
    )


def _sections(found: Duplicates) -> Iterator[Section]:
    parts = [(name, [line]) for name, line in found.parts()]
    yield Section("overview", "Overview", body=facts(parts))
    left = GROUPS
    for kind, title in _TITLES.items():
        groups = [rows for rows in found.groups if rows["kind"].iloc[0] == kind]
        shown, left = groups[:left], max(0, left - len(groups))
        intro = []
        if len(shown) < len(groups):
            intro = [f"The first {len(shown):,} of {len(groups):,}; all are in duplicates.csv."]
        if shown or groups:
            yield Section(kind, title, intro, [_item(rows) for rows in shown])


def _item(rows: Any) -> Item:
    kept, *others = rows.to_dict("records")
    beside = [_shown(row, f"cosine {row['cosine']:.3f}") for row in others[: PHOTOS - 1]]
    more = len(others) - len(beside)
    caption = counted(len(others), "copy", "copies") + (f", {more:,} not shown" if more else "")
    return Item(f"Group {kept['group']}", [_shown(kept, "keep")], [Row(caption, beside)])


def _shown(row: dict[str, Any], line: str) -> Shown:
    lines = [line, f"{row['width']} × {row['height']}" if row["width"] == row["width"] else ""]
    if row["new"]:
        lines.append("not in the collection")
    return Shown(row["path"], row["file_path"], tuple(filter(None, lines)))
