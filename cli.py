"""The command line: every command parses, calls one function and prints what came of it."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from embed.errors import UserError, did_you_mean
from embed.words import counted
from embed.workspace import Workspace

app = typer.Typer(
    name="cli",
    help="Tell the biological family of an organism from a photo, and compare methods in seconds.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

INTERRUPTED = 130


def one_of(*choices: str) -> Callable[[Any], Any]:
    """A callback that refuses any other word and names the nearest right one."""

    def check(word: str | None) -> str | None:
        if word is not None and word not in choices:
            raise typer.BadParameter(f"'{word}'. {did_you_mean(word, choices)}")
        return word

    return check


def each_of(*choices: str) -> Callable[[Any], Any]:
    """The same for an option that may be given several times."""
    check = one_of(*choices)

    def check_each(words: list[str] | None) -> list[str] | None:
        for word in words or []:
            check(word)
        return words

    return check_each


def batch_size(text: str) -> str:
    if text != "auto" and not (text.isdecimal() and int(text) > 0):
        raise typer.BadParameter(f"'{text}' is neither auto nor a whole number above 0.")
    return text


def index_kind(text: str) -> str:
    from retrieval.choosing import check_kind

    try:
        check_kind(text)
    except UserError as error:
        raise typer.BadParameter(str(error)) from error
    return text


WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "-w", "--workspace", envvar="FAMILIA_WORKSPACE", show_default="the current folder",
        help="Folder that the commands share.",
    ),
]  # fmt: skip
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
EncoderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder", metavar="NAME",
        help="An encoder by name; several times to use them side by side (see `cli encoders`).",
    ),
]  # fmt: skip
DeviceOption = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|mps", callback=one_of("auto", "cpu", "cuda", "mps"),
        help="Where the encoder runs; auto takes a GPU where there is one.",
    ),
]  # fmt: skip
EngineOption = Annotated[
    str,
    typer.Option(
        metavar="auto|openvino|torch", callback=one_of("auto", "openvino", "torch"),
        help="What runs the network; auto takes OpenVINO on a processor.",
    ),
]  # fmt: skip
BatchOption = Annotated[
    str,
    typer.Option(
        metavar="auto|N", callback=batch_size,
        help="Photos under way at a time: what a crash can cost.",
    ),
]  # fmt: skip
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 when a photo or row was left out.")
]
FormOption = Annotated[
    str,
    typer.Option(
        metavar="table|csv|json|markdown|latex",
        callback=one_of("table", "csv", "json", "markdown", "latex"),
        help="How to print.",
    ),
]
OutputOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Write to a file instead.")]
SplitOption = Annotated[str, typer.Option("--split", metavar="NAME", help="Which split to use.")]


@app.command("sample", epilog="Example: cli sample stamps photos")
def sample_command(
    name: Annotated[
        str,
        typer.Argument(metavar="stamps|rare-species", callback=one_of("stamps", "rare-species")),
    ],
    folder: Annotated[
        Path | None, typer.Argument(help="Where to put it; NAME in the workspace by default.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(help="stamps: the Debian package, already downloaded (.deb).")
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="rare-species: a downloaded copy of the hub's folder.")
    ] = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Fetch real photos to start with."""
    from embed.sample import sample

    made = sample(name, folder or workspace / name, archive, source)
    if as_json:
        print_json(asdict(made))
        return
    print(f"{made.n_photos:,} photos of {made.n_families} families in {made.folder}")
    print(f"Source: {made.source}\nLicence: {made.licence}")
    say(made.left_out)
    print(f"Next: cli embed {made.folder}")


