"""`cli encoders show`: what an encoder's vectors depend on, what it has seen, what is stored."""

from dataclasses import asdict
from typing import Any

from embed.encoder import Choice
from embed.encoder_facts import facts_of
from embed.encoders import encoder_name, open_encoder
from embed.ingest import stored_precision
from embed.store import EmbeddingStore
from embed.workspace import Workspace


def encoder_card(workspace: Workspace, text: str, choice: Choice | None = None) -> dict[str, Any]:
    """The spec of the encoder that `text` names, what it may have seen in training and whose
    licence it has, and what the workspace holds of it.

    Raises `UserError` for an unknown encoder, and for stored vectors that are damaged.
    """
    folder = workspace.store(encoder_name(text))
    choice = choice or Choice()
    if choice.stored_precision is None:
        choice = Choice(choice.device, choice.engine, stored_precision(folder))
    spec = open_encoder(text, choice).spec
    facts = {name: value for name, value in asdict(facts_of(spec)).items() if value}
    card: dict[str, Any] = {"digest": spec.digest, **spec.to_json(), **facts, "stored": 0}
    if (folder / "spec.json").exists():
        store = EmbeddingStore.open(folder)
        card |= {"stored": len(store), "differs": spec.differences(store.spec)}
    return card
