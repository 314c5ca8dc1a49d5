"""Finished runs whose predictions a test chooses."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from classify.metrics import ALL_METRICS, intervals
from classify.runs import Predictions, Run, RunConfig
from embed.files import write_json
from embed.workspace import Workspace

CLASSES = np.array(["anatidae", "canidae", "felidae", "rosaceae"])


def guesses(y: Any, right: Any, confidence: float = 0.7) -> Any:
    """Probabilities (n, 4): the true class where `right`, else the next one, is the likeliest."""
    column = np.where(right, y, (y + 1) % 4)
    P = np.full((len(y), 4), (1 - confidence) / 3)
    P[np.arange(len(y)), column] = confidence
    return P


def make_run(
    place: Path,
    name: str,
    y: Any,
    P: Any,
    *,
    group: Any = None,
    ids: Any = None,
    fold: Any = None,
    test: tuple[Any, Any] | None = None,
    facts: dict[str, Any] | None = None,
    **config: Any,
) -> Run:
    """A run in the workspace `place`; y (n,) are columns of `CLASSES`; `test` has y and P too."""
    folder = Workspace(place).runs / name
    n = len(y)
    predictions = Predictions(
        ids=[f"{i:04}.jpg" for i in range(n)] if ids is None else list(ids),
        y=CLASSES[y],
        P=P,
        classes=CLASSES,
        fold=np.arange(n) % 5 if fold is None else fold,
        group=np.arange(n).astype(str) if group is None else np.asarray(group).astype(str),
    )
    predictions.save(folder / "oof.parquet")
    write_json(folder / "metrics.json", intervals(y, P, ALL_METRICS, n_boot=20))
    if test is not None:
        y_test, P_test = test
        names = [f"t{i:04}.jpg" for i in range(len(y_test))]
        Predictions(names, CLASSES[y_test], P_test, CLASSES, group=np.array(names)).save(
            folder / "test" / "predictions.parquet"
        )
        write_json(folder / "test" / "metrics.json", {})
    known = {
        "data": "da7a0000da7a0000", "vectors": "fec70000fec70000", "photos": n, "encoders": [],
        "seconds": {"fit": 1.5, "folds": 6.0, "predict_1000": 0.02}, "peak_bytes": 123_000_000,
    }  # fmt: skip
    write_json(folder / "provenance.json", known | (facts or {}))
    (folder / "model.npz").write_bytes(bytes(2000))
    usual: dict[str, Any] = {
        "head": name.split("-")[0], "balance": "none", "encoders": ("pixels",), "folds": 5,
        "seed": 0, "split": "default", "label": "family",
    }  # fmt: skip
    write_json(folder / "config.json", asdict(RunConfig(**usual | config)))
    return Run(folder)
