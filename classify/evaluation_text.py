"""What `cli evaluate` prints: the figures of one run on one screen."""

from collections.abc import Iterator, Mapping
from typing import Any

from classify.evaluate import Evaluation
from classify.tables import bracketed

SHOWN = 5


def lines(found: Evaluation) -> Iterator[str]:
    """A line each; what was not asked for or has no figure is left out."""
    yield f"{found.run.name} on {found.photos:,} {found.part} photos, 95% intervals:"
    for name, value in found.figures.items():
        yield f"  {name:18} {bracketed(value)}"
    yield from _sizes(found.reports["sizes"])
    yield from _ranks(found.reports["ranks"])
    yield from _sureness(found.reports["calibration"])
    yield from _errors(found)
    yield from _robustness(found.reports.get("robustness", {}))
    if unknown := found.reports.get("unknown"):
        best = unknown["scores"][unknown["best"]]
        yield f"Classes it never saw: AUROC {bracketed(best['auroc'])}"
        yield f"  {unknown['rule']}"


def _sizes(sizes: Mapping[str, Any]) -> Iterator[str]:
    if len(sizes) > 1:
        said = [f"{name} {bracketed(one['macro_f1'])}" for name, one in sizes.items()]
        yield f"Macro-F1 of classes by their training photos: {', '.join(said)}"


def _ranks(ranks: Mapping[str, Any]) -> Iterator[str]:
    if len(ranks["ranks"]) < 2:
        return
    said = [f"{one['rank']} {bracketed(one['accuracy'])}" for one in ranks["ranks"]]
    yield f"Accuracy by rank: {', '.join(said)}"
    sure = ranks["confident"]
    at = [f"{one['photos']:,} {one['rank']}" for one in sure["answers"] if one["photos"]]
    yield (
        f"Answers at the finest rank that is at least {sure['threshold']:.0%} sure: "
        f"{', '.join(at)}; right {bracketed(sure['correct'], per_cent=True)}"
    )
    met = [f"{rank} {n:,}" for rank, n in ranks["severity"]["errors_by_common_ancestor"].items()]
    if met:
        mistake = bracketed(ranks["severity"]["average_mistake"])
        yield f"Errors by the rank that unites them with the truth: {', '.join(met)}"
        yield f"Ranks that an error is off: {mistake}"


def _sureness(found: Mapping[str, Any]) -> Iterator[str]:
    best, methods = found["best"], found["methods"]
    helped = (
        "no recalibration does better out of fold"
        if best == "none"
        else f"{best} {bracketed(methods[best]['ece'])}"
    )
    yield f"Calibration error {bracketed(methods['none']['ece'])}; {helped}"
    at = {one["coverage"]: one for one in found["risk_coverage"]["at"]}
    if 0.8 in at:
        yield f"Errors among the surest 80% of answers: {bracketed(at[0.8]['risk'], per_cent=True)}"
    for one in found["conformal"]:
        if one["method"] == "lac" and one["level"] == 0.9:
            yield (
                f"Sets of classes that are to hold the right one in 90%: they do in "
                f"{bracketed(one['coverage'], per_cent=True)}, with {bracketed(one['mean_size'])} "
                "classes"
            )


def _errors(found: Evaluation) -> Iterator[str]:
    hardest = [f"{name} ({f1:.2f} of {n:,})" for name, f1, n in found.hardest(SHOWN)]
    yield f"Lowest F1 (and {found.part} photos): {', '.join(hardest)}"
    pairs = [
        f"{one['truth']} for {one['predicted']} ({one['n']:,})"
        for one in found.reports["confusions"]["pairs"][:SHOWN]
    ]
    if pairs:
        yield f"Most often taken: {', '.join(pairs)}"
    if found.errors:
        yield "Most confident errors:"
    for error in found.errors[:SHOWN]:
        near = error["neighbours"][0]["label"]
        yield (
            f"  {error['file_path']}: {error['label']} taken for {error['predicted']} "
            f"({error['probability']:.0%}); nearest training photo: {near}"
        )


def _robustness(found: Mapping[str, Any]) -> Iterator[str]:
    for one in found.get("perturbations", ()):
        yield (
            f"Photos {one['name']}: accuracy {bracketed(one['figures']['accuracy'])}, "
            f"change {bracketed(one['difference']['accuracy'])}"
        )
