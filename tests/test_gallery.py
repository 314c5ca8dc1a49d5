"""A gallery shows the right photos in the right order, needs nothing else, and trusts no name."""

import base64
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from retrieval.boxes import Box
from retrieval.gallery import Section, Tile, sections_of, write_gallery

VOID = {"meta", "img", "wbr", "link", "br"}
HOSTILE = """<script>alert("1")</script>&'"><img src=x onerror=alert(2)>"""


class Page(HTMLParser):
    """The tiles of a page: link, picture and text of each; and that every tag is closed."""

    def __init__(self, path):
        super().__init__()
        self.tiles, self.links, self.open, self.tags = [], [], [], []
        self.title, self.depth = "", 0
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "a" and attributes.get("class") != "tile":
            self.links.append(attributes["href"])
        if attributes.get("class") == "tile":
            self.tiles.append({"href": attributes.get("href"), "text": "", "image": None})
            self.depth = len(self.open)
        if tag == "img":
            self.tiles[-1]["image"] = attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if len(self.open) < self.depth:
            self.depth = 999  # the tile is over

    def handle_data(self, data):
        if self.tiles and len(self.open) > self.depth:
            self.tiles[-1]["text"] += data + " "
        if "title" in self.open:
            self.title += data


def thumbnail(tile):
    head, data = tile["image"]["src"].split(",", 1)
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def linked(tile, folder):
    parts = urlsplit(tile["href"])
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    assert not parts.scheme
    assert not parts.netloc
    return folder / unquote(parts.path)


def save(path, colour, size=(640, 320)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def colours(tmp_path):
    names = ("red", "green", "blue")
    return [save(tmp_path / "photos" / f"{name}.png", name) for name in names]


def test_query_then_hits_in_order_each_with_its_own_photo(colours, tmp_path):
    red, green, blue = colours
    tiles = [
        Tile(str(blue), "felidae", 0.98765, match=True, name="photos/blue.png"),
        Tile(str(green), "canidae", 0.5, match=False, caption="the very same photo"),
    ]
    section = Section(Tile(str(red), "felidae", caption="predicted canidae (93%)"), tiles)
    write_gallery(tmp_path / "page.html", "Look-alikes", [section], note="two", label="family")
    page = Page(tmp_path / "page.html")
    query, first, second = page.tiles
    for tile, photo, mean in zip(
        page.tiles, (red, blue, green), ((254, 0, 0), (0, 0, 254), (0, 128, 0)), strict=True
    ):
        picture = thumbnail(tile)
        assert picture.size == (256, 128)
        assert np.abs(np.asarray(picture).mean(axis=(0, 1)) - mean).max() < 5
        assert linked(tile, tmp_path) == photo
        assert photo.name in tile["image"]["alt"]
    for said in ("Query", "felidae", "predicted canidae (93%)", "red.png"):
        assert said in query["text"]
    assert re.match(r"1 cosine 0\.988 felidae .*same family", first["text"])
    assert re.match(r"2 cosine 0\.500 canidae .*same photo .*other family", second["text"])
    assert "same family" not in query["text"] + second["text"]
    assert page.title == "Look-alikes"


def test_the_page_loads_nothing_and_stands_alone(colours, tmp_path):
    section = Section(Tile(str(colours[0])), [Tile(str(path)) for path in colours])
    write_gallery(tmp_path / "new" / "page.html", "t", [section, section])
    page = Page(tmp_path / "new" / "page.html")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "base")
        assert attributes.get("src", "data:").startswith("data:")
    assert not re.search(r"https?:|url\(|@import", page.source)
    assert "default-src 'none'" in page.source
    assert "prefers-color-scheme: dark" in page.source
    # photos that are not below the page's folder are linked from the root
    assert {urlsplit(tile["href"]).scheme for tile in page.tiles} == {"file"}
    assert [linked(tile, tmp_path) for tile in page.tiles[1:4]] == colours


