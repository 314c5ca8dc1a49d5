"""The configurations of a sweep as rows: the table file, the picture, and what a terminal shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from classify.configurations import Configuration, varied
from classify.figures import sweep_picture
from classify.grid_axes import in_words
from classify.metrics import HEADLINE
from embed.files import write_rows

ALWAYS = ("encoders", "head", "balance", "photos")
COSTS = ("seconds", "peak_bytes", "model_bytes", "train_photos")


def settings_in_words(one: Configuration, names: Sequence[str]) -> dict[str, str]:
    """The settings of these names as a grid writes them; nothing where the head has none."""
    settings = one.settings()
    return {name: in_words(name, settings[name]) if name in settings else "" for name in names}


def columns_of(found: Sequence[Configuration]) -> list[str]:
    """Encoders, head, balance and photos, and every other setting that differs."""
    return list(dict.fromkeys([*ALWAYS, *varied(found)]))


def table_rows(found: Sequence[Configuration]) -> list[dict[str, Any]]:
    """One row a configuration, in their order: settings, figures (means over the seeds), costs.

    A figure has its value and, as `…_low` and `…_high`, the ends of its interval;
    `macro_f1_spread` is the standard deviation over the seeds.
    """
    names = columns_of(found)
    rows = []
    for one in found:
        row: dict[str, Any] = {**settings_in_words(one, names), "seeds": len(one.seeds)}
        for metric in HEADLINE:
            value, low, high = one.figure(metric)
            row |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
        row["macro_f1_spread"] = one.spread("macro_f1")
        rows.append(row | {name: one.mean(name) for name in COSTS})
    return rows


def write_table(found: Sequence[Configuration], path: Path) -> None:
    """Write `table_rows` as CSV."""
    rows = table_rows(found)
    write_rows(path, list(rows[0]), rows)


def draw_picture(found: Sequence[Configuration], path: Path) -> None:
    """Write a PNG with the macro-F1 of the best configurations and its intervals."""
    import pandas as pd

    names = [name for name in columns_of(found) if name != "head"]
    rows = []
    for one in found:
        value, low, high = one.figure("macro_f1")
        words = {k: v for k, v in settings_in_words(one, names).items() if v}
        told = [v if k in ALWAYS else f"{k} {v}" for k, v in words.items() if k != "photos"]
        told += [f"{words['photos']} photos"]
        group = one.cell.head
        row = {"name": ", ".join(told), "value": value, "low": low, "high": high, "group": group}
        rows.append(row)
    sweep_picture(pd.DataFrame(rows), path)


def short_rows(found: Sequence[Configuration], most: int) -> list[dict[str, str]]:
    """The first `most`, with macro-F1, accuracy and where there are several seeds the spread."""
    names = columns_of(found)
    rows = []
    for one in found[:most]:
        value, low, high = one.figure("macro_f1")
        row = settings_in_words(one, names)
        row |= {
            "macro-F1": f"{value:.3f} [{low:.3f}, {high:.3f}]",
            "accuracy": f"{one.figure('accuracy')[0]:.3f}",
        }
        if any(len(each.seeds) > 1 for each in found):
            row |= {"seeds": str(len(one.seeds)), "spread": f"{one.spread('macro_f1'):.3f}"}
        rows.append(row)
    return rows
