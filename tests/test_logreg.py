"""Logistic regression: converged for every loss and balance, C chosen by held-out rows."""

from typing import Any

import numpy as np
import pytest
from conftest import embeddings
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.utils.estimator_checks import parametrize_with_checks

from classify import logreg, penalty
from classify.balance import BALANCES, resample
from classify.base import unit_rows
from classify.logreg import LOSSES, LogReg
from classify.multinomial import Multinomial
from classify.penalty import calibrate, inner_folds

each_balance = pytest.mark.parametrize("balance", BALANCES)
each_loss = pytest.mark.parametrize("loss", LOSSES)
TRIED = [LogReg(balance=b) for b in BALANCES] + [LogReg(loss=loss) for loss in LOSSES[1:]]
TRIED += [LogReg(C=10.0), LogReg(loss="focal", balance="smote")]


@parametrize_with_checks(TRIED)
def test_scikit_learn_agrees(estimator: LogReg, check: Any) -> None:
    check(estimator)


def training_loss(loss: str, logits: Any, index: Any, prior: Any, tau: float) -> Any:
    """The loss of each row as the papers write it, (n,)."""
    if loss in ("balanced-softmax", "logit-adjusted"):
        logits = logits + (1 if loss == "balanced-softmax" else tau) * np.log(prior)
    log_p = log_softmax(logits, axis=1)[np.arange(len(index)), index]
    return -((1 - np.exp(log_p)) ** 2 if loss == "focal" else 1.0) * log_p


@each_loss
@each_balance
def test_no_step_lowers_the_training_loss(loss: str, balance: str) -> None:
    """The minimum of the loss on rows that were really added, by finite differences."""
    X, y = embeddings((40, 9, 5), dim=6, spread=1.0)
    X = X.astype(float)
    head = LogReg(C=20.0, loss=loss, balance=balance).fit(X, y)
    rows = unit_rows(X - head.mean_)
    new = resample(rows, y, balance)
    index = np.searchsorted(head.classes_, new.y)
    weights = np.ones(len(index)) if new.weights is None else new.weights
    prior = np.bincount(index, weights)
    n = len(new.X) if balance == "undersample" else len(X)

    def value(coef: Any, intercept: Any) -> float:
        each = training_loss(loss, new.X @ coef.T + intercept, index, prior, head.tau_)
        return float(np.average(each, weights=weights) + (coef**2).sum() / (40 * n))

    rng = np.random.default_rng(0)
    for _ in range(20):
        step = [rng.normal(size=head.coef_.shape), rng.normal(size=3)]
        length = np.sqrt(sum((s**2).sum() for s in step))
        up, down = (
            value(*(at + sign * 1e-4 * s / length for at, s in
                    zip((head.coef_, head.intercept_), step, strict=True)))
            for sign in (1, -1)
        )  # fmt: skip
        assert abs(up - down) / 2e-4 < np.sqrt(2 * 1e-6 / (20 * n))  # 1e-6 nats from the minimum


@each_balance
def test_equals_scikit_learn_on_materialised_rows(balance: str) -> None:
    X, y = embeddings((40, 9, 5, 1), spread=0.8)
    head = LogReg(C=50.0, balance=balance).fit(X.astype(float), y)
    rows = unit_rows(X.astype(float) - head.mean_)
    new = resample(rows, y, balance)
    n = len(new.X) if balance == "undersample" else len(X)
    exact = LogisticRegression(C=50 * n / len(new.X), solver="newton-cg", tol=1e-10)
    exact.fit(new.X, new.y, new.weights)
    np.testing.assert_allclose(
        head.predict_proba(X.astype(float)), exact.predict_proba(rows), atol=2e-3
    )


def test_two_classes_are_one_logit() -> None:
    X, y = embeddings((20, 8))
    rows = unit_rows(X - X.mean(axis=0))
    # |w|² of one logit is 2 (|w/2|² + |-w/2|²) of two
    exact = LogisticRegression(C=200, tol=1e-9, max_iter=10_000).fit(rows.astype(float), y)
    P = LogReg(C=100.0).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(P, exact.predict_proba(rows.astype(float)), atol=2e-3)
    assert LogReg().fit(X, y).coef_.shape == (2, 20)


