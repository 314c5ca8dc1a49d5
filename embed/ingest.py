"""`cli embed`: a collection of photos through the engine into the workspace."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embed.collection import Collection, Problem, load_collection, read_collection, save_collection
from embed.encoders import check_device, encoder_name, open_encoder
from embed.engine import Embedded, Lane, Stamp, embed_photos, readable_or_error
from embed.errors import UserError
from embed.files import write_rows
from embed.store import EmbeddingStore
from embed.workspace import Workspace


@dataclass(frozen=True)
class EmbedReport:
    """What `embed` did, for printing."""

    photos: int
    encoded: dict[str, int]  # vectors computed, by encoder
    copies: int  # photos that are byte for byte another one
    problems: list[Problem]
    notes: list[str]
    skipped: Path
    label: str | None
    classes: int
    seconds: float


def embed_collection(
    workspace: Workspace,
    photos: Path | None,
    table: Path | None,
    label: str | None,
    encoders: Sequence[str],
    device: str = "auto",
    batch_size: int | None = None,
    rebuild: bool = False,
) -> EmbedReport:
    """Read the collection, embed what is missing, write `collection.parquet` and the skipped list.

    Raises `UserError` for what is wrong as a whole; what is wrong with one photo or row is a
    `Problem` in the report, and the rest goes on.
    """
    check_device(device)
    collection = read_collection(photos, table, label)
    lanes = [open_lane(workspace, name, device, rebuild) for name in dict.fromkeys(encoders)]
    done = embed_photos(
        collection.rows["path"].tolist(), lanes, _known_stamps(workspace), batch_size
    )
    rows, problems = _with_vectors(collection, done)
    write_skipped(workspace.skipped, problems)
    readable_or_error(done, workspace.skipped)
    save_collection(rows, collection.label, collection.root, workspace.collection)
    return EmbedReport(
        photos=len(rows),
        encoded=done.encoded,
        copies=int(rows["key"].duplicated().sum()),
        problems=problems,
        notes=collection.notes + _copies_that_disagree(rows, collection.label),
        skipped=workspace.skipped,
        label=collection.label,
        classes=rows[collection.label].nunique() if collection.label else 0,
        seconds=done.seconds,
    )


def open_lane(workspace: Workspace, encoder: str, device: str, rebuild: bool = False) -> Lane:
    """An encoder and its store in the workspace."""
    opened = open_encoder(encoder, device)
    folder = workspace.store(encoder_name(encoder))
    if rebuild:
        EmbeddingStore.set_aside(folder)
    return Lane(opened, EmbeddingStore.open(folder, opened.spec))


def _known_stamps(workspace: Workspace) -> dict[str, Stamp]:
    if not workspace.collection.exists():
        return {}
    try:
        rows = load_collection(workspace.collection).rows
        columns = zip(rows["path"], rows["size"], rows["mtime_ns"], rows["key"], strict=True)
        return {path: Stamp(int(size), int(mtime), key) for path, size, mtime, key in columns}
    except (UserError, KeyError, ValueError):
        return {}  # only a way to be fast: this run writes the file anew


def _with_vectors(collection: Collection, done: Embedded) -> tuple[Any, list[Problem]]:
    paths = collection.rows["path"]
    rows = collection.rows[paths.isin(done.stamps)].reset_index(drop=True)
    stamps = [done.stamps[path] for path in rows["path"]]
    rows["key"] = [stamp.key for stamp in stamps]
    rows["size"] = [stamp.size for stamp in stamps]
    rows["mtime_ns"] = [stamp.mtime_ns for stamp in stamps]
    return rows, collection.problems + unreadable(collection.rows, done)


def unreadable(rows: Any, done: Embedded) -> list[Problem]:
    """Those of `rows` whose photo could not be read, with the reason."""
    bad = rows[rows["path"].isin(done.problems)]
    return [Problem(row.file_path, done.problems[row.path], row.id) for row in bad.itertuples()]


def write_skipped(path: Path, problems: Sequence[Problem]) -> None:
    """The list of what was left out; only a header where nothing was."""
    rows = [{"file_path": p.where, "id": p.id or "", "reason": p.reason} for p in problems]
    write_rows(path, ["file_path", "id", "reason"], rows)


def _copies_that_disagree(rows: Any, label: str | None) -> list[str]:
    if label is None:
        return []
    labels = rows.dropna(subset=[label]).groupby("key")[label].nunique()
    disagree = int((labels > 1).sum())
    if not disagree:
        return []
    return [f"{disagree} photos stand in the collection more than once, with different labels"]
