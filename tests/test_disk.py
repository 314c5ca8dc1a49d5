"""A disk that is full, locked or read-only: a clear line, and nothing half-written or lost."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Result, photo

import cli

ROOT = Path(cli.__file__).resolve().parent
NOBODY = 65534
EMBED = ["--encoder", "pixels"]

READING = (["search", "felidae/00.png"], ["fit", "--head", "knn"], ["leaderboard"], ["info"])

Run = Callable[..., Result]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def scratch(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


# ---- what may not be read or written


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may read and write everything, so it becomes nobody for a while."""
    if os.geteuid():
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def place(photos: Path, run: Run) -> Iterator[Path]:
    """A folder that nobody may look into, with `photos` and a workspace `done` that knows them.

    The commands ran there once: as nobody Python may not find what it has not yet loaded.
    """
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        shutil.copytree(photos, place / "photos")
        for folder in (place, place / "photos"):
            folder.chmod(0o777)
        with ordinary_user():
            if not os.access(place / "photos", os.R_OK):
                pytest.skip("an ordinary user may not look into the temporary folder")
        for command in (
            ["embed", place / "photos", *EMBED],
            ["fit", "--head", "knn"],
            ["predict", place / "photos"],
            ["search", "felidae/00.png"],
        ):
            assert run(*command, "-w", place / "done").code == 0
        yield place
        for path in [place, *place.rglob("*")]:
            path.chmod(0o777)


def test_photos_and_folders_that_may_not_be_read(place: Path, run: Run) -> None:
    photos, workspace = place / "photos", place / "new"
    photo((1, 2, 3), 99).save(photos / "felidae" / "locked.png")
    (photos / "felidae" / "locked.png").chmod(0)
    (photos / "rosaceae").chmod(0)
    with ordinary_user():
        result = run("embed", photos, *EMBED, "-w", workspace)
    assert result.code == 0
    assert "48 photos in the collection, 4 classes" in result.out
    assert "2 left out in all" in result.err
    listed = (workspace / "embed-skipped.csv").read_text()
    assert re.search(r"^felidae/locked.png,.*,no permission to read it$", listed, re.M)
    assert re.search(
        r"^rosaceae,.*,this folder cannot be read \(Permission denied\)$", listed, re.M
    )
    photos.chmod(0)
    with ordinary_user():
        result = run("embed", photos, *EMBED, "-w", workspace)
    assert result.code == 1
    assert f"{photos} cannot be read" in result.err
    assert "permission" in result.err.lower()


@pytest.mark.parametrize(
    "command",
    ["embed {photos}", "embed {photos} --rebuild", "split", "fit --head knn --seed 1", "evaluate"],
)
def test_a_read_only_workspace_is_left_as_it_is(command: str, place: Path, run: Run) -> None:
    done = place / "done"
    before = contents(done)
    for path in [done, *done.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    arguments = command.format(photos=place / "photos").split()
    with ordinary_user():
        refused = run(*arguments, *(EMBED if "embed" in command else []), "-w", done)
        worked = [run(*reading, "-w", done).code for reading in READING]
    assert refused.code == 1
    assert "Permission denied" in refused.err
    assert "--workspace" in refused.err
    assert worked == [0] * len(READING)
    assert contents(done) == before


def test_a_file_in_the_place_of_the_workspace(photos: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "ws").write_text("mine")
    result = run("embed", photos, *EMBED, "-w", tmp_path / "ws")
    assert result.code == 1
    assert "--workspace" in result.err
    assert (tmp_path / "ws").read_text() == "mine"


# ---- a full disk


@pytest.mark.parametrize(
    "command",
    [["embed", "--batch-size", "20"], ["split"], ["fit", "--head", "knn"], ["evaluate"]],
    ids=lambda command: command[0],
)
def test_the_disk_is_full_at_any_write(
    command: list[str], photos: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first, second, … write fails, until none does; then the same command goes through."""
    arguments = [command[0], *([photos, *EMBED] if command[0] == "embed" else []), *command[1:]]
    before = {"embed": [], "split": ["embed"], "fit": ["embed"], "evaluate": ["embed", "fit"]}
    for step in before[command[0]]:
        extra = [photos, *EMBED] if step == "embed" else ["--head", "knn"]
        assert run(step, *extra, "-w", tmp_path).code == 0
    real, left = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    for allowed in range(100):
        kept, left = contents(tmp_path), allowed
        result = run(*arguments, "-w", tmp_path)
        assert not scratch(tmp_path)
        if result.code == 0:
            assert allowed > 1
            return
        assert result.code == 1
        assert "No space left on the disk" in result.err
        assert "free some space" in result.err
        for path, data in kept.items():
            # the card is written again when all else is there
            assert Path(path).read_bytes() == data or path.endswith(("-skipped.csv", "-card.md"))
    pytest.fail("it never went through")


ON_A_SMALL_DISK = """
import json, subprocess, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
import cli

photos, disk = sys.argv[1], Path(sys.argv[2])

def mount(*options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", *options, "tmpfs", str(disk)], check=True)

def run(*arguments):
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as said:
        code = cli.run([*arguments, "-w", str(disk / "ws")])
    names = [path.name for path in disk.rglob("*")]
    return {"code": code, "said": said.getvalue(), "names": names}

embed = ["embed", photos, "--encoder", "pixels", "--batch-size", "20"]
fit = ["fit", "--head", "knn", "--encoder", "pixels"]
tries = []
for pages in range(1, 80, 3):
    mount(f"size={4 * pages}k")
    small = [run(*embed), run(*fit)]
    mount("remount,size=8m")
    tries.append({"pages": pages, "small": small, "large": [run(*embed), run(*fit)]})
    subprocess.run(["umount", str(disk)], check=True)
    if small[1]["code"] == 0:
        break
print(json.dumps(tries))
"""


def in_a_namespace(*command: object) -> "subprocess.CompletedProcess[str]":
    """Run a program that may mount file systems that nobody else sees."""
    return subprocess.run(
        ["unshare", "--mount", "--map-root-user", *map(str, command)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def can_mount(folder: Path) -> bool:
    if not shutil.which("unshare"):
        return False
    return in_a_namespace("mount", "-t", "tmpfs", "tmpfs", folder).returncode == 0


def test_disks_of_every_small_size(photos: Path, tmp_path: Path) -> None:
    """Real full disks, three pages larger each time; with more space the same commands go on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("no small file system can be mounted here")
    done = in_a_namespace(sys.executable, "-c", ON_A_SMALL_DISK, photos, disk)
    assert done.returncode == 0, done.stderr
    tries: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(tries) > 5
    assert tries[-1]["small"][1]["code"] == 0
    for attempt in tries:
        embed, fit = attempt["small"]
        for result in (embed, fit):
            assert not [name for name in result["names"] if name.startswith(".")], attempt
            assert result["code"] == 0 or "\nError: " in f"\n{result['said']}", attempt
        if embed["code"]:
            assert "free some space" in embed["said"], attempt
            assert "collection.parquet" not in embed["names"], attempt
        elif fit["code"]:
            assert "free some space" in fit["said"], attempt
        assert [result["code"] for result in attempt["large"]] == [0, 0], attempt
