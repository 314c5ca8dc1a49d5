"""FiftyOne's datasets on disk: written as its importer reads them, read as its exporter writes."""

import base64
import io
import json
import os
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embed import fiftyone_samples
from embed.encoders import open_encoder
from embed.errors import UserError
from embed.exchange import export
from embed.fiftyone_samples import FiftyOneSamples
from embed.files import sha256
from embed.imports import import_vectors
from embed.store import EmbeddingStore

N, DIM = 7, 5
X = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)
X /= np.linalg.norm(X, axis=1, keepdims=True)
FAMILIES = [["felidae", "canidae", None][i % 3] for i in range(N)]
ROWS = pd.DataFrame(
    {
        "id": [f"photo {i}" for i in range(N)],
        "path": [*(f"/photos/{i}.png" for i in range(N - 1)), "/photos/a.zip!/6.png"],
        "file_path": [f"{i}.png" for i in range(N)],
        "family": FAMILIES,
        "embedding": "a user's own",
        "_x.y": "étang 🐸",
        "key": [sha256(bytes([i])) for i in range(N)],
        "size": 5,
        "mtime_ns": 7,
    }
)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    opened = EmbeddingStore.open(tmp_path / "store", replace(open_encoder("pixels").spec, dim=DIM))
    opened.append(ROWS["key"].tolist(), X)
    return opened


def vector(value: dict[str, Any]) -> np.ndarray:
    """As FiftyOne's `deserialize_numpy_array`."""
    assert value["$binary"]["subType"] == "00"
    packed = base64.b64decode(value["$binary"]["base64"])
    return np.load(io.BytesIO(zlib.decompress(packed)), allow_pickle=False)


def test_the_layout(store: EmbeddingStore, tmp_path: Path) -> None:
    done = export(store, ROWS, tmp_path / "My Set", "fiftyone", label="family")
    about = json.loads((tmp_path / "My Set/metadata.json").read_text())
    samples = json.loads((tmp_path / "My Set/samples.json").read_text())["samples"]
    assert [len(samples), about["name"], about["slug"]] == [N, "My Set", "my-set"]
    kinds = {one["name"]: one["ftype"].rsplit(".", 1)[1] for one in about["sample_fields"]}
    assert kinds["embedding"] == "VectorField"
    assert kinds["family"] == "EmbeddedDocumentField"
    assert kinds["photo_id"] == kinds["key"] == kinds["x_y"] == "StringField"
    names = {one["db_field"] for one in about["sample_fields"]}
    ids = set()
    for i, sample in enumerate(samples):
        assert set(sample) <= names
        np.testing.assert_array_equal(vector(sample["embedding"]), X[i])
        assert sample["filepath"] == ROWS["path"][i]
        assert sample["photo_id"] == ROWS["id"][i]
        assert sample.get("family", {}).get("label") == FAMILIES[i]
        assert (sample["x_y"], sample["table_embedding"]) == ("étang 🐸", "a user's own")
        ids |= {sample["_id"]["$oid"], sample.get("family", sample)["_id"]["$oid"]}
    assert len(ids) == N + N - FAMILIES.count(None)
    assert all(len(one) == 24 for one in ids)
    assert done.notes == [
        "the column 'embedding' is the field 'table_embedding' there",
        "the column '_x.y' is the field 'x_y' there",
        "photos in archives or on the web, which FiftyOne cannot open: 1",
    ]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_read_again(store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fiftyone_samples, "_CHUNK", 100)
    monkeypatch.setattr(fiftyone_samples, "_ROWS_AT_ONCE", 3)
    export(store, ROWS, tmp_path / "x", "fiftyone", label="family")
    found = FiftyOneSamples(tmp_path / "x")
    assert found.columns["id"] == ROWS["id"].tolist()
    assert found.columns["family"] == [name or "" for name in FAMILIES]
    assert [len(X) for X in found.blocks()] == [3, 3, 1]
    done = import_vectors(tmp_path / "again", "again", tmp_path / "x/samples.json")
    assert (done.rows, done.problems, done.notes) == (N, [], [])
    again = EmbeddingStore.open(tmp_path / "again").load(ROWS["key"].tolist())
    np.testing.assert_array_equal(again, X)


