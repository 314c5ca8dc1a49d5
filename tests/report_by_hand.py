"""The files that `evaluate` and its sisters leave, made by hand for a run with predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import runs_by_hand
from PIL import Image
from sweep_by_hand import drawn_right, make_sweep

from classify.cell import Cell
from classify.runs import Predictions, Run
from embed.collection import save_collection
from embed.files import write_json, write_rows
from embed.workspace import Workspace

METRICS = (
    "accuracy", "top_3", "top_5", "balanced_accuracy", "macro_f1", "micro_f1", "weighted_f1", "mcc",
    "kappa", "log_loss", "brier", "ece", "auroc",
)  # fmt: skip


def around(value: float, width: float = 0.02) -> list[float]:
    """[value, low, high]"""
    return [value, value - width, value + width]


def make_workspace(
    place: Path, classes: tuple[str, ...] | None = None, says: str = "", evaluated: bool = True
) -> list[Run]:
    """Two runs on the same forty-eight photos, with every file that a report reads.

    classes : four names; says : put into every note, sentence and file name
    """
    with pytest.MonkeyPatch.context() as patch:
        if classes:
            patch.setattr(runs_by_hand, "CLASSES", np.array(classes))
        names = runs_by_hand.CLASSES
        y, y_test = np.arange(40) % 4, np.arange(48) % 4
        runs = []
        for run, wrong in (("stack-a-1", 6), ("knn-a-2", 12)):
            P, P_test = (
                runs_by_hand.guesses(one, np.arange(len(one)) >= wrong) for one in (y, y_test)
            )
            runs.append(
                runs_by_hand.make_run(
                    place,
                    run,
                    y,
                    P,
                    test=(y_test, P_test),
                    facts={"classes": 4},
                )
            )
            np.savez(runs[-1].model_file, k_=np.array(7.0))
    photos = _photos(place, names, y_test, says)
    sides = [{"id": f"{i:04}.jpg", "split": "train", "group": i} for i in range(40)]
    sides += [{"id": one["id"], "split": "test", "group": 40 + i} for i, one in enumerate(photos)]
    write_rows(Workspace(place).split("default"), ["id", "split", "group"], sides)
    about = {
        "label": "family",
        "by": None,
        "seed": 0,
        "fractions": {},
        "notes": [says] if says else [],
    }
    write_json(Workspace(place).split("default").with_suffix(".json"), about)
    if evaluated:
        write_evaluation(runs[0], photos)
        write_experiments(place, says)
    return runs


def _photos(place: Path, names: Any, y: Any, says: str) -> list[dict[str, str]]:
    """The collection: photos of plain colours, the last of which is gone."""
    (place / "photos").mkdir(parents=True)
    found = []
    for i, label in enumerate(names[y]):
        path = place / "photos" / f"t{i:04}.png"
        if i < len(y) - 1:
            Image.new("RGB", (60, 40), (5 * i, 120, 200 - 4 * i)).save(path)
        name = f"{says}{path.name}"
        found.append({"id": f"t{i:04}.jpg", "path": str(path), "label": str(label), "name": name})
    rows = pd.DataFrame(
        {"id": one["id"], "path": one["path"], "file_path": one["name"], "key": "0",
         "family": one["label"]} for one in found
    )  # fmt: skip
    save_collection(rows, "family", place, Workspace(place).collection)
    return found


def write_evaluation(run: Run, photos: list[dict[str, str]], part: str = "test") -> None:
    """All that the contract names, for the predictions that the run has.

    photos : id, path and label of photos to show as examples and as neighbours
    """
    folder = run.folder / part
    predictions = Predictions.load(folder / "predictions.parquet")
    classes = predictions.classes.tolist()
    place = {name: i for i, name in enumerate(classes)}
    truth = np.array([place[name] for name in predictions.y])
    answer = predictions.P.argmax(axis=1)
    right = float((truth == answer).mean())
    write_json(folder / "metrics.json", {name: around(right) for name in METRICS})
    write_json(folder / "sizes.json", {
        "under 10 photos": {"classes": 2, "photos": 9, "macro_f1": around(0.61, 0.2),
                            "accuracy": around(0.7, 0.2)},
        "50 photos or more": {"classes": len(classes) - 2, "photos": len(truth),
                              "macro_f1": around(0.93), "accuracy": around(0.95)},
    })  # fmt: skip
    _per_class(folder, classes, truth, answer)
    _confusions(folder, predictions, truth, answer, photos)
    _ranks(folder, len(truth))
    _calibration(folder)
    _stress(folder, photos)


def _per_class(folder: Path, classes: list[str], truth: Any, answer: Any) -> None:
    rows = []
    for i, name in enumerate(classes):
        n, found = int((truth == i).sum()), int(((truth == i) & (answer == i)).sum())
        recall = found / n if n else 0.0
        rows.append({
            "class": name, "n": n, "predicted": int((answer == i).sum()), "precision": recall,
            "recall": recall, "recall_low": recall / 2, "recall_high": 1.0, "f1": recall,
            "f1_low": recall / 2, "f1_high": 1.0, "top5": 1.0, "trained": 10 * (i + 1),
            "size": "under 10 photos" if i % 2 else "50 photos or more",
        })  # fmt: skip
    write_rows(folder / "per_class.csv", list(rows[0]), rows)


def _confusions(
    folder: Path, predictions: Predictions, truth: Any, answer: Any, photos: list[dict[str, str]]
) -> None:
    classes = predictions.classes.tolist()
    cells, counts = np.unique(np.stack([truth, answer]), axis=1, return_counts=True)
    wrong = np.flatnonzero(truth != answer)[:20]
    near = [
        {"id": p["id"], "path": p["path"], "label": p["label"], "similarity": 0.9 - 0.1 * i}
        for i, p in enumerate(photos[:3])
    ]
    errors = [
        {
            "row": int(i), "id": predictions.ids[i], "path": photos[k % len(photos)]["path"],
            "file_path": predictions.ids[i], "label": classes[truth[i]],
            "predicted": classes[answer[i]], "probability": float(predictions.P[i].max()),
            "neighbours": near,
        }
        for k, i in enumerate(wrong)
    ]  # fmt: skip
    pairs = [
        {
            "truth": classes[t], "predicted": classes[a], "n": int(n), "share": 0.25, "back": 1,
            "examples": [{"id": one["id"], "path": one["path"], "probability": 0.8,
                          "pulled_by": near, "own": near[0]} for one in errors[:2]],
        }
        for (t, a), n in zip(cells.T, counts, strict=True) if t != a
    ][:20]  # fmt: skip
    write_json(folder / "confusions.json", {
        "order": classes, "ordered_by": "taxonomy",
        "counts": {"truth": cells[0].tolist(), "predicted": cells[1].tolist(),
                   "n": counts.tolist()},
        "pairs": pairs,
        "worst": [{"class": classes[0], "f1": 0.4, "n": 7, "taken_for": [[classes[1], 3]]}],
        "errors": errors,
        "hubs": [{"id": p["id"], "path": p["path"], "label": p["label"], "times": 90 - i,
                  "wrong": 7} for i, p in enumerate(photos[:8])],
        "pullers": [{"id": photos[0]["id"], "path": photos[0]["path"], "label": "felidae",
                     "times": 3, "tested": 4, "wrong": 9}],
        "hubness": {"skew": 3.21, "k": 10, "never": 0.12},
        "notes": ["a note on confusions"],
    })  # fmt: skip


def _ranks(folder: Path, n: int) -> None:
    write_json(folder / "ranks.json", {
        "ranks": [
            {"rank": rank, "classes": c, "photos": n, "accuracy": around(a),
             "macro_f1": around(a - 0.03), "balanced_accuracy": around(a - 0.02),
             "log_loss": around(1 - a)}
            for rank, c, a in (("phylum", 2, 0.98), ("order", 3, 0.96), ("family", 4, 0.93))
        ],
        "confident": {"threshold": 0.9, "correct": around(0.97), "answers": [
            {"rank": "family", "photos": n - 5, "right": n - 7},
            {"rank": "order", "photos": 4, "right": 4},
            {"rank": "none", "photos": 1, "right": 0}]},
        "hierarchical": {"precision": around(0.95), "recall": around(0.94), "f1": around(0.945)},
        "severity": {"average_mistake": around(2.1, 0.3), "mean_distance": around(0.15),
                     "steps": 3, "errors_by_common_ancestor": {"order": 5, "phylum": 2}},
        "inconsistent": around(0.01, 0.005),
        "notes": [],
    })  # fmt: skip


def _calibration(folder: Path) -> None:
    def bins(shift: float) -> list[dict[str, float]]:
        return [
            {"low": a, "high": a + 0.1, "n": int(20 + 200 * a * a), "confidence": a + 0.05,
             "accuracy": min(1.0, a + 0.05 + shift), "accuracy_low": max(0, a - 0.05 + shift),
             "accuracy_high": min(1.0, a + 0.14 + shift)}
            for a in np.arange(0.2, 1.0, 0.1).round(1).tolist()
        ]  # fmt: skip

    coverage = np.linspace(0.01, 1, 100)
    write_json(folder / "calibration.json", {
        "methods": {
            "none": {"log_loss": around(0.26), "brier": around(0.11), "ece": around(0.03),
                     "macro_f1": around(0.91)},
            "temperature": {"log_loss": around(0.25), "brier": around(0.11), "ece": around(0.02),
                            "macro_f1": around(0.91)},
            "isotonic": {"skipped": "fewer than 1,000 photos"},
        },
        "best": "temperature",
        "reliability": bins(-0.08), "reliability_calibrated": bins(0.01),
        "risk_coverage": {
            "coverage": coverage.tolist(), "risk": (0.08 * coverage**3).tolist(),
            "aurc": around(0.012, 0.004), "auroc": 0.91,
            "at": [{"coverage": c, "answered": around(c - 0.01), "threshold": 1 - c / 2,
                    "risk": around(0.08 * c**3, 0.01)} for c in (0.5, 0.8, 0.9, 1.0)],
        },
        "conformal": [
            {"method": method, "level": level, "coverage": around(level + 0.01),
             "mean_size": around(1 + level, 0.1), "median_size": 1, "singletons": 0.8,
             "empty": 0.01, "worst_class": {"class": "felidae", "coverage": 0.7, "n": 10}}
            for method in ("lac", "aps", "class") for level in (0.8, 0.9)
        ],
        "notes": [],
    })  # fmt: skip


def _stress(folder: Path, photos: list[dict[str, str]]) -> None:
    write_json(folder / "unknown.json", {
        "left_out": [["felidae"], ["canidae"]],
        "scores": {"max_probability": {"auroc": around(0.86), "fpr95": around(0.5, 0.1)},
                   "energy": {"auroc": around(0.88), "fpr95": around(0.45, 0.1)},
                   "knn": {"auroc": around(0.91), "fpr95": around(0.35, 0.1)}},
        "best": "knn", "rule": "Say none of these below a cosine of 0.41.", "notes": [],
    })  # fmt: skip
    write_json(folder / "robustness.json", {
        "perturbations": [
            {"name": name, "what": what, "figures": {"accuracy": around(0.9 - d),
                                                     "macro_f1": around(0.88 - d)},
             "difference": {"accuracy": around(-d), "macro_f1": around(-d - 0.01)},
             "agreement": 0.9, "examples": [
                 {"id": p["id"], "path": p["path"], "label": p["label"], "before": p["label"],
                  "after": "canidae"} for p in photos[:2]],
             "classes": [{"class": "felidae", "n": 12, "right_before": 11, "right_after": 4}]}
            for name, what, d in (("blur", "Gaussian, 2 pixels", 0.04),
                                  ("jpeg", "quality 20", 0.01), ("dark", "a third", 0.02))
        ],
        "notes": [],
    })  # fmt: skip


def small_grid(says: str = "") -> list[Cell]:
    """Two heads, one with three values of a parameter, three sizes, two seeds."""
    return [
        Cell((f"{says}pixels",), head, photos=photos, seed=seed, options=options)
        for head, options in (
            ("logreg", ()),
            *(("knn", (("k", k),)) for k in (1, 5, 15)),
        )
        for photos in (5, 20, None)
        for seed in (0, 1)
    ]  # fmt: skip


def write_sweep(place: Path, name: str, cells: list[Cell], failed: int = 0) -> None:
    """A finished sweep: predictions of forty photos, the better the later the cell is.

    failed : how many of the last cells did
    """
    y = np.arange(40) % 4
    done, others = cells[: len(cells) - failed], cells[len(cells) - failed :]
    hard = np.random.default_rng(0).random(40)
    make_sweep(
        place,
        {
            one: runs_by_hand.guesses(y, drawn_right(0.4 + 0.5 * i / len(cells), hard, i))
            for i, one in enumerate(done)
        },
        y,
        name=name,
        costs={one: {"seconds": 0.5 + i / 7} for i, one in enumerate(done)},
        errors=dict.fromkeys(others, "the reason"),
        draws=20,
    )


def write_experiments(place: Path, says: str = "") -> None:
    """A leak report, a learning curve, a sweep and an inspection in the workspace."""
    figures = {"macro_f1": around(0.9), "accuracy": around(0.92)}
    write_json(place / "leaks" / "species.json", {
        "by": "species", "head": "logreg", "encoders": ["pixels"], "random": figures,
        "held_out": {"macro_f1": around(0.8), "accuracy": around(0.85)},
        "difference": {"macro_f1": around(0.1), "accuracy": around(0.07)},
        "testable": 4, "not_testable": ["rosaceae"], "photos": 90,
        "sentence": "A third of the macro-F1 above chance is knowing the species.", "notes": [],
    })  # fmt: skip
    write_json(place / "curves" / "logreg.json", {
        "head": "logreg", "encoders": ["pixels"], "metric": "macro_f1",
        "points": [
            {"photos_per_class": k, "photos": n, "classes": 4, "macro_f1": around(m),
             "accuracy": around(m + 0.02)}
            for k, n, m in ((1, 39, 0.6), (3, 117, 0.75), (10, 380, 0.86), (None, 2148, 0.93))
        ],
        "sentence": "Doubling the photos would bring about 2 points of macro-F1.", "notes": [],
    })  # fmt: skip
    write_sweep(place, "grid", small_grid(says))
    write_json(place / "inspect" / "inspect.json", {
        "files": {"formats": {"PNG": 47}, "width": {"min": 60, "median": 60, "max": 60},
                  "height": {"min": 40, "median": 40, "max": 40}, "grey": 3, "blank": 0},
        "near_duplicates": {"exact": 1, "near": 2, "maybe": 4, "across_classes": 1,
                            "across_split": 0},
        "doubts": {"judged": 40, "doubted": 5, "roughly_wrong": 2},
        "no_organism": None, "left_out": 1, "unlabelled": 0,
        "inconsistencies": [{"what": "felidae is under two orders", "rows": 2}],
        "notes": ["a note on the photos"],
    })  # fmt: skip
