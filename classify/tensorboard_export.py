"""The cells of a sweep as TensorBoard runs: scalars, and settings for its HPARAMS tab.

FOLDER/SWEEP has what the sweep varies, FOLDER/SWEEP/CELL the settings and figures of one cell.
Written with TensorBoard's own event writer; neither TensorFlow nor PyTorch takes part.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from classify.cell import CellResult
from classify.cell_store import SweepResult
from classify.report_results import METRICS
from classify.tracking import (
    Tracked,
    figures,
    finished_at,
    missing_package,
    parameters,
    tags,
)
from embed.files import mendable
from embed.workspace import slug

COSTS = ("seconds", "peak_bytes", "model_bytes")


def to_tensorboard(sweep: SweepResult, folder: Path) -> Tracked:
    """Write the finished cells that have no folder yet; each appears whole or not at all.

    Raises `UserError` where TensorBoard is not installed or the folder cannot be written.
    """
    try:
        import tensorboard.compat.proto.event_pb2
        import tensorboard.plugins.hparams.summary_v2  # noqa: F401
    except ImportError as error:
        raise missing_package("tensorboard", error) from error
    place = folder / slug(sweep.name)
    missing = [one for one in sweep.done if not (place / one.id).exists()]
    try:
        for result in missing:
            _write(place / result.id, _of_cell(sweep, result), finished_at(sweep, result))
        if missing:
            for old in place.glob("events.out.tfevents.*"):
                old.unlink()
            _events(place, [_of_sweep(sweep.done)], max(finished_at(sweep, r) for r in sweep.done))
    except OSError as error:
        raise mendable(error, place) from error
    look = f"`tensorboard --logdir {folder}`"
    there = len(sweep.done) - len(missing)
    return Tracked(sweep.name, str(place), len(missing), there, len(sweep.failed), look)


def _of_sweep(results: Sequence[CellResult]) -> Any:
    """Which settings and figures the HPARAMS tab has, with the settings' values."""
    from tensorboard.plugins.hparams import summary_v2 as hparams

    chosen = [_settings(one) for one in results]
    names = dict.fromkeys(name for each in chosen for name in each)
    axes = [
        hparams.HParam(name, hparams.Discrete(_alike({e[name] for e in chosen if name in e})))
        for name in names
    ]
    metrics = [name for name in METRICS if name in results[0].figures]
    shown = [hparams.Metric(name, display_name=METRICS[name][0]) for name in metrics]
    shown += [hparams.Metric(name) for name in COSTS]
    return hparams.hparams_config_pb(axes, shown)


def _of_cell(sweep: SweepResult, result: CellResult) -> list[Any]:
    """Its settings, its numbers, what it is known by, and that it is done."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2
    from tensorboard.plugins.text.summary_v2 import text_pb

    end = finished_at(sweep, result)
    ended = plugin_data_pb2.HParamsPluginData(
        session_end_info=plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_SUCCESS, end_time_secs=end
        )
    )
    done = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(ended),
        tensor=metadata.NULL_TENSOR,
    )
    # The old form of a scalar: every reader of event files knows it.
    numbers = [Summary.Value(tag=name, simple_value=v) for name, v in figures(result).items()]
    known = "\n".join(f"    {name}: {value}" for name, value in tags(sweep, result).items())
    return [
        summary_v2.hparams_pb(
            _settings(result), trial_id=result.id, start_time_secs=end - result.seconds
        ),
        Summary(value=numbers),
        text_pb("familia", known),
        Summary(value=[done]),
    ]


def _settings(result: CellResult) -> dict[str, str | float]:
    """Each setting has one type for ever, as the HPARAMS tab wants: photos are words (`all`)."""
    found = parameters(result)
    return {
        name: str(value) if name == "photos" or isinstance(value, str) else float(value)
        for name, value in found.items()
    }


def _alike(values: set[str | float]) -> list[str] | list[float]:
    """Numbers where all are, else words."""
    numbers = [value for value in values if isinstance(value, float)]
    return numbers if len(numbers) == len(values) else [str(value) for value in values]


def _write(folder: Path, summaries: Iterable[Any], when: float) -> None:
    """A folder with one file of events, whole or not there."""
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        _events(scratch, summaries, when)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _events(folder: Path, summaries: Iterable[Any], when: float) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder.mkdir(parents=True, exist_ok=True)
    writer = EventFileWriter(str(folder))
    for summary in summaries:
        writer.add_event(Event(wall_time=when, step=0, summary=summary))
    writer.close()
