"""The most confident errors with the training photos that look most like them."""

from pathlib import Path
from typing import Any

import numpy as np

from classify.dataset import Dataset
from classify.runs import Predictions
from embed.files import write_rows
from retrieval.gallery import Section, Tile, write_gallery
from retrieval.index import Index

N_ERRORS = 20
N_NEIGHBOURS = 3


def confident_errors(
    predictions: Predictions, train: Dataset, held_out: Dataset, index: Index | None = None
) -> list[dict[str, Any]]:
    """The errors with the highest probability, each with its nearest training photos.

    index : over the training photos in their order, where the caller has one
    """
    predicted = predictions.predicted
    wrong = np.flatnonzero(predicted != predictions.y)
    confidence = predictions.P.max(axis=1)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:N_ERRORS]
    if not len(worst):
        return []
    ids = train.ids
    index = index or Index.build(train.X, ids, kind="flat")
    rows, similarities = index.query_rows(held_out.X[worst], N_NEIGHBOURS)
    return [
        {
            "row": int(i),
            "id": predictions.ids[i],
            "path": str(held_out.rows["path"].iloc[i]),
            "file_path": held_out.rows["file_path"].iloc[i],
            "label": str(predictions.y[i]),
            "predicted": str(predicted[i]),
            "probability": float(confidence[i]),
            "neighbours": [
                {"row": int(row), "id": ids[row], "path": str(train.rows["path"].iloc[row]),
                 "label": str(train.y[row]), "similarity": float(similarity)}
                for row, similarity in zip(near, near_similarities, strict=True)
            ],
        }
        for i, near, near_similarities in zip(worst, rows, similarities, strict=True)
    ]  # fmt: skip


def write_errors(errors: list[dict[str, Any]], label: str, folder: Path, run_name: str) -> None:
    """`errors.csv` and the page `errors.html` with thumbnails."""
    header = ["id", "file_path", "label", "predicted", "probability"]
    for place in range(1, N_NEIGHBOURS + 1):
        name = f"neighbour_{place}"
        header += [name, f"{name}_label", f"{name}_similarity"]
    write_rows(folder / "errors.csv", header, [_row(error) for error in errors])
    title = f"The {len(errors)} most confident errors of {run_name}"
    write_gallery(folder / "errors.html", title, [_section(e) for e in errors], label=label)


def _row(error: dict[str, Any]) -> dict[str, Any]:
    row = dict(error)
    for place, near in enumerate(error["neighbours"], start=1):
        row[f"neighbour_{place}"] = near["id"]
        row[f"neighbour_{place}_label"] = near["label"]
        row[f"neighbour_{place}_similarity"] = round(near["similarity"], 4)
    row["probability"] = round(error["probability"], 4)
    return row


def _section(error: dict[str, Any]) -> Section:
    query = Tile(
        path=error["path"],
        label=error["label"],
        caption=f"predicted {error['predicted']} ({error['probability']:.0%})",
    )
    tiles = [
        Tile(
            path=near["path"],
            label=near["label"],
            similarity=near["similarity"],
            match=near["label"] == error["label"],
        )
        for near in error["neighbours"]
    ]
    return Section(query, tiles)
