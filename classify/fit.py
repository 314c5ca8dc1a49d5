"""`cli fit`: what is asked for, checked; then each head's run, and what is worth saying."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from classify.balance import BALANCES
from classify.class_texts import text_encoder
from classify.competition import Competition, Fitted
from classify.corrections import Corrections
from classify.dataset import Dataset, load_dataset
from classify.folds import held_out_folds, in_one_group
from classify.head_options import Options, read_options
from classify.heads import HEADS, NEED_TEXTS
from classify.leaks import refuse_leaks
from classify.logreg import LOSSES
from classify.runs import Run, RunConfig
from classify.taxonomy import Taxonomy
from embed.collection import load_collection
from embed.errors import UserError, did_you_mean
from embed.texts import text_vectors
from embed.words import counted
from embed.workspace import Workspace

WIDE = 0.1  # of an interval of macro-F1: beyond it a comparison of heads says next to nothing
MEMBERS = ("logreg", "lgbm", "knn", "lda", "centroid")  # of the stack
CHOICES = (*HEADS, "stack", "all")


@dataclass(frozen=True)
class Request:
    """What `fit` is to do."""

    heads: tuple[str, ...] = ("all",)
    balance: str = "none"
    loss: str = LOSSES[0]  # of logreg
    lgbm_on: str = "candidates"  # or columns: which of the two heads lgbm is
    encoders: Sequence[str] | None = None
    folds: int = 5
    seed: int = 0
    split: str = "default"
    columns: tuple[str, ...] = ()  # of the table, as a second input
    allow_leak: bool = False
    exclude: Path | None = None  # tables of photos to leave out, and of other labels
    relabel: Path | None = None
    set: Sequence[str] = ()  # parameters of heads: NAME=VALUE, HEAD.NAME=VALUE


def fit(
    workspace: Workspace, request: Request, on_run: Callable[[Fitted], None] = lambda fitted: None
) -> list[str]:
    """Fit the heads on the training rows; each finished run is saved and handed over.

    `stack` alone fits the heads that it is made of first; with other heads it is made of those.

    Returns notes on the data. Raises `UserError` for unknown names and data that nothing can
    be learnt from.
    """
    _check_words(request)
    dataset, notes = load_dataset(workspace, request.encoders, request.split)
    corrections = Corrections.read(request.exclude, request.relabel, dataset.label)
    everything = load_collection(workspace.collection).rows if corrections else None
    dataset, corrected = corrections.apply(dataset, everything)
    notes += corrected
    train = dataset.part("train")
    check_learnable(train)
    leaks = refuse_leaks(
        train.rows, train.y, request.columns, train.label, request.allow_leak, train.group
    )
    fold = held_out_folds(train, request.folds, request.seed)
    spec = text_encoder(train)
    texts = partial(text_vectors, workspace, spec.source) if spec else None
    taxonomy = Taxonomy.of(dataset.rows, dataset.label)  # of test photos' classes too
    competition = Competition(workspace, train, fold, texts, corrections, taxonomy)
    base = RunConfig(
        head="",
        balance="none",
        encoders=tuple(spec.name for spec in train.specs),
        folds=request.folds,
        seed=request.seed,
        split=request.split,
        label=train.label,
        columns=request.columns,
        allow_leak=bool(leaks),
        exclude=str(request.exclude or ""),
        relabel=str(request.relabel or ""),
    )
    heads, with_stack = _wanted(request, spec is not None)
    balances = _balance_of(heads, request.balance)
    options = _options(request, heads)
    runs = []
    for name in heads:
        config = replace(base, head=name, balance=balances[name], options=options[name])
        fitted = competition.fit_head(config)
        if balances[name] != request.balance:
            said = f"{request.balance} means nothing to {name}: fitted without"
            fitted = replace(fitted, notes=[said, *fitted.notes])
        runs.append(fitted.run)
        on_run(fitted)
    if with_stack:
        members = [run for run in runs if run.config.head != "prior"]
        names = tuple(run.config.head for run in members)
        given = _options_of_stack({name: options[name] for name in names})
        config = replace(base, head="stack", balance=request.balance, options=given, members=names)
        fitted = competition.fit_stack(config, members)
        on_run(fitted)
    return notes + leaks + _small_classes(train) + _wide_interval(train, fitted.run)


def _wanted(request: Request, texts: bool) -> tuple[list[str], bool]:
    """The heads to fit, and whether a stack is made of them; `texts`: an encoder knows words."""
    on_columns = {"lgbm": "lgbm-columns"} if request.lgbm_on == "columns" else {}
    members = [on_columns.get(name, name) for name in MEMBERS]
    heads = dict.fromkeys(on_columns.get(name, name) for name in request.heads)
    named = [name for name in heads if name not in ("stack", "all")]
    if needy := [name for name in named if name in NEED_TEXTS and not texts]:
        raise UserError(
            f"{needy[0]} compares photos with the names of their classes, which takes an encoder "
            "that knows words: bioclip, bioclip-2 or another of open_clip. Run "
            "`cli embed PHOTOS --encoder bioclip` and `cli fit --encoder bioclip`."
        )
    if "all" in request.heads:
        extra = NEED_TEXTS if texts else ()
        return list(dict.fromkeys(["prior", *members, *extra, *named])), True
    if "stack" not in request.heads:
        return named, False
    if len(named) == 1:
        raise UserError(f"A stack is made of two heads or more. Add one to --head {named[0]}.")
    return named or members, True


def _options(request: Request, heads: Sequence[str]) -> dict[str, Options]:
    """The parameters of each head that are not at their default, by name."""
    found = read_options(request.set, heads)
    if request.loss != LOSSES[0] and "logreg" in found:
        own = found["logreg"]
        if own.get("loss", request.loss) != request.loss:
            both = f"--loss {request.loss} and --set loss={own['loss']}"
            raise UserError(f"{both} contradict each other. Give one of them.")
        found["logreg"] = dict(sorted({**own, "loss": request.loss}.items()))
    return found


def _options_of_stack(members: Mapping[str, Options]) -> Options:
    """HEAD.NAME of each of its heads; but `loss` is logreg's alone."""
    return {
        name if name == "loss" else f"{head}.{name}": value
        for head, options in members.items()
        for name, value in options.items()
    }


