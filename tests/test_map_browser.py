"""The map in headless Chromium: what a lasso holds, what hovers, no error, no request."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from conftest import needs_chromium, photo
from matplotlib.path import Path as Polygon

from retrieval.layout_2d import Layout
from retrieval.map_page import write_map

pytestmark = needs_chromium
READY = "#board[data-ready]"
HOSTILE = """<img src=x onerror="window.hit=1"></script><script>window.hit=1</script>&',\n"""
N = 240


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Three classes of 80 in three places; ids and words that would run if they were HTML."""
    folder = tmp_path_factory.mktemp("photos")
    names = [f"p{i:03}.png" for i in range(N)]
    for name in names[:4]:
        photo((200, 120, 40), 1).save(folder / name)
    return pd.DataFrame(
        {
            "id": [f"id {i}{HOSTILE if i % 7 == 0 else ''}" for i in range(N)],
            "path": [str(folder / name) for name in names],
            "file_path": names,
            "family": np.repeat(["felidae", f"ann{HOSTILE}", "canidae"], 80),
            "year": [str(1900 + i) for i in range(N)],
            "place": [None if i % 2 else f"site {i % 40}" for i in range(N)],
        }
    )


@pytest.fixture(scope="module")
def layout():
    middles = np.repeat([[0, 0], [10, 0], [5, 8]], 80, axis=0)
    xy = middles + np.random.default_rng(5).normal(size=(N, 2))
    return Layout(xy.astype(np.float32), "tsne", 0, N, 0.5, 0.4, 0.9)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, rows, layout):
    path = tmp_path_factory.mktemp("page") / "map.html"
    assert write_map(path, rows, layout, ["family", "year", "place"], ["pixels"]) == 4
    return path


def screen(tab):
    """(n, 2) where the points lie in the window."""
    area = tab.locator("#dots").bounding_box()
    places = tab.evaluate(f"Array.from({{ length: {N} }}, (_, i) => toScreen(i))")
    return np.array(places) + np.array([area["x"], area["y"]])


def draw_lasso(tab, corners, *keys):
    for key in ("Shift", *keys):
        tab.keyboard.down(key)
    tab.mouse.move(*corners[0])
    tab.mouse.down()
    for corner in corners[1:]:
        tab.mouse.move(*corner)
    tab.mouse.up()
    for key in ("Shift", *keys):
        tab.keyboard.up(key)


def saved(tab):
    """The ids of the downloaded CSV."""
    with tab.expect_download() as download:
        tab.click("#csv")
    tab.evaluate("scrollTo(0, 0)")
    with open(download.value.path(), newline="", encoding="utf-8") as handle:  # noqa: PTH123
        lines = list(csv.DictReader(io.StringIO(handle.read(), newline="")))
    return [line["id"] for line in lines]


def test_points_lie_as_in_the_layout(tab, layout):
    seen, xy = screen(tab), layout.xy * [1, -1]  # down the screen is down the map
    scale = np.ptp(seen, axis=0).max() / np.ptp(xy, axis=0).max()
    np.testing.assert_allclose(seen - seen[0], (xy - xy[0]) * scale, atol=0.1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_csv_holds_exactly_what_is_inside_the_lasso(tab, rows, seed):
    rng = np.random.default_rng(seed)
    places = screen(tab)
    middle, reach = places.mean(axis=0), np.ptp(places, axis=0) / 2
    turns = np.sort(rng.uniform(0, 2 * np.pi, 12))
    star = np.column_stack([np.cos(turns), np.sin(turns)]) * rng.uniform(0.3, 1.1, (12, 1))
    corners = np.rint(middle + star * reach).tolist()
    draw_lasso(tab, corners)
    inside = Polygon(corners).contains_points(places)
    assert 10 < inside.sum() < N - 10
    assert saved(tab) == rows["id"][inside].tolist()
    assert tab.text_content("#count") == f"{inside.sum()} of {N} photos"


def box_around(places):
    (x0, y0), (x1, y1) = places.min(axis=0) - 4, places.max(axis=0) + 4
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def test_a_lasso_adds_with_ctrl_and_leaves_out_what_is_hidden(tab, rows):
    places = screen(tab)
    draw_lasso(tab, box_around(places[:80]))
    assert saved(tab) == rows["id"][:80].tolist()
    assert tab.text_content("#classes tbody") == "felidae80"
    draw_lasso(tab, box_around(places[160:]), "Control")
    assert saved(tab) == [*rows["id"][:80], *rows["id"][160:]]
    tab.click("#clear")
    tab.locator("#legend label", has_text="canidae").locator("input").uncheck()
    draw_lasso(tab, box_around(places))
    assert saved(tab) == rows["id"][:160].tolist()


def test_a_lasso_drawn_by_keys(tab, rows):
    places = screen(tab)
    area = tab.locator("#dots").bounding_box()
    cross = [area["x"] + area["width"] / 2, area["y"] + area["height"] / 2]
    tab.focus("#board")
    (x0, y0), _, (x1, y1), _ = box_around(places[:80])
    tab.keyboard.press("l")
    corners = []
    for x, y in [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]:
        for name, way, at in (("Right", x - cross[0], 0), ("Down", y - cross[1], 1)):
            steps = round(way / 40)
            for _ in range(abs(steps)):
                tab.keyboard.press(f"Arrow{name if steps > 0 else ['Left', 'Up'][at]}")
            cross[at] += 40 * steps
        corners.append(tuple(cross))
        tab.keyboard.press("Enter")
    assert "Lasso with 4 corners" in tab.text_content("#says")
    tab.keyboard.press("l")
    inside = Polygon(corners).contains_points(places)
    assert inside[:80].sum() > 40
    assert saved(tab) == rows["id"][inside].tolist()


def test_the_photo_under_the_pointer_is_shown(tab):
    for i, picture in ((2, True), (100, False)):
        tab.mouse.move(*screen(tab)[i] + 0.5)
        assert f"p{i:03}.png" in tab.text_content("#card")
        assert tab.locator("#card img").count() == picture
    assert HOSTILE.strip() in tab.text_content("#card")
    tab.mouse.click(*screen(tab)[2] + 0.5)
    assert tab.get_attribute("#card a", "href").endswith("/p002.png")
    assert tab.evaluate("document.querySelector('#card img').naturalWidth") > 0


def test_found_photos_can_be_selected(tab, rows):
    tab.fill("#find", "SITE 3")
    wanted = rows["place"].fillna("").str.startswith("site 3")
    assert tab.text_content("#found") == f"{wanted.sum()} found"
    tab.click("#take")
    assert saved(tab) == rows["id"][wanted].tolist()


def test_a_column_of_numbers_is_a_scale_and_one_of_words_a_legend(tab):
    assert tab.locator("#legend input").count() == 3
    tab.select_option("#colour", label="year")
    assert tab.locator("#legend .ramp").count() == 1
    colours = tab.evaluate(f"[0, {N - 1}].map(i => palette.colours[group[i]])")
    assert colours[0] != colours[1]
    tab.select_option("#colour", label="place")
    lines = tab.locator("#legend label").all_text_contents()
    assert lines[-1] == "no value120"
    assert len(lines) == 21


def test_the_wheel_keeps_what_is_under_it(tab):
    before = screen(tab)[5]
    tab.mouse.move(*before)
    tab.mouse.wheel(0, -400)
    tab.wait_for_function("unit => view.unit > unit", arg=tab.evaluate("fitting(spanX, spanY)"))
    np.testing.assert_allclose(screen(tab)[5], before, atol=0.5)


def test_dots_have_the_colour_of_their_class(tab):
    tab.evaluate("look(X[3], Y[3], 40 * fitting(spanX, spanY))")
    tab.wait_for_function("() => !asked")
    colour = tab.evaluate(
        "[...dotsInk.getImageData(dots.width >> 1, dots.height >> 1, 1, 1).data].slice(0, 3)"
    )
    wanted = tab.evaluate("parts(palette.hues[group[3] % HUES])")
    assert np.abs(np.subtract(colour, wanted)).max() < 45  # it shines through a little


PHONE, DARK = {"viewport": {"width": 360, "height": 740}}, {"color_scheme": "dark"}


@pytest.mark.parametrize("tab", [{}, DARK, PHONE], indirect=True, ids=["light", "dark", "phone"])
def test_axe_finds_nothing_serious(tab):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab.fill("#find", "p0")
    tab.click("#take")
    tab.mouse.click(*screen(tab)[2] + 0.5)
    tab.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
    found = [
        (one["id"], one["impact"], one["nodes"][0]["html"])
        for one in axe.run(tab).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert found == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_reads_without_its_script(chromium, page_file):
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page_file.as_uri())
    assert tab.locator("noscript p").is_visible()
    assert tab.locator(".words tbody tr").count() == 3
    context.close()
