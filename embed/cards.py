"""`cli encoders show`: all that an encoder's vectors depend on, and what is stored of it."""

from typing import Any

from embed.encoder import Choice
from embed.encoders import encoder_name, open_encoder
from embed.ingest import stored_precision
from embed.store import EmbeddingStore
from embed.workspace import Workspace


def encoder_card(workspace: Workspace, text: str, choice: Choice | None = None) -> dict[str, Any]:
    """The spec of the encoder that `text` names, and what the workspace holds of it.

    Raises `UserError` for an unknown encoder, and for stored vectors that are damaged.
    """
    folder = workspace.store(encoder_name(text))
    choice = choice or Choice()
    if choice.stored_precision is None:
        choice = Choice(choice.device, choice.engine, stored_precision(folder))
    spec = open_encoder(text, choice).spec
    card: dict[str, Any] = {"digest": spec.digest, **spec.to_json(), "stored": 0}
    if (folder / "spec.json").exists():
        store = EmbeddingStore.open(folder)
        card |= {"stored": len(store), "differs": spec.differences(store.spec)}
    return card
