"""HDF5 of ann-benchmarks: its own layout is read with ids or without, and hostile files are not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from embed.ann_benchmarks import AnnBenchmark
from embed.encoders import open_encoder
from embed.errors import UserError
from embed.exchange import export
from embed.files import sha256
from embed.imports import import_vectors, made_key
from embed.store import EmbeddingStore

N, DIM = 30, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, DIM)).astype(np.float32)
U = X / np.linalg.norm(X, axis=1, keepdims=True)
IDS = [f"photo {i}" for i in range(N)]


def theirs(path: Path, **more: Any) -> Path:
    """As ann-benchmarks' `write_output` makes a file."""
    with h5py.File(path, "w") as file:
        file.attrs.update(type="dense", distance="angular", dimension=DIM, point_type="float")
        file.create_dataset("train", data=X[:25])
        file.create_dataset("test", data=X[25:])
        file.create_dataset("neighbors", data=np.zeros((5, 2), "i4"))
        file.create_dataset("distances", data=np.zeros((5, 2), "f4"))
        for name, data in more.items():
            file.create_dataset(name, data=data)
    return path


def test_a_file_without_ids(tmp_path: Path) -> None:
    path = theirs(tmp_path / "glove.hdf5")
    found = AnnBenchmark(path)
    assert (len(found), found.dim, found.ids, found.distance) == (N, DIM, None, "angular")
    assert [len(X) for X in found.blocks("train", 10)] == [10, 10, 5]
    done = import_vectors(tmp_path / "s", "glove", path)
    assert (done.rows, done.scaled, done.problems) == (N, N, [])
    assert done.notes[0].startswith("vectors without photos: 30; ")
    keys = [made_key(f"glove-{i}") for i in range(N)]
    np.testing.assert_allclose(EmbeddingStore.open(tmp_path / "s").load(keys), U, atol=1e-6)


@pytest.mark.parametrize("name", ["ids", "train_ids"])
def test_ids_go_with_their_rows(name: str, tmp_path: Path) -> None:
    path = theirs(tmp_path / "x.hdf5", **{name: IDS[:25], "test_ids": IDS[25:]})
    assert AnnBenchmark(path).ids == IDS
    import_vectors(tmp_path / "s", "x", path)
    one = EmbeddingStore.open(tmp_path / "s").load([made_key("photo 27")])
    np.testing.assert_allclose(one[0], U[27], atol=1e-6)


def test_a_table_is_matched_by_id_not_by_place(tmp_path: Path) -> None:
    path = theirs(tmp_path / "x.hdf5", train_ids=IDS[:25], test_ids=IDS[25:])
    keys = [sha256(name.encode()) for name in IDS]
    table = pd.DataFrame({"id": IDS, "key": keys})
    table.sample(frac=1, random_state=1).to_csv(tmp_path / "t.csv", index=False)
    import_vectors(tmp_path / "s", "x", path, tmp_path / "t.csv")
    np.testing.assert_allclose(EmbeddingStore.open(tmp_path / "s").load(keys), U, atol=1e-6)
    table[["key"]].to_csv(tmp_path / "u.csv", index=False)
    with pytest.raises(UserError, match="has no column `id`"):
        import_vectors(tmp_path / "u", "x", path, tmp_path / "u.csv")
    table.assign(id=[*IDS[:-1], "another"]).to_csv(tmp_path / "v.csv", index=False)
    with pytest.raises(UserError, match="no row with the id 'photo 29'"):
        import_vectors(tmp_path / "v", "x", path, tmp_path / "v.csv")


def test_our_export_is_read_with_its_truth(tmp_path: Path) -> None:
    store = EmbeddingStore.open(tmp_path / "s", replace(open_encoder("pixels").spec, dim=DIM))
    rows = pd.DataFrame({"id": IDS, "path": IDS, "file_path": IDS, "key": map(made_key, IDS)})
    store.append(rows["key"].tolist(), U)
    export(store, rows, tmp_path / "x.hdf5", "ann-benchmarks", neighbors=3)
    found = AnnBenchmark(tmp_path / "x.hdf5")
    assert sorted(found.ids or []) == sorted(IDS)
    assert found.keys == [made_key(id_) for id_ in found.ids or []]
    neighbors, distances = found.truth()
    train, test = (np.concatenate(list(found.blocks(part))) for part in ("train", "test"))
    cosines = np.take_along_axis(test @ train.T, neighbors, axis=1)
    np.testing.assert_allclose(1 - cosines, distances, atol=1e-6)


Made = Callable[[Any], Any]


def elsewhere(file: Any) -> None:
    del file["train"]
    file["train"] = h5py.ExternalLink("other.hdf5", "/train")


def outside(file: Any) -> None:
    del file["train"]
    secret = [("/etc/hostname", 0, 8)]
    file.create_dataset("train", (1, 2), "f4", external=secret)


def renewed(name: str, *args: Any, **kwargs: Any) -> Made:
    def change(file: Any) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, *args, **kwargs)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: file.pop("train"), "has no `train`"),
        (elsewhere, "link into another file"),
        (outside, "does not keep its numbers in this file"),
        (renewed("train", data=X[:, :5]), "expected one length"),
        (renewed("train", data=X[0]), "expected 2 axis"),
        (renewed("train", data=X.astype(int)), "of numbers"),
        (renewed("train", (10**9, DIM), "f4", chunks=(1, DIM)), "the file cannot hold"),
        (renewed("train", (10**9, DIM), "f4"), "the file cannot hold"),
        (renewed("ids", data=IDS[:24]), "25 rows of train and 24 of ids"),
        (renewed("ids", data=np.zeros(25)), "expected 1 axis"),
        (lambda file: file.attrs.update(type="sparse"), "expected dense"),
    ],
    ids=[
        "none",
        "link",
        "outside",
        "dim",
        "flat",
        "ints",
        "sparse",
        "unwritten",
        "ids",
        "floats",
        "kind",
    ],
)
def test_hostile_files(change: Made, says: str, tmp_path: Path) -> None:
    path = theirs(tmp_path / "x.hdf5")
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(UserError, match=says):
        import_vectors(tmp_path / "s", "x", path)
    assert not (tmp_path / "s").exists()


def test_truth_of_other_rows(tmp_path: Path) -> None:
    path = theirs(tmp_path / "x.hdf5")
    for data, says in (
        (np.full((5, 2), 25), "no row of train"),
        (np.zeros((4, 2), int), "a query"),
    ):
        with h5py.File(path, "a") as file:
            renewed("neighbors", data=data)(file)
        with pytest.raises(UserError, match=says):
            AnnBenchmark(path).truth()


def test_every_cut_file_is_refused(tmp_path: Path) -> None:
    whole = theirs(tmp_path / "x.hdf5").read_bytes()
    for size in range(0, len(whole) - 1, 97):
        (tmp_path / "y.hdf5").write_bytes(whole[:size])
        with pytest.raises(UserError):
            AnnBenchmark(tmp_path / "y.hdf5")
