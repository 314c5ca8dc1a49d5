"""A confusion matrix in a page: drawn as SVG, hovered, zoomed and walked by the page's script."""

from collections import defaultdict

from classify.report_blocks import Matrix
from retrieval.page import data_block, text

SIZE, MARGIN = 640, 120  # units of the drawing, and of what its labels take
SHADES = 8  # of one colour
_GAP = 0.04  # of a cell, between it and the next
_FAINTEST = 0.2  # opacity


def matrix_html(matrix: Matrix) -> str:
    """The drawing with its tools; two hundred classes are some sixteen paths."""
    n = max(1, len(matrix.classes))
    name = text(matrix.name)
    options = "".join(f'<option value="{text(one)}"></option>' for one in matrix.classes)
    plot = SIZE - MARGIN
    about = (
        f"{matrix.title}. {matrix.note} Arrow keys move, N goes to the next confusion, the most "
        "frequent first, plus and minus zoom, 0 shows all. The table below says the same."
    )
    data = {
        "classes": list(matrix.classes),
        "truth": list(matrix.truth),
        "predicted": list(matrix.predicted),
        "n": list(matrix.n),
        "photos": matrix.photos,
    }
    return (
        f'<div class="matrix" data-matrix="{name}" data-margin="{MARGIN}" data-size="{SIZE}">'
        f"<h3>{text(matrix.title)}</h3>"
        f'<p class="note">{text(matrix.note)} Blue is right, orange is wrong; '
        "the stronger, the larger the share of the row.</p>"
        '<p class="tools screen"><button type="button" data-do="in">Zoom in</button>'
        '<button type="button" data-do="out">Zoom out</button>'
        '<button type="button" data-do="all">Whole matrix</button>'
        '<button type="button" data-do="next">Next confusion</button>'
        f'<label>Go to <input list="{name}-names" data-do="go"></label>'
        f'<datalist id="{name}-names">{options}</datalist></p>'
        f'<output class="readout screen" id="{name}-says" aria-live="polite">'
        "Point at a cell, or walk with the arrow keys.</output>"
        f'<div class="board" role="application" tabindex="0" aria-label="{text(about)}" '
        f'aria-describedby="{name}-says"><svg viewBox="0 0 {SIZE} {SIZE}" aria-hidden="true">'
        f'<text class="soft" x="{MARGIN - 8}" y="{MARGIN - 20}" text-anchor="end">answer →</text>'
        f'<text class="soft" x="{MARGIN - 8}" y="{MARGIN - 4}" text-anchor="end">truth ↓</text>'
        f'<rect class="well" x="{MARGIN}" y="{MARGIN}" width="{plot}" height="{plot}"/>'
        f'<svg class="cells" x="{MARGIN}" y="{MARGIN}" width="{plot}" height="{plot}" '
        f'viewBox="0 0 {n} {n}" preserveAspectRatio="none">{_cells(matrix)}'
        f'<g class="cross"></g></svg><g class="labels"></g></svg></div>'
        f"{data_block(f'{matrix.name}-data', data)}</div>"
    )


def _cells(matrix: Matrix) -> str:
    """All cells of one colour and shade are one path."""
    photos = matrix.photos
    squares: dict[tuple[str, int], list[str]] = defaultdict(list)
    side = f"{1 - 2 * _GAP:g}"
    for i, j, count in zip(matrix.truth, matrix.predicted, matrix.n, strict=True):
        if count:
            # The root lifts the few per cent of a usual error off the ground.
            share = (count / photos[i]) ** 0.5
            shade = max(1, round(SHADES * share))
            kind = "right" if i == j else "wrong"
            squares[kind, shade].append(f"M{j + _GAP:g} {i + _GAP:g}h{side}v{side}h-{side}z")
    return "".join(
        f'<path class="{kind}" opacity="{_opacity(shade)}" d="{"".join(paths)}"/>'
        for (kind, shade), paths in sorted(squares.items())
    )


def _opacity(shade: int) -> str:
    return f"{_FAINTEST + (1 - _FAINTEST) * shade / SHADES:.2f}"
