"""Words through the text side of an image-text encoder, cached as photos are."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embed.encoders import encoder_name, find_network
from embed.errors import UserError
from embed.files import sha256
from embed.networks import Network
from embed.spec import EncoderSpec
from embed.store import EmbeddingStore
from embed.variants import parse_variant
from embed.workspace import Workspace

F32 = NDArray[np.float32]

_BATCH = 64
_FOLDER = "texts"  # within the encoder's store


class TextEncoder:
    """The text side of an encoder; it is loaded with the first text that is not stored."""

    def __init__(self, found: Network, image: EncoderSpec) -> None:
        if found.text is None:
            raise UserError(
                f"{image.name} knows pictures only. Use an image-text encoder: bioclip, bioclip-2, "
                "or an open_clip model (see `cli encoders`)."
            )
        self._tower = found.text()
        self.spec = replace(
            image,
            name=f"{image.name} texts",
            weights=self._tower.weights,
            pooling="text",
            precision="fp32",
        )

    def encode(self, texts: Sequence[str]) -> F32:
        """(n, dim) float32 unit rows, to be compared with those of photos."""
        parts = [
            self._tower.encode(list(texts[low : low + _BATCH])).float().numpy()
            for low in range(0, len(texts), _BATCH)
        ]
        X = np.concatenate(parts) if parts else np.empty((0, self.spec.dim), dtype=np.float32)
        return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True), dtype=np.float32)


def text_vectors(workspace: Workspace, encoder: str, texts: Sequence[str]) -> F32:
    """(len(texts), dim) float32 unit rows in the order of `texts`, from the cache where known.

    Raises `UserError` for an encoder without a text side, and where the photos' vectors are of a
    kind that texts cannot be compared with.
    """
    folder = workspace.store(encoder_name(encoder))
    image = EmbeddingStore.open(folder).spec
    if image.pooling != "avg" or image.join != "mean":
        raise UserError(
            f"The vectors of {image.name} are pooled or joined in a way of their own, so texts "
            f"cannot be compared with them. Embed with {parse_variant(encoder)[0]} as it comes."
        )
    keys = [text_key(text) for text in texts]
    known = _stored(folder / _FOLDER)
    if known is None or known.missing(keys):
        known = _encoded(folder / _FOLDER, image, dict(zip(keys, texts, strict=True)))
    return known.load(keys)


def text_key(text: str) -> str:
    """SHA-256 of the text in UTF-8: what its vector is kept under."""
    return sha256(text.encode())


def _stored(folder: Path) -> EmbeddingStore | None:
    return EmbeddingStore.open(folder) if (folder / "spec.json").exists() else None


def _encoded(folder: Path, image: EncoderSpec, texts: dict[str, str]) -> EmbeddingStore:
    found, _ = find_network(parse_variant(image.source)[0])
    if found.weights != image.weights:
        raise UserError(
            f"The weights of {image.source} are not those that encoded the photos. Run "
            f"`cli embed PHOTOS --encoder {image.source} --rebuild`."
        )
    encoder = TextEncoder(found, image)
    store = EmbeddingStore.open(folder, encoder.spec)
    missing = store.missing(list(texts))
    store.append(missing, encoder.encode([texts[key] for key in missing]), "torch, cpu, fp32")
    return store


def knows_words(spec: EncoderSpec) -> bool:
    """Whether texts can be compared with vectors of this encoder."""
    plain = spec.pooling == "avg" and spec.join == "mean"
    return spec.library.startswith("open_clip") and plain
