"""A report says what the files say, leaves out what is missing, and trusts no name."""

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from report_by_hand import make_workspace

from classify import charts, report_page
from classify.charts import chart_svg
from classify.leaderboard import Board
from classify.markdown import plain
from classify.report_blocks import (
    Chart,
    Column,
    Evidence,
    Gallery,
    Matrix,
    Photo,
    ReportData,
    ReportTable,
    Section,
    Series,
    as_figure,
    shown,
)
from classify.report_data import collect_report
from classify.report_matrix import matrix_html
from classify.report_model import _plain
from classify.report_page import write_report_page
from embed.errors import UserError
from embed.files import read_json, write_json
from embed.workspace import Workspace

HOSTILE = """<script>alert("1")</script>&'"><img src=x onerror=alert(2)>`$x$`"""
CHAPTERS = [
    "done", "data", "inspection", "split", "figures", "leaderboard", "ranks", "classes",
    "confusions", "errors", "hubs", "calibration", "unknown", "robustness", "leaks", "curves",
    "sweeps", "model", "limits", "cite",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("workspace"))


def report(runs, part="test"):
    return collect_report(Workspace(runs[0].folder.parent.parent), runs, part)


def table(data, name):
    (found,) = [one for one in data.blocks(ReportTable) if one.name == name]
    return found


def column(found, name):
    place = [one.name for one in found.columns].index(name)
    return [row[place] for row in found.rows]


