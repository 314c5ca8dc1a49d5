"""How long does a search command take from the shell to its table, and where does the time go?

12,000 photos of 1,280 numbers: `data/species` (`FAMILIA_SHARED`) embedded by EfficientNet-Lite0,
and further rows drawn around them. Each time is the median of 5 fresh processes with warm files and
compiled Python, as a user has them; the wall time grows where the machine is busy, that of the
processor does not. Goals: 3 s for a photo that was never encoded, 0.3 s for a row by its id.
"""

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

ROWS, TIMES = 12_000, 5
COMPILED = Path(tempfile.gettempdir()) / "familia-compiled"
GOALS = {"a row by its id": 0.3, "a photo never encoded": 3.0}


def make(photos: Path, workspace: Path) -> list[str]:
    """A workspace with `ROWS` rows; the ids of the real photos."""
    from embed.collection import load_collection, save_collection
    from embed.files import sha256
    from embed.vectors import open_stores
    from embed.workspace import Workspace

    cli("embed", photos, "-w", workspace)
    place = Workspace(workspace)
    there, (store,) = load_collection(place.collection), open_stores(place, None)
    rng, n = np.random.default_rng(0), ROWS - len(there.rows)
    origin = rng.integers(0, len(there.rows), n)
    drawn = there.rows.iloc[origin].reset_index(drop=True)
    drawn["id"] = [f"drawn-{i:05}" for i in range(n)]
    drawn["key"] = [sha256(name.encode()) for name in drawn["id"]]
    X = store.load(there.rows["key"].tolist())[origin]
    X += rng.normal(0, 0.5 / X.shape[1] ** 0.5, X.shape).astype(np.float32)
    store.append(drawn["key"].tolist(), X / np.linalg.norm(X, axis=1, keepdims=True))
    rows = pd.concat([there.rows, drawn], ignore_index=True)
    save_collection(rows, there.label, photos, place.collection)
    return [str(name) for name in there.rows["id"]]


def cli(*arguments: object, python: tuple[str, ...] = ()) -> tuple[float, float, Any]:
    """Seconds from start to end of a command, those of the processor, and the finished process."""
    return timed([*python, "-m", "cli", *map(str, arguments)])


def timed(arguments: list[str]) -> tuple[float, float, Any]:
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(COMPILED)
    done = subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, text=True, env=environment
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, spent, done


def unseen(photos: Path, folder: Path) -> list[Path]:
    """Photos whose bytes no store knows."""
    found = []
    for i, path in enumerate(sorted(photos.rglob("*.jpg"))[: TIMES + 1]):
        with Image.open(path) as photo:
            photo.convert("RGB").rotate(3).save(folder / f"new-{i}.jpg", quality=85)
        found.append(folder / f"new-{i}.jpg")
    return found


def imports(workspace: Path, name: str) -> str:
    """The modules a row's search loads that cost most by themselves, from `-X importtime`."""
    *_, done = cli("search", name, "-w", workspace, python=("-X", "importtime"))
    pattern = r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)"
    by_package: dict[str, int] = {}
    for own, module in re.findall(pattern, done.stderr):
        package = module.split(".")[0]
        by_package[package] = by_package.get(package, 0) + int(own)
    most = sorted(by_package.items(), key=lambda item: -item[1])[:8]
    total = sum(by_package.values())
    shown = ", ".join(f"{name} {spent / 1e3:.0f}" for name, spent in most)
    return (
        f"Imports of a row's search, ms with the profiler's own cost: {total / 1e3:.0f}; {shown}."
    )


def measure() -> str:
    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return "Not run: FAMILIA_SHARED is not set."
    photos = Path(shared) / "data" / "species"
    lines = [
        "| search by | median | slowest | processor | goal | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = make(photos, folder / "w")
        first, *_ = cli("search", ids[0], "-w", folder / "w")
        new = unseen(photos, folder)
        cli("search", new[0], "-w", folder / "w")  # compiles the network once
        asked: dict[str, list[tuple[object, ...]]] = {
            "a row by its id": [(one,) for one in ids[1 : TIMES + 1]],
            "a photo of the collection": [
                (path,) for path in sorted(photos.rglob("*.jpg"))[:TIMES]
            ],
            "a photo never encoded": [(path,) for path in new[1:]],
            "a row, with --where": [
                (one, "--where", "family == 'felidae'") for one in ids[1 : TIMES + 1]
            ],
            "a row, with --unique": [(one, "--unique") for one in [ids[1]] * (TIMES + 1)][1:],
        }
        cli("search", ids[1], "--unique", "-w", folder / "w")  # finds the copies once
        for what, queries in asked.items():
            runs = [cli("search", *query, "-w", folder / "w") for query in queries]
            times, spent = [run[0] for run in runs], statistics.median(run[1] for run in runs)
            median, goal = statistics.median(times), GOALS.get(what)
            met = "" if goal is None else "met" if median <= goal else "missed"
            wish = "" if goal is None else f"≤ {goal:g} s"
            lines.append(
                f"| {what} | {median:.2f} s | {max(times):.2f} s | {spent:.2f} s | {wish} | {met} |"
            )
        said = imports(folder / "w", ids[1])
    bare = [timed(["-c", "import numpy"]) for _ in range(TIMES)]
    numpy_alone = statistics.median(run[1] for run in bare)
    shutil.rmtree(COMPILED, ignore_errors=True)
    return "\n".join(
        [
            *lines,
            "",
            f"The very first search, which makes the index and the sample of pairs: {first:.1f} s. "
            f"Python with NumPy alone: {numpy_alone:.2f} s of the processor. Load of the machine: "
            f"{os.getloadavg()[0]:.1f}.",
            "",
            said,
        ]
    )


if __name__ == "__main__":
    print(measure())
