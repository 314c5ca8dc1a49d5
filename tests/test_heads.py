"""Heads: scikit-learn's own checks, converged, equal to the naive version, saved without pickle."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from classify.balance import BALANCES
from classify.base import unit_rows
from classify.heads import HEADS, Head, load_head, make_head, save_head
from classify.knn import NEIGHBOURS, Knn, leave_one_out
from classify.lgbm import Lgbm
from classify.logreg import C, LogReg
from classify.ridge import PENALTIES, fit_ridge
from embed.errors import UserError

each_head = pytest.mark.parametrize("name", HEADS)
each_balance = pytest.mark.parametrize("balance", BALANCES)


def embeddings(sizes: tuple[int, ...], dim: int = 20, spread: float = 0.6, seed: int = 0) -> Any:
    """Unit rows (n, dim) float32 around one random centre a class, and class names."""
    rng = np.random.default_rng(seed)
    index = np.repeat(np.arange(len(sizes)), sizes)
    X = np.random.default_rng(99).normal(size=(len(sizes), dim))[index]
    X = X + spread * rng.normal(size=(len(index), dim))
    return unit_rows(X.astype(np.float32)), np.array([f"family {c}" for c in index])


@parametrize_with_checks([kind(balance=b) for kind in HEADS.values() for b in BALANCES])
def test_scikit_learn_agrees(estimator: Head, check: Any) -> None:
    check(estimator)


@each_head
@each_balance
def test_every_head_learns_the_classes(name: str, balance: str) -> None:
    X, y = embeddings((30, 12, 7, 5), spread=0.4)
    new, truth = embeddings((9, 9, 9, 9), spread=0.4, seed=1)
    head = make_head(name, balance).fit(X, y)
    assert (head.predict(new) == truth).mean() > 0.9
    np.testing.assert_allclose(head.predict_proba(new).sum(axis=1), 1)


@each_head
@each_balance
@given(sizes=st.lists(st.integers(1, 3), min_size=2, max_size=6))
@settings(max_examples=8, deadline=None)
def test_classes_of_one_to_three_photos(name: str, balance: str, sizes: list[int]) -> None:
    X, y = embeddings(tuple(sizes))
    head = make_head(name, balance).fit(X, y)
    P = head.predict_proba(embeddings((4, 4), seed=2)[0])
    assert P.shape == (8, len(sizes))
    assert (P > 0).all()
    np.testing.assert_allclose(P.sum(axis=1), 1)
    told = [note for note in head.notes_ if "one" in note]
    assert bool(told) == (balance == "smote" and 1 in sizes and max(sizes) > 1)


@each_head
def test_equal_photos_and_the_mean_photo_are_no_trouble(name: str) -> None:
    X = np.repeat(np.eye(3, dtype=np.float32), 40, axis=0)
    y = np.repeat(["a", "b", "c"], 40)
    head = make_head(name).fit(X, y)
    np.testing.assert_array_equal(head.predict(X), y)
    P = head.predict_proba(head.mean_[None])  # a row of zeros once centred
    assert np.isfinite(P).all()


@each_head
@each_balance
def test_balancing_lifts_the_rare_class(name: str, balance: str) -> None:
    X, y = embeddings((120, 6), dim=3, spread=1.5)
    new = embeddings((0, 200), dim=3, spread=1.5, seed=1)[0]
    plain = make_head(name).fit(X, y).predict_proba(new)[:, 1].mean()
    balanced = make_head(name, balance).fit(X, y).predict_proba(new)[:, 1].mean()
    assert balanced == plain if balance == "none" else balanced > plain + 0.05


# --- logreg


@each_balance
def test_logreg_has_converged(balance: str) -> None:
    X, y = embeddings((40, 9, 5))
    head = LogReg(balance=balance).fit(X, y)
    index = np.unique(y, return_inverse=True)[1]
    rows, index, weights = head._balanced(unit_rows(X - head.mean_), index)
    error = softmax(rows @ head.coef_.T + head.intercept_, axis=1) - np.eye(3)[index]
    error *= np.ones((len(rows), 1)) if weights is None else weights[:, None]
    share = len(X) / len(rows)  # added rows share the weight of the real ones
    assert np.abs(share * error.T @ rows + head.coef_ / C).max() / len(X) < 1e-6
    assert np.abs(share * error.sum(axis=0)).max() / len(X) < 1e-6


def test_two_classes_are_one_logit() -> None:
    X, y = embeddings((20, 8))
    rows = unit_rows(X - X.mean(axis=0))
    exact = LogisticRegression(C=C, tol=1e-9, max_iter=10_000).fit(rows.astype(float), y)
    P = LogReg().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(P, exact.predict_proba(rows.astype(float)), atol=1e-4)


def test_weights_and_copies_are_the_same_loss() -> None:
    X, y = embeddings((20, 10, 5))
    copies = np.repeat(np.arange(35), [1] * 20 + [2] * 10 + [4] * 5)
    rows = unit_rows(X - X.mean(axis=0))
    weighted = LogReg(balance="weights").fit(X, y)
    copied = LogisticRegression(C=C * 35 / 60, solver="newton-cg", tol=1e-7)
    copied.fit(rows[copies], y[copies])
    np.testing.assert_allclose(weighted.coef_, copied.coef_, atol=1e-3)


# --- knn


def naive_votes(head: Knn, X: np.ndarray, rows: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The definition in `Knn`, row by row, with `rows` voting for `y`."""
    classes, counts = np.unique(y, return_counts=True)
    P = []
    for x in unit_rows(X - head.mean_):
        similarity = rows @ x
        nearest = np.argsort(-similarity, kind="stable")[: head.k_]
        votes = np.zeros(len(classes))
        for j in nearest:
            c = np.searchsorted(classes, y[j])
            votes[c] += np.exp(similarity[j] / head.temperature_) * counts[c] ** -head.size_power_
        P.append((1 - head.floor_) * votes / votes.sum() + head.floor_ * head.prior_)
    return np.array(P)