@pytest.mark.parametrize(
    "name",
    [
        "a:b.png",
        "100%.png",
        "a b#c?d.png",
        "'\"<&>.png",
        "é日本.png",
        os.fsdecode(b"\xff.png"),
    ],
    ids=["colon", "percent", "query", "html", "unicode", "not-utf-8"],
)
@pytest.mark.parametrize("beside", [True, False], ids=["beside", "elsewhere"])
def test_links_reach_photos_of_any_name(name, beside, tmp_path):
    photo = tmp_path / "photos" / name
    try:
        save(photo, "red")
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has no such names")
    page = tmp_path / ("" if beside else "pages") / "page.html"
    write_gallery(page, "t", [Section(Tile(str(photo)), [])])
    (tile,) = Page(page).tiles
    assert bool(urlsplit(tile["href"]).scheme) is not beside
    found = unquote(urlsplit(tile["href"]).path, errors="surrogateescape")
    assert (page.parent / found).read_bytes() == photo.read_bytes()


def test_no_name_becomes_markup(colours, tmp_path):
    hostile = Tile(
        str(tmp_path / HOSTILE.replace("/", "")), HOSTILE, 0.5, False, caption=HOSTILE, name=HOSTILE
    )
    shown = Tile(str(colours[0]), HOSTILE, 0.5, True, caption=HOSTILE, name=HOSTILE)
    write_gallery(
        tmp_path / "p.html", HOSTILE, [Section(hostile, [shown])], note=HOSTILE, label=HOSTILE
    )
    page = Page(tmp_path / "p.html")
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert [tag for tag, _ in page.tags].count("img") == 1
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.title == HOSTILE
    assert page.tiles[1]["image"]["alt"] == f"Photo {HOSTILE}"


def test_photos_that_cannot_be_read_say_why(colours, tmp_path):
    gone, text, empty = (tmp_path / name for name in ("gone.jpg", "text.jpg", "empty.jpg"))
    text.write_text("this is no photo")
    empty.write_bytes(b"")
    write_gallery(
        tmp_path / "p.html",
        "t",
        [Section(Tile(str(gone)), [Tile(str(text)), Tile(str(empty)), Tile(str(colours[2]))])],
    )
    *missing, last = Page(tmp_path / "p.html").tiles
    for tile in missing:
        assert tile["image"] is None
        assert re.search(r"No picture: \w+", tile["text"])
    assert "exist" in missing[0]["text"]
    assert last["image"]


def test_the_largest_and_smallest_photos_fit(tmp_path):
    sizes = [(3000, 20), (20, 3000), (1, 1), (256, 256)]
    photos = [save(tmp_path / f"{i}.png", "red", size) for i, size in enumerate(sizes)]
    write_gallery(
        tmp_path / "p.html", "t", [Section(Tile(str(photos[0])), [Tile(str(p)) for p in photos])]
    )
    shown = [thumbnail(tile).size for tile in Page(tmp_path / "p.html").tiles[1:]]
    assert shown == [(256, 2), (2, 256), (1, 1), (256, 256)]


def test_nothing_to_show_is_a_page_too(tmp_path):
    write_gallery(tmp_path / "p.html", "No errors", [])
    assert "Nothing to show." in Page(tmp_path / "p.html").source


def test_sections_of_hits(tmp_path):
    hits = pd.DataFrame(
        {
            "query": ["q", "q", "q", "other"],
            "rank": [1, 2, 3, 1],
            "similarity": np.array([1, 0.9, 0.8, 0.7], dtype=np.float32),
            "same_photo": [True, False, False, False],
            "path": ["/p/0", "/p/1", "/p/2", "/p/3"],
            "file_path": ["0", "1", "2", "3"],
            "family": pd.array(["felidae", "canidae", None, "felidae"], dtype="str"),
        }
    )
    queries = {"other": Tile("o"), "q": Tile("q", "felidae"), "none": Tile("n")}
    other, mine, none = sections_of(hits, queries, "family")
    assert [tile.match for tile in mine.tiles] == [True, False, None]
    assert [tile.label for tile in mine.tiles] == ["felidae", "canidae", None]
    assert [tile.path for tile in mine.tiles] == ["/p/0", "/p/1", "/p/2"]
    assert [tile.caption != "" for tile in mine.tiles] == [True, False, False]
    assert [(tile.name, tile.match) for tile in other.tiles] == [("3", None)]
    assert list(none.tiles) == []
    assert all(
        tile.label is None for section in sections_of(hits, queries) for tile in section.tiles
    )


