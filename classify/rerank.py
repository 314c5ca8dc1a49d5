"""LightGBM as a re-ranker: it judges (photo, candidate class) pairs, so any number of classes."""

from typing import Any, NamedTuple, Self

import numpy as np
from scipy.special import log_softmax, softmax

from classify.base import Head, State
from classify.candidates import COLUMNS, pairs, pairs_left_out
from classify.ranges import above, whole
from classify.shared_work import shared
from classify.spaces import Whitening, blocks, make_bank, whitening

# The linear start: coefficients have a normal prior of this mean and deviation, which a few dozen
# photos overrule; with none, the whitened centroid at a temperature of 0.1 decides. Only the size
# may count against a class.
START = {
    "whitened_centroid": (10.0, 10.0),
    "whitened_member_1": (0.0, 10.0),
    "raw_centroid": (0.0, 10.0),
    "raw_member_1": (0.0, 10.0),
    "whitened_votes_15": (0.0, 5.0),
    "raw_votes_15": (0.0, 5.0),
    "lda": (0.0, 0.1),
    "log_size": (0.0, 1.0),
}
_START_COLUMNS = [COLUMNS.index(name) for name in START]
PARTS = 3
ROUNDS = 300
PATIENCE = 20
LEARNING_RATE, LEAVES, L2 = 0.1, 7, 5.0
LEAST_PHOTOS = 30
# More photos teach the judge nothing new: pairs know no class.
MOST_PHOTOS = 20_000
PARAMETERS: dict[str, Any] = {
    "learning_rate": LEARNING_RATE,
    "num_leaves": LEAVES,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.5,
    "extra_trees": True,
    "lambda_l2": L2,
    "max_bin": 63,
    "feature_pre_filter": False,
    "deterministic": True,
    "force_row_wise": True,
    # A second thread gains little, and loses tenfold when the cores are busy.
    "num_threads": 1,
    "verbosity": -1,
}
_BETWEEN = b"\0"


