"""Building big indexes: killed and gone on with, damaged, foreign, in bounded memory."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from big_indexes_by_hand import clustered, made, plan_of, recall, source

from embed.errors import UserError
from retrieval.big_index import BigIndex
from retrieval.index import Index
from retrieval.index_building import add, build, remove
from retrieval.index_files import read_about

HOUSE = Path(__file__).parent.parent


# --- killed


def program(folder: Path, layout: str) -> str:
    return f"""
import sys
from pathlib import Path
import numpy as np
from retrieval.index_building import build
from retrieval.plan import Plan
from retrieval.row_source import ArraySource

def say(what, done, total):
    print(what, done, flush=True)
    sys.stdin.readline()

X = np.load({str(folder / "X.npy")!r})
ids = [f"photo-{{i:05}}" for i in range(len(X))]
plan = Plan.from_json({plan_of(layout, 1500, 16).to_json()!r})
build(ArraySource(X, ids), Path({str(folder / "big")!r}), plan, progress=say, chunk_rows=300)
"""


@pytest.mark.parametrize("layout", ["ivf sq8", "ivf pq8x4", "hnsw fp32"])
def test_a_killed_build_goes_on_where_it_was(tmp_path: Path, layout: str) -> None:
    """SIGKILL after 3 steps, after 3 more, …: no step is done twice, and the answers are right."""
    X = clustered(1500, 16, 8)
    np.save(tmp_path / "X.npy", X)
    seen: list[str] = []
    for _ in range(20):
        worker = subprocess.Popen(
            [sys.executable, "-c", program(tmp_path, layout)],
            cwd=HOUSE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert worker.stdin is not None
        assert worker.stdout is not None
        for _ in range(4):
            if not (line := worker.stdout.readline().strip()):
                break
            seen.append(line)
            if len(seen) % 4:
                worker.stdin.write("\n")
                worker.stdin.flush()
        if worker.poll() is None and line:
            worker.send_signal(signal.SIGKILL)
        worker.communicate()
        if worker.returncode == 0:
            break
    assert worker.returncode == 0
    rows = [line for line in seen if line.startswith("rows")]
    assert rows == [f"rows {n}" for n in range(300, 1501, 300)]
    codes = [line for line in seen if line.startswith("codes")]
    assert codes == ([f"codes {n}" for n in range(300, 1501, 300)] if "ivf" in layout else [])
    index = BigIndex.load(tmp_path / "big")
    index.verify()
    whole = made(tmp_path / "whole", X, layout)
    assert (index.search(X[:50], 5)[0] == whole.search(X[:50], 5)[0]).mean() > 0.98
    assert not (tmp_path / "big.building").exists()


def test_a_build_of_other_rows_or_another_plan_does_not_go_on(tmp_path: Path) -> None:
    X = clustered(900, 16, 9)

    class StopError(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if done == 600:
            raise StopError

    def killed() -> None:
        with pytest.raises(StopError):
            build(source(X), tmp_path / "big", plan_of("flat", 900, 16), "", progress=stop,
                  chunk_rows=300)  # fmt: skip

    killed()
    with pytest.raises(UserError, match="no index that can be used"):
        BigIndex.load(tmp_path / "big")
    with pytest.raises(UserError, match="not finished"):
        BigIndex.load(tmp_path / "big.building")
    Y = clustered(700, 16, 10)
    assert len(made(tmp_path, Y, "flat")) == 700
    killed()
    steps: list[int] = []
    build(source(X), tmp_path / "big", plan_of("flat", 900, 16), chunk_rows=300,
          progress=lambda what, done, total: steps.append(done))  # fmt: skip
    assert steps == [900]
    assert BigIndex.load(tmp_path / "big").search(X[:9], 1)[0].ravel().tolist() == list(range(9))


def test_a_killed_add_leaves_whole_chunks(tmp_path: Path) -> None:
    X = clustered(1000, 16, 11)
    index = made(tmp_path, X[:400])
    with (index.folder / "vectors.bin").open("ab") as handle:
        handle.write(b"half a chunk")  # as a killed process leaves it
    assert len(BigIndex.load(index.folder)) == 400
    add(index.folder, source(X[400:], "new-"), chunk_rows=100)
    grown = BigIndex.load(index.folder)
    grown.verify()
    assert recall(grown.search(X, 1)[0], np.arange(1000)[:, None]) > 0.99


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    index = made(tmp_path, clustered(300, 8, 12), "flat")

    def meanwhile(what: str, done: int, total: int) -> None:
        with pytest.raises(UserError, match="Another `cli index`"):
            remove(index.folder, np.array([1]))

    add(index.folder, source(clustered(5, 8, 13), "new-"), meanwhile)


# --- damaged and foreign


@pytest.mark.parametrize("name", ["trained.faiss", "sizes-", "list-of-row-", "index.json"])
def test_a_changed_byte_is_refused_when_it_is_opened(tmp_path: Path, name: str) -> None:
    index = made(tmp_path, clustered(600, 16, 14))
    path = next(index.folder.glob(f"{name}*"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="cli index --rebuild"):
        BigIndex.load(index.folder)


@pytest.mark.parametrize(
    "name", ["vectors.bin", "keys.bin", "ids.txt", "ids.ends", "lists-", "blocks-"]
)
def test_verify_finds_every_changed_byte(tmp_path: Path, name: str) -> None:
    index = made(tmp_path, clustered(600, 16, 15), "ivf pq8x4")
    index.verify()
    path = next(index.folder.glob(f"{name}*"))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="changed after it was written"):
        index.verify()
    path.write_bytes(bytes(data[:-8]))
    with pytest.raises(UserError, match=r"bytes, not"):
        BigIndex.load(index.folder)


def test_rows_of_another_index_are_never_answers(tmp_path: Path) -> None:
    """Its lists, its vectors or its index.json in place of ours."""
    one = made(tmp_path / "one", clustered(600, 16, 16))
    two = made(tmp_path / "two", clustered(600, 16, 17))
    for name in ("sizes-600.npy", "trained.faiss", "index.json"):
        mine = (one.folder / name).read_bytes()
        (one.folder / name).write_bytes((two.folder / name).read_bytes())
        try:
            index = BigIndex.load(one.folder)
        except UserError:
            pass
        else:
            with pytest.raises(UserError):
                index.verify()
        (one.folder / name).write_bytes(mine)
    BigIndex.load(one.folder).verify()


def test_rows_that_are_no_unit_vectors_are_noticed_while_searching(tmp_path: Path) -> None:
    X = clustered(600, 16, 18)
    index = made(tmp_path, X)
    with (index.folder / "vectors.bin").open("r+b") as handle:
        handle.seek(16 * 4 * 5)
        handle.write(np.full(16, 7, np.float32).tobytes())
    with pytest.raises(UserError, match=r"vectors\.bin"):
        BigIndex.load(index.folder).search(X[5:6], 3)


@pytest.mark.parametrize(("layout", "name"), [("ivf sq8", "lists-"), ("ivf pq8x4", "blocks-")])
def test_lists_full_of_noise_are_noticed_while_searching(
    tmp_path: Path, layout: str, name: str
) -> None:
    X = clustered(600, 16, 18)
    index = made(tmp_path, X, layout)
    path = next(index.folder.glob(f"{name}*"))
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))
    with pytest.raises(UserError, match="lists were changed"):
        BigIndex.load(index.folder).search(X, 3)


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no index\.json"):
        BigIndex.load(tmp_path)
    Index.build(clustered(20, 8, 19), [str(i) for i in range(20)]).save(tmp_path)
    with pytest.raises(UserError, match="format"):
        BigIndex.load(tmp_path)
    about = made(tmp_path / "new", clustered(50, 8, 20), "flat").folder / "index.json"
    changed = json.loads(about.read_text()) | {"n": 49}
    about.write_text(json.dumps(changed))
    with pytest.raises(UserError, match=r"index\.json was changed"):
        read_about(about.parent)


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not an index"):
        made(tmp_path, clustered(50, 8, 21), "flat")
    assert (tmp_path / "big" / "thesis.txt").read_text() == "mine"


def test_rows_that_are_no_unit_vectors_are_not_indexed(tmp_path: Path) -> None:
    X = clustered(50, 8, 21)
    X[7] = np.nan
    with pytest.raises(ValueError, match="unit rows"):
        made(tmp_path, X, "flat")


# --- memory


MEMORY = """
import sys, threading, time
from pathlib import Path
import numpy as np
from retrieval.index_building import build
from retrieval.plan import Plan
from retrieval.row_source import ArraySource
n, folder = int(sys.argv[1]), Path(sys.argv[2])
rows = np.lib.format.open_memmap(folder / "X.npy")[:n]
most = [0]
def own():  # memory that is the process's, without mapped files, which are given back when short
    return sum(int(line.split()[1]) for line in open("/proc/self/status")
               if line.startswith("RssAnon"))
def watch(what, done, total):
    most[0] = max(most[0], own())
build(ArraySource(rows[:2000]), folder / "warm", Plan("ivf", "pq8", 32, nprobe=4), chunk_rows=1000)
start = own()
plan = Plan("ivf", "pq8", 32, nprobe=4)
build(ArraySource(rows), folder / f"big-{n}", plan, chunk_rows=1000, progress=watch)
print(max(most[0], own()) - start)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Four times the rows (32 MB of vectors instead of 8) take about the same memory."""
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, (40_000, 200))
    for start in range(0, len(X), 5000):
        X[start : start + 5000] = clustered(5000, 200, start)
    X.flush()
    grown = []
    for n in (10_000, 40_000):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(n), str(tmp_path)],
            cwd=HOUSE, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        grown.append(int(done.stdout) / 1024)
    assert grown[1] - grown[0] < 16, grown  # 24 MB of vectors more
