"""Label doubts: flipped labels come first, copies are no witnesses, counts equal Cleanlab's."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cleanlab.count import compute_confident_joint
from conftest import SHARED, embeddings, needs_shared
from hypothesis import given, settings
from hypothesis import strategies as st

import cli
from classify.dataset import Dataset
from classify.doubts import confident_class, find_doubts


def photos_of(X: Any, y: Any, group: Any = None) -> Dataset:
    names = [f"{i:04}.jpg" for i in range(len(y))]
    rows = pd.DataFrame({"id": names, "key": names, "file_path": names, "path": names})
    group = np.arange(len(y)) if group is None else np.asarray(group)
    return Dataset(rows, X, y, np.full(len(y), "train"), group.astype(str), "family", ())


def flipped(y: Any, share: float, seed: int) -> tuple[Any, Any]:
    """Labels of which a share is another class at random, and (n,) which."""
    rng = np.random.default_rng(seed)
    wrong = np.zeros(len(y), dtype=bool)
    wrong[rng.choice(len(y), max(1, round(share * len(y))), replace=False)] = True
    classes = np.unique(y)
    other = [rng.choice(classes[classes != name]) if bad else name
             for name, bad in zip(y, wrong, strict=True)]  # fmt: skip
    return np.array(other), wrong


def test_flipped_labels_come_first_with_the_true_class_suggested() -> None:
    X, truth = embeddings((30, 20, 12), spread=0.3)
    y, wrong = flipped(truth, 0.08, seed=1)
    doubts = find_doubts(photos_of(X, y))
    first = doubts.table.head(wrong.sum())
    assert set(first["row"]) == set(np.flatnonzero(wrong))
    assert first["suggested"].tolist() == truth[first["row"]].tolist()
    assert len(doubts.doubted) == doubts.wrong == wrong.sum()
    assert (np.diff(doubts.table["score"]) <= 0).all()
    assert len(doubts.table) == len(y)
    assert doubts.unjudged == 0


def test_witnesses_are_the_nearest_photos_of_a_class_without_copies() -> None:
    X, y = embeddings((8, 6, 5))
    X = np.vstack([X, X[:1]])  # the last is a copy of the first
    y = np.append(y, y[0])
    group = np.append(np.arange(19), 0)
    doubts = find_doubts(photos_of(X, y, group))
    for label in ("family 0", "family 2"):
        found = doubts.witnesses(0, label)
        others = [i for i in np.argsort(-(X @ X[0])) if y[i] == label and i not in (0, 19)]
        assert [w.row for w in found] == others[:3]
        np.testing.assert_allclose([w.cosine for w in found], (X @ X[0])[others[:3]], rtol=1e-6)


def test_a_copy_under_another_label_speaks_for_nobody() -> None:
    """In one group the copy is held out too; in groups of their own each vouches for the other."""
    X, truth = embeddings((12, 12), spread=0.3)
    X, y = np.vstack([X, X[:1]]), np.append(truth, truth[-1])
    apart = find_doubts(photos_of(X, y)).table.set_index("row")["score"]
    group = np.append(np.arange(24), 0)
    together = find_doubts(photos_of(X, y, group)).table.set_index("row")["score"]
    assert together[24] > 0.5 > together[0]
    assert together[0] < apart[0]


def test_what_cannot_be_judged_is_counted_not_doubted() -> None:
    X, y = embeddings((10, 8, 1))
    doubts = find_doubts(photos_of(X, y))
    assert doubts.unjudged == 1
    assert "family 2" not in set(doubts.table["label"])
    for few in (X[:1], X[:10], X[[0, 18]]):  # one photo, one class, a photo a class
        none = find_doubts(photos_of(few, y[: len(few)] if len(few) != 2 else y[[0, 18]]))
        assert len(none.table) == len(none.doubted) == none.wrong == 0
        assert none.unjudged == len(few)


def test_the_order_of_the_rows_changes_nothing() -> None:
    X, y = embeddings((9, 7, 6), spread=1.0)
    photos = photos_of(X, y)
    first = find_doubts(photos).table.set_index("id")["score"]
    again = find_doubts(photos_of(X, y)).table.set_index("id")["score"]
    pd.testing.assert_series_equal(first, again)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(2, 60), n_classes=st.integers(2, 5), seed=st.integers(0, 999))
def test_confident_learning_as_in_its_paper_and_cleanlab(n: int, n_classes: int, seed: int) -> None:
    """Cleanlab takes the likeliest class of all, the paper the likeliest that is confident."""
    rng = np.random.default_rng(seed)
    label = np.append(np.arange(n_classes), rng.integers(0, n_classes, n))
    P = rng.dirichlet(np.full(n_classes, 0.4), len(label))
    counted = confident_class(P, label)
    threshold = [P[label == c, c].mean() - 1e-6 for c in range(n_classes)]
    confident = [[c for c in range(n_classes) if p[c] >= threshold[c]] for p in P]
    naive = [max(cs, key=p.__getitem__) if cs else own
             for p, cs, own in zip(P, confident, label, strict=True)]  # fmt: skip
    assert counted.tolist() == naive
    wrong = compute_confident_joint(label, P, return_indices_of_off_diagonals=True)[1]
    alike = [len(cs) < 2 or p.argmax() in cs for p, cs in zip(P, confident, strict=True)]
    np.testing.assert_array_equal((counted != label)[alike], np.isin(range(len(P)), wrong)[alike])


@needs_shared
def test_most_flipped_labels_of_real_photos_are_in_the_top_six_per_cent(tmp_path: Path) -> None:
    from classify.dataset import load_dataset
    from embed.workspace import Workspace

    with (Path(str(SHARED)) / "data" / "species" / "metadata.csv").open() as handle:
        rows = pd.DataFrame(csv.DictReader(handle))
    largest = rows["family"].value_counts().index[:12]
    rows = rows[rows["family"].isin(largest)].groupby("family").head(30)
    rows.to_csv(tmp_path / "some.csv", index=False)
    place = ["-w", str(tmp_path), "--table", str(tmp_path / "some.csv")]
    assert cli.run(["embed", f"{SHARED}/data/species", *place]) == 0
    photos, _ = load_dataset(Workspace(tmp_path), None, "default")
    y, wrong = flipped(photos.y, 0.03, seed=0)
    doubts = find_doubts(replace(photos, y=y))
    top = doubts.table["row"].to_numpy()[: round(0.06 * len(y))]
    assert wrong[top].sum() >= 0.8 * wrong.sum()
