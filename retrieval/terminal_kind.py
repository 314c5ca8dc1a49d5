"""What a terminal can show: its protocol for pictures, its width and the pixels of a character."""

import os
import re
import select
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TextIO, get_args

from embed.errors import UserError, did_you_mean

Pictures = Literal["none", "kitty", "iterm", "sixel", "blocks"]
PICTURES = ("auto", *get_args(Pictures))

_SECONDS = 0.3  # that a terminal has to answer: over the net it takes some tenths
_CELL = (10, 20)  # pixels of a character where the terminal does not tell
_ASK = b"\x1b[16t\x1b[c"  # the size of a character; then what it can do, which all answer
_SIZE = re.compile(rb"\x1b\[6;(\d+);(\d+)t")
_ABILITIES = re.compile(rb"\x1b\[\?([\d;]*)c")
_TRUE_COLOUR = ("truecolor", "24bit")


@dataclass(frozen=True)
class Terminal:
    """Where pictures are shown, and how."""

    pictures: Pictures
    columns: int = 80
    cell: tuple[int, int] = _CELL  # (width, height) of a character in pixels


@dataclass(frozen=True)
class Answer:
    """What a terminal said of itself."""

    sixel: bool = False
    cell: tuple[int, int] | None = None


def this_terminal(wanted: str = "auto", out: TextIO | None = None) -> Terminal:
    """The terminal that `out` (standard output) is written to, and how pictures are shown there.

    wanted : one of `PICTURES`. Where `out` is no terminal it is `none`, whatever is wanted. A
    terminal is asked only where the environment does not say enough. Raises `UserError` for
    another word.
    """
    if wanted not in PICTURES:
        raise UserError(f"'{wanted}' is no way to show pictures. {did_you_mean(wanted, PICTURES)}")
    out = out or sys.stdout
    if wanted == "none" or not out.isatty():
        return Terminal("none")
    ask = cache(lambda: asked(out))
    utf8 = (out.encoding or "").lower().replace("-", "") == "utf8"
    kind = protocol(os.environ, ask, utf8) if wanted == "auto" else _named(wanted)
    cell = _cell_of(out)
    if cell is None and kind == "sixel":  # the others are given the size in characters
        cell = ask().cell
    return Terminal(kind, shutil.get_terminal_size().columns, cell or _CELL)


def protocol(env: Mapping[str, str], ask: Callable[[], Answer], utf8: bool = True) -> Pictures:
    """The best way of those that the terminal of this environment is known to have."""
    term, program = env.get("TERM", ""), env.get("TERM_PROGRAM", "")
    if term in ("", "dumb"):
        return "none"
    inside = "TMUX" in env or "STY" in env or term.startswith(("screen", "tmux"))
    if not inside:  # tmux and screen inherit these variables, and pass no pictures on
        if term in ("xterm-kitty", "xterm-ghostty") or "KITTY_WINDOW_ID" in env:
            return "kitty"
        if program == "ghostty":
            return "kitty"
        if program in ("iTerm.app", "WezTerm", "mintty") or env.get("LC_TERMINAL") == "iTerm2":
            return "iterm"
    if ask().sixel:
        return "sixel"
    colours = inside or env.get("COLORTERM") in _TRUE_COLOUR or term.endswith("-direct")
    return "blocks" if colours and utf8 and "NO_COLOR" not in env else "none"


def asked(out: TextIO) -> Answer:
    """What the terminal answers, within `_SECONDS`; nothing where no one could hear it."""
    try:
        keys = sys.stdin.fileno()
        if not os.isatty(keys) or not out.isatty():
            return Answer()
        with _unechoed(keys):
            out.flush()
            os.write(out.fileno(), _ASK)
            reply = _read(keys)
    except (OSError, ValueError, ImportError):
        return Answer()
    size, abilities = _SIZE.search(reply), _ABILITIES.search(reply)
    return Answer(
        sixel=abilities is not None and b"4" in abilities[1].split(b";")[1:],
        cell=_believable(int(size[2]), int(size[1])) if size else None,
    )


@contextmanager
def _unechoed(keys: int) -> Any:
    """A terminal that shows no key and waits for no Enter."""
    import termios
    import tty

    before = termios.tcgetattr(keys)
    try:
        tty.setcbreak(keys, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(keys, termios.TCSANOW, before)


def _read(keys: int) -> bytes:
    reply, end = b"", time.monotonic() + _SECONDS
    while not _ABILITIES.search(reply) and (left := end - time.monotonic()) > 0:
        if select.select([keys], [], [], left)[0]:
            if not (more := os.read(keys, 1024)):
                break
            reply += more
    return reply


def _cell_of(out: TextIO) -> tuple[int, int] | None:
    """The pixels of a character as the system knows them; most terminals tell it nothing."""
    with suppress(OSError, ValueError, ImportError):
        import fcntl
        import struct
        import termios

        size = fcntl.ioctl(out.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, width, height = struct.unpack("HHHH", size)
        if rows and columns:
            return _believable(width // columns, height // rows)
    return None


def _believable(width: int, height: int) -> tuple[int, int] | None:
    return (width, height) if 4 <= width <= 64 and 8 <= height <= 128 else None


def _named(wanted: str) -> Pictures:
    return next(kind for kind in get_args(Pictures) if kind == wanted)
