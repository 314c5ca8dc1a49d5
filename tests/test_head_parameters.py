"""Parameters of the heads that are given, not chosen: what they do and how they are named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import embeddings
from scipy.special import softmax
from test_onnx_export import FACTS, TOLERANCE, run_onnx

import cli
from classify import knn
from classify.base import unit_rows
from classify.centroid import Centroid
from classify.fit import Request, fit
from classify.head_options import read_options, takes
from classify.heads import HEADS
from classify.knn import Knn
from classify.lda import Lda
from classify.left_out import judges
from classify.logreg import LogReg
from classify.onnx_graph import EXPORTABLE, model_of
from classify.rerank import Lgbm
from classify.runs import all_runs
from classify.shared_work import shared_work
from classify.within import Within
from embed.errors import UserError
from embed.workspace import Workspace

SIZES = (30, 14, 6, 2)
PROJECTED = [name for name, head in HEADS.items() if "pca" in head().get_params()]


def photos(seed: int = 0, dim: int = 12) -> Any:
    return embeddings(SIZES, dim=dim, spread=1.0, seed=seed)


def again(head: Any) -> Any:
    """The head after it was saved and loaded."""
    return type(head).from_state(head.state())


# --- pca


def test_rows_are_projected_on_the_first_principal_axes() -> None:
    (X, y), new = photos(), photos(1)[0]
    head = Centroid(pca=4).fit(X.astype(float), y)
    rows = unit_rows(X - X.mean(axis=0, dtype=float))
    axes = np.linalg.svd(rows)[2][:4].T
    signs = np.sign((axes * head.axes_).sum(axis=0))
    np.testing.assert_allclose(head.axes_, axes * signs, atol=1e-6)
    expected = unit_rows(unit_rows(new - X.mean(axis=0, dtype=float)) @ head.axes_)
    np.testing.assert_allclose(head._rows(new.astype(float)), expected, atol=1e-6)


@pytest.mark.parametrize("name", PROJECTED)
def test_projected_heads_predict_and_come_back(name: str) -> None:
    (X, y), new = photos(), photos(1)[0]
    head = HEADS[name](pca=4, layout=(7, 5)).fit(X, y)
    assert head.axes_.shape == (12, 4)
    P = head.predict_proba(new)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    np.testing.assert_array_equal(again(head).predict_proba(new), P)


@pytest.mark.parametrize("name", sorted(EXPORTABLE))
def test_projected_heads_are_exported(name: str) -> None:
    (X, y), new = photos(), photos(1)[0]
    head = HEADS[name](pca=4, layout=(7, 5)).fit(X, y)
    P = run_onnx(model_of(head, FACTS), new)
    np.testing.assert_allclose(P, head.predict_proba(new), rtol=0, atol=TOLERANCE)


def test_more_axes_than_there_are_are_all_with_a_note() -> None:
    (X, y), new = photos(), photos(1)[0]
    head, plain = Lda(pca=99).fit(X, y), Lda().fit(X, y)
    assert "have only 12 principal axes" in head.notes_.tolist()[-1]
    np.testing.assert_allclose(head.predict_proba(new), plain.predict_proba(new), atol=1e-3)
    few = LogReg(pca=50).fit(*embeddings((2, 2, 1)))
    assert few.axes_.shape == (20, 4)
    assert len(Lda(pca=12).fit(X, y).notes_) == 0


def test_heads_that_compare_with_texts_have_no_axes() -> None:
    assert set(HEADS) - set(PROJECTED) == {"tip", "zeroshot", "prior"}


# --- knn


@pytest.mark.parametrize("k", [1, 4, 33])
def test_the_other_choices_are_the_best_at_a_given_k(k: int) -> None:
    X, y = photos()
    head = Knn(k=k).fit(X, y)
    rows, index = head._rows(X), np.unique(y, return_inverse=True)[1]
    within, panel = Within.of(rows, index), judges(index, knn.CELLS // len(rows), False)
    losses = knn.left_out_losses(within, rows, index, panel, tuple(range(1, len(X))))
    ridge = knn.RIDGES.index(head.ridge_)
    at = (
        knn.TEMPERATURES.index(head.temperature_),
        knn.SIZE_POWERS.index(head.size_power_),
        knn.FLOORS.index(head.floor_),
    )
    assert head.k_ == k
    assert losses[ridge][at][k - 1] == losses[ridge][..., k - 1].min()
    like = losses[..., : 32 if k <= 32 else 128]
    assert like[ridge].min() == like.min()


def test_a_given_k_that_would_be_chosen_changes_nothing() -> None:
    (X, y), new = photos(), photos(1)[0]
    plain = Knn().fit(X, y)
    P = Knn(k=plain.k_).fit(X, y).predict_proba(new)
    np.testing.assert_allclose(P, plain.predict_proba(new), atol=1e-6)


def test_a_k_beyond_all_rows_lets_all_vote() -> None:
    X, y = photos()
    head = Knn(k=1000).fit(X, y)
    assert head.k_ == len(X)
    np.testing.assert_allclose(head.predict_proba(X).sum(axis=1), 1)
    lonely = Knn(k=2).fit(np.eye(3, 5, dtype=np.float32), ["a", "b", "c"])
    assert lonely.k_ == 2


def test_copies_make_a_given_k_grow() -> None:
    X, y = photos()
    assert Knn(k=3, balance="oversample").fit(X, y).k_ == round(3 * 4 * 30 / len(X))


# --- the others


def test_a_given_ridge_and_temperature_are_taken() -> None:
    (X, y), new = photos(), photos(1)[0]
    assert Lda(ridge=3).fit(X, y).shrinkage_ == 0.75
    chosen = Lda().fit(X, y)
    given = Lda(ridge=chosen.shrinkage_ / (1 - chosen.shrinkage_)).fit(X, y)
    np.testing.assert_allclose(given.predict_proba(new), chosen.predict_proba(new), atol=1e-3)
    for balance in ("none", "weights"):
        head = Centroid(temperature=0.3, balance=balance).fit(X, y)
        assert head.temperature_ == pytest.approx(0.3)
        cosines = head._rows(new) @ unit_rows(head.coef_).T
        P = softmax(cosines / 0.3 + head.intercept_, axis=1)
        np.testing.assert_allclose(head.predict_proba(new), P, atol=1e-6)
        assert (head.intercept_ == 0).all() == (balance == "weights")
    best = Centroid().fit(X, y)
    same = Centroid(temperature=best.temperature_).fit(X, y)
    np.testing.assert_allclose(same.intercept_, best.intercept_, atol=1e-3)


def test_the_trees_are_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import lightgbm

    asked = []
    boosted = lightgbm.cv

    def cv(parameters: Any, data: Any, rounds: int, **more: Any) -> Any:
        names = ("learning_rate", "num_leaves", "lambda_l2", "seed", "max_bin")
        asked.append([rounds, *(parameters[name] for name in names)])
        return boosted(parameters, data, rounds, **more)

    monkeypatch.setattr(lightgbm, "cv", cv)
    X, y = photos()
    Lgbm().fit(X, y)
    Lgbm(rounds=2, learning_rate=0.7, num_leaves=3, lambda_l2=0.0, random_state=4).fit(X, y)
    assert asked == [[300, 0.1, 7, 5.0, 0, 63], [2, 0.7, 3, 0.0, 4, 63]]


@pytest.mark.parametrize("balance", ["none", "smote", "undersample"])
def test_a_fit_at_a_given_penalty_does_not_depend_on_the_others(balance: str) -> None:
    (X, y), new = photos(), photos(1)[0]
    values = (2000.0, 0.5, 30.0, 10.0, 1000.0, 250.0)
    alone = [LogReg(C=C, balance=balance).fit(X, y).predict_proba(new).tobytes() for C in values]
    with shared_work(10**9) as memo:
        together = [LogReg(C=C, balance=balance).fit(X, y).predict_proba(new) for C in values]
    assert [P.tobytes() for P in together] == alone
    assert memo.hits > len(values)


OUT_OF_RANGE = [
    *(("knn", "k", value) for value in (0, -3, 2.5, True)),
    *(("lda", "pca", value) for value in (0, "many")),
    *(("lda", "ridge", value) for value in (0.0, -1.0, np.nan, np.inf)),
    *(("centroid", "temperature", value) for value in (0.0, np.inf)),
    *(("logreg", "C", value) for value in (0.0, -1.0, np.inf)),
    ("logreg", "loss", "hinge"),
    ("lgbm", "n_candidates", 0),
    ("lgbm", "learning_rate", 0.0),
    ("lgbm", "num_leaves", 1),
    ("lgbm", "rounds", 0),
    ("lgbm", "lambda_l2", -1.0),
    ("tip", "scale", -1.0),
]


@pytest.mark.parametrize(("name", "parameter", "value"), OUT_OF_RANGE)
def test_values_out_of_range_are_refused(name: str, parameter: str, value: Any) -> None:
    head = HEADS[name](**{parameter: value})
    with pytest.raises(ValueError, match=f"^{parameter} must be"):
        head.check()
    with pytest.raises(ValueError, match=f"^{parameter} must be"):
        head.fit(*photos())


@pytest.mark.parametrize("name", [name for name in HEADS if name != "zeroshot"])
def test_models_of_earlier_versions_still_load(name: str) -> None:
    (X, y), new = photos(), photos(1)[0]
    head = HEADS[name]().fit(X, y)
    state = head.state()
    given = json.loads(str(state["parameters"]))
    old = {key: given[key] for key in ("balance", "random_state", "layout")}
    state["parameters"] = np.array(json.dumps(old))
    found = HEADS[name].from_state(state)
    np.testing.assert_array_equal(found.predict_proba(new), head.predict_proba(new))


# --- --set


def test_words_become_parameters_of_the_heads_that_have_them() -> None:
    words = ["pca=64", "knn.k=5", "logreg.C=10", " logreg.loss = focal", "ridge=0.5"]
    found = read_options(words, ["prior", "logreg", "knn", "lda"])
    assert found == {
        "prior": {},
        "logreg": {"C": 10.0, "loss": "focal", "pca": 64},
        "knn": {"k": 5, "pca": 64},
        "lda": {"pca": 64, "ridge": 0.5},
    }
    assert [list(options) for options in found.values()] == [sorted(o) for o in found.values()]


def test_the_default_is_no_other_run() -> None:
    assert read_options(["n_candidates=15", "pca=none"], ["lgbm"]) == {"lgbm": {}}
    assert read_options(["scale=none"], ["tip"]) == {"tip": {"scale": None}}
    assert "class_names" not in takes("tip")


@pytest.mark.parametrize(
    ("word", "heads", "said"),
    [
        ("k", ["knn"], "Expected --set NAME=VALUE"),
        ("=3", ["knn"], "Expected --set NAME=VALUE"),
        ("n=3", ["knn"], "no such parameter of knn.*k, pca"),
        ("k=3", ["lda", "prior"], "no such parameter of lda and prior.*pca, ridge"),
        ("pca=3", ["prior"], "There are none"),
        ("balance=smote", ["lda"], "no such parameter"),
        ("knn.k=3", ["lda"], "knn is not fitted"),
        ("k=many", ["knn"], "takes a whole number or none, not 'many'"),
        ("k=2.5", ["knn"], "takes a whole number or none"),
        ("C=strong", ["logreg"], "takes a number or none"),
        ("rounds=none", ["lgbm"], "takes a whole number, not"),
        ("k=0", ["knn"], "k must be 1 or more"),
        ("C=nan", ["logreg"], "C must be above 0"),
        ("loss=hinge", ["logreg"], "loss must be one of"),
    ],
)
def test_other_words_are_refused(word: str, heads: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_options([word], heads)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    folder = tmp_path_factory.mktemp("set")
    assert cli.run(["embed", str(photos), "--encoder", "pixels", "-w", str(folder)]) == 0
    return folder


@pytest.fixture
def workspace(embedded: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(embedded, tmp_path / "workspace")))


def test_a_run_says_what_was_set(workspace: Workspace) -> None:
    words = ("pca=4", "knn.k=3", "C=0.5")
    request = Request(heads=("logreg", "knn", "stack"), loss="focal", folds=3, set=words)
    fit(workspace, request)
    runs = {run.config.head: run for run in all_runs(workspace)}
    assert runs["knn"].config.options == {"k": 3, "pca": 4}
    assert runs["knn"].config.command.startswith("cli fit --head knn --set k=3 --set pca=4")
    assert runs["knn"].name.startswith("knn-k3-pca4-pixels")
    assert runs["logreg"].config.command.startswith(
        "cli fit --head logreg --set C=0.5 --loss focal --set pca=4"
    )
    stack = runs["stack"].config
    assert stack.options == {
        "logreg.C": 0.5, "loss": "focal", "logreg.pca": 4, "knn.k": 3, "knn.pca": 4
    }  # fmt: skip
    assert "--set logreg.C=0.5 --loss focal --set logreg.pca=4 --set knn.k=3" in stack.command
    again: list[Any] = []
    fit(workspace, request, again.append)
    assert all(fitted.reused for fitted in again)


def test_a_loss_is_given_once(workspace: Workspace) -> None:
    request = Request(heads=("logreg",), loss="focal", set=("loss=balanced-softmax",))
    with pytest.raises(UserError, match="contradict each other"):
        fit(workspace, request)


def test_the_command_of_a_stack_fits_it_again(
    workspace: Workspace, run: Callable[..., Any]
) -> None:
    words = ("lda.ridge=0.25", "centroid.temperature=0.125")
    fit(workspace, Request(heads=("lda", "centroid", "stack"), folds=3, set=words))
    (stack,) = (one for one in all_runs(workspace) if one.config.head == "stack")
    again = run(*stack.config.command.split()[1:], "-w", workspace.folder, "--json")
    assert [one["reused"] for one in again.json["runs"]] == [True, True, True]
