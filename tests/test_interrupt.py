"""Real processes stopped in the middle, killed, or run side by side: nothing is lost or wrong."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

import cli
from embed.collection import load_collection
from embed.encoder import PixelEncoder
from embed.store import EmbeddingStore
from embed.workspace import Workspace

ROOT = Path(cli.__file__).resolve().parent
N_PHOTOS = 200
QUIET = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
PATIENCE = 120.0  # seconds; only a hang takes that long
FINISHED_LINE = "the same command goes on from there"
INTERRUPTED, KILLED = cli.INTERRUPTED, -signal.SIGKILL

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos enough to be met in the middle: one a batch, each is a part of its own on disk."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for i in range(N_PHOTOS):
        path = folder / "ab"[i % 2] / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.fixture(scope="session")
def undisturbed(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The vector of every photo, by its path, from a run that nobody disturbed."""
    workspace = tmp_path_factory.mktemp("undisturbed")
    assert cli.run(["embed", str(many), "--encoder", "pixels", "-w", str(workspace)]) == 0
    return vectors(workspace)


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start a command as a process of its own; none outlives the test."""
    # else a test in the background of a shell hands down that Ctrl-C is ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = []

    def call(*arguments: object) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=QUIET,
        )
        started.append(process)
        return process

    yield call
    signal.signal(signal.SIGINT, before)
    for process in started:
        process.kill()
        process.communicate()


def embed_slowly(many: Path, workspace: Path) -> list[object]:
    return ["embed", many, "--encoder", "pixels", "--batch-size", 1, "-w", workspace]


def vectors(workspace: Path) -> dict[str, Any]:
    """What the workspace's collection and store hold: a vector for each photo's path."""
    rows = load_collection(Workspace(workspace).collection).rows
    X = EmbeddingStore.open(Workspace(workspace).store("pixels")).load(rows["key"].tolist())
    return dict(zip(rows["file_path"], X, strict=True))


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    np.testing.assert_array_equal(np.stack([*found.values()]), np.stack([*expected.values()]))


def parts(workspace: Path) -> set[Path]:
    return set(Workspace(workspace).store("pixels").glob("part-*.h5"))


def wait_for_part(process: "subprocess.Popen[str]", workspace: Path) -> None:
    """Return as soon as the running `embed` has saved something."""
    before, end = parts(workspace), time.monotonic() + PATIENCE
    while parts(workspace) == before:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)


def scratch_files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.name.startswith(".") or p.name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("signal_number", "code"),
    [(signal.SIGINT, INTERRUPTED), (signal.SIGKILL, KILLED)],
    ids=["Ctrl-C", "kill -9"],
)
def test_embed_goes_on_where_it_was_stopped(
    signal_number: signal.Signals,
    code: int,
    many: Path,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    start: Callable[..., "subprocess.Popen[str]"],
    run: Callable[..., Any],
) -> None:
    command = embed_slowly(many, tmp_path)
    process = start(*command)
    wait_for_part(process, tmp_path)
    process.send_signal(signal_number)
    _, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == code
    assert "Traceback" not in err
    assert not Workspace(tmp_path).collection.exists()
    if signal_number == signal.SIGINT:
        assert FINISHED_LINE in err
        assert not scratch_files(tmp_path)

    saved = len(EmbeddingStore.open(Workspace(tmp_path).store("pixels")))
    assert 0 < saved < N_PHOTOS
    again = run(*command)
    assert again.code == 0
    assert re.search(
        rf"^pixels: {N_PHOTOS - saved:,} encoded .*, {saved:,} cached$", again.out, re.M
    )
    assert_same(vectors(tmp_path), undisturbed)


def test_an_interrupted_embed_leaves_the_collection_of_before(
    many: Path,
    photos: Path,
    tmp_path: Path,
    start: Callable[..., "subprocess.Popen[str]"],
    run: Callable[..., Any],
) -> None:
    assert run("embed", photos, "--encoder", "pixels", "-w", tmp_path).code == 0
    before = Workspace(tmp_path).collection.read_bytes()
    process = start(*embed_slowly(many, tmp_path))
    wait_for_part(process, tmp_path)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == INTERRUPTED
    assert Workspace(tmp_path).collection.read_bytes() == before
    assert run("search", "felidae/00.png", "-w", tmp_path).code == 0


def test_two_embeds_at_once(
    many: Path,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    start: Callable[..., "subprocess.Popen[str]"],
) -> None:
    processes = [start(*embed_slowly(many, tmp_path)) for _ in range(2)]
    ends = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert_same(vectors(tmp_path), undisturbed)
    assert not scratch_files(tmp_path)


KEYS = [f"{i:064x}" for i in range(12)]


@pytest.fixture(scope="session")
def unmerged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A store of a dozen parts, and its vectors in the order of `KEYS`."""
    encoder, folder = PixelEncoder(), tmp_path_factory.mktemp("unmerged") / "store"
    store = EmbeddingStore.open(folder, encoder.spec)
    pixels = np.random.default_rng(0).integers(0, 256, (len(KEYS), 1, 32, 32, 3), dtype=np.uint8)
    X = encoder.encode(pixels)
    for i, key in enumerate(KEYS):
        store.append([key], X[i : i + 1])
    return folder, X


