"""LightGBM as a re-ranker: fair training pairs, honest probabilities, the same everywhere."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.metrics import log_loss
from sklearn.utils.estimator_checks import parametrize_with_checks

from classify.base import unit_rows
from classify.candidates import COLUMNS
from classify.knn import Knn
from classify.rerank import _START_COLUMNS, PARTS, START, Lgbm, boost, conditional_logit


@parametrize_with_checks([Lgbm(balance=balance) for balance in Lgbm.balances])
def test_scikit_learn_agrees(estimator: Lgbm, check: Any) -> None:
    check(estimator)


def uneven(sizes: tuple[int, ...], seed: int = 0, dim: int = 40) -> Any:
    """Photos whose noise is strong along a few axes, as lighting or background is."""
    X, y = embeddings(sizes, dim=dim, spread=1.0, seed=seed)
    noise = np.random.default_rng(seed + 1).normal(size=(len(X), 4))
    axes = np.random.default_rng(7).normal(size=(4, dim)) / np.sqrt(dim)
    return unit_rows((X + 1.5 * noise @ axes).astype(np.float32)), y


def scattered(sizes: tuple[int, ...], seed: int = 0) -> Any:
    """Each class lies in six places: no linear score finds it, so trees grow."""
    X, y = embeddings(sizes * 6, spread=0.6, seed=seed)
    return X, np.array([f"class {int(name.split()[1]) % len(sizes)}" for name in y])


@pytest.mark.parametrize("sizes", [(5,) * 30, (40, 20, 13, 10, 8, 7, 6, 5, 4, 4), (25,) * 12])
def test_it_is_better_than_nearest_neighbours_also_with_few_photos(sizes: tuple[int, ...]) -> None:
    X, y = uneven(sizes)
    new, truth = uneven((12,) * len(sizes), seed=50)
    loss = {
        head.name: log_loss(truth, head.fit(X, y).predict_proba(new), labels=head.classes_)
        for head in (Lgbm(), Knn())
    }
    assert loss["lgbm"] < 0.95 * loss["knn"]


@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=7),
    balance=st.sampled_from(Lgbm.balances),
    k=st.integers(1, 4),
)
@settings(max_examples=25, deadline=None)
def test_every_class_has_a_probability(sizes: list[int], balance: str, k: int) -> None:
    X, y = embeddings(tuple(sizes))
    P = Lgbm(balance, n_candidates=k).fit(X, y).predict_proba(embeddings((4, 4), seed=2)[0])
    assert P.shape == (8, len(sizes))
    assert (P > 0).all()
    np.testing.assert_allclose(P.sum(axis=1), 1)


def test_single_photos_are_told_apart_by_their_nearest() -> None:
    X, y = embeddings((1,) * 6, spread=0.1)
    new, truth = embeddings((3,) * 6, spread=0.1, seed=1)
    np.testing.assert_array_equal(Lgbm().fit(X, y).predict(new), truth)


def test_photos_that_are_all_equal_have_the_chances_of_their_classes() -> None:
    X, y = np.ones((80, 5), dtype=np.float32), np.repeat(["a", "b"], [40, 40])
    np.testing.assert_allclose(Lgbm().fit(X, y).predict_proba(X[-1:]), 0.5, atol=0.01)


def test_certainty_is_bounded_by_the_number_of_photos() -> None:
    X = np.repeat(np.eye(3, dtype=np.float32), 40, axis=0)
    P = Lgbm().fit(X, np.repeat(["a", "b", "c"], 40)).predict_proba(X)
    assert 0.97 < P.max() < 0.9999


def test_a_class_of_one_photo_can_still_win() -> None:
    X, y = embeddings((30, 30, 1, 30))
    new, truth = embeddings((0, 0, 20, 0), seed=1)
    assert (Lgbm().fit(X, y).predict(new) == truth).mean() > 0.8


def test_probabilities_are_frequencies() -> None:
    X, y = embeddings((60,) * 8, dim=8, spread=1.6)
    new, truth = embeddings((150,) * 8, dim=8, spread=1.6, seed=1)
    head = Lgbm().fit(X, y)
    P = head.predict_proba(new)
    right = head.classes_[P.argmax(axis=1)] == truth
    assert 0.3 < right.mean() < 0.9
    assert P.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.05)


def test_classes_that_are_no_candidates_share_what_was_missed() -> None:
    X, y = embeddings((30, 20, 10, 40), dim=4, spread=1.5)
    head = Lgbm(n_candidates=1).fit(X, y)
    new = embeddings((20,), dim=4, spread=1.5, seed=1)[0]
    P = head.predict_proba(new)
    assert 0.1 < head.floor_ < 0.7
    np.testing.assert_allclose(P.max(axis=1), 1 - head.floor_)
    row, first = P[0], P[0].argmax()
    rest = np.delete(np.array([30, 20, 10, 40]), first)
    np.testing.assert_allclose(np.delete(row, first), head.floor_ * rest / rest.sum())


def test_weights_lift_the_rare_class() -> None:
    X, y = embeddings((120, 6), dim=3, spread=1.5)
    new = embeddings((0, 200), dim=3, spread=1.5, seed=1)[0]
    plain, weighted = (
        Lgbm(balance).fit(X, y).predict_proba(new)[:, 1].mean() for balance in ("none", "weights")
    )
    assert weighted > plain + 0.05


@pytest.mark.parametrize("wrong", [{"balance": "smote"}, {"n_candidates": 0}])
def test_settings_without_a_meaning_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"balance must be|n_candidates"):
        Lgbm(**wrong).fit(*embeddings((5, 4)))


# --- the two parts of the judge


def judged(n: int = 300, k: int = 4, seed: int = 0) -> Any:
    """Columns of noise (n, k, F), and a truth a photo drawn from a known score."""
    rng = np.random.default_rng(seed)
    columns = rng.uniform(-0.2, 0.2, size=(n, k, len(COLUMNS))).astype(np.float32)
    crossed = columns[:, :, COLUMNS.index("lda")] * columns[:, :, COLUMNS.index("raw_votes_5")]
    score = 8 * columns[:, :, COLUMNS.index("raw_member_1")] + 150 * crossed
    truth = (score + rng.gumbel(size=score.shape)).argmax(axis=1)
    return columns, np.arange(k) == truth[:, None]


def test_the_linear_start_is_the_most_likely_one() -> None:
    columns, hit = judged()
    columns, weights = columns[:, :, _START_COLUMNS], np.random.default_rng(1).uniform(size=300)
    found = conditional_logit(columns, hit, weights)
    mean, deviation = np.array(list(START.values())).T

    def posterior(coef: Any) -> float:
        logs = log_softmax(columns.astype(float) @ coef, axis=1)[hit]
        return float(weights @ logs - 0.5 * (((coef - mean) / deviation) ** 2).sum())

    best = posterior(found)
    assert found[:-1].min() >= 0
    assert found[list(START).index("raw_member_1")] > 3
    for column in range(len(found)):
        for step in (-0.02, 0.02):
            other = found.copy()
            other[column] += step * deviation[column]
            if other[:-1].min() >= 0:
                assert posterior(other) < best


def test_trees_mend_what_a_linear_score_cannot_and_say_by_which_columns() -> None:
    columns, hit = judged(2000)
    start = np.zeros(hit.shape)
    part, weights = np.arange(2000) % PARTS, np.ones(2000)
    trees = boost(columns, hit, weights, start, part, seed=0)
    losses = [-log_softmax(scores, axis=1)[hit].mean() for scores in (start, trees.held_out)]
    assert losses[1] < 0.85 * losses[0]
    decisive = {COLUMNS[i] for i in np.argsort(-trees.gain)[:3]}
    assert decisive == {"lda", "raw_votes_5", "raw_member_1"}


def test_held_out_scores_do_not_know_the_held_out_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classify.rerank.ROUNDS", 5)  # else the truth chooses their number
    columns, hit = judged(600)
    part, weights, start = np.arange(600) % PARTS, np.ones(600), np.zeros(hit.shape)
    changed = hit.copy()
    changed[0] = np.roll(hit[0], 1)  # photo 0 is of part 0
    first, second = (boost(columns, h, weights, start, part, seed=0) for h in (hit, changed))
    same = (first.held_out == second.held_out).all(axis=1)
    assert same[part == 0].all()
    assert not same[part != 0].all()


def test_noise_grows_no_trees() -> None:
    columns, hit = judged(300)
    hit = np.arange(4) == np.random.default_rng(5).integers(4, size=300)[:, None]
    trees = boost(columns, hit, np.ones(300), np.zeros(hit.shape), np.arange(300) % PARTS, seed=0)
    assert trees.texts == []
    np.testing.assert_array_equal(trees.held_out, 0)


def test_importances_are_shares_in_falling_order() -> None:
    head = Lgbm().fit(*scattered((20, 15, 9, 6)))
    shares = head.importances()
    assert set(shares) == set(COLUMNS)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert sum(shares.values()) == pytest.approx(1)


# --- the same everywhere


def test_state_threads_and_company_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from threadpoolctl import threadpool_limits

    X, y = scattered((20, 15, 9, 6))
    new = scattered((10,) * 4, seed=9)[0]
    head = Lgbm(random_state=3).fit(X, y)
    assert len(head.trees_)
    P = head.predict_proba(new)
    np.testing.assert_array_equal(Lgbm.from_state(head.state()).predict_proba(new), P)
    apart = np.concatenate([head.predict_proba(new[at : at + 7]) for at in range(0, 240, 7)])
    assert (np.abs(apart - P).max(axis=1) < 1e-7).mean() > 0.95  # else a digit rounded elsewhere
    np.testing.assert_allclose(apart, P, atol=0.01)
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    with threadpool_limits(1):
        np.testing.assert_array_equal(Lgbm(random_state=3).fit(X, y).predict_proba(new), P)


FRESH = """
import sys
import numpy as np
from classify.rerank import Lgbm
with np.load(sys.argv[1]) as file:
    state = dict(file)
new, expected = state.pop("new"), state.pop("P")
assert np.array_equal(Lgbm.from_state(state).predict_proba(new), expected)
"""


def test_a_fresh_process_gives_the_same_bits(tmp_path: Path) -> None:
    X, y = scattered((20, 15, 9, 6))
    head = Lgbm().fit(X, y)
    np.savez(tmp_path / "a.npz", new=X, P=head.predict_proba(X), **head.state())
    command = [sys.executable, "-c", FRESH, str(tmp_path / "a.npz")]
    home = Path(__file__).parent.parent
    done = subprocess.run(
        command, cwd=home, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_photos_beyond_the_most_that_teach_still_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = embeddings((40,) * 6)
    new, truth = embeddings((9,) * 6, seed=1)
    monkeypatch.setattr("classify.rerank.MOST_PHOTOS", 30)
    head = Lgbm().fit(X, y)
    assert len(head.bank_) == 240
    assert (head.predict(new) == truth).mean() > 0.9
