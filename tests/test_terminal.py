"""What is written to a terminal is decoded again: the same photos, in their places."""

import base64
import io
import os
import re
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from embed.errors import UserError
from retrieval import terminal_kind
from retrieval.sixel import sixel
from retrieval.terminal import MAX_SHOWN, blocks, iterm, kitty, strip, terminal_gallery
from retrieval.terminal_kind import Answer, Terminal, protocol, this_terminal

KINDS = ("kitty", "iterm", "sixel", "blocks")
NASTY = "a\x1b]0;title\x07\x9b2J\n\u202eb.png"


def decode_kitty(text):
    """The picture and the keys of a kitty sequence."""
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert "".join(f"\x1b_G{keys};{data}\x1b\\" for keys, data in parts) == text
    assert all(len(data) <= 4096 and len(data) % 4 == 0 for _, data in parts)
    keys = [dict(pair.split("=") for pair in keys.split(",")) for keys, _ in parts]
    assert [key["m"] for key in keys] == ["1"] * (len(keys) - 1) + ["0"]
    assert all(set(key) == {"q", "m"} for key in keys[1:])
    return opened("".join(data for _, data in parts)), keys[0]


def decode_iterm(text):
    found = re.fullmatch(r"\x1b\]1337;File=([^:]*):([^\x07]*)\x07", text)
    keys = dict(pair.split("=") for pair in found[1].split(";"))
    assert int(keys["size"]) == len(base64.b64decode(found[2], validate=True))
    return opened(found[2]), keys


def opened(data):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))


