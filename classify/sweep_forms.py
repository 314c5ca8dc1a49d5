"""The answers of a sweep as tables: CSV and Parquet for scripts, Markdown and LaTeX to be read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from classify.markdown import plain as markdown_plain
from classify.sweep_answers import Answers, Effect, Row
from classify.sweep_tables import latex_table, printed
from classify.tables import csv_text, flat
from embed.errors import UserError
from embed.files import whole_file, write_text

FORMS = ("csv", "parquet", "md", "tex")
TABLES = ("configurations", "effects", "interactions", "curves")
Record = dict[str, Any]


def write_tables(
    found: Answers, form: str | None, output: Path | None = None, table: str | None = None
) -> list[Path]:
    """Write tables in a form of `FORMS`, by default that of the name of `output`; their paths.

    All go into sweeps/NAME/ as TABLE.FORM; with `table` that one alone, and with `output` it (by
    default the configurations) into that file. Tables without a row are not written.
    """
    form = form or (output.suffix[1:] if output else FORMS[0])
    for value, known, name in ((form, FORMS, "--format"), (table, TABLES, "--table")):
        if value is not None and value not in known:
            raise UserError(f"{name} is one of {', '.join(known)}. Got '{value}'.")
    names = TABLES if output is None and table is None else (table or TABLES[0],)
    written = []
    for name in names:
        if not any(records(part, name) for part in (found, *found.elsewhere)):
            continue
        path = output or found.folder / f"{name}.{form}"
        _WRITE[form](found, name, path)
        written.append(path)
    if not written:
        raise UserError(
            f"The sweep '{found.name}' has no {' or '.join(names)} to write: it takes two "
            "configurations that differ in one axis alone (curves: in photos)."
        )
    return written


def records(found: Answers, table: str) -> list[Record]:
    """The rows of a table of `TABLES`; a figure is (value, low, high)."""
    made: dict[str, Callable[[Answers], list[Record]]] = {
        "configurations": lambda a: [_configuration(row) for row in a.rows],
        "effects": lambda a: [_effect(one) for one in a.effects],
        "interactions": _interactions,
        "curves": _curve_points,
    }
    return made[table](found)


def _configuration(row: Row) -> Record:
    return {
        "rank": row.rank,
        "configuration": row.name,
        **row.settings,
        "standing": row.standing,
        **row.figures,
        "difference_to_best": row.difference or (None, None, None),
        "p_best": row.p,
        "probability_best": row.probability_best,
        **{f"macro_f1 {name}": value for name, value in row.by_size.items()},
        "seeds": [str(seed) for seed in row.seeds],
        "spread": row.spread,
        "seconds": row.seconds,
        "peak_bytes": row.peak_bytes,
        "model_bytes": row.model_bytes,
        "train_photos": row.train_photos,
        "pareto": list(row.front),
    }


def _effect(one: Effect) -> Record:
    return {
        "axis": one.axis,
        "value": _text(one.value),
        "reference": _text(one.reference),
        "pairs": one.pairs,
        **one.figures,
        **{f"macro_f1 {name}": figure for name, figure in one.by_size.items()},
        **{f"with {head}": figure for head, figure in one.by_head.items()},
        "p": one.p,
        "p_holm": one.p_holm,
    }


def _interactions(found: Answers) -> list[Record]:
    return [
        {
            "axis": one.axis,
            "value": _text(one.value),
            "reference": _text(one.reference),
            "other_axis": one.other_axis,
            "other_value": _text(one.other_value),
            "other_reference": _text(one.other_reference),
            "settings": one.settings,
            "difference": one.difference,
            "p": one.p,
            "p_holm": one.p_holm,
        }
        for one in found.interactions
    ]


def _curve_points(found: Answers) -> list[Record]:
    return [
        {
            "curve": curve.name,
            "photos": _text(point.photos) or "all",
            "per_class": point.per_class,
            "train_photos": point.train_photos,
            found.metric: point.figure,
            "more": curve.more,
            "gain": curve.gain or (None, None, None),
            "outlook": curve.sentence,
        }
        for curve in found.curves
        for point in curve.points
    ]


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _parts(found: Answers, table: str) -> list[Record]:
    """Rows of all sets of photos; where there are several, with the split that they are of."""
    several = [found, *found.elsewhere]
    return [
        flat(_filled({"scored_on": part.best.cell.split, **one} if len(several) > 1 else one))
        for part in several
        for one in records(part, table)
    ]


def _filled(record: Record) -> Record:
    """A figure that is not known is three NaN, so that all rows have the same columns."""
    nothing = (float("nan"),) * 3
    return {k: nothing if v == (None, None, None) else v for k, v in record.items()}


def _write_csv(found: Answers, table: str, path: Path) -> None:
    rows = [{k: "" if v != v else v for k, v in one.items()} for one in _parts(found, table)]
    write_text(path, csv_text(rows))


def _write_parquet(found: Answers, table: str, path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(_parts(found, table))
    for name in frame:
        kinds = {type(value) for value in frame[name] if value is not None and value == value}
        if len(kinds) > 1 and not kinds <= {int, float}:
            frame[name] = [_text(value) for value in frame[name]]
    with whole_file(path) as scratch:
        frame.to_parquet(scratch, index=False)


def _write_markdown(found: Answers, table: str, path: Path) -> None:
    blocks = []
    for part in (found, *found.elsewhere):
        shown, caption = printed(part, table)
        if shown.rows:
            blocks.append(shown.as_text("markdown"))
            blocks.append(markdown_plain(" ".join(caption)))
    write_text(path, "\n\n".join(blocks) + "\n")


def _write_latex(found: Answers, table: str, path: Path) -> None:
    several = [found, *found.elsewhere]
    blocks = [
        latex_table(*printed(part, table), f"tab:{found.name}-{table}" + f"-{i}" * (i > 0))
        for i, part in enumerate(several)
        if records(part, table)
    ]
    head = (
        "% needs \\usepackage[T1]{fontenc} and \\usepackage{textcomp,booktabs,graphicx}\n"
        "% \\input this file where the table shall stand\n"
    )
    write_text(path, head + "\n".join(blocks))


_WRITE = {
    "csv": _write_csv, "parquet": _write_parquet, "md": _write_markdown, "tex": _write_latex
}  # fmt: skip