@pytest.fixture
def hits():
    return pd.DataFrame(
        {
            "query": ["q", "q", "q"],
            "rank": [13, 14, 15],
            "similarity": np.array([1, 0.9, 0.8], dtype=np.float32),
            "same_photo": [True, False, False],
            "path": ["/p/0", "/p/1", "/p/2"],
            "file_path": ["0", "1", "2"],
            "percentile": [100.0, 99.987, np.nan],
            "folded": [0, 3, 1234],
        }
    )


def test_percentile_and_folded_copies_are_said(hits, tmp_path):
    write_gallery(tmp_path / "p.html", "t", sections_of(hits, {"q": Tile("/q")}))
    _, first, second, third = Page(tmp_path / "p.html").tiles
    for tile, rank in zip((first, second, third), (13, 14, 15), strict=True):  # a second page
        assert f" {rank} cosine" in tile["text"]
    assert "over 100.00% of pairs" in first["text"]
    assert "alike" not in first["text"]
    assert "over 99.98% of pairs" in second["text"]  # not rounded up to all pairs
    assert "+3 alike" in second["text"]
    assert "of pairs" not in third["text"]
    assert "+1,234 alike" in third["text"]


def test_words_stand_where_the_query_has_no_photo(hits, tmp_path):
    queries = {"q": Tile(None, name=f"a cat {HOSTILE}", caption="in words")}
    minus = {"q": [Tile(None, name="a dog", caption="minus")]}
    write_gallery(tmp_path / "p.html", "t", sections_of(hits, queries, also=minus))
    page = Page(tmp_path / "p.html")
    query, also, *found = page.tiles
    assert (query["href"], query["image"]) == (None, None)
    assert f"a cat {HOSTILE}" in query["text"]
    assert re.search(r"a dog .*Query .*minus", also["text"])
    assert len(found) == 3
    assert not any(tag == "img" for tag, _ in page.tags)


def test_several_queries_have_a_table_of_contents(hits, tmp_path):
    write_gallery(tmp_path / "one.html", "t", sections_of(hits, {"q": Tile("/q")}))
    assert Page(tmp_path / "one.html").links == []
    queries = {"q": Tile("/photos/q.jpg"), "none": Tile(None, name="no <b>hit</b>")}
    write_gallery(tmp_path / "two.html", "t", sections_of(hits, queries))
    page = Page(tmp_path / "two.html")
    assert page.links == ["#main", "#q1", "#q2"]
    assert [a["id"] for tag, a in page.tags if tag == "section"] == ["q1", "q2"]
    assert [a["aria-label"] for tag, a in page.tags if tag == "section"] == [
        "q.jpg", "no <b>hit</b>",
    ]  # fmt: skip
    assert "3 hits" in page.source
    assert "0 hits" in page.source
    assert "No hits." in page.source


@pytest.mark.parametrize(
    ("box", "place"),
    [
        (Box(0.25, 0.5, 0.5, 0.5), [64, 64, 128, 64]),
        (Box(160, 0, 320, 80), [64, 0, 128, 32]),  # pixels of a photo of 640 × 320
        (Box(320, 160, 9000, 9000), [128, 64, 128, 64]),
    ],
    ids=["shares", "pixels", "beyond"],
)
def test_the_part_that_was_asked_for_is_drawn_on_the_thumbnail(box, place, colours, tmp_path):
    write_gallery(tmp_path / "p.html", "t", [Section(Tile(str(colours[0]), box=box), [])])
    page = Page(tmp_path / "p.html")
    (svg,) = (a for tag, a in page.tags if tag == "svg")
    assert svg["viewbox"] == "0 0 256 128"
    for rect in (a for tag, a in page.tags if tag == "rect"):
        assert [float(rect[name]) for name in ("x", "y", "width", "height")] == place
    gone = Tile(str(tmp_path / "gone.jpg"), box=box)
    write_gallery(tmp_path / "gone.html", "t", [Section(gone, [])])
    assert not any(tag == "svg" for tag, _ in Page(tmp_path / "gone.html").tags)
