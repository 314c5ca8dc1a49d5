"""Two runs on the same photos: the paired difference, in words."""

from classify.metrics import paired_difference
from classify.runs import Run


def paired_verdict(run: Run, other: Run, what: str) -> str:
    """One sentence: `what`: macro-F1 difference in points with its 95% interval, and the reading.

    Both must have out-of-fold predictions for the same photos in the same order.
    """
    mine, theirs = run.out_of_fold, other.out_of_fold
    if mine.ids != theirs.ids:
        raise ValueError(f"{run.name} and {other.name} were fitted on different photos")
    difference, low, high = paired_difference(
        mine.y_index, mine.P, theirs.P, "macro_f1", groups=mine.group
    )
    return f"{what}: {in_words(difference, low, high)}"


def in_words(difference: float, low: float, high: float) -> str:
    """A difference with its interval (fractions), as points and a plain reading."""
    points, low, high = (round(100 * value, 1) + 0.0 for value in (difference, low, high))
    if low > 0:
        reading = "better"
    elif high < 0:
        reading = "worse"
    else:
        reading = "no clear difference"
    return f"macro-F1 {points:+.1f} points [{low:+.1f}, {high:+.1f}], {reading}"
