"""What `inspect` finds in a collection whose faults are known, and what it leaves unread."""

import csv
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import COLOURS, needs_chromium, photo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import cli
from classify.census import Census
from classify.corrections import Corrections
from classify.dataset import Dataset
from classify.inspect_collection import inspect_collection
from classify.no_organism import ORGANISMS, OTHERS, no_organism
from embed.collection import load_collection, save_collection
from embed.encoders import open_encoder
from embed.errors import UserError
from embed.files import write_rows
from embed.workspace import Workspace

HOSTILE = "<img src=x onerror=alert(2)>&'.png"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def embedded(photos: Path, folder: Path) -> Workspace:
    assert cli.run(["embed", str(photos), "-w", str(folder), "--encoder", "pixels"]) == 0
    return Workspace(folder)


@pytest.fixture(scope="module")
def faulty(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 photos with a wrong label, copies, a blank, a grey, a broken and an oddly named one."""
    folder = tmp_path_factory.mktemp("faulty") / "photos"
    shutil.copytree(photos, folder)
    photo(COLOURS["felidae"], 777).save(folder / "canidae" / "wrong.png")
    shutil.copy(folder / "rosaceae" / "03.png", folder / "rosaceae" / "again.png")
    shutil.copy(folder / "anatidae" / "05.png", folder / "nautilidae" / "other.png")
    Image.new("RGB", (40, 48), (9, 9, 9)).save(folder / "felidae" / "blank.png")
    photo((90, 90, 90), 5).convert("L").save(folder / "canidae" / "grey.png")
    (folder / "felidae" / "broken.png").write_bytes(b"\x89PNG no more")
    photo(COLOURS["anatidae"], 778).save(folder / "anatidae" / HOSTILE)
    photo(COLOURS["rosaceae"], 779).save(folder / "loose.png")
    return folder


@pytest.fixture(scope="module")
def inspected(faulty: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return inspect_collection(embedded(faulty, tmp_path_factory.mktemp("inspected")))


def test_wrong_labels_are_the_first_doubts(inspected: Any) -> None:
    """The second is a copy of a photo under its true label: as both are held out together, the
    copy that is right is not doubted."""
    rows = rows_of(inspected.folder / "doubts.csv")
    first = {row["id"]: row for row in rows[:2]}
    assert set(first) == {"canidae/wrong.png", "nautilidae/other.png"}
    assert "anatidae/05.png" not in {row["id"] for row in rows}
    assert first["nautilidae/other.png"]["suggested"] == "anatidae"
    wrong = first["canidae/wrong.png"]
    assert (wrong["label"], wrong["suggested"], wrong["confident"]) == ("canidae", "felidae", "yes")
    assert wrong["decision"] == wrong["new_label"] == ""
    assert all(wrong[f"suggested_{n}"].startswith("felidae/") for n in (1, 2, 3))
    assert all(wrong[f"given_{n}"].startswith("canidae/") for n in (1, 2, 3))
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0.5


def test_what_was_decided_in_the_table_is_what_fit_takes(inspected: Any, tmp_path: Path) -> None:
    doubts = rows_of(inspected.folder / "doubts.csv")
    doubts[0]["decision"], doubts[1]["decision"] = "relabel", "exclude"
    write_rows(tmp_path / "mine.csv", list(doubts[0]), doubts)
    found = Corrections.read(tmp_path / "mine.csv", tmp_path / "mine.csv", "family")
    assert found.exclude == (doubts[1]["id"],)
    assert found.relabel == ((doubts[0]["id"], doubts[0]["suggested"]),)


def test_exact_copies_and_those_under_two_labels(inspected: Any) -> None:
    pairs = {(row["a"], row["b"]): row for row in rows_of(inspected.folder / "near_duplicates.csv")}
    same = pairs["rosaceae/03.png", "rosaceae/again.png"]
    other = pairs["anatidae/05.png", "nautilidae/other.png"]
    assert same["kind"] == other["kind"] == "exact"
    assert (same["across_classes"], other["across_classes"]) == ("no", "yes")
    assert other["across_split"] == "no"  # there is no split
    found = json.loads((inspected.folder / "inspect.json").read_text())["near_duplicates"]
    assert found["exact"] == 2
    assert found["across_classes"] >= 1


def test_problems_are_listed_with_their_reason(inspected: Any) -> None:
    problems = {
        (row["problem"], row["file_path"]) for row in rows_of(inspected.folder / "problems.csv")
    }
    assert ("left out by embed", "felidae/broken.png") in problems
    assert ("no label", "loose.png") in problems
    assert ("nearly one tone", "felidae/blank.png") in problems
    assert len(problems) == 3
    facts = json.loads((inspected.folder / "inspect.json").read_text())
    assert facts["photos"] == 67
    assert facts["files"]["formats"] == {"PNG": 67}
    assert facts["files"]["blank"] == 1
    assert facts["files"]["grey"] >= 2
    assert facts["left_out"] == facts["unlabelled"] == 1
    assert facts["census"]["classes"][0] == {"class": "canidae", "photos": 14}
    assert sum(c["photos"] for c in facts["census"]["classes"]) == 66
    assert facts["no_organism"] is None  # no encoder here knows words


def test_the_lines_fit_a_screen_and_say_what_was_found(inspected: Any) -> None:
    lines = inspected.lines()
    text = "\n".join(lines)
    assert len(lines) <= 24
    assert "canidae -> felidae  canidae/wrong.png" in text
    assert "2 pairs of copies" in text or re.search(
        r"\d+ pairs of copies \(2 of them exact\)", text
    )
    assert "no split yet" in text


def test_no_split_is_made(inspected: Any) -> None:
    assert not (inspected.folder.parent / "splits").exists()


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_trusts_no_name_and_loads_nothing(inspected: Any) -> None:
    tags = Tags(inspected.folder / "inspect.html").found
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert [tag for tag, _ in tags].count("script") == 1
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert any(HOSTILE in str(image["alt"]) for image in images)
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in images)
    links = [str(attributes["href"]) for tag, attributes in tags if tag == "a"]
    assert all(link.startswith(("#", "file:")) for link in links)


@needs_chromium
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_in_a_browser(inspected: Any, chromium: Any, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    trouble: list[str] = []
    tab = chromium.new_page(viewport={"width": width, "height": 900})
    tab.on("console", lambda message: trouble.append(message.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.goto((inspected.folder / "inspect.html").as_uri())
    focused = "document.activeElement.querySelector('h3')?.textContent"
    tab.keyboard.press("n")
    assert tab.evaluate(focused).startswith("1. ")
    tab.keyboard.press("n")
    assert tab.evaluate(focused).startswith("2. ")
    tab.keyboard.press("p")
    assert tab.evaluate(focused).startswith("1. ")
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    serious = [
        found["id"]
        for found in axe.run(tab).response["violations"]
        if found["impact"] in ("serious", "critical")
    ]
    tab.close()
    assert serious == trouble == []


def test_test_labels_change_nothing_that_is_judged(faulty: Path, tmp_path: Path) -> None:
    workspace = embedded(faulty, tmp_path)
    assert cli.run(["split", "-w", str(tmp_path), "--test", "0.3"]) == 0
    first = inspect_collection(workspace)
    tables = [(first.folder / name).read_text() for name in ("doubts.csv", "near_duplicates.csv")]
    tested = set(first.photos.rows["id"][first.photos.side == "test"])
    assert tested
    assert first.tested == len(tested)
    assert f"{len(tested)} test photos not judged" in "\n".join(first.lines())
    assert not tested & {row["id"] for row in rows_of(first.folder / "doubts.csv")}
    collection = load_collection(workspace.collection)
    chosen = collection.rows["id"].isin(tested)
    turned = collection.rows.loc[chosen, "family"].to_numpy()[::-1]
    assert (turned != collection.rows.loc[chosen, "family"].to_numpy()).any()
    collection.rows.loc[chosen, "family"] = turned
    save_collection(collection.rows, "family", collection.root, workspace.collection)
    again = inspect_collection(workspace)
    assert tables == [
        (again.folder / name).read_text() for name in ("doubts.csv", "near_duplicates.csv")
    ]


def test_copies_across_the_split_are_seen(faulty: Path, tmp_path: Path) -> None:
    workspace = embedded(faulty, tmp_path)
    sides = [
        f"{row},{'test' if row == 'nautilidae/other.png' else 'train'}"
        for row in load_collection(workspace.collection).rows.dropna()["id"]
    ]
    given_split = tmp_path / "given.csv"
    given_split.write_text("\n".join(["id,split", *(s for s in sides if "<" not in s)]))
    assert cli.run(["split", "--from", str(given_split), "-w", str(tmp_path)]) == 0
    inspect_collection(workspace)
    pairs = {(row["a"], row["b"]): row for row in rows_of(tmp_path / "inspect/near_duplicates.csv")}
    leak = pairs["anatidae/05.png", "nautilidae/other.png"]
    assert leak["across_split"] == "yes"
    assert (leak["label_b"], leak["side_b"]) == ("", "test")
    assert leak["across_classes"] == "no"  # as far as may be known


def test_photos_without_labels_are_inspected_too(photos: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for i in range(6):
        shutil.copy(photos / "felidae" / f"{i:02}.png", flat / f"{i}.png")
    found = inspect_collection(embedded(flat, tmp_path / "w"))
    assert found.doubts is found.census is None
    assert "no label column" in "\n".join(found.lines())
    assert not (found.folder / "doubts.csv").exists()


def test_photos_that_are_gone_or_never_had_a_label(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    workspace = embedded(tmp_path / "photos", tmp_path)
    (tmp_path / "photos" / "felidae" / "00.png").unlink()
    collection = load_collection(workspace.collection)
    collection.rows["family"] = pd.array([pd.NA] * len(collection.rows), dtype="str")
    save_collection(collection.rows, "family", collection.root, workspace.collection)
    found = inspect_collection(workspace)
    problems = [row["problem"] for row in rows_of(found.folder / "problems.csv")]
    assert sorted(set(problems)) == ["cannot be read now", "no label"]
    assert problems.count("no label") == 60
    assert rows_of(found.folder / "doubts.csv") == []
    assert "no photo has a label" in "\n".join(found.lines())


def test_a_split_that_is_not_there_is_an_error(inspected: Any) -> None:
    with pytest.raises(UserError, match="There is no split"):
        inspect_collection(Workspace(inspected.folder.parent), split_name="mine")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_a_census_counts_and_is_as_diverse_as_equal_classes_at_most(sizes: list[int]) -> None:
    labels = [f"c{c}" for c, n in enumerate(sizes) for _ in range(n)]
    census = Census.of(pd.DataFrame({"family": [*labels, None]}), "family")
    assert sum(census.sizes) == len(labels)
    assert list(census.sizes) == sorted(sizes, reverse=True)
    assert census.effective <= len(sizes) * (1 + 1e-9)
    equal = Census.of(pd.DataFrame({"family": [f"c{c}" for c in range(7)] * 3}), "family")
    assert equal.effective == pytest.approx(7)
    assert equal.ratio == 1
    assert [n for _, n in census.small] == sorted(n for n in sizes if n < 10)


def test_a_photo_nearer_to_a_thing_than_to_every_organism_is_named() -> None:
    """Photos along axes of their own; most texts along one that no photo has."""
    axes = np.eye(5, dtype=np.float32)
    texts = {
        "a photo of a map.": axes[0],
        "a photo of a leaf.": axes[1],
        "a photo of a logo.": np.array([0, 0.6, 0, 0, 0.8], dtype=np.float32),
        "a photo of felidae.": axes[2],
        "a photo of a drawing.": np.array([0, 0, 0.6, 0.8, 0], dtype=np.float32),
    }
    names = [f"{i}.jpg" for i in range(4)]
    rows = pd.DataFrame({"id": names, "family": ["canidae", "canidae", "felidae", "felidae"]})
    spec = open_encoder("pixels").spec
    worded = replace(spec, name="worded", library="open_clip 2", pooling="avg", dim=5)
    X = np.hstack([np.ones((4, 3), dtype=np.float32), axes[:4]])
    photos = Dataset(
        rows, X, rows["family"].to_numpy(dtype=str), np.full(4, "train"), np.array(names),
        "family", (replace(spec, dim=3), worded),
    )  # fmt: skip
    asked: list[str] = []

    def vectors(source: str, wanted: Any) -> Any:
        asked.extend(wanted)
        return np.stack([texts.get(text, axes[4]) for text in wanted])

    found = no_organism(photos, photos, vectors)
    assert dict(zip(found["row"], found["looks_like"], strict=True)) == {0: "a map", 3: "a drawing"}
    assert found["score"].is_monotonic_decreasing
    assert found["score"].min() > 0.99
    assert len(asked) == len(ORGANISMS) + len(OTHERS) + 2
    with pytest.raises(ValueError, match="knows words"):
        no_organism(replace(photos, specs=photos.specs[:1]), photos, vectors)
