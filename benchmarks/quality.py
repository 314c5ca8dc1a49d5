"""What do views, pooling and a second encoder bring, and what do they cost?

`FAMILIA_SHARED` photos, out-of-fold macro-F1 over 5 folds, near-duplicates kept in one fold; every
head and their stack. A: all photos of the training folds, fold seed 0. B: at most 5 random training
photos a label, mean of seeds 0 to 2 (the stack's weights come from the other folds' rows, so they
know more than 5 photos a label). Cost: photos/s of `embed`, from files to stored vectors.
"""

import csv
import os
import tempfile
import time
from pathlib import Path

import numpy as np

FORMS = (
    ("efficientnet-lite0",),
    ("efficientnet-lite0@gem",),
    ("efficientnet-lite0@full,gem",),
    ("efficientnet-lite0@both,gem",),
    ("efficientnet-lite0@three,gem",),
    ("efficientnet-lite0@full,gem", "efficientnet-lite2@full,gem"),
    ("efficientnet-lite0@both,gem", "efficientnet-lite2@both,gem"),
)
HEADS = ("logreg", "knn", "lgbm")
FEW = 5


def groups(root: Path, paths: list[str]) -> np.ndarray:
    """A number for each photo, equal for near-duplicates."""
    number = {path: i for i, path in enumerate(paths)}
    group = np.arange(len(paths))
    with (root / "near_duplicates.csv").open() as handle:
        for pair in csv.DictReader(handle):
            a, b = number[pair["a"]], number[pair["b"]]
            group[group == group[a]] = group[b]
    return group


def scores(
    X: np.ndarray, y: np.ndarray, layout: tuple[int, ...], fold: np.ndarray, few: bool, seed: int
) -> list[float]:
    """Macro-F1 of the heads and of their stack."""
    from sklearn.metrics import f1_score

    from classify.heads import make_head
    from classify.stack import crossfit_pool

    rng = np.random.default_rng(100 + seed)
    P = np.zeros((len(HEADS), len(y), y.max() + 1))
    for held_out in range(5):
        train, test = np.flatnonzero(fold != held_out), fold == held_out
        if few:
            mixed = rng.permutation(train)
            train = np.concatenate([mixed[y[mixed] == c][:FEW] for c in range(y.max() + 1)])
        for h, name in enumerate(HEADS):
            head = make_head(name, random_state=seed, layout=layout).fit(X[train], y[train])
            P[h][np.ix_(test, head.classes_)] = head.predict_proba(X[test])
    predicted = [p.argmax(axis=1) for p in (*P, crossfit_pool(P, y, fold, np.bincount(y)))]
    return [float(f1_score(y, p, average="macro")) for p in predicted]


def measure() -> str:
    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return "Not run: FAMILIA_SHARED is not set."
    from classify.splits import make_folds
    from embed.collection import read_collection
    from embed.encoders import open_encoder
    from embed.engine import Lane, embed_photos
    from embed.store import EmbeddingStore
    from embed.vectors import load_vectors

    root = Path(shared) / "data" / "species"
    rows = read_collection(root, None, None).rows
    names, y = np.unique(rows["family"].to_numpy(dtype=str), return_inverse=True)
    group = groups(root, rows["file_path"].tolist())
    lines = [
        f"Macro-F1 of {', '.join(HEADS)}, stack; {len(y):,} photos, {len(names)} labels.",
        "",
        "| encoders | numbers | photos/s | A | B |",
        "| --- | --- | --- | --- | --- |",
    ]
    for form in FORMS:
        with tempfile.TemporaryDirectory() as folder:
            lanes = []
            for name in form:
                encoder = open_encoder(name)
                _ = encoder.engine  # compiled before the clock runs
                store = EmbeddingStore.open(Path(folder) / name, encoder.spec)
                lanes.append(Lane(encoder, store))
            start = time.perf_counter()
            done = embed_photos(rows["path"].tolist(), lanes)
            rate = len(y) / (time.perf_counter() - start)
            X = load_vectors([lane.store for lane in lanes], done.keys)
        layout = tuple(lane.store.spec.dim for lane in lanes)
        a = scores(X, y, layout, make_folds(y, group, 5, 0), False, 0)
        b = np.mean(
            [scores(X, y, layout, make_folds(y, group, 5, s), True, s) for s in range(3)], axis=0
        )
        shown = [" ".join(f"{value:.3f}"[1:] for value in values) for values in (a, b)]
        lines.append(f"| {' + '.join(form)} | {X.shape[1]:,} | {rate:,.0f} | {' | '.join(shown)} |")
    return "\n".join(lines)
