"""Learning curves of a sweep, and what some photos more of each class would bring."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from classify.bootstrap import Figure, interval
from classify.outcomes import F64
from classify.power_law import FAR_OFF, MOST_POINTS, NEARLY_RIGHT, gain

STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
LAST = 3  # points: the shortest stretch that a law is laid through
DRAWN = 9  # points of the law in a picture


@dataclass(frozen=True)
class Forecast:
    """What `more` photos of each class would bring, or why nothing is said."""

    sentence: str
    more: int | None = None
    gain: Figure | None = None
    law: tuple[tuple[float, float, float, float], ...] = ()
    """(photos of a class, score, low, high) from the last point on"""


def photos_more(per_class: float) -> int:
    """A round number of photos to ask about: the largest step up to half as many as there are."""
    return max(step for step in STEPS if step <= max(1.0, per_class / 2))


def forecast(per_class: Sequence[float], scores: F64, what: str = "class") -> Forecast:
    """Carry a learning curve on by a power law of the errors (Hestness et al. 2017).

    per_class : (k,) mean training photos of a class, ascending
    scores : (k, 1 + B) of each point, then in B draws that all points share; 1 is perfect

    The law is believed where `power_law.gain` believes it. Its interval holds the 95% of the draws
    of the straight lines through all points and through the last three, and of the parabola through
    the last four (in logarithms): the draws know of other photos only, the lines of a curve that
    flattens. In simulations (docs/sweep-show.md) it covers power laws with and without a floor.
    """
    photos = np.array(per_class, dtype=float)
    more = photos_more(photos[-1])
    end = photos[-1] + more
    found = gain(photos, scores, end)
    if isinstance(found, str):
        return Forecast(found)
    at = np.geomspace(photos[-1], end, DRAWN)
    drawn = _widened(photos, scores, at)
    value, low, high = drawn[-1]
    if high - low > FAR_OFF:
        return Forecast("The points are too uncertain to say what more photos would bring.")
    last = float(scores[-1, 0])
    points = f"{100 * low:+.1f} to {100 * high:+.1f} points"
    sentence = (
        f"{more} photos more of each {what}: {points} (errors as a power of the photos, carried on "
        f"from {photos[-1]:.0f}, 95%). A guess beyond what was measured."
    )
    line = tuple(
        (float(x), last + v, last + lo, last + hi) for x, (v, lo, hi) in zip(at, drawn, strict=True)
    )
    return Forecast(sentence, more, (value, low, high), line)


def _widened(photos: F64, scores: F64, at: F64) -> list[Figure]:
    """(gain, low, high) at each of `at`: by the straight line, the ends of all lines."""
    errors = np.maximum(1 - scores, NEARLY_RIGHT / 10)
    lines = [(k, 1) for k in range(min(len(photos), MOST_POINTS), LAST - 1, -1)] + [(LAST + 1, 2)]
    gains = [errors[-1] - _carried(photos[-k:], errors[-k:], at, bends) for k, bends in lines]
    found = [[interval(one[i]) for one in gains] for i in range(len(at))]
    return [
        (each[0][0], min(one[1] for one in each), max(one[2] for one in each)) for each in found
    ]


def _carried(photos: F64, errors: F64, at: F64, degree: int) -> F64:
    """(len(at), 1 + B) errors by the polynomial in the logarithms, least squares."""
    middle = np.log(photos).mean()
    powers = np.vander(np.log(photos) - middle, degree + 1)
    fitted = np.linalg.lstsq(powers, np.log(errors), rcond=None)[0]
    places = np.vander(np.log(at) - middle, degree + 1)
    return np.asarray(np.exp(np.minimum(places @ fitted, 0)))
