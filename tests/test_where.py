"""`--where` means what a reader of one row after another would say, and never runs anything."""

import ast
import re
import string
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import retrieval
from embed.errors import UserError
from retrieval.where import DEEPEST, LONGEST, compile_where

COLUMNS = ["family", "year", "date", "body mass", "in", "size"]
CELLS = ["felidae", "canidae", "Felidae", "x y", "o'hara", "10", "9", "010", "9.5", "1e1", "-2",
         "2010", "2011", "2010-05", "2010-05-01", "2010-06-02T12:30", "2010-06-02 12:30:45",
         "2010-13-01", "12345678901234567890", "12345678901234567891", "", "ça", "日本",
         None]  # fmt: skip


# ---- the naive reader: one row at a time; True, False, or None where nobody can say


NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
DATE = re.compile(
    r"([0-9]{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01])"
    r"(?:[T ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?)?)?)?"
)


def number(text):
    return float(text) if NUMBER.fullmatch(text) else None


def date(text):
    found = DATE.fullmatch(text)
    return [int(part) for part in found.groups() if part] if found else None


def cell(side, row):
    """(text, is a column, is quoted)."""
    kind, text = side
    return (row[text], True, False) if kind == "column" else (text, False, kind == "text")


def by_date(a, a_column, b, b_column):
    """-1, 0 or 1; None where there are not two dates; "open" where one says too little."""
    if date(a) is None or date(b) is None:
        return None
    x, y = date(a), date(b)
    n = min(len(x), len(y))
    if x[:n] != y[:n]:
        return -1 if x[:n] < y[:n] else 1
    says_less = (len(x) < len(y) and a_column) or (len(y) < len(x) and b_column)
    return "open" if says_less else 0


def naive_equal(left, right, row):
    (a, a_column, a_quoted), (b, b_column, b_quoted) = cell(left, row), cell(right, row)
    if a is None or b is None:
        return None
    if a == b:
        return True
    if not (a_quoted or b_quoted or len(a) > 16 or len(b) > 16):
        x, y = number(a), number(b)
        if x is not None and x == y:
            return True
    answer = by_date(a, a_column, b, b_column)
    return None if answer == "open" else answer == 0


def naive_order(left, sign, right, row):
    (a, a_column, _), (b, b_column, _) = cell(left, row), cell(right, row)
    if a is None or b is None:
        return None
    x, y, dates = number(a), number(b), by_date(a, a_column, b, b_column)
    if x is not None and y is not None:
        pass
    elif dates == "open":
        return None
    elif dates is not None:
        x, y = dates, 0
    elif any(value is not None for value in (x, y, date(a), date(b))):
        return None
    else:
        x, y = a, b
    return {"<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}[sign]


def negated(answer):
    return None if answer is None else not answer


def naive(tree, row):
    kind, *parts = tree
    if kind == "not":
        return negated(naive(parts[0], row))
    if kind in ("and", "or"):
        answers = [naive(part, row) for part in parts]
        strong = kind == "or"
        return strong if strong in answers else None if None in answers else not strong
    if kind == "missing":
        return row[parts[0]] is None
    if kind == "in":
        answers = [naive_equal(("column", parts[0]), value, row) for value in parts[1]]
        return True if True in answers else None if None in answers else False
    if kind in ("contains", "startswith"):
        text, part = row[parts[0]], parts[1][1]
        if text is None:
            return None
        return part in text if kind == "contains" else text.startswith(part)
    if kind == "==":
        return naive_equal(*parts, row)
    if kind == "!=":
        return negated(naive_equal(*parts, row))
    return naive_order(parts[0], kind, parts[1], row)


# ---- the same trees as text


def said(side):
    kind, text = side
    if kind == "column":
        bare = re.fullmatch(r"[a-z]+", text) and text != "in"
        return text if bare else f"`{text}`"
    if kind == "text":
        return "'" + text.replace("'", "''") + "'"
    return text


def written(tree):
    kind, *parts = tree
    if kind == "not":
        return f"not ({written(parts[0])})"
    if kind in ("and", "or"):
        return "(" + f" {kind} ".join(map(written, parts)) + ")"
    if kind == "missing":
        return f"{said(('column', parts[0]))} is missing"
    if kind == "in":
        return f"{said(('column', parts[0]))} in ({', '.join(map(said, parts[1]))})"
    if kind in ("contains", "startswith"):
        return f"{said(('column', parts[0]))} {kind} {said(parts[1])}"
    return f"{said(parts[0])} {kind} {said(parts[1])}"


columns = st.sampled_from(COLUMNS[:-1])
texts = [c for c in CELLS if c is not None]
values = st.sampled_from(
    [("text", c) for c in texts]
    + [("bare", c) for c in texts if NUMBER.fullmatch(c) or (date(c) and "-" in c)]
)
sides = st.one_of(columns.map(lambda c: ("column", c)), values)
comparisons = st.tuples(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), sides, sides).filter(
    lambda t: "column" in (t[1][0], t[2][0])
)
tests = st.one_of(
    comparisons,
    st.tuples(st.just("missing"), columns),
    st.tuples(st.just("in"), columns, st.lists(values, min_size=1, max_size=4)),
    st.tuples(st.sampled_from(["contains", "startswith"]), columns, values),
)
trees = st.recursive(
    tests,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), inner, inner),
        st.tuples(st.sampled_from(["and", "or"]), inner, inner, inner),
    ),
    max_leaves=6,
)
tables = st.lists(
    st.fixed_dictionaries({c: st.sampled_from(CELLS) for c in COLUMNS[:-1]}), max_size=8
)