@app.command("embed", epilog="Example: cli embed photos --table photos/metadata.csv --label family")
def embed_command(
    photos: Annotated[
        Path | None,
        typer.Argument(
            metavar="PHOTOS",
            readable=False,
            help="A folder of class folders, or of the table's photos.",
        ),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(metavar="CSV", help="One row a photo: file_path, any columns.")
    ] = None,
    encoder: EncoderOption = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column to learn; family by default.")
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(
            metavar="fast|balanced|best",
            callback=one_of("fast", "balanced", "best"),
            help="Encoders and views by what they cost, in place of --encoder.",
        ),
    ] = None,
    views: Annotated[
        str | None,
        typer.Option(
            metavar="center|squash|full|flip|both|three|five",
            callback=one_of("center", "squash", "full", "flip", "both", "three", "five"),
            help="Which squares of a photo are encoded.",
        ),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(
            metavar="avg|gem|layers",
            callback=one_of("avg", "gem", "layers"),
            help="How a feature map becomes a vector; avg is the network's own way.",
        ),
    ] = None,
    join: Annotated[
        str | None,
        typer.Option(
            metavar="mean|concat",
            callback=one_of("mean", "concat"),
            help="Views averaged, or side by side.",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="auto|fp32|bf16|fp16",
            callback=one_of("auto", "fp32", "bf16", "fp16"),
            help="Of the network's arithmetic.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
    batch_size: BatchOption = "auto",
    store_dtype: Annotated[
        str | None,
        typer.Option(
            metavar="float32|float16",
            callback=one_of("float32", "float16"),
            show_default="as the store has it",
            help="Of the vectors on the disk.",
        ),
    ] = None,
    urls: Annotated[
        bool, typer.Option("--urls", help="Fetch photos that a table names by https:// address.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Set the stored vectors aside (kept) and make new ones."),
    ] = False,
    strict: StrictOption = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Turn photos into vectors; what is known is not computed again."""
    from embed.encoder import Choice
    from embed.ingest import HowToEmbed, embed_collection
    from embed.variants import chosen_encoders

    names = chosen_encoders(encoder, quality, views, pool, join, precision)
    how = HowToEmbed(Choice(device, engine), number(batch_size), rebuild, store_dtype, urls)
    report = embed_collection(Workspace(workspace), photos, table, label, names, how)
    if as_json:
        print_json(asdict(report))
        left_out(report.problems, report.skipped, strict)
        return
    classes = ""
    if report.label:
        classes = f", {counted(report.classes, 'class', 'classes')} of '{report.label}'"
    print(f"{counted(report.photos, 'photo')} in the collection{classes}")
    for name, n in report.encoded.items():
        rate = f" in {report.seconds:.1f} s ({n / report.seconds:,.0f}/s)" if n else ""
        print(f"{name}: {n:,} encoded{rate}, {report.photos - report.copies - n:,} cached")
    if report.copies:
        print(f"{counted(report.copies, 'exact copy', 'exact copies')} of other photos among them")
    say(report.notes)
    left_out(report.problems, report.skipped, strict)


@app.command("inspect", epilog="Example: cli inspect")
def inspect_command(
    encoder: EncoderOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the folds that judge the labels.")] = 0,
    split: SplitOption = "default",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Look at the data first: counts, copies, doubtful labels, odd files."""
    from classify.inspect_collection import inspect_collection

    found = inspect_collection(Workspace(workspace), encoder, split, seed)
    if as_json:
        print_json(found.to_json())
    else:
        print("\n".join(found.lines()))
        print(f"Page, and tables to decide in: {found.folder / 'inspect.html'}")


@app.command("split", epilog="Example: cli split --test 0.2 --by eol_page_id --seed 1")
def split_command(
    test: Annotated[float, typer.Option(help="Share of the photos to test on.")] = 0.2,
    val: Annotated[float, typer.Option(help="Share to validate on, beside the test.")] = 0.0,
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Keep its groups (species, camera) on one side."),
    ] = None,
    hold_out: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Test whole values of it (species) of every class with two."
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Dates: the newest photos test, the older train."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="With --after: test from this year or date on."),
    ] = None,
    place: Annotated[
        str | None,
        typer.Option(
            metavar="LAT,LON", help="Columns of degrees: keep cells of a grid on one side."
        ),
    ] = None,
    cell: Annotated[
        float | None,
        typer.Option(metavar="KM", show_default="10", help="With --place: the side of a cell."),
    ] = None,
    near_duplicates: Annotated[
        bool, typer.Option("--near-duplicates", help="Keep photos that look the same on one side.")
    ] = False,
    per_class: Annotated[
        int | None, typer.Option(metavar="N", help="Let only N photos of each class train.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which of the random splits.")] = 0,
    given: Annotated[
        Path | None, typer.Option("--from", metavar="CSV", help="A given split: id and split.")
    ] = None,
    name: Annotated[str, typer.Option(help="What to call it.")] = "default",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Set photos aside for the test before fitting."""
    from classify.splits import describe, new_split

    split, rows = new_split(
        Workspace(workspace), name, test, val, by, seed, given,
        hold_out=hold_out, after=after, since=since, place=place, cell=cell,
        near_duplicates=near_duplicates, per_class=per_class,
    )  # fmt: skip
    report = describe(split, rows)
    if as_json:
        print_json(report.to_json())
    else:
        print("\n".join(report.lines()))


HEADS = ("logreg", "lgbm", "knn", "lda", "centroid", "tip", "zeroshot", "prior", "stack", "all")
BALANCES = (
    *("none", "weights", "oversample", "undersample"),
    *("smote", "borderline-smote", "adasyn"),
)
LOSSES = ("cross-entropy", "balanced-softmax", "focal", "logit-adjusted")


@app.command("fit", epilog="Example: cli fit --head lgbm --balance weights")
def fit_command(
    head: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(HEADS),
            callback=each_of(*HEADS),
            show_default="all",
            help="Which head; several times for several. all fits every one and their stack.",
        ),
    ] = None,
    balance: Annotated[
        str,
        typer.Option(
            metavar="|".join(BALANCES),
            callback=one_of(*BALANCES),
            help="How rare classes are helped, inside the training folds.",
        ),
    ] = "none",
    exclude: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Leave these training photos out (see `cli inspect`)."),
    ] = None,
    relabel: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Give these training photos another label, for this fit."),
    ] = None,
    loss: Annotated[
        str,
        typer.Option(
            metavar="|".join(LOSSES), callback=one_of(*LOSSES), help="What logreg minimises."
        ),
    ] = "cross-entropy",
    lgbm_on: Annotated[
        str,
        typer.Option(
            metavar="candidates|columns",
            callback=one_of("candidates", "columns"),
            help="lgbm: re-rank the likeliest classes, or trees on the columns of the vectors.",
        ),
    ] = "candidates",
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[HEAD.]NAME=VALUE",
            help="A parameter of the heads, given instead of chosen, as k=15; repeatable.",
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="COLUMN", help="A column of the table as a second input; repeatable."
        ),
    ] = None,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Take a column that tells the label by itself.")
    ] = False,
    encoder: EncoderOption = None,
    folds: Annotated[int, typer.Option(help="Folds of the out-of-fold predictions.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of folds, balancing and heads.")] = 0,
    split: SplitOption = "default",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Fit heads, with honest out-of-fold figures."""
    from classify.fit import Request, fit
    from classify.tables import bracketed

    request = Request(
        heads=tuple(head or ["all"]),
        balance=balance,
        loss=loss,
        lgbm_on=lgbm_on,
        encoders=encoder,
        folds=folds,
        seed=seed,
        split=split,
        columns=tuple(columns or ()),
        allow_leak=allow_leak,
        exclude=exclude,
        relabel=relabel,
        set=tuple(given or ()),
    )
    runs: list[dict[str, Any]] = []

    def on_run(fitted: Any) -> None:
        figures, seconds = fitted.run.figures, fitted.run.provenance["seconds"]
        runs.append(
            {"run": fitted.run.name, "reused": fitted.reused, "notes": fitted.notes, **figures}
        )
        if as_json:
            return
        took = "as before" if fitted.reused else f"{seconds['folds'] + seconds['fit']:.1f} s"
        print(
            f"{fitted.run.name}: macro-F1 {bracketed(figures['macro_f1'])}, "
            f"accuracy {bracketed(figures['accuracy'])}, {took}",
            flush=True,
        )
        say(fitted.notes)

    notes = fit(Workspace(workspace), request, on_run)
    if as_json:
        print_json({"runs": runs, "notes": notes})
    else:
        say(notes)
        print("Out-of-fold figures with 95% intervals. Next: cli leaderboard, cli evaluate")


@app.command("leaderboard", epilog="Example: cli leaderboard --test")
def leaderboard_command(
    test: Annotated[bool, typer.Option("--test", help="Figures on the test photos.")] = False,
    form: FormOption = "table",
    output: OutputOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Show all runs side by side, and which differences mean something."""
    from classify.leaderboard import leaderboard

    board = leaderboard(Workspace(workspace), "test" if test else "oof")
    write_or_print(board.as_text("json" if as_json else form), output)
    say(board.notes)


@app.command("compare", epilog="Example: cli compare lgbm logreg")
def compare_command(
    a: Annotated[str, typer.Argument(metavar="A", help="A run, or how its name begins.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another run.")],
    test: Annotated[bool, typer.Option("--test", help="On the test photos.")] = False,
    form: FormOption = "table",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Compare two runs, photo by photo."""
    from classify.compare import compare
    from classify.runs import named_run

    place = Workspace(workspace)
    runs = named_run(place, a), named_run(place, b)
    found = compare(place, *runs, "test" if test else "oof")
    print(found.as_text("json" if as_json else form), end="")
    say(found.notes)


@app.command("leak", epilog="Example: cli leak --by species --head knn")
def leak_command(
    by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN|near-duplicates", help="What may stand on both sides of a random split."
        ),
    ],
    head: Annotated[str, typer.Option(metavar="HEAD", help="Any head of `cli fit`.")] = "knn",
    encoder: EncoderOption = None,
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the folds.")] = 0,
    split: SplitOption = "default",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Say how much a random split flatters, on the training photos."""
    from classify.leak_report import leak_report

    found = leak_report(Workspace(workspace), by, head, encoder, folds, seed, split)
    print_report(found, as_json)


@app.command("curve", epilog="Example: cli curve --head logreg --sizes 5,10,20,all")
def curve_command(
    head: Annotated[str, typer.Option(metavar="HEAD", help="Any head of `cli fit`.")] = "logreg",
    sizes: Annotated[
        str, typer.Option(metavar="N,N,all", help="Training photos of each class.")
    ] = "2,5,10,20,50,all",
    repeats: Annotated[int, typer.Option(help="Draws of the photos, which are averaged.")] = 3,
    encoder: EncoderOption = None,
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of folds and draws.")] = 0,
    split: SplitOption = "default",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Show what more photos a class bring, on the training photos."""
    from classify.learning_curve import chosen_sizes, learning_curve

    found = learning_curve(
        Workspace(workspace), head, encoder, chosen_sizes(sizes), folds, seed, split, repeats
    )
    print_report(found, as_json)


@app.command("export", epilog="Example: cli export logreg --to onnx")
def export_command(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run; by default the best out of fold.")
    ] = None,
    to: Annotated[
        str, typer.Option(metavar="onnx", callback=one_of("onnx"), help="The form.")
    ] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default="model.onnx in the run's folder", help="Where."),
    ] = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Write a run's head for other programs, checked against the original."""
    from classify.onnx_export import export_run
    from classify.runs import named_run

    place = Workspace(workspace)
    done = export_run(place, named_run(place, run), to, output)
    if as_json:
        print_json(asdict(done))
        return
    print(
        f"{done.path}: {done.bytes / 1e6:,.1f} MB; {counted(done.rows, 'row')} compared with the "
        f"original, largest difference {done.difference:.1g}"
    )
    say(done.notes)


