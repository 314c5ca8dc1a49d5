"""Indices of autofaiss and clip-retrieval, both ways; a hostile one never reaches a search."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embed import exchange
from embed.encoders import open_encoder
from embed.errors import UserError
from embed.exchange import export
from embed.files import sha256
from embed.store import EmbeddingStore
from retrieval import faiss_exchange, faiss_export
from retrieval.faiss_exchange import ForeignIndex, read_index
from retrieval.faiss_export import FORMS, write_index
from retrieval.foreign_faiss import read_foreign

N, DIM = 300, 8
IP, L2 = faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2
X = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)
X /= np.linalg.norm(X, axis=1, keepdims=True)
ROWS = pd.DataFrame(
    {
        "id": [f"photo {i}" for i in range(N)],
        "path": [f"/photos/{i}.png" for i in range(N)],
        "file_path": [f"{i}.png" for i in range(N)],
        "family": [["felidae", "canidae", None][i % 3] for i in range(N)],
        "i": "a user's own",
        "key": [sha256(str(i).encode()) for i in range(N)],
        "size": 5,
        "mtime_ns": 7,
    }
)
KINDS = {
    "Flat": IP,
    "Flat ": L2,
    "HNSW8": IP,
    "HNSW8 ": L2,
    "IVF8,Flat": IP,
    "IVF8,Flat ": L2,
    "IVF8_HNSW4,Flat": IP,
    "IVF8,PQ4x4": IP,
    "OPQ4_8,IVF8,PQ4x4": IP,
    "OPQ2_4,IVF8,PQ2x4": L2,
}


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    opened = EmbeddingStore.open(tmp_path / "store", replace(open_encoder("pixels").spec, dim=DIM))
    opened.append(ROWS["key"].tolist()[::-1], X[::-1])
    return opened


def made(kind: str, metric: int = IP, rows: np.ndarray = X) -> Any:
    index = faiss.index_factory(DIM, kind.strip(), metric)
    inner = index
    if "PQ" in kind:
        inner = faiss.extract_index_ivf(index)
        faiss.downcast_index(inner).pq.cp.min_points_per_centroid = 1
        inner.cp.min_points_per_centroid = 1
        for i in range(index.chain.size() if "OPQ" in kind else 0):
            step = faiss.downcast_VectorTransform(index.chain.at(i))
            step.niter, step.verbose = 2, False
            step.pq = faiss.ProductQuantizer(step.d_out, step.M, 4)
            step.pq.cp.min_points_per_centroid = 1
            step.pq.this.disown()
    index.train(rows)
    index.add(rows)
    return index


@cache
def file_of(kind: str) -> bytes:
    return bytes(faiss.serialize_index(made(kind)).tobytes())


def folder(where: Path, index: Any, ids: pd.DataFrame | None = None) -> Path:
    """As autofaiss with `ids_path`."""
    (where / "ids").mkdir(parents=True)
    faiss.write_index(index, str(where / "knn.index"))
    facts = {"nb vectors": index.ntotal, "vectors dimension": index.d}
    (where / "index_infos.json").write_text(json.dumps(facts))
    ids = pd.DataFrame({"id": ROWS["id"], "i": np.arange(N)}) if ids is None else ids
    ids.iloc[: N // 3].to_parquet(where / "ids/part-0.parquet", index=False)
    ids.iloc[N // 3 :].to_parquet(where / "ids/part-1.parquet", index=False)
    return where


# ---- out


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_is_what_faiss_writes(
    form: str, store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_export, "_ROWS_AT_ONCE", 7)
    monkeypatch.setattr(faiss_export, "ROWS_A_SHARD", 25)  # 12 shards: 2 must stand before 10
    done = write_index(store, ROWS, tmp_path / "x", form)
    index, facts, ids = faiss_export.FILES[form]
    faiss.write_index(made("Flat"), str(tmp_path / "theirs.index"))
    assert (tmp_path / "x" / index).read_bytes() == (tmp_path / "theirs.index").read_bytes()
    said = json.loads((tmp_path / "x" / facts).read_text())
    assert (said["nb vectors"], said["vectors dimension"]) == (N, DIM)
    assert said["size in bytes"] == (tmp_path / "x" / index).stat().st_size
    names = sorted((tmp_path / "x" / ids).glob("*.parquet"))
    table = pd.concat([pd.read_parquet(one) for one in names], ignore_index=True)
    assert (len(names), table["id"].tolist()) == (12, ROWS["id"].tolist())
    if form == "autofaiss":
        assert table["i"].tolist() == list(range(N))
        assert set(table["table_i"]) == {"a user's own"}
    else:
        assert table["image_path"].tolist() == ROWS["path"].tolist()
    found = read_index(tmp_path / "x")
    assert (found.index.ids, found.metadata, found.notes) == (ROWS["id"].tolist(), names, [])
    assert (done.rows, done.dim) == (N, DIM)
    with pytest.raises(UserError, match="there already"):
        write_index(store, ROWS, tmp_path / "x", form)


def test_a_photo_without_a_vector_leaves_nothing_behind(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    more = pd.concat([ROWS, ROWS.head(1).assign(id="new", key="ab" * 32)], ignore_index=True)
    with pytest.raises(UserError, match="have no 'pixels' embedding"):
        write_index(store, more, tmp_path / "x", "autofaiss")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    with pytest.raises(UserError, match="Did you mean 'autofaiss'"):
        write_index(store, ROWS, tmp_path / "x", "autofais")


# ---- in


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), k=st.integers(1, 30))
@settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_search(kind: str, data: st.DataObject, k: int, opened: dict[str, Any]) -> None:
    """Only allowed rows, each once, best first, as many as there are; whole vectors exactly."""
    index = opened[kind]
    share = data.draw(st.sampled_from([0, 0.01, 0.1, 1]))
    allowed = np.random.default_rng(k).random(N) < share
    q = data.draw(st.integers(0, N - 1))
    for mask in (None, allowed):
        rows, cosines = index.search(X[q : q + 1], k, mask)
        wanted = min(k, N if mask is None else int(mask.sum()))
        assert rows.shape == cosines.shape == (1, wanted)
        assert len(set(rows[0])) == wanted
        assert (np.diff(cosines[0]) <= 0).all()
        if mask is not None:
            assert mask[rows[0]].all()
        if "PQ" not in kind:
            np.testing.assert_allclose(cosines[0], X[rows[0]] @ X[q], atol=1e-5)
            assert mask is not None or rows[0, 0] == q


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("indices")
    return {
        kind: read_index(folder(root / str(i), made(kind, metric))).index
        for i, (kind, metric) in enumerate(KINDS.items())
    }


def test_codes_find_near_rows(opened: dict[str, Any]) -> None:
    """Scores of codes are estimates, whether FAISS gives them as products or as distances."""
    for kind in ("IVF8,PQ4x4", "OPQ4_8,IVF8,PQ4x4"):
        assert isinstance(opened[kind], ForeignIndex)
        rows, cosines = opened[kind].search(X[:50], 10)
        true = np.take_along_axis(X[:50] @ X.T, rows, axis=1)
        assert np.corrcoef(true.ravel(), cosines.ravel())[0, 1] > 0.5
        assert true.mean() > 0.5  # of random rows: 0


def test_ties_fall_by_row(tmp_path: Path) -> None:
    same = np.repeat(X[:1], N, axis=0)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, 2, IP)
    index.train(X)
    index.add_with_ids(same, np.arange(N)[::-1].copy())
    found = read_index(folder(tmp_path / "x", index)).index
    rows, _ = found.search(X[:1], 5, np.arange(N) < 5)
    assert rows.tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("kind", ["Flat", "HNSW8", "IVF8,Flat"])
def test_lengths_become_1(kind: str, tmp_path: Path) -> None:
    long = X.copy()
    long[::2] *= 3
    found = read_index(folder(tmp_path / "x", made(kind, rows=long)))
    assert found.notes[0].startswith("vectors that were not of length 1, and were scaled: 150")
    assert ("expect less" in found.notes[0]) == (kind != "Flat")
    rows, cosines = found.index.search(X[:3], 1)
    assert rows[:, 0].tolist() == [0, 1, 2]
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    long[3] = 0
    with pytest.raises(UserError, match="zero or not finite"):
        read_index(folder(tmp_path / "y", made(kind, rows=long)))


def test_ids_of_rows_in_any_order(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ROWS["id"], "i": np.arange(N)}).sample(frac=1, random_state=3)
    assert read_index(folder(tmp_path / "x", made("Flat"), table)).index.ids == ROWS["id"].tolist()


def test_the_first_column_that_names_each_row_once(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["twice"] * N, "image_path": ROWS["path"], "caption": "?"})
    found = read_index(folder(tmp_path / "x", made("Flat"), table))
    assert found.index.ids == ROWS["path"].tolist()
    with pytest.raises(UserError, match=r"expected one of .*found id, caption"):
        read_index(folder(tmp_path / "y", made("Flat"), table.drop(columns="image_path")))


def test_wrong_counts(tmp_path: Path) -> None:
    some = pd.DataFrame({"id": ROWS["id"], "i": np.arange(N)})
    with pytest.raises(UserError, match=r"300 rows and .* 299"):
        read_index(folder(tmp_path / "few", made("Flat"), some.head(N - 1)))
    with pytest.raises(UserError, match="does not name each of 300 rows once"):
        read_index(folder(tmp_path / "twice", made("Flat"), some.assign(i=0)))
    where = folder(tmp_path / "facts", made("Flat"))
    (where / "index_infos.json").write_text('{"nb vectors": 301}')
    with pytest.raises(UserError, match="nb vectors 300"):
        read_index(where)
    for path in (where / "ids").iterdir():
        path.unlink()
    (where / "index_infos.json").unlink()
    with pytest.raises(UserError, match="no ids"):
        read_index(where)
    with pytest.raises(UserError, match=r"expected knn\.index"):
        read_index(tmp_path)
    with pytest.raises(UserError, match="Name the Parquet file"):
        read_index(where / "knn.index")


# ---- hostile


def damaged(index: Any, tmp_path: Path, says: str) -> None:
    faiss.write_index(index, str(tmp_path / "x.index"))
    with pytest.raises(UserError, match=says):
        read_foreign(tmp_path / "x.index")


def graph(change: Callable[[Any], Any]) -> Any:
    index = made("HNSW8")
    change(index.hnsw)
    return index


def edges(change: Callable[[np.ndarray], Any], name: str = "neighbors") -> Callable[[Any], Any]:
    def apply(hnsw: Any) -> None:
        values = faiss.vector_to_array(getattr(hnsw, name))
        change(values)
        faiss.copy_array_to_vector(values, getattr(hnsw, name))

    return apply


def upper(hnsw: Any) -> None:
    """An edge of level 1 to a row that has no level 1."""
    levels, offsets = (faiss.vector_to_array(getattr(hnsw, n)) for n in ("levels", "offsets"))
    room = faiss.vector_to_array(hnsw.cum_nneighbor_per_level)
    low, high = np.flatnonzero(levels == 1)[0], np.flatnonzero(levels > 1)[0]
    edges(lambda e: e.__setitem__(int(offsets[high]) + int(room[1]), low))(hnsw)


@pytest.mark.parametrize(
    "change",
    [
        edges(lambda e: e.__setitem__(0, N)),
        edges(lambda e: e.__setitem__(0, -2)),
        edges(lambda e: e.__setitem__(5, 10**6), "offsets"),
        edges(lambda e: e.__setitem__(5, 9), "levels"),
        edges(lambda e: e.__setitem__(1, 10**6), "cum_nneighbor_per_level"),
        lambda hnsw: setattr(hnsw, "entry_point", N),
        lambda hnsw: setattr(hnsw, "max_level", 7),
        upper,
    ],
    ids=["far", "below", "offsets", "levels", "room", "entry", "top", "upper"],
)
def test_graphs_that_lead_nowhere(change: Callable[[Any], Any], tmp_path: Path) -> None:
    damaged(graph(change), tmp_path, "is no index that can be used")


def test_lists_that_name_no_row(tmp_path: Path) -> None:
    for ids, says in ((np.arange(N) + 1, "not there"), (np.zeros(N, int), "rows twice")):
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, 2, IP)
        index.train(X)
        index.add_with_ids(X, ids)
        damaged(index, tmp_path, says)


def test_numbers_that_have_no_order(tmp_path: Path) -> None:
    index = made("IVF8,PQ4x4")
    values = faiss.vector_to_array(index.pq.centroids)
    for bad in (np.nan, np.inf, 1e30):
        values[3] = bad
        faiss.copy_array_to_vector(values, index.pq.centroids)
        damaged(index, tmp_path, "not finite or too large")


def test_lists_that_add_up_to_another_number(tmp_path: Path) -> None:
    index = made("IVF8,Flat")
    index.ntotal = 2**60  # so large a table of rows is never made
    damaged(index, tmp_path, "rows in its lists do not add up")


def test_kinds_that_autofaiss_does_not_make(tmp_path: Path) -> None:
    ids = faiss.IndexIDMap(faiss.IndexFlatIP(DIM))
    ids.add_with_ids(X, np.arange(N))
    for index in (ids, made("SQ8"), made("PCA4,Flat"), faiss.IndexLSH(DIM, 8)):
        damaged(index, tmp_path, "is no index that can be used")
    damaged(made("Flat", faiss.METRIC_L1), tmp_path, "is no index that can be used")
    damaged(faiss.IndexFlatIP(DIM), tmp_path, "0 rows")


def test_lists_in_another_file_are_not_opened(tmp_path: Path) -> None:
    index = made("IVF8,Flat")
    lists = faiss.OnDiskInvertedLists(8, 4 * DIM, str(tmp_path / "lists"))
    index.replace_invlists(lists)
    index.ntotal = 0
    index.add(X)
    damaged(index, tmp_path, "lists are in another file")


@pytest.mark.parametrize("kind", ["Flat", "HNSW8", "IVF8,PQ4x4"])
def test_every_cut_file_is_refused(kind: str, tmp_path: Path) -> None:
    whole = file_of(kind)
    path = tmp_path / "x.index"
    for size in [*range(0, 200, 7), *range(200, len(whole), len(whole) // 20), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="no index"):
            read_foreign(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(UserError, match="1 bytes follow"):
        read_foreign(path)


@pytest.mark.parametrize("kind", ["Flat", "HNSW8", "IVF8,Flat", "OPQ4_8,IVF8,PQ4x4"])
@given(data=st.data())
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_changed_bytes_do_no_harm(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    """Refused, or searched without a row that is not there. (Large counts at any place.)"""
    whole = bytearray(file_of(kind))
    at = data.draw(st.integers(0, 250) | st.integers(0, len(whole) - 8))
    number = data.draw(st.integers(0, 255) | st.integers(0, 2**63 - 1))
    size = 1 if number < 256 else 8
    whole[at : at + size] = number.to_bytes(size, "little")
    (tmp_path / "x.index").write_bytes(whole)
    (tmp_path / "ids.parquet").unlink(missing_ok=True)
    ROWS[["id"]].to_parquet(tmp_path / "ids.parquet")
    try:
        found = read_index(tmp_path / "x.index", tmp_path / "ids.parquet").index
    except UserError:
        return
    if found.dim == DIM:
        rows, _ = found.search(X[:2], 5)
        assert ((rows >= 0) & (rows < N)).all()


# ---- the peers' own readers


@pytest.mark.skipif("FAMILIA_CLIP_RETRIEVAL" not in os.environ, reason="a python that has it")
def test_clip_retrieval_and_autofaiss_themselves(
    store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They serve our index, build from our folder, and we read what they built."""
    script = """
import glob, sys, types
import numpy as np
import site
package = types.ModuleType("clip_retrieval")  # without its networks
package.__path__ = [f"{folder}/clip_retrieval" for folder in site.getsitepackages()]
sys.modules["clip_retrieval"] = package
from clip_retrieval.clip_back import load_index, load_metadata_provider
from clip_retrieval.clip_index import clip_index
ours, folder, built = sys.argv[1:]
index = load_index(f"{ours}/image.index", True)
found = load_metadata_provider(ours, False, False, index, None, False)[0]
x = np.load(f"{folder}/img_emb/img_emb_0.npy")[7:8]
row = int(index.search(x, 1)[1][0, 0])
assert found.get([row], ["id"]) == [{"id": "photo 7"}], found.get([row], ["id"])
clip_index(folder, built, "1G", "2G", nb_cores=1)
"""
    monkeypatch.setattr(exchange, "ROWS_A_SHARD", 100)
    write_index(store, ROWS, tmp_path / "ours", "clip-retrieval-index")
    export(store, ROWS, tmp_path / "folder", "clip-retrieval")
    places = [str(tmp_path / name) for name in ("ours", "folder", "built")]
    subprocess.run([os.environ["FAMILIA_CLIP_RETRIEVAL"], "-c", script, *places], check=True)
    found = faiss_exchange.read_index(tmp_path / "built").index
    rows, _ = found.search(X, 1)
    assert [found.ids[int(row)] for row in rows[:, 0]] == ROWS["id"].tolist()
