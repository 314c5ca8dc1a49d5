"""Which parameters decided whether a trial was among the best."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.study import Study

LEAST = 30  # complete trials: of fewer nothing is said
AMONG = 5  # of the best, at the least, that the others are compared with
TENTH = 0.1


@dataclass(frozen=True)
class Importance:
    """Shares that add up to 1, the largest first."""

    shares: dict[str, float]
    """by parameter; those of a head are HEAD.NAME"""
    best: int
    """how many of the trials count as the best"""
    trials: int


def importance(study: "Study") -> Importance | None:
    """PED-ANOVA (Watanabe, Bansal & Hutter 2023) over the complete trials; None for too few.

    A parameter is important where its values among the best tenth of the trials lie otherwise than
    among all; one that only some trials have is compared within these (conditional PED-ANOVA). It
    tells what the search saw, and it looked more closely where it was good.
    """
    n = sum(one.state.name == "COMPLETE" for one in study.get_trials(deepcopy=False))
    if n < LEAST:
        return None
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    quantile = max(TENTH, AMONG / n)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    found: dict[str, Any] = get_param_importances(study, evaluator=evaluator)
    shares: dict[str, float] = {}
    for name, share in found.items():
        name = name.removesuffix(" given")
        shares[name] = shares.get(name, 0.0) + float(share)
    ordered = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return Importance(ordered, max(1, int(quantile * n)), n)
