"""Hits as text: nothing is lost for scripts, nothing acts on a terminal or a spreadsheet."""

import csv
import io
import json
import os
import subprocess

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.errors import UserError
from retrieval.hit_forms import FORMS, harmless, percent, rows_of, show_hits, write_out

BYTES = os.fsdecode(b"/p/caf\xe9.jpg")  # a name in Latin-1: no UTF-8
NASTY = "a\x1b]0;title\x07\x9b2J\r\n\u202eb\u2028"
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=())).map(
    lambda name: "/" + os.fsdecode(name.encode("utf-8", "replace"))
) | st.binary(min_size=1).map(lambda data: os.fsdecode(b"/" + data.replace(b"\0", b"")))


def make_hits(paths, query=None, **columns):
    n = len(paths)
    return pd.DataFrame(
        {
            "query": query or ["q"] * n,
            "rank": np.arange(1, n + 1),
            "id": [f"id{i}" for i in range(n)],
            "similarity": np.linspace(1, 0.5, n, dtype=np.float32),
            "file_path": pd.Series([path.lstrip("/") for path in paths], dtype=object),
            "path": pd.Series(paths, dtype=object),
            "same_photo": [i == 0 for i in range(n)],
            "key": "0" * 64,
            "size": 1,
            "mtime_ns": 2,
            **columns,
        }
    )


def written(text, encoding="utf-8"):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    write_out(text, out)
    return out.buffer.getvalue()


@pytest.fixture
def hits():
    return make_hits(
        ["/p/a.jpg", "/p/日本.jpg", BYTES],
        family=pd.array(["felidae", None, "canidae"], dtype="str"),
        percentile=[100.0, 99.996, np.nan],
    )


def test_the_table_lines_up_and_says_what_is_known(hits):
    assert show_hits(hits, label="family").split("\n") == [
        "rank  cosine  percentile  family   id   path",
        "1     1.000   100.00      felidae  id0  /p/a.jpg",
        "2     0.750   99.99                id1  /p/日本.jpg",
        "3     0.500               canidae  id2  /p/caf\\xe9.jpg",
        "",
    ]
    bare = show_hits(hits.drop(columns="percentile"))
    assert bare.splitlines()[:2] == [
        "rank  cosine  id   path",
        "1     1.000   id0  /p/a.jpg",
    ]


def test_wide_characters_take_two_columns():
    hits = make_hits(["/1", "/2"], family=["日本", "abc"])
    assert show_hits(hits, label="family").splitlines() == [
        "rank  cosine  family  id   path",
        "1     1.000   日本    id0  /1",
        "2     0.500   abc     id1  /2",
    ]


def test_json_is_what_scripts_know(hits):
    found = json.loads(show_hits(hits, "json"))
    assert found[1] == {
        "rank": 2,
        "id": "id1",
        "similarity": 0.75,
        "file_path": "p/日本.jpg",
        "path": "/p/日本.jpg",
        "same_photo": False,
        "family": None,
        "percentile": 99.996,
    }
    assert found[2]["percentile"] is None
    assert list(found[0])[:6] == ["rank", "id", "similarity", "file_path", "path", "same_photo"]
    assert [json.loads(line) for line in show_hits(hits, "jsonl").splitlines()] == found
    shown = rows_of(hits)[1]
    assert [{name: hit[name] for name in found[0]} for hit in shown] == found


def test_csv_has_every_column(hits):
    header, *rows = csv.reader(io.StringIO(show_hits(hits, "csv")))
    assert header == [
        name for name in rows_of(hits)[0] if name not in ("query", "key", "size", "mtime_ns")
    ]
    assert rows[0][:3] == ["1", "id0", "1.0"]
    assert rows[1] == ["2", "id1", "0.75", "p/日本.jpg", "/p/日本.jpg", "False", "", "99.996"]
    assert rows[2][-2:] == ["canidae", ""]


def test_an_arrow_table_is_shown_as_a_data_frame(hits):
    import pyarrow as pa

    hits = hits.head(2).astype({"path": "str", "file_path": "str"})
    hits["folded"] = [0, 3]
    table = pa.Table.from_pandas(hits, preserve_index=False)
    for form in FORMS:
        assert show_hits(table, form, "family") == show_hits(hits, form, "family")
    assert [line.split()[3] for line in show_hits(table).splitlines()] == ["folded", "id0", "+3"]
    assert show_hits(table.slice(0, 0), "csv") == show_hits(hits.head(0), "csv")


