"""Does a chosen index find 95% of the ten nearest among a million, 20 times as fast as brute force?

1,000,000 drawn rows of 512 columns (`_search_vectors.py`), the ten nearest of 1,000 others. The
index is what `cli index` makes: kind and parameters chosen on a sample, tuned with 600 rows that
were added after it was built. Recall is against brute force over all rows. Throughput is that of
all queries at once on all cores, with exact re-ranking; brute force is the faster one of FAISS's
and NumPy's, all rows in memory. The peers run in `FAMILIA_SEARCH_PEERS`, a python that has them,
with the memory that our index takes (hnswlib keeps float32 rows and cannot be that small), and
are given up after half an hour each.
`FAMILIA_QUICK=1`: 30,000 rows, 200 queries. `FAMILIA_SCRATCH`: a folder that keeps the peers'
indices; one that is there was built before, perhaps beside other work.
"""

import itertools
import json
import os
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _search_vectors import CHUNK, DIM, SearchVectors, build_as_command
from _vectors import NOTE, QUICK

N, QUERIES = (30_000, 200) if QUICK else (1_000_000, 1_000)
K = 10
RECALL, FASTER, MINUTES = 0.95, 20, 10  # the goals
SHARES = (0.01, 0.10, 0.50)  # of rows that a filter allows
PEERS = ("hnswlib", "autofaiss")
PEER_SECONDS = 1800
# recall, queries a second
Point = tuple[float, float]


def verdict(met: bool) -> str:
    return "met" if met else "missed"


def brute(X: Any, Q: Any) -> tuple[float, float]:
    """Queries a second of NumPy and of FAISS by comparing all rows."""
    import faiss

    def by_numpy(part: Any) -> Any:
        scores = part @ X.T
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        return np.take_along_axis(best, np.take_along_axis(-scores, best, 1).argsort(1), 1)

    def by_faiss(part: Any) -> Any:
        return faiss.knn(part, X, K, metric=faiss.METRIC_INNER_PRODUCT)

    found = []
    for search, part in ((by_numpy, Q[:100]), (by_faiss, Q)):
        search(part[:1])
        start = time.perf_counter()
        search(part)
        found.append(len(part) / (time.perf_counter() - start))
    return found[0], found[1]


def built(vectors: SearchVectors, folder: Path) -> tuple[Any, float, float]:
    """The index as `cli index` makes it, seconds of building and of tuning."""
    from retrieval.big_index import BigIndex
    from retrieval.choosing import chooser
    from retrieval.tuning import tune_index

    kind = "hnsw" if QUICK else "auto"  # few rows would be flat
    start = time.perf_counter()
    build_as_command(vectors, folder, chooser(kind, K, RECALL), "float32")
    seconds = time.perf_counter() - start
    index = BigIndex.load(folder)
    start = time.perf_counter()
    tune_index(index, RECALL, K)
    return index, seconds, time.perf_counter() - start


def curve(index: Any, Q: Any, truth: Any) -> list[Point]:
    """Recall and throughput of the index with less and more effort than it was tuned to.

    Without the settings that are beaten by another in both.
    """
    from retrieval.measuring import queries_a_second, recall_at_k

    tuned, points = index.plan, []
    refines = {max(1, round(tuned.refine * part)) for part in (1 / 4, 1 / 2, 1, 2)}
    for factor, refine in itertools.product((0.125, 0.25, 0.5, 1, 2, 4), sorted(refines)):
        effort = {
            "nprobe": min(max(1, int(tuned.nprobe * factor)), max(1, tuned.nlist)),
            "ef_search": max(1, int(tuned.ef_search * factor)),
        }
        name = "ef_search" if tuned.kind == "hnsw" else "nprobe"
        index.plan = replace(tuned, refine=refine, **{name: effort[name]})
        recall = recall_at_k(*index.search(Q, K), truth)
        points.append((recall, queries_a_second(index.search, Q, K)))
    index.plan = tuned
    return sorted(one for one in points if best_from(points, one[0]) == one[1])


def peer(name: str, python: str, folder: Path, X: Any, Q: Any, truth: Any, size: int) -> Any:
    """What the peer says of itself, and its points; or its last words."""
    from retrieval.index import exact_cosines
    from retrieval.measuring import recall_at_k

    script, out = Path(__file__).parent / "_search_peers.py", folder / "out.npz"
    command = [python, script, name, folder / "X.npy", folder / "Q.npy", out, size]
    try:
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=PEER_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"not built and searched within {PEER_SECONDS // 60} minutes", []
    if done.returncode:
        return (done.stderr.strip() or "no word").splitlines()[-1], []
    about, found = json.loads(done.stdout.splitlines()[-1]), np.load(out)
    points = []
    for i in range(len(about["settings"])):
        rows = found[f"rows_{i}"].astype(np.int64)
        cosines = np.stack([exact_cosines(X[row], x) for row, x in zip(rows, Q, strict=True)])
        points.append((recall_at_k(rows, cosines, truth), len(Q) / float(found[f"seconds_{i}"])))
    return about, points


