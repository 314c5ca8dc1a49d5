"""`cli map`: ids stay with their points, a layout is made once, columns are scales or colours."""

import base64
import io
import json
import zlib

import numpy as np
import pandas as pd
import pytest
from conftest import COLOURS
from PIL import Image

from embed.errors import UserError
from embed.workspace import Workspace
from retrieval import map_data, map_page
from retrieval.layout_2d import load_layout
from retrieval.map_data import map_column, map_columns, most_central
from retrieval.map_page import make_map


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, photos):
    import cli

    folder = tmp_path_factory.mktemp("workspace")
    assert cli.run(["embed", str(photos), "-w", str(folder), "--encoder", "pixels"]) == 0
    return Workspace(folder)


def block(page, name):
    start = page.index(f'id="{name}">') + len(f'id="{name}">')
    return json.loads(page[start : page.index("</script>", start)])


def inside(path):
    """What the page's script reads."""
    page = path.read_text()
    data = json.loads(zlib.decompress(base64.b64decode(block(page, "map-data"))))
    return data, block(page, "map-pictures")


def test_every_point_is_its_own_photo(workspace, tmp_path):
    report = make_map(workspace, output=tmp_path / "map.html")
    data, pictures = inside(tmp_path / "map.html")
    rows = pd.read_parquet(workspace.collection)
    assert data["ids"] == rows["id"].tolist()
    assert data["names"] == rows["file_path"].tolist()
    places = np.column_stack([data["x"], data["y"]])
    low, span = report.layout.xy.min(axis=0), np.ptp(report.layout.xy, axis=0).max()
    np.testing.assert_allclose(places / 65535, (report.layout.xy - low) / span, atol=1e-5)
    family = data["columns"][0]
    assert family["name"] == "family"
    assert [family["words"][c] for c in family["codes"]] == rows["family"].tolist()
    for i, name in enumerate(rows["file_path"]):  # the picture has its photo's colour
        image = Image.open(io.BytesIO(base64.b64decode(pictures[str(i)])))
        mean = np.asarray(image, dtype=float).mean(axis=(0, 1))
        assert np.abs(mean - COLOURS[name.split("/")[0]]).max() < 12
    assert data["base"] + data["names"][0] == f"file://{rows['path'].iloc[0]}"


def test_a_layout_is_made_once(workspace, tmp_path, monkeypatch):
    first = make_map(workspace, output=tmp_path / "a.html", seed=7)
    ids = pd.read_parquet(workspace.collection)["id"].tolist()
    assert (first.reused, first.cache.parent) == (False, workspace.folder / "maps")
    monkeypatch.setattr(map_page, "lay_out", lambda *_: pytest.fail("computed twice"))
    again = make_map(workspace, output=tmp_path / "b.html", seed=7, colour="size")
    assert again.reused
    np.testing.assert_array_equal(first.layout.xy, again.layout.xy)
    assert "as before" in "\n".join(again.lines())
    saved = np.load(first.cache, allow_pickle=False)
    assert saved["ids"].tolist() == ids
    assert load_layout(first.cache, ids, json.loads(str(saved["recipe"]))["source"]) is not None
    with pytest.raises(pytest.fail.Exception):
        make_map(workspace, output=tmp_path / "b.html", seed=8)


def test_what_is_said_is_measured(workspace, tmp_path):
    report = make_map(workspace, method="pca", output=tmp_path / "map.html")
    said = "\n".join(report.lines())
    assert f"{report.layout.kept:.0%} are among the 10" in said
    assert "60 photos by PCA on pixels" in said
    assert report.to_json()["trust"] == report.layout.trust
    assert "2 principal components" in (tmp_path / "map.html").read_text()


def test_a_column_that_there_is_not_is_a_mistake(workspace, tmp_path):
    with pytest.raises(UserError, match="Did you mean 'family'"):
        make_map(workspace, colour="famly", output=tmp_path / "map.html")
    with pytest.raises(UserError, match="no layout 'mds'"):
        make_map(workspace, method="mds", output=tmp_path / "map.html")
    assert list(tmp_path.iterdir()) == []


def test_pictures_end_where_there_is_no_more_room(workspace, tmp_path, monkeypatch):
    assert make_map(workspace, output=tmp_path / "map.html", pictures=7).pictures == 7
    assert len(inside(tmp_path / "map.html")[1]) == 7
    monkeypatch.setattr(map_data, "PICTURE_BYTES", 5_000)
    make_map(workspace, output=tmp_path / "map.html")
    total = sum(map(len, inside(tmp_path / "map.html")[1].values()))
    assert 3_000 < total <= 5_000


def test_the_map_in_words_counts_each_class(workspace, tmp_path):
    report = make_map(workspace, output=tmp_path / "map.html")
    page = (tmp_path / "map.html").read_text()
    assert page.count("<td>12</td>") == 5
    xy = report.layout.xy
    away = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(away, np.inf)
    family = pd.read_parquet(workspace.collection)["family"].to_numpy()
    same = (family[np.argsort(away, axis=1)[:, :10]] == family[:, None]).mean(axis=1)
    assert f"<td>{same[family == 'felidae'].mean():.0%}</td>" in page


def test_columns_are_scales_or_words():
    column = pd.Series([str(v) for v in range(8)] + ["8.5", None], dtype=object)
    assert map_column("a", column)["numbers"] == [*range(8), 8.5, None]
    few = pd.Series(["1", "2", "2", None], dtype=object)
    assert map_column("a", few) == {"name": "a", "words": ["2", "1"], "codes": [1, 0, 0, -1]}
    for odd in (
        "inf",
        "nan",
        "007",
        "98765432109876543210",
    ):  # kept as they are
        column = pd.Series([*map(str, range(12)), odd], dtype=object)
        assert odd in map_column("a", column)["words"]


def test_columns_that_say_nothing_are_no_choice():
    own = {"id": ["a", "b"], "path": "p", "file_path": "f", "key": "k", "size": 1, "mtime_ns": 1}
    rows = pd.DataFrame({**own, "own_id": ["a", "b"], "empty": None, "genus": "x"})
    assert map_columns(rows) == ["genus", "size"]
    assert map_columns(rows, "size") == ["size", "genus"]


def test_pictures_are_spread_over_the_map():
    rng = np.random.default_rng(0)
    xy = np.vstack([rng.normal(0, 0.1, (5_000, 2)), rng.normal(50, 0.1, (20, 2))]).astype("f4")
    chosen = most_central(xy, 100)
    assert len(chosen) == len(set(chosen)) == 100
    assert any(i >= 5_000 for i in chosen[:2])
    assert most_central(xy[:30], 100) == list(range(30))
