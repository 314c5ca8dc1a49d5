"""Places on a flat map for vectors, so that photos that look alike lie together, and how well."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError, did_you_mean
from embed.files import whole_file

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Method = Literal["auto", "pca", "tsne", "umap"]

FORMAT = "familia-map-1"
METHODS = ("auto", "pca", "tsne", "umap")
MOST_FITTED = {"tsne": 12_000, "umap": 100_000}  # rows; beyond it the others are placed by these
COMPONENTS = 50  # principal components that t-SNE and UMAP see
K = 10  # neighbours that the quality is told by
_PLACED_BY = 5  # fitted neighbours that place a row which was not fitted
_FEWEST = 8  # rows for t-SNE and UMAP; fewer are laid out by PCA
_SAMPLE = 1_000  # rows that the quality is measured on
_BLOCK = 4_096  # rows at a time, and 1/64 of it in comparisons with all rows


@dataclass(frozen=True)
class Layout:
    """Places of n rows, how they were found and what they keep."""

    xy: F32  # (n, 2), finite
    method: str  # pca, tsne or umap
    seed: int
    fitted: int  # rows that the method itself placed; the others lie by their neighbours
    variance: float  # share of the variance in the two (pca) or `COMPONENTS` components used
    kept: float | None  # see `quality`; None for fewer than 3 rows
    trust: float | None


def lay_out(X: F32, method: Method = "auto", seed: int = 0) -> Layout:
    """Two coordinates a row, the same for the same rows, method, seed and versions.

    X : (n > 0, dim) float32, unit rows. `pca` is linear and exact. `tsne` is Barnes-Hut t-SNE (van
    der Maaten, 2014) of scikit-learn, `umap` (McInnes, Healy and Melville, 2018) needs umap-learn;
    both see the first `COMPONENTS` principal components and start from the first two (Kobak and
    Berens, 2019), with the libraries' default parameters. Beyond `MOST_FITTED` rows they fit a
    random sample and every other row lies among the fitted rows nearest to it.
    """
    chosen = choose(method, len(X))
    P, share = principal_components(X, 2 if chosen == "pca" else COMPONENTS)
    rows = _fitted_rows(len(X), chosen, seed)
    if chosen == "pca":
        xy = P[:, :2]
    else:
        fit = _tsne if chosen == "tsne" else _umap
        # rescaled, so that the methods' starts and step sizes do not depend on the encoder
        xy = fit(P[rows] / (P[:, 0].std() or 1), seed)
        if len(rows) < len(X):
            xy = _placed(P, rows, xy)
    places: F32 = np.asarray(xy - xy.mean(axis=0), dtype=np.float32)
    kept, trust = quality(X, places, seed)
    return Layout(places, chosen, seed, len(rows), share, kept, trust)


def choose(method: str, n: int) -> str:
    """The method for n rows: t-SNE while it can see all of them, then UMAP where it is installed.

    Raises `UserError` for a method that there is not, and for one that is not installed.
    """
    if method not in METHODS:
        raise UserError(f"There is no layout '{method}'. {did_you_mean(method, METHODS)}")
    if method == "umap":
        _need_umap()
    if n < _FEWEST:
        return "pca"
    if method == "auto":
        return "umap" if n > MOST_FITTED["tsne"] and _has_umap() else "tsne"
    return method


def principal_components(X: F32, k: int) -> tuple[F64, float]:
    """X in its first k principal components : (n, k) float64, and their share of the variance.

    Fewer than k columns of X are filled up with zeros. Signs are fixed: in each component the
    entry of largest size is positive.
    """
    n, dim = X.shape
    blocks = [slice(start, start + _BLOCK) for start in range(0, n, _BLOCK)]
    mean = X.mean(axis=0, dtype=np.float64)
    spread = np.zeros((dim, dim))
    for block in blocks:
        centred = X[block] - mean
        spread += centred.T @ centred
    sizes, axes = np.linalg.eigh(spread)
    axes = axes[:, ::-1][:, :k]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    P = np.zeros((n, k))
    for block in blocks:
        P[block, : axes.shape[1]] = (X[block] - mean) @ axes
    total = float(sizes.clip(0).sum())
    return P, float(sizes[::-1][:k].clip(0).sum()) / total if total > 0 else 1.0


def quality(X: F32, xy: F32, seed: int = 0) -> tuple[float | None, float | None]:
    """What a map keeps: (share of neighbours kept, trustworthiness), each 1 at best.

    Both are about the `K` photos nearest to a photo on the map (fewer where n is small): which
    share of them is among its K nearest by cosine, and, after Venna and Kaski (2001), how far
    behind the others are there. Measured on `_SAMPLE` rows against all; None for n < 3.
    X : (n, dim) float32 unit rows; xy : (n, 2).
    """
    from scipy.spatial import cKDTree

    n = len(X)
    k = min(K, (n - 1) // 2)
    if k < 1:
        return None, None
    rows = _some_rows(n, _SAMPLE, seed)
    near = _without_self(cKDTree(xy).query(xy[rows], k + 1)[1], rows)
    ranks = np.concatenate(
        [
            _ranks(X, rows[block], near[block])
            for block in np.array_split(np.arange(len(rows)), -(-len(rows) * 64 // _BLOCK))
        ]
    )
    behind = float((ranks - k).clip(0).sum())
    return (
        float((ranks <= k).mean()),
        1 - 2 * behind / (len(rows) * k * (2 * n - 3 * k - 1)),
    )


def save_layout(path: Path, layout: Layout, ids: Sequence[str], source: str) -> None:
    """Write a layout, the ids of its rows and `source`, a digest of their vectors, as .npz."""
    about = {name: value for name, value in vars(layout).items() if name != "xy"}
    recipe = json.dumps({"format": FORMAT, "source": source, **about})
    with whole_file(path) as scratch, scratch.open("wb") as handle:
        np.savez_compressed(
            handle, xy=layout.xy, ids=np.asarray(ids, dtype=np.str_), recipe=np.asarray(recipe)
        )


def load_layout(path: Path, ids: Sequence[str], source: str) -> Layout | None:
    """The layout in `path`, or None where there is none of these ids and vectors."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as saved:
            recipe = json.loads(str(saved["recipe"]))
            if (recipe.pop("format"), recipe.pop("source")) != (FORMAT, source):
                return None
            layout = Layout(xy=saved["xy"], **recipe)
            whole = layout.xy.shape == (len(ids), 2) and bool(np.isfinite(layout.xy).all())
            return layout if whole and saved["ids"].tolist() == list(ids) else None
    except Exception:  # a damaged file brings many types out of zipfile; it is only a copy
        return None