class Page(HTMLParser):
    """The tags of a page, its words, and that every tag is closed."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.words, self.open = [], "", []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in {"meta", "img", "wbr", "input"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, words):
        self.words += words

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


# ---- what it says


def test_every_chapter_is_there_and_the_headline_is_the_files(runs):
    data = report(runs[:1])
    assert [section.key for section in data.sections] == CHAPTERS
    assert data.left_out == []
    first, *rest = data.headline
    value, low, high = read_json(runs[0].folder / "test" / "metrics.json")["accuracy"]
    assert (
        f"{value:.1%} [{100 * low:.1f}, {100 * high:.1f}] of 48 test photos of 4 families" in first
    )
    assert first.startswith("The stack tells the family right in ")
    assert any("drawn at random" in line for line in rest)
    assert any("1 other run had a look" in line for line in rest)


def test_tables_have_the_values_of_the_files(runs):
    data = report(runs[:1])
    folder = runs[0].folder / "test"
    figures = table(data, "figures")
    metrics = read_json(folder / "metrics.json")
    assert column(figures, "test") == [tuple(value) for value in metrics.values()]
    ranks = read_json(folder / "ranks.json")["ranks"]
    assert column(table(data, "ranks"), "accuracy") == [tuple(one["accuracy"]) for one in ranks]
    per_class = table(data, "classes")
    assert sum(column(per_class, "photos")) == 48
    assert column(per_class, "size")[:2] == ["50 photos or more", "under 10 photos"]
    assert table(data, "calibration").marked == {1}
    assert "Skipped: isotonic: fewer than 1,000 photos." in table(data, "calibration").note
    assert column(table(data, "risk"), "wanted") == [0.5, 0.8, 0.9, 1.0]
    assert [row[0] for row in table(data, "leaderboard").rows] == ["stack-a-1", "knn-a-2"]
    assert table(data, "leaderboard").marked == {0}
    curve = next(one for one in data.blocks(Chart) if one.name == "curve-logreg-chart")
    assert list(curve.series[0].x) == [39, 117, 380, 2148]


def test_the_table_of_confusions_says_what_the_matrix_says(runs):
    data = report(runs[:1])
    (matrix,) = data.blocks(Matrix)
    assert sum(matrix.n) == 48
    assert matrix.photos == [12] * 4
    pairs = table(data, "pairs")
    said = {(row[0], row[1]): row[2] for row in pairs.rows}
    assert said == {
        (matrix.classes[i], matrix.classes[j]): n
        for i, j, n in zip(matrix.truth, matrix.predicted, matrix.n, strict=True)
        if i != j
    }
    counts = column(pairs, "photos")
    assert counts == sorted(counts, reverse=True)
    assert matrix.title == "6 of 48 test photos are off the diagonal"


def test_evidence_has_both_sides(runs):
    pair = next(one for one in report(runs[:1]).blocks(Gallery) if one.name == "pair-1")
    for item in pair.items:
        assert item.photo.label in pair.title
        assert len(item.near) == 3
    found = read_json(runs[0].folder / "test" / "confusions.json")["pairs"][0]
    assert pair.title == f"{found['truth']} taken for {found['predicted']}"
    own = found["examples"][0]["own"]
    assert pair.items[0].near[-1].path == own["path"]
    matches = {near.label: near.match for near in pair.items[0].near}
    assert matches == {
        label: {found["truth"]: True, found["predicted"]: False}.get(label) for label in matches
    }


def test_an_experiment_on_other_photos_says_so(runs):
    path = next((runs[0].folder.parent.parent / "curves").glob("*.json"))
    whole = read_json(path)
    said = "Made on other training photos (0dd)"

    def words():
        (section,) = [one for one in report(runs[:1]).sections if one.key == "curves"]
        return str(section.blocks)

    assert said not in words()
    write_json(path, whole | {"data": runs[0].provenance["data"]})
    assert said not in words()
    write_json(path, whole | {"data": "0dd"})
    assert said in words()
    write_json(path, whole)


def test_several_runs_stand_side_by_side(runs):
    write_json(runs[1].folder / "test" / "metrics.json", {"accuracy": [0.7, 0.6, 0.8]})
    figures = table(report(runs), "figures")
    assert [one.name for one in figures.columns] == ["figure", "stack-a-1", "knn-a-2", "what it is"]
    assert column(figures, "knn-a-2")[0] == (0.7, 0.6, 0.8)
    assert column(figures, "knn-a-2")[1] is None


def test_other_questions_of_the_split_are_told(runs, tmp_path):
    (run, _) = make_workspace(tmp_path / "w")
    path = Workspace(tmp_path / "w").split("default").with_suffix(".json")
    write_json(path, read_json(path) | {"by": "species"})
    said = " ".join(report([run]).headline)
    assert "No species is on both sides" in said
    assert "drawn at random" not in said
    asked = {"question": "can it tell the family of a new species?", "not_testable": ["rosaceae"]}
    write_json(path, read_json(path) | asked)
    data = report([run])
    assert "The test asks: can it tell the family of a new species?" in data.headline
    (section,) = [one for one in data.sections if one.key == "split"]
    assert "Not to be tested by this rule: rosaceae." in str(section.blocks)
    write_json(path, {"label": "family", "by": None, "seed": None})
    assert "were given, and taken as they are" in " ".join(report([run]).headline)


# ---- what is missing


def test_what_is_missing_is_left_out_with_the_command_that_makes_it(tmp_path):
    runs = make_workspace(tmp_path / "w", evaluated=False)
    metrics = {"accuracy": [0.5, 0.4, 0.6], "macro_f1": [0.5, 0.4, 0.6]}
    write_json(runs[0].folder / "test" / "metrics.json", metrics)
    data = report(runs[:1])
    assert dict(data.left_out) == {
        "A look at the photos": "cli inspect",
        "Rank by rank": "cli evaluate stack-a-1",
        "Class by class": "cli evaluate stack-a-1",
        "What is taken for what": "cli evaluate stack-a-1",
        "Errors with their evidence": "cli evaluate stack-a-1",
        "Hubs": "cli evaluate stack-a-1",
        "How sure it may be": "cli evaluate stack-a-1",
        "None of these": "cli evaluate stack-a-1 --unknown",
        "Worse photos": "cli evaluate stack-a-1 --perturb",
        "Leak report": "cli leak --by COLUMN",
        "Learning curve": "cli curve",
        "Sweeps": "cli sweep GRID.toml",
    }
    write_report_page(data, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert "None of these: cli evaluate stack-a-1 --unknown" in page.words
    links = {one["href"] for one in page.all("a")}
    assert "#unknown" not in links
    assert "#figures" in links


def test_a_run_that_was_not_evaluated_is_refused(runs):
    for part, command in (("val", "cli evaluate stack-a-1 --on val"),):
        with pytest.raises(UserError, match=re.escape(command)):
            report(runs[:1], part)
    with pytest.raises(UserError, match="is no part"):
        report(runs[:1], "train")
    with pytest.raises(UserError, match="needs a run"):
        collect_report(Workspace(runs[0].folder.parent.parent), [])


def test_nulls_and_missing_keys_cost_a_cell_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr("classify.report_source.model_card", lambda run: "")  # these cost time
    monkeypatch.setattr("retrieval.page.write_text", lambda path, page: None)
    monkeypatch.setattr("classify.report_page.thumbnails", lambda *_: {})
    monkeypatch.setattr("classify.report_results.leaderboard", lambda _: Board("oof", [], []))
    monkeypatch.setattr("classify.report_sweeps.sweeps", lambda _: None)
    (run, _) = make_workspace(tmp_path / "w")
    places = [*(run.folder / "test").glob("*.json"), *(tmp_path / "w").glob("[lci]*/*.json")]
    assert len(places) == 10
    for path in places:
        whole = read_json(path)
        for broken in _broken(whole):
            if path.name == "metrics.json" and not isinstance(broken.get("macro_f1"), list):
                continue  # that run is damaged, and said to be
            path.write_text(json.dumps(broken))
            write_report_page(report([run]), tmp_path / "r.html")
        path.write_text(json.dumps(whole))


def _broken(whole):
    """The value with each key gone, null or a text, and each list's first member so too."""
    yield {}
    for key, value in whole.items():
        yield {name: one for name, one in whole.items() if name != key}
        yield whole | {key: None}
        yield whole | {key: "?"}
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict):
            for name in inner:
                changed = inner | {name: None}
                yield whole | {key: [changed] if isinstance(value, list) else changed}


