"""What to say of an organism to an image-text encoder, as BioCLIP was taught it.

The forms are those of Stevens et al., "BioCLIP: A Vision Foundation Model for the Tree of Life",
2024: taxonomic, scientific and common names, alone and together.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from embed.errors import UserError, did_you_mean

Naming = Literal["taxonomic", "scientific", "common", "taxonomic+common", "scientific+common"]
NAMINGS: tuple[str, ...] = get_args(Naming)
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
COMMON = "common_name"


def prompt(taxon: Mapping[str, str | None], naming: str = "taxonomic") -> str:
    """`a photo of Animalia Chordata Mammalia Carnivora Felidae.`

    taxon : names by rank (those of `RANKS`, and `common_name`); what is missing is left out

    Raises `UserError` for an unknown form, and where the taxon has none of the names it needs.
    """
    if naming not in NAMINGS:
        raise UserError(f"'{naming}' is no form of prompt. {did_you_mean(naming, NAMINGS)}")
    names = {rank: (taxon.get(rank) or "").strip() for rank in (*RANKS, COMMON)}
    kind, _, with_common = naming.partition("+")
    said = _said(kind, names)
    common = names[COMMON] if with_common else ""
    if not said and not common:
        raise UserError(
            f"There is nothing to say of {dict(taxon)} in a {naming} prompt: expected some of "
            f"{', '.join(RANKS)}, {COMMON}."
        )
    parts = [part for part in (said, f"with common name {common}" if common else "") if part]
    return f"a photo of {' '.join(parts)}."


def _said(kind: str, names: Mapping[str, str]) -> str:
    if kind == "common":
        return names[COMMON]
    ranks = RANKS[-2:] if kind == "scientific" else RANKS
    return " ".join(names[rank] for rank in ranks if names[rank])
