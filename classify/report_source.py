"""What a report reads: the files of a workspace, where a missing one or a null is no error."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from classify.model_card import model_card
from classify.report_blocks import Photo, as_number
from classify.runs import Predictions, Run, RunConfig
from embed.collection import load_collection
from embed.files import read_json
from embed.workspace import Workspace

_PLURAL = {
    "family": "families", "species": "species", "genus": "genera", "order": "orders",
    "class": "classes", "phylum": "phyla", "kingdom": "kingdoms",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A workspace and the runs to report, the first of them in full."""

    workspace: Workspace
    runs: Sequence[Run]
    part: str  # test or val

    @property
    def run(self) -> Run:
        return self.runs[0]

    @cached_property
    def config(self) -> RunConfig:
        return self.run.config

    @property
    def folder(self) -> Path:
        """Where `evaluate` wrote."""
        return self.run.folder / self.part

    @property
    def classes_word(self) -> str:
        """`families`, where the label is `family`."""
        return _PLURAL.get(self.config.label.lower(), "classes")

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the run's part; empty where it is not there."""
        return read_mapping(self.folder / name)

    @cached_property
    def rows(self) -> dict[str, dict[str, Any]]:
        """id -> row of the collection; empty where there is no collection any more."""
        if not self.workspace.collection.exists():
            return {}
        table = load_collection(self.workspace.collection).rows
        names = dict.fromkeys(["id", "path", "file_path", self.config.label])
        table = table[[name for name in names if name in table]]
        return {str(row["id"]): row for row in table.to_dict("records")}

    @cached_property
    def truth(self) -> dict[str, str]:
        """id -> label of the photos that were predicted."""
        import pandas as pd

        path = self.folder / "predictions.parquet"
        if not path.exists():
            return {}
        table = pd.read_parquet(path, columns=["id", "label"])
        return dict(zip(table["id"].astype(str), table["label"].astype(str), strict=True))

    @cached_property
    def witnesses(self) -> int:
        """Groups of the photos that were predicted, or photos where there are no groups."""
        found = Predictions.load(self.folder / "predictions.parquet")
        return len(found.ids if found.group is None else set(found.group.tolist()))

    @cached_property
    def card(self) -> str:
        """The model card as it is now (Markdown)."""
        return model_card(self.run)

    def photo(self, value: Any, **said: Any) -> Photo:
        """A photo from a JSON record with `id`, and perhaps `path` and `label`."""
        record = mapping(value)
        known = self.rows.get(str(record.get("id")), {})
        name = known.get("file_path") or record.get("file_path") or record.get("id") or "?"
        return Photo(
            path=str(record.get("path") or known.get("path") or ""),
            name=str(name),
            label=str(record.get("label") or known.get(self.config.label) or ""),
            similarity=as_number(record.get("similarity")),
            **said,
        )


def read_mapping(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no such file."""
    return mapping(read_json(path)) if path.exists() else {}


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object; anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def records(value: Any) -> list[dict[str, Any]]:
    """The objects in a JSON array."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def lines(value: Any) -> list[str]:
    """The texts in a JSON array."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def whole(value: Any) -> int | None:
    """A count from JSON or CSV."""
    number = number_of(value)
    return None if number is None else round(number)


def number_of(value: Any) -> float | None:
    """A number from JSON or from the text of a CSV cell."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return as_number(value)