@app.command("evaluate", epilog="Example: cli evaluate --perturb all --unknown")
def evaluate_command(
    run: Annotated[
        str | None, typer.Argument(help="A run; by default the best one out of fold.")
    ] = None,
    on: Annotated[
        str, typer.Option(metavar="test|val", callback=one_of("test", "val"), help="Which photos.")
    ] = "test",
    confidence: Annotated[
        float, typer.Option(help="How sure an answer must be; else a coarser rank is answered.")
    ] = 0.9,
    perturb: Annotated[
        str | None,
        typer.Option(
            metavar="blur,jpeg,dark,grey,crop|all",
            help="Make the photos worse, and see what that costs.",
        ),
    ] = None,
    unknown: Annotated[
        bool,
        typer.Option("--unknown", help="Leave classes out in turns: are they told as unknown?"),
    ] = False,
    draws: Annotated[
        int, typer.Option(min=100, help="Resamples behind the intervals of the figures.")
    ] = 10_000,
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
    batch_size: BatchOption = "auto",
    strict: StrictOption = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Test a run on the photos that nothing was fitted on."""
    from classify.evaluate import Questions, evaluate, plain
    from classify.evaluation_text import lines
    from classify.runs import named_run
    from embed.encoder import Choice
    from embed.perturb import chosen_perturbations

    place = Workspace(workspace)
    words = tuple(chosen_perturbations(perturb)) if perturb else ()
    asked = Questions(on, confidence, words, unknown, draws)
    choice = Choice(device, engine)
    found = evaluate(place, named_run(place, run), asked, choice, number(batch_size), progress)
    if as_json:
        print_json(
            plain({"run": found.run.name, "photos": found.photos, **found.figures, **found.reports})
        )
    else:
        print("\n".join(lines(found)))
    say(found.notes)
    if not as_json:
        print(f"Everything, with pictures: {found.folder}. Next: cli report")
    if strict and found.left_out:
        raise typer.Exit(1)


@app.command("report", epilog="Example: cli report stack -o report.html")
def report_command(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]…",
            show_default="the best out of fold",
            help="Runs, or how their names begin; the report is about the first.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", show_default="report.html", help="Where to write it."
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="html|md|pdf|tex|csv",
            callback=one_of("html", "md", "pdf", "tex", "csv"),
            show_default="as FILE ends, else html",
            help="A page, a paper of some five pages, or every number.",
        ),
    ] = None,
    on: Annotated[
        str, typer.Option(metavar="test|val", callback=one_of("test", "val"), help="Which photos.")
    ] = "test",
    workspace: WorkspaceOption = Path(),
) -> None:
    """Write one page about a run, to show to a colleague."""
    from classify.report_data import collect_report
    from classify.report_forms import choose_form, write_report
    from classify.runs import named_run

    chosen, path = choose_form(form, output)
    place = Workspace(workspace)
    names: list[str | None] = [*runs] if runs else [None]
    written = write_report(
        collect_report(place, [named_run(place, name) for name in names], on), path, chosen
    )
    beside = f", {counted(len(written) - 1, 'file')} with it" if len(written) > 1 else ""
    print(f"Report: {written[0]}{beside}")


@app.command(
    "predict", epilog="Example: cli predict new-photos --top 3 --format csv --output out.csv"
)
def predict_command(
    photos: Annotated[
        Path,
        typer.Argument(metavar="PHOTOS", readable=False, help="A photo or a folder of photos."),
    ],
    run: Annotated[
        str | None, typer.Option(help="A run; by default the best one out of fold.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to list for a photo.")] = 5,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="table|csv|json",
            callback=one_of("table", "csv", "json"),
            help="How to print.",
        ),
    ] = "table",
    output: Annotated[Path | None, typer.Option(help="Write to a file instead.")] = None,
    table: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="One row a photo, for a run that takes columns too."),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(help="Answer at the finest rank that is at least so sure, as in 0.9."),
    ] = None,
    sets: Annotated[
        float | None,
        typer.Option(help="Also a set of classes that holds the right one so often, as in 0.9."),
    ] = None,
    calibrate: Annotated[
        str,
        typer.Option(
            metavar="none|best|temperature|vector|isotonic",
            callback=one_of("none", "best", "temperature", "vector", "isotonic"),
            help="Correct the probabilities by the out-of-fold ones.",
        ),
    ] = "none",
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
    batch_size: BatchOption = "auto",
    strict: StrictOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Tell the family of new photos."""
    from classify.predict import Sureness, predict
    from classify.runs import named_run
    from embed.encoder import Choice
    from embed.files import write_text

    place = Workspace(workspace)
    chosen = named_run(place, run)
    sureness = Sureness(calibrate, confidence, sets)
    choice = Choice(device, engine)
    report = predict(place, chosen, photos, choice, number(batch_size), table, sureness)
    text = report.as_text(form, top, chosen.config.label)
    if output is None:
        print(text, end="")
    else:
        write_text(output, text)
        print(f"{counted(len(report.ids), 'photo')} predicted by {chosen.name}: {output}")
    say(report.notes)
    left_out(report.problems, report.skipped, strict)


@app.command("index", epilog="Example: cli index --recall 0.95 --memory 2GB")
def index_command(
    kind: Annotated[
        str,
        typer.Option(
            metavar="auto|flat|hnsw|ivf|ivfpq|…",
            callback=index_kind,
            help="auto: by size, memory and what was measured; or ivf with its code, ivfpq128x4.",
        ),
    ] = "auto",
    recall: Annotated[
        float, typer.Option(help="Share of the true nearest photos that must be found.")
    ] = 0.95,
    k: Annotated[int, typer.Option(min=1, help="Among how many nearest.")] = 10,
    memory: Annotated[
        str | None, typer.Option(metavar="2GB", help="That the index may take when searched.")
    ] = None,
    latency: Annotated[
        str | None, typer.Option(metavar="10ms", help="That one query may take.")
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Take photos out of the index; repeatable."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every byte and compare with the store.")
    ] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build it anew.")] = False,
    encoder: EncoderOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Build or renew a search index for a large collection, and measure it."""
    from retrieval.index_command import build_index, remove_photos, verify_index
    from retrieval.limits import parse_latency, parse_memory

    place = Workspace(workspace)
    if verify:
        checked = verify_index(place, encoder)
        print(f"{len(checked):,} rows of {checked.dim:,} numbers ({checked.kind}): all as written")
        return
    if remove:
        print_report(remove_photos(place, remove, encoder), as_json)
        return
    report = build_index(
        place, encoder, kind, recall,
        parse_memory(memory) if memory else None,
        parse_latency(latency) if latency else None,
        k, rebuild=rebuild,
    )  # fmt: skip
    print_report(report, as_json)


@app.command("search", epilog="Example: cli search photo.jpg --k 12 --gallery alike.html")
def search_command(
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PHOTO]…",
            help="Photos, folders, ids of rows of the collection; - is a photo on standard input.",
        ),
    ] = None,
    k: Annotated[int, typer.Option(min=1, help="How many hits.")] = 12,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="WORDS", help="Search by words; the encoder must know words."),
    ] = None,
    minus: Annotated[
        list[str] | None,
        typer.Option(metavar="PHOTO", help="What hits should be less like; repeatable."),
    ] = None,
    together: Annotated[
        bool, typer.Option("--together", help="One search by the mean of all that is given.")
    ] = False,
    box: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="The part of each photo, in pixels or shares."),
    ] = None,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Photos and ids from standard input, one a line.")
    ] = False,
    where: Annotated[
        str | None,
        typer.Option(metavar="CONDITION", help="Which rows may be hits: \"family == 'Felidae'\"."),
    ] = None,
    exclude_same: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Leave out rows that share the query's value."),
    ] = None,
    unique: Annotated[
        bool, typer.Option("--unique", help="Fold near-duplicates into one hit.")
    ] = False,
    diverse: Annotated[
        float | None,
        typer.Option(metavar="0..1", help="Trade likeness for variety; 1 is likeness alone."),
    ] = None,
    page: Annotated[int, typer.Option(min=1, help="Which page of K hits.")] = 1,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="table|csv|jsonl|json|paths|ids",
            callback=one_of("table", "csv", "jsonl", "json", "paths", "ids"),
            help="How to print.",
        ),
    ] = "table",
    null: Annotated[
        bool, typer.Option("-0", "--null", help="End paths or ids with a NUL, for xargs -0.")
    ] = False,
    pictures: Annotated[
        str,
        typer.Option(
            metavar="auto|none|kitty|iterm|sixel|blocks",
            callback=one_of("auto", "none", "kitty", "iterm", "sixel", "blocks"),
            help="Show the hits in the terminal, where it can.",
        ),
    ] = "none",
    gallery: Annotated[
        Path | None, typer.Option(metavar="HTML", help="Write a page with thumbnails.")
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|FOLDER",
            help="Search in a FAISS index made elsewhere: autofaiss, clip-retrieval.",
        ),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(metavar="PARQUET", help="With --index: the file or folder with its ids."),
    ] = None,
    encoder: EncoderOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
    strict: StrictOption = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Find the photos that look most alike."""
    from retrieval.boxes import Box
    from retrieval.hit_forms import show_hits, write_out
    from retrieval.lookalikes import lookalikes, write_lookalikes
    from retrieval.queries import SearchBy
    from retrieval.standard_input import listed

    choice = None
    if (device, engine) != ("auto", "auto"):  # it takes time to load what a row's id does not need
        from embed.encoder import Choice

        choice = Choice(device, engine)
    things = [*(photos or []), *(listed() if stdin else [])]
    by = SearchBy(things, text or (), minus or (), Box.parse(box) if box else None, together)
    narrow: dict[str, Any] = {
        "where": where, "exclude_same": exclude_same, "diverse": diverse,
        "unique": unique or None, "page": page if page > 1 else None,
    }  # fmt: skip
    given = {name: value for name, value in narrow.items() if value is not None}
    place = Workspace(workspace)
    if index:
        from retrieval.foreign_lookalikes import foreign_lookalikes

        found = foreign_lookalikes(place, index, ids, by, k, encoder, choice, **given)
    elif ids:
        raise UserError("--ids names the rows of an index: add --index FILE.")
    else:
        found = lookalikes(place, by, k, encoder, choice, **given)
    form = "json" if as_json else form
    if form == "table" and pictures != "none":
        from retrieval.terminal import terminal_gallery
        from retrieval.terminal_kind import this_terminal

        write_out(terminal_gallery(found, this_terminal(pictures), found.label))
    several, screen = len(found.queries) > 1, sys.stdout.isatty()
    write_out(show_hits(found, form, found.label, several=several, null=null, screen=screen))
    if gallery:
        write_lookalikes(gallery, found)
    if form == "table":
        say([found.note] if found.note else [])
        print(f"Gallery: {gallery}" if gallery else "", end="\n" if gallery else "")
    for one in found.left_out[:5]:
        print(f"Left out: {one.where}: {one.reason}", file=sys.stderr)
    if found.left_out:
        print(f"{len(found.left_out):,} of what was asked for left out in all", file=sys.stderr)
    if found.left_out and strict:
        raise typer.Exit(1)


@app.command("duplicates", epilog="Example: cli duplicates --against new-photos")
def duplicates_command(
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="COSINE",
            show_default="found from the data",
            help="Take photos for copies from this cosine on.",
        ),
    ] = None,
    maybe: Annotated[
        bool, typer.Option("--maybe", help="Join pairs that only may be copies, too.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="PHOTOS", help="Photos outside the collection: which are there already."
        ),
    ] = None,
    paths: Annotated[
        bool, typer.Option("--paths", help="Print the redundant files only, one a line.")
    ] = False,
    encoder: EncoderOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Find exact and near copies as groups; nothing is deleted."""
    from embed.encoder import Choice
    from retrieval.duplicates import find_duplicates

    choice = Choice(device, engine)
    found = find_duplicates(Workspace(workspace), encoder, threshold, maybe, against, choice)
    if as_json:
        print_json(found.to_json())
    elif paths:
        for path in found.redundant_paths:
            print(path)
    else:
        print("\n".join(found.lines()))
        print(f"Groups side by side: {found.folder / 'duplicates.html'}")


@app.command("outliers", epilog="Example: cli outliers --k 10")
def outliers_command(
    k: Annotated[int, typer.Option(help="How many nearest photos of each are looked at.")] = 10,
    by: Annotated[
        str,
        typer.Option(
            metavar="distance|lof",
            callback=one_of("distance", "lof"),
            help="What the order goes by: the k-th distance, or the local outlier factor.",
        ),
    ] = "distance",
    encoder: EncoderOption = None,
    split: SplitOption = "default",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Rank photos by how unlike all others, and their class, they are."""
    from classify.outlier_report import find_outliers

    found = find_outliers(Workspace(workspace), encoder, k, by, split)
    if as_json:
        print_json(found.to_json())
    else:
        print("\n".join(found.lines()))
        print(f"Page, with the nearest photos: {found.folder / 'outliers.html'}")


