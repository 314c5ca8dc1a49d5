"""What is exported reads the same elsewhere, and comes back as it went."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import COLOURS, photo
from hypothesis import given, settings
from hypothesis import strategies as st

from embed import exchange
from embed.encoders import open_encoder
from embed.errors import UserError
from embed.exchange import FORMS, export
from embed.files import sha256
from embed.fvecs import read_vecs, write_vecs
from embed.imports import import_vectors, made_key
from embed.store import EmbeddingStore
from embed.verify import store_info, verify

DIM = 12
SPEC = replace(open_encoder("pixels").spec, dim=DIM)
N = 40
LETTERS = st.characters(codec="utf-8", exclude_characters="\0")


def unit(X: np.ndarray) -> np.ndarray:
    return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True), dtype=np.float32)


X = unit(np.random.default_rng(0).normal(size=(N, DIM)))
ROWS = pd.DataFrame(
    {
        "id": [f"photo, {i}" for i in range(N)],
        "path": [f"/photos/{i}.png" for i in range(N)],
        "file_path": [f"{i}.png" for i in range(N)],
        "family": [["felidae", "canidae", None][i % 3] for i in range(N)],
        "vector": [f"the user's own {i}" for i in range(N)],
        "key": [sha256(bytes([i])) for i in range(N)],
        "size": 5,
        "mtime_ns": 7,
    }
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddingStore:
    monkeypatch.setattr(exchange, "_ROWS_AT_ONCE", 7)
    opened = EmbeddingStore.open(tmp_path / "store", SPEC)
    opened.append(ROWS["key"].tolist()[::-1], X[::-1])
    return opened


def test_parquet(store: EmbeddingStore, tmp_path: Path) -> None:
    done = export(store, ROWS, tmp_path / "x.parquet", "parquet")
    found = pd.read_parquet(tmp_path / "x.parquet")
    assert found["id"].tolist() == ROWS["id"].tolist()
    np.testing.assert_array_equal(np.stack(found["vector"]), X)
    assert found["table_vector"].tolist() == ROWS["vector"].tolist()
    assert found["family"].isna().sum() == ROWS["family"].isna().sum()
    assert str(pq.read_schema(tmp_path / "x.parquet").field("vector").type) in (
        "fixed_size_list<item: float>[12]",
        "fixed_size_list<element: float>[12]",
    )
    assert (done.rows, done.dim, done.bytes) == (N, DIM, (tmp_path / "x.parquet").stat().st_size)


def test_csv(store: EmbeddingStore, tmp_path: Path) -> None:
    export(store, ROWS, tmp_path / "x.csv", "csv")
    found = pd.read_csv(tmp_path / "x.csv")
    assert list(found)[:4] == ["id", "key", "file_path", "family"]
    assert found["id"].tolist() == ROWS["id"].tolist()
    values = found[[f"v{i}" for i in range(DIM)]].to_numpy().astype(np.float32)
    np.testing.assert_array_equal(values, X)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_clip_retrieval(
    dtype: str, store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "ROWS_A_SHARD", 4)
    export(store, ROWS, tmp_path / "x", "clip-retrieval", dtype)
    names = sorted(str(path.relative_to(tmp_path / "x")) for path in (tmp_path / "x").rglob("*.*"))
    assert names[0] == "img_emb/img_emb_00.npy"
    assert names[-1] == "metadata/metadata_09.parquet"
    assert len(names) == 20
    vectors, tables = [], []
    for i in range(10):
        vectors.append(np.load(tmp_path / f"x/img_emb/img_emb_{i:02}.npy", allow_pickle=False))
        tables.append(pd.read_parquet(tmp_path / f"x/metadata/metadata_{i:02}.parquet"))
        assert len(vectors[-1]) == len(tables[-1])
    np.testing.assert_array_equal(np.concatenate(vectors), X.astype(dtype))
    table = pd.concat(tables)
    assert table["image_path"].tolist() == ROWS["path"].tolist()
    assert table["id"].tolist() == ROWS["id"].tolist()
    assert not list(tmp_path.glob(".*"))


def test_one_shard_is_numbered_0(store: EmbeddingStore, tmp_path: Path) -> None:
    export(store, ROWS, tmp_path / "x", "clip-retrieval")
    assert (tmp_path / "x/img_emb/img_emb_0.npy").exists()
    assert (tmp_path / "x/metadata/metadata_0.parquet").exists()


def test_ann_benchmarks(store: EmbeddingStore, tmp_path: Path) -> None:
    twice = pd.concat([ROWS, ROWS.tail(3).assign(id=["a", "b", "c"])], ignore_index=True)
    done = export(store, twice, tmp_path / "x.hdf5", "ann-benchmarks", neighbors=10)
    assert (done.rows, done.notes) == (N, ["copies of another photo, left out: 3"])
    with h5py.File(tmp_path / "x.hdf5") as file:
        assert file.attrs["distance"] == "angular"
        train, test = file["train"][:], file["test"][:]
        ids = [[i.decode() for i in file[name][:]] for name in ("train_ids", "test_ids")]
        neighbors, distances = file["neighbors"][:], file["distances"][:]
    assert sorted(ids[0] + ids[1]) == sorted(ROWS["id"])
    number = {id_: i for i, id_ in enumerate(ROWS["id"])}
    np.testing.assert_array_equal(train, X[[number[i] for i in ids[0]]])
    np.testing.assert_array_equal(test, X[[number[i] for i in ids[1]]])
    cosines = test.astype(float) @ train.astype(float).T
    best = np.argsort(-cosines, axis=1)[:, :10]
    np.testing.assert_array_equal(neighbors, best)
    np.testing.assert_allclose(distances, 1 - np.take_along_axis(cosines, best, 1), atol=1e-6)


def test_the_same_seed_holds_out_the_same_photos(store: EmbeddingStore, tmp_path: Path) -> None:
    held_out = []
    for number, seed in enumerate((0, 0, 1)):
        path = tmp_path / f"{number}.hdf5"
        export(store, ROWS, path, "ann-benchmarks", neighbors=5, seed=seed)
        with h5py.File(path) as file:
            held_out.append(file["test"][:].tobytes())
    assert held_out[0] == held_out[1] != held_out[2]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_there_is_not_overwritten(form: str, store: EmbeddingStore, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a user's file")
    with pytest.raises(UserError, match="there already"):
        export(store, ROWS, tmp_path / "mine", form)
    assert (tmp_path / "mine").read_text() == "a user's file"


@pytest.mark.parametrize("form", FORMS)
def test_a_photo_without_a_vector_leaves_nothing_behind(
    form: str, store: EmbeddingStore, tmp_path: Path
) -> None:
    more = pd.concat([ROWS, ROWS.head(1).assign(id="new", key="ab" * 32)], ignore_index=True)
    with pytest.raises(UserError, match="have no 'pixels' embedding"):
        export(store, more, tmp_path / "x.fvecs", form)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_an_unknown_form(store: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'parquet'"):
        export(store, ROWS, tmp_path / "x", "parket")


# ---- import


ENDINGS = {"parquet": "parquet", "ann-benchmarks": "hdf5", "fvecs": "fvecs"}


@pytest.mark.parametrize("form", [*sorted(set(FORMS) - {"csv"}), "npy"])
def test_import_of_an_export_is_the_same(form: str, store: EmbeddingStore, tmp_path: Path) -> None:
    """Bit for bit, and for the keys that went out."""
    to, table = tmp_path / (f"x.{ENDINGS[form]}" if form in ENDINGS else "x"), None
    if form == "npy":
        to, table = tmp_path / "x.npy", tmp_path / "x.csv"
        np.save(to, X)
        ROWS.to_csv(table, index=False)
    else:
        export(store, ROWS, to, form)
    done = import_vectors(tmp_path / "again", "again", to, table)
    assert (done.rows, done.added, done.problems, done.notes) == (N, N, [], [])
    again = EmbeddingStore.open(tmp_path / "again")
    np.testing.assert_array_equal(again.load(ROWS["key"].tolist()), X)
    assert verify(tmp_path / "again").clean
    assert "imported from" in store_info(tmp_path / "again")["made_by"][0]["engine"]
    once_more = import_vectors(tmp_path / "again", "again", to, table)
    assert (once_more.added, once_more.known) == (0, N)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten photos; the fifth is missing, and the table names the first twice."""
    (tmp_path / "photos").mkdir()
    for i in range(10):
        if i != 5:
            photo(list(COLOURS.values())[i % 5], i).save(tmp_path / f"photos/{i}.png")
    lines = ["file_path", *(f"{i}.png" for i in range(10)), "0.png"]
    (tmp_path / "photos/table.csv").write_text("\n".join(lines))
    return tmp_path / "photos"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_photos_named_by_path(dtype: str, folder: Path, tmp_path: Path) -> None:
    V = (3 * np.random.default_rng(1).normal(size=(11, 6))).astype(dtype)
    V[2], V[3, 1] = 0, np.nan
    np.save(tmp_path / "v.npy", V)
    done = import_vectors(tmp_path / "s", "theirs", tmp_path / "v.npy", folder / "table.csv")
    assert done.rows == 7
    assert {p.where: p.reason for p in done.problems} == {
        "table.csv line 4": "its vector is zero",
        "table.csv line 5": "its vector is not finite",
        "table.csv line 7": "'5.png' does not exist",
        "table.csv line 12": "'0.png' stands already in line 2",
    }
    assert done.notes == ["vectors that were not of length 1, and were scaled: 7"]
    kept = [0, 1, 4, 6, 7, 8, 9]
    keys = [sha256((folder / f"{i}.png").read_bytes()) for i in kept]
    found = EmbeddingStore.open(tmp_path / "s").load(keys)
    np.testing.assert_allclose(found, unit(V[kept].astype(float)), atol=1e-6)


