"""A collection as FiftyOne keeps a dataset on disk: metadata.json and samples.json.

It is MongoDB's extended JSON, of FiftyOne 1.0 (later versions migrate it as they load it). Photos
stay where they are: a sample has the path of its file. Vectors are fields of the kind
`VectorField`: the base64 of a deflated .npy file.
"""

import base64
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.files import sha256, whole_file, write_json

F32 = NDArray[np.float32]

VERSION = "1.0.0"
VECTOR = "embedding"  # the field of the vectors
FIELDS = "fiftyone.core.fields."
OURS = {"id": "photo_id", "path": "filepath"}  # what our columns are called there
_TAKEN = ("id", "filepath", "tags", "metadata", "created_at", "last_modified_at", VECTOR, "pk")
_EPOCH = {"$date": "1970-01-01T00:00:00Z"}  # FiftyOne sets its own as it loads


def write_fiftyone(
    folder: Path, name: str, frame: Any, blocks: Iterable[F32], label: str | None
) -> list[str]:
    """Write `frame`'s rows with their vectors to the new `folder`; returns notes.

    frame : id, path, file_path, key and more columns of text; `blocks` : its vectors, in order;
    label : the column that becomes a `Classification`. Load it there with
    `Dataset.from_dir(folder, dataset_type=fiftyone.types.FiftyOneDataset)`.
    """
    names = _field_names(list(frame), label)
    dataset = _object_id(f"dataset {name}")
    write_json(folder / "metadata.json", _metadata(name, dataset, names, label))
    rows = zip(frame.to_dict("records"), _rows(blocks), strict=True)
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
    with (
        whole_file(folder / "samples.json") as scratch,
        scratch.open("w", encoding="utf-8") as handle,
    ):
        handle.write('{"samples": [')
        for number, (row, x) in enumerate(rows):
            sample = _sample(row, x, names, label, dataset, number)
            handle.write(("," if number else "") + encoder.encode(sample))
        handle.write("]}")
    notes = [
        f"the column '{column}' is the field '{there}' there"
        for column, there in names.items()
        if column != there and column not in OURS
    ]
    elsewhere = int(frame["path"].str.contains("!/|://", regex=True).sum())
    if elsewhere:
        notes.append(f"photos in archives or on the web, which FiftyOne cannot open: {elsewhere:,}")
    return notes


def _rows(blocks: Iterable[F32]) -> Iterator[F32]:
    for X in blocks:
        yield from X


def _field_names(columns: list[str], label: str | None) -> dict[str, str]:
    """What each column is called there: no dots, dollars, leading underscores or taken names."""
    if label is not None and label not in columns:
        raise UserError(f"There is no column '{label}'.")
    names: dict[str, str] = {}
    for column in columns:
        name = OURS.get(column) or re.sub(r"[.$\s]", "_", column).lstrip("_") or "column"
        while column not in OURS and (name in _TAKEN or name in names.values()):
            name = f"table_{name}"
        names[column] = name
    return names


def _sample(
    row: dict[str, Any],
    x: F32,
    names: dict[str, str],
    label: str | None,
    dataset: dict[str, str],
    number: int,
) -> dict[str, Any]:
    texts = {names[c]: v for c, v in row.items() if isinstance(v, str) and c != label}
    sample: dict[str, Any] = {
        "_id": _object_id(f"sample {row['id']}"),
        "_dataset_id": dataset,
        "_media_type": "image",
        "_rand": int(sha256(row["id"].encode())[:8], 16) / 2**32,
        "tags": [],
        "metadata": None,
        "created_at": _EPOCH,
        "last_modified_at": _EPOCH,
    }
    if label is not None and isinstance(row[label], str):
        sample[names[label]] = {
            "_id": _object_id(f"label {row['id']} {number}"),
            "_cls": "Classification",
            "tags": [],
            "label": row[label],
        }
    return sample | texts | {VECTOR: _binary(x)}


def _binary(x: F32) -> dict[str, Any]:
    data = io.BytesIO()
    np.save(data, x, allow_pickle=False)
    packed = base64.b64encode(zlib.compress(data.getvalue(), 1)).decode()
    return {"$binary": {"base64": packed, "subType": "00"}}


def _object_id(text: str) -> dict[str, str]:
    return {"$oid": sha256(text.encode())[:24]}


def _metadata(
    name: str, dataset: dict[str, str], names: dict[str, str], label: str | None
) -> dict[str, Any]:
    text = "StringField"
    own = [("id", "ObjectIdField"), ("filepath", text), ("tags", "ListField")]
    own += [("_media_type", text), ("_rand", "FloatField"), ("_dataset_id", "ObjectIdField")]
    own += [("created_at", "DateTimeField"), ("last_modified_at", "DateTimeField")]
    fields = [_field(*one) for one in own]
    image = "fiftyone.core.metadata.ImageMetadata"
    fields.append(_field("metadata", "EmbeddedDocumentField", image))
    for column, there in names.items():
        if column == label:
            kind = "fiftyone.core.labels.Classification"
            fields.append(_field(there, "EmbeddedDocumentField", kind))
        elif column != "path":
            fields.append(_field(there, text))
    fields.append(_field(VECTOR, "VectorField"))
    return {
        "_id": dataset,
        "name": name,
        "slug": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "dataset",
        "version": VERSION,
        "created_at": _EPOCH,
        "last_modified_at": _EPOCH,
        "sample_collection_name": f"samples.{dataset['$oid']}",
        "persistent": False,
        "media_type": "image",
        "group_media_types": {},
        "tags": [],
        "info": {},
        "app_config": {},
        "classes": {},
        "default_classes": [],
        "mask_targets": {},
        "default_mask_targets": {},
        "skeletons": {},
        "sample_fields": fields,
        "frame_fields": [],
        "saved_views": [],
        "workspaces": [],
        "annotation_runs": {},
        "brain_methods": {},
        "evaluations": {},
        "runs": {},
    }


_PARTS = {
    "fiftyone.core.labels.Classification": (
        ("id", "ObjectIdField"),
        ("tags", "ListField"),
        ("label", "StringField"),
        ("confidence", "FloatField"),
        ("logits", "VectorField"),
    ),
    "fiftyone.core.metadata.ImageMetadata": (
        ("size_bytes", "IntField"),
        ("mime_type", "StringField"),
        ("width", "IntField"),
        ("height", "IntField"),
        ("num_channels", "IntField"),
    ),
}


def _field(name: str, kind: str, document: str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "ftype": FIELDS + kind,
        "embedded_doc_type": document,
        "subfield": f"{FIELDS}StringField" if kind == "ListField" else None,
        "fields": [_field(*part) for part in _PARTS.get(document or "", ())],
        "db_field": "_id" if name == "id" else name,
        "description": None,
        "info": None,
        "read_only": name in ("created_at", "last_modified_at"),
        "created_at": _EPOCH,
    }
