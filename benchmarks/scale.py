"""Does it stay fast and small with many photos?

- A second run over 100,000 known files: the whole command, from the shell. Goal: 20,000 photos/s.
- Peak memory of `cli embed` over 1,000 and over 50,000 photos (tiny files, EfficientNet-Lite0's
  squares, the `pixels` encoder so that it ends today). Goal: within 5%.
- `data/species` with EfficientNet-Lite0, from the shell to the last row, with an empty cache of
  compiled networks and with a full one (goal: 20 s), and the time to the first line of progress
  (goal: 5 s).
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent


def tiny_photos(folder: Path, n: int) -> None:
    """`n` different PNG files in class folders."""
    for i in range(n):
        place = folder / f"class-{i % 50:02}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8, 3), (i % 256, i // 256 % 256, i // 65536), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{i:06}.png", compress_level=1)


def command(photos: Path, workspace: Path, encoder: str, cache: Path) -> tuple[float, float, int]:
    """Seconds in all and to the first line, and peak memory in bytes, of one `cli embed`."""
    arguments = [sys.executable, "-m", "cli", "embed", photos, "-w", workspace]
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(argument) for argument in [*arguments, "--encoder", encoder]],
        cwd=ROOT,
        env=os.environ | {"FAMILIA_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    process.stderr.readline()
    first = time.perf_counter() - start
    process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"cli embed ended with {process.returncode}")
    scale = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, first, usage.ru_maxrss * scale


def measure() -> str:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peaks = []
        for n in (1_000, 50_000, 100_000):
            tiny_photos(folder / str(n), n)
            _, _, peak = command(folder / str(n), folder / f"ws-{n}", "pixels", folder)
            peaks.append(peak / 2**20)
        again = [
            command(folder / "100000", folder / "ws-100000", "pixels", folder)[0] for _ in range(3)
        ]
        seconds = sorted(again)[1]
        lines += [
            "| what | found |",
            "| --- | --- |",
            f"| 100,000 known files again | {seconds:.1f} s: {100_000 / seconds:,.0f} photos/s |",
            "| peak memory, 1,000 / 50,000 / 100,000 photos | "
            f"{' / '.join(f'{peak:,.0f}' for peak in peaks)} MiB: "
            f"{peaks[1] / peaks[0] - 1:+.1%}, {peaks[2] / peaks[0] - 1:+.1%} |",
        ]
        shared = os.environ.get("FAMILIA_SHARED")
        if shared:
            species = Path(shared) / "data" / "species"
            for state in ("empty", "full"):
                took = []
                for _ in range(3):
                    if state == "empty":
                        shutil.rmtree(folder / "cache", ignore_errors=True)
                    shutil.rmtree(folder / "ws", ignore_errors=True)
                    took.append(
                        command(species, folder / "ws", "efficientnet-lite0", folder / "cache")
                    )
                seconds, first, peak = sorted(took)[1]
                lines.append(
                    f"| `data/species`, Lite0, cache {state} | {seconds:.1f} s, first line after "
                    f"{first:.1f} s, peak {peak / 2**20:,.0f} MiB |"
                )
    return "\n".join(lines)