def test_nobody_encodes_new_photos_with_it(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((11, 6)))
    import_vectors(tmp_path / "s", "theirs", tmp_path / "v.npy", folder / "table.csv")
    spec = EmbeddingStore.open(tmp_path / "s").spec
    assert (spec.name, spec.source, spec.dim) == ("theirs", "imported:theirs", 6)
    with pytest.raises(UserError, match=r"'theirs'.*imported"):
        open_encoder(spec.source)


def test_other_vectors_under_one_name(folder: Path, tmp_path: Path) -> None:
    for value in (1, 2):
        np.save(tmp_path / f"{value}.npy", np.full((11, 6), value) + np.eye(11, 6))
    import_vectors(tmp_path / "s", "theirs", tmp_path / "1.npy", folder / "table.csv")
    with pytest.raises(UserError, match="another --name"):
        import_vectors(tmp_path / "s", "theirs", tmp_path / "2.npy", folder / "table.csv")
    # but under the digest of one network they belong together
    for value in (1, 2):
        path = tmp_path / f"{value}.npy"
        import_vectors(tmp_path / "t", "mine", path, folder / "table.csv", weights="ab12")


Made = Callable[[Path], Any]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: np.save(path, np.ones((5, 6))), "5 vectors and .* 11 rows"),
        (lambda path: np.save(path, np.ones(11)), "expected one array"),
        (lambda path: np.save(path, np.ones((11, 6), dtype=int)), "of floats"),
        (lambda path: np.save(path, np.array([{}] * 11), allow_pickle=True), "NumPy array"),
        (lambda path: path.write_bytes(b"no array"), "NumPy array"),
        (lambda path: path.write_bytes(b""), "NumPy array"),
        (lambda path: np.save(path, np.zeros((11, 6))), "Not one row"),
        (lambda path: None, "There is no"),
    ],
    ids=["rows", "flat", "ints", "pickle", "text", "empty", "zeros", "none"],
)
def test_what_is_no_table_of_vectors(make: Made, says: str, folder: Path, tmp_path: Path) -> None:
    make(tmp_path / "v.npy")
    with pytest.raises(UserError, match=says):
        import_vectors(tmp_path / "s", "theirs", tmp_path / "v.npy", folder / "table.csv")


