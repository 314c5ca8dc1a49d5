"""`model-card.md` of a run: what it is, what it learnt from, how good it is, where it ends.

Everything in it comes from the run's own files, beside what is known of encoders by name. The
headings follow Mitchell et al. 2019, Model Cards for Model Reporting, and those of model hubs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classify.markdown import fenced, plain, table
from classify.metrics import per_class
from classify.runs import Predictions, Run
from embed.encoder_facts import facts_of
from embed.files import write_text
from embed.words import counted

IN_WORDS = {
    "logreg": "multinomial logistic regression",
    "knn": "nearest neighbours: the most alike training photos vote",
    "centroid": "nearest class mean",
    "lda": "linear discriminant analysis with a shrunken covariance",
    "lgbm": "LightGBM that re-ranks the classes of the nearest neighbours",
    "lgbm-columns": "LightGBM on columns made of the vector",
    "zeroshot": "photos are compared with the names of the classes",
    "tip": "names of the classes, and training photos that vote (Tip-Adapter)",
    "prior": "how frequent the classes are, whatever the photo shows: a floor to compare with",
    "stack": "several heads, whose log-probabilities are combined",
}
FEW = 5  # photos: a class with so few has figures that are mostly luck
CLASSES_SHOWN, HARDEST_SHOWN = 60, 10
CONFIDENCE = (0.0, 0.5, 0.8, 0.95, 1.0)
PARTS = {"": "out of fold", "val": "val", "test": "test"}
_SMALL = 256  # bytes: of one number in model.npz, with its header
FRONT = """---
license: other
license_name: not-stated
library_name: familia
pipeline_tag: image-classification
tags:
- image-classification
- biology
- familia
---"""


def write_card(folder: Path, name: str | None = None) -> Path:
    """Write the card of the run in `folder`, called `name` where that is a scratch folder."""
    path = folder / "model-card.md"
    write_text(path, model_card(Run(folder), name))
    return path


def model_card(run: Run, name: str | None = None) -> str:
    """The card of `run` in Markdown; names from tables and folders are shown, never obeyed."""
    name = name or run.name
    oof = run.out_of_fold
    sections = (
        f"{FRONT}\n\n# {plain(name)}\n\n{_purpose(run)}",
        f"## What it is\n\n{_what(run, name)}",
        f"## What it learnt from\n\n{_data(run, oof)}",
        f"## Encoders\n\n{_encoders(run)}",
        f"## Figures\n\n{_figures(run, oof)}",
        f"## Limits\n\n{_bullets(_limits(run, oof))}",
        f"## Use\n\n{_use(run, name)}",
        f"## Made with\n\n{_origin(run, name)}",
    )
    return "\n\n".join(sections) + "\n"


def _purpose(run: Run) -> str:
    return (
        f"Tells the {plain(run.config.label)} of what a photo shows: a probability for each of "
        f"{counted(run.provenance['classes'], 'class', 'classes')}. Vectors of frozen encoders go "
        "in; no network was trained for it."
    )


def _what(run: Run, name: str) -> str:
    config = run.config
    head = plain(config.head) + (f", {words}" if (words := IN_WORDS.get(config.head)) else "")
    given = {"balance": config.balance, **config.options, "seed": config.seed}
    facts = [f"Head: {head}", f"Set: {_pairs(given)}"]
    if chosen := _chosen(run):
        facts.append(f"Chosen on the training photos: {_pairs(chosen)}")
    if config.members:
        facts.append(f"Made of: {_listed(config.members)}")
    if config.columns:
        facts.append(f"Beside the photo it takes columns of a table: {_listed(config.columns)}")
    numbers = sum(spec.dim for spec in run.specs)
    facts.append(f"In: {numbers:,} numbers a photo. Out: probabilities that sum to 1")
    return _bullets(facts)


def _chosen(run: Run) -> dict[str, Any]:
    """The single numbers that fitting chose, by name."""
    if not run.model_file.exists():
        return {}
    with np.load(run.model_file, allow_pickle=False) as file:
        small = [
            i.filename.removesuffix(".npy") for i in file.zip.infolist() if i.file_size < _SMALL
        ]
        found = {key: file[key] for key in small if key.endswith("_") and key != "n_features_in_"}
    return {
        key.rstrip("_"): f"{value.item():.4g}"
        for key, value in found.items()
        if value.ndim == 0 and value.dtype.kind in "iuf"
    }


def _data(run: Run, oof: Predictions) -> str:
    config, facts = run.config, run.provenance
    counts = np.unique(oof.y, return_counts=True)[1]
    alone = facts["classes"] - len(counts)
    said = [
        f"{counted(facts['photos'], 'photo')} of "
        f"{counted(facts['classes'], 'class', 'classes')}, by the column {plain(config.label)}; "
        f"the training side of the split {plain(config.split)}",
        f"Data digest: {plain(facts['data'])} (ids, contents, labels, groups); with the encoders: "
        f"{plain(facts['vectors'])}",
    ]
    if len(counts):
        said.append(
            f"Photos in a class: {counts.min():,} in the smallest, {np.median(counts):,.0f} in the "
            f"median, {counts.max():,} in the largest"
            + (" (of the classes that are scored)" if alone else "")
        )
    if oof.group is not None:
        groups = len(np.unique(oof.group))
        said.append(
            f"The {counted(len(oof.ids), 'photo')} that are scored are of "
            f"{counted(groups, 'group')}; a group was never on both sides of a fold"
        )
    shown = oof.classes[:CLASSES_SHOWN].tolist()
    more = len(oof.classes) - len(shown)
    rest = f" and {more:,} more: the columns of oof.parquet" if more else ""
    return f"{_bullets(said)}\n\nClasses: {_listed(shown)}{rest}."


def _encoders(run: Run) -> str:
    specs = run.specs
    known = [facts_of(spec) for spec in specs]
    rows = [
        (spec.name, spec.architecture, spec.dim, spec.pooling, spec.precision, spec.weights)
        for spec in specs
    ]
    header = ("encoder", "architecture", "numbers", "pooling", "precision", "digest of the weights")
    notes = [
        f"Of {plain(spec.name)}: licence {plain(one.licence)}. Seen in training: {plain(one.seen)}."
        for spec, one in zip(specs, known, strict=True)
    ]
    return f"{table(header, rows)}\n\n{_bullets(notes)}"


def _figures(run: Run, oof: Predictions) -> str:
    found = {
        title: values
        for part, title in PARTS.items()
        if (values := run.evaluated(part) if part else run.figures)
    }
    names = list(dict.fromkeys(name for values in found.values() for name in values))
    rows = [
        [name.replace("_", " "), *(_interval(values.get(name)) for values in found.values())]
        for name in names
    ]
    groups = oof.group is not None and len(np.unique(oof.group)) < len(oof.ids)
    folds = len(np.unique(oof.fold)) if oof.fold is not None else run.config.folds
    about = (
        f"Out of fold: each photo by a model that saw neither it nor its group, {folds} folds, "
        f"{counted(len(oof.ids), 'photo')}. In brackets 95% intervals, by bootstrap over the "
        f"{'groups' if groups else 'photos'}. Of log loss less is better."
    )
    if "test" not in found:
        about += " The test photos have not been looked at yet."
    blocks = [table(["figure", *found], rows), about, _calibration(oof), _hardest(oof)]
    return "\n\n".join(block for block in blocks if block)


def _interval(value: Any) -> str:
    if not isinstance(value, list) or len(value) != 3 or value[0] is None:
        return ""
    if None in value:
        return f"{value[0]:.3f}"
    return f"{value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})"


def _calibration(oof: Predictions) -> str:
    """How often the likeliest class is right, by how likely the model says that it is."""
    if not len(oof.ids):
        return ""
    said, right = oof.P.max(axis=1), oof.predicted == oof.y
    bins = np.digitize(said, CONFIDENCE[1:-1])
    rows = [
        (
            f"{CONFIDENCE[b]:.0%} to {CONFIDENCE[b + 1]:.0%}",
            int((bins == b).sum()),
            f"{said[bins == b].mean():.1%}",
            f"{right[bins == b].mean():.1%}",
        )
        for b in np.unique(bins)
    ]
    mean = f"Out of fold the likeliest class has {said.mean():.1%} on average and is right in "
    header = ("probability of the likeliest class", "photos", "on average", "right")
    return f"{mean}{right.mean():.1%} of the photos.\n\n{table(header, rows)}"


def _hardest(oof: Predictions) -> str:
    """The classes with the lowest F1 and what they were taken for."""
    scores = per_class(oof.y_index, oof.P, oof.classes)
    worst = scores[scores["n"] > 0].sort_values("f1", kind="stable").head(HARDEST_SHOWN)
    if worst.empty:
        return ""
    rows = [
        (
            row["class"],
            int(row["n"]),
            f"{row['f1']:.2f}",
            f"{row['recall']:.2f} ({row['recall_low']:.2f} to {row['recall_high']:.2f})",
            _taken_for(oof, row["class"]),
        )
        for row in worst.to_dict("records")
    ]
    header = ("class", "photos", "F1", "found", "most often taken for")
    return f"The hardest classes, out of fold:\n\n{table(header, rows)}"


def _taken_for(oof: Predictions, name: str) -> str:
    wrong = oof.predicted[(oof.y == name) & (oof.predicted != name)]
    names, counts = np.unique(wrong, return_counts=True)
    return f"{names[counts.argmax()]} ({counts.max()})" if len(names) else ""


def _limits(run: Run, oof: Predictions) -> list[str]:
    config, facts = run.config, run.provenance
    label = plain(config.label)
    said = [
        f"It knows these {counted(facts['classes'], 'class', 'classes')} and no other. A photo of "
        "another, or of nothing at all, gets one of these names too, sometimes with a high "
        "probability",
        "The figures hold for photos like those of the training: other places, seasons, cameras, "
        "backgrounds or kinds of photo may give worse ones, and nothing here measures that",
    ]
    names, counts = np.unique(oof.y, return_counts=True)
    few = [f"{n} ({k})" for n, k in zip(names, counts, strict=True) if k <= FEW]
    if few:
        said.append(
            f"{counted(len(few), 'class has', 'classes have')} {FEW} photos or fewer, so each of "
            f"their figures is mostly luck: {_listed(few[:20])}{', …' * (len(few) > 20)}"
        )
    if never := sorted(set(oof.classes.tolist()) - set(names.tolist())):
        said.append(
            f"{counted(len(never), 'class was', 'classes were')} never scored, having all "
            f"photos in one group: {_listed(never[:20])}{', …' * (len(never) > 20)}"
        )
    if oof.group is not None and len(np.unique(oof.group)) == len(oof.ids):
        said.append(
            "Each photo is a group of its own: where photos show the same animal, or follow on "
            "one another, the figures are too good (`cli split --by COLUMN`)"
        )
    if config.balance != "none":
        said.append(
            f"Rare classes were helped ({plain(config.balance)}), so probabilities are not those "
            "of the frequencies among the training photos"
        )
    if config.allow_leak:
        said.append(
            f"One of its columns tells the {label}, and that was allowed (--allow-leak): the "
            "figures say what the column knows, not what the photo shows"
        )
    said.append(
        "Runs that were chosen for the highest of many figures are a little less good than it says"
    )
    return said + [f"Noted while fitting: {plain(note)}" for note in facts.get("notes", [])]


def _use(run: Run, name: str) -> str:
    commands = [
        f"cli predict PHOTOS --run {name}",
        f"cli evaluate --run {name}",
        run.config.command,
    ]
    return (
        f"{fenced(commands)}\n\nThe first names new photos, the second tests it on the photos that "
        "were held out, the third fits it again from the same collection. model.npz holds plain "
        "arrays, no code."
    )


def _origin(run: Run, name: str) -> str:
    versions: dict[str, str] = run.provenance.get("versions", {})
    made = {key: value for key, value in versions.items() if key != "machine"}
    cites = dict.fromkeys(cite for spec in run.specs if (cite := facts_of(spec).cite))
    own = f"familia {made.get('familia', '')}, run {name}, data {run.provenance['data']}"
    return f"{_pairs(made)}.\n\nTo cite it:\n\n{_bullets(map(plain, [own, *cites]))}"


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{plain(key)} {plain(value)}" for key, value in values.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(plain(name) for name in names)


def _bullets(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)
