"""`cli tune`: the search goes on where it was, prunes rightly, and its estimate is honest."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow
import pytest
from conftest import Result, photo
from pyarrow import parquet

import cli
from classify import tune_trial
from classify.cell import Cell
from classify.cell_store import load_result
from classify.folds import held_out_folds, out_of_fold, pooled_out_of_fold
from classify.heads import HEADS
from classify.metrics import score
from classify.outcomes import Outcomes
from classify.tune import Request, tune
from classify.tune_honest import bias_corrected, nested_estimate
from classify.tune_importance import importance
from classify.tune_progress import progress_line
from classify.tune_report import Row, TuneReport, in_unit
from classify.tune_search import Budget, Search, cell_of
from classify.tune_space import Space, together
from classify.tune_trial import OutOfTimeError, Trials
from embed.errors import UserError
from embed.workspace import Workspace

QUICK = ("knn", "centroid", "prior")  # heads that fit in a blink
CLASSES, EACH = 4, 15


def make_photos(folder: Path, signal_of_class: float) -> None:
    """Classes whose photos differ in colour by `signal_of_class`, and among themselves too."""
    rng = np.random.default_rng(5)
    centres = 128 + signal_of_class * rng.normal(size=(CLASSES, 3))
    for c in range(CLASSES):
        (folder / f"family-{c}").mkdir(parents=True)
        for i in range(EACH):
            colour = np.clip(centres[c] + 40 * rng.normal(size=3), 0, 255)
            image = photo(tuple(colour.tolist()), 100 * c + i, noise=60)
            image.save(folder / f"family-{c}" / f"{i:02}.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Workspaces with vectors and a split: one with some signal, one with none at all."""
    found = {}
    for name, strength in (("some", 30.0), ("noise", 0.0)):
        folder = tmp_path_factory.mktemp(name)
        make_photos(folder / "photos", strength)
        for command in (["embed", str(folder / "photos"), "--encoder", "pixels"], ["split"]):
            assert cli.run([*command, "-w", str(folder)]) == 0
        found[name] = folder
    return found


@pytest.fixture
def place(made: dict[str, Path], tmp_path: Path) -> Path:
    """A workspace of the test's own, with some signal and nothing searched yet."""
    for name in ("collection.parquet", "embeddings", "splits"):
        copy = shutil.copytree if (made["some"] / name).is_dir() else shutil.copy
        copy(made["some"] / name, tmp_path / name)
    return tmp_path


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of a small search's time: one test draws them."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("classify.tune_report.history_picture", lambda *args: None)


@pytest.fixture
def drawn() -> None:
    """The test wants the picture."""


def searched(place: Path, **wanted: Any) -> TuneReport:
    usual: dict[str, Any] = {"heads": QUICK, "balances": ("none", "weights"), "folds": 3}
    return tune(Workspace(place), Request(**{**usual, **wanted}))


def told(report: TuneReport) -> list[Any]:
    """All of the trials but their times."""
    return [replace(row, seconds=0.0) for row in report.rows]


def trials_of(place: Path, metric: str = "macro_f1") -> Trials:
    return Trials(Workspace(place), Workspace(place).sweeps / "cells", metric)


def cell(head: str, **options: Any) -> Cell:
    return Cell(("pixels",), head, folds=3, options=tuple(sorted(options.items())))


# --- the search


def test_an_interrupted_search_ends_as_one_that_was_not(place: Path) -> None:
    whole = searched(place, trials=9, name="whole")
    shutil.rmtree(place / "sweeps")  # so that nothing is found there already
    searched(place, trials=5, name="parts")
    parts = searched(place, trials=9, name="parts")
    assert told(parts) == told(whole)
    assert parts.best.cell == whole.best.cell
    assert (parts.computed, len(parts.rows)) == (4, 9)
    assert searched(place, trials=9, name="parts").computed == 0
    assert told(searched(place, trials=9, seed=1)) != told(whole)


def test_a_killed_search_goes_on_with_the_same_trials(place: Path) -> None:
    whole = searched(place, trials=7, name="whole")
    shutil.rmtree(place / "sweeps")
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from classify.tune import Request, tune\nfrom embed.workspace import Workspace\n"
        f"tune(Workspace(Path(sys.argv[1])), Request(heads={QUICK!r}, trials=7, name='killed',"
        " balances=('none', 'weights'), folds=3))"
    )
    root = Path(cli.__file__).parent
    process = subprocess.Popen([sys.executable, "-c", code, place, root], stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list((place / "sweeps").rglob("*.json"))) < 3:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = searched(place, trials=7, name="killed")
    assert told(again) == told(whole)
    assert again.computed < 7 or process.returncode == 0


