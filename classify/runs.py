"""A run's folder: config, predictions, fitted model and provenance, whole or not there.

config.json       what was asked for
provenance.json   data digest, encoder specs, versions, times, notes
oof.parquet       id, label, fold, group, then one probability column `p:CLASS` a class
metrics.json      figures with intervals, computed from oof.parquet
model.npz         the fitted head (no pickle)
taxonomy.json     the ranks above each class, as the table has them
corrections.csv  photos left out and labels changed for this fit, where there are any
test/, val/       the same after `cli evaluate`
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.corrections import Corrections
from classify.taxonomy import Taxonomy
from embed.errors import UserError, did_you_mean
from embed.files import read_json, sha256, whole_file
from embed.spec import EncoderSpec
from embed.workspace import Workspace, slug

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class RunConfig:
    """All that decides what is fitted, beside the data."""

    head: str
    balance: str
    encoders: tuple[str, ...]
    folds: int
    seed: int
    split: str
    label: str
    options: dict[str, Any] = field(default_factory=dict)  # the head's own parameters
    columns: tuple[str, ...] = ()  # of the table, beside the vectors
    allow_leak: bool = False  # whether one of them tells the label, and that is meant
    members: tuple[str, ...] = ()  # the heads of a stack
    exclude: str = ""  # tables of photos that were left out, and of other labels
    relabel: str = ""

    @property
    def command(self) -> str:
        """The command that fits it."""
        heads = (*self.members, self.head)
        plain = [name.removesuffix("-columns") for name in heads]
        words = ["cli fit", *(word for name in plain for word in ("--head", name))]
        words += ["--lgbm-on", "columns"] * ("lgbm-columns" in heads)
        words += _option_words(self.options)
        words += [word for name in self.columns for word in ("--with", name)]
        words += ["--allow-leak"] * self.allow_leak
        words += ["--exclude", self.exclude] * bool(self.exclude)
        words += ["--relabel", self.relabel] * bool(self.relabel)
        words += ["--balance", self.balance] * (self.balance != "none")
        words += [word for name in self.encoders for word in ("--encoder", name)]
        words += ["--folds", str(self.folds)] * (self.folds != 5)
        words += ["--seed", str(self.seed)] * (self.seed != 0)
        words += ["--split", self.split] * (self.split != "default")
        return " ".join(words)

    def run_name(self, vectors_digest: str) -> str:
        """A name that is equal for an equal config on equal vectors by the same program."""
        identity = asdict(self) | {"vectors": vectors_digest, "familia": versions()["familia"]}
        for table in ("exclude", "relabel"):  # what they changed is in the digest of the vectors
            del identity[table]
        digest = sha256(json.dumps(identity, sort_keys=True).encode())[:6]
        balance = () if self.balance == "none" else (self.balance,)
        values = [
            slug(value if name == "loss" else f"{name}{_as_word(value)}")
            for name, value in self.options.items()
        ]
        encoders = "+".join(slug(name) for name in self.encoders)
        side = [slug(name) for name in self.columns]
        return "-".join((self.head, *balance, *values, "+".join([encoders, *side]), digest))


def _option_words(options: Mapping[str, Any]) -> Iterator[str]:
    """`--loss focal --set C=10`, as `cli fit` takes them."""
    for name, value in options.items():
        yield from ("--loss", value) if name == "loss" else ("--set", f"{name}={_as_word(value)}")


def _as_word(value: Any) -> str:
    if value is None:
        return "none"
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Predictions:
    """Probabilities for labelled photos."""

    ids: list[str]
    y: NDArray[np.str_]  # (n,) true labels
    P: F64  # (n, C) rows sum to 1
    classes: NDArray[np.str_]  # (C,)
    fold: NDArray[np.int64] | None = None  # (n,) for out-of-fold predictions
    group: NDArray[np.str_] | None = None  # (n,) rows that are no independent witnesses

    @property
    def y_index(self) -> NDArray[np.int64]:
        """(n,) column of each true label; -1 for a class that the model never saw."""
        column = {name: i for i, name in enumerate(self.classes.tolist())}
        return np.array([column.get(label, -1) for label in self.y.tolist()], dtype=np.int64)

    @property
    def predicted(self) -> NDArray[np.str_]:
        return np.asarray(self.classes[self.P.argmax(axis=1)])

    def save(self, path: Path) -> None:
        import pandas as pd

        columns: dict[str, Any] = {"id": self.ids, "label": self.y.tolist()}
        if self.fold is not None:
            columns["fold"] = self.fold
        if self.group is not None:
            columns["group"] = self.group.tolist()
        columns |= {f"p:{name}": self.P[:, i] for i, name in enumerate(self.classes.tolist())}
        with whole_file(path) as scratch:
            pd.DataFrame(columns).to_parquet(scratch, index=False)

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        import pandas as pd

        try:
            table = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} is damaged ({error}). Remove its run and fit again."
            ) from error
        names = [name for name in table.columns if name.startswith("p:")]
        return cls(
            ids=table["id"].tolist(),
            y=table["label"].to_numpy(dtype=str),
            P=table[names].to_numpy(dtype=np.float64),
            classes=np.array([name[2:] for name in names], dtype=str),
            fold=table["fold"].to_numpy(dtype=np.int64) if "fold" in table else None,
            group=table["group"].to_numpy(dtype=str) if "group" in table else None,
        )


@dataclass(frozen=True)
class Run:
    """A finished run on disk."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def config(self) -> RunConfig:
        needed = [f.name for f in fields(RunConfig) if f.default is MISSING]
        value = self._read("config.json", [name for name in needed if name != "options"])
        lists = {name: tuple(item) for name, item in value.items() if isinstance(item, list)}
        return RunConfig(**{**value, **lists})

    @property
    def provenance(self) -> dict[str, Any]:
        return self._read("provenance.json", ["data", "vectors", "photos", "encoders", "seconds"])

    @property
    def specs(self) -> list[EncoderSpec]:
        """The encoders whose vectors the model takes, in the order of its columns."""
        try:
            return [EncoderSpec.from_json(value) for value in self.provenance["encoders"]]
        except ValueError as error:
            raise self._damaged(error) from error

    @property
    def out_of_fold(self) -> Predictions:
        return Predictions.load(self.folder / "oof.parquet")

    @property
    def taxonomy(self) -> Taxonomy:
        """The ranks above its classes; a run of an earlier version knows none."""
        path = self.folder / "taxonomy.json"
        if not path.exists():
            label = self.config.label
            return Taxonomy(label, (label,), {})
        return Taxonomy.from_json(read_json(path))

    @property
    def corrections(self) -> Corrections:
        """What was left out and relabelled for it."""
        path = self.folder / "corrections.csv"
        return Corrections.load(path) if path.exists() else Corrections("id")

    @property
    def figures(self) -> dict[str, Any]:
        """name -> [value, low, high], out of fold."""
        return self._read("metrics.json", ["macro_f1"])

    def evaluated(self, part: str) -> dict[str, Any] | None:
        """The same on the `val` or `test` photos; None before `evaluate`."""
        name = f"{part}/metrics.json"
        return self._read(name, ["macro_f1"]) if (self.folder / name).exists() else None

    @property
    def model_bytes(self) -> int:
        try:
            return self.model_file.stat().st_size
        except OSError as error:
            raise self._damaged(error) from error

    def _read(self, name: str, keys: Sequence[str]) -> dict[str, Any]:
        try:
            value = read_json(self.folder / name)
            return dict(value) | {key: value[key] for key in keys}
        except (UserError, KeyError, TypeError, ValueError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> UserError:
        return UserError(
            f"The run {self.name} is damaged ({error}). "
            f"Remove {self.folder} and run `cli fit` again."
        )

    def touch(self) -> None:
        """Make it the newest run, as if it had been fitted now."""
        with suppress(OSError):  # a workspace may be read-only
            (self.folder / "config.json").touch()

    @property
    def model_file(self) -> Path:
        return self.folder / "model.npz"


def find_run(workspace: Workspace, config: RunConfig, vectors_digest: str) -> Run | None:
    """The finished run of this very config on these very vectors, if there is one."""
    folder = workspace.runs / config.run_name(vectors_digest)
    return Run(folder) if (folder / "config.json").exists() else None


def all_runs(workspace: Workspace) -> list[Run]:
    """Every finished run, by name."""
    return [Run(path.parent) for path in sorted(workspace.runs.glob("[!.]*/config.json"))]


def best_first(runs: Sequence[Run]) -> list[Run]:
    """By out-of-fold macro-F1, ties by name (the run without balancing comes first)."""
    return sorted(runs, key=lambda run: (-run.figures["macro_f1"][0], run.name))


def named_run(workspace: Workspace, name: str | None) -> Run:
    """The run called `name` (its beginning is enough), by default the best out of fold.

    The best has the highest out-of-fold macro-F1 among the runs on the photos of the newest
    run, so the test split has no say in it and older data none either.
    """
    runs = all_runs(workspace)
    if not runs:
        raise UserError("There is no run here yet. Run `cli fit --head all` first.")
    if name is None:
        newest = max(runs, key=lambda run: (run.folder / "config.json").stat().st_mtime_ns)
        data = newest.provenance["data"]
        runs = [run for run in runs if run.provenance["data"] == data]
        return best_first(runs)[0]
    matches = [run for run in runs if run.name == name] or [
        run for run in runs if run.name.startswith(name)
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UserError(
            f"Several runs begin with '{name}': {', '.join(run.name for run in matches)}. "
            "Give more of the name."
        )
    raise UserError(f"There is no run '{name}'. {did_you_mean(name, [run.name for run in runs])}")


@contextmanager
def new_run(workspace: Workspace, name: str) -> Iterator[Path]:
    """Yield a scratch folder that becomes the run's once all is in it."""
    scratch = workspace.runs / f".{name}.{os.getpid()}.tmp"
    final = workspace.runs / name
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"{workspace.runs} cannot be written ({error.strerror}). "
            "Choose a folder you may write to with --workspace FOLDER."
        ) from error
    try:
        yield scratch
        if not final.exists():  # else another process finished the same run meanwhile
            scratch.rename(final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def versions() -> dict[str, str]:
    """Versions of what a figure may depend on."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    names: Sequence[str] = (
        "familia", "torch", "timm", "open_clip_torch", "numpy", "scikit-learn",
        "imbalanced-learn", "lightgbm", "faiss-cpu", "scipy", "pandas", "pillow",
    )  # fmt: skip
    found = {"python": platform.python_version(), "machine": platform.platform()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
