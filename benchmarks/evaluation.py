"""Do the figures of 12,000 photos in 202 classes come in seconds?

On two cores, each in a process of its own; memory is its peak, libraries included. First the
figures alone, from drawn probabilities: all of `ALL_METRICS`, the class table and the sizes of
class with 10,000 draws of the bootstrap. Beside it the obvious way to one of them, a loop over
scikit-learn's `f1_score`, measured on some draws and multiplied. Then whole commands on a workspace
of 12,000 test photos and 4,160 others, with drawn vectors of 512 numbers (`_vectors.py`) brought in
by `cli store import` and tiny pictures in the place of photos; `cli inspect` judges the labels of
all 16,160.
Goals: `cli evaluate` 20 s and 2 GB; the figures 50 times as fast as the loop; `cli report` and
`cli inspect` 60 s; the page below 15 MB. `FAMILIA_QUICK=1`: 1,000 photos.
"""

import contextlib
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from _vectors import NOTE, QUICK, many_classes  # noqa: E402
from heads_at_scale import peak_bytes, two_cores  # noqa: E402

CLASSES = 20 if QUICK else 202
PHOTOS, OTHERS = (1000, 400) if QUICK else (12_000, 4160)
DRAWS = 10_000
LOOPED = 20  # draws of the loop that are measured
LONGEST = 900  # seconds until a process is stopped
GOAL_FACTOR, GOAL_GB, GOAL_MB = 50, 2, 15
RANKS = {"phylum": 50, "class": 12, "order": 3, "family": 1}  # families in one of each


def probabilities() -> tuple[Any, Any]:
    """y (n,) and P (n, C) of a model that is right on about 88 of 100 photos."""
    rng = np.random.default_rng(0)
    y = rng.choice(CLASSES, PHOTOS, p=rng.dirichlet(np.full(CLASSES, 0.7)))
    logits = rng.standard_normal((PHOTOS, CLASSES))
    logits[np.arange(PHOTOS), y] += 4
    P = np.exp(logits)
    return y, P / P.sum(axis=1, keepdims=True)


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def figures_child() -> dict[str, float]:
    """Every figure, in this process."""
    from classify.metrics import intervals, per_class
    from classify.sizes import by_size

    y, P = probabilities()
    trained = np.bincount(y, minlength=CLASSES)
    classes = np.arange(CLASSES).astype(str)
    intervals(y[:100], P[:100], n_boot=10)
    return {
        "macro-F1": seconds(lambda: intervals(y, P, ["macro_f1"], DRAWS)),
        "all figures": seconds(lambda: intervals(y, P, n_boot=DRAWS)),
        "by class": seconds(lambda: per_class(y, P, classes)),
        "by size of class": seconds(lambda: by_size(y, P, trained, n_boot=DRAWS)),
        "peak": peak_bytes(),
    }


def loop_child() -> dict[str, float]:
    """The loop over scikit-learn."""
    from sklearn.metrics import f1_score

    y, P = probabilities()
    y_pred, rng = P.argmax(axis=1), np.random.default_rng(0)

    def loop() -> None:
        for _ in range(LOOPED):
            drawn = rng.integers(0, len(y), len(y))
            f1_score(y[drawn], y_pred[drawn], average="macro", zero_division=0)

    loop()
    return {"loop": seconds(loop) * DRAWS / LOOPED}


def command_child(*words: str) -> dict[str, float]:
    """One command of the project, in this process."""
    import cli

    with contextlib.redirect_stdout(sys.stderr):
        code = cli.run(list(words))
    if code:
        raise RuntimeError(f"cli {words[0]} ended with {code}")
    return {"peak": peak_bytes()}


def child(*arguments: object) -> dict[str, float] | None:
    """What this file prints when it is run with `arguments`, and the seconds it took in all.

    None where it fails or takes too long.
    """
    command = [sys.executable, __file__, *map(str, arguments)]
    start = time.perf_counter()
    with two_cores():
        try:
            done = subprocess.run(
                command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=LONGEST
            )
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
            return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"seconds": time.perf_counter() - start}


