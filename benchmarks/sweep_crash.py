"""What does a SIGKILL at any moment of a sweep cost?

20 sweeps of 60 cells (five heads, stacks, two balances, two draws of the photos, two seeds; two
jobs) are killed when a random number of cells is saved and a random part of a second has passed
since, every other one with its workers. Each is then run again to its end. Is every cell equal to
that of an undisturbed sweep bit for bit, and was any that had been saved computed again
(were none, those under way are all that is lost)?
`FAMILIA_QUICK=1`: three sweeps of ten cells.
"""

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _sweeping import drawn_workspace, start, swept
from _vectors import NOTE, QUICK, many_classes

RUNS, JOBS = (3, 2) if QUICK else (20, 2)
GRID = """
heads = ["logreg", "knn", "lda", "centroid", "lgbm", "stack"]
balance = ["none", "smote"]
photos = [6, "all"]
seeds = [0, 1, 2]
folds = 3
"""
if QUICK:
    GRID = 'heads = ["knn", "lda", "centroid", "logreg", "prior"]\nseeds = [0, 1]\nfolds = 3\n'


def measure() -> str:
    rng = np.random.default_rng(0)
    photos = many_classes(6, 30)
    with tempfile.TemporaryDirectory() as name:
        grid = Path(name) / "grid.toml"
        grid.write_text(GRID)
        undisturbed = Path(name) / "undisturbed"
        drawn_workspace(undisturbed, {"drawn": photos.X}, photos.y)
        expected = swept(undisturbed, grid, JOBS).report
        computed = len(files(undisturbed))
        failed = equal = again_computed = 0
        saved_at: list[int] = []
        while len(saved_at) < RUNS:
            workspace = Path(name) / f"run-{len(saved_at)}"
            shutil.rmtree(workspace, ignore_errors=True)
            drawn_workspace(workspace, {"drawn": photos.X}, photos.y)
            process = start(workspace, grid, JOBS, quiet=True)
            wait(process, workspace, int(rng.integers(0, computed)), float(rng.random()))
            if process.poll() is not None:  # it was faster
                process.communicate()
                continue
            kill(process, with_workers=bool(len(saved_at) % 2))
            before = files(workspace)
            saved_at.append(len(before))
            report = swept(workspace, grid, JOBS).report
            after = files(workspace)
            touched = [path for path, written in before.items() if after[path] != written]
            again_computed += len(touched)
            failed += report["failed"]
            equal += same(workspace, report, undisturbed, expected)
        if equal < RUNS or again_computed or failed:
            raise RuntimeError(f"{equal} of {RUNS} equal, {again_computed} again, {failed} failed")
    return NOTE + "\n".join([
        "| what | found |",
        "| --- | --- |",
        f"| cells saved at the kill, of {computed} | {', '.join(map(str, sorted(saved_at)))} |",
        f"| all cells equal bit for bit after going on | {equal} of {RUNS} |",
        f"| saved cells that were computed again | {again_computed} |",
    ])  # fmt: skip


def files(workspace: Path) -> dict[Path, int]:
    """Finished cells and when each was written."""
    found = sorted((workspace / "sweeps" / "cells").glob("*.json"))
    return {path.relative_to(workspace): path.stat().st_mtime_ns for path in found}


def wait(process: Any, workspace: Path, cells: int, seconds: float) -> None:
    """Until so many cells are saved, and some time more; or the sweep has ended."""
    while len(files(workspace)) < cells and process.poll() is None:
        time.sleep(0.002)
    time.sleep(seconds)


def kill(process: Any, with_workers: bool) -> None:
    """SIGKILL; workers that are left end by themselves after the cell in their hands."""
    import psutil

    children = psutil.Process(process.pid).children(recursive=True)
    if with_workers:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
    psutil.wait_procs(children, timeout=60)


def same(workspace: Path, report: Any, undisturbed: Path, expected: Any) -> bool:
    from classify.runs import Predictions

    def one(folder: Path, id: str) -> Any:
        return Predictions.load(folder / "sweeps" / "cells" / f"{id}.parquet").P

    return all(
        (a["id"], a["figures"]) == (b["id"], b["figures"])
        and np.array_equal(one(workspace, a["id"]), one(undisturbed, b["id"]))
        for a, b in zip(report["cells"], expected["cells"], strict=True)
    )
