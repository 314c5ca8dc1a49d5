"""The names of the classes as an image-text encoder reads them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from classify.dataset import Dataset
from embed.prompts import COMMON, NAMINGS, RANKS, prompt
from embed.spec import EncoderSpec
from embed.texts import knows_words, text_vectors
from embed.workspace import Workspace


def text_encoder(train: Dataset) -> EncoderSpec | None:
    """The first of the encoders that knows words, if one does."""
    return next((spec for spec in train.specs if knows_words(spec)), None)


def class_texts(workspace: Workspace, train: Dataset) -> dict[str, Any]:
    """Names and text vectors of the classes, as the heads `zeroshot` and `tip` take them.

    class_names : (C,) str
    class_vectors : (C, dim) float32, in the space of `train.X`: of unit length in the columns of
        the encoder that knows words, zero elsewhere. A class has the mean of its prompts: its
        ranks, its scientific and its common name, as far as the table has them.
    """
    spec = text_encoder(train)
    if spec is None:
        raise ValueError("none of the encoders knows words")
    names = np.unique(train.y)
    said = [prompts(taxon_of(train, name)) for name in names]
    found = text_vectors(workspace, spec.source, [text for texts in said for text in texts])
    vectors = np.zeros((len(names), train.X.shape[1]), dtype=np.float32)
    start = sum(train.layout[: train.specs.index(spec)])
    owner = np.repeat(np.arange(len(names)), [len(texts) for texts in said])
    for c in range(len(names)):
        mean = found[owner == c].mean(axis=0)
        vectors[c, start : start + spec.dim] = mean / np.linalg.norm(mean)
    return {"class_names": names, "class_vectors": vectors}


def taxon_of(train: Dataset, name: str) -> dict[str, str]:
    """The names by rank that all photos of the class share, its own among them.

    A rank below the label's that happens to be the same for all is no name of the class.
    """
    rank = train.label if train.label in RANKS else RANKS[-1]
    above = RANKS[: RANKS.index(rank)]
    rows = train.rows[train.y == name]
    shared = {}
    for column in (*above, COMMON):
        values = rows[column].dropna().unique() if column in rows else []
        if len(values) == 1:
            shared[column] = str(values[0])
    return {**shared, rank: name}


def prompts(taxon: Mapping[str, str]) -> list[str]:
    """All that can be said of the taxon, each once (Stevens et al. 2024, mixed text types)."""
    forms = [form for form in NAMINGS if COMMON in taxon or "common" not in form]
    if set(taxon) <= {RANKS[-1]}:  # a label that is no rank: `a photo of NAME.`
        forms = ["taxonomic"]
    if not set(taxon) & set(RANKS[-2:]):
        forms = [form for form in forms if "scientific" not in form]
    return list(dict.fromkeys(prompt(taxon, form) for form in forms))
