"""Small indexes of made-up rows, and what brute force says of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from retrieval.big_index import BigIndex
from retrieval.index_building import build
from retrieval.plan import Plan, usual_plan
from retrieval.row_source import ArraySource


def clustered(n: int, dim: int, seed: int, centres: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(centres, dim))[rng.integers(0, centres, n)]
    X = (X + 0.5 * rng.normal(size=(n, dim))).astype(np.float32)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def source(X: np.ndarray, prefix: str = "photo-") -> ArraySource:
    return ArraySource(X, [f"{prefix}{i:05}" for i in range(len(X))])


def plan_of(layout: str, n: int, dim: int) -> Plan:
    kind, _, code = layout.partition(" ")
    return usual_plan(kind, n, dim, code)


def made(folder: Path, X: np.ndarray, layout: str = "ivf sq8", **changes: object) -> BigIndex:
    plan = replace(plan_of(layout, *X.shape), **changes)
    build(source(X), folder / "big", plan, chunk_rows=300)
    return BigIndex.load(folder / "big")


def brute(X: np.ndarray, Q: np.ndarray, k: int, allowed: np.ndarray | None = None) -> np.ndarray:
    """The rows of the k largest cosines, rounded to 2**-24, ties by row."""
    exact, asked = X.astype(np.float64), Q.astype(np.float64)
    cosines = asked @ exact.T / np.linalg.norm(exact, axis=1)
    cosines /= np.linalg.norm(asked, axis=1)[:, None]
    cosines = np.rint(cosines * 2**24)
    if allowed is not None:
        cosines[:, ~allowed] = -np.inf
    return np.argsort(-cosines, axis=1, kind="stable")[:, :k]


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    return float(
        np.mean([len(set(f) & set(t)) / len(t) for f, t in zip(found, truth, strict=True)])
    )
