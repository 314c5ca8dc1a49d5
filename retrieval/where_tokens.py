"""The words, values and signs of a `--where`, and the place of what is wrong in it."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from retrieval.cells import DATE, NUMBER

_WORDS = ("and", "or", "not", "in", "is", "contains", "startswith")
_SHOWN = 60  # characters of the text before and after the place of an error
_TOKEN = re.compile(
    r"(?P<space>\s+)"
    rf"|(?P<date>(?!\d{{4}}(?!-)){DATE}(?![\w.-]))"
    rf"|(?P<number>{NUMBER}(?![\w.]))"
    r"|(?P<text>'(?:[^']|'')*+'|\"(?:[^\"]|\"\")*+\")"
    r"|(?P<quoted>`(?:[^`]|``)++`)"
    r"|(?P<name>[^\W\d]\w*(?:[.:]\w+)*)"
    r"|(?P<sign>==|!=|<=|>=|<(?!>)|>|[(),])"
)
_INSTEAD = {
    "=": "Write == for 'is equal'.",
    "<>": "Write != for 'is not equal'.",
    "&": "Write 'and'.",
    "|": "Write 'or'.",
    "!": "Write 'not'.",
    "~": "Write 'not'.",
    "'": "This quote is never closed.",
    '"': "This quote is never closed.",
    "`": "This backtick is never closed.",
    **dict.fromkeys("‘’“”„«»", "Text stands in straight quotes: 'felidae'."),
}


class UnclearError(Exception):
    """Why the text is not clear, and where."""

    def __init__(self, at: int, why: str) -> None:
        self.at, self.why = at, why


@dataclass(frozen=True)
class Token:
    kind: str  # a group of _TOKEN, "word" for one of _WORDS, "end"
    text: str  # without quotes; in small letters where a word
    at: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else f"'{self.text[:40]}'"


def tokens(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            sign = "<>" if text.startswith("<>", at) else text[at]
            usual = "Text stands in quotes, a column's name with other signs in backticks."
            raise UnclearError(at, f"'{plain(sign)}' is unexpected. {_INSTEAD.get(sign, usual)}")
        kind, part = str(found.lastgroup), found.group()
        if kind in ("text", "quoted"):
            part = part[1:-1].replace(part[0] * 2, part[0])
        elif kind == "name" and part.lower() in _WORDS:
            kind, part = "word", part.lower()
        if kind != "space":
            yield Token(kind, part, at)
        at = found.end()
    yield Token("end", "", len(text))


def pointer(text: str, at: int) -> str:
    """The text around a place, and a caret below it."""
    low = max(0, at - _SHOWN)
    before, after = plain(text[low:at]), plain(text[at : at + _SHOWN])
    before = ("…" if low else "") + before
    return f"  {before}{after}{'…' if at + _SHOWN < len(text) else ''}\n  {' ' * _width(before)}^"


def plain(text: str) -> str:
    """Without what would break the line or steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def _width(text: str) -> int:
    """Columns of a terminal that the text takes."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)
