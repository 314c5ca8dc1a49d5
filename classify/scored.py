"""A run's figures in a thousand resamples of its photos, the same resamples for every run."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from classify.bootstrap import N_BOOT, Known, difference, figure, known, resampled, witnesses
from classify.metrics import ALL_METRICS
from classify.outcomes import F64, Outcomes
from classify.runs import Predictions, Run
from embed.errors import UserError
from embed.files import sha256, whole_file

FORMAT = "familia-resamples-3"
SIZES = {  # of a class: name -> least photos, and one more than the most
    "under 10 photos": (0, 10),
    "10 to 49 photos": (10, 50),
    "50 photos or more": (50, np.inf),
}


@dataclass(frozen=True)
class Scored:
    """What a run is worth on its out-of-fold photos, or on val or test photos."""

    run: Run
    photos: str  # digest of the scored photos with labels and groups (out of fold: of all trained)
    n: int  # photos
    units: int  # that are drawn: groups, or photos where each is one of its own
    rarer: int  # of them, those with right answers or those with wrong ones: the fewer
    samples: dict[str, F64]  # metric -> (1 + 1,000,): the value, then those of the resamples

    def figure(self, name: str) -> Known:
        """(value, low, high) with 95% of the resamples inside; None for what means nothing."""
        n = self.rarer if name == "auroc" else self.units
        return known(figure(name, self.samples[name], n))

    def difference(self, other: "Scored", name: str) -> tuple[float, float, float]:
        """The same of this run's metric minus the other's on the same photos."""
        if self.photos != other.photos:
            raise ValueError(f"{self.run.name} and {other.run.name} have different photos")
        return difference(self.samples[name], other.samples[name])


def scored(runs: Sequence[Run], part: str = "oof") -> list[Scored]:
    """Each of the runs, in their order; `part` is oof, val or test, and all have it.

    Computed from the saved predictions. The resamples are kept beside them, so the next time
    costs nothing; where that folder cannot be written they are computed again.
    """
    found = [_kept(run, part) for run in runs]
    missing = {i: _Loaded(runs[i], part) for i, one in enumerate(found) if one is None}
    for photos in {one.photos for one in missing.values()}:
        same = {i: one for i, one in missing.items() if one.photos == photos}
        first = next(iter(same.values()))
        samples = resampled(
            [one.outcomes for one in same.values()],
            ALL_METRICS,
            groups=first.groups,
            subsets=first.subsets,
        )
        n, units = len(first.groups), len(np.unique(first.groups))
        for i, own in zip(same, samples, strict=True):
            rarer = witnesses(missing[i].outcomes, "auroc", first.groups)
            untested = {k: np.zeros_like(v) for k, v in own.items() if k in SIZES and v[0] != v[0]}
            found[i] = one = Scored(runs[i], photos, n, units, rarer, own | untested)
            _keep(one, part)
    return [one for one in found if one is not None]


def predictions_file(run: Run, part: str) -> Path:
    """Where the predictions of a part lie."""
    return run.folder / ("oof.parquet" if part == "oof" else f"{part}/predictions.parquet")


def by_id(predictions: Predictions) -> NDArray[np.int64]:
    """(n,) the order in which every run's photos are the same."""
    return np.argsort(np.array(predictions.ids, dtype=str), kind="stable")


def size_of(n: int) -> str:
    """The name in `SIZES` of a class of `n` photos."""
    return next(name for name, (least, end) in SIZES.items() if least <= n < end)


def class_sizes(oof: Predictions, classes: NDArray[np.str_]) -> NDArray[np.int64]:
    """(C,) photos of each class that are scored out of fold."""
    names, counts = np.unique(oof.y, return_counts=True)
    known = dict(zip(names.tolist(), counts.tolist(), strict=True))
    return np.array([known.get(name, 0) for name in classes.tolist()])


class _Loaded:
    """What the resamples of a run need, its photos in the order of their ids."""

    def __init__(self, run: Run, part: str) -> None:
        found = Predictions.load(predictions_file(run, part))
        order = by_id(found)
        ids = np.array(found.ids, dtype=str)[order]
        self.groups = ids if found.group is None else found.group[order]
        lines = zip(ids, found.y[order], self.groups, strict=True)
        # of the same test photos runs may compete that learnt from others, such as corrected ones
        learnt = run.provenance["data"] if part == "oof" else ""
        text = [learnt, *found.classes, "", *("\t".join(line) for line in lines)]
        self.photos = sha256("\n".join(text).encode())[:16]
        self.outcomes = Outcomes.of(found.y_index, found.P).rows(order)
        sizes = class_sizes(found if part == "oof" else run.out_of_fold, found.classes)
        names = np.array([size_of(n) for n in sizes])
        self.subsets = {name: names == name for name in SIZES if name in names}


def _cache(run: Run, part: str) -> Path:
    return predictions_file(run, part).with_name("resamples.npz")


def _key(run: Run, part: str) -> str:
    """Changes with the predictions, and with what is computed from them."""
    stats = [predictions_file(run, name).stat() for name in dict.fromkeys(("oof", part))]
    marks = [f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats]
    return " ".join([FORMAT, str(N_BOOT), *marks, *ALL_METRICS, *SIZES])


def _kept(run: Run, part: str) -> Scored | None:
    try:
        with _cache(run, part).open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            if file["key"].item() != _key(run, part):
                return None
            samples = dict(zip(file["names"].tolist(), file["samples"], strict=True))
            n, units, rarer = file["n"].tolist()
            return Scored(run, file["photos"].item(), n, units, rarer, samples)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _keep(one: Scored, part: str) -> None:
    arrays = {
        "key": np.array(_key(one.run, part)),
        "photos": np.array(one.photos),
        "n": np.array([one.n, one.units, one.rarer]),
        "names": np.array(list(one.samples)),
        "samples": np.array(list(one.samples.values())),
    }
    with (
        suppress(UserError),  # a workspace may be read-only
        whole_file(_cache(one.run, part)) as scratch,
        scratch.open("wb") as file,
    ):
        np.savez(file, allow_pickle=False, **arrays)
