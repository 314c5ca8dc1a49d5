"""Sizes, formats and tones of the photos' files, summed up."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from embed.words import counted

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class FileSummary:
    """Of the facts that `embed.photo_facts` gives, (n,) rows.

    formats : (name, photos), the commonest first; quantities : bytes, width and height in pixels
    as (least, median, most); narrow : rows whose shorter side is below `side`, the pixels that the
    encoder takes; grey, blank, unreadable : rows
    """

    formats: tuple[tuple[str, int], ...]
    quantities: dict[str, tuple[int, int, int]]
    side: int
    narrow: tuple[int, ...]
    grey: tuple[int, ...]
    blank: tuple[int, ...]
    unreadable: tuple[int, ...]

    @classmethod
    def of(cls, facts: Any, side: int) -> Self:
        known = facts["width"].notna().to_numpy()
        read = facts[known]
        formats = read["format"].value_counts().sort_index().sort_values(ascending=False)
        quantities = {
            name: _range(read[name]) for name in ("bytes", "width", "height") if len(read)
        }
        shorter = facts[["width", "height"]].astype(float).min(axis=1)
        return cls(
            formats=tuple((str(name), int(n)) for name, n in formats.items()),
            quantities=quantities,
            side=side,
            narrow=_rows(shorter < side),
            grey=_rows(facts["grey"]),
            blank=_rows(facts["blank"]),
            unreadable=_rows(facts["problem"] != ""),
        )

    def lines(self) -> list[str]:
        """In words, a line each."""
        if not self.formats:
            return ["no photo can be read"]
        (w0, w, w1), (h0, h, h1) = self.quantities["width"], self.quantities["height"]
        kinds = ", ".join(f"{name} {n:,}" for name, n in self.formats)
        lines = [
            f"{kinds}; {w0:,} to {w1:,} pixels wide (median {w:,}), {h0:,} to {h1:,} high "
            f"({h:,}), {_size(self.quantities['bytes'][1])} each (median)"
        ]
        odd = {
            "without colour": self.grey,
            "nearly one tone": self.blank,
            f"below the encoder's {self.side} pixels": self.narrow,
            "that cannot be read now": self.unreadable,
        }
        found = [f"{counted(len(rows), 'photo')} {what}" for what, rows in odd.items() if rows]
        return lines + ([", ".join(found)] if found else [])

    def to_json(self) -> dict[str, Any]:
        return {
            "formats": dict(self.formats),
            **{name: dict(zip(("min", "median", "max"), q, strict=True))
               for name, q in self.quantities.items()},
            "encoder_side": self.side,
            "narrow": len(self.narrow),
            "grey": len(self.grey),
            "blank": len(self.blank),
            "unreadable": len(self.unreadable),
        }  # fmt: skip


def _size(count: int) -> str:
    return f"{count / MEGABYTE:.1f} MB" if count >= MEGABYTE else f"{count / 1000:.0f} kB"


def _range(values: Any) -> tuple[int, int, int]:
    low, middle, high = np.quantile(values.astype(float), (0, 0.5, 1)).round().astype(int)
    return int(low), int(middle), int(high)


def _rows(chosen: Any) -> tuple[int, ...]:
    mask = chosen.fillna(False).to_numpy(dtype=bool)
    return tuple(np.flatnonzero(mask).tolist())