class Lgbm(Head):
    """LightGBM on pairs of a photo and one of its likeliest classes.

    Each photo has `n_candidates` candidate classes, and each pair the columns of
    `classify.candidates.COLUMNS`. Given that the truth is a candidate, its probability is the
    softmax over the photo's candidates of a score: a conditional logit (McFadden 1974) on eight
    columns, mended by boosted trees of the same likelihood. Training photos see their columns
    with themselves left out. Of three models, each held out a third of the photos; they have the
    number of rounds that is best for those, which may be none, and their scores are averaged.
    What is left for the classes that are no candidates is how often the left-out truth was none.

    Parameters
    ----------
    n_candidates : int, most candidates a photo
    learning_rate, num_leaves, lambda_l2 : as LightGBM has them
    rounds : int, most rounds of boosting

    Attributes
    ----------
    bank_ : (n, dim) float32 training rows, class by class
    bank_index_ : (n,) int64, their class numbers
    widths_ : (B,) int64, columns of each encoder, which is whitened by itself
    whiteners_, shrinkage_ : float32, B matrices (width, width) one after the other, and (B,)
        float64; see `classify.spaces.Whitening`
    coef_start_ : (8,) float64, of the columns `START`
    trees_ : (n_bytes,) uint8, LightGBM's own texts of the models, with a zero byte between
    temperature_ : float, of the scores, by the held-out pairs
    floor_ : float, probability of all classes together that are no candidates
    spread_ : (C,) float64, how they share it
    importance_ : (F,) float64, share of the trees' gain by column; all 0 without trees
    """

    name = "lgbm"
    balances = ("none", "weights")

    def __init__(
        self,
        balance: str = "none",
        random_state: int = 0,
        layout: tuple[int, ...] = (),
        n_candidates: int = 15,
        pca: int | None = None,
        learning_rate: float = LEARNING_RATE,
        num_leaves: int = LEAVES,
        rounds: int = ROUNDS,
        lambda_l2: float = L2,
    ) -> None:
        super().__init__(balance, random_state, layout, pca)
        self.n_candidates = n_candidates
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.rounds = rounds
        self.lambda_l2 = lambda_l2

    def check(self) -> None:
        super().check()
        whole("n_candidates", self.n_candidates)
        above("learning_rate", self.learning_rate)
        whole("num_leaves", self.num_leaves, least=2)
        whole("rounds", self.rounds)
        above("lambda_l2", self.lambda_l2, least=True)

    def _fit(self, rows: Any, index: Any) -> None:
        from threadpoolctl import threadpool_limits

        self.bank_, self.bank_index_ = _by_class(rows, index)
        with threadpool_limits(1):  # the last digits, and so the trees, depend on the threads
            found = _whitenings(self.bank_, self.bank_index_, self._blocks)
            self.widths_ = np.array([len(each.matrix) for each in found])
            self.whiteners_ = np.concatenate([each.matrix.ravel() for each in found])
            self.shrinkage_ = np.array([each.shrinkage for each in found])
            self._load_bank()
            self._learn()

    def _learn(self) -> None:
        """Fit the judge of pairs on the photos that leave their class at least one other."""
        index, counts = self.bank_index_, self._bank.counts
        rng = np.random.default_rng(self.random_state)
        photos = np.flatnonzero(counts[index] > 1)
        photos = np.sort(rng.permutation(photos)[:MOST_PHOTOS])
        balanced = self.balance == "weights"
        weights = 1 / counts[index[photos]] if balanced else np.ones(len(photos))
        weights *= len(weights) / max(1, weights.sum())
        self.spread_ = np.ones(len(counts)) if balanced else counts.astype(float)
        self.coef_start_ = np.array([mean for mean, _ in START.values()])
        self.trees_, self.importance_ = np.array([], dtype=np.uint8), np.zeros(len(COLUMNS))
        self.temperature_, missed = 1.0, 0.0
        if len(photos):
            seen = pairs_left_out(self._bank, self.n_candidates, photos)
            hit = seen.candidates == index[photos, None]
            found = hit.any(axis=1)
            missed = weights[~found].sum()
            if found.any():
                self._judge(seen.columns[found], hit[found], weights[found], rng)
        self.floor_ = float((missed + 0.5) / (len(photos) + 1))
        self._load_trees()

    def _judge(self, columns: Any, hit: Any, weights: Any, rng: Any) -> None:
        self.coef_start_ = conditional_logit(columns[:, :, _START_COLUMNS], hit, weights)
        start = columns[:, :, _START_COLUMNS] @ self.coef_start_
        part = rng.permutation(len(hit)) % PARTS
        names = ("learning_rate", "num_leaves", "lambda_l2")
        parameters = {name: getattr(self, name) for name in names}
        seed, rounds = self.random_state, self.rounds
        trees = boost(columns, hit, weights, start, part, seed, rounds, **parameters)
        self.temperature_ = _temperature(trees.held_out, hit, weights)
        self.trees_ = np.frombuffer(_BETWEEN.join(trees.texts), dtype=np.uint8)
        self.importance_ = trees.gain / max(1e-12, trees.gain.sum())

    def _load_bank(self) -> None:
        flat = np.split(self.whiteners_, np.cumsum(self.widths_**2)[:-1])
        whitenings = [
            Whitening(matrix.reshape(width, width), float(share))
            for matrix, width, share in zip(flat, self.widths_, self.shrinkage_, strict=True)
        ]
        self._bank = make_bank(self.bank_, self.bank_index_, whitenings)

    def _load_trees(self) -> None:
        import lightgbm

        texts = self.trees_.tobytes().split(_BETWEEN) if len(self.trees_) else []
        self._boosters = [lightgbm.Booster(model_str=text.decode()) for text in texts]

    def _proba(self, rows: Any) -> Any:
        seen = pairs(self._bank, self.n_candidates, rows)
        scores = seen.columns[:, :, _START_COLUMNS] @ self.coef_start_
        for booster in self._boosters:
            scores += _scores(booster, seen.columns) / len(self._boosters)
        likely = softmax(scores / self.temperature_, axis=1)
        rest = np.tile(self.spread_, (len(rows), 1))
        np.put_along_axis(rest, seen.candidates, 0, axis=1)
        total = rest.sum(axis=1, keepdims=True)
        floor = self.floor_ * (total > 0)
        P = rest * (floor / np.maximum(total, 1))
        np.put_along_axis(P, seen.candidates, (1 - floor) * likely, axis=1)
        return P / P.sum(axis=1, keepdims=True)

    def importances(self) -> dict[str, float]:
        """Share of the trees' gain by column, the largest first."""
        order = np.argsort(-self.importance_, kind="stable")
        return {COLUMNS[i]: float(self.importance_[i]) for i in order}

    @classmethod
    def from_state(cls, state: State) -> Self:
        from threadpoolctl import threadpool_limits

        head = super().from_state(state)
        with threadpool_limits(1):
            head._load_bank()
        head._load_trees()
        return head


@shared
def _by_class(rows: Any, index: Any) -> tuple[Any, Any]:
    order = np.argsort(index, kind="stable")
    return rows[order].astype(np.float32), index[order]


@shared
def _whitenings(rows: Any, index: Any, widths: tuple[int, ...]) -> list[Whitening]:
    return [whitening(part, index) for part in blocks(rows, widths)]


class Trees(NamedTuple):
    """Boosted trees that add to a linear start."""

    texts: list[bytes]
    """LightGBM's own, one a model, cut to the best number of rounds; none if trees do not help"""
    gain: Any
    """(F,) float64, by column"""
    held_out: Any
    """(n, K) float64 scores of each photo by the model that did not see it"""


