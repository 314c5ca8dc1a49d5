"""Sweeps: a cell is what `fit` gives, stopped ones go on, one bad cell spoils no other."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import COLOURS, photo
from hypothesis import given
from hypothesis import strategies as st

import cli
from classify import sweep_run, sweep_work
from classify.cell import Cell, CellResult
from classify.cell_store import load_sweep, save_result
from classify.fit import MEMBERS, Request, fit
from classify.grid import Grid
from classify.heads import HEADS, NEED_TEXTS
from classify.runs import Predictions, all_runs
from classify.sweep import sweep
from classify.sweep_inputs import load_inputs, usual_cell
from classify.sweep_memory import (
    LEAST_MEMO,
    MOST_MEMO,
    PROCESS,
    cell_bytes,
    plan_memory,
)
from classify.sweep_progress import Progress
from classify.sweep_tasks import PARTS, make_tasks
from embed.errors import UserError
from embed.workspace import Workspace

PIXELS = ("pixels",)
FOLDS = 2
ALL_HEADS = tuple(name for name in HEADS if name not in NEED_TEXTS)
QUICK_HEADS = ("lda", "centroid", "prior")
PATIENCE = 120.0  # seconds; only a hang takes that long


def cell(head: str, **settings: Any) -> Cell:
    return Cell(**{"encoders": PIXELS, "head": head, "folds": FOLDS, **settings})


def cells_of(heads: Any, **axes: list[Any]) -> list[Cell]:
    """Every head with every value of the axes."""
    values = [dict(zip(axes, row, strict=True)) for row in product(*axes.values())]
    return [cell(head, **settings) for head in heads for settings in values]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of four classes that are hard to tell; tests work on copies."""
    root = tmp_path_factory.mktemp("sweep")
    for c, (family, colour) in enumerate(list(COLOURS.items())[:4]):
        (root / "photos" / family).mkdir(parents=True)
        for i in range(12):
            photo(colour, 100 * c + i, noise=900).save(root / "photos" / family / f"{i:02}.png")
    table = pd.DataFrame({
        "filename": [f"{family}/{i:02}.png" for family in list(COLOURS)[:4] for i in range(12)],
        "place": [f"wood {i % 5}" for _ in range(4) for i in range(12)],
        "told": [family for family in list(COLOURS)[:4] for _ in range(12)],
    })  # fmt: skip
    table["family"] = table["told"]
    table.to_csv(root / "photos" / "metadata.csv", index=False)
    place = str(root / "workspace")
    photos = str(root / "photos")
    assert cli.run(["embed", photos, "--encoder", "pixels", "--label", "family", "-w", place]) == 0
    assert cli.run(["split", "-w", place]) == 0
    return Path(place)


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(made, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def grid(tmp_path: Path) -> Callable[..., Grid]:
    """`grid(cells)`: as if a file had asked for them."""

    def make(cells: list[Cell], name: str = "grid") -> Grid:
        path = tmp_path / f"{name}.toml"
        path.write_text("# as asked\n")
        return Grid(path, cells, [])

    return make


def predictions(workspace: Workspace, results: list[CellResult]) -> dict[str, Predictions]:
    folder = workspace.sweeps / "cells"
    return {one.id: Predictions.load(folder / f"{one.id}.parquet") for one in results}


def assert_same(workspace: Workspace, found: list[CellResult], other: list[CellResult]) -> None:
    """Of the same figures, with probabilities equal to the last bit."""
    assert [(one.id, one.cell, one.figures) for one in found] == [
        (one.id, one.cell, one.figures) for one in other
    ]


# What a cell is


def test_every_head_has_the_figures_of_fit(workspace: Workspace, grid: Callable[..., Grid]) -> None:
    wanted = cells_of((*ALL_HEADS, "stack"))
    wanted += cells_of((*MEMBERS, "stack"), balance=["smote"])
    wanted = [
        one for one in wanted if one.head == "stack" or one.balance in HEADS[one.head].balances
    ]
    report = sweep(workspace, grid(wanted))
    for balance in ("none", "smote"):
        fit(workspace, Request(("all",), balance, folds=FOLDS))
    fit(workspace, Request(("lgbm-columns",), folds=FOLDS))
    runs = {(run.config.head, run.config.balance): run for run in all_runs(workspace)}
    assert (report.computed, report.failed) == (len(wanted), 0)
    found = predictions(workspace, report.results)
    for one in report.results:
        run = runs[one.cell.head, one.cell.balance]
        ours, theirs = found[one.id], run.out_of_fold
        assert ours.ids == theirs.ids
        np.testing.assert_array_equal(ours.fold, theirs.fold)
        np.testing.assert_array_equal(ours.P, theirs.P, err_msg=one.cell.describe())
        assert {name: list(figure) for name, figure in one.figures.items()} == run.figures
    assert 0 < min(one.figures["macro_f1"][0] for one in report.results) < 0.9


# Running


def test_a_finished_cell_is_not_computed_again(
    workspace: Workspace, grid: Callable[..., Grid]
) -> None:
    wanted = cells_of(QUICK_HEADS, photos=[4, 0.5, None])
    first = sweep(workspace, grid(wanted))
    before = predictions(workspace, first.results)
    lost = first.results[4]
    (workspace.sweeps / "cells" / f"{lost.id}.json").unlink()
    more = [*wanted, *cells_of(["lda"], options=[(("ridge", 1.0),)])]
    again = sweep(workspace, grid(more, "larger"))
    assert (again.computed, again.reused, again.failed) == (2, len(wanted) - 1, 0)
    assert_same(workspace, again.results[: len(wanted)], first.results)
    for id, one in predictions(workspace, first.results).items():
        np.testing.assert_array_equal(one.P, before[id].P)


def test_what_a_sweep_leaves(workspace: Workspace, grid: Callable[..., Grid]) -> None:
    wanted = cells_of(QUICK_HEADS, seed=[0, 1], photos=[0.5, None])
    report = sweep(workspace, grid(wanted))
    there = load_sweep(workspace, "grid")
    assert (there.results, there.missing, there.label) == (report.results, 0, "family")
    assert (report.folder / "grid.toml").read_text() == "# as asked\n"
    assert report.picture.read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(report.table)
    assert list(table.columns[:5]) == ["encoders", "head", "balance", "photos", "seeds"]
    assert len(table) == 6
    assert set(table["photos"]) == {"50%", "all"}
    best, row = report.configurations[0], table.iloc[0]
    assert (row["head"], row["seeds"]) == (best.cell.head, 2)
    assert row["macro_f1"] == pytest.approx(best.figure("macro_f1")[0])
    for metric in ("macro_f1", "accuracy", "log_loss"):
        assert (table[f"{metric}_low"] <= table[metric]).all()
        assert (table[metric] <= table[f"{metric}_high"]).all()
    as_json = json.loads(json.dumps(report.to_json()))
    assert (as_json["total"], as_json["computed"], as_json["failed"]) == (12, 12, 0)
    assert [CellResult.from_json(one) for one in as_json["cells"]] == report.results
    assert as_json["configurations"][0]["macro_f1"] == pytest.approx(row["macro_f1"])
    half, full = (report.results[i].train_photos for i in (0, 1))
    assert half < full
    assert all(min(one.seconds, one.spent, one.model_bytes) > 0 for one in report.results)


def test_a_cell_that_fails_stops_no_other(
    workspace: Workspace, grid: Callable[..., Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = cells_of(["lda", "centroid", "stack"])
    fitted = sweep_work.out_of_fold

    def failing(model: Any, *data: Any) -> Predictions:
        if model.head.name == "centroid":
            raise ZeroDivisionError("no\n  centre")
        return fitted(model, *data)

    monkeypatch.setattr(sweep_work, "out_of_fold", failing)
    report = sweep(workspace, grid(wanted))
    errors = {one.cell.head: one.error for one in report.results}
    assert errors == {
        "lda": "",
        "centroid": "ZeroDivisionError: no centre",
        "stack": "centroid failed: ZeroDivisionError: no centre",
    }
    assert (report.computed, report.failed) == (1, 2)
    assert any("centroid" in note and "no centre" in note for note in report.notes)
    there = load_sweep(workspace, "grid")
    assert ([one.cell.head for one in there.failed], there.missing) == (["centroid", "stack"], 0)
    with pytest.raises(UserError, match=r"Every cell .* failed\. The first: ZeroDivisionError"):
        sweep(workspace, grid(cells_of(["centroid"])))

    monkeypatch.undo()
    mended = sweep(workspace, grid(wanted))
    assert (mended.computed, mended.reused, mended.failed) == (2, 1, 0)


def test_a_dead_worker_takes_its_cell_and_no_other(
    workspace: Workspace, grid: Callable[..., Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two tasks kills the process that computes it, whenever it is tried."""
    asked = grid(cells_of(["lda", "centroid"]))
    inputs = load_inputs(workspace, asked)
    key = next(iter(inputs.trains))
    wide = np.ascontiguousarray(np.tile(inputs.trains[key].X, 64))  # more than 1 MB
    inputs.trains[key] = replace(inputs.trains[key], X=wide)
    job = sweep_work.Job(workspace, workspace.sweeps / "cells", LEAST_MEMO)
    tasks = [[(one, f"id-{one.head}")] for one in asked.cells]

    def deadly(number: int, job: Any, train: Any, task: Any) -> tuple[int, dict[str, str]]:
        import os
        import signal
        import time

        from classify.sweep_work import run_task

        if task[0][0].head == "centroid":
            while not (job.cells / "id-lda.json").exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        kinds = {type(one).__name__ for one in (train.X, train.X.base)}
        return number, run_task(job, train, task) | {"kinds": " ".join(sorted(kinds))}

    monkeypatch.setattr(sweep_run, "_run", deadly)
    errors: dict[str, str] = {}
    for failed in sweep_run.run_tasks(job, inputs, tasks, jobs=2):
        errors |= failed
    assert "memmap" in errors.pop("kinds")  # workers look into one file, and copy nothing
    assert list(errors) == ["id-centroid"]
    assert "ended from outside" in errors["id-centroid"]
    assert sorted(path.stem for path in job.cells.glob("*.json")) == ["id-lda"]


def test_what_breaks_a_pool_is_tried_alone(
    workspace: Workspace, grid: Callable[..., Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first unfinished cell of each task in hand is suspected."""
    asked = grid(cells_of(QUICK_HEADS, balance=["none"], seed=[0, 1]))
    inputs = load_inputs(workspace, asked)
    job = sweep_work.Job(workspace, workspace.sweeps / "cells", LEAST_MEMO)
    named = [(one, f"{one.head}-{one.seed}") for one in asked.cells]
    calls: list[list[list[str]]] = []

    def outcomes(job: Any, inputs: Any, tasks: Any, jobs: int, backend: str, given: Any) -> Any:
        calls.append([[id for _, id in task] for task in tasks])
        for number, task in enumerate(tasks):
            given.append(number)
            for _, id in task:
                if id == "centroid-0":
                    raise MemoryError("broken")
                save_result(job.cells, CellResult(task[0][0], id), made)
            yield number, {}

    made = Predictions(["a"], np.array(["x"]), np.ones((1, 1)), np.array(["x"]))
    monkeypatch.setattr(sweep_run, "_outcomes", outcomes)
    tasks = [named[:2], named[2:4], named[4:]]
    errors = [each for each in sweep_run.run_tasks(job, inputs, tasks, 2) if each]
    assert calls == [
        [["lda-0", "lda-1"], ["centroid-0", "centroid-1"], ["prior-0", "prior-1"]],
        [["prior-0", "prior-1"], ["centroid-1"]],
        [["centroid-0"]],
    ]
    assert errors == [{"centroid-0": "MemoryError: broken"}]


DRIVER = """
import sys
from pathlib import Path
from classify.cell import Cell
from classify.grid import Grid
from classify.sweep import sweep
from embed.workspace import Workspace

pairs = [(seed, head) for seed in range(12) for head in ("lda", "centroid")]
cells = [Cell(("pixels",), head, folds=2, seed=seed) for seed, head in pairs]
sweep(Workspace(Path(sys.argv[1])), Grid(Path(sys.argv[2]), cells, []), int(sys.argv[3]))
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_killed_sweep_goes_on(
    workspace: Workspace, made: Path, grid: Callable[..., Grid], tmp_path: Path
) -> None:
    cells = workspace.sweeps / "cells"
    wanted = grid(cells_of(["lda", "centroid"], seed=list(range(12))))
    wanted = replace(wanted, cells=sorted(wanted.cells, key=lambda one: one.seed))
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(workspace.folder), str(wanted.path), "1"],
        cwd=Path(cli.__file__).parent,
    )
    end = time.monotonic() + PATIENCE
    while len(list(cells.glob("*.json"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    saved = len(list(cells.glob("*.json")))
    stopped = load_sweep(workspace, "grid")
    assert (len(stopped.done), stopped.missing) == (saved, len(wanted.cells) - saved)
    assert stopped.missing > 0
    report = sweep(workspace, wanted)
    assert (report.computed, report.reused) == (len(wanted.cells) - saved, saved)
    shutil.copytree(made, tmp_path / "undisturbed")
    undisturbed = sweep(Workspace(tmp_path / "undisturbed"), wanted)
    assert_same(workspace, report.results, undisturbed.results)


# What is refused before anything runs


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"encoders": ("no-such",)}, "no embeddings of 'no-such'"),
        ({"split": "nowhere"}, "nowhere"),
        ({"columns": ("colour",)}, "no column 'colour'"),
        ({"columns": ("told",)}, "tells the family by itself"),
        ({"options": (("pca", 500),)}, "pca = 500.*only 192 dimensions"),
        ({"folds": 400}, "fold"),
        ({"head": "zeroshot"}, "an encoder that knows words"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_impossible_grid_stops_before_anything_runs(
    workspace: Workspace, grid: Callable[..., Grid], settings: Any, expected: str
) -> None:
    asked = grid([cell("prior"), cell(**({"head": "lda"} | settings))])
    with pytest.raises(UserError, match=expected) as raised:
        sweep(workspace, asked)
    assert "grid.toml" in str(raised.value)
    assert not workspace.sweeps.exists()


def test_a_grid_needs_no_default_if_it_names_its_encoders(
    workspace: Workspace, grid: Callable[..., Grid]
) -> None:
    assert usual_cell(workspace).encoders == PIXELS
    shutil.copytree(workspace.store("pixels"), workspace.store("again"))
    workspace.latest.unlink()  # else the last embed's is the default
    usual = usual_cell(workspace, "default")
    with pytest.raises(UserError, match=r"embeddings of several encoders"):
        sweep(workspace, grid([replace(usual, head="prior")]))
    assert sweep(workspace, grid([cell("prior")])).computed == 1


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_missing_back_end_says_how_to_install_it(
    backend: str, workspace: Workspace, grid: Callable[..., Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("distributed", "ray"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"pip install 'familia\[{backend}\]'"):
        sweep(workspace, grid([cell("prior")]), backend=backend)


def test_unknown_back_ends_and_needless_addresses(
    workspace: Workspace, grid: Callable[..., Grid]
) -> None:
    with pytest.raises(UserError, match="'spark' is no back end"):
        sweep(workspace, grid([cell("prior")]), backend="spark")
    with pytest.raises(UserError, match="--backend dask"):
        sweep(workspace, grid([cell("prior")]), cluster="tcp://here:1")


# Tasks, memory, progress

CELLS = st.builds(
    cell,
    st.sampled_from([*ALL_HEADS, "stack"]),
    encoders=st.sampled_from([("a",), ("a", "b")]),
    balance=st.sampled_from(["none", "smote"]),
    photos=st.sampled_from([5, 0.5, None]),
    seed=st.integers(0, 2),
)


@given(st.lists(CELLS, min_size=1, max_size=60, unique=True), st.integers(1, 8))
def test_tasks_hold_every_cell_once_and_are_fair(cells: list[Cell], jobs: int) -> None:

    def seconds(one: Cell) -> float:
        return len(one.head) + 10 * len(one.encoders)

    named = [(one, str(i)) for i, one in enumerate(cells)]
    tasks = make_tasks(named, jobs, seconds)
    lengths = [sum(seconds(one) for one, _ in task) for task in tasks]
    assert sorted(pair[1] for task in tasks for pair in task) == sorted(id for _, id in named)
    assert lengths == sorted(lengths, reverse=True)
    fair = sum(lengths) / (PARTS * jobs)
    for task, length in zip(tasks, lengths, strict=True):
        shared = [replace(one, balance="none") for one, _ in task]
        assert shared == shared[:1] * len(shared)
        assert jobs == 1 or len(task) == 1 or length <= fair


class Photos:
    """So many, of 512 dimensions."""

    def __init__(self, n: int) -> None:
        self.n, self.X = n, SimpleNamespace(nbytes=2048 * n)

    def __len__(self) -> int:
        return self.n


@given(
    st.integers(10**8, 10**12), st.integers(1, 64), st.integers(1, 2 * 10**6), st.integers(2, 3000)
)
def test_a_plan_keeps_within_its_memory(memory: int, jobs: int, photos: int, classes: int) -> None:
    train: Any = Photos(photos)
    need = cell_bytes(cell("knn"), train, classes)
    if PROCESS + need + LEAST_MEMO + 2 * train.X.nbytes > memory:
        with pytest.raises(UserError, match="too little for one cell"):
            plan_memory(memory, jobs, [train], need)
        return
    plan = plan_memory(memory, jobs, [train], need)
    assert plan.total <= memory
    assert 1 <= plan.jobs <= jobs
    assert LEAST_MEMO <= plan.memo_bytes <= MOST_MEMO
    assert plan_memory(2 * memory, jobs, [train], need).jobs >= plan.jobs


def test_fewer_jobs_where_more_do_not_fit(
    workspace: Workspace, grid: Callable[..., Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    run = sweep_run.run_tasks
    monkeypatch.setattr(
        "classify.sweep.run_tasks", lambda *given: seen.append(given[3]) or run(*given)
    )
    one = 2 * PROCESS
    report = sweep(workspace, grid(cells_of(["prior"])), jobs=64, memory=one)
    assert set(seen) == {1}
    assert any(note.startswith("64 jobs do not fit: memory") for note in report.notes)
    with pytest.raises(UserError, match=r"--memory 100 MB is too little for one cell"):
        sweep(workspace, grid(cells_of(["prior"], seed=[1]), "larger"), memory=10**8)
    assert not (workspace.sweeps / "larger").exists()


def test_progress_says_what_is_left_and_the_best_so_far(tmp_path: Path) -> None:
    now = 0.0
    figures = {"macro_f1": (0.5, 0.4, 0.6)}
    waiting = {head: cell(head) for head in ("lda", "knn", "lgbm", "logreg")}
    made = Predictions(["a"], np.array(["x"]), np.ones((1, 1)), np.array(["x"]))
    progress = Progress(
        tmp_path, waiting, [CellResult(cell("prior"), "0", figures)], lambda one: 1.0, lambda: now
    )
    assert progress.lines() == ["Cells: 0 of 4", "  0.500 [0.400, 0.600]  pixels, prior, 2 folds"]
    save_result(tmp_path, CellResult(waiting["knn"], "knn", {"macro_f1": (0.8, 0.7, 0.9)}), made)
    now = 120.0
    progress.look()
    progress.fail(["lda"])
    assert progress.lines() == [
        "Cells: 2 of 4, 1 failed, about 2 min left",
        "  0.800 [0.700, 0.900]  pixels, knn, 2 folds",
        "  0.500 [0.400, 0.600]  pixels, prior, 2 folds",
    ]


# Clusters


@pytest.mark.filterwarnings("ignore")
def test_dask(workspace: Workspace, grid: Callable[..., Grid]) -> None:
    distributed = pytest.importorskip("distributed")
    wanted = grid(cells_of(QUICK_HEADS))
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        report = sweep(workspace, wanted, backend="dask", cluster=address)
    assert (report.computed, report.failed) == (3, 0)
    shutil.rmtree(workspace.sweeps)
    assert_same(workspace, sweep(workspace, wanted).results, report.results)


@pytest.mark.filterwarnings("ignore")
def test_ray(workspace: Workspace, grid: Callable[..., Grid]) -> None:
    pytest.importorskip("ray")
    wanted = grid(cells_of(QUICK_HEADS))
    report = sweep(workspace, wanted, jobs=1, backend="ray")
    assert (report.computed, report.failed) == (3, 0)
    shutil.rmtree(workspace.sweeps)
    assert_same(workspace, sweep(workspace, wanted).results, report.results)
