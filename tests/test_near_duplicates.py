"""Copies are found whatever was done to them, strangers are not, in any order of the rows."""

import csv
import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, embeddings, needs_shared
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from test_perceptual import scene

from classify.base import unit_rows
from embed.perceptual import BITS, HASHES, perceptual_hash
from retrieval.near_duplicates import COLUMNS, groups_of, near_duplicates

CLASSES = 10


def photo(seed: int) -> Image.Image:
    """A scene of its own in the setting of its class."""
    return Image.blend(scene(10_000 + seed % CLASSES), scene(seed), 0.6)


def resaved(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=50)
    return Image.open(stream).convert("RGB")


def cropped(image: Image.Image) -> Image.Image:
    """Without 5% of its width and height."""
    x, y = image.width * 0.025, image.height * 0.025
    return image.crop((round(x), round(y), round(image.width - x), round(image.height - y)))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "resaved": resaved,
    "half": lambda image: image.resize((image.width // 2, image.height // 2)),
    "cropped": cropped,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "mirrored": ImageOps.mirror,
}


def vectors(images: list[Image.Image]) -> Any:
    """Unit rows (n, 108): the photos at 6 × 6 pixels."""
    small = [np.asarray(image.resize((6, 6), Image.Resampling.BOX)) for image in images]
    rows = np.array(small, dtype=np.float32).reshape(len(images), -1)
    return unit_rows(rows - rows.mean(axis=1, keepdims=True))


def random_hashes(n: int, seed: int) -> list[tuple[str, str]]:
    """Of photos that have nothing in common: 200 coins a photo, each in some bits."""
    rng = np.random.default_rng(seed)
    bits = rng.random((n, 2, 200)) < 0.5
    raw = np.packbits(bits[:, :, np.random.default_rng(0).integers(0, 200, BITS)], axis=2)
    return [(a.tobytes().hex(), b.tobytes().hex()) for a, b in raw]


@pytest.fixture(scope="module")
def originals() -> tuple[list[Image.Image], list[tuple[str, str]]]:
    images = [photo(seed) for seed in range(240)]
    return images, [perceptual_hash(image) for image in images]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("with_hashes", [True, False], ids=["hashes", "vectors alone"])
def test_changed_copies_are_found_and_nothing_else(
    change: str, with_hashes: bool, originals: tuple[list[Image.Image], list[tuple[str, str]]]
) -> None:
    if not with_hashes and change in ("mirrored", "cropped"):
        pytest.skip("the little pictures that stand in for vectors do not survive it")
    images, hashes = originals
    copies = [CHANGES[change](image) for image in images[:20]]
    ids = [f"photo {i:03}" for i in range(240)] + [f"a copy of {i:03}" for i in range(20)]
    pairs = near_duplicates(
        vectors(images + copies),
        ids,
        [*hashes, *map(perceptual_hash, copies)] if with_hashes else None,
    )
    true = {(f"a copy of {i:03}", f"photo {i:03}") for i in range(20)}
    found = set(zip(pairs["a"], pairs["b"], strict=True))
    assert found >= true
    assert len(found - true) <= 1
    sure = pairs[pairs["kind"] != "maybe"]
    assert set(zip(sure["a"], sure["b"], strict=True)) == true
    if with_hashes:
        assert (sure["mirrored"] == (change == "mirrored")).all()


def test_bursts_do_not_hide_one_another() -> None:
    """Where every photo has many copies, most look-alikes are copies, and teach nothing."""
    images = [change(photo(seed)) for seed in range(60) for change in CHANGES.values()]
    ids = [f"{seed:02} {name}" for seed in range(60) for name in CHANGES]
    pairs = near_duplicates(vectors(images), ids, [perceptual_hash(image) for image in images])
    assert (pairs["a"].str[:2] == pairs["b"].str[:2]).all()
    assert 60 <= len(set(groups_of(pairs, ids))) <= 75  # of 360


def test_chance_gives_what_was_expected() -> None:
    near = maybe = 0
    for seed in range(30):
        X, _ = embeddings((30,) * 10, dim=24, spread=1.0, seed=seed)
        pairs = near_duplicates(X, [f"{i}" for i in range(300)], random_hashes(300, seed))
        near += (pairs["kind"] != "maybe").sum()
        maybe += len(pairs)
    assert near <= 5  # 0.05 a collection: 1.5
    assert 1 <= maybe <= 40  # 0.69: 21


def test_equal_bytes_are_pairs_however_many() -> None:
    X, _ = embeddings((40, 40))
    X[:25] = X[0]
    keys = ["same"] * 25 + [f"{i}" for i in range(55)]
    ids = [f"{i:02}" for i in range(80)]
    pairs = near_duplicates(X, ids, keys=keys, k=3)
    exact = pairs[pairs["kind"] == "exact"]
    assert (exact["expected"] == 0).any()
    assert set(groups_of(exact, ids)[:25]) == {"00"}
    assert len(set(groups_of(exact, ids))) == 56


def test_photos_without_hash_are_judged_by_vector() -> None:
    X, _ = embeddings((60, 60), dim=8)
    X[1] = X[0]
    hashes = [("", ""), ("", ""), *random_hashes(118, 0)]
    pairs = near_duplicates(X, [f"{i:03}" for i in range(120)], hashes)
    first = pairs.iloc[0]
    assert (first["a"], first["b"], first["kind"]) == ("000", "001", "exact")
    assert pd.isna(first["hamming"])
    assert not first["mirrored"]


@pytest.mark.parametrize("n", [0, 1, 2, 5])
@pytest.mark.parametrize("with_hashes", [True, False])
def test_few_photos_tell_nothing_but_equal_ones(n: int, with_hashes: bool) -> None:
    X = np.eye(8, dtype=np.float32)[:n]
    ids = [f"{i}" for i in range(n)]
    hashes = random_hashes(n, 0) if with_hashes else None
    pairs = near_duplicates(X, ids, hashes, ["k"] * n)
    assert tuple(pairs.columns) == COLUMNS
    assert len(set(groups_of(pairs, ids))) == min(n, 1)
    assert (pairs["kind"] == "exact").all()
    assert near_duplicates(X, ids, hashes).empty


@settings(deadline=None, max_examples=15)
@given(st.randoms(use_true_random=False), st.integers(0, 1000))
def test_order_of_rows_does_not_matter(random: Any, seed: int) -> None:
    X, _ = embeddings((40, 30, 10), dim=6, seed=seed)
    X[10:20] = X[30:40]
    hashes = random_hashes(80, seed)
    hashes[40:45] = [(b, a) for a, b in hashes[50:55]]  # mirror images
    ids, keys = [f"{i:02}" for i in range(80)], [f"{i // 2}" for i in range(80)]
    order = list(range(80))
    random.shuffle(order)
    straight = near_duplicates(X, ids, hashes, keys)
    shuffled = near_duplicates(
        X[order], *([values[i] for i in order] for values in (ids, hashes, keys))
    )
    pd.testing.assert_frame_equal(straight, shuffled)
    assert (straight["a"] < straight["b"]).all()
    assert not straight.duplicated(["a", "b"]).any()
    sure = straight["kind"] == "exact"
    assert sure.tolist() == sorted(sure, reverse=True)
    assert straight["expected"][~sure].is_monotonic_increasing
    mirrored = straight[straight["mirrored"] & (straight["hamming"] == 0)]
    assert set(mirrored["a"]) == {f"{i}" for i in range(40, 45)}


def test_maybe_is_left_out_where_the_two_are_joined() -> None:
    from retrieval.near_duplicates import _telling

    pairs = np.array([[0, 1], [1, 2], [0, 2], [2, 3], [1, 3], [4, 5], [0, 1]])
    kind = np.array(["near", "exact", "maybe", "maybe", "maybe", "maybe", "near"])
    assert sorted(_telling(pairs, kind, 6)) == [0, 1, 3, 5, 6]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=25),
    st.permutations(range(20)),
)
def test_groups_are_connected_components(ends: list[tuple[int, int]], order: list[int]) -> None:
    ids = [f"{i:02}" for i in order]
    pairs = pd.DataFrame([(f"{a:02}", f"{b:02}") for a, b in ends], columns=["a", "b"])
    group = dict(zip(ids, groups_of(pairs, ids), strict=True))
    naive = {name: name for name in ids}
    for _ in range(20):
        for a, b in pairs.itertuples(index=False):
            naive[a] = naive[b] = min(naive[a], naive[b])
    assert group == naive