def test_a_label_that_is_no_column(store: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no column 'familie'"):
        export(store, ROWS, tmp_path / "x", "fiftyone", label="familie")
    assert not (tmp_path / "x").exists()


@given(
    texts=st.lists(st.text(st.characters(codec="utf-8")), max_size=8),
    chunk=st.integers(14, 60),
    blank=st.sampled_from(["", " ", "\n  "]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_stream_is_the_list(texts: list[str], chunk: int, blank: str, tmp_path: Path) -> None:
    path = tmp_path / "samples.json"
    body = f"{blank},{blank}".join(json.dumps({"a": text}) for text in texts)
    path.write_text(f'{{"samples": [{blank}{body}{blank}]}}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fiftyone_samples, "_CHUNK", chunk)
        assert list(fiftyone_samples._documents(path)) == [{"a": text} for text in texts]


def packed(data: bytes) -> dict[str, Any]:
    return {"$binary": {"base64": base64.b64encode(zlib.compress(data)).decode()}}


def saved(x: Any, **how: Any) -> dict[str, Any]:
    data = io.BytesIO()
    np.save(data, x, **how)
    return packed(data.getvalue())


Change = Callable[[dict[str, Any], dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a, s: s.update(embedding=saved([{}], allow_pickle=True)), "Object arrays"),
        (lambda a, s: s.update(embedding=packed(bytes(9 * 10**6))), "longer than any vector"),
        (lambda a, s: s.update(embedding=packed(b"x")), "cannot be read"),
        (lambda a, s: s.update(embedding=saved(np.eye(2))), "float64 \\(2, 2\\)"),
        (lambda a, s: s.update(embedding=saved(X[0, :3])), "3 numbers .* the first has 5"),
        (lambda a, s: s.update(embedding={"$binary": "?"}), "cannot be read"),
        (lambda a, s: a.update(sample_fields=a["sample_fields"][:-1]), "0 fields of vectors"),
        (lambda a, s: a.update(sample_fields=2 * a["sample_fields"][-1:]), "cannot|1"),
        (lambda a, s: a.pop("sample_fields"), "no FiftyOneDataset"),
    ],
    ids=["pickle", "bomb", "short", "matrix", "dim", "binary", "none", "twice", "fields"],
)
def test_hostile_files(change: Change, says: str, store: EmbeddingStore, tmp_path: Path) -> None:
    export(store, ROWS, tmp_path / "x", "fiftyone")
    about = json.loads((tmp_path / "x/metadata.json").read_text())
    samples = json.loads((tmp_path / "x/samples.json").read_text())
    change(about, samples["samples"][1])
    (tmp_path / "x/metadata.json").write_text(json.dumps(about))
    (tmp_path / "x/samples.json").write_text(json.dumps(samples))
    if says == "cannot|1":  # one name twice is one field
        assert len(FiftyOneSamples(tmp_path / "x")) == N
        return
    with pytest.raises(UserError, match=says):
        import_vectors(tmp_path / "s", "x", tmp_path / "x")


def test_every_cut_file_is_refused(store: EmbeddingStore, tmp_path: Path) -> None:
    export(store, ROWS, tmp_path / "x", "fiftyone")
    path = tmp_path / "x/samples.json"
    whole = path.read_text()
    for size in range(0, len(whole) - 2, 41):
        path.write_text(whole[:size])
        with pytest.raises(UserError, match=r"cut off|does not start"):
            FiftyOneSamples(tmp_path / "x")


@pytest.mark.skipif("FAMILIA_FIFTYONE" not in os.environ, reason="a python that has FiftyOne")
def test_fiftyone_itself_reads_it_and_writes_it_back(store: EmbeddingStore, tmp_path: Path) -> None:
    """Needs a running MongoDB, or FIFTYONE_DATABASE_URI."""
    script = """
import sys, fiftyone as fo
kind = fo.types.FiftyOneDataset
dataset = fo.Dataset.from_dir(sys.argv[1], dataset_type=kind)
dataset.export(export_dir=sys.argv[2], dataset_type=kind, export_media=False)
"""
    export(store, ROWS, tmp_path / "x", "fiftyone", label="family")
    python, there = os.environ["FAMILIA_FIFTYONE"], str(tmp_path / "y")
    subprocess.run([python, "-c", script, str(tmp_path / "x"), there], check=True)
    ours, theirs = FiftyOneSamples(tmp_path / "x"), FiftyOneSamples(tmp_path / "y")
    added = ("tags", "metadata", "created_at", "last_modified_at")
    assert {k: v for k, v in theirs.columns.items() if k not in added} == {
        k: v for k, v in ours.columns.items() if k not in added
    }
    np.testing.assert_array_equal(np.vstack(list(theirs.blocks())), X)
