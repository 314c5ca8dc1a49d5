"""The vectors of a workspace's photos, from one encoder or several side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError, did_you_mean
from embed.files import read_json, write_json
from embed.store import EmbeddingStore, read_spec
from embed.variants import parse_variant
from embed.workspace import Workspace, slug

if TYPE_CHECKING:
    from embed.exchange import Exported

F32 = NDArray[np.float32]


def open_stores(workspace: Workspace, encoders: Sequence[str] | None) -> list[EmbeddingStore]:
    """The stores of the named encoders; by default those of the last `embed`."""
    return [EmbeddingStore.open(folder) for folder in chosen_folders(workspace, encoders)]


def chosen_folders(workspace: Workspace, encoders: Sequence[str] | None) -> list[Path]:
    """Where the stores lie that `open_stores` opens."""
    names = [_name(text) for text in encoders] if encoders else _latest(workspace)
    there = stored_encoders(workspace)
    for text, name in zip(encoders or [], names, strict=False):
        if there and slug(name) not in there:
            raise UserError(
                f"There are no embeddings of '{text}' here. {did_you_mean(name, there)} "
                f"Or make them: `cli embed PHOTOS --encoder {text}`."
            )
    return [workspace.store(name) for name in dict.fromkeys(names)]


def store_folders(workspace: Workspace, encoders: Sequence[str] | None) -> list[Path]:
    """Where the vectors of the named encoders lie, damaged or not; by default of all there are."""
    there = stored_encoders(workspace)
    if not there:
        raise UserError("There are no embeddings here yet. Run `cli embed PHOTOS` first.")
    for text in encoders or []:
        if slug(_name(text)) not in there:
            raise UserError(
                f"There are no embeddings of '{text}' here. {did_you_mean(text, there)}"
            )
    return [workspace.store(_name(text)) for text in encoders or there]


def export_vectors(workspace: Workspace, encoder: str | None, to: Path, form: str) -> "Exported":
    """The collection's vectors of one encoder to a new file or folder (see `export`)."""
    from embed.collection import load_collection  # a search for one row has no need of these
    from embed.exchange import export

    stores = open_stores(workspace, [encoder] if encoder else None)
    if len(stores) > 1:
        names = ", ".join(store.spec.name for store in stores)
        raise UserError(f"The last embed used {names}. Choose one with --encoder NAME.")
    collection = load_collection(workspace.collection)
    return export(stores[0], collection.rows, to, form, label=collection.label)


def load_vectors(stores: Sequence[EmbeddingStore], keys: Sequence[str]) -> F32:
    """(len(keys), sum of dims) float32 unit rows in the order of `keys`."""
    return side_by_side([store.load(keys) for store in stores])


def side_by_side(blocks: Sequence[F32]) -> F32:
    """Unit rows of several encoders as one row each, which is a unit row again."""
    return np.asarray(np.hstack(blocks) / np.float32(np.sqrt(len(blocks))), dtype=np.float32)


def stored_encoders(workspace: Workspace) -> list[str]:
    """Folder names of the encoders with embeddings here; those set aside do not count."""
    files = [
        p for name in ("spec.json", "part-*.h5") for p in workspace.embeddings.glob(f"*/{name}")
    ]
    names = {path.parent.name for path in files}
    return sorted(name for name in names if ".old-" not in name)


def vector_counts(workspace: Workspace) -> dict[str, int]:
    """How many vectors there are of each encoder, by its name."""
    stores = [EmbeddingStore.open(workspace.embeddings / n) for n in stored_encoders(workspace)]
    return {store.spec.name: len(store) for store in stores}


def note_latest(workspace: Workspace, names: Sequence[str]) -> None:
    """Write down which encoders `embed` used: what comes after uses them unless told otherwise.

    Vectors of photos made worse are there to test with, so they are no default.
    """
    usual = [name for name in names if not parse_variant(name)[1].perturb]
    if usual:
        write_json(workspace.latest, {"encoders": usual})


def _name(text: str) -> str:
    from embed.encoders import encoder_name

    return encoder_name(text)


def _latest(workspace: Workspace) -> list[str]:
    there = [name for name in stored_encoders(workspace) if not _is_perturbed(workspace, name)]
    if not there:
        raise UserError("There are no embeddings here yet. Run `cli embed PHOTOS` first.")
    try:
        names = [str(name) for name in read_json(workspace.latest)["encoders"]]
    except (UserError, KeyError, TypeError):
        names = []
    if names and all(slug(name) in there for name in names):
        return names
    if len(there) == 1:
        return there
    raise UserError(
        f"There are embeddings of several encoders here: {', '.join(there)}. "
        "Choose with --encoder NAME (several times to use them side by side), in a grid with "
        'encoders = ["NAME"].'
    )


def _is_perturbed(workspace: Workspace, folder: str) -> bool:
    try:
        return bool(read_spec(workspace.embeddings / folder).transform.perturb)
    except UserError:  # opening the store says what is wrong with it
        return False
