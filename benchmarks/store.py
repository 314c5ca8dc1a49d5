"""How fast is the store, and what does half precision on the disk change?

100,000 vectors of 512 numbers in merged parts, keys asked for in random order; h5py reads the
same vectors from the same files from first to last. Medians of 5, one beside the other. Half
precision: the FAMILIA_SHARED photos under EfficientNet-Lite0, ten nearest neighbours of each.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

ROWS, DIM = 100_000, 512


def seconds(*jobs: Callable[[], object]) -> list[float]:
    """Median of 5 for each job; they take turns, so that a slow moment hits all."""
    taken: list[list[float]] = [[] for _ in jobs]
    for _ in range(5):
        for times, job in zip(taken, jobs, strict=True):
            start = time.perf_counter()
            job()
            times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in taken]


def nearest(X: np.ndarray) -> np.ndarray:
    """(n, 10) rows of the largest cosine, without the row itself."""
    cosines = X @ X.T
    np.fill_diagonal(cosines, -2)
    return np.argsort(-cosines, axis=1, kind="stable")[:, :10]


def real_vectors() -> tuple[str, np.ndarray]:
    """Real vectors where there are photos, else clusters of random ones."""
    shared = os.environ.get("FAMILIA_SHARED")
    if shared:
        from embed.collection import load_collection
        from embed.store import EmbeddingStore
        from embed.workspace import Workspace

        with tempfile.TemporaryDirectory() as folder:
            workspace = Workspace(Path(folder))
            photos = Path(shared) / "data" / "species"
            command = [sys.executable, "-m", "cli", "embed", str(photos), "-w", folder]
            subprocess.run(command, check=True, capture_output=True)
            keys = load_collection(workspace.collection).rows["key"].tolist()
            (made,) = (path.parent for path in workspace.embeddings.glob("*/spec.json"))
            return "photos", EmbeddingStore.open(made).load(keys)
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(250, 1280)), 10, axis=0) + rng.normal(size=(2500, 1280))
    return "random", unit(X)


def unit(X: np.ndarray) -> np.ndarray:
    return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True), dtype=np.float32)


def measure() -> str:
    import h5py

    from embed.encoders import open_encoder
    from embed.files import sha256
    from embed.store import EmbeddingStore
    from embed.verify import verify

    spec = replace(open_encoder("pixels").spec, dim=DIM)
    rng = np.random.default_rng(0)
    X = unit(rng.normal(size=(ROWS, DIM)))
    keys = [sha256(str(i).encode()) for i in range(ROWS)]
    others = [sha256(key.encode()) for key in keys]
    mixed = [keys[i] for i in rng.permutation(ROWS)]
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore.open(Path(folder), spec)
        start = time.perf_counter()
        store.append(keys, X)
        saving = time.perf_counter() - start
        parts = sorted(Path(folder).glob("part-*.h5"))

        def h5py_read() -> None:
            for path in parts:
                with h5py.File(path, "r") as part:
                    part["vectors"][:]

        raw, load, ordered, opening, missing, absent, inside, checked = seconds(
            h5py_read,
            lambda: store.load(mixed),
            lambda: store.load(keys),
            lambda: EmbeddingStore.open(Path(folder)),
            lambda: store.missing(mixed),
            lambda: store.missing(others),
            lambda: [key in store for key in mixed[:10_000]],
            lambda: verify(Path(folder)),
        )
        one, thousand = seconds(lambda: store.load(mixed[:1]), lambda: store.load(mixed[:1000]))
    gigabytes = X.nbytes / 1e9
    kind, real = real_vectors()
    half = unit(real.astype(np.float16).astype(np.float32))
    same = np.mean(
        [len(np.intersect1d(a, b)) / 10 for a, b in zip(nearest(real), nearest(half), strict=True)]
    )
    first = float((nearest(real)[:, 0] == nearest(half)[:, 0]).mean())
    change = float(np.abs(real @ real.T - half @ half.T).max())
    return "\n".join(
        [
            "| what | figure |",
            "| --- | --- |",
            f"| h5py, from first to last | {gigabytes / raw:.1f} GB/s |",
            f"| `load`, random order, all checked | {gigabytes / load:.1f} GB/s |",
            f"| `load`, in the stored order | {gigabytes / ordered:.1f} GB/s |",
            f"| `load` of 1 row, of 1,000 rows | {one * 1e3:.1f} ms, {thousand * 1e3:.0f} ms |",
            f"| `append`, with fsync | {gigabytes / saving:.2f} GB/s |",
            f"| opening | {opening * 1e3:.0f} ms |",
            f"| `missing`, all known | {ROWS / missing / 1e6:.1f} million keys/s |",
            f"| `missing`, none known | {ROWS / absent / 1e6:.1f} million keys/s |",
            f"| `key in store` | {inside / 10_000 * 1e6:.1f} µs |",
            f"| `verify` | {gigabytes / checked:.1f} GB/s |",
            f"| float16, {kind}: equal among 10 nearest neighbours | {same:.2%} |",
            f"| float16, {kind}: same nearest neighbour | {first:.2%} |",
            f"| float16, {kind}: largest change of a cosine | {change:.1e} |",
            "",
            f"Ratio to h5py: {raw / load:.2f} in random order, {raw / ordered:.2f} in the stored "
            "order.",
        ]
    )
