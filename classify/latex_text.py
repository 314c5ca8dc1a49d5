"""Text that others wrote, made safe to stand in LaTeX: plain ASCII that every engine prints."""

import re
import unicodedata

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}", "*": "{*}",  # \\ looks for * and [
}  # fmt: skip
_LETTERS = {
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}",
    "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}", "đ": r"\dj{}", "Đ": r"\DJ{}",
    "ð": r"\dh{}", "Ð": r"\DH{}", "þ": r"\th{}", "Þ": r"\TH{}", "ŋ": r"\ng{}", "Ŋ": r"\NG{}",
}  # fmt: skip
_SIGNS = {
    "–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "„": ",,",
    "«": r"\guillemotleft{}", "»": r"\guillemotright{}", "…": r"\ldots{}", "•": r"\textbullet{}",
    "¡": "!`", "¿": "?`", "§": r"\S{}", "¶": r"\P{}", "©": r"\textcopyright{}", "®":
    r"\textregistered{}", "™": r"\texttrademark{}", "°": r"\textdegree{}", "µ": r"\textmu{}",
    "€": r"\texteuro{}", "£": r"\pounds{}", "±": r"$\pm$", "×": r"$\times$", "÷": r"$\div$",
    "·": r"$\cdot$", "−": r"$-$", "→": r"$\rightarrow$", "←": r"$\leftarrow$", "≤": r"$\leq$",
    "≥": r"$\geq$", "≠": r"$\neq$", "≈": r"$\approx$", "∞": r"$\infty$", "√": r"$\surd$",
    "½": r"$\frac12$", "¼": r"$\frac14$", "¾": r"$\frac34$", "²": r"$^2$", "³": r"$^3$",
    "†": r"\dag{}", "‡": r"\ddag{}", "\N{SOFT HYPHEN}": r"\-",
}  # fmt: skip
_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta",
    "η": "eta", "θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu",
    "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi",
    "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta",
    "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u",
    "\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d",
    "\u0327": "c", "\u0328": "k", "\u0331": "b",
}  # fmt: skip
_KNOWN = _SPECIAL | _LETTERS | _SIGNS | {c: rf"$\{name}$" for c, name in _GREEK.items()}
_LONG, _PIECE = 18, 12  # letters: of a word that may be broken, and where it has no joint
_JOINT = re.compile(r"(?<=[-/_.=:,;])")
_LIGATURE = re.compile(r"([-',])(?=\1)")  # a font would make one sign of two
_CODE = re.compile("`([^`]*)`")


def latex(text: object) -> str:
    """`text` as one line of ASCII that LaTeX prints as it is, with the T1 encoding and textcomp.

    Latin letters with their accents, Greek and the usual signs are typeset; of others stands the
    number, as in [U+4E2D]. Long words may be broken at their joints. No command gets through.
    """
    line = unicodedata.normalize("NFC", one_line(text))
    return " ".join(map(_word, line.split(" ")))


def latex_with_code(text: str) -> str:
    """The same, where what stands between backticks is set as code."""
    parts = _CODE.split(text)
    return "".join(
        rf"\texttt{{{latex(part)}}}" if i % 2 else _edges(part) for i, part in enumerate(parts)
    )


def one_line(text: object) -> str:
    """Without line breaks and control characters."""
    line = "".join(c if c.isprintable() or c == "\N{SOFT HYPHEN}" else " " for c in str(text))
    return " ".join(line.split())


def placeholder(character: str) -> str:
    """What stands for a letter that cannot be typeset: `[U+4E2D]`."""
    return f"[U+{ord(character):04X}]"


def _edges(part: str) -> str:
    """A part of a line keeps the blanks at its ends."""
    return " " * part[:1].isspace() + latex(part) + " " * (part.strip() != "" and part[-1] == " ")


def _word(word: str) -> str:
    if len(word) <= _LONG:
        return _pieces(word)
    return r"\allowbreak{}".join(_broken(part) for part in _JOINT.split(word) if part)


def _broken(part: str) -> str:
    """A part without a joint, with places for hyphens where it is very long."""
    if len(part) <= 2 * _PIECE:
        return _pieces(part)
    cuts = range(0, len(part), _PIECE)
    return r"\-".join(_pieces(part[cut : cut + _PIECE]) for cut in cuts)


def _pieces(text: str) -> str:
    return "".join(map(_letter, re.findall(r"[-',]+|.", text)))


def _letter(c: str) -> str:
    if c[0] in "-',":
        return _LIGATURE.sub(r"\1{}", c)
    if c in _KNOWN:
        return _KNOWN[c]
    if c.isascii():
        return c
    base, *marks = list(unicodedata.normalize("NFD", c))
    if base.isascii() and base.isalpha() and all(mark in _ACCENTS for mark in marks) and marks:
        made = {"i": r"\i{}", "j": r"\j{}"}.get(base, base) if marks[0] < "\u0316" else base
        for mark in marks:
            made = rf"\{_ACCENTS[mark]}{{{made}}}"
        return made
    return placeholder(c).replace("[", "{[}").replace("]", "{]}")