def figures_table() -> str:
    """Markdown: our figures beside the loop."""
    ours, loop = child("figures"), child("loop")
    if ours is None or loop is None:
        return "The figures could not be measured."
    factor = loop["loop"] / ours["macro-F1"]
    lines = ["| with 10,000 draws | s |", "| --- | --- |"]
    for name in ("macro-F1", "all figures", "by class", "by size of class"):
        lines.append(f"| {name} | {ours[name]:.2f} |")
    lines.append(f"| loop over scikit-learn's f1_score ({LOOPED} draws measured) | ")
    lines[-1] += f"{loop['loop']:.0f} |"
    met = "met" if factor >= GOAL_FACTOR else "missed"
    return "\n".join(lines) + (
        f"\n\nMacro-F1 alone {factor:.0f} times as fast as the loop (goal {GOAL_FACTOR}): {met}; "
        f"all figures together {loop['loop'] / ours['all figures']:.0f} times. "
        f"Peak {ours['peak'] / 1e9:.2f} GB."
    )


def workspace(folder: Path) -> Path:
    """A fitted workspace of drawn vectors."""
    drawn = many_classes(CLASSES, (PHOTOS + OTHERS) // CLASSES)
    photos, table = folder / "photos", folder / "metadata.csv"
    names, family = np.unique(drawn.y, return_inverse=True)
    with table.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["kingdom", *RANKS, "file_path"])
        for i, number in enumerate(family):
            path = Path(names[number]) / f"{i:05}.png"
            (photos / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (i % 256, i // 256, 0)).save(photos / path, compress_level=1)
            lineage = [f"{rank}-{number // width:04}" for rank, width in RANKS.items()]
            writer.writerow(["Animalia", *lineage, path])
    np.save(folder / "drawn.npy", drawn.X)
    source = [folder / "drawn.npy", "--table", table, "--photos", photos, "--name", "drawn"]
    share = PHOTOS / len(drawn.y)
    for words in (
        ["store", "import", *map(str, source)],
        ["split", "--test", f"{share:.4f}"],
        ["fit", "--head", "logreg"],
    ):
        command = [sys.executable, "-m", "cli", *words, "-w", str(folder / "workspace")]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder / "workspace"


def commands_table(folder: Path) -> str:
    """Markdown: whole commands."""
    place, page = workspace(folder), folder / "report.html"
    jobs = {
        "evaluate": (["evaluate", "--draws", str(DRAWS)], 20),
        "report": (["report", "-o", str(page)], 60),
        "inspect": (["inspect"], 60),
    }
    lines = ["| command | s | goal | peak, GB | goal | |", "| --- " * 6 + "|"]
    for name, (words, goal) in jobs.items():
        if name == "inspect":  # without a split it judges every label
            shutil.rmtree(place / "splits")
        found = child("command", *words, "-w", place)
        if found is None:
            lines.append(f"| `cli {name}` | did not run | ≤ {goal} | | | |")
            continue
        peak = found["peak"] / 1e9
        limit = GOAL_GB if name == "evaluate" else None
        met = found["seconds"] <= goal and (limit is None or peak <= limit)
        cells = [f"`cli {name}`", f"{found['seconds']:.1f}", f"≤ {goal}", f"{peak:.2f}"]
        cells += [f"≤ {limit}" if limit else "", "met" if met else "missed"]
        lines.append(f"| {' | '.join(cells)} |")
    if page.exists():
        lines += ["", f"The page: {page.stat().st_size / 1e6:.1f} MB (goal < {GOAL_MB})."]
    return "\n".join(lines)


def measure() -> str:
    with tempfile.TemporaryDirectory() as name:
        return NOTE + "\n\n".join([figures_table(), commands_table(Path(name))])


if __name__ == "__main__":
    parts = {"figures": figures_child, "loop": loop_child, "command": command_child}
    print(json.dumps(parts[sys.argv[1]](*sys.argv[2:])))
