"""`NAME@both,gem,bf16`: an encoder with its views, pooling and precision in one word."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from embed.errors import UserError
from embed.perturb import PERTURBATIONS
from embed.transform import Views

Pool = Literal["avg", "gem", "layers"]
Join = Literal["mean", "concat"]
Precision = Literal["fp32", "bf16", "fp16"]

DEFAULT_ENCODER = "efficientnet-lite0"
# What each costs and brings is measured in docs/encoders.md.
QUALITIES = {
    "fast": ["efficientnet-lite0@full,gem"],
    "balanced": ["efficientnet-lite0@both,gem"],
    "best": ["efficientnet-lite0@both,gem", "efficientnet-lite2@both,gem"],
}

VIEWS: tuple[str, ...] = get_args(Views)
POOLS: tuple[str, ...] = get_args(Pool)
JOINS: tuple[str, ...] = get_args(Join)
PRECISIONS: tuple[str, ...] = get_args(Precision)


@dataclass(frozen=True)
class Variant:
    """What may be chosen for any encoder; the first of each is the encoder as it comes."""

    views: str = "center"
    pool: str = "avg"
    join: str = "mean"  # of the views
    precision: str | None = None  # None: what the stored vectors have, else what suits the machine
    perturb: str | None = None  # how photos are made worse first (see `embed.perturb`)

    @property
    def suffix(self) -> str:
        """What is not the default, as it stands behind the encoder's name."""
        words = [
            word
            for word in (self.views, self.pool, self.join, self.precision, self.perturb)
            if word and word not in (VIEWS[0], POOLS[0], JOINS[0])
        ]
        return "@" + ",".join(words) if words else ""


def parse_variant(text: str) -> tuple[str, Variant]:
    """(`NAME`, its variant) of `NAME@WORD,WORD`; an @ within a path is the path's own."""
    base, at, suffix = text.rpartition("@")
    words = suffix.split(",")
    known = {*VIEWS, *POOLS, *JOINS, *PRECISIONS, *PERTURBATIONS}
    if not at or not base or not set(words) <= known:
        return text, Variant()
    return base, Variant(
        _one(text, words, VIEWS) or VIEWS[0],
        _one(text, words, POOLS) or POOLS[0],
        _one(text, words, JOINS) or JOINS[0],
        _one(text, words, PRECISIONS),
        _one(text, words, list(PERTURBATIONS)),
    )


def chosen_encoders(
    encoders: Sequence[str] | None,
    quality: str | None,
    views: str | None = None,
    pool: str | None = None,
    join: str | None = None,
    precision: str | None = None,
) -> list[str]:
    """The encoders' full names that the options of the command line ask for.

    Raises `UserError` for a quality together with what it stands for.
    """
    given = {"views": views, "pool": pool, "join": join, "precision": precision}
    options = {option: word for option, word in given.items() if word is not None}
    if quality and (encoders or options):
        clash = "encoder" if encoders else next(iter(options))
        raise UserError(
            f"--quality {quality} is short for {' and '.join(QUALITIES[quality])}, so it cannot "
            f"stand beside --{clash}. Give one or the other."
        )
    if options.get("precision") == "auto":
        del options["precision"]
    names = QUALITIES[quality] if quality else encoders or [DEFAULT_ENCODER]
    pairs = (parse_variant(name) for name in names)
    return list(dict.fromkeys(base + replace(v, **options).suffix for base, v in pairs))


def _one(text: str, words: Sequence[str], choices: Sequence[str]) -> str | None:
    found = [word for word in words if word in choices]
    if len(found) > 1:
        raise UserError(f"'{text}' names both {' and '.join(found)}: choose one.")
    return found[0] if found else None
