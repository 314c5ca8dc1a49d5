"""The vectors of a workspace's photos, from one encoder or several side by side."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embed.encoders import DEFAULT_ENCODER, encoder_name
from embed.errors import UserError, did_you_mean
from embed.store import EmbeddingStore
from embed.workspace import Workspace, slug

F32 = NDArray[np.float32]


def open_stores(workspace: Workspace, encoders: Sequence[str] | None) -> list[EmbeddingStore]:
    """The stores of the named encoders; by default the only one, or the default encoder's."""
    names = [encoder_name(text) for text in encoders] if encoders else [_only(workspace)]
    there = stored_encoders(workspace)
    for text, name in zip(encoders or [], names, strict=False):
        if there and slug(name) not in there:
            raise UserError(
                f"There are no embeddings of '{text}' here. {did_you_mean(name, there)} "
                f"Or make them: `cli embed PHOTOS --encoder {text}`."
            )
    return [EmbeddingStore.open(workspace.store(name)) for name in dict.fromkeys(names)]


def load_vectors(stores: Sequence[EmbeddingStore], keys: Sequence[str]) -> F32:
    """(len(keys), sum of dims) float32 unit rows in the order of `keys`."""
    return side_by_side([store.load(keys) for store in stores])


def side_by_side(blocks: Sequence[F32]) -> F32:
    """Unit rows of several encoders as one row each, which is a unit row again."""
    return np.asarray(np.hstack(blocks) / np.float32(np.sqrt(len(blocks))), dtype=np.float32)


def stored_encoders(workspace: Workspace) -> list[str]:
    """Folder names of the encoders with embeddings here; those set aside do not count."""
    folders = sorted(path.parent for path in workspace.embeddings.glob("*/spec.json"))
    return [folder.name for folder in folders if ".old-" not in folder.name]


def vector_counts(workspace: Workspace) -> dict[str, int]:
    """How many vectors there are of each encoder, by its name."""
    stores = [EmbeddingStore.open(workspace.embeddings / n) for n in stored_encoders(workspace)]
    return {store.spec.name: len(store) for store in stores}


def _only(workspace: Workspace) -> str:
    names = stored_encoders(workspace)
    if not names:
        raise UserError("There are no embeddings here yet. Run `cli embed PHOTOS` first.")
    if len(names) == 1:
        return names[0]
    if DEFAULT_ENCODER in names:
        return DEFAULT_ENCODER
    raise UserError(
        f"There are embeddings of several encoders here: {', '.join(names)}. "
        "Choose with --encoder NAME (several times to use them side by side), in a grid with "
        'encoders = ["NAME"].'
    )
