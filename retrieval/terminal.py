"""Hits as pictures in a terminal: rows of thumbnails with rank, cosine, label and name below."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from embed import sources
from embed.images import ImageProblem, decode_at
from retrieval.hit_forms import harmless, percent, rows_of
from retrieval.sixel import sixel
from retrieval.terminal_kind import Terminal

MAX_SHOWN = 120  # hits: a terminal scrolls, it does not page
_MAX_COLUMNS = 240
_WIDTH, _HEIGHT, _GAP = 22, 8, 2  # characters of a picture: with those of 1:2, about 4:3
_CHUNK = 4096  # base64 characters: kitty takes no more at a time
_WELL = (128, 128, 128, 96)


def terminal_gallery(hits: Any, terminal: Terminal, label: str | None = None) -> str:
    """The first `MAX_SHOWN` hits as pictures for `hit_forms.write_out`; "" where it shows none.

    hits : as `retrieval.lookalikes` gives them (an Arrow table or a DataFrame); terminal : see
    `terminal_kind.this_terminal`; label : the column of the labels. Names are shown without what
    could act on the terminal. A photo that cannot be read is a grey frame with the reason.
    """
    if terminal.pictures == "none":
        return ""
    _, found = rows_of(hits)
    queries: dict[Any, list[dict[str, Any]]] = {}
    for hit in found[:MAX_SHOWN]:
        queries.setdefault(hit["query"], []).append(hit)
    parts = []
    for query, own in queries.items():
        parts += [f"{harmless(query)}\n"] if len(queries) > 1 else []
        parts += _grid(own, terminal, label)
    if len(found) > MAX_SHOWN:
        parts.append(f"… and {len(found) - MAX_SHOWN:,} more hits\n")
    return "".join(parts)


def _grid(hits: Sequence[Mapping[str, Any]], terminal: Terminal, label: str | None) -> list[str]:
    columns = min(terminal.columns, _MAX_COLUMNS)
    width = min(_WIDTH, columns)
    across = max(1, (columns + _GAP) // (width + _GAP))
    cell = (1, 2) if terminal.pictures == "blocks" else terminal.cell
    box = (width * cell[0], _HEIGHT * cell[1])
    with ThreadPoolExecutor(max_workers=4) as pool:
        tiles = list(pool.map(lambda hit: _thumbnail(hit["path"], box), hits))
    return [
        _picture(strip([picture for picture, _ in row], _GAP * cell[0]), terminal)
        + _words(hits[at : at + across], [why for _, why in row], width, label)
        for at in range(0, len(hits), across)
        for row in [tiles[at : at + across]]
    ]


def _thumbnail(location: str, box: tuple[int, int]) -> tuple[Image.Image, str]:
    """A photo in the middle of a transparent picture of the size `box`; why there is none."""
    tile = Image.new("RGBA", box)
    try:
        photo = decode_at(sources.read(location), [max(box)])[0]
    except ImageProblem as error:
        tile.paste(_WELL, (0, 0, *box))
        return tile, str(error)
    scale = min(box[0] / photo.width, box[1] / photo.height)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    small = photo.resize(size, Image.Resampling.BOX if scale > 1 else Image.Resampling.LANCZOS)
    tile.paste(small, ((box[0] - size[0]) // 2, (box[1] - size[1]) // 2))
    return tile, ""


def strip(tiles: Sequence[Image.Image], gap: int) -> Image.Image:
    """Pictures of one size side by side, `gap` transparent pixels between them."""
    width, height = tiles[0].size
    whole = Image.new("RGBA", (len(tiles) * (width + gap) - gap, height))
    for i, tile in enumerate(tiles):
        whole.paste(tile, (i * (width + gap), 0))
    return whole


def _words(
    hits: Sequence[Mapping[str, Any]], problems: Sequence[str], width: int, label: str | None
) -> str:
    """Three lines below a row of pictures, and an empty one."""
    lines = [
        [_numbers(hit) for hit in hits],
        [(hit[label] if label else None) or "" for hit in hits],
        [
            f"no picture: {why}" if why else hit["file_path"].rsplit("/", 1)[-1]
            for hit, why in zip(hits, problems, strict=True)
        ],
    ]
    return "".join(
        (" " * _GAP).join(_fitted(text, width) for text in line).rstrip() + "\n"
        for line in lines
        if any(line)
    ) + "\n"  # fmt: skip


def _numbers(hit: Mapping[str, Any]) -> str:
    percentile, folded = hit.get("percentile"), hit.get("folded")
    above = "" if percentile is None else f"  {percent(percentile)}%"
    return f"{hit['rank']}  {hit['similarity']:.3f}{above}" + (f"  +{folded}" if folded else "")


def _fitted(text: str, width: int) -> str:
    """`text` in just `width` columns, cut in the middle: names differ at their ends."""
    from rich.cells import cell_len, chop_cells, set_cell_size

    text = harmless(text)
    if cell_len(text) > width > 2:
        end = chop_cells(text[::-1], width // 2)[0][::-1]
        start = chop_cells(text, width - 1 - cell_len(end))[0]
        text = f"{start}…{end}"
    return set_cell_size(text, width)


def _picture(whole: Image.Image, terminal: Terminal) -> str:
    """A strip of thumbnails in the terminal's protocol; the cursor ends at the line below."""
    if terminal.pictures == "blocks":
        return blocks(whole)
    size = (-(-whole.width // terminal.cell[0]), _HEIGHT)
    if terminal.pictures == "kitty":
        drawn = kitty(whole, size)
    elif terminal.pictures == "iterm":
        drawn = iterm(whole, size)
    else:
        drawn = sixel(whole)
    # Where a protocol leaves the cursor differs: room is made first, then it is put back
    room = "\n" * _HEIGHT
    return f"{room}\x1b[{_HEIGHT}A\x1b7{drawn}\x1b8{room}"


def kitty(picture: Image.Image, size: tuple[int, int]) -> str:
    """`picture` in kitty's graphics protocol, on `size` (columns, rows) characters.

    It asks for no answer (q=2), which would be read as keys. See "Terminal graphics protocol",
    https://sw.kovidgoyal.net/kitty/graphics-protocol.
    """
    data = base64.b64encode(_png(picture)).decode("ascii")
    chunks = [data[i : i + _CHUNK] for i in range(0, len(data), _CHUNK)]
    first = f"a=T,f=100,t=d,q=2,C=1,c={size[0]},r={size[1]},"
    more = [1] * (len(chunks) - 1) + [0]
    return "".join(
        f"\x1b_G{'q=2,' if i else first}m={more[i]};{chunk}\x1b\\" for i, chunk in enumerate(chunks)
    )


def iterm(picture: Image.Image, size: tuple[int, int]) -> str:
    """`picture` as iTerm2's inline image, on `size` (columns, rows) characters.

    See "Inline Images Protocol", https://iterm2.com/documentation-images.html.
    """
    data = _png(picture)
    keys = f"inline=1;size={len(data)};width={size[0]};height={size[1]};preserveAspectRatio=0"
    return f"\x1b]1337;File={keys}:{base64.b64encode(data).decode('ascii')}\a"


def blocks(picture: Image.Image) -> str:
    """`picture` (RGBA) as half blocks in 24-bit colour: a character for two pixels, one above."""
    pixels = np.asarray(picture)
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[:1])])
    upper, lower = pixels[::2].tolist(), pixels[1::2].tolist()
    return "".join(
        "".join(_half_blocks(zip(above, below, strict=True))) + "\x1b[0m\n"
        for above, below in zip(upper, lower, strict=True)
    )


def _half_blocks(pairs: Iterator[tuple[Sequence[int], Sequence[int]]]) -> Iterator[str]:
    """The characters of one line; a colour is said only where it changes."""
    before = "\x1b[0m"
    for above, below in pairs:
        top, bottom = above[3] > 127, below[3] > 127
        ink, paper = (above, below) if top else (below, above)
        colour = "\x1b[0m"
        if top or bottom:
            colour = f"\x1b[38;2;{ink[0]};{ink[1]};{ink[2]}"
            both = top and bottom
            colour += f";48;2;{paper[0]};{paper[1]};{paper[2]}m" if both else ";49m"
        yield "" if colour == before else colour
        yield "▀" if top else "▄" if bottom else " "
        before = colour


def _png(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()