def test_names_that_are_taken(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((11, 6)))
    for name in ("pixels", "efficientnet-lite0", "timm:resnet18"):
        with pytest.raises(UserError, match="another name"):
            import_vectors(tmp_path / "s", name, tmp_path / "v.npy", folder / "table.csv")


def test_a_table_that_names_no_photos(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((1, 6)))
    (tmp_path / "t.csv").write_text("family\nfelidae\n")
    with pytest.raises(UserError, match="no column that names the photos"):
        import_vectors(tmp_path / "s", "theirs", tmp_path / "v.npy", tmp_path / "t.csv")
    with pytest.raises(UserError, match="--table"):
        import_vectors(tmp_path / "s", "theirs", tmp_path / "v.npy")
    with pytest.raises(UserError, match=r"img_emb_0\.npy"):
        import_vectors(tmp_path / "s", "theirs", folder)


def test_fvecs_keep_their_ids_beside(store: EmbeddingStore, tmp_path: Path) -> None:
    exported = export(store, ROWS, tmp_path / "x.fvecs", "fvecs")
    assert exported.notes == ["their ids are in x.ids.parquet: keep the two files together"]
    np.testing.assert_array_equal(read_vecs(tmp_path / "x.fvecs"), X)
    assert exported.bytes == sum(path.stat().st_size for path in tmp_path.glob("x.*"))
    assert pd.read_parquet(tmp_path / "x.ids.parquet")["id"].tolist() == ROWS["id"].tolist()
    ROWS.head(N - 1).to_parquet(tmp_path / "x.ids.parquet")
    with pytest.raises(UserError, match=r"40 vectors and .* 39 rows"):
        import_vectors(tmp_path / "s", "x", tmp_path / "x.fvecs")
    (tmp_path / "x.ids.parquet").unlink()
    done = import_vectors(tmp_path / "s", "x", tmp_path / "x.fvecs")
    assert "their keys are made from their ids (x-0, …)" in done.notes[0]
    found = EmbeddingStore.open(tmp_path / "s").load([made_key(f"x-{i}") for i in range(N)])
    np.testing.assert_array_equal(found, X)