def conditional_logit(columns: Any, hit: Any, weights: Any) -> Any:
    """Coefficients (F,) of softmax(columns @ coef) over each photo's candidates.

    `columns` (n, K, F) are those of `START`, `hit` (n, K) bool has one truth a photo, `weights`
    (n,). The most likely given the prior of `START`.
    """
    from scipy.optimize import minimize

    mean, deviation = np.array(list(START.values())).T
    X = (columns * deviation).astype(np.float64)

    def loss(z: Any) -> tuple[float, Any]:
        logs = log_softmax(X @ z, axis=1)
        miss = (np.exp(logs) - hit) * weights[:, None]
        value = -(weights @ logs[hit]) + 0.5 * ((z - mean / deviation) ** 2).sum()
        return value, miss.ravel() @ X.reshape(-1, X.shape[2]) + z - mean / deviation

    bounds = [(None if name == "log_size" else 0, None) for name in START]
    found = minimize(loss, mean / deviation, jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x * deviation


def boost(
    columns: Any,
    hit: Any,
    weights: Any,
    start: Any,
    part: Any,
    seed: int,
    rounds: int | None = None,
    **parameters: Any,
) -> Trees:
    """Trees that add to the scores `start` (n, K): model q learns from photos of `part` not q.

    All have the number of rounds, `rounds` at most, with the least log-loss of the photos held out.
    `parameters` are LightGBM's, where they are not as usual.
    """
    import lightgbm

    n, k, width = columns.shape
    none = Trees([], np.zeros(width), start)
    if k == 1 or n < LEAST_PHOTOS:
        return none

    def weight(data: Any) -> Any:  # LightGBM drops weights that are all 1
        given = data.get_weight()
        return np.ones(data.num_data()) if given is None else given

    def gradients(scores: Any, data: Any) -> tuple[Any, Any]:
        p = softmax(scores.reshape(-1, k), axis=1).ravel()
        return (p - data.get_label()) * weight(data), (2 * p * (1 - p) + 1e-6) * weight(data)

    def log_loss(scores: Any, data: Any) -> tuple[str, float, bool]:
        truth = data.get_label().reshape(-1, k) > 0
        photo_weights = weight(data).reshape(-1, k)[:, 0]
        return "loss", _loss(scores.reshape(-1, k), truth, photo_weights), False

    pair_part = np.repeat(part, k)
    folds = [(np.flatnonzero(pair_part != q), np.flatnonzero(pair_part == q)) for q in range(PARTS)]
    parameters = PARAMETERS | parameters | {"seed": seed}
    data = lightgbm.Dataset(
        columns.reshape(-1, width),
        hit.ravel().astype(np.float32),
        weight=np.repeat(weights, k),
        init_score=start.ravel(),
        feature_name=list(COLUMNS),
        params=parameters,
    )
    data.construct()
    if max(map(data.feature_num_bin, range(width))) == 1:  # all photos are equal
        return none
    cv: Any = lightgbm.cv(
        parameters | {"objective": gradients, "metric": "none"},
        data,
        ROUNDS if rounds is None else rounds,
        folds=folds,
        feval=log_loss,
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        return_cvbooster=True,
    )
    models = cv["cvbooster"]
    best, held_out = models.best_iteration, start.copy()
    for q, booster in enumerate(models.boosters):
        held_out[part == q] += _scores(booster, columns[part == q], best)
    if _loss(held_out, hit, weights) >= _loss(start, hit, weights):
        return none
    texts = [booster.model_to_string(best).encode() for booster in models.boosters]
    gains = [booster.feature_importance("gain", best) for booster in models.boosters]
    return Trees(texts, np.sum(gains, axis=0), held_out)


def _scores(booster: Any, columns: Any, rounds: int | None = None) -> Any:
    """(n, K) of `columns` (n, K, F)."""
    flat = columns.reshape(-1, columns.shape[2])
    scores = booster.predict(flat, num_iteration=rounds, raw_score=True, num_threads=1)
    return scores.reshape(columns.shape[:2])


def _loss(scores: Any, hit: Any, weights: Any) -> float:
    """Mean log-loss of the softmax over each row of `scores` (n, K)."""
    return float(weights @ -log_softmax(scores, axis=1)[hit] / weights.sum())


def _temperature(scores: Any, hit: Any, weights: Any) -> float:
    """The best for the log-loss; a photo's worth of doubt keeps faultless scores from shouting."""
    from scipy.optimize import minimize_scalar

    n, k = hit.shape
    wanted = weights[:, None] * (hit * n + 1 / k) / (n + 1)

    def loss(log: float) -> float:
        return -float(np.vdot(wanted, log_softmax(scores / np.exp(log), axis=1)))

    return float(np.exp(minimize_scalar(loss, bounds=(-1.5, 4), method="bounded").x))
