"""Labelled vectors for the benchmarks of the heads: real ones, and drawn ones of any size.

`FAMILIA_QUICK=1` makes these benchmarks small: they then show that they run, and no more.
"""

import csv
import os
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from quality import groups

QUICK = bool(os.environ.get("FAMILIA_QUICK"))
SEEDS = range(1 if QUICK else 3)
NOTE = "**Quick run: these figures mean nothing.**\n\n" if QUICK else ""
NO_PHOTOS = "Not run: FAMILIA_SHARED is not set."
LITE = ("efficientnet-lite0",)
BEST = ("efficientnet-lite0@both,gem", "efficientnet-lite2@both,gem")

DIM = 512
# EfficientNet-Lite0's vectors of `data/species`, centred, of length 1, on 512 principal axes: the
# variance within classes along the r-th axis goes as (r + 13)^-1.03 (with two encoders as
# (r + 8)^-0.99), that of the class means not much faster (57% of it on the first 50 axes, 85% on
# 200), and the lengths by which photos deviate have a logarithm that deviates by 0.17.
OFFSET, EXPONENT, LENGTHS = 10, 1.1, 0.17
# What parts the classes also varies within them (wings, water, snow): class means and photos are
# made of the same directions, and a species varies in a few of them only, beside what is common.
# As with real ones the whitened vectors of a class are no normal sample: their participation ratio
# (up to 60 photos, 64 axes) is 0.83 of one's; of the real vectors 0.48.
TRAITS, TRAITS_EACH = 150, 10
TRAIT_SHARE = 0.3  # of the variance within species; the rest is common to all
# How far what two photos share parts them from others: shares of the variance of the class means.
SHARES = (("phylum", 0.10), ("class", 0.20), ("order", 0.20), ("family", 0.35), ("species", 0.15))
# The variance of the class means, where that within species is 1, and the share of photos that
# show little of the animal (their class is there by a factor of 0 to 1): with these two logistic
# regression comes to about .8 on the Rare Species table, as published results do.
SEPARATION, VAGUE = 0.4, 0.3


@cache
def species(encoders: tuple[str, ...]) -> Any:
    """`data/species` of FAMILIA_SHARED as a `Dataset`, near-duplicates in one group."""
    from classify.dataset import Dataset
    from embed.collection import read_collection
    from embed.encoders import open_encoder
    from embed.engine import Lane, embed_photos
    from embed.store import EmbeddingStore
    from embed.vectors import load_vectors

    root = Path(os.environ["FAMILIA_SHARED"]) / "data" / "species"
    rows = read_collection(root, None, None).rows
    group = groups(root, rows["file_path"].tolist()).astype(str)
    if QUICK:
        rows, group = rows[::3].reset_index(drop=True), group[::3]
    with tempfile.TemporaryDirectory() as folder:
        lanes = []
        for name in encoders:
            encoder = open_encoder(name)
            lanes.append(Lane(encoder, EmbeddingStore.open(Path(folder) / name, encoder.spec)))
        done = embed_photos(rows["path"].tolist(), lanes)
        X = load_vectors([lane.store for lane in lanes], done.keys)
    y, specs = rows["family"].to_numpy(dtype=str), tuple(lane.encoder.spec for lane in lanes)
    return Dataset(rows, X, y, np.full(len(y), "train"), group, "family", specs)


def subset(dataset: Any, keep: Any) -> Any:
    """Some rows of a `Dataset`; `keep` is a mask or numbers of rows."""
    rows = dataset.rows.iloc[np.arange(len(dataset))[keep]].reset_index(drop=True)
    arrays = {name: getattr(dataset, name)[keep] for name in ("X", "y", "side", "group")}
    return replace(dataset, rows=rows, **arrays)


def cut(y: Any, sizes: Any, seed: int) -> Any:
    """Numbers of random rows, at most `sizes` (C,) of each class of `y` (n,), in order."""
    classes, index = np.unique(y, return_inverse=True)
    mixed = np.random.default_rng(seed).permutation(len(y))
    kept = [mixed[index[mixed] == c][: sizes[c]] for c in range(len(classes))]
    return np.sort(np.concatenate(kept))


def equal_sizes(y: Any, n: int) -> Any:
    """`n` photos of every class."""
    return np.full(len(np.unique(y)), n)


