"""The chapters on how good it is: figures, leaderboard and classes."""

from collections.abc import Mapping
from typing import Any

from classify.leaderboard import leaderboard
from classify.report_blocks import (
    Block,
    Chart,
    Column,
    Figure,
    ReportTable,
    Section,
    Sentences,
    Series,
    Value,
    as_figure,
    shown,
)
from classify.report_source import Source, mapping, number_of, read_table, whole
from embed.files import read_json

METRICS = {
    "accuracy": ("accuracy", "share of the photos that are named right"),
    "top_3": ("top-3", "the right class is among the three likeliest"),
    "top_5": ("top-5", "the right class is among the five likeliest"),
    "balanced_accuracy": ("balanced accuracy", "mean over classes of the share found"),
    "macro_f1": ("macro-F1", "mean over classes of F1: every class counts the same"),
    "micro_f1": ("micro-F1", "F1 over all photos together"),
    "weighted_f1": ("weighted F1", "mean of F1 by the photos of each class"),
    "mcc": ("MCC", "Matthews' correlation: 1 is perfect, 0 is chance"),
    "kappa": ("kappa", "Cohen's agreement beyond chance"),
    "log_loss": ("log-loss", "how surprised it is by the truth; less is better"),
    "brier": ("Brier score", "squared error of the probabilities, 0 to 2; less is better"),
    "ece": ("calibration error", "gap between said and true probability; less is better"),
    "auroc": ("AUROC of confidence", "how well its confidence tells right from wrong answers"),
}
SIZES = "sizes"


def figures(source: Source) -> Section | None:
    """Every metric of the photos held out, of each run of the report."""
    found = [(run.name, _read(run.folder / source.part / "metrics.json")) for run in source.runs]
    found = [(name, values) for name, values in found if values]
    if not found:
        return None
    names = [name for name in METRICS if any(name in values for _, values in found)]
    first = [source.run.figures] if len(found) == 1 else []
    columns = [
        Column("figure"),
        *(Column(source.part if first else name, "number") for name, _ in found),
        *(Column("out of fold", "number") for _ in first),
        Column("what it is"),
    ]
    rows: list[list[Value]] = [
        [
            METRICS[name][0],
            *(as_figure(values.get(name)) for _, values in found),
            *(as_figure(values.get(name)) for values in first),
            METRICS[name][1],
        ]
        for name in names
    ]
    note = f"In brackets 95% intervals, by bootstrap over the {source.part} photos."
    if first:
        note += (
            " Out of fold: the training photos, each predicted by a model that saw neither it nor "
            "its group."
        )
    table = ReportTable("figures", "Every metric", columns, rows, note)
    return Section("figures", "Figures", [table, *_sizes(source)])


def _sizes(source: Source) -> list[Block]:
    """Rare and frequent classes apart."""
    found = {k: mapping(v) for k, v in source.read("sizes.json").items() if isinstance(v, dict)}
    if not found:
        return []
    columns = [
        Column("photos of the class in training"),
        Column("classes", "count"),
        Column("photos", "count"),
        Column("macro-F1", "number"),
        Column("accuracy", "number"),
    ]
    rows: list[list[Value]] = [
        [
            name,
            whole(one.get("classes")),
            whole(one.get("photos")),
            as_figure(one.get("macro_f1")),
            as_figure(one.get("accuracy")),
        ]
        for name, one in found.items()
    ]
    return [ReportTable(SIZES, "Rare and frequent classes", columns, rows)]