def best_from(points: list[Point], recall: float) -> float:
    """The highest throughput with at least this recall; 0 where there is none."""
    return max((speed for found, speed in points if found >= recall), default=0.0)


def compared(ours: list[Point], theirs: list[Point]) -> str:
    """Least ratio of our throughput to theirs over the recalls that they offer from .8 on."""
    good = [(recall, speed) for recall, speed in theirs if recall >= 0.8]
    if not good:
        return "never reaches .8"
    ratios = [best_from(ours, recall) / best_from(theirs, recall) for recall, _ in good]
    return f"ours is {min(ratios):.2f} to {max(ratios):.2f} × as fast: {verdict(min(ratios) >= 1)}"


def shown(points: list[Point]) -> str:
    return ", ".join(f"{recall:.3f} {speed:,.0f}" for recall, speed in points)


def filtered(index: Any, vectors: SearchVectors, Q: Any) -> list[str]:
    from retrieval.measuring import exact_neighbours, recall_at_k, seconds_a_query

    lines = []
    for share in SHARES:
        allowed = np.random.default_rng(1).random(len(index)) < share
        truth = exact_neighbours(vectors, Q, K, allowed)[1]
        rows, cosines = index.search(Q, K, allowed)
        recall = recall_at_k(rows, cosines, truth) if allowed[rows].all() else 0.0
        took = seconds_a_query(lambda x, k, a=allowed: index.search(x, k, a), Q[:50], K)
        lines.append(
            f"| filter that {share:.0%} pass: recall@10, one query | {recall:.4f}, "
            f"{1e3 * took.median:.1f} ms | ≥ {RECALL} | {verdict(recall >= RECALL)} |"
        )
    return lines


def measure() -> str:
    from retrieval.measuring import exact_neighbours, queries_a_second, recall_at_k, seconds_a_query

    vectors = SearchVectors(N)
    Q = vectors.queries(QUERIES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (N, DIM))
        for number, chunk in enumerate(vectors):
            X[number * CHUNK : number * CHUNK + len(chunk)] = chunk
        X.flush()
        np.save(folder / "Q.npy", Q)
        truth = exact_neighbours([X], Q, K)[1]
        by_numpy, by_faiss = brute(X, Q)
        index, seconds, tuning = built(vectors, folder / "index")
        plan = index.plan
        recall = recall_at_k(*index.search(Q, K), truth)
        speed = queries_a_second(index.search, Q, K)
        alone = seconds_a_query(index.search, Q[:200], K)
        faster, minutes = speed / max(by_numpy, by_faiss), (seconds + tuning) / 60
        lines = [
            "| what | found | goal | |",
            "| --- | --- | --- | --- |",
            f"| brute force: NumPy, FAISS | {by_numpy:,.0f}, {by_faiss:,.0f} queries/s | | |",
            f"| chosen | {plan.kind} {plan.code}, {_knobs(plan)} | | |",
            f"| recall@10: by the tuning, measured | {plan.recall:.4f}, {recall:.4f} | "
            f"≥ {RECALL} | {verdict(recall >= RECALL)} |",
            f"| throughput | {speed:,.0f} queries/s, {faster:.1f} × brute force | "
            f"≥ {FASTER} × | {verdict(faster >= FASTER)} |",
            f"| one query: median, 95% | {1e3 * alone.median:.2f} ms, {1e3 * alone.p95:.2f} ms "
            "| | |",
            f"| choosing and building, tuning | {seconds:,.0f} s, {tuning:,.0f} s | "
            f"≤ {MINUTES} minutes | {verdict(minutes <= MINUTES)} |",
            f"| memory | {plan.memory_bytes / 1e9:.2f} GB | | |",
            *filtered(index, vectors, Q[:100]),
        ]
        lines += [f"\n{note}" for note in plan.notes]
        ours = curve(index, Q, truth)
        lines += ["", "Recall@10 and queries/s:", "", f"- ours: {shown(ours)}"]
        lines += _peers(folder, X, Q, truth, plan.memory_bytes, ours)
    return NOTE + "\n".join(lines)


def _peers(folder: Path, X: Any, Q: Any, truth: Any, size: int, ours: list[Point]) -> list[str]:
    python = os.environ.get("FAMILIA_SEARCH_PEERS")
    if not python:
        how = "`pip install autofaiss hnswlib`"
        return [f"- peers not run: {how}, and FAMILIA_SEARCH_PEERS=its python"]
    lines = []
    for name in PEERS:
        about, points = peer(name, python, folder, X, Q, truth, size)
        if not points:
            lines.append(f"- {name} failed: {about}")
            continue
        lines.append(
            f"- {about['name']} ({about['memory'] / 1e9:.2f} GB, built in {about['build']:,.0f} "
            f"s): {shown(points)}; {compared(ours, points)}"
        )
    return lines


def _knobs(plan: Any) -> str:
    if plan.kind == "hnsw":
        return f"M {plan.M}, ef {plan.ef_search}, {plan.refine} candidates a hit"
    return f"{plan.nprobe:,} of {plan.nlist:,} lists, {plan.refine} candidates a hit"