def _fitted_rows(n: int, method: str, seed: int) -> NDArray[np.int64]:
    return _some_rows(n, MOST_FITTED.get(method, n), seed)


def _some_rows(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """All of n rows, or a random `most` of them in order."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def _tsne(P: F64, seed: int) -> F64:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    model = TSNE(
        perplexity=min(30.0, (len(P) - 1) / 3), init=P[:, :2] * 1e-4, random_state=seed, n_jobs=1
    )
    with threadpool_limits(1):  # sums of several threads differ in their last digits
        return np.asarray(model.fit_transform(P), dtype=np.float64)


def _umap(P: F64, seed: int) -> F64:
    import warnings

    model = _need_umap().UMAP(
        n_neighbors=min(15, len(P) - 1), init=P[:, :2] * 10, random_state=seed, n_jobs=1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own and of numba's; nothing that a user can mend
        return np.asarray(model.fit_transform(P), dtype=np.float64)


def _placed(P: F64, rows: NDArray[np.int64], xy: F64) -> F64:
    """Places of all rows of P from those of the fitted `rows`: (n, 2).

    Each lies at the mean of its nearest fitted rows, weighted by how near they are, without those
    that lie far from the nearest one on the map: half-way between two groups is nobody's place.
    """
    from sklearn.neighbors import NearestNeighbors

    others = np.setdiff1d(np.arange(len(P)), rows)
    far, near = NearestNeighbors(n_neighbors=_PLACED_BY, algorithm="brute").fit(P[rows]).kneighbors(
        P[others]
    )  # fmt: skip
    weights = 1 / np.maximum(far, 1e-9) ** 2
    away = np.linalg.norm(xy[near] - xy[near[:, :1]], axis=2)
    weights[away > np.ptp(xy, axis=0).max() / 20] = 0
    places = np.empty((len(P), 2))
    places[rows] = xy
    places[others] = np.einsum("ik,ikc->ic", weights, xy[near]) / weights.sum(axis=1)[:, None]
    return places


def _without_self(near: Any, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m, k + 1) nearest rows without each row itself, or the last where it is not among them."""
    own = near == rows[:, None]
    own[~own.any(axis=1), -1] = True
    return np.asarray(near[~own].reshape(len(rows), -1), dtype=np.int64)


def _ranks(X: F32, rows: NDArray[np.int64], near: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many rows are nearer to `rows` : (m,) by cosine than each of `near` : (m, k), plus 1."""
    cosines = X[rows] @ X.T
    cosines[np.arange(len(rows)), rows] = -np.inf
    return np.array(
        [
            [1 + np.count_nonzero(row > row[other]) for other in others]
            for row, others in zip(cosines, near, strict=True)
        ]
    )


def _has_umap() -> bool:
    from importlib.util import find_spec

    return find_spec("umap") is not None


def _need_umap() -> Any:
    import importlib
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # it goes without TensorFlow
            return importlib.import_module("umap")
    except ImportError as error:
        raise UserError(
            "The layout umap needs umap-learn: `pip install 'familia[map]'`. Or use --method tsne."
        ) from error
