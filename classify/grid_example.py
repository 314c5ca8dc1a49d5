"""`cli sweep --init`: a grid to begin with, every key explained in it."""

from pathlib import Path

from embed.errors import UserError
from embed.files import write_text

_TEXT = """\
# A grid for `cli sweep`: every combination of the values below is a cell.
# `cli sweep THIS.toml --dry-run` says how many cells there are, and how long they take.
# Lines that begin with # are switched off. All keys are told of in docs/sweep.md.

# Encoders that the photos were embedded with; a list within the list puts them side by side.
# Without this line: those of the last `cli embed`.
# encoders = ["efficientnet-lite0", "efficientnet-lite2", ["efficientnet-lite0", "pixels"]]

# logreg, lgbm, knn, lda, centroid, prior, lgbm-columns, tip, zeroshot; stack is made of the first
# five. Without this line: the first five and stack.
heads = ["logreg", "knn", "lda", "centroid"]

# none, weights, oversample, undersample, smote, borderline-smote, adasyn
balance = ["none", "smote"]

# Training photos of each class: a number, a share such as "25%", or "all".
photos = [5, 10, "all"]

# Another seed is another draw of folds and photos: two or more show what is luck.
seeds = [0, 1]

# Principal components of the vectors, or "none".
# pca = ["none", 64, 256]

# Vectors as they are stored, or rounded to 16 bits.
# precision = ["stored", "float16"]

# Columns of the table beside the vectors, as `cli fit --with` takes them.
# columns = ["none", ["month"], ["month", "place:category"]]

# Saved splits (see `cli split`), and the number of folds.
# splits = ["default", "by-place"]
# folds = 5

# Parameters of a head vary for this head alone; "auto" is what it does by itself.
[knn]
k = ["auto", 1, 5, 15]

# Ranges: step by step, or evenly in the logarithm.
# [logreg]
# C = {from = 0.1, to = 1000, log = 5}

# What is to be left out: cells that meet all conditions of one table.
[[exclude]]
head = "knn"
balance = "smote"

# Axes that are walked together, the first values of all, then the second:
# [[zip]]
# precision = ["stored", "float16"]
# folds = [5, 3]

# Several grids in one file; each takes from above what it does not say itself.
# [[grid]]
# heads = ["lda"]
# [[grid]]
# heads = ["lgbm"]
# balance = "none"
"""


def example_grid() -> str:
    """A commented grid that runs in any workspace with a split of its own."""
    return _TEXT


def write_example(path: Path) -> None:
    """Write `example_grid` to a new file; one that is there is a `UserError`."""
    if path.exists():
        raise UserError(f"{path} is there already. Name a new file: `cli sweep NEW.toml --init`.")
    write_text(path, example_grid())
