"""The heads by name, and their files: one .npz of plain arrays, no pickle."""

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from classify.base import Head, State
from classify.knn import Knn
from classify.lgbm_columns import LgbmColumns
from classify.logreg import LogReg
from embed.errors import UserError, did_you_mean
from embed.files import write_bytes

__all__ = ["HEADS", "Head", "load_head", "make_head", "save_head"]

HEADS: dict[str, type[Head]] = {head.name: head for head in (LogReg, Knn, LgbmColumns)}
FORMAT = "familia-head-2"
# What reading a foreign file, or one with changed bytes, may raise; zipfile has RuntimeErrors.
DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def make_head(name: str, balance: str = "none", random_state: int = 0) -> Head:
    """An unfitted head; an unknown name is a `UserError`."""
    if name not in HEADS:
        raise UserError(f"'{name}' is no head. {did_you_mean(name, HEADS)}")
    return HEADS[name](balance=balance, random_state=random_state)


def save_head(head: Any, path: Path) -> None:
    """Write a fitted head (or stack) to `path` (.npz), whole or not at all."""
    buffer, state = io.BytesIO(), head.state()
    np.savez(buffer, format=FORMAT, head=head.name, keys=np.array(list(state)), **state)
    write_bytes(path, buffer.getvalue())


def load_head(path: Path) -> Any:
    """The head or stack in `path`; it predicts as it did, bit for bit.

    A missing, damaged or foreign file is a `UserError`. Nothing in it is executed.
    """
    from classify.stack import Stack

    kinds: dict[str, Any] = {**HEADS, Stack.name: Stack}
    try:
        # numpy does not close a file that it opened and could not read
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            state: State = {name: file[name] for name in file.files}
        if str(state.pop("format")) != FORMAT:
            raise ValueError("another format")
        kind = kinds[str(state.pop("head"))]
        if set(state.pop("keys")) != set(state):
            raise ValueError("arrays are missing")
        return kind.from_state(state)
    except DAMAGE as error:
        raise UserError(
            f"{path} is no model of this program, or is damaged ({error}). "
            "Remove its run's folder and run `cli fit` again."
        ) from error
