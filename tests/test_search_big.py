"""`cli search` beside a big index: the same hits as without one, and nothing read whole."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from embed.collection import load_collection, save_collection
from embed.errors import UserError
from embed.workspace import Workspace
from retrieval import searchable
from retrieval.index_command import build_index
from retrieval.known_rows import IndexRows, TableRows, rows_named
from retrieval.lookalikes import lookalikes
from retrieval.plan import Plan
from retrieval.queries import SearchBy
from retrieval.row_ids import Ids
from retrieval.searchable import Searchable

CAT = "felidae/03.png"
ROSE = "rosaceae/07.png"


@pytest.fixture(scope="module")
def embedded(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import cli

    folder = tmp_path_factory.mktemp("searched")
    theirs = Path(shutil.copytree(photos, folder / "photos"))
    shutil.copy(theirs / CAT, theirs / "felidae" / "a copy.png")
    shutil.copy(theirs / "felidae" / "05.png", theirs / "felidae" / "another.png")
    assert cli.run(["embed", str(theirs), "--encoder", "pixels", "-w", str(folder)]) == 0
    return folder


@pytest.fixture
def workspace(embedded: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(embedded, tmp_path / "w")))


def changed(workspace: Workspace, change: Callable[[Any], Any]) -> None:
    there = load_collection(workspace.collection)
    rows = change(there.rows).reset_index(drop=True)
    save_collection(rows, there.label, workspace.folder, workspace.collection)


@pytest.mark.parametrize("k", [1, 5, 60])
def test_hits_are_those_of_a_search_without_it(
    workspace: Workspace, photos: Path, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = SearchBy([CAT, ROSE, str(photos / "felidae" / "05.png")])
    small = lookalikes(workspace, asked, k).to_pylist()
    pages = [lookalikes(workspace, asked, k, page=p).to_pylist() for p in (1, 2)]
    build_index(workspace, plan=Plan("flat"))
    assert pages[0] == small

    def whole(_: Any) -> None:
        raise AssertionError("the collection was read whole")

    monkeypatch.setattr(searchable, "_table", whole)
    assert lookalikes(workspace, asked, k).to_pylist() == small
    assert lookalikes(workspace, asked, k, page=2).to_pylist() == pages[1]
    monkeypatch.undo()
    narrow = {"where": "family != 'felidae'", "page": 2}
    beside = lookalikes(workspace, asked, k, **narrow).to_pylist()
    shutil.rmtree(workspace.index(("pixels",)) / "big")
    assert lookalikes(workspace, asked, k, **narrow).to_pylist() == beside


def test_photos_that_are_gone_are_no_hits_and_new_ones_can_be_asked_for(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lookalikes(workspace, SearchBy([CAT]), 60).to_pylist()
    gone = [hit["id"] for hit in before[:30:2] if hit["id"] != ROSE]
    changed(workspace, lambda rows: rows[rows["id"] != ROSE])
    build_index(workspace, plan=Plan("flat"))
    rose = before[[hit["id"] for hit in before].index(ROSE)]
    changed(workspace, lambda rows: rows[~rows["id"].isin(gone)])
    found = lookalikes(workspace, SearchBy([CAT]), 9)
    expected = [hit["id"] for hit in before if hit["id"] not in (*gone, ROSE)][:9]
    assert [hit["id"] for hit in found.to_pylist()] == expected
    assert f"0 are not in it, {len(gone)} of its rows are no longer there" in found.note
    monkeypatch.setattr(searchable, "COUNTED", 10)
    assert "was written anew" in lookalikes(workspace, SearchBy([CAT]), 9).note
    with pytest.raises(UserError, match="neither an id"):
        lookalikes(workspace, SearchBy([gone[0]]), 9)
    with pytest.raises(UserError, match="neither an id"):
        lookalikes(workspace, SearchBy([ROSE]), 9)
    there = load_collection(workspace.collection).rows

    def with_rose(rows: Any) -> Any:
        first = rows.iloc[[0]].assign(**{name: rose[name] for name in ("id", "path", "family")})
        return pd.concat([there, first.assign(key="ab" * 32, file_path=ROSE)])

    changed(workspace, with_rose)  # by its id, though the index has never seen it
    hits = lookalikes(workspace, SearchBy([ROSE]), 3).to_pylist()
    assert {hit["family"] for hit in hits} == {"rosaceae"}


def test_rows_are_known_alike(workspace: Workspace) -> None:
    build_index(workspace, plan=Plan("flat"))
    place = Searchable(workspace)
    here, big = TableRows(searchable._table(workspace)[0]), place.known
    assert isinstance(big, IndexRows)
    assert list(big.ids) == list(here.ids)
    for name in (CAT, ROSE, "felidae/a copy.png", "not there"):
        assert big.find(name) == here.find(name)
    for row in (3, 0, 17):
        assert big.key(row) == here.key(row)
        assert big.with_key(big.key(row)) == here.with_key(here.key(row))
    rows = [9, 2, 9, 30]
    assert big.take(rows)[0].to_pylist() == here.take(rows)[0].to_pylist()
    assert big.take(rows)[1] == rows
    assert big.take([])[0].num_rows == 0


def test_rows_are_found_in_every_group_of_the_file(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embed.collection._ROWS_A_GROUP", 7)
    changed(workspace, lambda rows: rows.sample(frac=1, random_state=0))
    rows = load_collection(workspace.collection).rows
    wanted = set(rows["id"].iloc[::5])
    found = rows_named(workspace.collection, {*wanted, "not there"})
    assert found["id"].to_pylist() == [name for name in rows["id"] if name in wanted]
    workspace.collection.write_bytes(b"no Parquet")
    with pytest.raises(UserError, match="cannot be read"):
        rows_named(workspace.collection, {"a"})


@pytest.mark.parametrize("names", [["a", "", "möwe"], ["with\nline end", "b"], ["\n"], []])
def test_ids_one_after_another(names: list[str], tmp_path: Path) -> None:
    data = [name.encode() + b"\n" for name in names]
    (tmp_path / "ids.txt").write_bytes(b"".join(data))
    (tmp_path / "ids.ends").write_bytes(np.cumsum([len(d) for d in data], dtype="<i8").tobytes())
    ids = Ids(tmp_path, len(names), sum(map(len, data)))
    assert list(ids) == names == [ids[i] for i in range(len(names))]