@settings(deadline=None, max_examples=300)
@given(tree=trees, table=tables)
def test_it_is_the_naive_reader(tree, table):
    rows = pd.DataFrame(table, columns=COLUMNS[:-1], dtype="str")
    where = compile_where(written(tree), COLUMNS[:-1])
    assert where.mask(rows).tolist() == [naive(tree, row) is True for row in table]


@settings(deadline=None, max_examples=100)
@given(tree=trees, table=tables)
def test_a_condition_and_its_opposite_share_no_row_and_both_miss_what_is_unknown(tree, table):
    rows = pd.DataFrame(table, columns=COLUMNS[:-1], dtype="str")
    yes = compile_where(written(tree), COLUMNS[:-1]).mask(rows)
    no = compile_where(f"not {written(('and', tree, tree))}", COLUMNS[:-1]).mask(rows)
    assert not (yes & no).any()
    assert (yes | no).tolist() == [naive(tree, row) is not None for row in table]


# ---- what it means, by hand


ROWS = pd.DataFrame(
    {
        "family": ["felidae", "canidae", None, "ursidae", "o'hara"],
        "year": ["2010", "2012", "unknown", None, "1999"],
        "date": ["2010-05-01", "2010", None, "2011-01-01T12:00:00+02:00", "1999-12-31"],
        "body mass": ["05", "5.0", "7", None, "12"],
        "size": [10, 20, 30, 40, 50],
    }
)


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("family == 'felidae' and year >= 2010", [0]),
        ("family != 'felidae'", [1, 3, 4]),
        ("not family == 'felidae'", [1, 3, 4]),
        ("family is missing", [2]),
        ("family is not missing and family not in ('felidae', \"canidae\")", [3, 4]),
        ("family == 'o''hara' or family == \"o'hara\"", [4]),
        ("family contains 'ni' or family startswith 'urs'", [1, 3]),
        ("family not contains 'idae'", [4]),
        ("year > 2000", [0, 1]),
        ("not year > 2000", [4]),
        ("year != 2010", [1, 2, 4]),
        ("2000 < year", [0, 1]),
        ("date == 2010", [0, 1]),
        ("date == '2010-05'", [0]),
        ("date < 2011", [0, 1, 4]),
        ("date >= 2010-05-01 and date <= '2011-01-01'", [0, 3]),
        ("date > '2011-01-01T11:59'", [3]),
        ("`body mass` == 5", [0, 1]),
        ("`body mass` == '5.0'", [1]),
        ("`body mass` > '6'", [2, 4]),
        ("`body mass` in (5, 7)", [0, 1, 2]),
        ("size > 25 and size < 45", [2, 3]),
        ("size == 20", [1]),
        ("date != year", [1]),
        ("year is missing or family == 'felidae' and size > 10", [3]),
        ("(year is missing or family == 'felidae') and size < 20", [0]),
        ("FAMILY == 'felidae' AND NOT Year IS MISSING", [0]),
    ],
)
def test_what_it_means(text, matching):
    assert np.flatnonzero(compile_where(text, list(ROWS.columns)).mask(ROWS)).tolist() == matching


def test_columns_of_other_kinds_are_read_as_text():
    rows = pd.DataFrame(
        {
            "n": [1.0, np.nan, 3.5],
            "kind": pd.Categorical(["a", "b", None]),
            "mixed": [1, "b", None],
            "none": [None, None, None],
        }
    )
    for text, matching in {
        "n > 0": [0, 2],
        "n is missing": [1],
        "kind == 'b'": [1],
        "mixed == 1 or mixed == 'b'": [0, 1],
        "none is missing": [0, 1, 2],
        "none == 'x' or not none == 'x'": [],
    }.items():
        mask = compile_where(text, list(rows.columns)).mask(rows)
        assert np.flatnonzero(mask).tolist() == matching, text


def test_it_says_which_columns_it_needs():
    where = compile_where("year > 1 and `body mass` == 'x' and year < 3", list(ROWS.columns))
    assert where.columns == ("year", "body mass")
    assert where.equals == (("body mass", "x"),)