def test_defaults_come_first_and_the_rest_is_told_where_the_time_is_up(place: Path) -> None:
    report = searched(place, minutes=0.0)
    assert [row.cell for row in report.rows] == [cell("knn")]
    assert report.rows[0].state == "complete"
    assert any("centroid, prior" in note and "same command" in note for note in report.notes)
    more = searched(place, trials=3)
    assert [row.cell.head for row in more.rows] == list(QUICK)


def test_two_jobs_find_what_one_finds(place: Path) -> None:
    one = searched(place, trials=3, name="one")
    shutil.rmtree(place / "sweeps")
    two = searched(place, trials=3, name="two", jobs=2)
    values = [{row.cell: row.value for row in report.rows} for report in (one, two)]
    assert values[0] == values[1]


def test_a_space_that_is_exhausted_ends_the_search(place: Path) -> None:
    report = searched(place, trials=50, heads=("prior",), balances=("none", "weights"))
    assert len(report.rows) == len({row.id for row in report.rows}) <= 2
    assert "nothing to compare" not in report.verdict


def test_cells_are_those_of_sweeps_and_cost_nothing_twice(place: Path) -> None:
    trials = trials_of(place)
    tried = trials.evaluate(cell("knn"))
    train = trials.data(cell("knn"))
    saved = load_result(trials.cells, tried.id)
    assert saved is not None
    assert saved.figures["macro_f1"][0] == tried.steps[-1]
    assert saved.train_photos == pytest.approx(len(train) * 2 / 3)
    assert saved.model_bytes > 0
    again = trials.evaluate(cell("knn"))
    assert (again.reused, again.steps) == (True, tried.steps[-1:])
    assert not any((Workspace(place).sweeps / "cells").glob(".*"))


def test_folds_one_by_one_give_what_all_at_once_give(place: Path) -> None:
    trials = trials_of(place)
    train = trials.data(cell("knn"))
    assert set(train.side) == {"train"}
    model = tune_trial.cell_model(trials.workspace, cell("knn"), train)
    whole = out_of_fold(model, train, held_out_folds(train, 3, 0))
    mine = trials.predictions(cell("knn"))
    assert mine.ids == whole.ids
    np.testing.assert_array_equal(mine.P, whole.P)
    np.testing.assert_array_equal(mine.fold, whole.fold)