def test_ids_of_another_file_are_not_overwritten(store: EmbeddingStore, tmp_path: Path) -> None:
    (tmp_path / "x.ids.parquet").write_text("a user's file")
    for name in ("x.fvecs", "x.vectors"):
        with pytest.raises(UserError, match=r"there already|end in \.fvecs"):
            export(store, ROWS, tmp_path / name, "fvecs")
    assert (tmp_path / "x.ids.parquet").read_text() == "a user's file"


def test_bvecs_become_unit_vectors(tmp_path: Path) -> None:
    B = np.random.default_rng(0).integers(0, 256, (5, 4))
    write_vecs(tmp_path / "x.bvecs", [B])
    done = import_vectors(tmp_path / "s", "x", tmp_path / "x.bvecs")
    assert done.scaled == 5
    found = EmbeddingStore.open(tmp_path / "s").load([made_key(f"x-{i}") for i in range(5)])
    np.testing.assert_allclose(found, unit(B), atol=1e-6)


def test_parts_of_a_clip_retrieval_folder(
    store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts are said to be left out; a part without its other half is no folder of theirs."""
    monkeypatch.setattr(exchange, "ROWS_A_SHARD", 20)
    export(store, ROWS, tmp_path / "x", "clip-retrieval")
    (tmp_path / "x/text_emb").mkdir()
    np.save(tmp_path / "x/text_emb/text_emb_0.npy", X)
    done = import_vectors(tmp_path / "s", "x", tmp_path / "x")
    assert done.rows == N
    assert done.notes == ["text_emb is there too (1 files): vectors of texts are not taken"]
    with pytest.raises(UserError, match="leave --table out"):
        import_vectors(tmp_path / "s", "x", tmp_path / "x", tmp_path / "t.csv")
    (tmp_path / "x/img_emb/img_emb_1.npy").rename(tmp_path / "x/img_emb/other.npy")
    with pytest.raises(UserError, match=r"no img_emb/img_emb_1\.npy: a part is missing"):
        import_vectors(tmp_path / "s", "x", tmp_path / "x")
    (tmp_path / "x/img_emb/other.npy").rename(tmp_path / "x/img_emb/img_emb_1.npy")
    (tmp_path / "x/metadata/metadata_1.parquet").unlink()
    with pytest.raises(UserError, match="There is no table"):
        import_vectors(tmp_path / "s", "x", tmp_path / "x")


@given(data=st.data(), form=st.sampled_from(sorted(set(FORMS) - {"csv"})))
@settings(deadline=None, max_examples=30)
def test_any_vectors_come_back_under_their_keys(data: st.DataObject, form: str) -> None:
    n, dim = data.draw(st.integers(2, 12)), data.draw(st.integers(1, 9))
    names = data.draw(st.lists(st.text(LETTERS), min_size=n, max_size=n))
    V = unit(np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(n, dim)))
    rows = pd.DataFrame({"id": [f"{i} {name}" for i, name in enumerate(names)]})
    rows = rows.assign(path=rows["id"], file_path=rows["id"])
    rows["key"] = [sha256(bytes([i])) for i in range(n)]
    with TemporaryDirectory() as place:
        here = Path(place)
        made = EmbeddingStore.open(here / "s", replace(SPEC, dim=dim))
        made.append(rows["key"].tolist(), V)
        to = here / f"x.{ENDINGS.get(form, 'folder')}"
        export(made, rows, to, form)
        done = import_vectors(here / "again", "again", to)
        assert (done.rows, done.problems, done.scaled) == (n, [], 0)
        found = EmbeddingStore.open(here / "again").load(rows["key"].tolist())
        np.testing.assert_array_equal(found, V)