def long_tail(y: Any) -> Any:
    """(C,) the size of the largest class, divided by the class's rank by size."""
    counts = np.unique(y, return_counts=True)[1]
    rank = np.empty(len(counts), dtype=int)
    rank[np.argsort(-counts, kind="stable")] = np.arange(1, len(counts) + 1)
    return np.minimum(counts, np.round(counts.max() / rank).astype(int))


@dataclass(frozen=True)
class Drawn:
    """Vectors to fit on, and others of the same species to predict."""

    X: Any  # (n, 512) float32 unit rows
    y: Any  # (n,) str
    X_new: Any
    y_new: Any

    def save(self, path: Path) -> None:
        np.savez(path, **vars(self))


def rare_species(shared: str, seed: int = 0) -> tuple[Drawn, list[dict[str, str]]]:
    """Drawn vectors for the 11,983 rows of the Rare Species table, and those rows."""
    with (Path(shared) / "data" / "rare_species" / "catalog.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    if QUICK:
        few = sorted({row["family"] for row in rows})[:24]
        rows = [row for row in rows if row["family"] in few]
    columns = ("phylum", "class_", "order", "family", "eol_page_id")
    return _with_new([np.array([row[column] for row in rows]) for column in columns], seed), rows


def many_classes(n_classes: int, n_each: int, seed: int = 0) -> Drawn:
    """Drawn vectors of `n_each` photos a class, in a made-up tree: two species in each class."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(n_classes), n_each)
    tree = [2 * y + rng.integers(0, 2, len(y)), y]
    for share in (0.4, 0.2, 0.3):  # of orders to families, classes to orders, phyla to classes
        n = tree[-1].max() + 1
        tree.append(rng.integers(0, max(2, int(share * n)), n)[tree[-1]])
    ranks = tree[::-1]
    ranks[3] = np.char.mod("class-%04d", y)
    return _with_new(ranks, seed)


def _with_new(ranks: list[Any], seed: int) -> Drawn:
    """A fifth more photos than `ranks` has, of the species of random ones; family is the label."""
    n = len(ranks[0])
    again = np.random.default_rng(seed).permutation(n)[: n // 5]
    X, y = draw([np.concatenate([rank, rank[again]]) for rank in ranks], seed), ranks[3]
    return Drawn(X[:n], y, X[n:], y[again])


def draw(ranks: list[Any], seed: int) -> Any:
    """Unit rows (n, 512) float32 with the overlap that embeddings of photos have.

    ranks : the group of each of the n photos at the five ranks of `SHARES`, phylum first. Each
        group of a rank adds traits of its own to the mean of its photos.
    """
    rng = np.random.default_rng(seed)
    n = len(ranks[0])
    spread = np.sqrt(_spectrum())
    means = np.zeros((n, TRAITS))
    for rank, (_, share) in zip(ranks, SHARES, strict=True):
        group = np.unique(rank, return_inverse=True)[1]
        means += np.sqrt(share * SEPARATION) * _some_traits(rng, group)
    species = np.unique(ranks[-1], return_inverse=True)[1]
    has = _some_traits(rng, species) != 0
    varied = np.sqrt(TRAIT_SHARE / TRAITS_EACH) * rng.standard_normal((n, TRAITS)) * has
    common = np.sqrt(1 - TRAIT_SHARE) * rng.standard_normal((n, DIM)) * spread
    length = np.exp(LENGTHS * rng.standard_normal((n, 1)))
    seen = np.where(rng.random((n, 1)) < VAGUE, rng.random((n, 1)), 1.0)
    traits = rng.standard_normal((TRAITS, DIM)) * spread
    X = (seen * means + length * varied) @ traits + length * common
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def _some_traits(rng: Any, group: Any) -> Any:
    """(n, TRAITS) strengths of the few traits of each photo's `group` (n,), variance 1 in all."""
    has = rng.random((group.max() + 1, TRAITS)).argsort(axis=1) < TRAITS_EACH
    return (has * rng.standard_normal(has.shape) / np.sqrt(TRAITS_EACH))[group]


def _spectrum() -> Any:
    """(DIM,) shares of the variance along the axes."""
    shares = (np.arange(1, DIM + 1) + OFFSET) ** -EXPONENT
    return shares / shares.sum()
