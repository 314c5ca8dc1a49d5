"""A sweep in MLflow and in TensorBoard, read back by their own readers."""

import builtins
import errno

import pytest
from report_by_hand import small_grid, write_sweep

from classify.cell_store import load_sweep
from classify.tracking import figures, parameters, track
from embed.errors import UserError
from embed.files import write_text
from embed.workspace import Workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    place = tmp_path_factory.mktemp("workspace")
    write_sweep(place, "grid", small_grid(), failed=1)
    write_text(place / "sweeps" / "grid" / "table.csv", "a,b\n1,2\n")
    return Workspace(place)


def larger(workspace, place):
    """The same sweep with two cells more, in another workspace."""
    cells = small_grid()
    write_sweep(place, "grid", [*cells[:-1], *small_grid("other ")[:2]])
    return Workspace(place)


# ---- what is refused


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("mlfow:runs", "mlflow"),
        ("runs", "mlflow:PATH"),
        ("tensorboard", "--to tensorboard:tensorboard-runs"),
        ("mlflow:", "names no place"),
    ],
)
def test_a_wrong_place_is_refused(workspace, to, says):
    with pytest.raises(UserError, match=says):
        track(workspace, "grid", to)


def test_a_sweep_without_cells_is_refused(tmp_path):
    with pytest.raises(UserError, match="no sweep 'grid'"):
        track(Workspace(tmp_path), "grid", "tensorboard:x")
    write_sweep(tmp_path, "grid", small_grid()[:1], failed=1)
    with pytest.raises(UserError, match="no finished cell"):
        track(Workspace(tmp_path), "grid", "tensorboard:x")


@pytest.mark.parametrize("tracker", ["mlflow", "tensorboard"])
def test_a_missing_package_is_named(workspace, tmp_path, monkeypatch, tracker):
    usual = builtins.__import__

    def without(name, *rest, **more):
        if name.partition(".")[0] == tracker:
            raise ImportError(f"No module named '{tracker}'", name=tracker)
        return usual(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=rf"pip install 'familia\[{tracker}\]'"):
        track(workspace, "grid", f"{tracker}:{tmp_path / 'runs'}")


# ---- TensorBoard


def scalars(folder):
    """run -> tag -> value, by TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    found = EventMultiplexer().AddRunsFromDirectory(str(folder))
    found.Reload()
    return {
        run: {tag: found.Scalars(run, tag)[0].value for tag in tags["scalars"]}
        for run, tags in found.Runs().items()
        if tags["scalars"]
    }


def test_tensorboard_reads_every_figure(workspace, tmp_path):
    pytest.importorskip("tensorboard")
    done = load_sweep(workspace, "grid").done
    said = track(workspace, "grid", f"tensorboard:{tmp_path / 'logs'}")
    assert (said.new, said.there, said.failed) == (len(done), 0, 1)
    found = scalars(tmp_path / "logs")
    assert set(found) == {f"grid/{one.id}" for one in done}
    for one in done:
        assert found[f"grid/{one.id}"] == pytest.approx(figures(one), rel=1e-6)


def test_tensorboard_has_the_settings_in_its_hparams_tab(workspace, tmp_path):
    pytest.importorskip("tensorboard")
    track(workspace, "grid", f"tensorboard:{tmp_path}")
    infos, groups = hparams_tab(tmp_path)
    assert infos["k"] == [1, 5, 15]
    assert infos["photos"] == ["20", "5", "all"]
    done = load_sweep(workspace, "grid").done
    assert len(groups) == len(done)
    for one in done:
        settings, metrics = groups[f"grid/{one.id}"]
        wanted = {**parameters(one), "photos": str(one.cell.photos or "all")}
        assert settings == wanted
        assert metrics["macro_f1"] == pytest.approx(one.figures["macro_f1"][0], rel=1e-6)


def hparams_tab(folder):
    """What the HPARAMS tab answers: setting -> values, session -> (settings, metrics)."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import (
        api_pb2,
        backend_context,
        list_session_groups,
    )

    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    here = RequestContext()
    tags = context.hparams_metadata(here, "")
    experiment = context.experiment_from_metadata(
        here, "", True, tags, context.hparams_from_data_provider(here, "", 100)
    )
    infos = {one.name: [plain(v) for v in one.domain_discrete.values]
             for one in experiment.hparam_infos}  # fmt: skip
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=1000, allowed_statuses=[api_pb2.STATUS_SUCCESS],
        col_params=[api_pb2.ColParams(metric=one.name) for one in experiment.metric_infos],
    )  # fmt: skip
    answer = list_session_groups.Handler(here, context, "", request).run()
    groups = {}
    for group in answer.session_groups:
        metrics = {one.name.tag: one.value for one in group.metric_values}
        settings = {name: plain(value) for name, value in group.hparams.items()}
        groups[group.sessions[0].name] = (settings, metrics)
    return infos, groups


