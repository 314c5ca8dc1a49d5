"""All that a report says, collected from the files of a workspace; nothing is fitted here."""

from collections.abc import Callable, Sequence

from classify import (
    report_confusions,
    report_experiments,
    report_inspection,
    report_model,
    report_ranks,
    report_results,
    report_stress,
    report_study,
    report_sureness,
    report_sweeps,
)
from classify.bootstrap import few_witnesses
from classify.report_blocks import Figure, ReportData, Section, as_figure, in_per_cent, shown
from classify.report_source import Source, mapping, records
from classify.runs import Run, all_runs
from embed.errors import UserError, did_you_mean
from embed.words import counted
from embed.workspace import Workspace

SET_LEVEL, SET_METHOD = 0.9, "lac"  # the sets that the headline tells of


def collect_report(workspace: Workspace, runs: Sequence[Run], part: str = "test") -> ReportData:
    """What the files say of the first of `runs`, and of the others beside it.

    part : test or val. Chapters whose files are missing are in `left_out`, each with the command
    that makes them. Raises `UserError` where there is no run or the first was not evaluated.
    """
    if part not in ("test", "val"):
        raise UserError(f"'{part}' is no part. {did_you_mean(part, ('test', 'val'))}")
    if not runs:
        raise UserError("A report needs a run: `cli report RUN -o report.html`.")
    source = Source(workspace, runs, part)
    run, label = source.run.name, source.config.label
    if not (source.folder / "metrics.json").exists():
        on = " --on val" * (part == "val")
        raise UserError(
            f"{run} was not evaluated on the {part} photos. Run `cli evaluate {run}{on}` first."
        )
    sections, left_out = [], []
    for make, title, command in _chapters(run, part):
        found = make(source)
        if found:
            sections.append(found)
        else:
            left_out.append((title, command))
    title = f"Telling the {label} from a photo"
    about = {
        "run": run,
        "part": part,
        "label": label,
        "runs": [one.name for one in runs],
    }
    return ReportData(title, _headline(source), sections, left_out, about)


def _chapters(run: str, part: str) -> list[tuple[Callable[[Source], Section | None], str, str]]:
    """Each chapter with its title and the command that makes what it tells."""
    evaluate = f"cli evaluate {run}" + " --on val" * (part == "val")
    return [
        (report_study.done, "What was done", "cli fit"),
        (report_study.data, "Data", "cli embed PHOTOS"),
        (report_inspection.inspection, "A look at the photos", "cli inspect"),
        (report_study.split, "Split", "cli split"),
        (report_results.figures, "Figures", evaluate),
        (report_results.board, "Leaderboard", "cli fit --head all"),
        (report_ranks.ranks, "Rank by rank", evaluate),
        (report_results.classes, "Class by class", evaluate),
        (report_confusions.confusions, "What is taken for what", evaluate),
        (report_confusions.errors, "Errors with their evidence", evaluate),
        (report_confusions.hubs, "Hubs", evaluate),
        (report_sureness.calibration, "How sure it may be", evaluate),
        (report_stress.unknown, "None of these", f"{evaluate} --unknown"),
        (report_stress.robustness, "Worse photos", f"{evaluate} --perturb"),
        (report_experiments.leaks, "Leak report", "cli leak --by COLUMN"),
        (report_experiments.curves, "Learning curve", "cli curve"),
        (report_sweeps.sweeps, "Sweeps", "cli sweep GRID.toml"),
        (report_model.model, "Model and encoder", "cli fit"),
        (report_model.limits, "Limits", "cli fit"),
        (report_model.cite, "How to cite", "cli fit"),
    ]


def _headline(source: Source) -> list[str]:
    """What was found and what it is worth; a sentence whose files are missing is left out."""
    said = [
        _found(source),
        *few_witnesses(source.witnesses, len(source.truth)),
        report_study.split_sentence(source),
        _rare(source),
        _sets(source),
        _looks(source),
    ]
    return [sentence for sentence in said if sentence]


def _found(source: Source) -> str:
    config, figures = source.config, source.read("metrics.json")
    n, classes = len(source.truth), len(set(source.truth.values()))
    head = "The stack" if config.head == "stack" else f"The head {config.head}"
    one = source.classes_word if source.classes_word == "classes" else config.label
    of = f"{classes:,} {one if classes == 1 else source.classes_word}"
    right = in_per_cent(as_figure(figures.get("accuracy")))
    said = f"{head} tells the {config.label} right in {right} "
    said += f"of {counted(n, f'{source.part} photo')} of {of}"
    macro = as_figure(figures.get("macro_f1"))
    if macro:
        said += (
            f"; macro-F1, in which every {'class' if one == 'classes' else one} counts the same, "
            f"is {shown(macro, 'number')}"
        )
    return f"{said} (95% intervals)."


def _rare(source: Source) -> str:
    """The rarest classes that were tested."""
    for name, value in source.read("sizes.json").items():
        one = mapping(value)
        macro = as_figure(one.get("macro_f1"))
        if macro and one.get("classes"):
            return (
                f"The {one['classes']} {source.classes_word} with {name} in training have a "
                f"macro-F1 of {shown(macro, 'number')}."
            )
    return ""


def _sets(source: Source) -> str:
    for one in records(source.read("calibration.json").get("conformal")):
        size: Figure | None = as_figure(one.get("mean_size"))
        if one.get("method") == SET_METHOD and one.get("level") == SET_LEVEL and size and size[0]:
            return (
                f"Asked for sets that hold the truth in {SET_LEVEL:.0%}, it names {size[0]:.2f} "
                f"{source.classes_word} on average, and the truth is among them in "
                f"{in_per_cent(as_figure(one.get('coverage')))}."
            )
    return ""


def _looks(source: Source) -> str:
    """How often these photos were looked at."""
    if source.part != "test":
        return "These photos are for choosing; the test photos are not looked at here."
    data = source.run.provenance["data"]
    others = [
        run
        for run in all_runs(source.workspace)
        if run.name != source.run.name
        and (run.folder / "test" / "metrics.json").exists()
        and run.provenance["data"] == data
    ]
    if not others:
        return "No other run was tested on these photos, so nothing was chosen by them."
    return (
        f"{counted(len(others), 'other run')} had a look at these test photos too: whoever chose "
        "among them by these figures has figures that are too good."
    )