def test_weights_and_copies_are_the_same_fit() -> None:
    X, y = embeddings((20, 10, 1))
    weighted = LogReg(C=50.0, balance="weights").fit(X, y)
    head = LogReg(C=50.0, balance="smote")
    copied = head.fit(np.repeat(X[[0, 20, 30]], [20, 10, 1], axis=0), y)
    assert copied.notes_.size == 1
    again = LogReg(C=50.0, balance="weights").fit(np.repeat(X[[0, 20, 30]], [20, 10, 1], axis=0), y)
    np.testing.assert_allclose(copied.predict_proba(X), again.predict_proba(X), atol=2e-3)
    assert weighted.notes_.size == 0


# --- the choice


def recomputed(head: LogReg, X: Any, y: Any, path: tuple[float, ...]) -> Any:
    """Held-out log-loss of each row at the best scale for every C of the path, by scikit-learn."""
    rows = unit_rows(X - head.mean_).astype(float)
    index = np.searchsorted(head.classes_, y)
    fold = inner_folds(index, head.random_state)
    order = np.argsort(fold, kind="stable")
    losses = []
    for C in path:
        logits = []
        for part in range(5):
            train = fold != part
            model = LogisticRegression(C=C, tol=1e-6, max_iter=5000)
            logits.append(model.fit(rows[train], index[train]).decision_function(rows[~train]))
        Z, truth = np.concatenate(logits), np.eye(4)[index[order]]
        truth += (1 / 4 - truth) / (len(truth) + 1)
        each = [
            -(truth * log_softmax(s * Z, axis=1)).sum(axis=1) for s in np.geomspace(0.3, 10, 200)
        ]
        losses.append(min(each, key=np.mean))
    return np.array(losses)


