"""What does the second value of a parameter cost, once the first has been fitted?

The 11,983 rows of the Rare Species table (`FAMILIA_SHARED`), 202 families, 512 drawn numbers each
(`_vectors.py`). A head is fitted on all of them and predicts a fifth more photos. "Alone" is one
value in a memo of its own, as one cell of a sweep; "together" is all values with one memo, and what
they say is compared bit for bit with fits without any memo. Values of k from 1 to 30 one by one,
and ten values of C from 1 to 1,000, a factor apart. One BLAS thread, as in a worker of a sweep, and
seconds of the processor, so that other work on the machine does not count; medians of three rounds.
Goals: kNN over 30 values of k costs at most 1.3 times one; ten values of C at most 3 times one fit.
A fit at a given C is compared with both what it costs alone and what `logreg` costs where it
chooses C itself, as `cli fit` does. The memo's own cost is that of a fit with an empty memo less
that of one without.
`FAMILIA_QUICK=1`: 24 families.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from _vectors import NO_PHOTOS, NOTE, QUICK, Drawn, rare_species

KS = range(1, 31)
STRENGTHS = tuple(float(C) for C in np.round(np.logspace(0, 3, 10), 3))
MIDDLE_K, MIDDLE_C = 15, 5  # a value of k; the place of a value of C
ROUNDS = 1 if QUICK else 3
MEMO = 2 * 10**9


def cell(name: str, drawn: Drawn, **options: Any) -> Any:
    """A head fitted and asked: (m, C) probabilities."""
    from classify.heads import make_head

    return make_head(name, **options).fit(drawn.X, drawn.y).predict_proba(drawn.X_new)


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def cells(name: str, drawn: Drawn, options: Sequence[dict[str, Any]], memo: bool = True) -> Any:
    """The probabilities of several fits, with one memo (or none)."""
    from classify.digests import unchanging
    from classify.shared_work import shared_work

    if not memo:
        return [cell(name, drawn, **one) for one in options]
    for rows in (drawn.X, drawn.X_new):
        unchanging(rows)
    with shared_work(MEMO):
        return [cell(name, drawn, **one) for one in options]


def median(name: str, drawn: Drawn, options: Sequence[dict[str, Any]], memo: bool = True) -> float:
    times = [seconds(lambda: cells(name, drawn, options, memo)) for _ in range(ROUNDS)]
    return statistics.median(times)


def same_bits(name: str, drawn: Drawn, options: Sequence[dict[str, Any]]) -> str:
    """Whether some of the values, fitted without a memo, say the same."""
    some = options[:: max(1, len(options) // 3)]
    alone = cells(name, drawn, some, memo=False)
    together = cells(name, drawn, options)[:: max(1, len(options) // 3)]
    equal = all(a.tobytes() == b.tobytes() for a, b in zip(alone, together, strict=True))
    return "the same bits" if equal else "**other bits**"


def measure() -> str:
    import faiss  # noqa: F401  # before threads are limited, so that its own are too
    from threadpoolctl import threadpool_limits

    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return NO_PHOTOS
    with threadpool_limits(1):
        drawn, _ = rare_species(shared)
        few = Drawn(drawn.X[:300], drawn.y[:300], drawn.X_new[:10], drawn.y_new[:10])
        for name in ("knn", "logreg"):  # so that importing does not count
            cell(name, few)
        return NOTE + _measured(drawn)


def _measured(drawn: Drawn) -> str:
    ks = [{"k": k} for k in KS]
    strengths = [{"C": C} for C in STRENGTHS]
    middle = [{"k": MIDDLE_K}], [strengths[MIDDLE_C]]
    one_k, one_c = median("knn", drawn, middle[0]), median("logreg", drawn, middle[1])
    all_k, all_c = median("knn", drawn, ks), median("logreg", drawn, strengths)
    bare_k = median("knn", drawn, middle[0], memo=False)
    bare_c = median("logreg", drawn, middle[1], memo=False)
    chosen_k, chosen_c = median("knn", drawn, [{}]), median("logreg", drawn, [{}])
    lines = [
        f"{len(drawn.y):,} photos, {len(np.unique(drawn.y))} classes, {drawn.X.shape[1]} numbers.",
        "",
        "| | seconds | times one |",
        "| --- | --- | --- |",
        f"| knn, k = {MIDDLE_K}, no memo | {bare_k:.2f} | |",
        f"| knn, k = {MIDDLE_K}, alone | {one_k:.2f} | 1 |",
        f"| knn, k chosen inside | {chosen_k:.2f} | {chosen_k / one_k:.2f} |",
        f"| knn, {len(ks)} values of k together | {all_k:.2f} | {all_k / one_k:.2f} |",
        f"| logreg, C = {STRENGTHS[MIDDLE_C]:g}, no memo | {bare_c:.2f} | |",
        f"| logreg, C = {STRENGTHS[MIDDLE_C]:g}, alone | {one_c:.2f} | 1 |",
        f"| logreg, C chosen inside | {chosen_c:.2f} | {chosen_c / one_c:.2f} |",
        f"| logreg, {len(strengths)} values of C together | {all_c:.2f} | {all_c / one_c:.2f} |",
        "",
        f"Goal ≤ 1.3: {_verdict(all_k, 1.3 * one_k)}. {len(strengths)} values of C, goal ≤ 3: "
        f"{_verdict(all_c, 3 * one_c)} against one fit at a given C, {all_c / chosen_c:.2f} and "
        f"{_verdict(all_c, 3 * chosen_c)} against one that chooses C.",
        "",
        f"Sharing does not change what they say: knn {same_bits('knn', drawn, ks)}, "
        f"logreg {same_bits('logreg', drawn, strengths)}. The memo itself costs "
        f"{one_k - bare_k:+.2f} s and {one_c - bare_c:+.2f} s a fit.",
    ]
    return "\n".join(lines)


def _verdict(found: float, goal: float) -> str:
    return "met" if found <= goal else "missed"


if __name__ == "__main__":
    print(measure())
