"""The index that `cli index` built, as other programs read it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pytest
from big_indexes_by_hand import brute, clustered, recall
from conftest import Result

from embed.collection import save_collection
from embed.encoder import PixelEncoder
from embed.errors import UserError
from embed.files import sha256
from embed.store import EmbeddingStore
from embed.vectors import note_latest
from embed.workspace import Workspace
from retrieval.faiss_exchange import read_index
from retrieval.faiss_export import FILES, export_index
from retrieval.index_command import build_index, remove_photos
from retrieval.plan import usual_plan

N, LATER, DIM = 1000, 150, 16
X = clustered(N + LATER, DIM, 0)
KEYS = [sha256(str(i).encode()) for i in range(len(X))]


def photos(workspace: Workspace, numbers: range) -> None:
    ids = [f"photo {i}" for i in numbers]
    rows = {"id": ids, "path": ids, "file_path": ids, "key": [KEYS[i] for i in numbers]}
    save_collection(pd.DataFrame(rows), None, Path("/photos"), workspace.collection)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    spec = replace(PixelEncoder().spec, name="by-hand", dim=DIM)
    EmbeddingStore.open(workspace.store("by-hand"), spec).append(KEYS, X)
    note_latest(workspace, ["by-hand"])
    photos(workspace, range(N))
    return workspace


def built(workspace: Workspace, layout: str) -> None:
    """As photos came: 1,000, and later 150 before them in the table."""
    kind, _, code = layout.partition(" ")
    plan = usual_plan(kind, N, DIM, code)
    build_index(workspace, plan=plan)
    photos(workspace, range(N + LATER)[::-1])
    build_index(workspace, plan=plan)


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize(
    ("layout", "key"),
    [
        ("ivf sq8", "IVF25,SQ8"),
        ("ivf fp16", "IVF25,SQfp16"),
        ("ivf pq8", "IVF25,PQ8x8"),
        ("ivf pq8x4", "IVF25,PQ8x4fs"),
        ("ivf rabitq", "IVF25,RaBitQ"),
        ("hnsw fp32", "HNSW32,Flat"),
        ("hnsw sq8", "HNSW32,SQ8"),
    ],
)
def test_faiss_reads_all_rows_and_their_ids(
    workspace: Workspace, tmp_path: Path, layout: str, key: str, form: str
) -> None:
    built(workspace, layout)
    done = export_index(workspace, None, tmp_path / "x", form, built=True)
    file, facts, folder = (tmp_path / "x" / name for name in FILES[form])
    index = faiss.read_index(str(file))
    said = json.loads(facts.read_text())
    assert (done.rows, said["nb vectors"], said["index_key"]) == (len(X), len(X), key)
    assert said["size in bytes"] == file.stat().st_size
    ids = pd.concat([pd.read_parquet(one) for one in sorted(folder.glob("*.parquet"))])["id"]
    numbers = np.array([int(name.removeprefix("photo ")) for name in ids])
    assert sorted(numbers) == list(range(len(X)))
    faiss.ParameterSpace().set_index_parameters(index, said["index_param"])
    if layout.startswith("ivf"):
        index.nprobe = index.nlist
    found = numbers[index.search(X, 10)[1]]
    floor = {"ivf pq8": 0.6, "ivf pq8x4": 0.4, "ivf rabitq": 0.3}.get(layout, 0.9)
    assert recall(found, brute(X, X, 10)) > floor
    assert (found[:, 0] == np.arange(len(X))).mean() > floor


def test_what_we_wrote_we_read(workspace: Workspace, tmp_path: Path) -> None:
    for layout in ("ivf pq8", "hnsw fp32"):
        built(workspace, layout)
        to = tmp_path / layout
        export_index(workspace, None, to, "autofaiss", built=True)
        found = read_index(to).index
        rows, _ = found.search(X[:50], 1)
        names = [found.ids[int(row)] for row in rows[:, 0]]
        assert np.mean([name == f"photo {i}" for i, name in enumerate(names)]) > 0.6
        photos(workspace, range(N))


def test_an_index_that_is_not_the_photos_is_not_written(
    workspace: Workspace, tmp_path: Path
) -> None:
    to = tmp_path / "x"
    with pytest.raises(UserError, match="Run `cli index` first"):
        export_index(workspace, None, to, "autofaiss", built=True)
    build_index(workspace)
    with pytest.raises(UserError, match="Leave out --built"):
        export_index(workspace, None, to, "autofaiss", built=True)
    build_index(workspace, plan=usual_plan("ivf", N, DIM, "sq8"))
    remove_photos(workspace, ["photo 3"])
    photos(workspace, range(4, N))
    with pytest.raises(UserError, match="3 of its rows are no longer"):
        export_index(workspace, None, to, "autofaiss", built=True)
    build_index(workspace, plan=usual_plan("ivf", N, DIM, "sq8"))
    with pytest.raises(UserError, match="4 photos taken out of the index"):
        export_index(workspace, None, to, "autofaiss", built=True)
    assert not to.exists()


def test_only_forms_of_faiss_are_built(
    run: Callable[..., Result], workspace: Workspace, tmp_path: Path
) -> None:
    done = run("store", "export", tmp_path / "x", "--built", "-w", tmp_path)
    assert done.code == 2
    assert "--form autofaiss or clip-retrieval-index" in done.err
    build_index(workspace, plan=usual_plan("ivf", N, DIM, "pq8"))
    words = ("--form", "autofaiss", "--built", "-w", tmp_path)
    done = run("store", "export", tmp_path / "x", *words)
    assert (done.code, (tmp_path / "x" / "knn.index").exists()) == (0, True)
    assert "1,000 rows of 16 numbers" in done.out
    assert "do not rank" in done.err
