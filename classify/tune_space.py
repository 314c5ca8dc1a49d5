"""What `cli tune` searches: encoders, heads, balance and the heads' own parameters, jointly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from classify.cell import Cell, balance_of
from classify.heads import HEADS
from classify.logreg import LOSSES

if TYPE_CHECKING:
    from optuna.trial import Trial

MOST_TOGETHER = 3  # encoders of which every combination is tried; of more, one, two and all
SLOW = ("lgbm", "logreg", "lgbm-columns", "stack")
LEAST_PCA, MOST_PCA = 16, 512


class Range(NamedTuple):
    """Numbers between two ends, alike on a logarithmic scale."""

    low: float
    high: float
    whole: bool = False


Domain = Range | tuple[Any, ...]
DOMAINS: dict[str, dict[str, Domain]] = {
    "logreg": {"C": Range(0.3, 3000), "loss": LOSSES},
    "lgbm": {
        "n_candidates": Range(5, 40, whole=True),
        "learning_rate": Range(0.02, 0.5),
        "num_leaves": Range(3, 31, whole=True),
        "rounds": Range(20, 600, whole=True),
        "lambda_l2": Range(0.1, 100),
    },
    "knn": {"k": Range(1, 100, whole=True)},
    "lda": {"ridge": Range(0.01, 100)},
    "centroid": {"temperature": Range(0.02, 0.5)},
}
"""Of the parameters by head; a head that lacks one is searched without it."""


@dataclass(frozen=True)
class Space:
    """The configurations that are searched.

    A parameter that a head chooses inside its fit, as it comes, may stay so: `HEAD.NAME given`
    says whether it is given instead. What does not apply to a head is no parameter of its trials.
    """

    usual: Cell
    """split, seed and folds of every trial; its encoders are those of the default configurations"""
    encoders: tuple[tuple[str, ...], ...]
    heads: tuple[str, ...]
    balances: tuple[str, ...]
    """`none` among them"""
    most_pca: int
    """dimensions; below `LEAST_PCA` none are tried"""

    def cell(self, trial: "Trial") -> Cell:
        """The configuration that the trial proposes."""
        named = {" + ".join(each): each for each in self.encoders}
        encoders = self.encoders[0]
        if len(named) > 1:
            encoders = named[trial.suggest_categorical("encoders", list(named))]
        head = self.heads[0]
        if len(self.heads) > 1:
            head = trial.suggest_categorical("head", list(self.heads))
        balance = "none"
        if len(known := self._balances(head)) > 1:
            balance = trial.suggest_categorical(f"{head}.balance", known)
        options = []
        for name, domain in self._domains(head).items():
            value = _suggest(trial, f"{head}.{name}", domain, _as_it_comes(head, name))
            if value != _as_it_comes(head, name):
                options.append((name, value))
        return replace(
            self.usual,
            encoders=encoders, head=head, balance=balance, options=tuple(sorted(options)),
        )  # fmt: skip

    def defaults(self) -> list[Cell]:
        """Each head as `cli fit` makes it of all the encoders; the quick ones first."""
        heads = sorted(self.heads, key=lambda head: head in SLOW and 1 + SLOW.index(head))
        return [replace(self.usual, head=head) for head in heads]

    def parameters(self, default: Cell) -> dict[str, Any]:
        """What a trial must propose for the default configuration to come of it."""
        head = default.head
        found: dict[str, Any] = {"head": head, "encoders": " + ".join(default.encoders)}
        found[f"{head}.balance"] = "none"
        for name in self._domains(head):
            value = _as_it_comes(head, name)
            found |= {f"{head}.{name} given": False} if value is None else {f"{head}.{name}": value}
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values, equal for equal spaces."""
        return {
            "usual": self.usual.to_json(),
            "encoders": [list(each) for each in self.encoders],
            "balances": list(self.balances),
            "heads": {
                head: {name: list(domain) for name, domain in self._domains(head).items()}
                for head in self.heads
            },
        }

    def _balances(self, head: str) -> list[str]:
        return [one for one in self.balances if balance_of(head, one) == one]

    def _domains(self, head: str) -> dict[str, Domain]:
        """Of the parameters that the head has."""
        if head not in HEADS:
            return {}
        found = dict(DOMAINS.get(head, {}))
        if self.most_pca >= LEAST_PCA and head != "prior":
            found["pca"] = Range(LEAST_PCA, min(self.most_pca, MOST_PCA), whole=True)
        has = HEADS[head]().get_params()
        return {name: domain for name, domain in found.items() if name in has}


def together(encoders: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The combinations of encoders to try, the single ones first and all of them last."""
    counts = [*range(1, len(encoders) + 1)]
    if len(encoders) > MOST_TOGETHER:
        counts = [1, 2, len(encoders)]
    return tuple(chosen for n in counts for chosen in combinations(encoders, n))


def _as_it_comes(head: str, name: str) -> Any:
    return HEADS[head]().get_params()[name]


def _suggest(trial: "Trial", name: str, domain: Domain, usual: Any) -> Any:
    """A value; `usual` None is one that the head chooses inside."""
    if usual is None and not trial.suggest_categorical(f"{name} given", [False, True]):
        return None
    if not isinstance(domain, Range):
        return trial.suggest_categorical(name, list(domain))
    if domain.whole:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=True)
    # three digits, so that the command that is printed fits the very same
    return float(f"{trial.suggest_float(name, domain.low, domain.high, log=True):.3g}")
