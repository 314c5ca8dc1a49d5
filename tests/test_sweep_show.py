"""What a sweep says is true: planted effects are found, covered and not invented."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score
from sweep_by_hand import answers_of, cell, drawn_right, make_sweep

from classify.best_of_many import p_best
from classify.effects import contrasts, effects, find_axes, interactions
from classify.extrapolation import forecast, photos_more
from classify.latex_text import latex
from classify.pareto import front
from classify.rank_stability import stability
from classify.report_figures import styled
from classify.sweep_answers import METRICS, Answers
from classify.sweep_forms import records, write_tables
from classify.sweep_pictures import PICTURES, write_pictures
from classify.sweep_scores import seed_weights, shared_seeds
from classify.sweep_show import show
from classify.sweep_text import effect_sentence, worth_a_look
from embed.errors import UserError
from embed.workspace import Workspace

C = 6
SIZES = (5, 8, 20, 30, 40, 80)
Y = np.repeat(np.arange(C), SIZES)
N = len(Y)
HARD = np.random.default_rng(0).random(N)
RARE = np.array(SIZES)[Y] < 10
HEADS = {"knn": 0.5, "lda": 0.6}
DRAWS = 200


def planted() -> dict[Any, Any]:
    """SMOTE helps rare classes, and only with lda; more photos help; two seeds."""
    cells = {}
    for head, balance, photos, seed in product(HEADS, ("none", "smote"), (5, None), (0, 1)):
        share = HEADS[head] + (0.15 if photos is None else 0.0) + np.zeros(N)
        share = share + np.where(RARE & (balance == "smote") & (head == "lda"), 0.3, 0.0)
        key = (len(head), len(balance), photos or 0, seed)
        right = drawn_right(share, HARD, abs(hash(key)) % 2**31, alike=0.95)
        one = cell(head, balance=balance, photos=photos, seed=seed)
        cells[one] = answers_of(Y, right, C, seed)
    return cells


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    cells = planted()
    costs = {
        one: {"seconds": 1.0 if one.head == "knn" else 5.0, "train_photos": 25.0 if one.photos
              else float(N)}
        for one in cells
    }  # fmt: skip
    errors = {cell("lgbm"): "ValueError: one class", cell("lgbm", seed=1): "ValueError: one class"}
    folder = tmp_path_factory.mktemp("sweep")
    return make_sweep(folder, cells, Y, costs=costs, errors=errors, missing=[cell("prior")])


@pytest.fixture(scope="module")
def found(place: Workspace) -> Answers:
    return show(place, "grid", draws=DRAWS)


def test_figures_are_those_of_the_predictions(found: Answers) -> None:
    cells = planted()
    for row in found.rows:
        guesses = [cells[replace(row.cell, seed=seed)].argmax(axis=1) for seed in row.seeds]
        macro = np.mean([f1_score(Y, guess, average="macro", zero_division=0) for guess in guesses])
        assert row.figures["macro_f1"][0] == pytest.approx(macro)
        accuracy = np.mean([accuracy_score(Y, guess) for guess in guesses])
        assert row.figures["accuracy"][0] == pytest.approx(accuracy)
    values = [row.figures["macro_f1"][0] for row in found.rows]
    assert values == sorted(values, reverse=True)
    assert found.seeds == (0, 1)


def test_planted_effects_are_found_with_the_classes_they_help(found: Answers) -> None:
    effect = {(one.axis, one.value): one for one in found.effects}
    assert set(effect) == {("head", "lda"), ("balance", "smote"), ("photos", 5)}
    smote = effect["balance", "smote"]
    assert smote.pairs == 4
    assert smote.by_size["under 10 photos"][1] > 0  # clear there
    low, high = smote.by_size["50 photos or more"][1:]
    assert low <= 0 <= high
    assert smote.by_head["lda"][1] > 0
    assert smote.by_head["knn"][1] <= 0
    assert effect["photos", 5].p_holm < 0.05
    assert effect["photos", 5].figures["macro_f1"][0] < 0
    assert "helps classes of under 10 photos" in effect_sentence("macro_f1", smote)
    assert {(i.axis, i.value, i.other_axis) for i in worth_a_look(found)} == {
        ("balance", "smote", "head")
    }


def test_an_effect_is_the_mean_over_pairs(found: Answers) -> None:
    value = {tuple(row.settings.values()): row.figures["macro_f1"][0] for row in found.rows}
    assert list(found.rows[0].settings) == ["head", "balance", "photos"]
    differences = [
        value[head, "smote", photos] - value[head, "none", photos]
        for head, photos in product(HEADS, (5, None))
    ]
    smote = next(one for one in found.effects if one.axis == "balance")
    assert smote.figures["macro_f1"][0] == pytest.approx(np.mean(differences))


def test_less_log_loss_is_better(place: Workspace) -> None:
    by_loss = show(place, "grid", "log_loss", DRAWS)
    values = [row.figures["log_loss"][0] for row in by_loss.rows]
    assert values == sorted(values)
    assert by_loss.rows[-1].difference is not None
    assert by_loss.rows[-1].difference[0] > 0
    assert by_loss.rows[-1].standing == "worse"
    assert by_loss.corrected[0] >= by_loss.best.figures["log_loss"][0]
    assert any(line.startswith("Best: ") and "log-loss" in line for line in by_loss.lines())


def test_rows_in_another_order_say_the_same(tmp_path: Path, found: Answers) -> None:
    order = np.random.default_rng(1).permutation(N)
    ids = [f"{i:05}.jpg" for i in order]
    cells = {one: P[order] for one, P in planted().items()}
    shuffled = show(
        make_sweep(tmp_path, cells, Y[order], ids=ids, group=order), "grid", draws=DRAWS
    )
    for a, b in zip(found.rows, shuffled.rows, strict=True):
        assert a.figures["macro_f1"][0] == pytest.approx(b.figures["macro_f1"][0])
        assert a.name == b.name


def test_equal_configurations_are_ties(tmp_path: Path) -> None:
    P = answers_of(Y, HARD < 0.7, C)
    bad = answers_of(Y, HARD < 0.3, C)
    cells = {cell("knn"): P, cell("lda"): P, cell("centroid"): bad}
    found = show(make_sweep(tmp_path, cells, Y), "grid", draws=DRAWS)
    assert [row.standing for row in found.rows] == ["best", "tie", "worse"]
    best, tie, worse = found.rows
    assert tie.difference == (0, 0, 0)
    assert best.p == tie.p == 1
    assert best.probability_best == tie.probability_best == 0.5
    assert worse.p is not None
    assert worse.p < 0.05
    assert next(one for one in found.effects if one.value == "lda").p == 1


def test_one_configuration_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    found = show(make_sweep(tmp_path, {cell(): answers_of(Y, HARD < 0.7, C)}, Y), "grid", draws=50)
    assert (found.effects, found.interactions, found.curves, found.optimism) == ((), (), (), 0)
    assert found.best.name == "pixels, knn"
    assert "cli fit --head knn --encoder pixels" in "\n".join(found.lines())


def test_what_failed_and_what_is_missing_is_said(found: Answers) -> None:
    text = "\n".join(found.lines())
    assert found.missing == 1
    assert "1 cell not computed yet" in text
    assert "2 cells failed" in text
    assert "pixels, lgbm, seed 0 and 1 more: ValueError: one class" in text
    assert "Hsu 1984" in text


def test_nothing_finished_and_wrong_names_are_errors(tmp_path: Path, place: Workspace) -> None:
    workspace = make_sweep(tmp_path, {}, Y, errors={cell(): "it broke"})
    with pytest.raises(UserError, match="it broke"):
        show(workspace, "grid")
    with pytest.raises(UserError, match="Run `cli sweep`"):
        show(make_sweep(tmp_path, {}, Y, name="new", missing=[cell()]), "new")
    with pytest.raises(UserError, match="--metric is one of"):
        show(place, "grid", "f1")
    with pytest.raises(UserError, match="There is no sweep"):
        show(place, "grit")


def test_a_configuration_without_a_seed_stands_apart(tmp_path: Path) -> None:
    cells = {one: P for one, P in planted().items() if (one.head, one.seed) != ("knn", 1)}
    cells[cell("centroid")] = answers_of(Y, HARD < 0.9, C)
    found = show(make_sweep(tmp_path, cells, Y), "grid", draws=50)
    assert found.seeds == (0,)  # 8 + 1 configurations have it, 4 have both
    assert {row.standing for row in found.rows} <= {"best", "tie", "worse"}
    cells = planted() | {cell("centroid"): answers_of(Y, HARD < 0.9, C)}
    found = show(make_sweep(tmp_path, cells, Y, name="two"), "two", draws=50)
    assert found.seeds == (0, 1)
    assert (found.rows[-1].standing, found.rows[-1].cell.head) == ("incomplete", "centroid")
    assert found.rows[-1].difference is None
    assert "1 configuration without all of the seeds 0, 1" in " ".join(found.notes)


def test_cells_on_other_photos_are_never_compared(tmp_path: Path) -> None:
    workspace = make_sweep(tmp_path, planted(), Y)
    some = np.arange(N) % 4 > 0
    other = {replace(one, split="by-species"): P[some] for one, P in planted().items()}
    ids = [f"{i:05}.jpg" for i in np.flatnonzero(some)]
    make_sweep(tmp_path, other, Y[some], name="other", ids=ids)
    sheet = workspace.sweeps / "grid" / "sweep.json"
    both = json.loads(sheet.read_text())
    both["cells"] += json.loads((workspace.sweeps / "other" / "sweep.json").read_text())["cells"]
    sheet.write_text(json.dumps(both))
    found = show(workspace, "grid", draws=50)
    (apart,) = found.elsewhere
    assert (found.photos, apart.photos) == (N, some.sum())
    assert {row.cell.split for row in found.rows} == {"default"}
    assert {row.cell.split for row in apart.rows} == {"by-species"}
    assert "split" not in found.axes
    assert "not compared" in " ".join(found.notes)


def samples_of(right: Any, draws: int, seed: int) -> Any:
    """(K, 1 + draws) accuracies of `right` (K, n) in shared draws of the photos."""
    n = right.shape[1]
    weights = np.random.default_rng(seed).multinomial(n, [1 / n] * n, draws).T / n
    return np.hstack([right.mean(axis=1, keepdims=True), right @ weights])


def four() -> list[dict[str, Any]]:
    return [cell(h, balance=b) for h, b in product(("knn", "lda"), ("none", "smote"))]  # type: ignore[misc]


def settings_of(cells: Any) -> list[dict[str, Any]]:
    return [
        {"encoders": "pixels", "head": one.head, "balance": one.balance, **dict(one.options)}
        for one in cells
    ]


def test_intervals_cover_the_true_effect() -> None:
    settings = settings_of(four())
    axes = find_axes(settings, settings)
    asked = contrasts(settings, axes)
    truth = {"head": 0.10, "balance": 0.03}
    covered = []
    for trial in range(100):
        hard = np.random.default_rng([1, trial]).random(250)
        right = np.array([
            drawn_right(0.5 + 0.1 * (s["head"] == "lda") + 0.03 * (s["balance"] == "smote"),
                        hard, 10 * trial + i)
            for i, s in enumerate(settings)
        ])  # fmt: skip
        samples = {"accuracy": samples_of(right, 300, trial)}
        for one in effects(asked, settings, samples, "accuracy", 250):
            _, low, high = one.figures["accuracy"]
            covered.append(low <= truth[one.axis] <= high)
    assert 0.90 <= np.mean(covered) <= 0.99


def test_holm_controls_false_alarms() -> None:
    cells = [cell("knn", options=(("k", k),)) for k in range(1, 13)]
    settings = settings_of(cells)
    asked = contrasts(settings, find_axes(settings, settings))
    assert len(asked) == 11
    raw, corrected = [], []
    for trial in range(120):
        hard = np.random.default_rng([2, trial]).random(200)
        right = np.array([drawn_right(0.6, hard, 100 * trial + i) for i in range(len(cells))])
        samples = {"accuracy": samples_of(right, 200, trial)}
        p = effects(asked, settings, samples, "accuracy", 200)
        raw.append(min(one.p for one in p) < 0.05)
        corrected.append(min(one.p_holm for one in p) < 0.05)
    assert np.mean(corrected) <= 0.09
    assert np.mean(raw) > 0.15  # what is corrected


def test_the_truly_best_is_seldom_left_out_and_bad_ones_are() -> None:
    left_out, bad = [], []
    for trial in range(120):
        hard = np.random.default_rng([3, trial]).random(200)
        share = [0.6] * 12 + [0.35]
        right = np.array([drawn_right(s, hard, 100 * trial + i) for i, s in enumerate(share)])
        p = p_best(samples_of(right, 200, trial))
        left_out.append(p[0] < 0.05)  # the first is as good as any
        bad.append(p[-1] < 0.05)
    assert np.mean(left_out) <= 0.09
    assert np.mean(bad) > 0.95


def test_the_best_of_equals_is_too_good_and_is_corrected(tmp_path: Path) -> None:
    raw, mended = [], []
    for trial in range(8):
        hard = np.random.default_rng([4, trial]).random(N)
        cells = {
            cell("knn", options=(("k", k),)): answers_of(
                Y, drawn_right(0.6, hard, 100 * trial + k, alike=0), C
            )
            for k in range(10)
        }
        name = f"t{trial}"
        found = show(make_sweep(tmp_path, cells, Y, name=name), name, "accuracy", draws=100)
        raw.append(found.best.figures["accuracy"][0] - 0.6)
        mended.append(found.corrected[0] - 0.6)
        assert found.optimism > 0
    assert np.mean(raw) > 0.03
    assert abs(np.mean(mended)) < 0.5 * np.mean(raw)


def test_heads_are_compared_at_what_both_have() -> None:
    cells = [
        *(cell("knn", balance=b, options=(("k", k),)) for b in ("none", "smote") for k in (1, 5)),
        cell("lda", balance="none"),
        cell("lda", balance="smote", options=(("ridge", 1.0),)),
        cell("prior"),
    ]
    settings = settings_of(cells)
    asked = {
        (one.axis, one.value): one for one in contrasts(settings, find_axes(settings, settings))
    }
    assert set(asked["head", "lda"].pairs) == {(4, 0), (4, 1), (5, 2), (5, 3)}
    assert set(asked["head", "prior"].pairs) == {(6, 0), (6, 1)}  # no smote there
    assert set(asked["balance", "smote"].pairs) == {(2, 0), (3, 1)}  # lda's differ in ridge too
    assert set(asked["k", 5].pairs) == {(1, 0), (3, 2)}
    assert ("ridge", 1.0) not in asked  # its only pair differs in the balance too


def test_interactions_are_differences_of_differences() -> None:
    settings = settings_of(four())
    axes = find_axes(settings, settings)
    values = np.random.default_rng(0).random((4, 51))
    (found,) = interactions(contrasts(settings, axes), settings, axes, values, 100)
    expected = (values[3, 0] - values[2, 0]) - (values[1, 0] - values[0, 0])
    assert (found.axis, found.other_axis, found.other_value) == ("balance", "head", "lda")
    assert found.difference[0] == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25))
def test_the_front_is_what_none_beats(points: list[tuple[int, int]]) -> None:
    gain, cost = np.array(points, dtype=float).T
    beaten = [
        any(
            g >= gain[i] and c <= cost[i] and (g, c) != (gain[i], cost[i])
            for g, c in zip(gain, cost, strict=True)
        )
        for i in range(len(points))
    ]
    assert front(gain, cost).tolist() == [not one for one in beaten]


@given(st.integers(2, 6))
def test_seed_weights_have_the_variance_of_a_mean(seeds: int) -> None:
    weights = seed_weights(seeds, 4000)
    assert np.allclose(weights.sum(axis=0), 1)
    values = np.random.default_rng(seeds).normal(size=seeds)
    drawn = values @ weights
    assert drawn[0] == pytest.approx(values.mean())
    assert drawn[1:].var() == pytest.approx(values.var(ddof=1) / seeds, rel=0.15)


def test_seeds_are_shared_by_most_cells(found: Answers) -> None:
    assert found.stability.seeds == 2
    from classify.configurations import Configuration

    def with_seeds(*seeds: int) -> Configuration:
        one = cell()
        results: Any = tuple(replace(RESULT, cell=replace(one, seed=s)) for s in seeds)
        return Configuration(one, results)

    from classify.cell import CellResult

    RESULT = CellResult(cell(), "x")
    assert shared_seeds([with_seeds(0, 1, 2)] * 5 + [with_seeds(0)]) == (0, 1, 2)
    assert shared_seeds([with_seeds(0, 1), *[with_seeds(0)] * 5]) == (0,)


def test_stability_counts_seeds_and_orders() -> None:
    samples = np.array([[0.9, 0.9, 0.8], [0.5, 0.5, 0.85], [0.1, 0.1, 0.1]])
    by_seed = np.array([[0.9, 0.4], [0.5, 0.6], [0.1, 0.2]])
    one = stability(samples, by_seed)
    assert (one.best_in_seeds, one.probability_best) == (1, 0.5)
    assert one.tau_seeds == pytest.approx(1 / 3)
    assert one.tau_draws == pytest.approx((1 + 1 / 3) / 2)


def curve(law: Any, photos: Any, n: int = 2000, seed: int = 0) -> Any:
    """(k, 1 + B) accuracies along a curve, of n photos that all points share."""
    hard = np.random.default_rng(seed).random(n)
    right = [drawn_right(law(x), hard, seed + i) for i, x in enumerate(photos)]
    return samples_of(np.array(right), 100, seed)


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_a_power_law_is_carried_on(floor: float) -> None:
    photos = (5.0, 10.0, 20.0, 40.0)

    def law(x: float) -> float:
        return float(1 - floor - 0.9 * x**-0.4)

    covered, said = 0, 0
    for seed in range(10):
        found = forecast(photos, curve(law, photos, seed=100 * seed), "family")
        if found.gain is None:
            continue
        assert found.more == 20
        assert f"{found.more} photos more of each family" in found.sentence
        assert found.law[0][1] == pytest.approx(found.law[-1][1] - found.gain[0], abs=0.02)
        said += 1
        covered += found.gain[1] <= law(60) - law(40) <= found.gain[2]
    assert said > 5
    assert covered >= 0.9 * said


def test_few_points_and_no_law_say_nothing() -> None:
    three = forecast((5.0, 10.0, 20.0), curve(lambda x: 1 - x**-0.4, (5, 10, 20)))
    assert (three.gain, three.more) == (None, None)
    assert "Too few points" in three.sentence
    jump = forecast((5.0, 10, 20, 40), curve(lambda x: 0.3 if x < 40 else 0.9, (5, 10, 20, 40)))
    assert jump.gain is None
    assert [photos_more(n) for n in (3, 12, 40, 90, 500)] == [1, 5, 20, 20, 200]


def test_json_is_json(found: Answers) -> None:
    text = json.dumps(found.to_json(), allow_nan=False)
    read = json.loads(text)
    assert read["rows"][0]["standing"] == "best"
    assert read["rows"][0]["cell"]["encoders"] == ["pixels"]
    assert set(read["effects"][0]["figures"]) == set(METRICS)
    assert len(read["interactions"]) == len(found.interactions)


def test_csv_and_parquet_have_the_same_values(found: Answers, tmp_path: Path) -> None:
    for table in ("configurations", "effects", "interactions", "curves"):
        paths = [tmp_path / f"{table}.{form}" for form in ("csv", "parquet")]
        for path in paths:
            assert write_tables(found, None, path, table) == [path]
        text, columns = pd.read_csv(paths[0]), pd.read_parquet(paths[1])
        assert list(text) == list(columns)
        assert len(text) == len(records(found, table))
        for name in text.select_dtypes("number"):
            assert np.allclose(text[name], columns[name].astype(float), equal_nan=True), name
    table = pd.read_csv(tmp_path / "configurations.csv")
    assert table["macro_f1"].tolist() == [row.figures["macro_f1"][0] for row in found.rows]
    assert (table["macro_f1_low"] <= table["macro_f1"]).all()


def test_tables_go_beside_the_sweep(found: Answers) -> None:
    paths = write_tables(found, "md")
    assert {path.name for path in paths} == {
        "configurations.md", "effects.md", "interactions.md", "curves.md"
    }  # fmt: skip
    text = (found.folder / "configurations.md").read_text()
    best = f"{found.best.figures['macro_f1'][0]:.3f}"
    assert f"**{best} " in text
    assert text.count("†") == len(found.ties) + 1  # each, and the caption
    with pytest.raises(UserError, match="--table is one of"):
        write_tables(found, "csv", table="all")
    with pytest.raises(UserError, match="--format is one of csv, parquet, md, tex"):
        write_tables(found, None, Path("table.xlsx"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Names that LaTeX, Markdown and pictures could stumble over."""
    names = [r"a_b$x^2$&\input{c}%", "köln–中文|`x`", "x" * 150]
    cells = {
        cell(head, encoders=(name,), photos=photos): answers_of(
            Y, 0.4 + 0.1 * i + (photos is None) * 0.2 > HARD, C
        )
        for i, name in enumerate(names)
        for head, photos in product(("knn", "lda"), (5, None))
    }
    return show(make_sweep(tmp_path_factory.mktemp("odd"), cells, Y), "grid", draws=50)