def test_memory_is_never_n_by_n() -> None:
    n = 8_000
    X = unit_rows(np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32))
    hashes, ids = random_hashes(n, 0), [f"{i}" for i in range(n)]
    near_duplicates(X[:50], ids[:50], hashes[:50])  # what is loaded once
    tracemalloc.start()
    near_duplicates(X, ids, hashes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * n * 0.6  # bytes


@needs_shared
def test_listed_pairs_of_real_photos(tmp_path: Path) -> None:
    from embed.collection import read_collection
    from embed.encoders import open_encoder
    from embed.engine import Lane, embed_photos
    from embed.photo_facts import photo_facts
    from embed.store import EmbeddingStore
    from embed.vectors import load_vectors

    root = Path(str(SHARED)) / "data" / "species"
    rows = read_collection(root, None, None).rows
    encoder = open_encoder("pixels")
    store = EmbeddingStore.open(tmp_path / "store", encoder.spec)
    rows["key"] = embed_photos(rows["path"].tolist(), [Lane(encoder, store)]).keys
    facts = photo_facts(rows, tmp_path / "facts")
    X = load_vectors([store], rows["key"].tolist())
    pairs = near_duplicates(X, rows["file_path"], facts[list(HASHES)].to_numpy(), rows["key"])
    with (root / "near_duplicates.csv").open() as handle:
        listed = {tuple(sorted((row["a"], row["b"]))) for row in csv.DictReader(handle)}
    sure = pairs[pairs["kind"] != "maybe"]
    assert listed <= set(zip(sure["a"], sure["b"], strict=True))
    assert (pairs["kind"] == "maybe").sum() <= 10
    assert (facts["mode"] == "L").sum() == 75
    assert facts["grey"][facts["mode"] == "L"].all()
