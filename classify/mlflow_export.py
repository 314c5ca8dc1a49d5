"""The cells of a sweep as runs of an MLflow experiment that has the sweep's name.

A run of its own stands for the sweep; it has the tables as artifacts, and the cells' runs are its
children. MLflow's own client writes it all, to a database file, a server or what else it knows.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from classify.cell_store import SweepResult
from classify.tracking import (
    Tracked,
    figures,
    finished_at,
    missing_package,
    parameters,
    tables,
    tags,
)
from embed.errors import UserError

DATABASE, ARTIFACTS = "mlflow.db", "artifacts"
_SQLITE = "sqlite:///"
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nobody is told of this export
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is not there is said in seconds
}
_PAGE = 1000  # runs that MLflow gives at a time
_LONGEST = 5000  # letters of a tag that every store takes


def to_mlflow(sweep: SweepResult, place: str) -> Tracked:
    """Write the finished cells that are not there yet.

    place : a folder, where `mlflow.db` and `artifacts/` are made; a database file `NAME.db`; or
        an address as MLflow takes it (`http://…`, `sqlite:///…`, `postgresql://…`, `databricks`)
    A run that an interrupted export left unfinished is written again, not doubled. Raises
    `UserError` where MLflow is not installed or refuses.
    """
    uri, artifacts = _address(place)
    with _quiet():
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise missing_package("mlflow", error) from error
        try:
            client = MlflowClient(tracking_uri=uri)
            new, there = _Experiment(client, sweep, artifacts).write()
        except (MlflowException, ImportError) as error:
            raise UserError(
                f"MLflow at {_public(uri)} cannot be written: {_public(_first_line(error))}"
            ) from error
    shown = _public(uri)
    look = f"`mlflow ui --backend-store-uri {shown}` (of the whole package mlflow)"
    if uri.startswith(("http://", "https://")):
        look = shown
    return Tracked(sweep.name, shown, new, there, len(sweep.failed), look)


def _address(place: str) -> tuple[str, str | None]:
    """(tracking URI, where artifacts go; None: where the server says)."""
    if ("://" in place and not place.startswith(_SQLITE)) or place == "databricks":
        return place, None
    path = Path(place.removeprefix(_SQLITE)).absolute()
    if path.suffix != ".db" and not place.startswith(_SQLITE):
        path = path / DATABASE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{path.parent} cannot be made ({error.strerror}). Choose another place for "
            "`--to mlflow:PATH`."
        ) from error
    return f"{_SQLITE}{path}", (path.parent / ARTIFACTS).as_uri()


class _Experiment:
    """The runs of one sweep in a store."""

    def __init__(self, client: Any, sweep: SweepResult, artifacts: str | None) -> None:
        self.client, self.sweep = client, sweep
        found = client.get_experiment_by_name(sweep.name)
        self.id = (
            found.experiment_id
            if found
            else client.create_experiment(sweep.name, artifact_location=artifacts)
        )
        self.runs = {run.data.tags.get("familia.cell", ""): run for run in self._runs()}

    def write(self) -> tuple[int, int]:
        """(runs written, runs that were there)."""
        parent = self._parent()
        missing = [one for one in self.sweep.done if not self._is_finished(one.id)]
        for result in missing:
            end = round(1000 * finished_at(self.sweep, result))
            start = end - round(1000 * result.seconds)
            run = self._run(result.id, result.cell.describe(), parent, start)
            self._log(run, figures(result), parameters(result), tags(self.sweep, result))
            self.client.set_terminated(run, end_time=end)
        for path in tables(self.sweep):
            self.client.log_artifact(parent, str(path))
        self.client.set_terminated(parent)
        return len(missing), len(self.sweep.done) - len(missing)

    def _parent(self) -> str:
        """The run of the sweep itself."""
        run = self._run("sweep", f"sweep {self.sweep.name}", None, None)
        best = max((one.figures["macro_f1"][0] for one in self.sweep.done), default=0.0)
        cells = {"cells": float(len(self.sweep.done)), "failed": float(len(self.sweep.failed))}
        self._log(run, cells | {"best_macro_f1": best}, {}, {"familia.sweep": self.sweep.name})
        return run

    def _run(self, cell: str, title: str, parent: str | None, start: int | None) -> str:
        """The id of the cell's run, made where there is none."""
        if cell in self.runs:
            return str(self.runs[cell].info.run_id)
        known = {"familia.cell": cell, "familia.sweep": self.sweep.name}
        known |= {"mlflow.parentRunId": parent} if parent else {}
        made = self.client.create_run(self.id, start_time=start, tags=known, run_name=title)
        return str(made.info.run_id)

    def _is_finished(self, cell: str) -> bool:
        return cell in self.runs and self.runs[cell].info.status == "FINISHED"

    def _log(self, run: str, numbers: dict[str, float], chosen: Any, known: dict[str, str]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        self.client.log_batch(
            run,
            metrics=[Metric(name, value, 0, 0) for name, value in numbers.items()],
            params=[Param(name, str(value)) for name, value in chosen.items()],
            tags=[RunTag(name, value[:_LONGEST]) for name, value in known.items() if value],
        )

    def _runs(self) -> Iterator[Any]:
        page: str | None = None
        while True:
            found = self.client.search_runs([self.id], max_results=_PAGE, page_token=page)
            yield from found
            page = found.token
            if not page:
                return


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's notes on its tables and its dependencies' warnings; nothing is reported."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    logs = [logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3")]
    levels = [log.level for log in logs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for log in logs:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)


def _public(words: str) -> str:
    """An address, or words with one, without names and passwords in it."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", words)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
