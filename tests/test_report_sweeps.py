"""Sweeps in the report: what the chapter says, and the slice in headless Chromium."""

import csv
import io
import re

import pytest
from conftest import needs_chromium
from report_by_hand import make_workspace, small_grid, write_evaluation, write_sweep

from classify.cell import Cell
from classify.cell_store import load_sweep
from classify.configurations import configurations
from classify.report_blocks import Chart, Column, ReportTable, Sentences
from classify.report_csv import report_csvs
from classify.report_data import collect_report
from classify.report_page import table_html, write_report_page
from classify.report_slice import slice_html
from classify.runs import all_runs
from classify.sweep_show import show
from embed.workspace import Workspace

HOSTILE = """<img src=x onerror="window.hit=1"><script>window.hit=1</script>&'"""
SLICE, TABLE = '[data-slice="t-sweep-grid"]', "#t-sweep-grid"


def without_sweeps(place):
    runs = make_workspace(place, evaluated=False)
    write_evaluation(runs[0], [{"id": "a", "path": "", "label": "felidae", "name": "a"}] * 8)


def report(place):
    runs = [run for run in all_runs(Workspace(place)) if run.name.startswith("stack")]
    return collect_report(Workspace(place), runs)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A workspace whose sweep `grid` has hostile encoders, and `half` failed and missing cells."""
    place = tmp_path_factory.mktemp("workspace")
    without_sweeps(place)
    write_sweep(place, "grid", [*small_grid(), *small_grid(HOSTILE)])
    write_sweep(place, "half", small_grid()[:8], failed=2)
    return place


@pytest.fixture(scope="module")
def data(place):
    return report(place)


@pytest.fixture(scope="module")
def page_file(data, place):
    write_report_page(data, place / "report.html")
    return place / "report.html"


def chapter(data):
    return next(one for one in data.sections if one.key == "sweeps")


def sentences(data):
    blocks = [block for block in chapter(data).blocks if isinstance(block, Sentences)]
    return [line for block in blocks for line in block.lines]


def table(data, name="sweep-grid"):
    return next(one for one in data.blocks(ReportTable) if one.name == name)


# ---- what the chapter says


def test_the_table_has_every_configuration_with_its_settings(place, data):
    found = table(data)
    names = [column.name for column in found.columns]
    done = configurations(load_sweep(Workspace(place), "grid").done)
    assert names[: len(found.axes)] == ["encoders", "head", "photos", "k"]
    assert len(found.rows) == len(done) == 24
    settings = {(row[0], row[1], row[2], row[3]) for row in found.rows}
    assert settings == {
        (
            "+".join(one.cell.encoders),
            one.cell.head,
            one.cell.photos or "all",
            dict(one.cell.options).get("k", "–"),
        )
        for one in done
    }
    macro = names.index("macro-F1")
    values = [row[macro][0] for row in found.rows]
    assert values == pytest.approx([one.figure("macro_f1")[0] for one in done])
    assert values == sorted(values, reverse=True)
    assert {row[names.index("seeds")] for row in found.rows} == {2}


def test_the_answers_are_those_of_sweep_show(place, data):
    its = show(Workspace(place), "grid")
    best = table(data, "sweep-grid-best")
    assert best.rows[0][0] == its.best.name
    assert best.rows[0][2] == its.best.figures["macro_f1"]
    assert best.marked == {0}
    said = " ".join(
        line
        for block in chapter(data).blocks
        if isinstance(block, Sentences)
        for line in block.lines
    )
    assert f"The best is {its.best.name}: macro-F1" in said
    assert f"Not significantly worse: {len(its.ties)} of 23 others" in said
    assert its.command in said
    effects = table(data, "sweep-grid-effects")
    assert [row[1] for row in effects.rows] == [one.figures["macro_f1"] for one in its.effects]
    charts = {one.name: one for one in data.blocks(Chart)}
    front = charts["sweep-grid-front"].series[0]
    assert list(front.x) == sorted(r.seconds for r in its.rows if "seconds" in r.front)
    curves = charts["sweep-grid-curves"].series
    assert list(curves[0].y) == [point.figure[0] for point in its.curves[0].points]
    standing = [column.name for column in table(data).columns].index("standing")
    ties = sum(row[standing] == "tie" for row in table(data).rows)
    assert ties == len(its.ties)


def test_failed_and_missing_cells_are_told(place, data):
    said = [
        line
        for block in chapter(data).blocks
        if isinstance(block, Sentences)
        for line in block.lines
    ]
    failed = [line for line in said if line.endswith("failed: the reason")]
    assert len(failed) == 2
    assert len(table(data, "sweep-half").rows) < len(small_grid()[:8])


def test_a_sweep_of_failures_only_says_why(tmp_path):
    without_sweeps(tmp_path)
    write_sweep(tmp_path, "grid", small_grid()[:7], failed=7)
    (block,) = chapter(report(tmp_path)).blocks
    assert len(block.lines) == 6
    assert block.lines[-1] == "2 more cells of sweep grid failed."


def test_one_configuration_is_not_sliced(tmp_path):
    without_sweeps(tmp_path)
    write_sweep(tmp_path, "grid", [Cell(("pixels",), "knn")])
    found = report(tmp_path)
    assert list(table(found).axes) == []
    assert "data-slice" not in table_html(table(found))


def test_every_number_of_the_chapter_is_in_its_csv(data):
    files = report_csvs(data)
    for block in chapter(data).blocks:
        if not isinstance(block, ReportTable):
            continue
        text = files[f"{block.name}.csv"]
        cells = {cell for row in csv.reader(io.StringIO(text)) for cell in row}
        wanted = [
            repr(number)
            for row in block.rows
            for value in row
            for number in (value if isinstance(value, tuple) else (value,))
            if isinstance(number, int | float)
        ]
        assert wanted
        assert [number for number in wanted if number not in cells] == []


def test_a_slice_begins_with_amounts_across_and_heads_as_colours():
    def parts(columns, rows):
        html = slice_html(ReportTable("s", "s", columns, rows, axes=range(len(columns) - 1)))
        chosen = dict(re.findall(
            r'data-part="(x|colour)">.*?<option value="(\d*)" selected>', html
        ))  # fmt: skip
        return chosen["x"], chosen["colour"]

    text, exact, figure = Column("head"), Column("photos", "exact"), Column("f", "number")
    rows = [["knn", 5, 0.5], ["lda", 5, 0.4], ["knn", "all", 0.6], ["lda", 10, 0.5]]
    assert parts([text, exact, figure], rows) == ("1", "0")
    assert parts([exact, figure], [row[1:] for row in rows]) == ("0", "")
    many = [[f"e{i}", i % 3, 0.5] for i in range(20)]
    assert parts([Column("encoders"), Column("k", "exact"), figure], many) == ("1", "")


def test_the_words_of_an_axis_are_in_order():
    rows = [["all", 0.1], [20, 0.1], ["25%", 0.1], [5, 0.1], ["5%", 0.1]]
    html = slice_html(
        ReportTable("s", "s", [Column("photos", "exact"), Column("f", "number")], rows, axes=[0])
    )
    (only,) = re.findall(r'data-column="0">(.*?)</select>', html)
    assert re.findall(r'value="([^"]+)"', only) == ["5", "20", "5%", "25%", "all"]


# ---- the slice in a browser


def rows(tab):
    return tab.locator(f"{TABLE} tbody tr:not([hidden])").count()


def dots(tab):
    return tab.locator(f"{SLICE} .plot .dot").count()


def part(tab, name):
    return tab.locator(f'{SLICE} [data-part="{name}"]')


def only(tab, place):
    return tab.locator(f'{SLICE} select[data-column="{place}"]')


@needs_chromium
def test_chart_and_table_follow_the_choices(tab):
    caption = tab.locator(f"{SLICE} figcaption")
    assert dots(tab) == rows(tab) == 24
    assert caption.text_content() == (
        "macro-F1 by photos, colours: head, lines: the best. 24 of 24 configurations."
    )
    assert tab.locator(f"{SLICE} .legend li").all_text_contents() == ["knn", "logreg"]
    only(tab, 1).select_option("knn")
    assert dots(tab) == rows(tab) == 18
    only(tab, 3).select_option("5")
    assert dots(tab) == rows(tab) == 6
    assert "6 of 24 configurations" in caption.text_content()
    assert tab.locator('[data-count="t-sweep-grid"]').text_content() == "6 of 24 rows"
    tab.fill('input[data-for="t-sweep-grid"]', "window.hit")
    assert dots(tab) == rows(tab) == 3
    tab.fill('input[data-for="t-sweep-grid"]', "nothing like it")
    assert dots(tab) == 0
    assert "No configuration" in tab.locator(f"{SLICE} .says").text_content()
    part(tab, "all").click()
    assert dots(tab) == rows(tab) == 24


@needs_chromium
def test_the_axes_of_the_chart_are_chosen(tab):
    part(tab, "x").select_option(label="k")
    ticks = tab.locator(f"{SLICE} .plot text").all_text_contents()
    assert [word for word in ticks if word in ("1", "5", "15", "–")] == ["1", "5", "15", "–"]
    only(tab, 1).select_option("knn")  # k is an amount now
    part(tab, "y").select_option(label="seconds")
    part(tab, "colour").select_option("")
    assert tab.locator(f"{SLICE} .legend li").count() == 0
    assert tab.locator(f"{SLICE} path.line").count() == 1
    part(tab, "line").select_option("")
    assert tab.locator(f"{SLICE} path.line").count() == 0
    part(tab, "x").select_option(label="seconds")
    places = tab.eval_on_selector_all(
        f"{SLICE} .plot .dot", "all => all.map(one => one.getBBox().x + one.getBBox().y)"
    )
    assert len(places) == 18
    assert max(places) - min(places) < 900


@needs_chromium
def test_the_line_goes_through_the_best_or_the_mean(tab):
    only(tab, 1).select_option("knn")
    part(tab, "colour").select_option("")

    def heights():
        path = tab.locator(f"{SLICE} path.line").get_attribute("d")
        return [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]

    def highest():
        return tab.eval_on_selector_all(
            f"{SLICE} .plot .dot",
            "all => all.map(one => one.getBBox()).map(b => b.y + b.height / 2)",
        )

    best = heights()
    assert min(best) == pytest.approx(min(highest()), abs=0.2)
    part(tab, "line").select_option("mean")
    assert all(mean > top for mean, top in zip(heights(), best, strict=True))
    part(tab, "line").select_option("best")
    part(tab, "y").select_option(label="log-loss")  # less is better: the lowest dots
    assert max(heights()) == pytest.approx(max(highest()), abs=0.2)


@needs_chromium
def test_the_chart_is_walked_and_pointed_at(tab):
    plot, says = tab.locator(f"{SLICE} .plot"), tab.locator(f"{SLICE} .says")
    plot.focus()
    tab.keyboard.press("ArrowRight")
    assert says.text_content().startswith("macro-F1 0.")
    assert "photos 5" in says.text_content()
    first = says.text_content()
    tab.keyboard.press("End")
    assert "photos all" in says.text_content()
    assert tab.locator(f"{TABLE} tr.at").count() == 1
    value = re.match(r"macro-F1 (\S+)", says.text_content())[1]
    assert value in tab.locator(f"{TABLE} tr.at").text_content()
    tab.keyboard.press("Home")
    assert says.text_content() == first
    tab.locator(f"{SLICE} .plot .dot").last.hover()
    assert says.text_content() != first


@needs_chromium
def test_selects_are_reached_and_changed_by_keys(tab):
    part(tab, "y").focus()
    tab.keyboard.press("ArrowDown")
    assert tab.locator(f"{SLICE} figcaption").text_content().startswith("accuracy by photos")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.dataset.part") == "x"


@needs_chromium
def test_hostile_settings_are_words_and_sorting_keeps_the_chart(tab):
    part(tab, "colour").select_option(label="encoders")
    assert f"{HOSTILE}pixels" in tab.locator(f"{SLICE} .legend li").all_text_contents()
    part(tab, "x").select_option(label="encoders")
    tab.locator(f"{SLICE} .plot").focus()
    tab.keyboard.press("ArrowRight")
    assert HOSTILE in tab.locator(f"{SLICE} .says").text_content()
    assert tab.locator("img[src='x']").count() == 0
    tab.locator(f"{TABLE} th", has_text="photos").first.locator("button").click()
    cells = tab.eval_on_selector_all(
        f"{TABLE} tbody tr", "rows => rows.map(row => row.cells[2].textContent)"
    )
    assert cells == ["20"] * 8 + ["5"] * 8 + ["all"] * 8
    assert dots(tab) == 24


@needs_chromium
def test_it_prints_whole_and_reads_without_its_script(chromium, page_file):
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page_file.as_uri())
    assert tab.locator(f"{TABLE} tbody tr").count() == 24
    assert not tab.locator(SLICE).is_visible()
    context.close()
    tab = chromium.new_page()
    tab.goto(page_file.as_uri())
    tab.emulate_media(media="print")
    assert tab.locator(f"{SLICE} .plot svg").is_visible()
    assert not part(tab, "x").is_visible()
    assert all(one.is_visible() for one in tab.locator(f"{TABLE} tbody tr").all())
    tab.close()