def decode_sixel(text):
    """RGBA pixels of a sixel sequence (DEC STD 070, chapter 9), what is not drawn transparent."""
    head = re.match(r'\x1bP0;1;0q"1;1;(\d+);(\d+)', text)
    width, height = int(head[1]), int(head[2])
    pixels = np.zeros((-(-height // 6) * 6, width, 4), dtype=np.uint8)
    token = re.compile(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|([$-])|(\x1b\\$)")
    registers, colour, x, y, at = {}, None, 0, 0, head.end()
    while at < len(text):
        part = token.match(text, at)
        assert part, text[at : at + 20]
        at = part.end()
        if part[1]:
            registers[part[1]] = [round(int(part[i]) * 2.55) for i in (2, 3, 4)]
        elif part[5]:
            colour = registers[part[5]]
        elif part[7] or part[8]:
            n, bits = int(part[6] or 1), ord(part[7] or part[8]) - 63
            for row in range(6):
                if bits >> row & 1:
                    assert (pixels[y + row, x : x + n, 3] == 0).all()  # no pixel twice
                    pixels[y + row, x : x + n] = [*colour, 255]
            x += n
            assert x <= width
        elif part[9]:
            x, y = 0, y + 6 * (part[9] == "-")
    assert part[10]
    assert not pixels[height:].any()
    return pixels[:height]


def decode_blocks(text):
    """RGBA pixels of lines of half blocks, as a terminal would paint them."""
    rows = []
    for line in text.removesuffix("\n").split("\n"):
        above, below, ink, paper = [], [], None, None
        for sgr, char in re.findall(r"\x1b\[([\d;]*)m|(.)", line):
            if not char:
                codes = [int(code) for code in sgr.split(";")]
                if codes == [0]:
                    ink = paper = None
                while codes != [0] and codes:
                    if codes[0] == 49:
                        paper, codes = None, codes[1:]
                    else:
                        colour = [*codes[2:5], 255]
                        ink, paper = (colour, paper) if codes[0] == 38 else (ink, colour)
                        assert codes[0] in (38, 48)
                        assert codes[1] == 2
                        codes = codes[5:]
                continue
            above.append({"▀": ink, "▄": paper, " ": paper}[char] or [0] * 4)
            below.append({"▀": paper, "▄": ink, " ": paper}[char] or [0] * 4)
        rows += [above, below]
    return np.array(rows, dtype=np.uint8)


def colours_of(picture):
    """RGBA pixels with what is transparent as zeros."""
    pixels = np.array(picture)
    pixels[pixels[..., 3] < 128] = 0
    return pixels


def random_picture(width, height, seed=0, colours=None):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    if colours:
        pixels = rng.integers(0, 256, (colours, 4), dtype=np.uint8)[
            rng.integers(0, colours, (height, width))
        ]
    pixels[..., 3] = np.where(rng.random((height, width)) < 0.2, 0, 255)
    return Image.fromarray(pixels, "RGBA")


@pytest.mark.parametrize("size", [(1, 1), (64, 48), (300, 160)])
def test_kitty_and_iterm_send_the_very_picture(size):
    picture = random_picture(*size)
    pixels, keys = decode_kitty(kitty(picture, (22, 8)))
    assert (pixels == np.asarray(picture)).all()
    assert keys == {
        "a": "T", "f": "100", "t": "d", "q": "2", "C": "1", "c": "22", "r": "8", "m": keys["m"],
    }  # fmt: skip
    pixels, keys = decode_iterm(iterm(picture, (22, 8)))
    assert (pixels == np.asarray(picture)).all()
    assert keys["inline"] == "1"
    assert (keys["width"], keys["height"], keys["preserveAspectRatio"]) == ("22", "8", "0")


SIZES = st.tuples(st.integers(1, 40), st.integers(1, 20))


@settings(deadline=None, max_examples=40)
@given(SIZES, st.integers(0, 99))
def test_sixels_of_few_colours_are_the_picture(size, seed):
    picture = random_picture(*size, seed, colours=12)
    wanted = colours_of(picture).astype(int)
    found = decode_sixel(sixel(picture)).astype(int)
    assert (found[..., 3] == wanted[..., 3]).all()
    assert np.abs(found - wanted).max() <= 2  # colours are told in percent


def test_sixels_of_a_photo_are_within_the_error_of_its_palette():
    ramp = np.linspace(0, 255, 200)[None, :] * np.ones((120, 1))
    pixels = np.stack([ramp, ramp[:, ::-1], 255 * np.sin(ramp / 40) ** 2], axis=2)
    picture = Image.fromarray(pixels.astype(np.uint8)).convert("RGBA")
    found = decode_sixel(sixel(picture)).astype(int)
    palette = picture.convert("RGB").quantize(255, dither=Image.Dither.NONE).convert("RGB")
    assert np.abs(found[..., :3] - np.asarray(palette, dtype=int)).max() <= 2
    assert np.abs(found[..., :3] - pixels).mean() < 4


@settings(deadline=None, max_examples=40)
@given(SIZES, st.integers(0, 99))
def test_blocks_are_the_picture(size, seed):
    picture = random_picture(*size, seed, colours=4)
    wanted = colours_of(picture)
    found = decode_blocks(blocks(picture))
    assert (found[: len(wanted)] == wanted).all()
    assert not found[len(wanted) :].any()


@pytest.fixture
def hits(tmp_path):
    """Seven photos of one colour each, the third one gone, the fifth with a nasty name."""
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250), (9, 9, 9)]
    names = ["a.png", "b.png", "c.png", "d.png", NASTY, "f.png", "gone.png"]
    for i, (name, colour) in enumerate(zip(names, colours, strict=False)):
        Image.new("RGB", [(80, 60), (30, 60), (600, 60)][i % 3], colour).save(tmp_path / name)
    return pd.DataFrame(
        {
            "query": "q",
            "rank": range(1, 8),
            "id": names,
            "similarity": np.linspace(1, 0.4, 7, dtype=np.float32),
            "percentile": [100, 99.987, 98, 97, 96, 95, np.nan],
            "file_path": [f"photos/{name}" for name in names],
            "path": [str(tmp_path / name) for name in names],
            "folded": [0, 3, 0, 0, 0, 0, 0],
            "family": ["felidae", "日本の長い長い長い長い長い名前", None, NASTY, "e", "f", "g"],
        }
    )


def pictures_of(text, kind):
    """The strips of thumbnails of a gallery and the text between them."""
    if kind == "blocks":
        line = r"(?:(?:\x1b\[[\d;]*m|[▀▄ ])*\x1b\[0m\n)+"
        return [decode_blocks(part) for part in re.findall(line, text)], re.sub(line, "", text)
    sequence = {
        "kitty": r"((?:\x1b_G[^\x1b]*\x1b\\)+)",
        "iterm": r"(\x1b\]1337;[^\x07]*\x07)",
        "sixel": r"(\x1bP[^\x1b]*\x1b\\)",
    }[kind]
    # room below is made first, and the cursor comes back to where it was
    place = rf"\n{{8}}\x1b\[8A\x1b7{sequence}\x1b8\n{{8}}"
    decode = {"kitty": decode_kitty, "iterm": decode_iterm, "sixel": lambda t: (decode_sixel(t),)}
    return [decode[kind](part)[0] for part in re.findall(place, text)], re.sub(place, "", text)


@pytest.mark.parametrize("kind", KINDS)
def test_each_photo_stands_above_its_words(hits, kind):
    cell = (1, 2) if kind == "blocks" else (10, 20)
    shown = terminal_gallery(hits, Terminal(kind, 100, (10, 20)), "family")
    strips, words = pictures_of(shown, kind)
    wide, high, step = 22 * cell[0], 8 * cell[1], 24 * cell[0]
    assert [s.shape[:2] for s in strips] == [(high, 3 * step + wide), (high, 2 * step + wide)]
    for i, path in enumerate(hits["path"].head(6)):
        tile = strips[i // 4][:, (i % 4) * step :][:, :wide]
        photo = Image.open(path)
        wanted = ImageOps.contain(photo, (wide, high)).size
        ys, xs = np.nonzero(tile[..., 3])
        box = (xs.max() - xs.min() + 1, ys.max() - ys.min() + 1)
        assert np.abs(np.subtract(box, wanted)).max() <= 1
        assert np.abs(xs.max() + xs.min() + 1 - wide) <= 2  # in the middle
        assert np.abs(ys.max() + ys.min() + 1 - high) <= 2
        assert np.abs(tile[ys, xs, :3].astype(int) - photo.getpixel((0, 0))).max() <= 2
        assert not tile[..., 3].all() or i % 3 == 0
    lines = words.split("\n")
    assert len(lines) == 9
    assert re.split(r"\s{2,}", lines[0]) == [
        "1", "1.000", "100.00%", "2", "0.900", "99.98%", "+3", "3", "0.800", "98.00%",
        "4", "0.700", "97.00%",
    ]  # fmt: skip
    assert lines[1].startswith("felidae" + 17 * " " + "日本の長い…い長い名前  ")
    assert lines[2].split() == ["a.png", "b.png", "c.png", "d.png"]
    assert lines[4].endswith("7  0.400")
    assert lines[6].endswith("  no picture…s not exist")
    assert words.replace("\n", "").isprintable()


@pytest.mark.parametrize("kind", KINDS)
def test_the_gallery_has_bounds(hits, kind):
    from rich.cells import cell_len

    for columns in (1, 7, 21, 22, 45, 46, 500):
        strips, words = pictures_of(
            terminal_gallery(hits, Terminal(kind, columns, (8, 16)), "family"), kind
        )
        assert max(map(cell_len, words.split("\n"))) <= columns
        pixels = min(columns, 240) * (1 if kind == "blocks" else 8)
        assert max(s.shape[1] for s in strips) <= pixels
    many = pd.concat([hits.head(1)] * 1000, ignore_index=True)
    many["rank"] = range(1, 1001)
    shown = terminal_gallery(many.head(130), Terminal(kind, 240, (4, 8)))
    assert shown.endswith("… and 10 more hits\n")
    assert f"{MAX_SHOWN}  1.000" in shown
    assert f"{MAX_SHOWN + 1}  1.000" not in shown


def test_several_queries_have_their_names(hits):
    hits["query"] = ["x\x1b[2J"] * 2 + ["y"] * 5
    shown = terminal_gallery(hits, Terminal("blocks", 100))
    _, words = pictures_of(shown, "blocks")
    assert [line for line in words.split("\n") if line in ("x\\x1b[2J", "y")] == ["x\\x1b[2J", "y"]
    assert terminal_gallery(hits.head(0), Terminal("kitty")) == ""


def test_strip_keeps_places():
    tiles = [random_picture(5, 4, seed) for seed in range(3)]
    whole = np.asarray(strip(tiles, 2))
    assert whole.shape == (4, 19, 4)
    for i, tile in enumerate(tiles):
        assert (whole[:, 7 * i : 7 * i + 5] == np.asarray(tile)).all()
    assert not whole[:, 5:7].any()


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "foot", "COLORTERM": "truecolor"}, "blocks"),
        ({"TERM": "xterm-direct"}, "blocks"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, "none"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, "none"),
        ({"TERM": "tmux-256color", "TMUX": "/t", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({"TERM": "screen", "STY": "1", "LC_TERMINAL": "iTerm2"}, "blocks"),
        ({"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, "none"),
        ({}, "none"),
    ],
)
def test_the_environment_tells_the_protocol(env, kind):
    assert protocol(env, Answer) == kind
    assert protocol(env, lambda: Answer(sixel=True)) == (
        kind if kind in ("kitty", "iterm") or env.get("TERM", "dumb") == "dumb" else "sixel"
    )
    assert protocol(env, Answer, utf8=False) == ("none" if kind == "blocks" else kind)


@pytest.mark.parametrize("kind", ["auto", *KINDS])
def test_nothing_is_shown_or_asked_where_there_is_no_terminal(kind, monkeypatch, hits):
    monkeypatch.setenv("TERM", "xterm-kitty")
    monkeypatch.setattr(terminal_kind, "asked", lambda out: pytest.fail("asked"))
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    place = this_terminal(kind, out)
    assert place.pictures == "none"
    assert terminal_gallery(hits, place) == ""
    out.flush()
    assert out.buffer.getvalue() == b""
    with pytest.raises(UserError, match="Did you mean 'kitty'"):
        this_terminal("kity", out)


class Pty:
    """A terminal of which a thread plays the screen: it answers with `reply` when asked."""

    def __init__(self, reply):
        self.ours, theirs = os.openpty()
        self.out = open(theirs, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        self.keys = open(os.dup(theirs), encoding="utf-8")  # noqa: PTH123, SIM115
        self.heard = b""
        self.thread = threading.Thread(target=self.answer, args=(reply,), daemon=True)
        self.thread.start()

    def answer(self, reply):
        while not self.heard.endswith(b"\x1b[c"):
            self.heard += os.read(self.ours, 100)
        if reply:
            os.write(self.ours, reply)


@pytest.fixture
def pty(monkeypatch):
    made = []

    def make(reply):
        made.append(Pty(reply))
        monkeypatch.setattr("sys.stdin", made[-1].keys)
        return made[-1]

    for name in ("TMUX", "STY", "KITTY_WINDOW_ID", "TERM_PROGRAM", "LC_TERMINAL", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("COLUMNS", "77")
    yield make
    for one in made:
        one.out.close()
        one.keys.close()
        os.close(one.ours)


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        (b"\x1b[6;17;9t\x1b[?62;4;22c", Terminal("sixel", 77, (9, 17))),
        (b"\x1b[?63;1;2;4c", Terminal("sixel", 77, (10, 20))),
        (b"\x1b[6;17;9t\x1b[?64;1;14;44c", Terminal("blocks", 77)),
        (b"\x1b[?4;6c", Terminal("blocks", 77)),  # 4 first is the terminal's class, a VT132
        (b"\x1b[6;9999;0t\x1b[?62;4c", Terminal("sixel", 77, (10, 20))),
        (b"", Terminal("blocks", 77)),
    ],
    ids=["sixel", "sixel-without-size", "no-sixel", "class-4", "no-such-size", "silent"],
)
def test_a_terminal_is_asked_and_left_as_it_was(pty, reply, place):
    import termios

    screen = pty(reply)
    before = termios.tcgetattr(screen.keys.fileno())
    assert this_terminal("auto", screen.out) == place
    assert screen.heard == b"\x1b[16t\x1b[c"
    assert termios.tcgetattr(screen.keys.fileno()) == before


def test_what_is_known_or_named_is_not_asked(pty, monkeypatch):
    screen = pty(b"")
    monkeypatch.setenv("TERM", "xterm-kitty")
    assert this_terminal("auto", screen.out).pictures == "kitty"
    for kind in ("none", "kitty", "iterm", "blocks"):
        assert this_terminal(kind, screen.out).pictures == kind
    assert screen.heard == b""
    os.write(screen.out.fileno(), b"\x1b[c")  # lets the thread end
    screen.thread.join(5)


def test_the_system_may_know_the_pixels_of_a_character(pty):
    import fcntl
    import struct
    import termios

    screen = pty(b"\x1b[?62;4c")
    size = struct.pack("HHHH", 24, 80, 80 * 7, 24 * 15)
    fcntl.ioctl(screen.out.fileno(), termios.TIOCSWINSZ, size)
    assert this_terminal("auto", screen.out).cell == (7, 15)