@pytest.mark.parametrize("balance", ["none", "weights"])
def test_knn_equals_the_naive_version(balance: str) -> None:
    X, y = embeddings((30, 12, 7, 5))
    new = embeddings((5, 5, 5, 5), seed=3)[0]
    head = Knn(balance=balance).fit(X, y)
    expected = naive_votes(head, new, unit_rows(X - X.mean(axis=0)), y)
    np.testing.assert_allclose(head.predict_proba(new), expected, rtol=1e-4)


def test_knn_takes_the_choice_that_leaving_one_out_finds_best() -> None:
    X, y = embeddings((14, 9, 4), spread=1.2)
    rows, index = unit_rows(X - X.mean(axis=0)), np.unique(y, return_inverse=True)[1]
    counts = np.bincount(index)
    prior = counts / counts.sum()
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -np.inf)

    def loss(k: int, temperature: float, power: float, floor: float) -> float:
        total = 0.0
        for i in range(len(rows)):
            nearest = np.argsort(-similarity[i])[:k]
            votes = np.exp(similarity[i, nearest] / temperature) / counts[index[nearest]] ** power
            share = votes[index[nearest] == index[i]].sum() / votes.sum()
            total -= np.log((1 - floor) * share + floor * prior[index[i]])
        return total / len(rows)

    chosen = leave_one_out(rows, index, prior)
    others = [chosen._replace(k=k) for k in NEIGHBOURS if k < len(rows)]
    others += [chosen._replace(temperature=t) for t in (0.02, 0.05, 0.12)]
    others += [chosen._replace(size_power=a) for a in (0.0, 0.25, 0.5)]
    others += [chosen._replace(floor=f) for f in (0.002, 0.01, 0.05, 0.2)]
    assert loss(*chosen) <= min(loss(*other) for other in others) + 1e-6


# --- lgbm


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("dim", [5, 60])
def test_ridge_log_odds_are_those_of_a_fit_without_the_row(dim: int, balanced: bool) -> None:
    X, y = embeddings((12, 8, 3, 1), dim=dim, spread=1.0)
    X, index = X.astype(float), np.unique(y, return_inverse=True)[1]
    ridge = fit_ridge(X, index, 4, 3, balanced)
    target = np.eye(4)[index] - np.eye(4)[index].mean(axis=0)
    frequency = np.zeros(4) if balanced else np.log(np.bincount(index))

    def log_odds(penalty: float, kept: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return Ridge(penalty).fit(X[kept], target[kept]).predict(rows)

    everyone, found = np.ones(len(X), dtype=bool), (X @ ridge.coef + ridge.intercept).ravel()
    for penalty in PENALTIES:  # f and a follow from the fit on all rows
        scores = log_odds(penalty, everyone, X).ravel()
        known = np.stack([scores, np.tile(frequency, len(X))], axis=1)
        factors = np.linalg.lstsq(known, found)[0]
        if np.allclose(known @ factors, found, atol=1e-8):
            break
    else:
        pytest.fail("the log-odds are those of no ridge regression")
    for i in range(len(X)):
        alone = log_odds(penalty, np.arange(len(X)) != i, X[[i]])[0]
        np.testing.assert_allclose(
            ridge.held_out[i], factors[0] * alone + factors[1] * frequency, atol=1e-6
        )


def test_the_ridge_neither_shouts_nor_forgets_how_common_a_class_is() -> None:
    X, y = embeddings((3, 2, 2), spread=0.01)  # separable: the best factor has no bound
    apart = fit_ridge(X, np.unique(y, return_inverse=True)[1], 3, 3, balanced=False)
    assert 0.5 < softmax(apart.held_out, axis=1).max() < 0.999
    rng = np.random.default_rng(0)
    noise, index = unit_rows(rng.normal(size=(200, 4))), np.repeat([0, 1], [180, 20])
    alike = fit_ridge(noise, index, 2, 3, balanced=False)
    np.testing.assert_allclose(softmax(alike.held_out, axis=1)[:, 1], 0.1, atol=0.05)


def test_the_trees_mend_what_the_ridge_cannot() -> None:
    rng = np.random.default_rng(0)
    X, new = (unit_rows(rng.normal(size=(n, 6)).astype(np.float32)) for n in (900, 500))
    y, truth = ((rows[:, 0] * rows[:, 1] > 0).astype(int) for rows in (X, new))
    head = Lgbm().fit(X, y)
    linear = unit_rows(new - head.mean_) @ head.coef_ + head.intercept_
    assert (linear.argmax(axis=1) == truth).mean() < 0.6
    assert (head.predict(new) == truth).mean() > 0.8


# --- files


@each_head
@each_balance
def test_a_saved_head_predicts_the_same_bit_for_bit(
    name: str, balance: str, tmp_path: Path
) -> None:
    X, y = embeddings((20, 9, 3, 1))
    new = embeddings((6, 6), seed=4)[0]
    head = make_head(name, balance, random_state=3).fit(X, y)
    save_head(head, tmp_path / "model.npz")
    loaded = load_head(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict_proba(new), head.predict_proba(new))
    np.testing.assert_array_equal(loaded.classes_, head.classes_)
    np.testing.assert_array_equal(loaded.notes_, head.notes_)
    assert loaded.get_params() == {"balance": balance, "random_state": 3}
    again = clone(loaded).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(new), head.predict_proba(new))


