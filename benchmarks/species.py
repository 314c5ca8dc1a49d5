"""How good are the heads and their stack on real photos, and how long does the main job take?

39 labels, 2,686 photos (`FAMILIA_SHARED`), EfficientNet-Lite0, 20% test; test macro-F1 over the
split seeds 0 to 4, and the wall time of the chain embed, split, fit all, evaluate on seed 0.
"""

import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cli

GOALS = {"logreg": 0.91, "knn": 0.90, "lgbm": 0.88, "stack": 0.92}
SEEDS = range(5)


def command(*arguments: object) -> Any:
    """The JSON that a command prints."""
    buffer = io.StringIO()
    with contextlib.redirect_stdout(buffer):
        code = cli.run([str(argument) for argument in arguments])
    assert code == 0, arguments
    text = buffer.getvalue()
    return json.loads(text) if "--json" in arguments else text


def timed(*arguments: object) -> float:
    """Seconds of a command as a user starts it."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "cli", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def measure() -> str:
    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return "Not run: FAMILIA_SHARED is not set."
    photos = Path(shared) / "data" / "species"
    with tempfile.TemporaryDirectory() as folder:
        place = ("-w", folder)
        embed_seconds = timed("embed", photos, *place)
        again_seconds = timed("embed", photos, *place)
        chain = [timed("split", *place), timed("fit", "--head", "all", *place)]
        chain.append(timed("evaluate", *place))
        scores: dict[str, list[float]] = {name: [] for name in GOALS}
        for seed in SEEDS:
            name = f"seed-{seed}"
            command("split", "--seed", seed, "--name", name, *place)
            runs = command("fit", "--head", "all", "--split", name, "--json", *place)["runs"]
            for run in runs:
                head = run["run"].split("-")[0]
                if head in GOALS:
                    found = command("evaluate", run["run"], "--json", *place)
                    scores[head].append(found["macro_f1"][0])
    lines = ["| head | seeds 0 to 4 | mean | goal | |", "| --- | --- | --- | --- | --- |"]
    means = {name: statistics.mean(values) for name, values in scores.items()}
    for name, goal in GOALS.items():
        each = " ".join(f"{value:.3f}" for value in scores[name])
        met = "met" if means[name] >= goal else "missed"
        lines.append(f"| {name} | {each} | {means[name]:.4f} | ≥ {goal:.2f} | {met} |")
    best = max((name for name in means if name != "stack"), key=means.__getitem__)
    above = means["stack"] - means[best]
    lines += [
        "",
        f"The stack against the best head ({best}): {100 * above:+.2f} points.",
        "",
        f"Chain: embed {embed_seconds:.0f} s, split {chain[0]:.1f} s, fit all {chain[1]:.0f} s, "
        f"evaluate {chain[2]:.1f} s: {embed_seconds + sum(chain):.0f} s in all (goal < 360), "
        f"{sum(chain):.0f} s without embedding (goal < 120). "
        f"Embedding again, all known: {again_seconds:.1f} s.",
    ]
    return "\n".join(lines)
