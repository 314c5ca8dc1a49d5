"""The pages of duplicates, outliers, cluster and pick in headless Chromium: whole, safe, usable."""

import shutil
from pathlib import Path

import pytest
from conftest import COLOURS, needs_chromium, photo

import cli
from classify.cluster_report import cluster_collection
from classify.outlier_report import find_outliers
from classify.pick import pick
from embed.workspace import Workspace
from retrieval.duplicates import find_duplicates

pytestmark = needs_chromium
HOSTILE = "<img src=x onerror='window.hit=1'>&"
PAGES = ("duplicates/duplicates", "outliers/outliers", "cluster/cluster", "pick/pick")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with all four pages: two classes of 12, one with a hostile name, and a copy."""
    folder = tmp_path_factory.mktemp("pages")
    colours = {HOSTILE: COLOURS["felidae"], "rosaceae": COLOURS["rosaceae"]}
    for c, (name, colour) in enumerate(colours.items()):
        (folder / "p" / name).mkdir(parents=True)
        for i in range(12):
            photo(colour, 100 * c + i).save(folder / "p" / name / f"{i:02}.png")
    shutil.copy(folder / "p" / "rosaceae" / "00.png", folder / "p" / "rosaceae" / "copy.png")
    assert cli.run(["embed", str(folder / "p"), "--encoder", "pixels", "-w", str(folder)]) == 0
    workspace = Workspace(folder)
    find_duplicates(workspace)
    find_outliers(workspace)
    cluster_collection(workspace, clusters=2)
    pick(workspace, 5, everything=True)
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_whole_and_nothing_hostile_runs(chromium, folder, page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab = chromium.new_page(viewport={"width": 390, "height": 800})
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto((folder / f"{page}.html").as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert tab.evaluate("window.hit") is None
    assert tab.locator("a.photo img").count() > 0
    assert tab.evaluate("[...document.images].every(i => i.naturalWidth > 0 || !i.complete)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert axe.run(tab).response["violations"] == []
    tab.close()


def test_the_copy_stands_beside_the_photo_to_keep(chromium, folder):
    tab = chromium.new_page()
    tab.goto((folder / "duplicates" / "duplicates.html").as_uri())
    group = tab.locator("article").first.inner_text()
    assert "keep" in group
    assert "1 copy" in group
    assert "copy.png" in group
    tab.keyboard.press("n")
    assert tab.evaluate("document.activeElement.className") == "item"
    tab.close()
