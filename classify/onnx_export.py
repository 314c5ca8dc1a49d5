"""`cli export`: a run's head for other programs, as ONNX, checked against the original."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.knn import Knn
from classify.model import Model
from classify.onnx_graph import EXPORTABLE, model_of, parts
from classify.runs import Run, versions
from embed.collection import load_collection
from embed.errors import UserError, did_you_mean
from embed.files import write_bytes, write_json
from embed.spec import EncoderSpec
from embed.vectors import load_vectors, open_stores
from embed.words import counted
from embed.workspace import Workspace

FORMS = ("onnx",)
TOLERANCE = 1e-5  # of a probability
N_STORED, N_RANDOM = 500, 100  # rows that the check compares
# Similarities nearer than this may change places between two programs that add in float32.
TIE = 1e-6

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Exported:
    """What `export_run` wrote, and how near it is to the original."""

    path: Path
    labels: Path  # JSON: the classes in the order of the columns, and where it all comes from
    bytes: int
    rows: int  # compared with the original
    stored_rows: int  # vectors of the run's training photos among those tried
    ties: int  # not compared: two neighbours of other classes are equally far, either may vote
    difference: float  # the largest of any probability

    @property
    def notes(self) -> list[str]:
        """What is worth saying of the check."""
        notes = []
        if not self.stored_rows:
            notes.append(
                "the run's training vectors are gone from the workspace, so the file was compared "
                "with the original on random rows only"
            )
        if self.ties:
            notes.append(
                f"{counted(self.ties, 'row')} not compared: two neighbours of different classes "
                "are equally far, and which of them votes may differ between machines"
            )
        return notes


def export_run(
    workspace: Workspace, run: Run, to: str = "onnx", output: Path | None = None
) -> Exported:
    """Write `run`'s head as ONNX (opset 17): `embedding` (n, dim) to `probabilities` (n, C).

    Both are float32. The rows go in as the store has them, of unit length, several encoders as
    `embed.vectors.side_by_side` joins them. Beside FILE (by default `model.onnx` in the run's
    folder) lies FILE.json with the labels. Raises `UserError` for a head that has no such form,
    without the packages, and where onnxruntime's probabilities differ from the original's by
    more than `TOLERANCE`; then nothing is written.
    """
    if to not in FORMS:
        raise UserError(f"'{to}' is no form to export to. {did_you_mean(to, FORMS)}")
    _need_packages()
    head = _exportable(run)
    facts = _facts(run, head)
    data = model_of(head, {k: v if isinstance(v, str) else _json(v) for k, v in facts.items()})
    stored = _stored_rows(workspace, run)
    X = _rows_to_try(head, stored)
    tied = _ties(head, X)
    difference = np.abs(_run_onnx(data)(X) - head.predict_proba(X)).max(axis=1)
    worst = float(difference[~tied].max(initial=0))
    if not worst <= TOLERANCE:
        raise UserError(
            f"As ONNX {run.name} gives probabilities that differ by up to {worst:.1g} from its "
            "own, so nothing was written. This is a fault of the export, or of this onnxruntime "
            f"({_version('onnxruntime')}): `cli predict --run {run.name}` is right."
        )
    path = output or run.folder / "model.onnx"
    labels = path.with_name(f"{path.name}.json")
    write_bytes(path, data)
    write_json(labels, facts)
    return Exported(
        path, labels, len(data), int((~tied).sum()), len(stored), int(tied[:-1].sum()), worst
    )


def _need_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"Exporting to ONNX needs the package {error.name}. Run `pip install 'familia[onnx]'`."
        ) from error


def _exportable(run: Run) -> Any:
    """The run's head; a `UserError` where it has no ONNX form."""
    config, columns = run.config, run.config.columns
    names = config.members if config.head == "stack" else (config.head,)
    if never := [name for name in names if name not in EXPORTABLE]:
        raise UserError(
            f"{run.name} cannot become ONNX: {', '.join(never)} cannot be written as arithmetic "
            f"on one vector. Heads that can: {', '.join(EXPORTABLE)}, and a stack of these. Fit "
            "one, for example `cli fit --head logreg`."
        )
    if columns:
        raise UserError(
            f"{run.name} cannot become ONNX: beside the vectors it takes {', '.join(columns)} of "
            "the table, whose encoding is no part of the graph. Fit one without --with."
        )
    return Model.load(run.model_file).head


def _facts(run: Run, head: Any) -> dict[str, Any]:
    """What a reader of the file must know, labels in the order of the columns first."""
    config, provenance = run.config, run.provenance
    return {
        "classes": [str(name) for name in head.classes_],
        "label": config.label,
        "head": config.head,
        "balance": config.balance,
        "run": run.name,
        "data": provenance["data"],
        "encoders": [_without_source(spec) for spec in run.specs],
        "familia": versions()["familia"],
    }


def _without_source(spec: EncoderSpec) -> dict[str, Any]:
    """The spec, but for a folder on this machine: the file is to travel."""
    return {"digest": spec.digest, **{k: v for k, v in spec.to_json().items() if k != "source"}}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _stored_rows(workspace: Workspace, run: Run) -> F32:
    """(n, dim) vectors of up to `N_STORED` of the run's training photos; none if they are gone."""
    specs = run.specs
    none = np.empty((0, sum(spec.dim for spec in specs)), dtype=np.float32)
    try:
        stores = open_stores(workspace, [spec.name for spec in specs])
        if [store.spec.digest for store in stores] != [spec.digest for spec in specs]:
            return none
        rows = load_collection(workspace.collection).rows
        keys = rows["key"][rows["id"].isin(run.out_of_fold.ids)].tolist()
        return load_vectors(stores, keys[:: -(-len(keys) // N_STORED) or 1])
    except UserError:
        return none


def _rows_to_try(head: Any, stored: F32) -> F32:
    """Stored rows, random unit rows, and last the mean: once centred it is as far from all."""
    mean = parts(head)[0].mean_[None].astype(np.float32)
    random = np.random.default_rng(0).normal(size=(N_RANDOM, mean.shape[1])).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    return np.vstack([stored, random, mean])


def _ties(head: Any, X: F32) -> NDArray[np.bool_]:
    """(n,) rows for which the last of the neighbours that vote is a toss-up between classes."""
    tied = np.zeros(len(X), dtype=bool)
    for knn in (part for part in parts(head) if isinstance(part, Knn)):
        similarity = knn._rows(X) @ knn.bank_.T
        last = -np.partition(-similarity, knn.k_ - 1, axis=1)[:, knn.k_ - 1 : knn.k_]
        level = np.abs(similarity - last) <= TIE
        lowest = np.where(level, knn.bank_index_, len(knn.classes_)).min(axis=1)
        highest = np.where(level, knn.bank_index_, -1).max(axis=1)
        tied |= lowest != highest
    return tied


def _run_onnx(data: bytes) -> Callable[[F32], F32]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda X: np.asarray(session.run(["probabilities"], {"embedding": X})[0])


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
