"""Vectors of the photos that are searched by, whole or in part."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embed import sources, witness
from embed.encoder import Choice
from embed.engine import Lane, embed_photos
from embed.images import ImageProblem, decode
from embed.ingest import HowToEmbed, open_lane
from embed.vectors import side_by_side
from retrieval.boxes import Box
from retrieval.searchable import Searchable

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

_BATCH = 32  # parts of photos whose pixels are held at once

# by path: vector (dim,) float32 of unit length and key; why a photo has none
Encoded = tuple[dict[str, tuple[F32, str | None]], dict[str, str]]


def encoded(place: Searchable, paths: Sequence[str], choice: Choice | None) -> Encoded:
    """Of whole photos; they go to the store, so that asking again is free."""
    lanes = _lanes(place, choice)
    done = embed_photos(paths, lanes)
    X = side_by_side([lane.store.load(done.keys) for lane in lanes])
    readable = [path for path, ok in zip(paths, done.readable, strict=True) if ok]
    rows = zip(X, done.keys, strict=True)
    return dict(zip(readable, rows, strict=True)), done.problems


def encoded_parts(
    place: Searchable, paths: Sequence[str], box: Box, choice: Choice | None
) -> Encoded:
    """Of what lies in the box of each photo, as if that were saved without loss and embedded.

    Nothing is stored: a part has no file whose digest could be its key.
    """
    lanes, checked = _lanes(place, choice), False
    found: dict[str, tuple[F32, str | None]] = {}
    problems: dict[str, str] = {}
    for low in range(0, len(paths), _BATCH):
        squares: dict[str, list[U8]] = {}
        for path in paths[low : low + _BATCH]:
            try:
                part = box.crop(decode(sources.read(path)))
            except ImageProblem as problem:
                problems[path] = str(problem)
                continue
            squares[path] = [lane.encoder.spec.transform(part) for lane in lanes]
        if not squares:
            continue
        if not checked:
            _check_engines(lanes)
            checked = True
        pixels = [np.stack(of_lane) for of_lane in zip(*squares.values(), strict=True)]
        X = side_by_side(
            [lane.encoder.encode(block) for lane, block in zip(lanes, pixels, strict=True)]
        )
        found.update({path: (x, None) for path, x in zip(squares, X, strict=True)})
    return found, problems


def _lanes(place: Searchable, choice: Choice | None) -> list[Lane]:
    how = HowToEmbed(choice or Choice())
    return [open_lane(place.workspace, spec.source, how) for spec in place.specs]


def _check_engines(lanes: Sequence[Lane]) -> None:
    """That they still make the vectors that are stored."""
    for lane in lanes:
        encoder, spec = lane.encoder, lane.encoder.spec
        X = encoder.encode(witness.squares(spec))
        witness.check_witness(lane.store.folder, spec, X, encoder.engine)
