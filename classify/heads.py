"""The heads by name, and reading what a file keeps of one: plain arrays, no pickle."""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from classify.base import Head, State
from classify.centroid import Centroid
from classify.knn import Knn
from classify.lda import Lda
from classify.lgbm_columns import LgbmColumns
from classify.logreg import LogReg
from classify.prior import Prior
from classify.rerank import Lgbm
from classify.tip import Tip
from classify.zeroshot import ZeroShot
from embed.errors import UserError, did_you_mean

__all__ = ["HEADS", "NEED_TEXTS", "Head", "make_head", "read_state"]

HEADS: dict[str, type[Head]] = {
    head.name: head
    for head in (LogReg, Lgbm, Knn, Lda, Centroid, Tip, ZeroShot, Prior, LgbmColumns)
}
NEED_TEXTS = ("tip", "zeroshot")  # they compare photos with the names of the classes
# What reading a foreign file, or one with changed bytes, may raise; zipfile has RuntimeErrors.
DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, AttributeError),
    *(zipfile.BadZipFile, zlib.error),
)


def make_head(name: str, balance: str = "none", random_state: int = 0, **options: Any) -> Head:
    """An unfitted head; an unknown name is a `UserError`. `options` are its own parameters."""
    if name not in HEADS:
        raise UserError(f"'{name}' is no head. {did_you_mean(name, HEADS)}")
    return HEADS[name](balance=balance, random_state=random_state, **options)


def read_state(path: Path, form: str, build: Callable[[str, State], Any]) -> Any:
    """What `build(kind, state)` makes of the arrays in `path`.

    A missing, damaged or foreign file is a `UserError`. Nothing in it is executed.
    """
    try:
        # numpy does not close a file that it opened and could not read
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            state: State = {name: file[name] for name in file.files}
        if str(state.pop("format")) != form:
            raise ValueError("another format")
        kind = str(state.pop("head"))
        if set(state.pop("keys")) != set(state):
            raise ValueError("arrays are missing")
        return build(kind, state)
    except DAMAGE as error:
        raise UserError(
            f"{path} is no model of this program, or is damaged ({error}). "
            "Remove its run's folder and run `cli fit` again."
        ) from error
