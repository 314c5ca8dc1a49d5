"""Setting aside what `verify` found; nothing is deleted, and what is sound stays."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from embed.errors import UserError
from embed.files import mendable, write_json
from embed.making import pick_rows
from embed.parts import PartError, read_part
from embed.spec import EncoderSpec
from embed.store import EmbeddingStore, read_spec
from embed.verify import Finding, right_name, right_spec


def set_bad_aside(folder: Path, findings: Iterable[Finding]) -> list[str]:
    """Move what is damaged to `damaged/` in `folder` and keep the sound rows in new parts.

    Returns the keys that are lost, as far as they can be read: some have no vector any more.
    Whoever embeds the collection's missing photos next mends the store.
    """
    by_file: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_file[finding.file].append(finding)
    if of_spec := by_file.pop("spec.json", []):
        spec, _ = right_spec(folder)
        if spec is None:
            raise UserError(f"{folder / 'spec.json'}: {of_spec[0].reason}. {of_spec[0].repair}.")
        if (folder / "spec.json").exists():
            _aside(folder / "spec.json")
        write_json(folder / "spec.json", spec.to_json())
    spec = read_spec(folder)
    touched: list[str] = []
    for name, about in by_file.items():
        with suppress(FileNotFoundError):
            touched += _mend(folder / name, spec, about)
    return EmbeddingStore.open(folder).missing(touched)


def _mend(path: Path, spec: EncoderSpec, findings: Sequence[Finding]) -> list[str]:
    """Keep what is sound of one file and move it away; the keys of the rows that went."""
    kinds = {finding.kind for finding in findings}
    if kinds == {"name"}:
        right = path.with_name(right_name(read_part(path, spec)))
        if right.exists():
            _aside(path)
        else:
            path.rename(right)
        return []
    keys = np.empty(0, "S64")
    with suppress(PartError):
        part = read_part(path, None)
        keys = part.keys()
    if kinds == {"rows"}:
        bad = {row for finding in findings for row in finding.bad}
        sound = np.array([row for row in range(part.rows) if row not in bad], dtype=np.int64)
        if len(sound):
            pick_rows(path.parent, spec, [part], keys[sound], sound)
        keys = keys[sorted(bad)]
    _aside(path)
    text = [key.decode("ascii", "replace") for key in keys.tolist()]
    return [key for key in text if len(key) == 64 and set(key) <= set("0123456789abcdef")]


def _aside(path: Path) -> None:
    folder = path.parent / "damaged"
    number, target = 1, folder / path.name
    while target.exists():
        number += 1
        target = folder / f"{path.name}.{number}"
    try:
        folder.mkdir(exist_ok=True)
        path.rename(target)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise mendable(error, target) from error