def test_latex_is_ascii_with_escaped_names(hostile: Answers, tmp_path: Path) -> None:
    path = tmp_path / "table.tex"
    write_tables(hostile, "tex", path)
    text = path.read_text()
    assert text.isascii()
    assert r"\input{c}" not in text
    assert latex(r"a_b$x^2$&\input{c}%") in text
    for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption", r"\textbf{"):
        assert command in text
    assert text.count("{") == text.count("}")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex on the PATH")
def test_latex_compiles(hostile: Answers, found: Answers, tmp_path: Path) -> None:
    from classify.report_pdf import compile_pdf

    made = []
    for name, answers in (("odd", hostile), ("plain", found)):
        for table in ("configurations", "effects", "interactions", "curves"):
            path = tmp_path / f"{name}-{table}.tex"
            if records(answers, table):
                write_tables(answers, "tex", path, table)
                made.append(path.name)
    body = "\n".join(rf"\input{{{name}}}" for name in made)
    source = tmp_path / "all.tex"
    source.write_text(
        "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n"
        "\\usepackage{lmodern,textcomp,booktabs,graphicx}\n"
        f"\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    assert compile_pdf(source, "pdflatex").startswith(b"%PDF")


def test_pictures_are_written_in_three_forms(
    found: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(PICTURES, "configurations")  # which take long and are drawn below
    monkeypatch.delitem(PICTURES, "pareto")
    monkeypatch.delitem(PICTURES, "heat-map")
    paths = write_pictures(found, tmp_path)
    assert {path.name for path in paths} == {
        f"{name}.{form}" for name in PICTURES for form in ("svg", "pdf", "png")
    }
    with Image.open(tmp_path / "effects.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=1)
    pdf = (tmp_path / "effects.pdf").read_bytes()
    assert b"/FontFile2" in pdf  # TrueType, embedded
    assert b"/Subtype /Type3" not in pdf
    assert "<svg" in (tmp_path / "curves.svg").read_text()


@pytest.mark.parametrize("name", list(PICTURES))
def test_no_word_of_a_picture_is_cut(hostile: Answers, name: str) -> None:
    with styled():
        figure: Any = PICTURES[name](hostile)
        figure.draw_without_rendering()
        rows = figure.axes[0].get_yticklabels()
        words = [figure._suptitle, figure.axes[0].xaxis.label, figure.axes[0].yaxis.label]
        words += [word for legend in figure.legends for word in legend.get_texts()]
        words += (
            rows if name not in ("curves", "pareto") else []
        )  # some of those ticks are not drawn
        for word in words:
            if word is not None and word.get_text():
                box = word.get_window_extent()
                assert figure.bbox.x0 - 2 <= box.x0, word.get_text()
                assert box.x1 <= figure.bbox.x1 + 2, word.get_text()
        boxes = sorted((row.get_window_extent() for row in rows), key=lambda box: box.y0)
        assert all(a.y1 <= b.y0 + 1 for a, b in pairwise(boxes))


def test_the_command_fits_the_cell() -> None:
    one = cell(
        "knn", encoders=("a", "b"), balance="smote", options=(("k", 15), ("pca", 64)),
        columns=("place",), folds=10, split="by-species",
    )  # fmt: skip
    assert one.fit_command == (
        "cli fit --head knn --set k=15 --set pca=64 --with place --balance smote --encoder a "
        "--encoder b --folds 10 --split by-species"
    )
