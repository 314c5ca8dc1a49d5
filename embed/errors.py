"""The one exception for what a user can mend, and the wording that such errors share."""

import difflib
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """A mistake of the user's: the command line shows it as `Error: …` and exits with 1.

    The message says what was expected, what came, and the command that mends it.
    """


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A sentence naming the choice nearest to `word`, then all of them."""
    names = sorted(choices)
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.5)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    return f"{hint}Choose from: {', '.join(names)}."


def near_path(path: Path) -> str:
    """A sentence with the name beside `path` that is most like its own, or nothing."""
    try:
        names = [other.name for other in path.absolute().parent.iterdir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