def _balance_of(heads: Sequence[str], balance: str) -> dict[str, str]:
    """What each head is balanced with: `balance`, or none where it means nothing to the head."""
    found = {head: balance if balance in HEADS[head].balances else "none" for head in heads}
    if balance not in found.values():
        instead = " (`--lgbm-on columns` takes the others too)" if "lgbm" in heads else ""
        raise UserError(
            f"--balance {balance} means nothing to {heads[0]}. It takes "
            f"{', '.join(HEADS[heads[0]].balances)}{instead}."
        )
    return found


def _check_words(request: Request) -> None:
    for head in request.heads:
        _check_choice("head", head, CHOICES)
    _check_choice("balance", request.balance, BALANCES)
    _check_choice("loss", request.loss, LOSSES)
    if request.loss != LOSSES[0] and not {"logreg", "stack", "all"} & set(request.heads):
        raise UserError(f"--loss {request.loss} is for logreg. Add `--head logreg`.")


def _check_choice(what: str, word: str, choices: Sequence[str]) -> None:
    if word not in choices:
        raise UserError(f"'{word}' is no {what}. {did_you_mean(word, choices)}")


def check_learnable(train: Dataset) -> None:
    classes = np.unique(train.y)
    if len(classes) < 2:
        only = f"only '{classes[0]}'" if len(classes) else "none"
        raise UserError(
            f"Expected at least two classes of '{train.label}' among the training photos, found "
            f"{only}. Check the column with `cli info`, or choose another: "
            "`cli embed PHOTOS --label COLUMN`."
        )


def _small_classes(train: Dataset) -> list[str]:
    classes, counts = np.unique(train.y, return_counts=True)
    notes = []
    if tiny := [f"{name} ({n})" for name, n in zip(classes, counts, strict=True) if n <= 3]:
        have = f"{counted(len(tiny), 'class has', 'classes have')} 1 to 3 training photos"
        shown = ", ".join(tiny[:8]) + (", …" if len(tiny) > 8 else "")
        notes.append(f"{have}: {shown}; kept, but their figures are mostly luck")
    single = len(np.unique(train.y[in_one_group(train)]))
    if single:
        fate = (
            "they always train and are not scored out of fold"
            if single < len(classes)
            else "held out, nothing can predict them, so all count as errors"
        )
        notes.append(
            f"{counted(single, 'class has', 'classes have')} all training photos in one group (a "
            f"single photo, or one value of `split --by`): {fate}"
        )
    return notes


def _wide_interval(train: Dataset, run: Run) -> list[str]:
    _, low, high = run.figures["macro_f1"]
    if high - low < WIDE:
        return []
    return [
        f"so few photos prove little: with {len(train):,} training photos the interval of "
        f"macro-F1 is {100 * (high - low):.0f} points wide, so most differences here are luck"
    ]
