"""Vectors of words that photos are searched by."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.prompts import COMMON, prompt
from embed.texts import knows_words, text_vectors
from retrieval.searchable import Searchable

F32 = NDArray[np.float32]

_OPENING = "a photo "  # of a text that is a prompt already


def text_prompt(text: str) -> str:
    """`a spotted cat` as image-text encoders were taught: `a photo of a spotted cat.`

    What begins with "a photo" is taken as it is.
    """
    said = text.strip()
    if not said:
        raise UserError('--text needs words: `cli search --text "a spotted cat"`.')
    return said if said.lower().startswith(_OPENING) else prompt({COMMON: said}, "common")


def text_rows(place: Searchable, prompts: Sequence[str]) -> F32:
    """(len(prompts), dim) float32 unit rows; zero in the columns of encoders of pictures alone."""
    if not any(map(knows_words, place.specs)):
        names = ", ".join(spec.name for spec in place.specs)
        raise UserError(
            f"--text needs an encoder that knows words, and {names} knows pictures only. Run "
            '`cli embed PHOTOS --encoder bioclip`, then `cli search --text "…" --encoder bioclip` '
            "(or bioclip-2, or an open_clip model: see `cli encoders`)."
        )
    blocks = [
        text_vectors(place.workspace, spec.source, prompts)
        if knows_words(spec)
        else np.zeros((len(prompts), spec.dim), dtype=np.float32)
        for spec in place.specs
    ]
    X = np.hstack(blocks)
    return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True), dtype=np.float32)