@pytest.mark.parametrize("words", ["", "can't retrieve stat info for file"], ids=["before", "in"])
def test_another_embed_ends_at_any_moment(
    words: str, unmerged: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every `embed` ends with merging parts; who is at them just then finds all vectors.

    A part may go before it is opened, or in the opening: HDF5 has other words for that.
    """
    folder, X = unmerged
    file, left = h5py.File, 0

    def opened(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        reads = arguments[1] == "r"
        left -= reads
        if left == 0:
            left = -1
            EmbeddingStore.open(copy).compact()
            if words and reads and not Path(arguments[0]).exists():
                raise OSError(words)
        return file(*arguments, **options)

    monkeypatch.setattr(h5py, "File", opened)
    for moment in range(1, 5 * len(KEYS)):
        copy, left = tmp_path / f"{moment}", moment
        shutil.copytree(folder, copy)
        store = EmbeddingStore.open(copy)
        assert store.missing(KEYS) == []
        np.testing.assert_array_equal(store.load(KEYS), X)
        store.compact()
        np.testing.assert_array_equal(store.load(KEYS), X)


MERGERS = """
import os, sys, time, traceback
import h5py  # now, so that no child has to
from pathlib import Path
from embed.store import EmbeddingStore

def merge(folder, moment):
    try:
        while time.time() < moment:
            pass
        store = EmbeddingStore.open(Path(folder))
        store.compact()
        store.load([f"{i:064x}" for i in range(12)])
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

failed = 0
for folder in sys.argv[1:]:
    moment = time.time() + 0.05
    children = [os.fork() or merge(folder, moment) for _ in range(3)]
    failed += sum(os.waitpid(child, 0)[1] != 0 for child in children)
sys.exit(failed)
"""


def test_three_embeds_end_at_once(unmerged: tuple[Path, Any], tmp_path: Path) -> None:
    """The same in real processes that merge at the same moment, a dozen times over."""
    folder, X = unmerged
    copies = [shutil.copytree(folder, tmp_path / f"{i}") for i in range(12)]
    command = [sys.executable, "-c", MERGERS, *map(str, copies)]
    done = subprocess.run(command, cwd=ROOT, env=QUIET, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for copy in copies:
        np.testing.assert_array_equal(EmbeddingStore.open(copy).load(KEYS), X)


def test_fit_goes_on_with_the_head_after_the_last_finished_one(
    photos: Path,
    tmp_path: Path,
    start: Callable[..., "subprocess.Popen[str]"],
    run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run("embed", photos, "--encoder", "pixels", "-w", tmp_path).code == 0
    process = start("fit", "--head", "all", "-w", tmp_path)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    finished = [line.split(":")[0] for line in [first, *out.splitlines()] if ": macro-F1" in line]

    assert process.returncode == INTERRUPTED, err
    assert FINISHED_LINE in err
    assert "Traceback" not in err
    assert not scratch_files(tmp_path)
    saved = {folder.name for folder in Workspace(tmp_path).runs.iterdir()}
    assert set(finished) <= saved

    again = run("fit", "--head", "all", "-w", tmp_path)
    assert again.code == 0
    reused = re.findall(r"^(\S+): .*, as before$", again.out, re.M)
    assert set(reused) == saved
    assert again.out.count(": macro-F1") == 7
    assert {folder.name for folder in Workspace(tmp_path).runs.iterdir()} > saved
