"""Photos left out and labels changed by a table: what is done, what is not, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import embeddings

from classify.corrections import Corrections
from classify.dataset import Dataset
from embed.errors import UserError


def photos() -> Dataset:
    """Three families of 4, 3 and 2 photos; the first of each is a test photo, one is val."""
    X, y = embeddings((4, 3, 2))
    ids = [f"p{i}" for i in range(9)]
    order = {"family 0": "carnivora", "family 1": "anseriformes", "family 2": "carnivora"}
    rows = pd.DataFrame(
        {
            "id": ids,
            "key": ids,
            "file_path": [f"in/{name}.jpg" for name in ids],
            "Order": [order[name] for name in y],
            "family": y,
            "genus": [f"genus {i}" for i in range(9)],
        }
    )
    side = np.full(9, "train", dtype="<U5")
    side[[0, 4, 7]], side[1] = "test", "val"
    return Dataset(rows, X, y, side, np.arange(9).astype(str), "family", ())


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def read(path: Path, *, exclude: str | None = None, relabel: str | None = None) -> Corrections:
    out = None if exclude is None else table(path / "out.csv", exclude)
    new = None if relabel is None else table(path / "new.csv", relabel)
    return Corrections.read(out, new, "family")


def test_only_the_listed_training_photos_change(tmp_path: Path) -> None:
    before = photos()
    corrections = read(
        tmp_path, exclude="id\np2\np0\n", relabel="id,new_label\np1,family 1\np4,family 0\np3,\n"
    )
    after, notes = corrections.apply(before)
    assert after.ids == ["p0", "p1", "p3", "p4", "p5", "p6", "p7", "p8"]
    changed = {i: str(y) for i, y in zip(after.ids, after.y, strict=True)}
    expected = dict(zip(before.ids, before.y.tolist(), strict=True)) | {"p1": "family 1"}
    assert changed == {name: expected[name] for name in after.ids}
    assert after.rows["family"].tolist() == after.y.tolist()
    kept = [before.ids.index(name) for name in after.ids]
    for name in ("X", "side", "group"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name)[kept])
    assert before.y[1] == before.rows["family"][1] == "family 0"
    assert len(before) == 9
    assert any(note.startswith("2 listed photos of the test side") for note in notes)
    assert "excluded: 1 photo" in notes
    assert "relabelled: 1 photo" in notes


def test_the_test_side_is_bit_for_bit_the_same(tmp_path: Path) -> None:
    before = photos()
    everything = "".join(f"p{i},family {i % 2}\n" for i in range(9))
    few = "id\n" + "".join(f"p{i}\n" for i in (0, 1, 4, 7))
    relabelled, _ = read(tmp_path, relabel="id,new_label\n" + everything).apply(before)
    fewer, _ = read(tmp_path, exclude=few).apply(before)
    for after in (relabelled, fewer):
        assert after.part("test").digest == before.part("test").digest
    assert fewer.part("train").digest == before.part("train").digest
    assert len(fewer.part("val")) == 0
    assert relabelled.part("train").y.tolist() == [f"family {i % 2}" for i in (2, 3, 5, 6, 8)]


def test_ranks_follow_the_new_label(tmp_path: Path) -> None:
    after, _ = read(tmp_path, relabel="id,new_label\np2,family 1\np3,new one\n").apply(photos())
    rows = after.rows.set_index("id")
    assert rows.loc["p2", "Order"] == "anseriformes"
    assert pd.isna(rows.loc[["p2", "p3"], "genus"]).all()
    assert pd.isna(rows.loc["p3", "Order"])
    assert rows.loc["p5", "genus"] == "genus 5"


def test_the_columns_of_inspect_decide(tmp_path: Path) -> None:
    doubts = (
        "id,file_path,label,suggested,decision,new_label\n"
        "p1,a.jpg,family 0,family 2,exclude,family 1\n"
        "p2,b.jpg,family 0,family 2,Relabel,\n"
        "p3,c.jpg,family 0,family 2,relabel,family 1\n"
        "p5,d.jpg,family 1,family 2,keep,family 0\n"
        "p6,e.jpg,family 1,family 0,,\n"
    )
    found = read(tmp_path, exclude=doubts, relabel=doubts)
    assert found.exclude == ("p1",)
    assert found.relabel == (("p2", "family 2"), ("p3", "family 1"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_tables_as_people_save_them(encoding: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", 'ID;Family\r\n"p2";Bückling\r\n', encoding)
    found = Corrections.read(None, path, "family")
    assert found.relabel == (("p2", "Bückling"),)
    assert len(found.notes) == (encoding == "cp1252")


def test_photos_may_be_named_by_their_file(tmp_path: Path) -> None:
    after, _ = read(tmp_path, exclude="file_path\nin/p2.jpg\n").apply(photos())
    assert "p2" not in after.ids
    with pytest.raises(UserError, match=r"by file_path and .*by id"):
        read(tmp_path, exclude="file_path\nin/p2.jpg\n", relabel="id,family\np1,x\n")


@pytest.mark.parametrize(
    ("which", "text", "said"),
    [
        ("exclude", "", "is empty"),
        ("exclude", "id\n", "names no photo"),
        ("exclude", "id,x\n,1\n", "names no photo"),
        ("exclude", "photo\np1\n", "needs a column 'id' or 'file_path'"),
        ("exclude", "id,decision\np1,keep\np2,\n", "excludes nothing"),
        ("exclude", "id,decision\np1,drop\n", "'p1' is 'drop'"),
        ("exclude", "id,decision\np1,keep\np1,exclude\n", "two decisions for id 'p1'"),
        ("relabel", "id,label\np1,x\n", "needs a column 'new_label' \\(or 'family'\\)"),
        ("relabel", "id,new_label\np1,\n", "relabels nothing"),
        ("relabel", "id,new_label\np1,a\np1,b\n", "two labels for id 'p1': 'a' and 'b'"),
        ("relabel", "id,decision,new_label\np1,relabel,\n", "not as what"),
    ],
)
def test_tables_that_decide_nothing_are_refused(
    which: str, text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        read(tmp_path, **{which: text})


def test_unknown_photos_are_counted_and_the_nearest_named(tmp_path: Path) -> None:
    corrections = read(tmp_path, exclude="id\np1\np22\nq\n")
    with pytest.raises(UserError, match=r"2 of 3 photos listed .*'p22' \(did you mean 'p2'\?\)"):
        corrections.apply(photos())
    whole = pd.DataFrame({"id": [*photos().ids, "p22", "q"]})  # two have no label
    after, notes = corrections.apply(photos(), whole)
    assert len(after) == 8
    assert "2 listed photos without a label or a side in this split" in notes


def test_classes_that_go_or_come_are_said(tmp_path: Path) -> None:
    _, notes = read(tmp_path, exclude="id\np8\n").apply(photos())
    assert any("no training photo is left of family 2" in note for note in notes)
    _, notes = read(tmp_path, relabel="id,new_label\np2,Family 1\np3,other\n").apply(photos())
    assert "'Family 1' is a new class (1 photo); did you mean 'family 1'?" in notes
    assert "'other' is a new class (1 photo)" in notes
    with pytest.raises(UserError, match="1 class is left"):
        read(tmp_path, exclude="id\np5\np6\np8\n").apply(photos())


def test_nothing_decided_changes_nothing() -> None:
    none = Corrections.read(None, None, "family")
    before = photos()
    assert not none
    assert none.digest == ""
    assert none.apply(before)[0] is before


def test_saved_corrections_come_back_and_have_the_same_effect(tmp_path: Path) -> None:
    relabel = 'id,new_label\np1,"a, ""b"" <i>"\np3,family 1\n'
    found = read(tmp_path, exclude="id\np2\n", relabel=relabel)
    found.save(tmp_path / "run" / "corrections.csv")
    again = Corrections.load(tmp_path / "run" / "corrections.csv")
    assert again.digest == found.digest
    first, second = (c.apply(photos())[0] for c in (found, again))
    assert first.digest == second.digest
    both = Corrections.read(*2 * [tmp_path / "run" / "corrections.csv"], "family")
    assert both.digest == found.digest
    (tmp_path / "run" / "corrections.csv").write_text("id,decision\np1,perhaps\n")
    with pytest.raises(UserError, match="is damaged"):
        Corrections.load(tmp_path / "run" / "corrections.csv")


def test_the_digest_tells_decisions_apart(tmp_path: Path) -> None:
    texts: list[dict[str, Any]] = [
        {"exclude": "id\np1\n"},
        {"exclude": "id\np2\n"},
        {"exclude": "id\np1\np2\n"},
        {"relabel": "id,family\np1,p2\n"},
        {"exclude": "file_path\np1\n"},
    ]
    assert len({read(tmp_path, **text).digest for text in texts}) == len(texts)
    assert (
        read(tmp_path, exclude="id\np2\np1\n").digest
        == read(tmp_path, exclude="id\np1\np2\np1\n").digest
    )