def plain(value):
    return getattr(value, value.WhichOneof("kind"))


def test_twice_in_tensorboard_doubles_nothing_and_a_larger_grid_adds(workspace, tmp_path):
    pytest.importorskip("tensorboard")
    to = f"tensorboard:{tmp_path / 'logs'}"
    first = track(workspace, "grid", to)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "logs").rglob("events*")}
    second = track(workspace, "grid", to)
    assert (second.new, second.there) == (0, first.new)
    assert files == {p: p.stat().st_mtime_ns for p in (tmp_path / "logs").rglob("events*")}
    third = track(larger(workspace, tmp_path / "w"), "grid", to)
    assert (third.new, third.there) == (2, first.new)
    assert len(scalars(tmp_path / "logs")) == first.new + 2
    infos, _ = hparams_tab(tmp_path / "logs")
    assert infos["encoders"] == ["other pixels", "pixels"]


def test_a_failed_write_leaves_no_half_run(workspace, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")

    def full(folder, summaries, when):
        write_text(folder / "events.out.tfevents.1", "half")
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("classify.tensorboard_export._events", full)
    with pytest.raises(UserError, match="No space left"):
        track(workspace, "grid", f"tensorboard:{tmp_path}")
    assert list((tmp_path / "grid").iterdir()) == []


# ---- MLflow


@pytest.fixture(scope="module")
def mlflow_place(workspace, tmp_path_factory):
    pytest.importorskip("mlflow.tracking")
    place = tmp_path_factory.mktemp("mlflow") / "runs"
    return place, track(workspace, "grid", f"mlflow:{place}")


def mlflow_runs(place, name="grid"):
    """The runs of an experiment, by MLflow's own client."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{place / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(name)
    return client, {
        run.data.tags["familia.cell"]: run for run in client.search_runs([experiment.experiment_id])
    }


def test_mlflow_reads_every_cell(workspace, mlflow_place):
    place, said = mlflow_place
    done = load_sweep(workspace, "grid").done
    assert (said.new, said.there, said.failed) == (len(done), 0, 1)
    client, runs = mlflow_runs(place)
    parent = runs.pop("sweep")
    assert set(runs) == {one.id for one in done}
    for one in done:
        run = runs[one.id]
        assert run.data.metrics == pytest.approx(figures(one))
        assert run.data.params == {name: str(v) for name, v in parameters(one).items()}
        assert run.info.status == "FINISHED"
        assert run.info.run_name == one.cell.describe()
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["familia.version"]
        assert (run.info.end_time - run.info.start_time) / 1000 == pytest.approx(
            one.seconds, abs=0.01
        )
    names = {one.path for one in client.list_artifacts(parent.info.run_id)}
    assert {"table.csv", "sweep.json"} <= names
    assert (place / "artifacts").is_dir()


def test_twice_in_mlflow_doubles_nothing_and_an_unfinished_run_is_mended(
    workspace, mlflow_place, tmp_path
):
    place, first = mlflow_place
    client, runs = mlflow_runs(place)
    broken = next(run for cell, run in runs.items() if cell != "sweep")
    client.update_run(broken.info.run_id, status="RUNNING")
    again = track(workspace, "grid", f"mlflow:{place}")
    assert (again.new, again.there) == (1, first.new - 1)
    _, after = mlflow_runs(place)
    assert {c: r.info.run_id for c, r in after.items()} == {
        c: r.info.run_id for c, r in runs.items()
    }
    assert after[broken.data.tags["familia.cell"]].data.metrics == broken.data.metrics
    more = track(larger(workspace, tmp_path), "grid", f"mlflow:{place / 'mlflow.db'}")
    assert (more.new, more.there) == (2, first.new)


def test_what_mlflow_refuses_is_said_in_one_line(workspace, tmp_path, monkeypatch):
    pytest.importorskip("mlflow.tracking")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    write_text(tmp_path / "file", "")
    with pytest.raises(UserError, match="cannot be made"):
        track(workspace, "grid", f"mlflow:{tmp_path / 'file' / 'x'}")
    with pytest.raises(UserError, match="MLflow at nonsense://x cannot be written") as caught:
        track(workspace, "grid", "mlflow:nonsense://x")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"MLflow at http://127\.0\.0\.1:9 cannot") as caught:
        track(workspace, "grid", "mlflow:http://me:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)
