"""Folders and tables to rows: what is read, what is left out and why, what is refused."""

import contextlib
import csv
import io
import os
import random
import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.collection import (
    Collection,
    find_photos,
    load_collection,
    read_collection,
    save_collection,
)
from embed.columns import PATH_COLUMNS
from embed.errors import UserError
from embed.tables import read_table

SHARED = os.environ.get("FAMILIA_SHARED")


def touch(root: Path, *names: str) -> Path:
    """Files with those names: reading a collection never opens a photo."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def write_table(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read_rows(folder: Path, text: str | bytes, label: str | None = None) -> Collection:
    """A table of photos in `folder`, given with the folder."""
    return read_collection(folder, write_table(folder, text), label)


def column(found: Collection, name: str) -> list[str | None]:
    return [None if pd.isna(value) else value for value in found.rows[name]]


def reasons(found: Collection) -> dict[str, str]:
    return {problem.where: problem.reason for problem in found.problems}


def refused(photos: Path | None, table: Path | None = None, label: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read_collection(photos, table, label)
    return str(caught.value)


# ---- folders


def test_top_level_folders_are_the_classes(tmp_path):
    touch(tmp_path, "felidae/2.jpg", "felidae/old/deep/1.JPG", "canidae/3.png")
    found = read_collection(tmp_path, None)
    assert found.label == "family"
    assert column(found, "id") == ["canidae/3.png", "felidae/2.jpg", "felidae/old/deep/1.JPG"]
    assert column(found, "file_path") == column(found, "id")
    assert column(found, "family") == ["canidae", "felidae", "felidae"]
    assert column(found, "path") == [str(tmp_path / name) for name in found.rows["id"]]
    assert (found.root, found.problems, found.notes) == (tmp_path, [], [])


def test_the_label_column_of_a_folder_gets_the_name_asked_for(tmp_path):
    found = read_collection(touch(tmp_path, "a/1.jpg", "b/2.jpg"), None, "species")
    assert found.label == "species"
    assert column(found, "species") == ["a", "b"]


def test_a_photo_in_no_class_folder_has_no_label(tmp_path):
    found = read_collection(touch(tmp_path, "a/1.jpg", "loose.jpg"), None)
    assert column(found, "family") == ["a", None]
    assert found.notes == ["photos in no class folder, so without a family: 1"]


def test_a_flat_folder_has_no_label(tmp_path):
    found = read_collection(touch(tmp_path, "1.jpg", "2.jpg"), None)
    assert found.label is None
    assert column(found, "id") == ["1.jpg", "2.jpg"]
    assert "no label" in found.notes[0]
    assert "no class folders, so there is no 'order'" in refused(tmp_path, label="order")


def test_a_single_photo(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/2.jpg")
    found = find_photos(tmp_path / "a" / "1.jpg")
    assert column(found, "path") == [str(tmp_path / "a" / "1.jpg")]
    assert column(found, "id") == ["1.jpg"]
    assert read_collection(tmp_path / "a" / "1.jpg", None).label is None


def test_find_photos_takes_a_folder_and_gives_no_label(tmp_path):
    found = find_photos(touch(tmp_path, "a/1.jpg", "b/2.jpg"))
    assert column(found, "id") == ["a/1.jpg", "b/2.jpg"]
    assert list(found.rows) == ["id", "path", "file_path"]


def test_hidden_files_are_ignored_and_others_counted(tmp_path):
    touch(
        tmp_path, "a/1.jpg", "a/.DS_Store", "a/._1.jpg", "a/Thumbs.db", ".git/x.png",
        "__MACOSX/a/1.jpg", "a/@eaDir/1.jpg", "a/notes.txt", "a/more.txt", "a/film.mp4",
    )  # fmt: skip
    found = read_collection(tmp_path, None)
    assert column(found, "id") == ["a/1.jpg"]
    assert found.notes == ["other files, passed over: 3 (.txt, .mp4)"]


def test_photos_that_cannot_be_decoded_are_not_silently_ignored(tmp_path):
    found = read_collection(touch(tmp_path, "a/1.HEIC", "a/2.nef"), None)
    assert column(found, "id") == ["a/1.HEIC", "a/2.nef"]


def test_pictures_in_a_workspace_are_no_photos(tmp_path):
    touch(tmp_path, "collection.parquet", "a/1.jpg", "runs/best/confusion.png", "a/runs/2.jpg")
    touch(tmp_path, "sweeps/x.png", "indexes/x.png", "embeddings/x.png", "splits/x.png")
    assert column(read_collection(tmp_path, None), "id") == ["a/1.jpg", "a/runs/2.jpg"]


def test_a_folder_named_like_a_photo_is_listed_and_its_photos_are_taken(tmp_path):
    found = read_collection(touch(tmp_path, "a/x.jpg/1.jpg", "a/2.jpg"), None)
    assert reasons(found) == {"a/x.jpg": "a folder, not a photo"}
    assert column(found, "id") == ["a/2.jpg", "a/x.jpg/1.jpg"]


def test_circles_of_links_end_and_real_folders_win(tmp_path):
    touch(tmp_path, "z/1.jpg", "elsewhere.d/2.jpg")
    outside = touch(tmp_path.parent / f"{tmp_path.name}-out", "3.jpg")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    (tmp_path / "z" / "up").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(outside)
    (outside / "self").symlink_to(outside)
    (tmp_path / "z" / "link.jpg").symlink_to(tmp_path / "z" / "1.jpg")
    (tmp_path / "z" / "never").symlink_to(tmp_path / "z" / "never")
    found = read_collection(tmp_path, None)
    assert column(found, "id") == ["elsewhere.d/2.jpg", "linked/3.jpg", "z/1.jpg", "z/link.jpg"]
    assert set(reasons(found)) == {"a", "z/up", "linked/self"}


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname != "Linux", reason="needs raw names")
def test_names_that_are_no_text_are_left_out(tmp_path):
    touch(tmp_path, "a/1.jpg")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/a/caf\xe9.jpg"))).write_bytes(b"x")
    found = read_collection(tmp_path, None)
    assert column(found, "id") == ["a/1.jpg"]
    assert reasons(found) == {"a/caf\\udce9.jpg": "its name is not UTF-8 text: rename it"}
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    assert "not UTF-8 text" in refused(touch(folder, "1.jpg"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_folders_without_permission(tmp_path):
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "b").chmod(0)
    try:
        assert reasons(read_collection(tmp_path, None)) == {
            "b": "this folder cannot be read (Permission denied)"
        }
        assert "b cannot be read: there is no permission" in refused(tmp_path / "b")
        found = read_rows(tmp_path, "file_path\na/1.jpg\nb/2.jpg\n")
        assert "b cannot be read (Permission denied)" in reasons(found)["table.csv line 3"]
    finally:
        (tmp_path / "b").chmod(0o755)


def test_mistakes_with_folders(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    touch(tmp_path, "docs/a.txt", "t.csv", "f/1.jpg")
    assert "There is no folder or photo" in refused(tmp_path / "none")
    assert "the folder is empty" in refused(empty)
    assert "other files, passed over: 1 (.txt)" in refused(tmp_path / "docs")
    assert "cli embed --table" in refused(tmp_path / "t.csv")
    assert "cli embed PHOTOS" in refused(None)
    assert "--label path is a column of the collection itself" in refused(tmp_path, label="path")
    assert "PHOTOS is the folder" in refused(tmp_path / "f/1.jpg", tmp_path / "t.csv")
    assert "Not a directory" in refused(tmp_path / "t.csv" / "x")


# ---- tables


def test_a_folder_with_a_table(tmp_path):
    touch(tmp_path, "p/1.jpg", "p/sub/2.jpg")
    table = write_table(
        tmp_path, "id,family,file_path,note\n007,felidae, 1.jpg ,\n8,,sub/2.jpg,x\n"
    )
    found = read_collection(tmp_path / "p", table)
    assert list(found.rows) == ["id", "path", "file_path", "family", "note"]
    assert column(found, "id") == ["007", "8"]
    assert column(found, "file_path") == ["1.jpg", "sub/2.jpg"]
    assert column(found, "path") == [str(tmp_path / "p/1.jpg"), str(tmp_path / "p/sub/2.jpg")]
    assert column(found, "family") == ["felidae", None]
    assert column(found, "note") == [None, "x"]
    assert (found.label, found.root, found.problems) == ("family", tmp_path / "p", [])
    assert found.notes == ["rows without a family: 1 of 2"]


def test_a_table_alone_is_relative_to_its_own_folder(tmp_path, monkeypatch):
    touch(tmp_path, "d/p/1.jpg")
    write_table(tmp_path / "d", "file_path\np/1.jpg\n")
    monkeypatch.chdir(tmp_path)
    found = read_collection(None, Path("d/table.csv"))
    assert column(found, "path") == [str(tmp_path / "d/p/1.jpg")]
    assert column(found, "id") == ["p/1.jpg"]
    assert found.label is None
    assert found.notes == ["no column 'family': no labels (name their column with --label)"]


def test_the_course_layout_is_recognised(tmp_path):
    touch(tmp_path, "chordata_felidae/1.jpg", "chordata_felidae/2.jpg")
    write_table(
        tmp_path,
        "rare_species_id,family,file_path\nu-1,felidae,chordata_felidae/1.jpg\n",
        "metadata.csv",
    )
    found = read_collection(tmp_path, None)
    assert column(found, "id") == ["u-1"]
    assert column(found, "rare_species_id") == ["u-1"]
    assert found.notes == [
        "metadata.csv in the folder is taken as its table",
        "photos in the folder that no row names: 1",
    ]


def test_a_metadata_table_of_something_else_is_not_used(tmp_path):
    touch(tmp_path, "a/1.jpg")
    write_table(tmp_path, "camera,lens\nx,y\n", "metadata.csv")
    found = read_collection(tmp_path, None)
    assert column(found, "family") == ["a"]
    assert "names no photos" in found.notes[0]


@pytest.mark.parametrize("name", [*PATH_COLUMNS, "FILE_PATH", "FileName", "Image"])
def test_every_name_for_the_path_column(tmp_path, name):
    found = read_rows(touch(tmp_path, "1.jpg"), f"family,{name}\na,1.jpg\n")
    assert list(found.rows) == ["id", "path", "file_path", "family"]
    assert column(found, "file_path") == ["1.jpg"]


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("id", []),
        ("ID", []),
        ("image_id", ["image_id"]),
        ("rare_species_id", ["rare_species_id"]),
    ],
)
def test_every_name_for_the_id_column(tmp_path, header, columns):
    found = read_rows(touch(tmp_path, "1.jpg"), f"{header},file_path,family\n01,1.jpg,a\n")
    assert column(found, "id") == ["01"]
    assert list(found.rows) == ["id", "path", "file_path", *columns, "family"]


def test_columns_named_like_our_own_are_renamed(tmp_path):
    header = "file_path,path,key,size,rare_species_id,id,table_path"
    found = read_rows(touch(tmp_path, "1.jpg"), f"{header}\n1.jpg,p,k,s,r,i,t\n", "size")
    assert found.rows.iloc[0].to_dict() == {
        "id": "r", "path": str(tmp_path / "1.jpg"), "file_path": "1.jpg", "table_path": "p",
        "table_key": "k", "table_size": "s", "rare_species_id": "r", "table_id": "i",
        "table_table_path": "t",
    }  # fmt: skip
    assert found.label == "table_size"
    assert "column 4 of table.csv is called 'table_size' here" in found.notes


def test_columns_twice_or_without_a_name(tmp_path):
    found = read_rows(touch(tmp_path, "1.jpg"), ",file_path,a,a,\n7,1.jpg,x,y,\n")
    assert found.rows.iloc[0].drop(["id", "path"]).to_dict() == {
        "column_1": "7", "file_path": "1.jpg", "a": "x", "table_a": "y",
    }  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_delimiters_and_line_ends(tmp_path, delimiter, newline):
    rows = [
        ["file_path", "a, b; c", "family"],
        ["1.jpg", "x|y\tz,;", "felidae"],
        ["2.jpg", "", "b"],
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=newline).writerows(rows)
    found = read_rows(touch(tmp_path, "1.jpg", "2.jpg"), text.getvalue())
    assert column(found, "family") == ["felidae", "b"]
    assert column(found, "a, b; c") == ["x|y\tz,;", None]
    assert found.problems == []


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("cp1252", "table.csv is not UTF-8: read as Windows-1252, so check names with accents"),
    ],
)
def test_encodings(tmp_path, encoding, note):
    touch(tmp_path, "Müller/é.jpg")
    found = read_rows(tmp_path, "file_path;family\nMüller/é.jpg;Nymphéacées\n".encode(encoding))
    assert column(found, "family") == ["Nymphéacées"]
    assert column(found, "path") == [str(tmp_path / "Müller/é.jpg")]
    assert found.notes == ([note] if note else [])


def test_bytes_that_windows_does_not_know_are_latin_1(tmp_path):
    found = read_rows(touch(tmp_path, "1.jpg"), b"file_path,family\n1.jpg,\x81\xe9\n")
    assert column(found, "family") == ["\x81é"]
    assert "Latin-1" in found.notes[0]


def test_quoted_newlines_and_blank_lines_keep_the_line_numbers(tmp_path):
    text = '\n\nfile_path,note\n\n1.jpg,"two\nlines"\n , \n\nnone.jpg,x\n'
    found = read_rows(touch(tmp_path, "1.jpg"), text)
    assert column(found, "note") == ["two\nlines"]
    assert reasons(found) == {"table.csv line 9": "'none.jpg' does not exist"}


def test_lines_that_are_no_row_cost_themselves_alone(tmp_path):
    touch(tmp_path, *(f"{n}.jpg" for n in range(9)))
    found = read_rows(
        tmp_path,
        'file_path,family\n0.jpg,a\n1.jpg\n2.jpg,b,c\n3.jpg,"open\n4.jpg,d\0\n'
        '5.jpg,"a" b\n6.jpg,e\n"7.jpg\n8.jpg,f\n',
    )
    assert column(found, "file_path") == ["0.jpg", "6.jpg", "8.jpg"]
    why = reasons(found)
    assert why["table.csv line 3"] == "1 fields, where the header has 2"
    assert why["table.csv line 4"] == "3 fields, where the header has 2"
    assert why["table.csv line 6"] == "a zero byte in the line"
    for line in (5, 7, 9):
        assert why[f"table.csv line {line}"].startswith("a quote that does not close properly")
    assert list(why) == [f"table.csv line {line}" for line in (3, 4, 5, 6, 7, 9)]


def test_rows_that_name_no_photo(tmp_path):
    touch(tmp_path, "p/IMG_1.JPG", "out.jpg", "p/Sub/x.jpg")
    (tmp_path / "p" / "folder.jpg").mkdir()
    (tmp_path / "p" / "lost.jpg").symlink_to("nowhere")
    named = [
        "", "none.jpg", "img_1.jpg", "sub/X.JPG", "../out.jpg", str(tmp_path / "out.jpg"),
        "Sub/../../out.jpg", "..\\out.jpg", "folder.jpg", "lost.jpg", "https://x.org/1.jpg", ".",
        "IMG_1.JPG",
    ]  # fmt: skip
    table = write_table(tmp_path, "note,file_path\n" + "".join(f"x,{name}\n" for name in named))
    found = read_collection(tmp_path / "p", table)
    assert column(found, "file_path") == ["IMG_1.JPG"]
    outside = f"leads out of the folder {tmp_path / 'p'}"
    assert [problem.reason for problem in found.problems] == [
        "no path",
        "'none.jpg' does not exist",
        "'img_1.jpg' does not exist (did you mean 'IMG_1.JPG'?)",
        "'sub/X.JPG' does not exist (did you mean 'Sub/x.jpg'?)",
        f"'../out.jpg' {outside}",
        f"'{tmp_path}/out.jpg' {outside}",
        f"'Sub/../../out.jpg' {outside}",
        f"'../out.jpg' {outside}",
        "'folder.jpg': a folder, not a photo",
        "'lost.jpg': a link to a file that does not exist",
        "'https://x.org/1.jpg' is a web address: fetch it with --urls, or download the photo first",
        "'.': a folder, not a photo",
    ]
    assert [problem.where for problem in found.problems] == [
        f"table.csv line {line}" for line in range(2, 14)
    ]
    assert found.problems[1].id == "none.jpg"


def test_links_inside_the_folder_and_absolute_paths_into_it_are_fine(tmp_path):
    touch(tmp_path, "real/1.jpg", "real/2.jpg", "other/3.jpg")
    (tmp_path / "real" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    table = write_table(
        tmp_path, f"file_path\n{tmp_path}/alias/1.jpg\n{tmp_path}/real/2.jpg\nlink/3.jpg\n./2.jpg\n"
    )
    found = read_collection(tmp_path / "alias", table)
    assert column(found, "path") == [
        str(tmp_path / "real" / name) for name in ("1.jpg", "2.jpg", "link/3.jpg")
    ]
    assert reasons(found) == {"table.csv line 5": "'./2.jpg' stands already in line 3"}
    assert len(found.notes) == 1  # no photo is said to be unnamed


def test_windows_paths_and_names_with_backslashes(tmp_path):
    touch(tmp_path, "a/b/1.jpg", "c\\2.jpg")
    found = read_rows(tmp_path, "file_path\na\\b\\1.jpg\nc\\2.jpg\n")
    assert column(found, "path") == [str(tmp_path / "a/b/1.jpg"), str(tmp_path / "c\\2.jpg")]


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_table", ["NFC", "NFD"])
def test_unicode_normal_forms(tmp_path, on_disk, in_table):
    name = "Rosacées/é1.jpg"
    touch(tmp_path, unicodedata.normalize(on_disk, name))
    found = read_rows(tmp_path, f"file_path\n{unicodedata.normalize(in_table, name)}\n")
    assert found.problems == []
    assert Path(found.rows["path"][0]).read_bytes() == b"x"


def test_duplicates(tmp_path):
    touch(tmp_path, *(f"{n}.jpg" for n in range(1, 6)))
    found = read_rows(
        tmp_path,
        "id,file_path,family\na,1.jpg,x\na,2.jpg,x\nb,1.jpg,x\nc,1.jpg,y\nd,1.jpg,\n"
        "e,none.jpg,x\ne,3.jpg,x\n,4.jpg,x\n4.jpg,5.jpg,x\n",
    )
    assert column(found, "id") == ["a", "e", "4.jpg"]
    assert column(found, "file_path") == ["1.jpg", "3.jpg", "4.jpg"]
    other = "'1.jpg' stands already in line 2 with another label: 'x' there, which stays, and"
    assert reasons(found) == {
        "table.csv line 3": "the id 'a' stands already in line 2",
        "table.csv line 4": "'1.jpg' stands already in line 2",
        "table.csv line 5": f"{other} 'y' here",
        "table.csv line 6": f"{other} 'no label' here",
        "table.csv line 7": "'none.jpg' does not exist",
        "table.csv line 10": "the id '4.jpg' stands already in line 9",
    }
    assert [problem.id for problem in found.problems] == ["a", "b", "c", "d", "e", "4.jpg"]


def test_labels_are_stripped_and_keep_their_case(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    found = read_rows(
        tmp_path, "file_path,Family\n1.jpg,  Felidae\u00a0\n2.jpg,felidae\n3.jpg,NA\n"
    )
    assert found.label == "Family"
    assert column(found, "Family") == ["Felidae", "felidae", "NA"]
    assert found.notes == ["rows whose Family is the word 'NA': 1 (empty it if unknown)"]


def test_mistakes_with_tables(tmp_path):
    touch(tmp_path, "1.jpg")
    table = write_table(tmp_path, "file_path,Species,genus\n1.jpg,leo,panthera\n")
    assert "There is no table" in refused(tmp_path, tmp_path / "none.csv")
    assert "Is a directory" in refused(tmp_path, tmp_path)
    assert "Did you mean 'Species'? Choose from: Species, genus." in refused(None, table, "Specie")
    assert read_collection(None, table, "species").label == "Species"
    for text, words in [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("file_path,family\n", "has a header but no rows"),
        ("photo,family\n1.jpg,x\n", "expected one of file_path, path,"),
        ("photo,family\n1.jpg,x\n", "found photo, family."),
        ("file_path\na.jpg\nb.jpg\n../c.jpg\nd.jpg\n", "Not one of the 4 rows of"),
        ("file_path\na.jpg\nb.jpg\n../c.jpg\nd.jpg\n", "table.csv line 3: 'b.jpg' does not exist"),
        (b"PK\x03\x04xlsx", "is a spreadsheet"),
        (b"f\0i\0l\0e\0_\0p\0a\0t\0h\0\n\0", "zero bytes"),
        ("file_path\n1.jpg\n".encode("utf-16")[:-1], "broken UTF-16"),
        (b"\x89PNG\r\n\x1a\nxyz", "no column that names"),
    ]:
        assert words in refused(
            tmp_path, write_table(tmp_path, text, "bad.csv").rename(tmp_path / "table.csv")
        )


def test_a_quote_left_open_in_a_long_table_costs_one_line(tmp_path):
    lines = [f"{n}.jpg,x" for n in range(3000)]
    lines[5] = '5.jpg,"x'
    table = read_table(
        write_table(tmp_path, "file_path,family\n" + "\n".join(lines)), ["file_path"]
    )
    assert len(table.rows) == 2999
    assert [line for line, _ in table.bad] == [7]


# ---- invariants

cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(cell, cell), min_size=1, max_size=8),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.booleans(),
)
def test_any_text_survives(tmp_path_factory, cells, delimiter, newline, encoding, quote_all):
    folder = tmp_path_factory.mktemp("t")
    touch(folder, *(f"{n}.jpg" for n in range(len(cells))))
    text = io.StringIO()
    # Python's writer leaves a lone \r unquoted, which is then a line end
    quoting = csv.QUOTE_ALL if quote_all or "\r" in "".join(sum(cells, ())) else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=delimiter, lineterminator=newline, quoting=quoting)
    writer.writerow(["file_path", "family", "other"])
    writer.writerows((f"{n}.jpg", *row) for n, row in enumerate(cells))
    found = read_rows(folder, text.getvalue().encode(encoding))
    assert found.problems == []
    for at, name in enumerate(["family", "other"]):
        assert column(found, name) == [row[at].strip() or None for row in cells]
    save_collection(found.rows.assign(key="k"), found.label, found.root, folder / "c.parquet")
    assert load_collection(folder / "c.parquet").rows.drop(columns="key").equals(found.rows)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc "), st.integers(0, 4), st.sampled_from("xy"))))
def test_ids_and_photos_are_unique_and_no_row_is_lost(tmp_path_factory, rows):
    folder = touch(tmp_path_factory.mktemp("t"), "0.jpg", "1.jpg", "2.jpg", "3.jpg", "good.jpg")
    lines = ["zero,good.jpg,x", *(f"{id_},{photo}.jpg,{label}" for id_, photo, label in rows)]
    found = read_rows(folder, "id,file_path,family\n" + "\n".join(lines))
    assert found.rows["id"].is_unique
    assert found.rows["path"].is_unique
    assert len(found.rows) + len(found.problems) == len(lines)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_as_a_table_are_read_or_refused(tmp_path_factory, data):
    path = write_table(tmp_path_factory.getbasetemp(), b"file_path,family\n" + data, "any.csv")
    table = read_table(path, ["file_path"])
    assert all(len(row) == 2 for row in table.rows)
    with contextlib.suppress(UserError):
        read_table(write_table(tmp_path_factory.getbasetemp(), data, "any.csv"), ["file_path"])


# ---- saving


def sample(folder: Path) -> Collection:
    found = read_collection(touch(folder / "p", "a/1.jpg", "b/2.jpg", "3.jpg"), None)
    found.rows["key"] = ["k1", "k2", "k3"]
    found.rows["size"] = [1, 2, 3]
    return found


def test_a_saved_collection_comes_back(tmp_path):
    found = sample(tmp_path)
    path = tmp_path / "size=3" / "collection.parquet"  # not a partition
    save_collection(found.rows, found.label, found.root, path)
    again = load_collection(path)
    assert again.rows.equals(found.rows)
    assert (again.label, again.root) == ("family", tmp_path / "p")
    with path.open("rb") as handle:
        assert pd.read_parquet(handle).equals(found.rows)
    assert [entry.name for entry in path.parent.iterdir()] == ["collection.parquet"]
    save_collection(found.rows, None, found.root, path)
    assert load_collection(path).label is None


def not_loaded(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_collection(path)
    return str(caught.value)


def test_collections_that_cannot_be_loaded(tmp_path):
    path = tmp_path / "collection.parquet"
    assert "Run `cli embed PHOTOS` first" in not_loaded(path)
    found = sample(tmp_path)
    save_collection(found.rows, found.label, found.root, path)
    whole = path.read_bytes()
    twice = pd.concat([found.rows, found.rows])
    for damage in (
        lambda: path.write_bytes(whole[: len(whole) // 2]),
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(b"not parquet at all, but long enough"),
        lambda: pq.write_table(pq.read_table(path).replace_schema_metadata({}), path),
        lambda: save_collection(found.rows.drop(columns="key"), None, found.root, path),
        lambda: save_collection(found.rows, "gone", found.root, path),
        lambda: save_collection(twice, None, found.root, path),
    ):
        path.write_bytes(whole)
        load_collection(path)
        damage()
        assert "cannot be read: it is damaged" in not_loaded(path)


def test_a_damaged_byte_anywhere_is_noticed_or_harmless(tmp_path):
    path = tmp_path / "collection.parquet"
    found = sample(tmp_path)
    save_collection(found.rows, found.label, found.root, path)
    whole = path.read_bytes()
    rng = random.Random(0)
    for _ in range(150):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with contextlib.suppress(UserError):
            load_collection(path)


# ---- size and real data


def big_table(folder: Path, n: int) -> Sequence[str]:
    names = [f"f{i % 200}/{i}.jpg" for i in range(n)]
    touch(folder, *names)
    return names


def test_12000_rows_in_a_second(tmp_path):
    names = big_table(tmp_path, 12_000)
    text = "id,a,b,c,family,file_path\n"
    table = write_table(
        tmp_path, text + "".join(f"{i},a,b,c,f{i % 200},{name}\n" for i, name in enumerate(names))
    )
    start = time.process_time()
    found = read_collection(None, table)
    assert time.process_time() - start < 3  # about 0.3 s on a quiet machine
    assert len(found.rows) == 12_000
    upper = write_table(tmp_path, "file_path\n" + "\n".join(name.upper() for name in names))
    start = time.process_time()
    assert "did you mean 'f0/0.jpg'?" in refused(None, upper)
    assert time.process_time() - start < 5


@pytest.mark.skipif(not SHARED, reason="FAMILIA_SHARED is not set")
def test_the_species_photos():
    found = read_collection(Path(str(SHARED)) / "data" / "species", None)
    assert len(found.rows) == 2686
    assert found.label == "family"
    assert found.rows["family"].nunique() == 39
    assert found.problems == []
    assert found.rows["id"].equals(found.rows["rare_species_id"].rename("id"))
