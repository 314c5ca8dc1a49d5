"""Photos that words describe better as something else than an organism."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from classify.class_texts import prompts, taxon_of, text_encoder
from classify.dataset import Dataset

F32 = NDArray[np.float32]

ORGANISMS = (
    "an animal", "a mammal", "a bird", "a fish", "a reptile", "an amphibian", "an insect",
    "a spider", "a crab", "a snail", "a worm", "a jellyfish", "a starfish", "a coral", "a plant",
    "a flower", "a leaf", "a tree", "a moss", "a mushroom", "a lichen", "an animal skeleton",
    "a dried plant specimen",
)  # fmt: skip
OTHERS = (
    "an empty scene", "a landscape without animals", "a blurred picture", "a black picture",
    "a drawing", "a diagram", "a map", "a chart", "a page of text", "a museum label", "a logo",
    "a screenshot", "a building", "a vehicle", "a tool", "a person",
)  # fmt: skip
SCALE = 100.0  # of cosines to log-odds, as CLIP and BioCLIP were trained


def no_organism(
    photos: Dataset, learnt: Dataset, vectors: Callable[[str, Sequence[str]], F32]
) -> Any:
    """The photos to which a thing of `OTHERS` is nearer than every organism, the surest first.

    photos : X (n, dim), one of whose encoders knows words; learnt : those whose labels may be
        read; vectors : an encoder's source and m texts -> (m, its dim) float32 unit rows

    Organisms are those of `ORGANISMS` and the classes by all names that the table has for them.
    Returns a DataFrame: row, looks_like, score (.5 to 1: the share of the nearest other thing
    against the nearest organism, each in the zero-shot manner of Radford et al. 2021).
    Raises ValueError where no encoder knows words.
    """
    spec = text_encoder(photos)
    if spec is None:
        raise ValueError("none of the encoders knows words")
    names = np.unique(learnt.y)
    classes = [text for name in names for text in prompts(taxon_of(learnt, name))]
    organisms = [*(f"a photo of {thing}." for thing in ORGANISMS), *classes]
    texts = vectors(spec.source, [*organisms, *(f"a photo of {thing}." for thing in OTHERS)])
    start = sum(photos.layout[: photos.specs.index(spec)])
    X = photos.X[:, start : start + spec.dim]
    cosines = X / np.linalg.norm(X, axis=1, keepdims=True) @ texts.T
    organism, other = np.split(cosines, [len(organisms)], axis=1)
    nearest = np.stack([organism.max(axis=1), other.max(axis=1)], axis=1)
    score = softmax(SCALE * nearest.astype(np.float64), axis=1)[:, 1]
    table = pd.DataFrame(
        {
            "row": np.arange(len(X)),
            "looks_like": np.array(OTHERS)[other.argmax(axis=1)],
            "score": score,
        }
    )
    found = table[table["score"] > 0.5].sort_values("score", ascending=False, kind="stable")
    return found.reset_index(drop=True)