# ---- mistakes


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("famly == 'x'", 0, ["no column 'famly'", "Did you mean 'family'?"]),
        ("family == felidae", 10, ["no column 'felidae'", "in quotes: 'felidae'"]),
        ("family = 'x'", 7, ["Write =="]),
        ("year <> 3", 5, ["Write !="]),
        ("year > 3 & size > 4", 9, ["Write 'and'"]),
        ("family == 'felidae", 10, ["never closed"]),
        ("(year > 3", 9, ["')'", "got the end"]),
        ("year > 3)", 8, ["the end", "')'"]),
        ("year > ", 7, ["a column or a value", "got the end"]),
        ("", 0, ["got the end"]),
        ("'family' == 'x'", 0, ["no column", "without quotes"]),
        ("year is 5", 8, ["'missing'", "=="]),
        ("1 < year < 5", 9, ["'and'", "One comparison"]),
        ("family in 'x'", 10, ["'('", "list"]),
        ("family in (x)", 11, ["in quotes: 'x'"]),
        ("family contains year", 16, ["text in quotes"]),
        ("family == “x”", 10, ["straight quotes"]),
        ("body mass > 3", 0, ["no column 'body'"]),
        ("family == 'x' year > 3", 14, ["'and', 'or'", "'year'"]),
        ("year > 3x", 7, ["unexpected"]),
        ("__import__('os').system('true')", 16, ["unexpected"]),
    ],
)
def test_a_mistake_is_pointed_at(text, at, words):
    with pytest.raises(UserError) as caught:
        compile_where(text, list(ROWS.columns))
    why, shown, caret, *_ = str(caught.value).split("\n")
    assert shown == "  " + text
    assert caret == " " * (at + 2) + "^"
    for word in words:
        assert word in why


def test_the_caret_stands_below_its_place_in_a_long_text():
    text = "year > 1 and " * 30 + "famly == 'x'" + " and year > 1" * 30
    with pytest.raises(UserError) as caught:
        compile_where(text, ["year", "family"])
    _, shown, caret, *_ = str(caught.value).split("\n")
    assert len(shown) < 130
    assert shown[caret.index("^") :].startswith("famly")


def test_depth_and_length_are_bounded():
    deep = "(" * DEEPEST + "year > 1" + ")" * DEEPEST
    assert compile_where(deep, ["year"]).mask(ROWS).sum() == 3
    for text in (f"({deep})", "not " * 20_000, "(" * 90_000):
        with pytest.raises(UserError, match="deep at most"):
            compile_where(text, ["year"])
    with pytest.raises(UserError, match="characters"):
        compile_where(" " * LONGEST + "year > 1", ["year"])
    many = " or ".join(["year == 1999"] * 1000)
    assert compile_where(many, ["year"]).mask(ROWS).sum() == 1


PIECES = [
    *"()'\"`,=<>!&|~.-:;@[]{}\\\n\t\0 ",
    *("==", "!=", "and", "or", "not", "in", "is", "missing", "contains", "startswith"),
    *("family", "`body mass`", "year", "'x'", "2010", "2010-05", "1e5", "9" * 400, "1e99", "0x1f"),
    *("é", "日", "\ud800", "\u0301", "…", "lambda", "__class__", "eval(", "os.system('true')"),
]


@settings(deadline=None, max_examples=400)
@given(text=st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map(" ".join),
                      st.lists(st.sampled_from(PIECES)).map("".join),
                      st.text(string.printable)))  # fmt: skip
@example(text="family == '\ud800'")
@example(text="year == 1e99 or year == " + "9" * 400)
def test_any_text_is_a_condition_or_a_users_mistake(text):
    try:
        where = compile_where(text, list(ROWS.columns))
    except UserError as error:
        str(error).encode()  # can be printed
    else:
        assert where.mask(ROWS).shape == (len(ROWS),)


@pytest.mark.parametrize("name", ["where", "where_tokens", "cells"])
def test_nothing_there_can_run_a_text(name):
    """Neither Python's evaluation nor pandas' is called, and no attribute is found by its name."""
    tree = ast.parse((Path(retrieval.__file__).parent / f"{name}.py").read_text())
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {f.id if isinstance(f, ast.Name) else getattr(f, "attr", "") for f in calls}
    assert not called & {"eval", "exec", "__import__", "getattr", "query", "system", "run"}


@pytest.mark.parametrize(
    "text",
    [
        "__import__('pathlib').Path('ran').touch()",
        "family == open('ran', 'w')",
        "family == 'x' or open('ran', 'w')",
        "`@open('ran', 'w')` == 1",
        "@pd.compat.os.system('touch ran') == 1",
        'family == f\'{open("ran", "w")}\'',
    ],
)
def test_code_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        compile_where(text, list(ROWS.columns))
    assert not list(tmp_path.iterdir())