@app.command("cluster", epilog="Example: cli cluster --clusters 40")
def cluster_command(
    method: Annotated[
        str | None,
        typer.Option(
            metavar="hdbscan|kmeans",
            callback=one_of("hdbscan", "kmeans"),
            show_default="hdbscan; kmeans with --clusters",
            help="HDBSCAN finds the number and leaves photos out; k-means takes all.",
        ),
    ] = None,
    clusters: Annotated[
        int | None,
        typer.Option(
            metavar="N", show_default="by silhouette", help="How many clusters, for k-means."
        ),
    ] = None,
    min_size: Annotated[
        int | None,
        typer.Option(
            metavar="N", show_default="5", help="HDBSCAN: the fewest photos that are a cluster."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of sample, start and stability.")] = 0,
    encoder: EncoderOption = None,
    split: SplitOption = "default",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Group photos that look alike, and compare the groups with the labels."""
    from classify.cluster_report import cluster_collection

    found = cluster_collection(
        Workspace(workspace), encoder, method, clusters, min_size, seed, split
    )
    if as_json:
        print_json(found.to_json())
    else:
        print("\n".join(found.lines()))
        print(f"Page, the most central photos first: {found.folder / 'cluster.html'}")


@app.command("pick", epilog="Example: cli pick 100 --by coverage")
def pick_command(
    n: Annotated[int, typer.Argument(metavar="N", help="How many photos.")],
    by: Annotated[
        str,
        typer.Option(
            metavar="coverage|spread|uncertainty|both",
            callback=one_of("coverage", "spread", "uncertainty", "both"),
            help="Photos that stand for many, far ones, those a run is unsure of, or both.",
        ),
    ] = "coverage",
    run_name: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="RUN",
            show_default="the best out of fold",
            help="Which run, for uncertainty and both.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Choose among labelled photos too, as if none were.")
    ] = False,
    encoder: EncoderOption = None,
    seed: Annotated[int, typer.Option(help="Of the sample of a large collection.")] = 0,
    split: SplitOption = "default",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Choose which photos to label next."""
    from classify.pick import pick

    picked = pick(Workspace(workspace), n, by, run_name, encoder, everything, seed, split)
    if as_json:
        print_json(picked.to_json())
    else:
        print("\n".join(picked.lines()))
        print(f"Page: {picked.folder / 'pick.html'}")


@app.command("map", epilog="Example: cli map --colour family")
def map_command(
    method: Annotated[
        str,
        typer.Option(
            metavar="auto|pca|tsne|umap",
            callback=one_of("auto", "pca", "tsne", "umap"),
            help="How photos are laid out.",
        ),
    ] = "auto",
    colour: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", show_default="the label", help="What colours it at first."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="HTML", help="The page.")
    ] = Path("map.html"),
    pictures: Annotated[int, typer.Option(min=0, help="Photos with a picture in the page.")] = 4000,
    seed: Annotated[int, typer.Option(help="Of the layout.")] = 0,
    encoder: EncoderOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Lay the collection out on a page to zoom, colour and lasso."""
    from retrieval.map_page import make_map

    how: Any = method
    place = Workspace(workspace)
    print_report(make_map(place, encoder, how, colour, output, seed, pictures), as_json)


class _GridOrCommand(typer.core.TyperGroup):
    """`cli sweep GRID.toml …` runs a grid, `cli sweep show NAME` is a command of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        command = bool(args) and args[0] in self.commands
        ctx.allow_interspersed_args = not command
        return super().parse_args(ctx, ["", *args] if command else args)


sweep_app = typer.Typer(cls=_GridOrCommand, rich_markup_mode=None)
app.add_typer(sweep_app, name="sweep")
MemoryOption = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Memory that all processes may take together, as 4GB."),
]


@sweep_app.callback(invoke_without_command=True, epilog="Example: cli sweep grid.toml")
def sweep_command(
    context: typer.Context,
    grid: Annotated[
        Path | None, typer.Argument(metavar="GRID.toml", help="The axes (see docs/sweep.md).")
    ] = None,
    init: Annotated[
        bool, typer.Option("--init", help="Write a commented example to GRID.toml, no more.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many cells, how long and how much memory.")
    ] = False,
    one_factor: Annotated[
        str | None,
        typer.Option(
            metavar="BASE",
            help="One axis at a time around a base: first, or head=logreg,photos=all.",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, show_default="the cores", help="Tasks at a time.")] = (
        os.cpu_count() or 1
    ),
    memory: MemoryOption = None,
    backend: Annotated[
        str,
        typer.Option(
            metavar="loky|dask|ray", callback=one_of("loky", "dask", "ray"),
            help="What runs the tasks.",
        ),
    ] = "loky",
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a running dask or ray cluster.")
    ] = None,
    split: SplitOption = "default",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:  # fmt: skip
    """Run an ablation over the cached vectors."""
    if context.invoked_subcommand:
        return
    grid = grid or Path("grid.toml")
    if init:
        from classify.grid_example import write_example

        write_example(grid)
        print(f"Wrote {grid}. See what it takes: cli sweep {grid} --dry-run")
        return
    from retrieval.limits import parse_memory

    most = parse_memory(memory) if memory else None
    if dry_run:
        from classify import sweep_estimate

        found = sweep_estimate.dry_run(Workspace(workspace), grid, jobs, split, one_factor, most)
        if as_json:
            print_json(found.to_json())
            return
        print_table(found.table())
        say(found.notes)
        print("\n".join(found.lines()))
        return
    from classify.grid import read_grid
    from classify.sweep import sweep
    from classify.sweep_inputs import usual_cell

    here = Workspace(workspace)
    cells = read_grid(grid, usual_cell(here, split), one_factor)
    report = sweep(here, cells, jobs, most, backend, cluster)
    if as_json:
        print_json(report.to_json())
    else:
        print_table(report.lines())
        say(report.notes)
        print("\n".join(report.summary()))
        print(f"Next: cli sweep show {report.name}")
    if report.failed:
        raise typer.Exit(1)


@sweep_app.command("show", epilog="Example: cli sweep show grid --format csv --pictures")
def sweep_show_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The grid file without .toml.")],
    metric: Annotated[
        str,
        typer.Option(
            metavar="macro_f1|accuracy|top_5|log_loss",
            callback=one_of("macro_f1", "accuracy", "top_5", "log_loss"),
            help="What configurations are compared by.",
        ),
    ] = "macro_f1",
    draws: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 1000,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="csv|parquet|md|tex",
            callback=one_of("csv", "parquet", "md", "tex"),
            show_default="the name of --output",
            help="Write tables, into sweeps/NAME.",
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            metavar="configurations|effects|interactions|curves",
            callback=one_of("configurations", "effects", "interactions", "curves"),
            show_default="all, with --output configurations",
            help="Which table.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where one table goes.")
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option("--pictures", help="Draw as SVG, PDF and PNG, into sweeps/NAME/pictures."),
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="mlflow:PATH|tensorboard:FOLDER",
            help="Export its finished cells to a tracker instead (see docs/tracking.md).",
        ),
    ] = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Say what a sweep found: the best and its equals, effects, costs, learning curves."""
    if to is not None:
        from classify.tracking import track

        print_report(track(Workspace(workspace), name, to), as_json)
        return
    from classify.sweep_forms import write_tables
    from classify.sweep_pictures import write_pictures
    from classify.sweep_show import show

    found = show(Workspace(workspace), name, metric, draws)
    written = write_tables(found, form, output, table) if form or output or table else []
    written += write_pictures(found) if pictures else []
    print_report(found, as_json)
    say([*([] if as_json else found.notes), *(f"written to {path}" for path in written)])


@app.command("tune", epilog="Example: cli tune --minutes 5")
def tune_command(
    minutes: Annotated[
        float | None,
        typer.Option(min=0, show_default="5, without --trials", help="Stop after so long."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Stop at so many trials, those of earlier calls among them."),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(HEADS[:-1]),
            callback=each_of(*HEADS[:-1]),
            show_default="logreg, lgbm, knn, lda, centroid, stack",
            help="A head to search; several times for several.",
        ),
    ] = None,
    encoder: EncoderOption = None,
    balance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(BALANCES),
            callback=each_of(*BALANCES),
            show_default="all",
            help="A way to balance to search, beside none; several times for several.",
        ),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            metavar="macro_f1|accuracy|top_5|log_loss|brier",
            callback=one_of("macro_f1", "accuracy", "top_5", "log_loss", "brier"),
            help="What is tuned, out of fold.",
        ),
    ] = "macro_f1",
    folds: Annotated[int, typer.Option(min=2, help="Folds of every trial.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of folds, heads and search.")] = 0,
    split: SplitOption = "default",
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default="one for these settings and photos",
            help="Folder of the search under tune/.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, show_default="the cores", help="Configurations at a time.")
    ] = os.cpu_count() or 1,
    nested: Annotated[
        int,
        typer.Option(
            min=0, metavar="K", show_default="0: none",
            help="Repeat the whole search inside each of K outer folds, for the honest estimate.",
        ),
    ] = 0,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:  # fmt: skip
    """Search encoders, heads, balance and parameters, and say honestly whether it is worth it."""
    from classify.tune import TUNED, Request, tune

    report = tune(
        Workspace(workspace),
        Request(
            minutes=minutes,
            trials=trials,
            heads=tuple(head or TUNED),
            encoders=encoder,
            balances=tuple(balance or BALANCES),
            metric=metric,
            folds=folds,
            seed=seed,
            split=split,
            name=name,
            jobs=jobs,
            nested=nested,
        ),
    )
    if as_json:
        print_json(report.to_json())
    else:
        print(report.as_text(), end="")
        say(report.notes)


encoders_app = typer.Typer(rich_markup_mode=None)
app.add_typer(encoders_app, name="encoders")


@encoders_app.callback(invoke_without_command=True, epilog="Example: cli encoders")
def encoders_command(
    context: typer.Context, as_json: JsonOption = False, workspace: WorkspaceOption = Path()
) -> None:
    """List the encoders that `--encoder` takes; `show` one."""
    if context.invoked_subcommand:
        return
    from embed.encoders import FORMS, NAMES
    from embed.vectors import vector_counts

    here = vector_counts(Workspace(workspace))
    if as_json:
        print_json({"names": NAMES, "forms": FORMS, "here": here})
        return
    print_table({"--encoder": name, "what": what} for name, what in (NAMES | FORMS).items())
    for name, n in here.items():
        print(f"Here: {counted(n, 'vector')} of {name}")


@encoders_app.command("show", epilog="Example: cli encoders show efficientnet-lite0@full")
def show_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As --encoder takes it.")],
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Show all that an encoder's vectors depend on."""
    from embed.cards import encoder_card
    from embed.encoder import Choice

    card = encoder_card(Workspace(workspace), name, Choice(device, engine))
    if as_json:
        print_json(card)
        return
    differs = card.pop("differs", [])
    transform = card.pop("transform")
    for field, value in (card | {f"transform.{k}": v for k, v in transform.items()}).items():
        print(f"{field:24} {value}")
    say([f"the stored vectors are of another spec ({'; '.join(differs)})"] if differs else [])