@pytest.mark.parametrize("spread", [1.3, 2.0])
def test_c_is_chosen_as_an_independent_recomputation_does(
    spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = (0.1, 1.0, 10.0, 100.0, 1000.0)
    monkeypatch.setattr(logreg, "PATH", path)
    X, y = embeddings((60, 30, 20, 10), dim=8, spread=spread)
    head = LogReg().fit(X, y)
    losses = recomputed(head, X, y, path)
    worse = losses - losses[losses.mean(axis=1).argmin()]
    error = worse.std(axis=1) / np.sqrt(len(y))
    chosen = path.index(head.C_)
    assert worse[chosen].mean() <= error[chosen] + 1e-3
    assert (worse[chosen + 1 :].mean(axis=1) > error[chosen + 1 :] - 1e-3).all()
    assert (worse.mean(axis=1) > error + 0.01).any()  # the test could have failed


def test_the_final_fit_is_on_all_rows_at_the_chosen_c() -> None:
    X, y = embeddings((60, 30, 20), spread=1.2)
    head = LogReg().fit(X, y)
    plain = LogReg(C=head.C_).fit(X, y)
    np.testing.assert_allclose(head.coef_, head.scale_ * plain.coef_, atol=0.02 * head.scale_)
    assert head.scale_ != 1
    assert (plain.scale_, plain.tau_) == (1, 0)


def test_the_scale_makes_new_photos_likelier() -> None:
    X, y = embeddings((60, 60, 60, 60, 60), spread=1.5)
    new, truth = embeddings((200,) * 5, spread=1.5, seed=1)
    head = LogReg().fit(X, y)
    plain = LogReg(C=head.C_).fit(X, y)
    assert log_loss(truth, head.predict_proba(new)) < log_loss(truth, plain.predict_proba(new))


def test_held_out_rows_do_not_train(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = Multinomial.__init__

    def spy(self: Multinomial, rows: Any, index: Any, *rest: Any, **more: Any) -> None:
        seen.append((len(rows), index))
        real(self, rows, index, *rest, **more)

    monkeypatch.setattr(Multinomial, "__init__", spy)
    X, y = embeddings((20, 10, 1))
    LogReg().fit(X, y)
    *inner, final = seen
    assert len(inner) == 5
    assert sum(len(X) - n for n, _ in inner) == 30  # every row once, save the class of one photo
    assert all(2 in index for _, index in inner)
    assert final[0] == len(X)


def test_large_collections_hold_out_fewer_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    index = np.repeat(np.arange(10), 30)
    fold = inner_folds(index, 0)
    assert len(penalty._parts(fold)) == 5
    monkeypatch.setattr(penalty, "ENOUGH", 100)
    assert len(penalty._parts(fold)) == 2


def test_inner_folds_spread_every_class() -> None:
    index = np.repeat(np.arange(4), [1, 2, 7, 50])
    fold = inner_folds(index, 3)
    assert (fold[index == 0] == -1).all()
    assert len(set(fold[index == 1])) == 2
    for c in (2, 3):
        sizes = np.bincount(fold[index == c], minlength=5)
        assert sizes.max() - sizes.min() <= 1
    assert not np.array_equal(fold, inner_folds(index, 4))


def test_classes_of_one_photo_leave_nothing_to_choose_by() -> None:
    X, y = embeddings((1, 1, 1))
    for loss in LOSSES:
        head = LogReg(loss=loss).fit(X, y)
        assert (head.C_, head.scale_) == (penalty.UNCHOSEN, 1)
        np.testing.assert_array_equal(head.predict(X), y)
    assert LogReg(C=3.0, loss="logit-adjusted").fit(X, y).C_ == 3


@pytest.mark.parametrize("tau", [(0.0, 0.0), (1.0, 1.0), (0.0, None)])
def test_calibration_finds_the_least_loss_of_a_grid(tau: Any) -> None:
    rng = np.random.default_rng(0)
    index = rng.choice(3, 300, p=[0.7, 0.2, 0.1])
    logits = rng.normal(size=(300, 3)) + np.eye(3)[index]
    prior = np.log([0.7, 0.2, 0.1])
    weights = 1 / np.bincount(index)[index]
    scale, found, each = calibrate(logits, prior, index, weights, (0.0, None), tau)
    taus = [tau[0]] if tau[0] == tau[1] else np.linspace(0, 2, 41)
    best = min(
        -np.average(
            299 / 300 * log_softmax(s * logits - t * prior, axis=1)[np.arange(300), index],
            weights=weights,
        )
        for s in np.linspace(0.1, 3, 59)
        for t in taus
    )
    assert each.mean() < best + 0.02
    assert tau[0] <= found
    assert 0.1 < scale < 3


def test_logit_adjustment_helps_rare_classes_without_balance() -> None:
    X, y = embeddings((150, 8), dim=4, spread=1.5)
    new = embeddings((0, 200), dim=4, spread=1.5, seed=1)[0]
    plain, *others = (
        LogReg(loss=loss).fit(X, y).predict_proba(new)[:, 1].mean()
        for loss in ("cross-entropy", "balanced-softmax", "logit-adjusted")
    )
    assert min(others) > plain + 0.05


@pytest.mark.parametrize("loss", ["balanced-softmax", "logit-adjusted"])
def test_adjustment_adds_nothing_to_equal_classes(loss: str) -> None:
    X, y = embeddings((20, 9, 6))
    for balance in ("weights", "smote"):
        adjusted = LogReg(C=10.0, loss=loss, balance=balance).fit(X, y)
        plain = LogReg(C=10.0, balance=balance).fit(X, y)
        np.testing.assert_allclose(adjusted.predict_proba(X), plain.predict_proba(X), atol=1e-3)


def test_the_focal_loss_is_its_own() -> None:
    X, y = embeddings((40, 9, 5), spread=1.2)
    focal, plain = (LogReg(C=10.0, loss=loss).fit(X, y) for loss in ("focal", "cross-entropy"))
    assert np.abs(focal.predict_proba(X) - plain.predict_proba(X)).max() > 0.05
    # confident photos pull less, so training probabilities are less extreme
    assert focal.predict_proba(X).max(axis=1).mean() < plain.predict_proba(X).max(axis=1).mean()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "hinge"}, "cross-entropy, balanced-softmax"),
        ({"balance": "more"}, "none, weights"),
        ({"C": 0.0}, "above 0"),
        ({"C": float("nan")}, "above 0"),
    ],
)
def test_wrong_values_are_refused(options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LogReg(**options).fit(*embeddings((3, 3)))


def test_state_holds_all_that_predicts() -> None:
    X, y = embeddings((20, 9, 1))
    head = LogReg(loss="logit-adjusted").fit(X, y)
    again = LogReg.from_state(head.state())
    np.testing.assert_array_equal(again.predict_proba(X), head.predict_proba(X))
    assert (again.C_, again.scale_, again.tau_) == (head.C_, head.scale_, head.tau_)
    assert again.get_params() == head.get_params()
    assert head.coef_.dtype == X.dtype
    assert logreg.GAMMA == 2
