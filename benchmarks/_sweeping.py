"""Sweeps for the benchmarks: workspaces of drawn vectors, and sweeps as processes of their own."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
SECONDS_BETWEEN_LOOKS = 0.25


@dataclass(frozen=True)
class Swept:
    """What came of a sweep."""

    report: dict[str, Any]
    """`SweepReport.to_json`"""
    seconds: float
    """of the whole process"""
    peak_bytes: int
    """of all its processes together; what they share counts once"""


def start(
    workspace: Path, grid: Path, jobs: int, memory: int | None = None, quiet: bool = False
) -> Any:
    """A sweep as a process, the leader of a group of its own; it prints its report as JSON."""
    return subprocess.Popen(
        [sys.executable, __file__, workspace, grid, str(jobs), str(memory or 0)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        start_new_session=os.name != "nt",
        text=True,
    )


def swept(workspace: Path, grid: Path, jobs: int, memory: int | None = None) -> Swept:
    """Run a sweep to its end."""
    begin = time.perf_counter()
    process = start(workspace, grid, jobs, memory)
    peak = 0
    while True:
        try:
            out, _ = process.communicate(timeout=SECONDS_BETWEEN_LOOKS)
            break
        except subprocess.TimeoutExpired:
            peak = max(peak, _bytes_of(process.pid))
    if process.returncode:
        raise RuntimeError(f"the sweep of {grid} ended with {process.returncode}")
    return Swept(json.loads(out), time.perf_counter() - begin, peak)


def _bytes_of(pid: int) -> int:
    """Proportional set size of a process and all its children."""
    import psutil

    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    for one in family:
        try:
            found = one.memory_full_info()
            total += getattr(found, "pss", found.uss)
        except psutil.Error:
            continue
    return total


def columns_of(X: Any, block: slice) -> Any:
    """For GridSearchCV, which pickles it by the name of its module."""
    return X[:, block]


def drawn_workspace(folder: Path, blocks: dict[str, Any], y: Any) -> None:
    """A workspace of photos that are not there, with their families `y` (n,) and a split.

    blocks : name of an encoder -> (n, dim) float32
    """
    import pandas as pd

    from classify.splits import make_split
    from embed.collection import load_collection, save_collection
    from embed.files import sha256
    from embed.imports import import_vectors
    from embed.workspace import Workspace

    place = Workspace(folder)
    ids = [f"{family}/{i:05}.jpg" for i, family in enumerate(y)]
    keys = [sha256(one.encode()) for one in ids]
    columns = {"id": ids, "path": ids, "file_path": ids, "key": keys, "family": y}
    rows = pd.DataFrame(columns)
    save_collection(rows, "family", folder, place.collection)
    with tempfile.TemporaryDirectory() as scratch:
        rows[["key"]].to_csv(Path(scratch) / "keys.csv", index=False)
        for name, X in blocks.items():
            np.save(Path(scratch) / "X.npy", X)
            vectors, table = Path(scratch) / "X.npy", Path(scratch) / "keys.csv"
            import_vectors(place.store(name), name, vectors, table)
    split = make_split(load_collection(place.collection).rows, "family")
    split.save(place.split("default"))


def main() -> None:
    from classify.grid import read_grid
    from classify.sweep import sweep
    from classify.sweep_inputs import usual_cell
    from embed.workspace import Workspace

    workspace, path = Workspace(Path(sys.argv[1])), Path(sys.argv[2])
    grid = read_grid(path, usual_cell(workspace))
    report = sweep(workspace, grid, int(sys.argv[3]), int(sys.argv[4]) or None)
    print(json.dumps(report.to_json()))


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
    main()