def board(source: Source) -> Section | None:
    """All runs on the same photos, by their out-of-fold figures."""
    groups = leaderboard(source.workspace)
    rows = next(
        (group for group in groups.groups if source.run.name in [row["run"] for row in group]), []
    )
    if not rows:
        return None
    mine = [run.name for run in source.runs]
    tested = {row["run"]: _tested(source, row["run"]) for row in rows}
    columns = [
        Column("run"),
        Column("standing"),
        Column("P(best)", "share"),
        Column("macro-F1", "number"),
        Column("accuracy", "number"),
        Column(f"{source.part} macro-F1", "number"),
        Column(f"{source.part} accuracy", "number"),
        Column("log-loss", "number"),
        Column("ms a photo", "number"),
    ]
    table: list[list[Value]] = [
        [
            row["run"],
            row["standing"],
            row["probability_best"],
            as_figure(row["macro_f1"]),
            as_figure(row["accuracy"]),
            tested[row["run"]].get("macro_f1"),
            tested[row["run"]].get("accuracy"),
            row["log_loss"][0],
            row["predict_seconds_per_1000"],
        ]
        for row in rows
    ]
    note = (
        f"Best macro-F1 first. Out of fold but for the columns called {source.part}; encoding a "
        "photo takes longer than its ms here. P(best): share of the bootstrap's draws in which the "
        "run is the best. tie: its difference to the best may be chance (the paired interval "
        "includes 0). Choose by the out-of-fold figures: the best of several test figures is too "
        "good by "
        "the choosing."
    )
    marked = frozenset(i for i, row in enumerate(rows) if row["run"] in mine)
    blocks: list[Block] = [
        _board_chart(rows, tested, source.part),
        ReportTable("leaderboard", "Runs side by side", columns, table, note, marked),
    ]
    verdicts = [f"{row['run']}: {words}" for row in rows for words in row["verdicts"]]
    if verdicts:
        blocks.append(Sentences(verdicts, bullets=True))
    return Section("leaderboard", "Leaderboard", blocks)


def _board_chart(rows: list[dict[str, Any]], tested: Mapping[str, Any], part: str) -> Chart:
    rows = [row for row in rows if row["head"] != "prior"] or rows  # the floor squeezes the rest
    names = [row["run"] for row in rows]
    series = [_ranges("out of fold", names, [as_figure(row["macro_f1"]) for row in rows])]
    if any(tested.values()):
        series.append(_ranges(part, names, [tested[name].get("macro_f1") for name in names]))
    best = shown(as_figure(rows[0]["macro_f1"]), "number")
    return Chart(
        "leaderboard-chart",
        "Macro-F1 of each run",
        "ranges",
        "macro-F1 (line: 95% interval)",
        "run",
        series,
        f"The best out of fold is {names[0]} with {best}.",
    )


def ranges_chart(
    name: str,
    title: str,
    axis: str,
    names: list[str],
    values: Mapping[str, list[Figure | None]],
    says: str,
) -> Chart:
    """A dot with its interval for each of `names`, in one colour for each key of `values`."""
    series = [_ranges(key, names, found) for key, found in values.items()]
    return Chart(name, title, "ranges", axis, "", series, says)


def _ranges(name: str, names: list[str], values: list[Figure | None]) -> Series:
    each = [value or (None, None, None) for value in values]
    middle, low, high = ([one[i] for one in each] for i in range(3))
    return Series(name, names, middle, low, high)


def _tested(source: Source, run: str) -> dict[str, Figure | None]:
    values = _read(source.workspace.runs / run / source.part / "metrics.json")
    return {name: as_figure(value) for name, value in values.items()}


def _read(path: Any) -> dict[str, Any]:
    return mapping(read_json(path)) if path.exists() else {}


def classes(source: Source) -> Section | None:
    """One row a class."""
    rows = read_table(source.folder / "per_class.csv")
    if not rows:
        return None
    has_sizes = any(row.get("size") for row in rows)
    has_trained = any(row.get("trained") for row in rows)
    columns = [
        Column(source.config.label),
        Column("photos", "count"),
        Column("answered", "count"),
        Column("precision", "number"),
        Column("found (recall)", "number"),
        Column("F1", "number"),
        Column("in top 5", "number"),
        *([Column("trained on", "count")] if has_trained else []),
        *([Column("size")] if has_sizes else []),
    ]
    table: list[list[Value]] = [
        [
            row.get("class", ""),
            whole(row.get("n")),
            whole(row.get("predicted")),
            number_of(row.get("precision")),
            _with_interval(row, "recall"),
            _with_interval(row, "f1"),
            number_of(row.get("top5")),
            *([whole(row.get("trained"))] if has_trained else []),
            *([row.get("size") or ""] if has_sizes else []),
        ]
        for row in rows
    ]
    note = (
        "answered: how often this was the answer. precision: of these answers, how many are right. "
        "In brackets 95% intervals: with few photos they are wide."
    )
    facet = len(columns) - 1 if has_sizes else None
    block = ReportTable("classes", "Every class", columns, table, note, sortable=True, facet=facet)
    return Section("classes", f"Class by class: {source.classes_word}", [block])


def _with_interval(row: Mapping[str, str], name: str) -> Figure | None:
    value, low, high = (number_of(row.get(key)) for key in (name, f"{name}_low", f"{name}_high"))
    return None if value is None else (value, low, high)