store_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
app.add_typer(store_app, name="store", help="Look after the stored vectors.")
StoreOption = Annotated[
    list[str] | None,
    typer.Option("--encoder", metavar="NAME", help="Whose vectors; all there are by default."),
]


@store_app.command("info", epilog="Example: cli store info")
def store_info_command(
    encoder: StoreOption = None, as_json: JsonOption = False, workspace: WorkspaceOption = Path()
) -> None:
    """Show what is stored, and what made it."""
    from embed.vectors import store_folders
    from embed.verify import store_info

    found = [store_info(folder) for folder in store_folders(Workspace(workspace), encoder)]
    if as_json:
        print_json(found)
        return
    for info in found:
        spec, kinds = info["spec"], ", ".join(info["dtypes"])
        print(
            f"{info['encoder']}: {info['rows']:,} vectors of {spec['dim']:,} numbers ({kinds}) "
            f"in {counted(info['parts'], 'part')}, {info['bytes'] / 1e6:,.1f} MB"
        )
        made = f"{spec['library']}, {spec['architecture']}, {spec['precision']}"
        print(f"  spec {info['spec_digest']}: {made}")
        for by in info["made_by"]:
            versions = ", ".join(f"{k} {v}" for k, v in by.get("versions", {}).items())
            days = " to ".join(dict.fromkeys([by["from"], by["to"]]))
            print(f"  {by['rows']:,} by {by['engine'] or 'unknown'} ({days}; {versions})")


