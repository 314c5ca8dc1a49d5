"""ONNX files: the original's probabilities, labels that go with them, nothing where in doubt."""

import builtins
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from conftest import embeddings
from sklearn.base import clone

from classify.heads import HEADS
from classify.metrics import HEADLINE, intervals
from classify.model import Model
from classify.onnx_export import TOLERANCE, Exported, export_run
from classify.onnx_graph import EXPORTABLE, model_of
from classify.runs import Predictions, Run, RunConfig
from classify.stack import Stack, fit_pool
from embed.collection import save_collection
from embed.encoder import PixelEncoder
from embed.errors import UserError
from embed.files import sha256, write_json
from embed.store import EmbeddingStore
from embed.vectors import side_by_side
from embed.workspace import Workspace

FACTS = {"familia": "0"}
DIMS = (20, 12, 7)
each_head = pytest.mark.parametrize("name", [name for name in EXPORTABLE if name in HEADS])
each_layout = pytest.mark.parametrize("blocks", [1, 2, 3])


def side(sizes: tuple[int, ...], blocks: int, seed: int = 0) -> tuple[Any, Any]:
    """Rows of `blocks` encoders side by side, and labels."""
    parts = [embeddings(sizes, dim, seed=seed + 10 * i) for i, dim in enumerate(DIMS[:blocks])]
    return side_by_side([X for X, _ in parts]), parts[0][1]


def run_onnx(data: bytes | Path, X: Any) -> Any:
    source = str(data) if isinstance(data, Path) else data
    return onnxruntime.InferenceSession(source).run(["probabilities"], {"embedding": X})[0]


@each_head
@each_layout
@pytest.mark.parametrize("sizes", [(40, 25, 9, 1), (30, 12)])
def test_the_graph_gives_the_heads_probabilities(
    name: str, blocks: int, sizes: tuple[int, ...]
) -> None:
    X, y = side(sizes, blocks)
    layout = DIMS[:blocks] if blocks > 1 else ()
    head = HEADS[name](layout=layout).fit(X, y)
    new = np.vstack([X, side((20,) * len(sizes), blocks, seed=5)[0], head.mean_[None]])
    data = model_of(head, FACTS)
    onnx.checker.check_model(data, full_check=True)
    P = run_onnx(data, new)
    assert P.dtype == np.float32
    np.testing.assert_allclose(P, head.predict_proba(new), rtol=0, atol=TOLERANCE)
    one_by_one = np.vstack([run_onnx(data, row[None]) for row in new[:5]])
    np.testing.assert_allclose(one_by_one, P[:5], rtol=0, atol=1e-6)
    assert run_onnx(data, new[:0]).shape == (0, len(sizes))


@each_head
@pytest.mark.parametrize("balance", ["weights", "oversample", "smote"])
def test_balanced_heads_are_exported_too(name: str, balance: str) -> None:
    if balance not in HEADS[name].balances:
        pytest.skip(f"{balance} means nothing to {name}")
    X, y = side((40, 8, 3), 1)
    head = HEADS[name](balance=balance).fit(X, y)
    P = run_onnx(model_of(head, FACTS), X)
    np.testing.assert_allclose(P, head.predict_proba(X), rtol=0, atol=TOLERANCE)


@each_layout
def test_a_stack_of_such_heads_is_exported_too(blocks: int) -> None:
    sizes = (40, 25, 9, 2)
    X, y = side(sizes, blocks)
    layout = DIMS[:blocks] if blocks > 1 else ()
    heads = {name: HEADS[name](layout=layout).fit(X, y) for name in EXPORTABLE if name in HEADS}
    P = [head.predict_proba(X) for head in heads.values()]
    index = np.unique(y, return_inverse=True)[1]
    pool = fit_pool(P, index, np.arange(len(X)) % 3, np.array(sizes))
    warm, small, large = np.random.default_rng(0).uniform(0.5, 2, (3, len(heads)))
    stack = Stack(heads, replace(pool, temperatures=warm, small=small, large=large))
    pooled = run_onnx(model_of(stack, FACTS), X)
    np.testing.assert_allclose(pooled, stack.predict_proba(X), rtol=0, atol=TOLERANCE)


