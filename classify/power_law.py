"""What a learning curve allows to say of more photos: a power law, where it holds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from classify.bootstrap import interval
from classify.outcomes import F64

FEWEST_BEFORE = 3  # points that foretell the last one
MOST_POINTS = 5  # the last ones: few photos a class follow another law than many
FURTHER = 1.5  # times the photos that the law must foretell
NEARLY_RIGHT = 0.01  # of errors: too few to fit a law to
FAR_OFF = 0.1  # width of an interval that says too little to be printed
MISSED = 0.02  # by which the law may miss a point


def outlook(photos: Sequence[float], scores: F64) -> str:
    """A sentence on what twice the photos would bring, or why nothing is said.

    photos : (k,) mean training photos of a class, ascending
    scores : (k, 1 + B) macro-F1 of each point, then in B resamples that all points share

    The errors 1 - score follow a power law of the photos in many learning curves (Hestness et
    al. 2017, "Deep learning scaling is predictable, empirically"). It is believed here only where
    the points before the last foretell the last, and all lie near the line.
    """
    last, first = float(scores[-1, 0]), float(scores[0, 0])
    if len(photos) < 2:
        return "One point is no curve: nothing is said of more photos."
    seen = (
        f"From {photos[0]:.0f} to {photos[-1]:.0f} training photos a class on average, macro-F1 "
        f"goes from {first:.3f} to {last:.3f}."
    )
    found = gain(np.array(photos), scores, 2 * photos[-1])
    if isinstance(found, str):
        return f"{seen} {found}"
    value, low, high = found
    return (
        f"{seen} If it goes on as it went (errors as a power of the photos), twice the photos, of "
        f"the same kind, would bring {100 * value:.1f} points [{100 * low:.1f}, {100 * high:.1f}]. "
        "A guess beyond what was measured: new places or seasons may bring more, wrong labels less."
    )


def gain(photos: NDArray[np.float64], scores: F64, at: float) -> tuple[float, float, float] | str:
    """(gain, low, high) in score with `at` photos of a class, or why nothing is said of them.

    photos, scores : as `outlook` takes them; `at` lies beyond the last
    """
    photos, scores = photos[-MOST_POINTS:], scores[-MOST_POINTS:]
    before = photos * FURTHER <= photos[-1]
    if before.sum() < FEWEST_BEFORE:
        return "Too few points for a guess at what more photos would bring."
    errors = 1 - scores
    if errors[-1, 0] < NEARLY_RIGHT:
        return "Nearly all is right already: more photos can bring little here."
    errors = np.maximum(errors, NEARLY_RIGHT / 10)
    foretold = law(photos[before], errors[before], photos[-1:])[0]
    _, low, high = interval(foretold - errors[-1])
    line = law(photos, errors, photos)
    missed = float(np.abs(line[:, 0] - errors[:, 0]).max())
    holds = low <= 0 <= high or abs(foretold[0] - errors[-1, 0]) < MISSED
    if not holds or missed > MISSED:
        return "No power law fits these points, so nothing is said of more photos."
    value, low, high = interval(errors[-1] - law(photos, errors, np.array([at]))[0])
    if high - low > FAR_OFF or value <= 0:
        return "The points are too uncertain to say what more photos would bring."
    return value, low, high


def law(photos: NDArray[np.float64], errors: F64, at: NDArray[np.float64]) -> F64:
    """(len(at), 1 + B) of the straight line through the logarithms of (k,) and (k, 1 + B)."""
    x, y = np.log(photos), np.log(errors)
    centred = x - x.mean()
    slope = centred @ y / (centred @ centred)
    return np.asarray(np.exp(y.mean(axis=0) + np.outer(np.log(at) - x.mean(), slope)))
