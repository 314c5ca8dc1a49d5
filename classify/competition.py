"""Heads on the same photos and folds: each one's run, and the stack's that is made of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.class_texts import class_texts
from classify.columns import SideColumns
from classify.corrections import Corrections
from classify.dataset import Dataset
from classify.folds import out_of_fold
from classify.heads import NEED_TEXTS, make_head
from classify.metrics import HEADLINE, intervals
from classify.model import Model, TextVectors
from classify.model_card import write_card
from classify.resources import Meter
from classify.runs import Predictions, Run, RunConfig, find_run, new_run, versions
from classify.stack import Pooling, Stack, contributions, in_words
from classify.taxonomy import Taxonomy
from classify.verdicts import balance_verdict
from embed.files import write_json
from embed.workspace import Workspace


@dataclass(frozen=True)
class Fitted:
    """A run with what is worth saying about it."""

    run: Run
    reused: bool  # an identical run was there already
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Competition:
    """The training photos and folds that all heads share."""

    workspace: Workspace
    train: Dataset
    fold: NDArray[np.int64]  # (n,), -1 for rows that always train
    text_vectors: TextVectors | None = None  # of the encoder that knows words, where one does
    corrections: Corrections | None = None  # that `train` has had
    taxonomy: Taxonomy | None = None  # where its classes stand; by default what its table says
    _fits: dict[bytes, SideColumns] = field(default_factory=dict)  # see `Model`
    _told: set[str] = field(default_factory=set)  # notes on the columns, which all heads share

    def fit_head(self, config: RunConfig) -> Fitted:
        """One head's run; an identical finished one is returned as it is."""
        if found := self._found(config):
            return Fitted(found, True)
        columns = SideColumns(config.columns, self.text_vectors) if config.columns else None
        model = Model(self._head(config), columns, self._fits)
        with Meter() as folds:
            predictions = out_of_fold(model, self.train, self.fold)
        with Meter() as whole:
            model.fit(self.train)
        run = self._save(config, model, predictions, folds, whole, model.notes)
        notes = [note for note in model.notes if note not in self._told]
        self._told.update(model.notes)
        return Fitted(run, False, notes + self._against_unbalanced(run))

    def fit_stack(self, config: RunConfig, members: Sequence[Run]) -> Fitted:
        """The stack of the runs `members`, which are there already."""
        if found := self._found(config):
            return Fitted(found, True, found.provenance["notes"])
        out = [run.out_of_fold for run in members]
        sizes = np.unique(self.train.y, return_counts=True)[1]
        names = [run.config.head for run in members]
        pooling = Pooling([one.P for one in out], out[0].y_index, out[0].fold, sizes)
        with Meter() as folds:
            pooled = replace(out[0], P=pooling.out_of_fold)
            parts = contributions(names, pooling, out[0].group)
        with Meter() as whole:
            models = [Model.load(run.model_file, self.text_vectors) for run in members]
            heads = {name: model.head for name, model in zip(names, models, strict=True)}
            model = Model(Stack(heads, pooling.pool), models[0].columns)
        for name, meter in (("folds", folds), ("fit", whole)):  # it costs what its members cost
            meter.seconds += sum(run.provenance["seconds"][name] for run in members)
        notes = [f"stack: {pooling.pool.describe(names)}", *in_words(parts)]
        run = self._save(config, model, pooled, folds, whole, notes, {"contributions": parts})
        return Fitted(run, False, notes + self._against_unbalanced(run))

    def _found(self, config: RunConfig) -> Run | None:
        found = find_run(self.workspace, config, self.train.inputs_digest(config.columns))
        if found is not None:
            found.touch()
        return found

    def _head(self, config: RunConfig) -> Any:
        options = dict(config.options)
        if config.head in NEED_TEXTS:
            options |= self._class_texts
        return make_head(config.head, config.balance, config.seed, **options)

    @cached_property
    def _class_texts(self) -> dict[str, Any]:
        return class_texts(self.workspace, self.train)

    def _save(
        self,
        config: RunConfig,
        model: Model,
        predictions: Predictions,
        folds: Meter,
        whole: Meter,
        notes: list[str],
        more: dict[str, Any] | None = None,
    ) -> Run:
        train = self.train
        with Meter() as predicting:
            model.predict_proba(train.X[:1000], train.rows[:1000])
        seconds = {
            "folds": folds.seconds,
            "fit": whole.seconds,
            "predict_1000": predicting.seconds / min(len(train), 1000) * 1000,
        }
        digest = train.inputs_digest(config.columns)
        name = config.run_name(digest)
        with new_run(self.workspace, name) as folder:
            model.save(folder / "model.npz")
            predictions.save(folder / "oof.parquet")
            y, P, groups = predictions.y_index, predictions.P, predictions.group
            write_json(folder / "metrics.json", intervals(y, P, HEADLINE, groups=groups))
            facts = {
                "data": train.digest,
                "vectors": digest,
                "photos": len(train),
                "classes": len(predictions.classes),
                "encoders": [spec.to_json() for spec in train.specs],
                "seconds": seconds,
                "peak_bytes": max(folds.peak_bytes, whole.peak_bytes),
                "notes": notes,
                "versions": versions(),
            }
            write_json(folder / "provenance.json", facts | (more or {}))
            taxonomy = self.taxonomy or Taxonomy.of(train.rows, train.label)
            write_json(folder / "taxonomy.json", taxonomy.to_json())
            if self.corrections:
                self.corrections.save(folder / "corrections.csv")
            write_json(folder / "config.json", asdict(config))
            write_card(folder, name)
        return Run(self.workspace.runs / name)

    def _against_unbalanced(self, run: Run) -> list[str]:
        """Whether balancing helped, where the same run without it is there to compare with."""
        config = run.config
        if config.balance == "none":
            return []
        digest = self.train.inputs_digest(config.columns)
        plain = find_run(self.workspace, replace(config, balance="none"), digest)
        if plain is None:
            return [f"to see whether {config.balance} helps, fit with --balance none as well"]
        return [balance_verdict(run, plain)]
