"""The gallery in headless Chromium: keys, no request, nothing hostile runs, nothing for axe."""

import numpy as np
import pytest
from conftest import needs_chromium
from PIL import Image

from retrieval.boxes import Box
from retrieval.gallery import Section, Tile, write_gallery

pytestmark = needs_chromium
HOSTILE = """<img src=x onerror="window.hit=1"><script>window.hit=1</script>&'"""
PHONE, DARK = {"viewport": {"width": 360, "height": 740}}, {"color_scheme": "dark"}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """Three queries: a photo with a box, words and a hostile name; twelve hits each."""
    folder = tmp_path_factory.mktemp("gallery")
    rng = np.random.default_rng(0)
    photos = []
    for i, size in enumerate([(60, 40), (40, 60), (200, 20), (50, 50)]):
        photos.append(str(folder / f"photo {i}.png"))
        pixels = rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos[-1])
    hits = [
        Tile(
            [*photos, str(folder / "gone.jpg")][i % 5],
            label="felidae" if i % 2 else f"a_very_long_name_of_a_family_{HOSTILE}",
            similarity=1 - i / 20,
            match=[True, False, None][i % 3],
            name=f"some/long_folder_name/{HOSTILE}/photo {i}.png",
            percentile=100 - i / 7,
            folded=i,
        )
        for i in range(12)
    ]
    queries = [
        Tile(photos[0], "felidae", box=Box(0.5, 0.25, 0.5, 0.5), name="a photo.png"),
        Tile(None, name="a cat in the snow", caption="in words"),
        Tile(photos[1], name=HOSTILE),
    ]
    also = [Tile(photos[3], caption="minus")]
    write_gallery(
        folder / "page.html",
        f"Look-alikes {HOSTILE}",
        [Section(query, hits, also if query is queries[0] else ()) for query in queries],
        note=HOSTILE,
        label="family",
    )
    return folder / "page.html"


def focused(tab):
    """(query, rank) of the tile that has the focus."""
    return tab.evaluate(
        """() => { const tile = document.activeElement.closest(".tile"); return tile &&
        [tile.closest("section").id, tile.querySelector(".rank").textContent] }"""
    )


def test_keys_walk_the_hits_and_the_queries(tab):
    for key, place in [
        ("ArrowRight", ["q1", "1"]),
        ("ArrowRight", ["q1", "2"]),
        ("ArrowLeft", ["q1", "1"]),
        ("End", ["q3", "12"]),
        ("Home", ["q1", "1"]),
        ("n", ["q2", "Query"]),
        ("n", ["q3", "Query"]),
        ("n", ["q3", "Query"]),
        ("p", ["q2", "Query"]),
        ("p", ["q1", "Query"]),
    ]:
        tab.keyboard.press(key)
        assert focused(tab) == place, key
    tab.keyboard.press("Home")
    below = tab.evaluate("tiles.findIndex(tile => box(tile).top > box(tiles[0]).bottom)")
    tab.keyboard.press("ArrowDown")
    assert focused(tab) == ["q1", str(below + 1)]
    tab.keyboard.press("ArrowUp")
    assert focused(tab) == ["q1", "1"]


def test_the_contents_lead_to_the_queries(tab):
    tab.locator("nav a").nth(1).click()
    top = tab.evaluate("document.querySelector('#q2').getBoundingClientRect().top")
    assert abs(top) < 2
    assert tab.locator("nav a").all_text_contents()[1:] == ["a cat in the snow", HOSTILE]


def test_no_photo_is_cut(tab):
    """Each picture's element is no larger than its place, and `contain` does the rest."""
    cut = tab.evaluate(
        """() => [...document.querySelectorAll(".photo img")].filter(image =>
        image.getBoundingClientRect().height > image.parentElement.clientHeight + 1).length"""
    )
    assert cut == 0
    assert tab.evaluate("getComputedStyle(document.images[0]).objectFit") == "contain"


def test_the_box_lies_where_it_was_asked_for(tab):
    image, frame = (
        tab.locator(f"#q1 .query .photo {name}").first.bounding_box() for name in ("img", "rect")
    )
    # 60 × 40 fits a 4:3 place by its width: the picture is lower than its element
    height = image["width"] * 40 / 60
    top = image["y"] + (image["height"] - height) / 2
    assert abs(frame["x"] - (image["x"] + image["width"] / 2)) < 4
    assert abs(frame["y"] - (top + height / 4)) < 4
    assert abs(frame["width"] - image["width"] / 2) < 6
    assert abs(frame["height"] - height / 2) < 6


@pytest.mark.parametrize("tab", [{}, DARK, PHONE], indirect=True, ids=["light", "dark", "phone"])
def test_axe_finds_nothing_serious(tab):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = [
        (one["id"], one["impact"], one["nodes"][0]["html"])
        for one in axe.run(tab).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert found == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_prints_and_reads_without_its_script(chromium, page_file):
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page_file.as_uri())
    assert tab.locator(".hits .tile").count() == 36
    tab.emulate_media(media="print")
    assert not tab.locator("nav").is_visible()
    assert tab.pdf().startswith(b"%PDF")
    context.close()
