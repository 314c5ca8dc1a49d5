"""Does search stay small and quick at ten million photos?

10,000,000 drawn rows of 512 columns (`_search_vectors.py`), kept as float16. The index is an IVF
whose codes and parameters `cli index` chooses for recall .90 and 4 GB while searching, tuned with
600 rows that were added after it was built; queries are 200 others; recall is against comparing
them with all rows as they are kept. Building runs in a process of its own: `memory` is the most
that it had of its own (anonymous pages, looked at ten times a second), `with files` also counts
what it had mapped of the index's files, which the system may take back at any time. Memory is flat
where a tenth of the rows takes nearly as much. Filters are judged at a million rows
(`search_million.py`).
`FAMILIA_QUICK=1`: 20,000 rows. `FAMILIA_SCRATCH`: a folder with 20 GB of room that keeps what was
built, so that searching can be measured again.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _search_vectors import CHUNK, SearchVectors
from _vectors import NOTE, QUICK

N, QUERIES = (20_000, 50) if QUICK else (10_000_000, 200)
K = 10
RECALL, GIGABYTES, SECONDS, LOAD, FLAT = 0.90, 8, 0.020, 1.0, 1.2  # the goals
SEARCH_MEMORY = 4 * 10**9
SHARES = (0.01, 0.10, 0.50)  # of rows that a filter allows


@dataclass(frozen=True)
class Building:
    seconds: float
    own: int  # bytes of anonymous memory at most
    with_files: int


def build_apart(n: int, folder: Path) -> Building:
    """Build the index of n rows in another process, unless that was done before."""
    done = folder.with_name(f"{folder.name}-{n}.json")
    if done.exists():
        return Building(**json.loads(done.read_text()))
    script = Path(__file__).parent / "_search_build.py"
    command = [sys.executable, script, n, folder, "ivf", RECALL, SEARCH_MEMORY]
    start, own = time.perf_counter(), 0
    process = subprocess.Popen(list(map(str, command)))
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        own = max(own, _anonymous(process.pid))
        time.sleep(0.1)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"building {n:,} rows ended with {process.returncode}")
    scale = 1 if sys.platform == "darwin" else 1024
    found = Building(time.perf_counter() - start, own, usage.ru_maxrss * scale)
    done.write_text(json.dumps(asdict(found)))
    return found


def _anonymous(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def row(what: str, found: str, goal: str = "", met: bool | None = None) -> str:
    return f"| {what} | {found} | {goal} | {'' if met is None else 'met' if met else 'missed'} |"


def searched(index: Any, Q: Any) -> list[str]:
    """Lines about recall and time, without a filter and with some."""
    from retrieval.measuring import exact_neighbours, recall_at_k, seconds_a_query

    n, lines = len(index), []
    for share in (1.0, *SHARES):
        allowed = None if share == 1 else np.random.default_rng(1).random(n) < share
        kept = (index.vectors(np.arange(i, min(i + CHUNK, n))) for i in range(0, n, CHUNK))
        truth = exact_neighbours(kept, Q, K, allowed)[1]
        rows, cosines = index.search(Q, K, allowed)
        recall = recall_at_k(rows, cosines, truth)
        took = seconds_a_query(lambda x, k, a=allowed: index.search(x, k, a), Q, K)
        what = "all rows" if allowed is None else f"filter that {share:.0%} pass"
        met = (f"≥ {RECALL}", recall >= RECALL) if allowed is None else ("", None)
        lines.append(row(f"{what}: recall@10", f"{recall:.4f}", *met))
        limit = ("< 20 ms", took.median < SECONDS) if allowed is None else ("", None)
        figures = f"{1e3 * took.median:.1f} ms, {1e3 * took.p95:.1f} ms"
        lines.append(row(f"{what}: one query, median and 95%", figures, *limit))
    return lines


def measure() -> str:
    from retrieval.big_index import BigIndex
    from retrieval.tuning import tune_index

    kept = os.environ.get("FAMILIA_SCRATCH")
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory() as name:
        few = build_apart(N // 10, Path(name) / "few")
        all_rows = build_apart(N, Path(name) / "all")
        start = time.perf_counter()
        index = BigIndex.load(Path(name) / "all")
        load = time.perf_counter() - start
        start = time.perf_counter()
        plan = tune_index(index, RECALL, K, SEARCH_MEMORY, SECONDS)
        tuning = time.perf_counter() - start
        times = all_rows.own / few.own
        size = sum(path.stat().st_size for path in index.folder.iterdir())
        lines = [
            "| what | found | goal | |",
            "| --- | --- | --- | --- |",
            row(
                "chosen",
                f"{plan.code}, {plan.nprobe:,} of {plan.nlist:,} lists, "
                f"{plan.refine} candidates a hit",
            ),
            row(
                "drawing, choosing and building; tuning",
                f"{all_rows.seconds:,.0f} s; {tuning:,.0f} s",
            ),
            row(
                "memory of building",
                f"{all_rows.own / 1e9:.2f} GB, with files {all_rows.with_files / 1e9:.2f} GB",
                f"≤ {GIGABYTES} GB",
                all_rows.own <= GIGABYTES * 1e9,
            ),
            row(
                "the same of a tenth of the rows",
                f"{few.own / 1e9:.2f} GB: {times:.2f} ×",
                f"≤ {FLAT} ×",
                times <= FLAT,
            ),
            row(
                "on the disk; of that looked at in memory",
                f"{size / 1e9:.1f} GB; {plan.memory_bytes / 1e9:.2f} GB",
            ),
            row("load", f"{load:.3f} s", f"< {LOAD:.0f} s", load < LOAD),
            *searched(index, SearchVectors(N).queries(QUERIES)),
        ]
        lines += [f"\n{note}" for note in plan.notes]
    return NOTE + "\n".join(lines)
