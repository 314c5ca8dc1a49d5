"""`cli embed`: a collection of photos through the engine into the workspace."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embed.collection import Problem, load_collection, read_collection, save_collection
from embed.encoder import Choice
from embed.encoders import encoder_name, open_encoder
from embed.engine import Embedded, Lane, Stamps, embed_photos, readable_or_error
from embed.errors import UserError
from embed.files import read_json, remove_left_over, write_rows
from embed.imports import Imported, import_vectors
from embed.repair import set_bad_aside
from embed.spec import EncoderSpec
from embed.store import EmbeddingStore
from embed.vectors import note_latest
from embed.verify import Finding, verify
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


@dataclass(frozen=True)
class HowToEmbed:
    """How vectors are made and kept, for whoever asks for other than the defaults."""

    choice: Choice = field(default_factory=Choice)
    batch_size: int | None = None
    rebuild: bool = False
    store_dtype: str | None = None  # float32 or float16; None: as the store has it
    urls: bool = False  # whether https:// addresses in a table are fetched


def embed_collection(
    workspace: Workspace,
    photos: Path | None,
    table: Path | None,
    label: str | None,
    encoders: Sequence[str],
    how: HowToEmbed | None = None,
) -> EmbedReport:
    """Read the collection, embed what is missing, write `collection.parquet` and the skipped list.

    Raises `UserError` for what is wrong as a whole; what is wrong with one photo or row is a
    `Problem` in the report, and the rest goes on.
    """
    how = how or HowToEmbed()
    collection = read_collection(photos, table, label, how.urls)
    lanes = [open_lane(workspace, name, how) for name in dict.fromkeys(encoders)]
    paths = collection.rows["path"].tolist()
    known = known_stamps(workspace, paths)
    done = embed_photos(paths, lanes, known, how.batch_size, announce=True)
    problems = collection.problems + unreadable(collection.rows, done)
    write_skipped(workspace.skipped, problems)
    readable_or_error(done, workspace.skipped)
    rows = with_stamps(collection.rows, done)
    save_collection(rows, collection.label, collection.root, workspace.collection)
    note_latest(workspace, [lane.encoder.spec.name for lane in lanes])
    for folder in (workspace.folder, workspace.embeddings):
        remove_left_over(folder)
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


@dataclass(frozen=True)
class Repaired:
    """What `repair_store` did."""

    folder: Path
    findings: list[Finding]
    lost: int  # vectors set aside
    encoded: int  # made again
    problems: list[Problem]  # photos that have no vector now
    notes: list[str]


def repair_store(workspace: Workspace, folder: Path, how: HowToEmbed | None = None) -> Repaired:
    """Set what is bad in a store aside and embed the collection's photos that lack a vector.

    Raises `UserError` where the encoder is not here to make new ones.
    """
    checked = verify(folder)
    lost = set_bad_aside(folder, checked.findings)
    if not workspace.collection.exists():
        return Repaired(folder, checked.findings, len(lost), 0, [], ["there is no collection"])
    rows = load_collection(workspace.collection).rows
    store = EmbeddingStore.open(folder)
    # of photos made worse only those asked for were ever embedded
    wanted = lost if store.spec.transform.perturb else rows["key"].tolist()
    rows = rows[rows["key"].isin(store.missing(wanted))]
    if not len(rows):
        return Repaired(folder, checked.findings, len(lost), 0, [], [])
    lane = open_lane(workspace, store.spec.source, how)
    done = embed_photos(rows["path"].tolist(), [lane], announce=True)
    changed = len(set(rows["key"][done.readable]) - set(done.keys))
    notes = [f"photos changed since they were embedded: {changed:,}; run `cli embed` again"]
    return Repaired(
        folder=folder,
        findings=checked.findings,
        lost=len(lost),
        encoded=sum(done.encoded.values()),
        problems=unreadable(rows, done),
        notes=notes if changed else [],
    )


def import_collection(
    workspace: Workspace,
    name: str,
    vectors: Path,
    table: Path | None = None,
    photos: Path | None = None,
    weights: str | None = None,
) -> tuple[Imported, Path]:
    """Vectors made elsewhere (see `import_vectors`) into the workspace, and the list of what not.

    Where there is no collection yet, the table becomes one.
    """
    done = import_vectors(workspace.store(name), name, vectors, table, photos, weights)
    write_skipped(workspace.skipped, done.problems)
    if table is not None and not workspace.collection.exists():
        collection = read_collection(photos, table)
        hashed = embed_photos(collection.rows["path"].tolist(), [])
        rows = with_stamps(collection.rows, hashed)
        save_collection(rows, collection.label, collection.root, workspace.collection)
        note_latest(workspace, [name])
        done.notes.append(f"the table is the collection now: {len(rows):,} photos")
    return done, workspace.skipped


def open_lane(workspace: Workspace, encoder: str, how: HowToEmbed | None = None) -> Lane:
    """An encoder and its store in the workspace; new vectors get the precision of those stored."""
    how = how or HowToEmbed()
    folder = workspace.store(encoder_name(encoder))
    if how.rebuild:
        EmbeddingStore.set_aside(folder)
    choice = replace(how.choice, stored_precision=stored_precision(folder))
    opened = open_encoder(encoder, choice)
    return Lane(opened, EmbeddingStore.open(folder, opened.spec, how.store_dtype))


def stored_precision(folder: Path) -> str | None:
    """Of the vectors in a store; None where there are none, or no saying."""
    try:
        return EncoderSpec.from_json(read_json(folder / "spec.json")).precision
    except (UserError, ValueError):  # opening the store says what is wrong with it
        return None


def known_stamps(workspace: Workspace, paths: Sequence[str]) -> Stamps:
    """What the collection knows of the files at `paths`."""
    import pandas as pd

    known = Stamps(len(paths))
    if not workspace.collection.exists():
        return known
    try:
        rows = load_collection(workspace.collection).rows
        found = pd.Index(rows["path"]).get_indexer(pd.Index(paths))
        here = found >= 0
        for name, column in (("keys", "key"), ("sizes", "size"), ("mtimes", "mtime_ns")):
            values = rows[column].to_numpy(dtype=getattr(known, name).dtype)
            getattr(known, name)[here] = values[found[here]]
    except (UserError, KeyError, ValueError, TypeError, pd.errors.InvalidIndexError):
        return Stamps(len(paths))  # only a way to be fast: this run writes the file anew
    return known


def with_stamps(rows: Any, done: Embedded) -> Any:
    """Those of `rows` that have vectors, with `key`, `size` and `mtime_ns`."""
    stamped = rows[done.readable].reset_index(drop=True)
    stamped["key"] = done.keys
    stamped["size"] = done.stamps.sizes[done.readable]
    stamped["mtime_ns"] = done.stamps.mtimes[done.readable]
    return stamped


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
