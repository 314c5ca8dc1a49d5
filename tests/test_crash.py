"""SIGKILL at any moment, several writers, a read-only store: afterwards all vectors are right.

Real processes. The moment is the k-th call of a function that changes the disk or starts a batch,
so that it can be met again; `benchmarks/crash.py` does it a hundred times.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cli
from embed.collection import load_collection
from embed.store import EmbeddingStore
from embed.verify import verify
from embed.workspace import Workspace

ROOT = Path(cli.__file__).resolve().parent
BATCH = 16

# Runs the command line and kills itself, as nothing can prevent, at the k-th call of one function.
SUICIDE = """
import os, signal, sys
from pathlib import Path
name, k, arguments = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
sys.path.insert(0, {root!r})
import cli
from embed.encoder import NetworkEncoder, PixelEncoder
from embed.store import EmbeddingStore
encoder = PixelEncoder if "pixels" in arguments else NetworkEncoder
owner, attribute = {{
    "sync": (os, "fsync"), "rename": (Path, "replace"), "remove": (Path, "unlink"),
    "batch": (encoder, "start"), "save": (EmbeddingStore, "append"),
    "merge": (EmbeddingStore, "_merge"),
}}[name]
begin, computed = encoder.start, 0
def counted_start(self, pixels):
    global computed
    computed += len(pixels)
    return begin(self, pixels)
encoder.start = counted_start
real, calls = getattr(owner, attribute), 0
def counted(*positional, **named):
    global calls
    calls += 1
    if calls == k:
        os.write(2, f"{{calls}} {{computed}}".encode())
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*positional, **named)
setattr(owner, attribute, counted)
code = cli.run(arguments)
os.write(2, f"\\n{{calls}} {{computed}}".encode())
sys.exit(code)
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 240 small photos in four class folders."""
    return photos_in(tmp_path_factory.mktemp("many"), 240)


def photos_in(folder: Path, n: int) -> Path:
    """`folder`, with `n` small photos of noise in four class folders."""
    rng = np.random.default_rng(0)
    for i in range(n):
        place = folder / "abcd"[i % 4]
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{i:03}.png")
    return folder


def arguments(
    photos: Path, workspace: Path, encoder: str = "pixels", batch: int = BATCH
) -> list[str]:
    options = ["-w", workspace, "--encoder", encoder, "--batch-size", batch, "--json"]
    return [str(word) for word in ("embed", photos, *options)]


@dataclass
class Ended:
    """How a process ended: by itself, or killed (-9)."""

    code: int
    out: str
    calls: int  # of the function at which it is killed, up to then
    computed: int  # photos handed to the network up to then


def embed(
    photos: Path,
    workspace: Path,
    moment: tuple[str, int] = ("sync", 0),
    encoder: str = "pixels",
    batch: int = BATCH,
) -> Ended:
    """`cli embed` in a process of its own, killed at the `moment` if it gets there."""
    script = SUICIDE.format(root=str(ROOT))
    words = [*map(str, moment), *arguments(photos, workspace, encoder, batch)]
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    calls, computed = re.findall(r"(\d+) (\d+)$", done.stderr)[0]
    return Ended(done.returncode, done.stdout, int(calls), int(computed))


def vectors(workspace: Path, encoder: str = "pixels") -> dict[str, bytes]:
    """The bytes of every photo's vector, by its path."""
    place = Workspace(workspace)
    rows = load_collection(place.collection).rows
    X = EmbeddingStore.open(place.store(encoder)).load(rows["key"].tolist())
    return dict(zip(rows["path"], (x.tobytes() for x in X), strict=True))


@pytest.fixture(scope="module")
def undisturbed(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    workspace = tmp_path_factory.mktemp("undisturbed")
    assert embed(many, workspace).code == 0
    return vectors(workspace)


@pytest.mark.parametrize(
    "moment",
    [("batch", 7), ("save", 4), ("sync", 9), ("rename", 20), ("merge", 1), ("remove", 19)],
    ids=lambda moment: moment[0],
)
def test_killed_and_run_again(
    moment: tuple[str, int], many: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    killed = embed(many, tmp_path, moment)
    assert killed.code == -9
    folder = Workspace(tmp_path).store("pixels")
    assert verify(folder).clean
    saved = len(EmbeddingStore.open(folder))
    assert killed.computed - saved <= BATCH
    again = embed(many, tmp_path)
    assert again.code == 0
    assert json.loads(again.out)["encoded"]["pixels"] == 240 - saved  # none that was saved
    assert vectors(tmp_path) == undisturbed
    assert verify(folder).clean


@pytest.mark.parametrize("writers", [2, 4])
def test_writers_side_by_side(
    writers: int, many: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "cli", *arguments(many, tmp_path)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for _ in range(writers)
    ]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert vectors(tmp_path) == undisturbed
    assert verify(Workspace(tmp_path).store("pixels")).clean


def test_a_kill_beside_another_writer(
    many: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    other = subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments(many, tmp_path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    embed(many, tmp_path, ("sync", 5))
    _, said = other.communicate(timeout=120)
    assert other.returncode == 0, said
    assert vectors(tmp_path) == undisturbed
    assert verify(Workspace(tmp_path).store("pixels")).clean
