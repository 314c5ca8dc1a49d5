"""`--set NAME=VALUE`: parameters of the heads as words, read and checked before anything runs."""

from collections.abc import Sequence
from typing import Any, get_args, get_type_hints

from classify.heads import HEADS
from embed.errors import UserError, did_you_mean

GIVEN_ELSEWHERE = ("balance", "random_state", "layout")
NONE = "none"  # the head's own choice, as a word
_READ: dict[type, tuple[str, Any]] = {
    int: ("a whole number", int),
    float: ("a number", float),
    str: ("a name", str),
}

Options = dict[str, Any]


def takes(head: str) -> dict[str, tuple[type, ...]]:
    """The parameters of a head that are numbers or names, with their types; NoneType is a type."""
    hints = get_type_hints(HEADS[head].__init__)
    found = {}
    for name in HEADS[head]().get_params():
        kinds = get_args(hints[name]) or (hints[name],)
        if name not in GIVEN_ELSEWHERE and set(kinds) & set(_READ):
            found[name] = tuple(kinds)
    return found


def read_options(words: Sequence[str], heads: Sequence[str]) -> dict[str, Options]:
    """What `NAME=VALUE` (for each of `heads` that has it) and `HEAD.NAME=VALUE` give each head.

    What is at its default is left out, so that it makes no other run. Raises `UserError` for
    unknown names, names that no head takes, values of another kind or out of range.
    """
    found: dict[str, Options] = {head: {} for head in heads}
    for word in words:
        path, equals, value = word.partition("=")
        head, _, name = path.strip().rpartition(".")
        if not equals or not name:
            raise UserError(f"Expected --set NAME=VALUE or HEAD.NAME=VALUE, got '{word}'.")
        if head and head not in heads:
            raise UserError(f"--set {word}: {head} is not fitted. {did_you_mean(head, heads)}")
        takers = [one for one in ([head] if head else heads) if name in takes(one)]
        if not takers:
            known = {n for one in ([head] if head else heads) for n in takes(one)}
            hint = did_you_mean(name, known) if known else "There are none."
            whose = head or " and ".join(heads)
            raise UserError(f"--set {word}: there is no such parameter of {whose}. {hint}")
        for one in takers:
            found[one][name] = _read(one, name, value.strip(), word)
    return {head: _checked(head, options) for head, options in found.items()}


def _read(head: str, name: str, text: str, word: str) -> Any:
    kinds = takes(head)[name]
    if text.lower() == NONE and type(None) in kinds:
        return None
    for kind in (one for one in kinds if one in _READ):
        try:
            return _READ[kind][1](text)
        except ValueError:
            continue
    said = [_READ[kind][0] for kind in kinds if kind in _READ]
    said += ["none"] * (type(None) in kinds)
    raise UserError(f"--set {word}: {name} of {head} takes {' or '.join(said)}, not '{text}'.")


def _checked(head: str, options: Options) -> Options:
    try:
        HEADS[head](**options).check()
    except ValueError as error:
        raise UserError(f"--set for {head}: {error}.") from error
    usual = HEADS[head]().get_params()
    return {name: value for name, value in sorted(options.items()) if value != usual[name]}