@each_head
def test_the_same_head_gives_the_same_file(name: str) -> None:
    X, y = side((9, 7), 1)
    head = HEADS[name]().fit(X, y)
    assert model_of(head, FACTS) == model_of(head, FACTS)


def test_identical_photos_of_one_class_are_no_trouble() -> None:
    X = np.repeat(np.eye(3, dtype=np.float32), 40, axis=0)
    head = HEADS["knn"]().fit(X, np.repeat(["a", "b", "c"], 40))
    P = run_onnx(model_of(head, FACTS), X)
    np.testing.assert_allclose(P, head.predict_proba(X), rtol=0, atol=TOLERANCE)


# --- runs


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """A run with its training photos' vectors in the workspace's stores."""

    def make(
        name: str = "logreg",
        blocks: int = 1,
        labels: Callable[[Any], Any] = lambda y: y,
        config: dict[str, Any] | None = None,
        head: Any = None,
    ) -> Run:
        X, y = side((14, 9, 6), blocks)
        y = labels(y)
        specs = [
            replace(PixelEncoder().spec, name=f"pixels-{i}", source="/home/someone", dim=dim)
            for i, dim in enumerate(DIMS[:blocks])
        ]
        keys = [sha256(str(i).encode()) for i in range(len(X))]
        workspace = Workspace(tmp_path)
        ends = np.cumsum(DIMS[: blocks - 1], dtype=int)
        for spec, block in zip(specs, np.split(X, ends, axis=1), strict=True):
            store = EmbeddingStore.open(workspace.store(spec.name), spec)
            store.append(keys, block * np.float32(np.sqrt(blocks)))
        rows = pd.DataFrame({"id": [f"{i}.jpg" for i in range(len(X))], "key": keys, "family": y})
        rows["path"] = rows["file_path"] = rows["id"]
        rows["size"] = rows["mtime_ns"] = 0
        save_collection(rows, "family", tmp_path, workspace.collection)
        layout = DIMS[:blocks] if blocks > 1 else ()
        head = head or HEADS[name](layout=layout).fit(X, y)
        P = head.predict_proba(X)
        folder = workspace.runs / f"{name}-1a2b3c"
        folder.mkdir(parents=True)
        Model(head).save(folder / "model.npz")
        oof = Predictions(rows["id"].tolist(), y, P, head.classes_, np.arange(len(X)) % 5)
        oof.save(folder / "oof.parquet")
        write_json(folder / "metrics.json", intervals(oof.y_index, P, HEADLINE))
        facts = {
            "data": "da7a", "vectors": "fec7", "photos": len(X), "classes": 3,
            "encoders": [spec.to_json() for spec in specs], "seconds": {},
        }  # fmt: skip
        write_json(folder / "provenance.json", facts)
        names = tuple(spec.name for spec in specs)
        plain = asdict(RunConfig(name, "none", names, 5, 0, "default", "family"))
        write_json(folder / "config.json", plain | (config or {}))
        return Run(folder)

    return make


