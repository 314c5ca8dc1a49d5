"""Finished sweeps whose predictions a test chooses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classify.cell import Cell, CellResult
from classify.cell_store import save_list, save_result
from classify.metrics import intervals
from classify.runs import Predictions
from classify.sweep_answers import METRICS
from embed.files import sha256
from embed.workspace import Workspace


def cell(head: str = "knn", **settings: Any) -> Cell:
    """A cell on the pixels encoder, with `settings` as `Cell` has them."""
    return Cell(**{"encoders": ("pixels",), "head": head, **settings})


def drawn_right(share: Any, photos: Any, seed: int, alike: float = 0.7) -> Any:
    """(n,) bool, right with the probability `share`, alike in cells by what a photo is like.

    share : a number or (n,); photos : (n,) uniform, how hard each photo is
    """
    rng = np.random.default_rng(seed)
    own = rng.random(len(photos))
    return np.where(rng.random(len(photos)) < alike, photos, own) < share


def answers_of(y: Any, right: Any, classes: int, seed: int = 0) -> Any:
    """(n, C) probabilities: the true class where `right`, else another one, has 0.7."""
    rng = np.random.default_rng(seed)
    wrong = (y + rng.integers(1, classes, len(y))) % classes
    P = np.full((len(y), classes), 0.3 / (classes - 1))
    P[np.arange(len(y)), np.where(right, y, wrong)] = 0.7
    return P


def make_sweep(
    place: Path,
    cells: Mapping[Cell, Any] | Sequence[tuple[Cell, Any]],
    y: Any,
    *,
    name: str = "grid",
    group: Any = None,
    ids: Any = None,
    costs: Mapping[Cell, Mapping[str, float]] | None = None,
    errors: Mapping[Cell, str] | None = None,
    missing: Sequence[Cell] = (),
    draws: int = 0,
) -> Workspace:
    """A sweep in the workspace `place`: cells with their probabilities (n, C); y (n,) columns."""
    workspace = Workspace(place)
    listed, failed = [], {}
    several = list(cells.items() if isinstance(cells, Mapping) else cells)
    n = len(y)
    for one, P in several:
        classes = np.array([f"class{i:03}" for i in range(P.shape[1])])
        id = _id(one, name)
        predictions = Predictions(
            ids=[f"{i:05}.jpg" for i in range(n)] if ids is None else list(ids),
            y=classes[y],
            P=P,
            classes=classes,
            fold=np.arange(n) % one.folds,
            group=np.arange(n).astype(str) if group is None else np.asarray(group).astype(str),
        )
        figures: dict[str, Any] = intervals(y, P, list(METRICS), n_boot=draws)
        known = {k: tuple(0.0 if end is None else end for end in v) for k, v in figures.items()}
        per_class = one.photos if isinstance(one.photos, int) else 50
        facts: dict[str, Any] = {
            "seconds": 1.0, "peak_bytes": 10**8, "model_bytes": 10**5,
            "train_photos": float(per_class * P.shape[1]),
        } | dict((costs or {}).get(one, {}))  # fmt: skip
        save_result(workspace.sweeps / "cells", CellResult(one, id, known, **facts), predictions)
        listed.append((one, id))
    for one, reason in (errors or {}).items():
        listed.append((one, _id(one, name)))
        failed[_id(one, name)] = reason
    listed += [(one, _id(one, name)) for one in missing]
    save_list(workspace.sweeps / name, "family", listed, failed, [])
    return workspace


def _id(one: Cell, name: str) -> str:
    return sha256(repr((one, name)).encode())[:16]