def test_the_query_is_named_where_there_are_several(hits):
    two = make_hits(["/a", "/b"], query=["x\x1b", "y"])
    assert show_hits(two).splitlines()[1].split() == ["x\\x1b", "1", "1.000", "id0", "/a"]
    assert [json.loads(line)["query"] for line in show_hits(two, "jsonl").splitlines()] == [
        "x\x1b", "y",
    ]  # fmt: skip
    assert show_hits(two, "csv").startswith("query,rank,")
    assert "query" not in show_hits(two, "csv", several=False).splitlines()[0]
    assert show_hits(hits, "csv", several=True).splitlines()[1].startswith("q,1,")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=cmd()", "'=cmd()"),
        ("+1+2", "'+1+2"),
        ("-x", "'-x"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"),
        ("＝1", "'＝1"),
        ("-12.5", "-12.5"),
        ("+3e-5", "+3e-5"),
        ("-1+1", "'-1+1"),
        ("-1\n", "'-1\n"),
        ("a=b", "a=b"),
    ],
)
def test_no_formula_reaches_a_spreadsheet(value, shown):
    hits = make_hits(["/a"], **{"note": [value], "=HEADER()": ["x"]})
    header, row = csv.reader(io.StringIO(show_hits(hits, "csv")))
    assert header[-1] == "'=HEADER()"
    assert row[-2] == shown
    assert json.loads(show_hits(hits, "json"))[0]["note"] == value


def test_bytes_that_are_no_utf8_survive_in_paths(tmp_path):
    name = os.fsencode(tmp_path) + b"/caf\xe9 \n.txt"
    try:
        with open(name, "wb") as handle:  # noqa: PTH123 - a Path is no better with such a name
            handle.write(b"right")
    except OSError:
        pytest.skip("this file system has no such names")
    hits = make_hits([os.fsdecode(name)] * 2)
    assert written(show_hits(hits, "paths")) == (name + b"\n") * 2
    data = written(show_hits(hits, "paths", null=True))
    assert data == (name + b"\0") * 2
    done = subprocess.run(["xargs", "-0", "cat"], input=data, capture_output=True, check=True)
    assert done.stdout == b"rightright"
    rows = list(csv.DictReader(io.StringIO(show_hits(hits, "csv"), newline="")))
    assert os.fsencode(rows[0]["path"]) == name
    # JSON stays valid UTF-8, and Python's reader gives the name back
    found = json.loads(written(show_hits(hits, "json")).decode("utf-8"))
    assert os.fsencode(found[0]["path"]) == name


@settings(deadline=None, max_examples=60)
@given(st.lists(NAMES, min_size=1, max_size=4))
def test_any_name_comes_back(names):
    hits = make_hits(names)
    assert written(show_hits(hits, "paths", null=True)).split(b"\0")[:-1] == [
        os.fsencode(name) for name in names
    ]
    for text in (show_hits(hits, "json"), show_hits(hits, "json", screen=True)):
        assert [hit["path"] for hit in json.loads(text)] == names
        assert text.encode("utf-8")
    lines = show_hits(hits, "jsonl").splitlines()
    assert [json.loads(line)["path"] for line in lines] == names
    rows = csv.reader(io.StringIO(show_hits(hits, "csv"), newline=""))
    assert [row[4] for row in rows][1:] == names
    for form in FORMS:
        shown = show_hits(hits, form, screen=True)
        assert all(line.isprintable() for line in shown.split("\n"))
    assert len(show_hits(hits).split("\n")) == len(names) + 2


def test_no_name_acts_on_a_terminal():
    hits = make_hits([NASTY], family=[NASTY])
    for form in FORMS:
        shown = show_hits(hits, form, "family", screen=True)
        assert not set(shown) & set("\x1b\x07\x9b\r\u202e\u2028") or form in ("json", "jsonl")
    assert "\x1b" not in show_hits(hits, "jsonl")
    assert harmless(NASTY) == "a\\x1b]0;title\\x07\\x9b2J\\r\\n\\u202eb\\u2028"
    assert harmless("a\xa0日本 é") == "a 日本 é"


def test_ids_and_nothing_at_all(hits):
    assert show_hits(hits, "ids") == "id0\nid1\nid2\n"
    assert show_hits(hits, "ids", null=True) == "id0\0id1\0id2\0"
    none = hits.head(0)
    assert [show_hits(none, form) for form in ("table", "jsonl", "paths", "ids")] == [""] * 4
    assert json.loads(show_hits(none, "json")) == []
    assert len(show_hits(none, "csv").splitlines()) == 1


def test_what_a_terminal_cannot_spell_is_spelled_out():
    assert written("é日", "latin-1") == b"\xe9\\u65e5"
    assert written(BYTES, "latin-1").endswith(b"caf\xe9.jpg")


def test_mistakes_say_what_to_do(hits):
    with pytest.raises(UserError, match=r"'jsno' is no form.*Did you mean 'json'"):
        show_hits(hits, "jsno")
    with pytest.raises(UserError, match="--format paths"):
        show_hits(hits, "csv", null=True)


@given(st.floats(0, 100))
def test_a_percentile_is_never_rounded_up(value):
    shown = float(percent(value))
    assert shown <= value + 1e-6
    assert value - shown < 0.01 + 1e-6
    assert (shown == 100) == (value > 99.9999999)
