"""How long until the command line answers? (median of 5; goal for --help: under 0.5 s)"""

import statistics
import subprocess
import sys
import time


def seconds(*arguments: str) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "cli", *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure() -> str:
    rows = [f"| `cli {name}` | {seconds(*name.split()):.2f} s |" for name in ("--help", "encoders")]
    return "\n".join(["| command | time |", "| --- | --- |", *rows])