@store_app.command("verify", epilog="Example: cli store verify")
def store_verify_command(
    encoder: StoreOption = None, as_json: JsonOption = False, workspace: WorkspaceOption = Path()
) -> None:
    """Read every byte and say what is wrong; exit with 1 where something is."""
    from embed.vectors import store_folders
    from embed.verify import verify

    checked = [verify(folder) for folder in store_folders(Workspace(workspace), encoder)]
    if as_json:
        print_json([asdict(one) for one in checked])
    for one in [] if as_json else checked:
        state = "all as they were written" if one.clean else counted(len(one.findings), "finding")
        print(
            f"{one.encoder}: {one.rows:,} vectors in {counted(one.parts, 'part')}, "
            f"{one.bytes / 1e6:,.1f} MB: {state}"
        )
        print_findings(one.findings)
        if not one.clean:
            print(f"Mend it: cli store repair --encoder {one.encoder}")
    if not all(one.clean for one in checked):
        raise typer.Exit(1)


@store_app.command("repair", epilog="Example: cli store repair")
def store_repair_command(
    encoder: StoreOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Set what is bad aside (kept), and embed just those photos again."""
    from embed.encoder import Choice
    from embed.ingest import HowToEmbed, repair_store
    from embed.vectors import store_folders

    place, how = Workspace(workspace), HowToEmbed(Choice(device, engine))
    done = [repair_store(place, folder, how) for folder in store_folders(place, encoder)]
    if as_json:
        print_json([asdict(one) for one in done])
        return
    for one in done:
        print_findings(one.findings, repaired=True)
        print(
            f"{one.folder.name}: {counted(len(one.findings), 'finding')}, {one.lost:,} vectors "
            f"set aside, {one.encoded:,} encoded"
        )
        say(one.notes)
        for problem in one.problems:
            print(f"Without a vector: {problem.where}: {problem.reason}", file=sys.stderr)


@store_app.command("compact", epilog="Example: cli store compact")
def store_compact_command(
    encoder: StoreOption = None, as_json: JsonOption = False, workspace: WorkspaceOption = Path()
) -> None:
    """Merge the parts into as few as can be."""
    from embed.store import EmbeddingStore
    from embed.vectors import store_folders

    folders = store_folders(Workspace(workspace), encoder)
    done = {folder.name: EmbeddingStore.open(folder).compact(force=True) for folder in folders}
    if as_json:
        print_json({name: asdict(one) for name, one in done.items()})
        return
    for name, one in done.items():
        print(
            f"{name}: {counted(one.parts_before, 'part')} became {one.parts_after:,}, "
            f"{one.bytes / 1e6:,.1f} MB"
        )


INDEX_EXPORTS = ("autofaiss", "clip-retrieval-index")
EXPORTS = (
    *("parquet", "csv", "clip-retrieval", "ann-benchmarks", "fvecs", "fiftyone"),
    *INDEX_EXPORTS,
)


@store_app.command("export", epilog="Example: cli store export vectors.parquet --form parquet")
def store_export_command(
    to: Annotated[Path, typer.Argument(metavar="TO", help="A new file or folder.")],
    form: Annotated[
        str,
        typer.Option(
            metavar="|".join(EXPORTS),
            callback=one_of(*EXPORTS),
            help="How to write them.",
        ),
    ] = "parquet",
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose vectors; by default of the last embed."),
    ] = None,
    built: Annotated[
        bool,
        typer.Option(
            "--built",
            help="The index that `cli index` made, not a flat one "
            f"(--form {' or '.join(INDEX_EXPORTS)}).",
        ),
    ] = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Write the collection's vectors for other programs."""
    from embed.vectors import export_vectors
    from retrieval.faiss_export import export_index

    if form in INDEX_EXPORTS:
        done = export_index(Workspace(workspace), encoder, to, form, built)
    elif built:
        raise typer.BadParameter(f"--built is for --form {' or '.join(INDEX_EXPORTS)}.")
    else:
        done = export_vectors(Workspace(workspace), encoder, to, form)
    if as_json:
        print_json(asdict(done))
        return
    size = f"{done.bytes / 1e6:,.1f} MB"
    print(f"{done.rows:,} rows of {done.dim:,} numbers in {done.path}, {size}")
    say(done.notes)


@store_app.command("import", epilog="Example: cli store import v.npy --table v.csv --name theirs")
def store_import_command(
    vectors: Annotated[
        Path,
        typer.Argument(
            metavar="VECTORS", help="A .npy, Parquet, HDF5 or .fvecs file, or a folder."
        ),
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="What to call the vectors here.")],
    table: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="CSV or Parquet, one row a vector.")
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the table's paths start.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Of the network's weights, if known.")
    ] = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Take in vectors that were made elsewhere."""
    from embed.ingest import import_collection

    done, skipped = import_collection(Workspace(workspace), name, vectors, table, photos, weights)
    if as_json:
        print_json(asdict(done))
    else:
        print(
            f"{done.name}: {done.rows:,} vectors of {done.dim:,} numbers "
            f"({done.added:,} new, {done.known:,} known)"
        )
        say(done.notes)
    left_out(done.problems, skipped, strict)


def print_findings(findings: Iterable[Any], repaired: bool = False) -> None:
    for one in findings:
        rows = "" if one.rows is None else f" ({counted(one.rows, 'row')})"
        print(f"{one.file}: {one.reason}{rows}{f': {one.repair}' if repaired else ''}")


@app.command("info", epilog="Example: cli info")
def info_command(as_json: JsonOption = False, workspace: WorkspaceOption = Path()) -> None:
    """Show what the workspace holds."""
    from classify.info import describe_workspace

    facts = describe_workspace(Workspace(workspace))
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        lines = value if isinstance(value, list) else [value]
        print(f"{name}: {lines[0] if len(lines) == 1 else ''}".rstrip())
        for line in lines if len(lines) > 1 else []:
            print(f"  {line}")


def write_or_print(text: str, output: Path | None) -> None:
    from embed.files import write_text

    if output is None:
        print(text, end="")
    else:
        write_text(output, text)
        print(f"Written to {output}")


def number(text: str) -> int | None:
    return None if text == "auto" else int(text)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(rows: Iterable[Mapping[str, Any]]) -> None:
    """Columns as wide as their content: nothing is cut, so that it can be piped."""
    cells = [{name: str(value) for name, value in row.items()} for row in rows]
    names = list(cells[0]) if cells else []
    widths = {name: max(len(name), *(len(row[name]) for row in cells)) for name in names}
    for row in [{name: name for name in names}, *cells] if cells else []:
        print("  ".join(row[name].ljust(widths[name]) for name in names).rstrip())


def print_report(found: Any, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json())
    else:
        print("\n".join(found.lines()))


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def say(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)


def left_out(problems: Sequence[Any], where: Path, strict: bool) -> None:
    """Say what was left out and where the list is; with `strict` that is a failure."""
    for problem in problems[:5]:
        print(f"Left out: {problem.where}: {problem.reason}", file=sys.stderr)
    if problems:
        print(f"{len(problems):,} left out in all; the list with reasons: {where}", file=sys.stderr)
    if problems and strict:
        raise typer.Exit(1)


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code: 0 done, 1 the user's mistake, 2 wrong usage."""
    try:
        app(list(arguments))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except SystemExit as ended:  # how typer ends a command, wrong usage and Ctrl-C among them
        code = ended.code if isinstance(ended.code, int) else 0
        if code == INTERRUPTED:
            same = "the same command"
            if "--rebuild" in arguments:
                same += " without --rebuild"
            print(
                f"\nInterrupted. What was finished is saved; {same} goes on from there.",
                file=sys.stderr,
            )
        return code
    return 0


def main() -> None:
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
