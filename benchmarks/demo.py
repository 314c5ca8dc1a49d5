"""How long does the demo take once packages are installed? (goal: under 3 minutes)"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measure() -> str:
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = os.environ | {"FAMILIA_WORKSPACE": folder, "PATH": path, "SAMPLE": ""}
        start = time.perf_counter()
        subprocess.run(
            ["bash", "demo.sh"], cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL
        )
        seconds = time.perf_counter() - start
    return f"{seconds:.0f} s, the download of the sample included."
