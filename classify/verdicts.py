"""Two runs on the same photos: the paired difference, in words."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from classify.runs import Run, RunConfig
from classify.scored import SIZES, Scored, scored


def paired_verdict(run: Run, other: Run, what: str) -> str:
    """One sentence: `what`: macro-F1 difference in points with its 95% interval, and the reading.

    Both must have out-of-fold predictions for the same photos.
    """
    one, two = scored([run, other])
    return f"{what}: {in_words(*one.difference(two, 'macro_f1'))}"


def balance_verdict(run: Run, plain: Run) -> str:
    """Whether balancing helped, out of fold, and which sizes of classes: `plain` is without it."""
    one, two = scored([run, plain])
    return _verdict(one, two, f"{run.config.balance} against no balancing")


def verdicts(found: Sequence[Scored]) -> dict[str, list[str]]:
    """Run name -> what its balance, its loss and its columns bring, where its twin is there too."""
    configs = [one.run.config for one in found]
    inputs = [one.run.provenance for one in found]
    said: dict[str, list[str]] = {one.run.name: [] for one in found}
    for one, config, mine in zip(found, configs, inputs, strict=True):
        for what, without in _without(config):
            same = "encoders" if "columns" in without else "vectors"
            twins = (
                other
                for other, its, theirs in zip(found, configs, inputs, strict=True)
                if its == replace(config, **without)
                and (other.photos, theirs[same]) == (one.photos, mine[same])
            )
            if (twin := next(twins, None)) is not None:
                said[one.run.name].append(_verdict(one, twin, what))
    return said


def in_words(difference: float, low: float, high: float) -> str:
    """A macro-F1 difference with its interval (fractions), as points and a plain reading."""
    return f"macro-F1 {_points(difference, low, high)}, {reading(low, high)}"


def reading(low: float, high: float) -> str:
    """What the interval of a difference says, where more is better."""
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no clear difference"


def _without(config: RunConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the run has beyond a twin, in words, and the fields of that twin that differ."""
    if config.balance != "none":
        yield f"{config.balance} against no balancing", {"balance": "none"}
    if "loss" in config.options:
        others = {name: value for name, value in config.options.items() if name != "loss"}
        yield f"{config.options['loss']} against cross-entropy", {"options": others}
    if config.columns:
        without = {"columns": (), "allow_leak": False}
        yield f"with {', '.join(config.columns)} against without", without


def _verdict(one: Scored, twin: Scored, what: str) -> str:
    words = f"{what}: {in_words(*one.difference(twin, 'macro_f1'))}"
    sizes = [name for name in SIZES if name in one.samples]
    return f"{words}; {_by_size(one, twin, sizes)}" if len(sizes) > 1 else words


def _by_size(one: Scored, twin: Scored, sizes: Sequence[str]) -> str:
    said, unclear = [], []
    for name in sizes:
        difference = one.difference(twin, name)
        verb = {"better": "it helps", "worse": "it harms"}.get(reading(*difference[1:]))
        if verb:
            said.append(f"{verb} classes of {name} ({_points(*difference)})")
        else:
            unclear.append(name)
    if not said:
        return "no clear difference for any size of class"
    if unclear:
        said.append(f"no clear difference for those of {' and '.join(unclear)}")
    return ", ".join(said)


def _points(difference: float, low: float, high: float) -> str:
    points, low, high = (100 * value + 0.0 for value in (difference, low, high))  # no -0
    return f"{points:+.1f} points [{low:+.1f}, {high:+.1f}]"