FRESH = """
import sys
from pathlib import Path
import torch
torch.ones(64, 64) @ torch.ones(64, 64)
import faiss
index = faiss.IndexFlatIP(8)
import numpy as np
index.add(np.eye(8, dtype=np.float32))
index.search(np.eye(8, dtype=np.float32), 3)
from classify.heads import load_head, make_head
folder = Path(sys.argv[1])
new = np.load(folder / "new.npy")
for name in ("logreg", "knn", "lgbm"):
    expected = np.load(folder / f"{name}.npy")
    assert np.array_equal(load_head(folder / f"{name}.npz").predict_proba(new), expected), name
    fitted = make_head(name).fit(np.load(folder / "X.npy"), np.load(folder / "y.npy"))
    assert np.allclose(fitted.predict_proba(new), expected, atol=1e-6), name
    torch.ones(64, 64) @ torch.ones(64, 64)
"""


def test_a_fresh_process_with_torch_and_faiss_predicts_the_same(tmp_path: Path) -> None:
    """Each of torch, FAISS and LightGBM brings its own OpenMP: a clash hangs or crashes."""
    X, y = embeddings((20, 9, 5))
    new = embeddings((6, 6), seed=4)[0]
    for array, data in {"X": X, "y": y, "new": new}.items():
        np.save(tmp_path / f"{array}.npy", data)
    for name in HEADS:
        head = make_head(name).fit(X, y)
        save_head(head, tmp_path / f"{name}.npz")
        np.save(tmp_path / f"{name}.npy", head.predict_proba(new))
    home = Path(__file__).parent.parent
    command = [sys.executable, "-c", FRESH, str(tmp_path)]
    done = subprocess.run(
        command, cwd=home, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def saved() -> tuple[bytes, np.ndarray, np.ndarray]:
    """The file of a fitted head, photos, and its probabilities for them."""
    X, y = embeddings((5, 4), dim=4)
    head = Knn().fit(X, y)
    buffer = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("classify.heads.write_bytes", lambda path, data: buffer.write(data))
        save_head(head, Path("model.npz"))
    return buffer.getvalue(), X, head.predict_proba(X)


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_is_an_error_or_changes_nothing(
    saved: Any, tmp_path_factory: pytest.TempPathFactory, place: float, flip: int
) -> None:
    data, X, expected = saved
    at = int(place * len(data))
    path = tmp_path_factory.mktemp("damaged") / "model.npz"
    path.write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
    try:
        head = load_head(path)
    except UserError:
        return
    np.testing.assert_array_equal(head.predict_proba(X), expected)


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.99])
def test_a_cut_file_is_a_user_error(saved: Any, tmp_path: Path, share: float) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(saved[0][: int(share * len(saved[0]))])
    with pytest.raises(UserError, match="cli fit"):
        load_head(path)


def test_foreign_files_are_user_errors(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=1)
    np.savez(tmp_path / "later.npz", format="familia-head-9", head="knn")
    np.savez(tmp_path / "pickled.npz", format=np.array({"a": 1}, dtype=object))
    np.save(tmp_path / "array.npy", np.ones(3))
    for name in ("other.npz", "later.npz", "pickled.npz", "array.npy", "missing.npz"):
        with pytest.raises(UserError, match=name):
            load_head(tmp_path / name)


def test_states_hold_no_objects() -> None:
    X, y = embeddings((5, 4))
    for name in HEADS:
        for key, value in make_head(name).fit(X, y.astype(object)).state().items():
            assert value.dtype.kind in "biufU", (name, key)


def test_an_unknown_head_names_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'logreg'"):
        make_head("logregg")