def test_without_the_collection_photos_are_grey_boxes(tmp_path):
    (run, _) = make_workspace(tmp_path / "w")
    found = read_json(run.folder / "test" / "confusions.json")
    for error in found["errors"]:
        del error["path"]
    write_json(run.folder / "test" / "confusions.json", found)
    Workspace(tmp_path / "w").collection.unlink()
    data = report([run])
    assert "data" not in [section.key for section in data.sections]
    assert data.blocks(Gallery)[0].items[0].photo.path == ""
    write_report_page(data, tmp_path / "r.html")
    assert "nobody knows where the photo is" in Page(tmp_path / "r.html").words


def test_errors_and_matrix_come_from_csv_where_there_is_no_json(tmp_path):
    (run, _) = make_workspace(tmp_path / "w")
    folder = run.folder / "test"
    (folder / "confusions.json").unlink()
    (folder / "confusion.csv").write_text("label,a,b\na,3,1\nb,0,2\n")
    (folder / "errors.csv").write_text(
        "id,file_path,label,predicted,probability,neighbour_1,neighbour_1_label,"
        "neighbour_1_similarity\nt0001.jpg,x/y.jpg,a,b,0.91,t0002.jpg,b,0.812\n"
    )
    data = report([run])
    (matrix,) = data.blocks(Matrix)
    assert (matrix.truth, matrix.predicted, matrix.n) == ([0, 0, 1], [0, 1, 1], [3, 1, 2])
    (item,) = data.blocks(Gallery)[0].items
    assert item.photo.caption == "taken for b (91% sure)"
    assert item.photo.path.endswith("photos/t0001.png")
    assert (item.near[0].similarity, item.near[0].match) == (0.812, False)


# ---- the page


def test_no_name_becomes_markup(tmp_path):
    names = tuple(f"{i}{HOSTILE}" for i in range(4))
    runs = make_workspace(tmp_path / "w", names, HOSTILE)
    _spoil(tmp_path / "w")
    write_report_page(report(runs[:1]), tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    kinds = [one.get("type") for one in page.all("script")]
    assert kinds == ["application/json", None]
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all(one["src"].startswith("data:image/jpeg;base64,") for one in page.all("img"))
    assert page.words.count("<script>alert") > 50  # shown, not run
    block = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page.source)
    assert json.loads(block[1])["classes"] == list(names)


def _spoil(place):
    """Hostile texts wherever a JSON file has a text."""

    def spoil(value):
        if isinstance(value, dict):
            return {key: spoil(one) for key, one in value.items()}
        if isinstance(value, list):
            return [spoil(one) for one in value]
        return f"{value}{HOSTILE}" if isinstance(value, str) and "/" not in value else value

    for path in [*place.glob("leaks/*.json"), *place.glob("curves/*.json"),
                 *place.glob("runs/stack*/test/*.json")]:  # fmt: skip
        if path.name != "confusions.json":
            write_json(path, spoil(read_json(path)))


def test_the_page_loads_nothing(runs, tmp_path):
    write_report_page(report(runs[:1]), tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "base", "form")
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import", page.source)
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", page.source)
    assert "default-src 'none'" in page.source
    assert str(tmp_path) not in page.source  # nor says where the photos lie
    ids = [one["id"] for _, one in page.tags if "id" in one]
    assert len(ids) == len(set(ids))
    assert all(one["alt"] for one in page.all("img"))


def test_pictures_are_bounded(runs, tmp_path, monkeypatch):
    write_report_page(report(runs[:1]), tmp_path / "all.html")
    tiles = len(Page(tmp_path / "all.html").all("img"))
    monkeypatch.setattr(report_page, "MOST_PICTURES", 7)
    write_report_page(report(runs[:1]), tmp_path / "few.html")
    page = Page(tmp_path / "few.html")
    assert len(page.all("img")) == 7 < tiles
    assert "No room for more pictures" in page.words


