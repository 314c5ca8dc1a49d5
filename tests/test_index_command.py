"""`cli index` on a workspace: kept up with its photos, never another encoder's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from big_indexes_by_hand import clustered
from conftest import Result

from embed.collection import load_collection, save_collection
from embed.encoder import PixelEncoder
from embed.errors import UserError
from embed.files import sha256
from embed.store import EmbeddingStore
from embed.vectors import note_latest, open_stores
from embed.workspace import Workspace
from retrieval.index_command import build_index, open_big_index, remove_photos, verify_index
from retrieval.plan import Plan, usual_plan
from retrieval.row_source import StoreSource

SPEC = replace(PixelEncoder().spec, name="by-hand", dim=16)
X = clustered(1200, 16, 0)
KEYS = [sha256(str(i).encode()) for i in range(len(X))]
IVF = usual_plan("ivf", 1000, 16, "sq8")


def photos(workspace: Workspace, numbers: list[int]) -> None:
    """A collection of those photos; number 7 and number 8 are the same file."""
    rows = pd.DataFrame(
        {
            "id": [f"photo {i}" for i in numbers],
            "path": [f"/photos/{i}.jpg" for i in numbers],
            "file_path": [f"{i}.jpg" for i in numbers],
            "key": [KEYS[7 if i == 8 else i] for i in numbers],
            "size": 1,
            "mtime_ns": len(numbers),
        }
    )
    save_collection(rows, None, Path("/photos"), workspace.collection)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    EmbeddingStore.open(workspace.store("by-hand"), SPEC).append(KEYS, X)
    note_latest(workspace, ["by-hand"])
    photos(workspace, list(range(1000)))
    return workspace


def test_a_source_gives_the_same_rows_from_any_row_on(workspace: Workspace) -> None:
    stores = open_stores(workspace, None)
    whole = StoreSource(workspace.collection, stores)
    only = np.arange(1000) % 3 == 1
    some = StoreSource(workspace.collection, stores, only)
    for source, start, rows in ((whole, 0, 300), (whole, 450, 97), (some, 0, 50), (some, 100, 7)):
        chunks = list(source.chunks(start, rows))
        numbers = np.arange(1000)[only] if source is some else np.arange(1000)
        ids = [name for chunk in chunks for name in chunk.ids]
        assert ids == [f"photo {i}" for i in numbers[start:]]
        expected = X[numbers[start:]]
        expected[numbers[start:] == 8] = X[7]
        np.testing.assert_array_equal(np.concatenate([chunk.X for chunk in chunks]), expected)
        assert {len(chunk.ids) for chunk in chunks[:-1]} <= {rows}
        assert source.n == len(numbers)


@pytest.mark.parametrize("plan", [Plan("flat"), IVF], ids=["flat", "ivf"])
def test_an_index_is_kept_up_with_the_photos(workspace: Workspace, plan: Plan) -> None:
    stores = open_stores(workspace, None)
    assert open_big_index(workspace, stores) is None
    assert build_index(workspace, plan=plan).done == "Built"
    assert build_index(workspace).rows == 1000
    index, differ = open_big_index(workspace, stores) or (None, None)
    assert index is not None
    assert differ is None
    assert index.keys(np.array([7, 8])) == [KEYS[7], KEYS[7]]
    photos(workspace, [*range(5, 1000), *range(1100, 1150)])
    _, differ = open_big_index(workspace, stores) or (None, None)
    assert differ is not None
    assert (int(differ.new.sum()), differ.gone.tolist()) == (50, [0, 1, 2, 3, 4])
    assert "50 are not in it, 5 of its rows" in differ.line()
    report = build_index(workspace, plan=plan)
    assert (report.done, report.rows) == ("Added 50, removed 5", 1045)
    index, differ = open_big_index(workspace, stores) or (None, None)
    assert index is not None
    assert differ is None
    rows, _ = index.search(X[[1120, 2]], 1)
    assert index.ids[int(rows[0, 0])] == "photo 1120"
    assert index.ids[int(rows[1, 0])] != "photo 2"
    photos(workspace, [*range(5, 1000), *range(1100, 1150)][::-1])  # only the order is another
    assert build_index(workspace, plan=plan).done == "Up to date"
    verify_index(workspace)


def test_a_photo_whose_bytes_changed_is_taken_in_anew(workspace: Workspace) -> None:
    build_index(workspace, plan=Plan("flat"))
    photos(workspace, list(range(1000)))
    rows = pd.read_parquet(workspace.collection)
    rows.loc[3, "key"] = KEYS[1199]
    save_collection(rows, None, Path("/photos"), workspace.collection)
    assert build_index(workspace).done == "Added 1, removed 1"
    index, _ = open_big_index(workspace, open_stores(workspace, None)) or (None, None)
    assert index is not None
    found = index.row("photo 3")
    assert found == 1000
    assert index.search(X[1199:], 1)[0].tolist() == [[found]]
    assert 3 not in index.search(X[3:4], 999)[0]


def test_removed_photos_come_back_with_the_next_index(workspace: Workspace) -> None:
    build_index(workspace, plan=IVF)
    assert remove_photos(workspace, ["photo 3", "photo 9"]).rows == 998
    with pytest.raises(UserError, match="1 of 2 ids"):
        remove_photos(workspace, ["photo 4", "photo 3"])
    assert build_index(workspace).done == "Added 2, removed 0"


def test_an_index_of_another_encoder_is_never_searched(workspace: Workspace) -> None:
    build_index(workspace, plan=IVF)
    EmbeddingStore.set_aside(workspace.store("by-hand"))
    other = replace(SPEC, weights="others")
    EmbeddingStore.open(workspace.store("by-hand"), other).append(KEYS, X[::-1])
    with pytest.raises(UserError, match="another encoder spec"):
        open_big_index(workspace, open_stores(workspace, None))
    assert build_index(workspace, plan=IVF).done == "Built"  # anew
    index, _ = open_big_index(workspace, open_stores(workspace, None)) or (None, None)
    assert index is not None
    assert index.search(X[-1:], 1)[0].tolist() == [[0]]


def test_verify_compares_with_the_store(workspace: Workspace) -> None:
    build_index(workspace, plan=Plan("flat"))
    folder = workspace.store("by-hand")
    for part in folder.glob("part-*.h5"):
        part.unlink()
    EmbeddingStore.open(folder).append(KEYS, X[::-1])
    with pytest.raises(UserError, match="other vectors than the store"):
        verify_index(workspace)


@pytest.mark.parametrize("kind", ["auto", "ivf", "hnsw"])
def test_what_is_said_of_the_index_was_measured(workspace: Workspace, kind: str) -> None:
    report = build_index(workspace, kind=kind, recall=0.9, k=5)
    assert report.plan.kind == ("flat" if kind == "auto" else kind)
    assert report.plan.recall is not None
    assert any("recall@5" in line for line in report.lines())
    index, _ = open_big_index(workspace, open_stores(workspace, None)) or (None, None)
    assert index is not None
    assert index.plan == report.plan
    rows, _ = index.search(X[:1000], 1)
    ids = load_collection(workspace.collection).rows["id"].tolist()
    place = {name: row for row, name in enumerate(ids)}  # those held out come last in the index
    found = np.array([place[index.ids[row]] for row in rows[:, 0].tolist()])
    assert (found == np.arange(1000)).mean() > 0.9
    assert report.plan.recall >= 0.9 or report.plan.notes
    assert build_index(workspace, kind=kind, recall=0.9, k=5).done == "Up to date"
    assert build_index(workspace, kind="flat").done == ("Up to date" if kind == "auto" else "Built")


def test_recall_is_measured_anew_where_a_fifth_more_photos_came(workspace: Workspace) -> None:
    photos(workspace, list(range(900)))
    assert build_index(workspace, kind="ivf", recall=0.9, k=5).plan.rows == 900
    photos(workspace, list(range(1000)))
    assert build_index(workspace, recall=0.9, k=5).plan.rows == 900
    photos(workspace, list(range(1150)))
    report = build_index(workspace, recall=0.9, k=5)
    assert (report.done, report.plan.rows) == ("Added 150, removed 0", 1150)
    assert report.plan.recall is not None


def test_without_photos_or_kind_the_user_is_told(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(UserError, match="no kind of index"):
        build_index(workspace, kind="annoy")
    workspace.collection.unlink()
    with pytest.raises(UserError, match="cli embed PHOTOS"):
        build_index(workspace, plan=IVF)


@pytest.mark.parametrize("kind", ["ivfpq", "ivfpq8x4", "ivfsq8"])
def test_every_kind_that_can_be_asked_for_is_built(
    run: Callable[..., Result], workspace: Workspace, kind: str
) -> None:
    done = run("index", "--kind", kind, "--json", "-w", workspace.folder)
    assert done.code == 0, done.err
    assert (done.json["plan"]["kind"] + done.json["plan"]["code"]).startswith(kind)
    assert run("index", "--verify", "-w", workspace.folder).code == 0


def test_another_kind_is_wrong_usage(run: Callable[..., Result], workspace: Workspace) -> None:
    done = run("index", "--kind", "ivfpqx4", "-w", workspace.folder)
    assert done.code == 2
    assert "Choose from: auto, flat, hnsw, ivf, ivfpq" in done.err
    done = run("index", "--kind", "ivfpq7x4", "-w", workspace.folder)
    assert done.code == 1
    assert "cannot be cut" in done.err
