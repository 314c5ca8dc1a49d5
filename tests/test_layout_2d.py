"""Layouts: the same each time, groups stay apart, and their quality is scikit-learn's."""

import sys

import numpy as np
import pytest
from conftest import embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from embed.errors import UserError
from retrieval import layout_2d
from retrieval.layout_2d import (
    choose,
    lay_out,
    load_layout,
    principal_components,
    quality,
    save_layout,
)


def own_share(xy, y, k=5):
    """Share of the k nearest on the map that are of the same class."""
    near = NearestNeighbors(n_neighbors=k + 1).fit(xy).kneighbors(xy, return_distance=False)[:, 1:]
    return (y[near] == y[:, None]).mean()


def test_components_are_those_of_pca():
    X, _ = embeddings((40, 30, 20))
    P, share = principal_components(X, 5)
    model = PCA(5, svd_solver="full").fit(X)
    theirs = model.transform(X)
    signs = np.sign((P * theirs).sum(axis=0))
    np.testing.assert_allclose(P * signs, theirs, atol=1e-5)
    assert share == pytest.approx(model.explained_variance_ratio_.sum(), abs=1e-5)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_the_same_rows_get_the_same_places(method):
    X, _ = embeddings((40, 30, 20))
    first, again = lay_out(X, method), lay_out(X.copy(), method)
    np.testing.assert_array_equal(first.xy, again.xy)
    assert first.method == method


def test_groups_far_apart_stay_apart():
    X, y = embeddings((60, 50, 40, 30), spread=0.15)
    layout = lay_out(X)
    assert layout.method == "tsne"
    assert own_share(layout.xy, y) == 1.0
    mixed = lay_out(X[np.random.default_rng(0).permutation(len(X))])
    assert own_share(mixed.xy, y) < 0.6  # the classes of other rows: the measure can fail


def test_rows_that_were_not_fitted_lie_in_their_own_group(monkeypatch):
    monkeypatch.setitem(layout_2d.MOST_FITTED, "tsne", 60)
    X, y = embeddings((60, 60, 60), spread=0.2)
    layout = lay_out(X, "tsne")
    assert (layout.fitted, layout.xy.shape) == (60, (180, 2))
    assert own_share(layout.xy, y) == 1.0
    np.testing.assert_array_equal(layout.xy, lay_out(X, "tsne").xy)


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_trust_is_that_of_scikit_learn(spread):
    X, _ = embeddings((60, 50, 40), spread=spread)
    xy = lay_out(X, "pca").xy
    kept, trust = quality(X, xy)
    assert trust == pytest.approx(trustworthiness(X, xy, n_neighbors=10, metric="cosine"), abs=1e-9)
    near, near2 = (
        NearestNeighbors(n_neighbors=11, metric=metric).fit(Z).kneighbors(Z, return_distance=False)
        for Z, metric in ((X, "cosine"), (xy, "euclidean"))
    )
    shared = [len(set(a[1:]) & set(b[1:])) for a, b in zip(near, near2, strict=True)]
    assert kept == pytest.approx(np.mean(shared) / 10)


def test_a_perfect_map_keeps_everything():
    angles = np.sort(np.random.default_rng(0).uniform(0, 1, 200))
    circle = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    assert quality(circle, circle) == (1.0, 1.0)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 12), dim=st.integers(1, 5), seed=st.integers(0, 99), copies=st.booleans())
def test_few_rows_and_equal_rows_have_places(n, dim, seed, copies):
    X = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    X = X[:1].repeat(n, axis=0) if copies else X
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    layout = lay_out(X)
    assert layout.xy.shape == (n, 2)
    assert np.isfinite(layout.xy).all()
    assert layout.kept is None if n < 3 else 0 <= layout.kept <= 1


def test_the_method_goes_by_size_and_by_what_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr(layout_2d, "_has_umap", lambda: False)
    assert [choose("auto", n) for n in (2, 100, 12_001)] == ["pca", "tsne", "tsne"]
    with pytest.raises(UserError, match=r"pip install 'familia\[map\]'"):
        choose("umap", 100)
    monkeypatch.setattr(layout_2d, "_has_umap", lambda: True)
    assert [choose("auto", n) for n in (100, 12_001)] == ["tsne", "umap"]
    with pytest.raises(UserError, match="Did you mean 'tsne'"):
        choose("tsme", 100)


def test_umap_keeps_groups_apart():
    pytest.importorskip("umap")
    X, y = embeddings((60, 50, 40), spread=0.15)
    layout = lay_out(X, "umap")
    assert own_share(layout.xy, y) == 1.0
    np.testing.assert_array_equal(layout.xy, lay_out(X, "umap").xy)


def test_what_was_saved_is_only_given_back_for_the_same_rows(tmp_path):
    X, _ = embeddings((20, 20))
    layout, ids = lay_out(X, "pca"), [f"photo {i}" for i in range(40)]
    path = tmp_path / "maps" / "a.npz"
    assert load_layout(path, ids, "s") is None
    save_layout(path, layout, ids, "s")
    found = load_layout(path, ids, "s")
    np.testing.assert_array_equal(found.xy, layout.xy)
    assert {**vars(found), "xy": 0} == {**vars(layout), "xy": 0}
    assert load_layout(path, ids, "other vectors") is None
    assert load_layout(path, ids[::-1], "s") is None
    path.write_bytes(path.read_bytes()[:-30])
    assert load_layout(path, ids, "s") is None