def test_a_stack_is_made_of_its_heads_cells(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classify.cell.MEMBERS", QUICK[:2])
    trials = trials_of(place)
    tried = trials.evaluate(cell("stack"))
    members = [trials.predictions(cell(head)) for head in QUICK[:2]]
    sizes = np.unique(trials.data(cell("knn")).y, return_counts=True)[1]
    np.testing.assert_array_equal(
        trials.predictions(cell("stack")).P, pooled_out_of_fold(members, sizes).P
    )
    assert len(tried.steps) == 1
    predicted = trials.fitted(cell("stack"))(trials.data(cell("knn")))
    np.testing.assert_allclose(predicted.sum(axis=1), 1)


# --- pruning


def test_what_is_clearly_worse_is_given_up_and_its_equal_is_not(place: Path) -> None:
    trials = trials_of(place)
    trials.evaluate(cell("knn"))
    worse = trials.evaluate(cell("prior"), rival=cell("knn"))
    assert worse.pruned
    assert 1 <= len(worse.steps) < 3
    assert load_result(trials.cells, worse.id) is None
    shutil.copytree(trials.cells, place / "copy")
    (trials.cells / f"{trials.id(cell('knn'))}.json").unlink()
    assert not trials.evaluate(cell("knn"), rival=cell("knn")).pruned


def test_pruning_knows_that_less_log_loss_is_better(place: Path) -> None:
    trials = trials_of(place, "log_loss")
    trials.evaluate(cell("prior"))
    assert not trials.evaluate(cell("knn"), rival=cell("prior")).pruned
    (trials.cells / f"{trials.id(cell('prior'))}.json").unlink()
    assert trials.evaluate(cell("prior"), rival=cell("knn")).pruned


def test_a_search_prunes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # all but the default configurations are as bad as can be
    bad = tune_trial.cell_model

    def model(workspace: Workspace, one: Cell, train: Any) -> Any:
        usual = one.options == () and one.balance == "none"
        return bad(workspace, one if usual else cell("prior"), train)

    monkeypatch.setattr(tune_trial, "cell_model", model)
    report = searched(place, trials=10)
    states = [row.state for row in report.rows]
    assert states[:3] == ["complete"] * 3
    assert set(states[3:]) == {"pruned"}
    assert report.best.cell == report.default.cell  # type: ignore[union-attr]
    assert "not worth it" in report.verdict


def test_a_trial_that_runs_out_of_time_does_not_count(place: Path) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 3

    trials = trials_of(place)
    with pytest.raises(OutOfTimeError):
        trials.evaluate(cell("knn"), stop=stop)
    assert load_result(trials.cells, trials.id(cell("knn"))) is None


def test_a_head_that_fails_is_told_and_the_rest_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = tune_trial.cell_model

    def model(workspace: Workspace, one: Cell, train: Any) -> Any:
        if one.head == "centroid":
            raise ValueError("no neighbour was at home")
        return works(workspace, one, train)

    monkeypatch.setattr(tune_trial, "cell_model", model)
    report = searched(place, trials=4)
    failed = [row for row in report.rows if row.state == "failed"]
    assert failed[0].cell == cell("centroid")
    assert any("no neighbour was at home" in note for note in report.notes)
    assert "no neighbour was at home" in (report.folder / "trials.csv").read_text()
    with pytest.raises(UserError, match="no neighbour was at home"):
        searched(place, trials=2, heads=("centroid",))


# --- honest


def test_of_pure_noise_the_estimate_is_chance_and_the_best_is_not() -> None:
    n, n_classes, best, honest = 240, 6, [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        y = np.arange(n) % n_classes
        P = rng.dirichlet(np.ones(n_classes), (40, n))
        found = bias_corrected([Outcomes.of(y, p) for p in P], "macro_f1", [0, 1], n_boot=200)
        best.append(found.best[0])
        honest.append(found.value[0])
        assert found.value[0] < found.best[0]
        assert found.value[1] <= found.value[0] <= found.value[2]
        assert found.gain[1] < 0 < found.gain[2]
    assert np.mean(best) > 1 / n_classes + 0.03
    assert np.mean(honest) == pytest.approx(1 / n_classes, abs=0.015)


def test_for_accuracy_it_is_bbc_cv_to_the_letter() -> None:
    rng = np.random.default_rng(1)
    y = np.arange(300) % 5
    P = [rng.dirichlet(np.ones(5), 300) for _ in range(12)]
    right = np.array([p.argmax(axis=1) == y for p in P]).astype(float)
    scores = []
    for _ in range(4000):
        drawn = np.bincount(rng.integers(0, 300, 300), minlength=300)
        chosen = (right @ drawn).argmax()
        scores.append(right[chosen][drawn == 0].mean())
    found = bias_corrected([Outcomes.of(y, p) for p in P], "accuracy", [0], n_boot=4000)
    assert found.value[0] == pytest.approx(np.mean(scores), abs=0.003)


def test_what_is_far_better_keeps_its_figure_and_its_lead() -> None:
    rng = np.random.default_rng(2)
    y = np.arange(400) % 4
    bad = rng.dirichlet(np.ones(4), 400)
    good = np.full((400, 4), 0.05)
    good[np.arange(400), np.where(rng.random(400) < 0.9, y, (y + 1) % 4)] = 0.85
    outcomes = [Outcomes.of(y, p) for p in (bad, good)]
    for metric, better in (("macro_f1", 1), ("log_loss", -1)):
        found = bias_corrected(outcomes, metric, [0], n_boot=200)
        assert found.again == 1
        assert found.value[0] == found.best[0] == pytest.approx(score(y, good, metric))
        assert min(better * end for end in found.gain) > 0
        assert found.default[0] == pytest.approx(score(y, bad, metric))


def test_the_estimate_draws_groups_whole() -> None:
    rng = np.random.default_rng(3)
    y, group = np.repeat(np.arange(4), 10), np.repeat(np.arange(20), 2).astype(str)
    P = rng.dirichlet(np.ones(4), (6, 40))
    twice = np.repeat(P, 4, axis=1)  # each photo four times: no new evidence
    many = np.repeat(group, 4)
    one = bias_corrected([Outcomes.of(y, p) for p in P], "accuracy", [0], group, 300)
    four = bias_corrected(
        [Outcomes.of(np.repeat(y, 4), p) for p in twice], "accuracy", [0], many, 300
    )
    assert four.value == pytest.approx(one.value)
    assert four.gain == pytest.approx(one.gain)


def test_searching_noise_promises_nothing(made: dict[str, Path]) -> None:
    report = tune(Workspace(made["noise"]), Request(trials=10, heads=QUICK, folds=3))
    assert report.honest is not None
    assert report.honest.value[0] < report.honest.best[0]
    assert "Tuning is worth it" not in report.verdict


def test_nested_searches_never_see_their_fold(place: Path) -> None:
    seen: list[set[str]] = []
    remember = Trials.data

    def data(self: Trials, one: Cell) -> Any:
        train = remember(self, one)
        if self._part is not None:
            seen.append(set(train.ids))
        return train

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trials, "data", data)
        report = searched(place, trials=3, heads=("knn", "centroid"), nested=3)
    assert report.nested is not None
    assert (report.nested.folds, report.nested.trials) == (3, [3, 3, 3])
    everything = set(trials_of(place).data(cell("knn")).ids)
    parts = {frozenset(everything - ids) for ids in seen}
    assert len(parts) == 3
    assert set.union(*map(set, parts)) == everything
    assert sum(map(len, parts)) == len(everything)
    assert not (report.folder / "nested").exists()
    again = searched(place, trials=3, heads=("knn", "centroid"), nested=3)
    assert again.nested == report.nested


def test_a_nested_gain_is_a_paired_difference() -> None:
    y = np.arange(60) % 3
    P = np.eye(3)[y] * 0.7 + 0.1
    value, gain = nested_estimate(Outcomes.of(y, P), Outcomes.of(y, P), "macro_f1")
    assert value[0] == 1
    assert gain == (0, 0, 0)


def test_test_photos_have_no_say(place: Path) -> None:
    first = searched(place, trials=5)
    for name in ("sweeps", "tune"):
        shutil.rmtree(place / name)
    split = pd.read_csv(place / "splits" / "default.csv", dtype=str)
    held_out = set(split.loc[split["split"] == "test", "id"])
    rows = pd.read_parquet(place / "collection.parquet")
    mine = rows["id"].astype(str).isin(held_out)
    assert mine.any()
    rows.loc[mine, "family"] = "family-0"
    schema = parquet.read_schema(place / "collection.parquet")
    table = pyarrow.Table.from_pandas(rows, preserve_index=False)
    parquet.write_table(
        table.replace_schema_metadata(schema.metadata), place / "collection.parquet"
    )
    assert told(searched(place, trials=5)) == told(first)


# --- the space


def space(heads: tuple[str, ...], encoders: tuple[str, ...] = ("a", "b")) -> Space:
    usual = Cell(encoders, "")
    return Space(usual, together(encoders), heads, ("none", "weights", "smote"), 64)


def test_a_default_configuration_comes_of_its_parameters() -> None:
    heads = (*(name for name in HEADS if name not in ("tip", "zeroshot")), "stack")
    whole = space(heads)
    study = optuna.create_study()
    for default in whole.defaults():
        study.enqueue_trial(whole.parameters(default))
        assert whole.cell(study.ask()) == default
    assert whole.defaults()[-1].head == "stack"


def test_every_proposal_is_one_that_its_head_takes() -> None:
    whole = space(("logreg", "lgbm", "knn", "lda", "centroid", "stack"))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    cells = [whole.cell(study.ask()) for _ in range(200)]
    for one in cells:
        if one.head != "stack":
            head = HEADS[one.head](balance=one.balance, **dict(one.options))
            assert one.balance in head.balances
            usual = HEADS[one.head]().get_params()
            assert all(usual[name] != value for name, value in one.options)
        assert Cell.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert {one.encoders for one in cells} == {("a",), ("b",), ("a", "b")}
    assert any(dict(one.options).get("C") for one in cells)


def test_many_encoders_are_not_combined_in_every_way() -> None:
    assert together(("a",)) == (("a",),)
    assert len(together(tuple("abc"))) == 7
    assert len(together(tuple("abcde"))) == 5 + 10 + 1
    assert together(tuple("abcde"))[-1] == tuple("abcde")


# --- what is said


def test_the_report_and_its_files(place: Path, run: Any, drawn: None) -> None:
    report = searched(place, trials=5)
    text = report.as_text()
    assert report.verdict in text
    assert f"Fit it: {report.command}" in text
    assert "BBC-CV" in text
    saved = json.loads((report.folder / "tune.json").read_text())
    assert saved["best"]["id"] == report.best.id
    assert saved["honest"] == list(report.honest.value)  # type: ignore[union-attr]
    table = pd.read_csv(report.folder / "trials.csv")
    assert table["cell"].tolist() == [row.id for row in report.rows]
    assert (report.folder / "history.png").read_bytes().startswith(b"\x89PNG")
    assert (report.folder / "history.svg").read_text().count("<svg") == 1
    assert cell("knn", k=7).fit_command.endswith("--folds 3")
    assert " --set k=7 " in cell("knn", k=7).fit_command
    done: Result = run(*cell("knn").fit_command.split()[1:], "--json", "-w", place)
    fitted = {row.cell: row.value for row in report.rows}[cell("knn")]
    assert done.json["runs"][0]["macro_f1"][0] == pytest.approx(fitted, abs=1e-9)


def test_the_verdict_follows_the_corrected_gain(place: Path) -> None:
    report = searched(place, trials=3)
    row = report.rows[0]
    tuned = Row(9, "complete", 0.9, 1.0, cell("lda", ridge=3.0), "x")
    usual = replace(row, cell=cell("knn"))
    for gain, said in (
        ((0.03, 0.01, 0.05), "Tuning is worth it here: +3.0 points [+1.0, +5.0]"),
        ((0.003, -0.005, 0.01), "Tuning is not worth it here"),
        ((-0.03, -0.05, -0.01), "Tuning does harm here"),
    ):
        honest = replace(report.honest, gain=gain)  # type: ignore[type-var]
        one = replace(report, best=tuned, default=usual, honest=honest, nested=None)
        assert one.verdict.startswith(said)
        assert "(knn as it comes)" in one.verdict
    less = replace(one, metric="log_loss", honest=replace(honest, gain=(-0.03, -0.05, -0.01)))
    assert less.verdict.startswith("Tuning is worth it here: -0.030")
    assert in_unit("accuracy", (0.0, -0.0, 0.01)) == "+0.0 points [+0.0, +1.0]"


def test_importance_names_what_matters_and_takes_a_choice_and_its_value_as_one() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert importance(study) is None
    whole = space(("knn", "logreg"), ("a",))
    for _ in range(100):
        trial = study.ask()
        C = dict(whole.cell(trial).options).get("C")
        study.tell(trial, abs(np.log10(C) - 1) if C else 5)
    found = importance(study)
    assert found is not None
    assert {"logreg.C", "head"} <= set(found.shares)
    assert found.shares["logreg.C"] > 0.3
    assert sum(found.shares.values()) == pytest.approx(1)
    assert not any(name.endswith(" given") for name in found.shares)


def test_progress_tells_trials_best_and_time_left(place: Path) -> None:
    search = Search(place / "s.db", "x", space(("knn", "centroid"), ("pixels",)), trials_of(place))
    budget = Budget(trials=2)
    search.run(budget, 0)
    line = progress_line(search, budget, 3.0, "Tune")
    assert line.startswith("Tune: 2 of 2 trials, best 0.")
    assert line.endswith("0:00 left")
    assert cell_of(search.complete[0]).head in line
    search.close()


# --- wrong use


def test_a_name_keeps_to_one_search(place: Path) -> None:
    searched(place, trials=1, name="mine")
    with pytest.raises(UserError, match=r"'mine' searched something else .*Choose another --name"):
        searched(place, trials=1, name="mine", heads=("knn",))
    with pytest.raises(UserError, match=r"metric differ"):
        searched(place, trials=1, name="mine", metric="accuracy")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"heads": ("kn",)}, "Did you mean 'knn'"),
        ({"balances": ("smot",)}, "Did you mean 'smote'"),
        ({"metric": "f1"}, "no metric to tune"),
        ({"nested": 1}, "2 outer folds or more"),
        ({"heads": ("tip",)}, "knows words"),
        ({"encoders": ("nothing",)}, "no embeddings of 'nothing'"),
    ],
)
def test_wrong_requests_are_refused(place: Path, wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        searched(place, trials=1, **wanted)
    assert not (place / "tune").exists()


def test_without_optuna_it_says_what_to_install(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'familia\[tune\]'"):
        searched(place, trials=1)
