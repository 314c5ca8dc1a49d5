"""What a workspace holds, in a few lines."""

from typing import Any

from classify.runs import all_runs
from embed.collection import load_collection
from embed.encoders import encoder_name
from embed.store import EmbeddingStore
from embed.vectors import stored_encoders
from embed.words import counted
from embed.workspace import Workspace


def describe_workspace(workspace: Workspace) -> dict[str, Any]:
    """Facts by name: a string, or a list of strings."""
    facts: dict[str, Any] = {"workspace": str(workspace.folder.resolve())}
    if workspace.collection.exists():
        collection = load_collection(workspace.collection)
        rows, label = collection.rows, collection.label
        facts["photos"] = f"{len(rows):,} from {collection.root}"
        facts["columns"] = ", ".join(rows.columns)
        if label is not None:
            counts = rows[label].value_counts()
            facts["label"] = (
                f"{label}: {len(counts):,} classes of {counts.min():,} to {counts.max():,} photos, "
                f"{counted(int(rows[label].isna().sum()), 'photo')} without"
            )
    else:
        facts["photos"] = "none yet: run `cli embed PHOTOS`"
    facts["embeddings"] = [_store_line(workspace, name) for name in stored_encoders(workspace)]
    facts["splits"] = sorted(path.stem for path in workspace.folder.glob("splits/*.csv"))
    facts["sweeps"] = sorted(path.parent.name for path in workspace.sweeps.glob("*/sweep.json"))
    facts["runs"] = [run.name for run in all_runs(workspace)]
    return {name: value or "none" for name, value in facts.items()}


def _store_line(workspace: Workspace, name: str) -> str:
    store = EmbeddingStore.open(workspace.store(encoder_name(name)))
    size = sum(path.stat().st_size for path in store.folder.glob("part-*.h5"))
    return f"{name}: {len(store):,} vectors of {store.spec.dim}, {size / 1e6:,.1f} MB"
