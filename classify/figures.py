"""Pictures: which classes are taken for which, and how the cells of a sweep compare."""

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embed.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 140
# Okabe and Ito's colours, told apart by colour-blind eyes; the shapes help in print
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SHAPES = ("o", "s", "^", "D", "v", "P", "X")


def confusion_picture(
    counts: NDArray[np.integer[Any]], classes: Sequence[str], path: Path, worst: int = 20
) -> None:
    """Write a PNG of the `worst` classes: those that take part in the heaviest confusions.

    counts : (C, C) int, rows are the true classes, columns what they were taken for
    A colour is the share of the row's photos, blue where right and orange where wrong; the last
    column gathers what was taken for a class that is not shown. Classes that are taken for each
    other stand side by side.
    """
    counts = np.asarray(counts)
    shown = _worst_first(counts, worst)
    whole = counts[shown].sum(axis=1, keepdims=True)
    table = counts[np.ix_(shown, shown)]
    rows = columns = [_short(classes[i]) for i in shown]
    title = f"{counts.sum() - np.trace(counts):,} of {counts.sum():,} photos wrong"
    if len(shown) < len(counts):
        table = np.hstack([table, whole - table.sum(axis=1, keepdims=True)])
        columns = [*rows, "another class"]
        title += f"; the {len(rows)} most confused of {len(counts):,} classes"

    room = 0.085 * max(map(len, columns)) + 0.5  # inches that the labels take
    figure = new_figure(max(0.36 * len(columns) + room, 5), 0.36 * len(rows) + room + 0.7)
    legend = "numbers: photos; colour: share of the row, blue right, orange wrong"
    figure.suptitle(f"{title}\n{legend}", fontsize=8.5)
    axes = figure.add_subplot(xlabel="taken for", ylabel="true class", anchor="N")
    _draw_cells(axes, table, table / np.maximum(whole, 1))
    _ticks(axes, {"x": columns, "y": rows})
    _save(figure, path)


def _worst_first(counts: NDArray[Any], most: int) -> NDArray[Any]:
    """The `most` classes with the heaviest mutual confusions, those confused side by side."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    mixed = (counts + counts.T).astype(float)
    np.fill_diagonal(mixed, 0)
    # Squares: ten photos taken for one class weigh more than ten taken for ten classes.
    heavy = np.argsort(-(mixed**2).sum(axis=1), kind="stable")[:most]
    with_partner = np.stack([heavy, mixed[heavy].argmax(axis=1)], axis=1)
    shown = np.array(list(dict.fromkeys(with_partner.ravel().tolist()))[:most])
    if len(shown) < 3:
        return shown
    apart = squareform(1 / (1 + mixed[np.ix_(shown, shown)]), checks=False)
    return np.asarray(shown[leaves_list(linkage(apart, "average", optimal_ordering=True))])


def _draw_cells(axes: "Axes", table: NDArray[Any], share: NDArray[np.float64]) -> None:
    colours = _colours(share)
    axes.imshow(colours)
    for row, column in np.argwhere(table):
        ink = "white" if colours[row, column].mean() < 0.6 else "black"
        text = f"{table[row, column]}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=ink)
    for edge in range(1, max(table.shape)):
        axes.axhline(edge - 0.5, color="0.9", linewidth=0.5)
        axes.axvline(edge - 0.5, color="0.9", linewidth=0.5)


def _colours(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows, columns) shares -> RGB: white to blue on the diagonal, white to orange beside it."""
    right = np.eye(*share.shape)[..., None]
    full = right * (0.0, 0.447, 0.698) + (1 - right) * (0.835, 0.369, 0.0)
    # The root lifts the few per cent of a usual error off the white of none.
    colours: NDArray[np.float64] = 1 - np.sqrt(share)[..., None] * (1 - full)
    return colours


def sweep_picture(table: Any, path: Path, metric: str = "macro-F1", most: int = 60) -> None:
    """Write a PNG with a dot and its interval for every cell of a sweep, the best on top.

    table : DataFrame with name, value, low, high and group (the colour); NaN low or high: no bar
    Only the `most` best cells are drawn.
    """
    cells = table.sort_values("value", ascending=False, kind="stable").head(most)
    names = [_short(name, 60) for name in cells["name"]]
    place = np.arange(len(cells))
    figure = new_figure(6.5 + 0.06 * max(map(len, names), default=0), 0.25 * len(cells) + 1.6)
    axes = figure.add_subplot()
    groups = list(dict.fromkeys(table["group"].astype(str)))
    for nth, group in enumerate(groups):
        mine = (cells["group"].astype(str) == group).to_numpy()
        hue, shape = HUES[nth % len(HUES)], SHAPES[nth // len(HUES) % len(SHAPES)]
        axes.hlines(place[mine], cells["low"][mine], cells["high"][mine], color=hue, alpha=0.6)
        axes.plot(
            cells["value"][mine],
            place[mine],
            shape,
            color=hue,
            markersize=5,
            label=f" {_short(group)}",
        )
    _ticks(axes, {"y": names})
    axes.set_ylim(len(cells) - 0.4, -0.6)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel(f"{metric} (line: 95% interval)")
    if len(cells) < len(table):
        axes.set_title(f"the {most} best of {len(table):,} cells", fontsize=9)
    if len(groups) > 1:
        columns = max(1, 60 // (max(map(len, groups)) + 6))
        legend = figure.legend(loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)
    _save(figure, path)


def new_figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _ticks(axes: "Axes", names: dict[str, Sequence[str]]) -> None:
    """Write `names` of the axes 'x' and 'y' at 0, 1, 2…, as they are (a `$` is no formula)."""
    for which, labels in names.items():
        axis = axes.xaxis if which == "x" else axes.yaxis
        turn = 90 if which == "x" else 0
        axis.set_ticks(range(len(labels)), labels, fontsize=8, parse_math=False, rotation=turn)
        axis.set_tick_params(length=0)


def _short(label: object, longest: int = 30) -> str:
    """One line; of a long one, the beginning and the end."""
    text = " ".join(str(label).split())
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half + 1 :]}"


def _save(figure: "Figure", path: Path) -> None:
    image = BytesIO()
    with warnings.catch_warnings():
        # Labels may be in a script that the font lacks: boxes are drawn, and the CSV has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(image, format="png", dpi=DPI)
    write_bytes(path, image.getvalue())
