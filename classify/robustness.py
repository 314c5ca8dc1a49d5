"""How much of a run's figures is left when its held-out photos are of poor quality."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.bootstrap import difference, figure, resampled
from classify.dataset import Dataset
from classify.model import Model
from classify.outcomes import F64, Outcomes
from classify.predict import run_lanes
from classify.runs import Predictions, Run
from embed.encoder import Choice, PerturbedEncoder
from embed.engine import Lane, embed_photos
from embed.errors import UserError
from embed.ingest import known_stamps
from embed.perturb import PERTURBATIONS
from embed.store import EmbeddingStore
from embed.vectors import load_vectors
from embed.words import counted
from embed.workspace import Workspace

METRICS = ("accuracy", "macro_f1")
N_EXAMPLES = 5
N_CLASSES = 5
_SAME = 1 - 1e-5  # cosine of a vector that did not move: float32's sums in another order


def robustness_report(
    workspace: Workspace,
    run: Run,
    model: Model,
    held_out: Dataset,
    predictions: Predictions,
    names: Sequence[str],
    choice: Choice | None = None,
    batch_size: int | None = None,
    n_boot: int = 1000,
) -> dict[str, Any]:
    """What robustness.json holds: for each of `names` in `PERTURBATIONS` what it costs.

    predictions : of the photos in `held_out` as they are, in its order

    The perturbed photos go through the run's own encoders; their vectors are kept in a store of
    their own beside the others (`NAME@blur`), so that asking again runs no network. `difference`
    is perturbed minus as they are on the same resamples of the same photos. Raises `UserError`
    where an encoder is missing or is another, and where no photo can be read.
    """
    clean = run_lanes(workspace, run, choice)
    lanes = {name: [_perturbed_lane(workspace, lane, name) for lane in clean] for name in names}
    every = [lane for own in lanes.values() for lane in own]
    keep, notes = _embedded(workspace, run, held_out, every, batch_size)
    keys = held_out.rows["key"].iloc[keep].tolist()
    rows = held_out.rows.iloc[keep].reset_index(drop=True)
    before = _Answers(predictions, held_out, keep)
    vectors = {
        name: load_vectors([lane.store for lane in own], keys) for name, own in lanes.items()
    }
    after = {name: model.predict_proba(X, rows) for name, X in vectors.items()}
    samples = resampled(
        [Outcomes.of(before.y, P) for P in (before.P, *after.values())],
        METRICS,
        n_boot,
        groups=before.group,
    )
    units = len(np.unique(before.group))
    perturbations = []
    for name, own in zip(names, samples[1:], strict=True):
        similarity = np.vecdot(before.X, vectors[name])
        perturbations.append(
            {
                "name": name,
                "what": PERTURBATIONS[name].what,
                "figures": {m: figure(m, own[m], units) for m in METRICS},
                "difference": {m: difference(own[m], samples[0][m]) for m in METRICS},
                "similarity": float(similarity.mean()),
                "unmoved": int((similarity > _SAME).sum()),
                **before.against(after[name]),
            }
        )
    return {"photos": len(keys), "perturbations": perturbations, "notes": notes}


def _perturbed_lane(workspace: Workspace, lane: Lane, name: str) -> Lane:
    encoder = PerturbedEncoder(lane.encoder, name)
    return Lane(encoder, EmbeddingStore.open(workspace.store(encoder.spec.name), encoder.spec))


def _embedded(
    workspace: Workspace,
    run: Run,
    held_out: Dataset,
    lanes: Sequence[Lane],
    batch_size: int | None,
) -> tuple[NDArray[np.int64], list[str]]:
    """The rows of `held_out` that have a vector in every lane now, and notes on the others.

    A photo that was changed since it was embedded is another photo than the one predicted.
    """
    paths = held_out.rows["path"].tolist()
    done = embed_photos(paths, lanes, known_stamps(workspace, paths), batch_size)
    same = done.stamps.keys == held_out.rows["key"].to_numpy(dtype="S64")
    changed = int((done.readable & ~same).sum())
    notes = [
        f"left out: {held_out.rows['file_path'].iloc[i]} ({done.problems[paths[i]]})"
        for i in np.flatnonzero(~done.readable)
    ]
    if changed:
        notes.append(
            f"left out: {counted(changed, 'photo')} changed since they were embedded; "
            "run `cli embed` again"
        )
    keep = np.flatnonzero(same)
    if not len(keep):
        raise UserError(
            f"Not one of the {len(paths):,} photos that {run.name} is tested on can be read as it "
            f"was ({'; '.join(notes[:3])}). Perturbed photos are made of the originals: put them "
            "back where they lay, or run `cli embed PHOTOS` where they lie now."
        )
    return keep, notes


class _Answers:
    """What a run says of photos as they are, to be held against what it says of worse ones."""

    def __init__(
        self, predictions: Predictions, held_out: Dataset, keep: NDArray[np.int64]
    ) -> None:
        self.ids = [predictions.ids[i] for i in keep]
        self.paths = held_out.rows["path"].iloc[keep].tolist()
        self.labels, self.classes = predictions.y[keep], predictions.classes
        self.y, self.P = predictions.y_index[keep], predictions.P[keep]
        self.X, self.group = held_out.X[keep], held_out.group[keep]
        self.answers = predictions.predicted[keep]

    def against(self, P: F64) -> dict[str, Any]:
        """Agreement, examples of answers that changed, and the classes that lose most."""
        answers = self.classes[P.argmax(axis=1)]
        return {
            "agreement": float((answers == self.answers).mean()),
            "examples": self._examples(answers, P.max(axis=1)),
            "classes": self._classes(answers),
        }

    def _examples(self, answers: NDArray[np.str_], sureness: F64) -> list[dict[str, Any]]:
        """First those that were right, the surest of their new answer first."""
        changed = np.flatnonzero(answers != self.answers)
        lost = self.answers[changed] == self.labels[changed]
        first = changed[np.lexsort((-sureness[changed], ~lost))][:N_EXAMPLES]
        return [
            {
                "id": self.ids[i],
                "path": self.paths[i],
                "label": str(self.labels[i]),
                "before": str(self.answers[i]),
                "after": str(answers[i]),
                "probability": float(sureness[i]),
            }
            for i in first
        ]

    def _classes(self, answers: NDArray[np.str_]) -> list[dict[str, Any]]:
        """The classes of which the most photos are not told any more."""
        names, index = np.unique(self.labels, return_inverse=True)
        n = np.bincount(index)
        before = np.bincount(index, self.answers == self.labels).astype(int)
        after = np.bincount(index, answers == self.labels).astype(int)
        most = np.argsort(after - before, kind="stable")[:N_CLASSES]
        return [
            {
                "class": str(names[c]),
                "n": int(n[c]),
                "right_before": int(before[c]),
                "right_after": int(after[c]),
            }
            for c in most
            if after[c] < before[c]
        ]