def test_twelve_thousand_photos_of_noise_stay_below_15_mb(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.png"
    Image.fromarray(rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)).save(path)
    classes = [f"family number {i}" for i in range(202)]
    cells = np.unique(rng.integers(0, 202 * 202, 12_000))
    truth, predicted = (one.tolist() for one in divmod(cells, 202))
    tiles = [Photo(str(path), "noise.png", "family", similarity=0.5)] * 4
    figure = (0.123456, 0.1, 0.2)
    columns = [Column("class"), *(Column(f"{i}", "number") for i in range(8))]
    long = [[name, *[figure] * 8] for name in classes * 10]  # 2,020 rows
    data = ReportData("Large", ["It is large."], [
        Section("m", "M", [Matrix("confusion", "m", classes, truth, predicted, [1] * len(truth))]),
        Section("t", "T", [ReportTable("pairs", "t", columns, long, sortable=True)]),
        Section("g", "G", [Gallery("g", "g", [Evidence(tiles[0], tiles[1:])] * 200)]),
    ])  # fmt: skip
    write_report_page(data, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_bytes()
    assert page.count(b"<img") == report_page.MOST_PICTURES
    assert 2e6 < len(page) < 15e6


def test_a_matrix_has_every_cell_once_in_few_paths():
    rng = np.random.default_rng(1)
    cells = np.unique(rng.integers(0, 202 * 202, 5000))
    truth, predicted = (one.tolist() for one in divmod(cells, 202))
    matrix = Matrix("m", "t", [str(i) for i in range(202)], truth, predicted, [2] * len(truth))
    page = matrix_html(matrix)
    paths = re.findall(r'<path class="(right|wrong)" opacity="[0-9.]+" d="([^"]+)"', page)
    assert len(paths) <= 16
    drawn = {
        (kind, math.floor(float(y)), math.floor(float(x)))
        for kind, d in paths
        for x, y in re.findall(r"M([0-9.]+) ([0-9.]+)h", d)
    }
    assert drawn == {
        ("right" if i == j else "wrong", i, j) for i, j in zip(truth, predicted, strict=True)
    }


# ---- charts and cells


def numbers(low=-1e6, high=1e6):
    return st.floats(low, high, allow_nan=False, width=32)


@given(numbers(), numbers())
@settings(deadline=None)
def test_ticks_lie_inside_and_are_few(a, b):
    low, high = min(a, b), max(a, b)
    found = charts._ticks(low, high)
    assert 1 <= len(found) <= 8
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert all(low - slack <= one <= high + slack for one in found)
    assert found == sorted(found)


@given(
    st.lists(st.tuples(numbers(0, 1), st.none() | numbers(0, 0.25)), min_size=1, max_size=8),
    st.sampled_from(["ranges", "lines", "reliability"]),
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30),
)
@settings(deadline=None, max_examples=150)
def test_charts_are_xml_and_in_the_order_of_their_values(points, kind, name):
    values = [value for value, _ in points]
    low = [None if width is None else value - width for value, width in points]
    high = [None if width is None else value + width for value, width in points]
    x = [f"{name}{i}" for i in range(len(points))] if kind == "ranges" else sorted(values)
    series = Series(name, x, values, low, high, [1] * len(points))
    svg = chart_svg(Chart("c", name, kind, name, name, [series], name))
    root = ElementTree.fromstring(svg)
    titles = [one.text or "" for one in root.iter("title")]
    assert titles[0] == name
    dots = [(float(one.get("cx")), float(one.get("cy"))) for one in root.iter("circle")]
    assert len(dots) == len(points)
    along = [dot[0] for dot in dots] if kind == "ranges" else [-dot[1] for dot in dots]
    for i, j in zip(np.argsort(values)[:-1], np.argsort(values)[1:], strict=True):
        assert along[i] <= along[j] + 0.11
    assert all(0 <= a <= charts.WIDTH for a, _ in dots)


def test_empty_charts_are_drawn_too():
    for kind in ("ranges", "lines", "reliability"):
        for series in ([Series("a", [], [])], [Series("a", [0.5], [None])]):
            ElementTree.fromstring(chart_svg(Chart("c", "t", kind, "x", "y", series, "s")))


def test_cells_are_words():
    assert shown((0.9341, 0.92, 0.946), "number") == "0.934 [0.920, 0.946]"
    assert shown((0.9341, 0.92, 0.946), "share") == "93.4% [92.0%, 94.6%]"
    assert shown((0.5, None, None), "number") == "0.500"
    assert shown(12345, "count") == "12,345"
    assert shown(None, "number") == ""
    assert as_figure([None, 1, 2]) is None
    assert as_figure([math.nan, 1, 2]) is None
    assert as_figure(0.5) == (0.5, None, None)
    assert as_figure([0.5, None, 0.6]) == (0.5, None, 0.6)


@given(st.text(max_size=60))
@settings(deadline=None)
def test_the_card_is_read_as_it_was_written(words):
    assert _plain(plain(words)) == " ".join(
        "".join(c if c.isprintable() else " " for c in words).split()
    )
