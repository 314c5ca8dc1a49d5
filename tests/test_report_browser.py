"""The report in headless Chromium: clicks, keys, no error, no request, nothing hostile runs."""

import pytest
from conftest import needs_chromium
from report_by_hand import make_workspace

from classify.report_data import collect_report
from classify.report_page import write_report_page
from embed.workspace import Workspace

pytestmark = needs_chromium
HOSTILE = """<img src=x onerror="window.hit=1"><script>window.hit=1</script>&'"""
NAMES = (f"ann{HOSTILE}", "bovidae", "canidae", "dasyatidae")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    place = tmp_path_factory.mktemp("workspace")
    runs = make_workspace(place, NAMES, HOSTILE)
    write_report_page(collect_report(Workspace(place), runs[:1]), place / "report.html")
    return place / "report.html"


def cells(tab, table, place):
    return tab.eval_on_selector_all(
        f"#{table} tbody tr:not([hidden])", f"rows => rows.map(r => r.cells[{place}].textContent)"
    )


def test_hostile_names_are_words(tab):
    assert HOSTILE in cells(tab, "t-classes", 0)[0]
    assert tab.locator("img[src='x']").count() == 0
    assert tab.title() == "Telling the family from a photo"


def test_a_click_sorts_and_another_turns_it_round(tab):
    header = tab.locator("#t-classes th", has_text="F1")
    unsorted = [float(cell.split()[0]) for cell in cells(tab, "t-classes", 5)]
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    found = [float(cell.split()[0]) for cell in cells(tab, "t-classes", 5)]
    assert found == sorted(unsorted, reverse=True)
    header.locator("button").press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert [float(cell.split()[0]) for cell in cells(tab, "t-classes", 5)] == sorted(unsorted)
    tab.locator("#t-classes th button").first.click()
    names = cells(tab, "t-classes", 0)
    assert names == sorted(names)
    assert header.get_attribute("aria-sort") == "none"


def test_words_and_a_choice_filter(tab):
    tab.fill("input[data-for=t-classes]", "IDAE")
    assert cells(tab, "t-classes", 0) == list(NAMES[1:])
    count = tab.locator("[data-count=t-classes]")
    assert count.text_content() == "3 of 4 rows"
    tab.select_option("select[data-for=t-classes]", "under 10 photos")
    assert cells(tab, "t-classes", 0) == ["bovidae", "dasyatidae"]
    tab.fill("input[data-for=t-classes]", "")
    tab.select_option("select[data-for=t-classes]", "")
    assert count.text_content() == "4 rows"


def test_the_matrix_is_hovered_walked_and_zoomed(tab):
    says = tab.locator(".readout")
    board = tab.locator(".board")
    board.scroll_into_view_if_needed()
    area = tab.locator(".board .well").bounding_box()
    cell = area["width"] / 4
    tab.mouse.move(area["x"] + 1.5 * cell, area["y"] + 1.5 * cell)
    assert says.text_content() == "bovidae named right: 10 of 12 photos (83%)"
    tab.mouse.move(area["x"] + 2.5 * cell, area["y"] + 1.5 * cell)
    assert says.text_content() == "bovidae taken for canidae: 2 of 12 photos (17%)"
    board.focus()
    tab.keyboard.press("ArrowDown")
    assert says.text_content() == "canidae named right: 11 of 12 photos (92%)"
    tab.keyboard.press("ArrowLeft")
    assert says.text_content() == "canidae taken for bovidae: 0 of 12 photos (0%)"
    tab.keyboard.press("n")
    assert "2 of 12 photos (17%)" in says.text_content()
    tab.fill("input[data-do=go]", "canidae")
    tab.keyboard.press("Enter")
    assert says.text_content().startswith("canidae named right")


def test_a_large_matrix_zooms_to_where_one_points(chromium, tmp_path):
    from classify.report_blocks import Matrix, ReportData, Section

    names = [f"family {i:03}" for i in range(202)]
    diagonal = list(range(202))
    matrix = Matrix("confusion", "m", names, [*diagonal, 150], [*diagonal, 20], [5] * 202 + [3])
    data = ReportData("Large", [], [Section("m", "M", [matrix])])
    write_report_page(data, tmp_path / "r.html")
    tab = chromium.new_page()
    tab.goto((tmp_path / "r.html").as_uri())
    view = tab.locator(".cells")
    labels = tab.locator(".labels text")
    assert view.get_attribute("viewBox") == "0 0 202 202"
    assert labels.count() == 0
    tab.click("button[data-do=next]")
    assert tab.locator(".readout").text_content() == (
        "family 150 taken for family 020: 3 of 8 photos (38%)"
    )
    for _ in range(5):
        tab.click("button[data-do=in]")
    x, y, side, _ = map(float, view.get_attribute("viewBox").split())
    assert x < 20 < 21 < x + side
    assert y < 150 < 151 < y + side
    assert side == pytest.approx(202 * 0.6**5)
    assert "family 150" in labels.all_text_contents()
    assert "3" in tab.locator(".labels .count").all_text_contents()
    tab.locator(".board").focus()
    tab.mouse.move(*_middle(tab))
    tab.mouse.wheel(0, 300)
    tab.wait_for_function("old => +document.querySelector('.cells').getAttribute('viewBox')"
                          ".split(' ')[2] > old", arg=side)  # fmt: skip
    tab.keyboard.press("0")
    assert view.get_attribute("viewBox") == "0 0 202 202"
    tab.close()


def _middle(tab):
    area = tab.locator(".board .well").bounding_box()
    return area["x"] + area["width"] / 2, area["y"] + area["height"] / 2


def test_links_lead_to_their_chapters_and_the_first_skips_them(tab):
    keys = tab.eval_on_selector_all("nav a", "links => links.map(link => link.hash)")
    assert all(tab.locator(key).count() == 1 for key in keys)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"


PHONE, DARK = {"viewport": {"width": 360, "height": 740}}, {"color_scheme": "dark"}


@pytest.mark.parametrize("tab", [{}, DARK, PHONE], indirect=True, ids=["light", "dark", "phone"])
def test_axe_finds_nothing_serious(tab):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
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
    assert tab.locator(".cells path").count() >= 4
    assert tab.locator("#t-classes tbody tr").count() == 4
    tab.emulate_media(media="print")
    assert not tab.locator("nav").is_visible()
    assert tab.pdf().startswith(b"%PDF")
    context.close()
