"""The collection as a map: a page to zoom, to colour by any column and to cut groups out of."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.collection import load_collection
from embed.errors import UserError, did_you_mean
from embed.files import sha256
from embed.vectors import load_vectors, open_stores
from embed.words import counted
from embed.workspace import Workspace, slug
from retrieval.layout_2d import (
    COMPONENTS,
    F32,
    K,
    Layout,
    Method,
    choose,
    lay_out,
    load_layout,
    save_layout,
)
from retrieval.map_data import (
    map_column,
    map_columns,
    map_data,
    map_pictures,
    most_central,
    packed,
)
from retrieval.page import data_block, text, write_page

MOST_PICTURES = 4_000
MOST_COLUMNS = 30  # of the table; what the page says of a photo
_MOST_NAMED = 300  # classes in the table below the map

_SCRIPTS = ("map.js", "map_pointer.js")  # one script, in this order
_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


@dataclass(frozen=True)
class MapReport:
    """What was laid out, how good it is and where the page lies."""

    layout: Layout
    encoders: tuple[str, ...]
    output: Path
    cache: Path
    reused: bool  # the layout was there already
    pictures: int  # photos with a picture in the page
    left_out: tuple[str, ...] = ()  # columns beyond `MOST_COLUMNS`

    def lines(self) -> list[str]:
        """For the terminal."""
        size = self.output.stat().st_size / 1e6
        n = len(self.layout.xy)
        shown = f"{self.pictures:,} of {n:,} photos" if self.pictures < n else "each photo"
        lines = [
            *_said(self.layout, self.encoders),
            f"Layout: {self.cache} ({'as before' if self.reused else 'new'})",
            f"Map: {self.output} ({size:.1f} MB, with a picture of {shown})",
        ]
        if self.left_out:
            lines.append(f"Columns left out: {', '.join(self.left_out)}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """For a script."""
        about = {name: value for name, value in vars(self.layout).items() if name != "xy"}
        return {
            **about,
            "photos": len(self.layout.xy),
            "encoders": list(self.encoders),
            "output": str(self.output),
            "layout": str(self.cache),
            "reused": self.reused,
            "pictures": self.pictures,
            "left_out": list(self.left_out),
        }


def make_map(
    workspace: Workspace,
    encoders: Sequence[str] | None = None,
    method: Method = "auto",
    colour: str | None = None,
    output: Path = Path("map.html"),
    seed: int = 0,
    pictures: int = MOST_PICTURES,
) -> MapReport:
    """Lay the collection out and write the page; a layout made before is not computed again.

    encoders : whose vectors, side by side, by default those of the last `embed`; colour : the
    column that colours the map at first, by default the label; pictures : photos with a picture
    in the page, fewer where they would be larger than `map_data.PICTURE_BYTES`. Layouts are kept in
    maps/NAME.npz of the workspace (see `save_layout`). Raises `UserError` for a column or method
    that there is not, and where vectors are missing.
    """
    collection = load_collection(workspace.collection)
    rows = collection.rows
    columns = map_columns(rows, colour or collection.label)
    if colour is not None and colour not in columns:
        raise UserError(f"There is no column '{colour}'. {did_you_mean(colour, columns)}")
    stores = open_stores(workspace, encoders)
    names = tuple(store.spec.name for store in stores)
    ids, keys = rows["id"].tolist(), rows["key"].tolist()
    chosen: Any = choose(method, len(ids))
    cache = _layout_file(workspace, names, chosen, seed)
    source = sha256("\n".join([*(store.spec.digest for store in stores), *ids, *keys]).encode())
    layout = load_layout(cache, ids, source)
    reused = layout is not None
    if layout is None:
        layout = lay_out(load_vectors(stores, keys), chosen, seed)
        save_layout(cache, layout, ids, source)
    made = write_map(output, rows, layout, columns[:MOST_COLUMNS], names, pictures)
    return MapReport(layout, names, output, cache, reused, made, tuple(columns[MOST_COLUMNS:]))


def _layout_file(workspace: Workspace, names: Sequence[str], method: str, seed: int) -> Path:
    encoders = "+".join(slug(name) for name in names)
    return workspace.folder / "maps" / f"{encoders}-{method}-{seed}.npz"


def write_map(
    path: Path,
    rows: Any,
    layout: Layout,
    columns: Sequence[str],
    encoders: Sequence[str],
    pictures: int = MOST_PICTURES,
) -> int:
    """Write the page of a layout of `rows` to `path`; returns how many photos have a picture.

    rows : the collection (DataFrame with id, path, file_path and `columns`); the map is coloured
    by the first of `columns`. One file, opened from disk; it loads nothing.
    """
    folder = path.absolute().parent
    chosen = most_central(layout.xy, pictures)
    shown = map_pictures([rows["path"].iloc[i] for i in chosen], chosen)
    table = [map_column(name, rows[name]) for name in columns]
    title = f"Map of {counted(len(rows), 'photo')}"
    page = files("retrieval")
    write_page(
        path,
        title,
        page.joinpath("map_body.html").read_text("utf-8")
        + _in_words(layout, encoders, table)
        + data_block("map-data", packed(map_data(rows, layout.xy, table, folder)))
        + data_block("map-pictures", shown),
        header=f"<p>{text(_said(layout, encoders)[0])}</p>",
        footer="Photos belong to those who took them.",
        style=page.joinpath("map.css").read_text("utf-8"),
        script="\n".join(page.joinpath(name).read_text("utf-8") for name in _SCRIPTS),
        skip="To the map",
    )
    return len(shown)


# ---- the map in words


def _said(layout: Layout, encoders: Sequence[str]) -> list[str]:
    n = len(layout.xy)
    lines = [f"{counted(n, 'photo')} by {_NAMES[layout.method]} on {' + '.join(encoders)}"]
    if layout.fitted < n:
        lines.append(
            f"{layout.fitted:,} photos were laid out by {_NAMES[layout.method]}, drawn at random; "
            f"the other {n - layout.fitted:,} lie among those most like them."
        )
    if layout.kept is not None and layout.trust is not None:
        k = min(K, (n - 1) // 2)
        chance = k / (n - 1)
        lines.append(
            f"Of the {k} photos nearest to one on the map, {layout.kept:.0%} are among the {k} "
            f"most like it (by chance {chance:.1%}); trustworthiness {layout.trust:.3f} of 1."
        )
    parts = 2 if layout.method == "pca" else COMPONENTS
    lines.append(f"It was made from {parts} principal components: {layout.variance:.0%} of the "
                 "variance.")  # fmt: skip
    return lines


def _in_words(layout: Layout, encoders: Sequence[str], columns: Sequence[dict[str, Any]]) -> str:
    """What the picture says, for those who cannot see it."""
    said = "".join(f"<li>{text(line)}</li>" for line in _said(layout, encoders))
    table = ""
    if columns and "words" in columns[0]:
        table = _classes(columns[0], layout.xy)
    return (
        '<section class="words" aria-labelledby="words-h"><h2 id="words-h">The map in words</h2>'
        f"<ul>{said}<li>What lies together looks alike to the encoder. Distances between groups, "
        f"their sizes and directions mean little.</li></ul>{table}</section>"
    )


def _classes(column: dict[str, Any], xy: F32) -> str:
    name, names = text(column["name"]), column["words"]
    counts, own = _own_neighbours(np.asarray(column["codes"]), xy)
    lines = "".join(
        f'<tr><th scope="row">{text(names[c])}</th><td>{counts[c]:,}</td><td>{own[c]:.0%}</td></tr>'
        for c in range(min(len(names), _MOST_NAMED))
    )
    note = (
        f"<p>The {_MOST_NAMED} largest of {len(names):,}.</p>" if len(names) > _MOST_NAMED else ""
    )
    return (
        f"<details><summary>Each {name} on the map</summary>{note}"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Each {name} on the map">'
        f'<table><thead><tr><th scope="col">{name}</th><th scope="col">photos</th>'
        f'<th scope="col">nearest on the map of the same {name}</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div></details>"
    )


def _own_neighbours(codes: NDArray[np.int64], xy: F32) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of each code >= 0 the rows, and the share of their nearest on the map with their code."""
    from scipy.spatial import cKDTree

    k = min(K, len(xy) - 1)
    near = cKDTree(xy).query(xy, k + 1)[1].reshape(len(xy), -1)[:, 1:]
    same = (codes[near] == codes[:, None]).mean(axis=1) if k else np.zeros(len(xy))
    known = codes >= 0
    counts = np.bincount(codes[known])
    return counts, np.bincount(codes[known], same[known]) / counts
