"""Heads: scikit-learn's own checks, converged, equal to the naive version, saved without pickle."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from classify.heads import HEADS, Head, make_head
from classify.knn import Knn
from classify.model import Model
from embed.errors import UserError

LEARNING = [name for name in HEADS if name != "prior"]  # prior looks at no photo
CASES = [(name, balance) for name, head in HEADS.items() for balance in head.balances]

each_head = pytest.mark.parametrize("name", HEADS)
each_learning_head = pytest.mark.parametrize("name", LEARNING)
each_case = pytest.mark.parametrize(("name", "balance"), CASES)


# The other ways to balance go through the same code as smote.
CHECKED = [(name, balance) for name, balance in CASES if balance in ("none", "weights", "smote")]


@parametrize_with_checks([HEADS[name](balance=balance) for name, balance in CHECKED])
def test_scikit_learn_agrees(estimator: Head, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize(("name", "balance"), [case for case in CASES if case[0] in LEARNING])
def test_every_head_learns_the_classes(name: str, balance: str) -> None:
    X, y = embeddings((30, 12, 7, 5), spread=0.4)
    new, truth = embeddings((9, 9, 9, 9), spread=0.4, seed=1)
    head = make_head(name, balance).fit(X, y)
    assert (head.predict(new) == truth).mean() > 0.9
    np.testing.assert_allclose(head.predict_proba(new).sum(axis=1), 1)


@each_case
@given(sizes=st.lists(st.integers(1, 3), min_size=2, max_size=6))
@settings(max_examples=8, deadline=None)
def test_classes_of_one_to_three_photos(name: str, balance: str, sizes: list[int]) -> None:
    X, y = embeddings(tuple(sizes))
    head = make_head(name, balance).fit(X, y)
    P = head.predict_proba(embeddings((4, 4), seed=2)[0])
    assert P.shape == (8, len(sizes))
    assert (P > 0).all()
    np.testing.assert_allclose(P.sum(axis=1), 1)
    if balance == "smote":
        told = [note for note in head.notes_ if "one" in note]
        assert bool(told) == (1 in sizes and max(sizes) > 1)


@each_learning_head
def test_equal_photos_and_the_mean_photo_are_no_trouble(name: str) -> None:
    X = np.repeat(np.eye(3, dtype=np.float32), 40, axis=0)
    y = np.repeat(["a", "b", "c"], 40)
    head = make_head(name).fit(X, y)
    np.testing.assert_array_equal(head.predict(X), y)
    P = head.predict_proba(head.mean_[None])  # a row of zeros once centred
    assert np.isfinite(P).all()


@each_case
def test_balancing_lifts_the_rare_class(name: str, balance: str) -> None:
    X, y = embeddings((120, 6), dim=3, spread=1.5)
    new = embeddings((0, 200), dim=3, spread=1.5, seed=1)[0]
    plain = make_head(name).fit(X, y).predict_proba(new)[:, 1].mean()
    balanced = make_head(name, balance).fit(X, y).predict_proba(new)[:, 1].mean()
    assert balanced == plain if balance == "none" else balanced > plain + 0.05


# --- files


@each_case
def test_a_saved_head_predicts_the_same_bit_for_bit(
    name: str, balance: str, tmp_path: Path
) -> None:
    X, y = embeddings((20, 9, 3, 1))
    new = embeddings((6, 6), seed=4)[0]
    head = make_head(name, balance, random_state=3).fit(X, y)
    Model(head).save(tmp_path / "model.npz")
    loaded = Model.load(tmp_path / "model.npz").head
    np.testing.assert_array_equal(loaded.predict_proba(new), head.predict_proba(new))
    np.testing.assert_array_equal(loaded.classes_, head.classes_)
    np.testing.assert_array_equal(loaded.notes_, head.notes_)
    assert loaded.get_params() == head.get_params()
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
from classify.heads import HEADS, make_head
from classify.model import Model
folder = Path(sys.argv[1])
new = np.load(folder / "new.npy")
for name in HEADS:
    expected = np.load(folder / f"{name}.npy")
    loaded = Model.load(folder / f"{name}.npz")
    assert np.array_equal(loaded.predict_proba(new), expected), name
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
        Model(head).save(tmp_path / f"{name}.npz")
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
        patch.setattr("classify.model.write_bytes", lambda path, data: buffer.write(data))
        Model(head).save(Path("model.npz"))
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
        head = Model.load(path)
    except UserError:
        return
    np.testing.assert_array_equal(head.predict_proba(X), expected)


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.99])
def test_a_cut_file_is_a_user_error(saved: Any, tmp_path: Path, share: float) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(saved[0][: int(share * len(saved[0]))])
    with pytest.raises(UserError, match="cli fit"):
        Model.load(path)


def test_foreign_files_are_user_errors(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=1)
    np.savez(tmp_path / "later.npz", format="familia-model-9", head="knn")
    np.savez(tmp_path / "pickled.npz", format=np.array({"a": 1}, dtype=object))
    np.save(tmp_path / "array.npy", np.ones(3))
    for name in ("other.npz", "later.npz", "pickled.npz", "array.npy", "missing.npz"):
        with pytest.raises(UserError, match=name):
            Model.load(tmp_path / name)


def test_states_hold_no_objects() -> None:
    X, y = embeddings((5, 4))
    for name in HEADS:
        for key, value in make_head(name).fit(X, y.astype(object)).state().items():
            assert value.dtype.kind in "biufU", (name, key)


def test_an_unknown_head_names_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'logreg'"):
        make_head("logregg")