@each_head
@each_layout
def test_a_run_is_exported_with_its_labels(
    name: str, blocks: int, make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run(name, blocks)
    done = export_run(Workspace(tmp_path), run)
    assert done.path == run.folder / "model.onnx"
    assert done.bytes == done.path.stat().st_size
    assert done.stored_rows == 29
    assert done.rows == 29 + 100 + (name != "knn")  # the mean is as far from every neighbour
    assert done.ties == 0
    assert done.notes == []
    assert done.difference <= TOLERANCE
    X, y = side((14, 9, 6), blocks)
    labels = json.loads(done.labels.read_text())
    predicted = np.array(labels["classes"])[run_onnx(done.path, X).argmax(axis=1)]
    assert (predicted == y).mean() > 0.9
    assert labels["label"] == "family"
    assert labels["data"] == "da7a"
    assert [one["digest"] for one in labels["encoders"]] == [s.digest for s in run.specs]
    meta = onnxruntime.InferenceSession(str(done.path)).get_modelmeta().custom_metadata_map
    assert json.loads(meta["classes"]) == labels["classes"]
    assert json.loads(meta["encoders"]) == labels["encoders"]
    assert meta["run"] == run.name
    assert b"someone" not in done.path.read_bytes()
    assert "someone" not in done.labels.read_text()


def test_names_of_any_kind_stay_names(make_run: Callable[..., Run], tmp_path: Path) -> None:
    odd = {"family 0": "<script>", "family 1": 'a|b\n"c"', "family 2": "Ñandú 🐦"}
    run = make_run(labels=lambda y: np.array([odd[name] for name in y]))
    done = export_run(Workspace(tmp_path), run, output=tmp_path / "new" / "out.onnx")
    assert done.labels == tmp_path / "new" / "out.onnx.json"
    assert json.loads(done.labels.read_text())["classes"] == sorted(odd.values())
    meta = onnxruntime.InferenceSession(str(done.path)).get_modelmeta().custom_metadata_map
    assert json.loads(meta["classes"]) == sorted(odd.values())


def test_without_the_vectors_the_rest_is_checked(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run()
    Workspace(tmp_path).collection.unlink()
    done = export_run(Workspace(tmp_path), run)
    assert (done.stored_rows, done.rows) == (0, 101)
    assert "random rows only" in done.notes[0]


def test_a_toss_up_between_neighbours_is_counted_and_not_compared(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    """Photo 0 is in the bank under two classes, and only one of the two may vote."""
    X, y = side((14, 9, 6), 1)
    head = HEADS["knn"]().fit(X, y)
    head.bank_ = np.vstack([head.bank_[:1], head.bank_])
    head.bank_index_ = np.append(2, head.bank_index_)
    head.k_, head.floor_ = 1, 0.01
    head._load()
    done = export_run(Workspace(tmp_path), make_run("knn", head=head))
    assert done.ties >= 1
    assert done.rows + done.ties == 29 + 100
    assert "equally far" in done.notes[0]
    assert done.difference <= TOLERANCE


def test_a_file_that_differs_is_not_written(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    (run.folder / "model.onnx").write_text("of before")

    def wrong(graph: Any, head: Any, rows: str) -> str:
        other = clone(head).fit(*side((14, 9, 6), 1))
        other.intercept_ = head.intercept_ + np.array([0.001, 0, 0])
        return right(graph, other, rows)

    right = EXPORTABLE["logreg"]
    monkeypatch.setitem(EXPORTABLE, "logreg", wrong)
    with pytest.raises(UserError, match=r"differ by up to 0\.000"):
        export_run(Workspace(tmp_path), run)
    assert (run.folder / "model.onnx").read_text() == "of before"
    assert not (run.folder / "model.onnx.json").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_names_the_command(
    package: str, make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named '{package}'", name=package)
        return real(name, *rest)

    run = make_run()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=rf"package {package}\. .*pip install 'familia\[onnx\]'"):
        export_run(Workspace(tmp_path), run)


@pytest.mark.parametrize(
    "config",
    [{"head": "lgbm"}, {"head": "lgbm-columns"}, {"head": "stack", "members": ["knn", "lgbm"]}],
)
def test_heads_without_such_a_form_are_refused(
    config: dict[str, Any], make_run: Callable[..., Run], tmp_path: Path
) -> None:
    with pytest.raises(
        UserError, match=r"ONNX: lgbm\S* cannot.*Heads that can: logreg.*cli fit --head logreg"
    ):
        export_run(Workspace(tmp_path), make_run(config=config))


def test_columns_of_the_table_are_refused(make_run: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="takes phylum, month of the table"):
        export_run(Workspace(tmp_path), make_run(config={"columns": ["phylum", "month"]}))


def test_an_unknown_form_names_those_there_are(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="Did you mean 'onnx'"):
        export_run(Workspace(tmp_path), make_run(), "onnxx")


def test_more_than_a_file_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = side((9, 7), 1)
    monkeypatch.setattr("classify.onnx_graph.LARGEST", 1000)
    with pytest.raises(UserError, match="such as logreg"):
        model_of(HEADS["knn"]().fit(X, y), FACTS)


def test_what_was_found_is_plain(make_run: Callable[..., Run], tmp_path: Path) -> None:
    """`cli export --json` prints it."""
    done = export_run(Workspace(tmp_path), make_run())
    assert isinstance(done, Exported)
    assert json.dumps(asdict(done), default=str)
