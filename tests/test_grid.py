"""The grid of a sweep: which cells it makes, and where it says that something is wrong."""

import itertools
import json
import re
import tempfile
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Result
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.cell import Cell, CellResult
from classify.cell_data import data_key, training_data
from classify.cell_store import cell_id
from classify.fit import MEMBERS
from classify.grid import Grid, read_grid
from classify.grid_example import example_grid, write_example
from classify.grid_ranges import expand
from classify.grid_toml import read_tables
from classify.sweep_estimate import (
    Estimate,
    built_in_seconds,
    class_sizes,
    dry_run,
    estimate,
)
from embed.errors import UserError
from embed.files import write_json
from embed.workspace import Workspace

USUAL = Cell(("pixels",), "logreg")


def grid_of(folder: Path, text: str, one_factor: str | None = None, **others: str) -> Grid:
    """The grid of `text` in grid.toml, with other files beside it."""
    for name, content in {"grid": text, **others}.items():
        (folder / f"{name}.toml").write_text(content, encoding="utf-8")
    return read_grid(folder / "grid.toml", USUAL, one_factor)


def refused(folder: Path, text: str, one_factor: str | None = None, **others: str) -> str:
    with pytest.raises(UserError) as error:
        grid_of(folder, text, one_factor, **others)
    return str(error.value).replace(f"{folder}/", "")


def described(grid: Grid) -> list[str]:
    return [cell.describe().removeprefix("pixels, ") for cell in grid.cells]


# --- products


def test_without_any_key_the_heads_of_fit_and_their_stack_compete(tmp_path: Path) -> None:
    usual = replace(USUAL, split="by-place", encoders=("a", "b"))
    (tmp_path / "grid.toml").write_text("# nothing")
    cells = read_grid(tmp_path / "grid.toml", usual).cells
    assert cells == [replace(usual, head=head) for head in (*MEMBERS, "stack")]


def test_every_axis_reaches_the_cell(tmp_path: Path) -> None:
    text = """
    encoders = [["pixels", "efficientnet-lite0"]]
    heads = "lda"
    balance = "smote"
    photos = "25%"
    pca = 16
    precision = "float16"
    splits = "by-place"
    seeds = 3
    folds = 4
    columns = [["month", "place:category"]]
    """
    expected = Cell(
        ("pixels", "efficientnet-lite0"), "lda", "smote", 0.25, "by-place", 3, 4, "float16",
        ("month", "place:category"), (("pca", 16),),
    )  # fmt: skip
    assert grid_of(tmp_path, text).cells == [expected]


def test_the_cells_are_the_product_each_once(tmp_path: Path) -> None:
    text = """
    heads = ["knn", "lda", "knn"]
    photos = [5, {from = 10, to = 20, step = 10}, "25%", "100%", "all"]
    columns = ["none", [], ["month"], "month"]
    seeds = {from = 0, to = 2}
    """
    grid = grid_of(tmp_path, text)
    found = [(cell.head, cell.photos, cell.columns, cell.seed) for cell in grid.cells]
    axes = (("knn", "lda"), (5, 10, 20, 0.25, None), ((), ("month",)), (0, 1, 2))
    assert found == list(itertools.product(*axes))
    assert grid.notes == []


def test_a_parameter_varies_for_its_own_head_alone(tmp_path: Path) -> None:
    text = """
    heads = ["knn", "centroid"]
    knn.k = ["auto", 1, 5]
    [logreg]
    C = [1, 10]
    """
    grid = grid_of(tmp_path, text)
    assert described(grid) == ["knn, seed 0", "knn, k 1, seed 0", "knn, k 5, seed 0",
                               "centroid, seed 0"]  # fmt: skip
    assert grid.notes == ["'logreg.C' has no effect: no cell is of logreg"]


def test_a_stack_takes_the_parameters_of_its_heads(tmp_path: Path) -> None:
    cells = grid_of(tmp_path, 'heads = "stack"\nknn.k = [1, 5]\nlogreg.C = 1').cells
    assert [cell.options for cell in cells] == [
        (("knn.k", 1), ("logreg.C", 1.0)),
        (("knn.k", 5), ("logreg.C", 1.0)),
    ]
    of_knn = {member.options for cell in cells for member in cell.members if member.head == "knn"}
    assert of_knn == {(("k", 1),), (("k", 5),)}


def test_a_default_is_the_cell_that_does_not_mention_it(tmp_path: Path) -> None:
    text = 'heads = ["logreg", "knn"]\nlogreg.loss = ["auto", "cross-entropy", "focal"]\n'
    cells = grid_of(tmp_path, text + 'pca = ["none", 8]\nlogreg.C = 2').cells
    assert {cell.options for cell in cells if cell.head == "knn"} == {(), (("pca", 8),)}
    losses = {dict(cell.options).get("loss") for cell in cells if cell.head == "logreg"}
    assert losses == {None, "focal"}
    numbers = [dict(cell.options)["C"] for cell in cells if cell.head == "logreg"]
    assert {json.dumps(number) for number in numbers} == {"2.0"}  # as 2.0 makes it


def test_what_means_nothing_is_left_out_with_a_note(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, 'heads = ["centroid", "lda", "zeroshot"]\nbalance = ["none", "smote"]')
    found = [(cell.head, cell.balance) for cell in grid.cells]
    assert found == [("centroid", "none"), ("lda", "none"), ("lda", "smote"), ("zeroshot", "none")]
    assert grid.notes == [
        "smote means nothing to centroid: these cells are left out",
        "smote means nothing to zeroshot: these cells are left out",
    ]
    with_pca = grid_of(tmp_path, 'heads = ["lda", "tip"]\npca = [4]')
    assert [cell.head for cell in with_pca.cells] == ["lda"]
    assert with_pca.notes == ["pca means nothing to tip: these cells are left out"]


# --- several products, zip, exclude


def test_several_grids_share_what_stands_above(tmp_path: Path) -> None:
    text = """
    seeds = [0, 1]
    balance = "weights"
    [[grid]]
    heads = "knn"
    knn.k = [1, 3]
    [grid.lda]
    pca = 4
    [[grid]]
    heads = ["knn", "lda"]
    balance = "none"
    seeds = 7
    [[grid]]
    heads = "knn"
    knn.k = 1
    seeds = 1
    """
    assert described(grid_of(tmp_path, text)) == [
        "knn, weights, k 1, seed 0", "knn, weights, k 3, seed 0",
        "knn, weights, k 1, seed 1", "knn, weights, k 3, seed 1",
        "knn, seed 7", "lda, seed 7",
    ]  # fmt: skip


def test_zipped_axes_are_walked_together(tmp_path: Path) -> None:
    text = """
    heads = ["knn", "lda"]
    [[zip]]
    photos = [5, 5, "all"]
    folds = [3, 2, 5]
    [[zip]]
    balance = ["none", "smote"]
    seeds = [1, 2]
    """
    cells = grid_of(tmp_path, text).cells
    found = {(cell.photos, cell.folds, cell.balance, cell.seed) for cell in cells}
    first, second = ((5, 3), (5, 2), (None, 5)), (("none", 1), ("smote", 2))
    assert found == {a + b for a in first for b in second}
    assert len(cells) == 2 * len(found)


def test_a_zip_of_heads_with_a_parameter(tmp_path: Path) -> None:
    text = '[[zip]]\nheads = ["knn", "knn", "lda"]\nknn.k = [1, 2, 3]\n'
    assert described(grid_of(tmp_path, text)) == [
        "knn, k 1, seed 0", "knn, k 2, seed 0", "lda, seed 0",
    ]  # fmt: skip


def test_an_exclude_drops_what_meets_all_its_conditions(tmp_path: Path) -> None:
    axes = 'heads = ["knn", "lda"]\nknn.k = ["auto", 1, 2]\nphotos = [5, 10, "all"]\n'
    grid = grid_of(tmp_path, axes + '[[exclude]]\nknn.k = ["auto", 2]\nphotos = [5, "all"]')
    found = {(cell.head, dict(cell.options).get("k"), cell.photos) for cell in grid.cells}
    every = {*itertools.product(["knn"], [None, 1, 2], [5, 10, None])}
    every |= {*itertools.product(["lda"], [None], [5, 10, None])}
    dropped = {*itertools.product(["knn"], [None, 2], [5, None])}
    assert found == every - dropped
    assert grid.notes == []


def test_an_exclude_without_effect_is_noted(tmp_path: Path) -> None:
    text = 'heads = "knn"\nphotos = [5, 10]\n[[exclude]]\nphotos = 7\n[[exclude]]\nphotos = 5\n'
    grid = grid_of(tmp_path, text)
    assert [cell.photos for cell in grid.cells] == [10]
    assert grid.notes == [f"{tmp_path / 'grid.toml'}:3: this [[exclude]] drops no cell"]


def test_an_exclude_within_a_grid_is_for_it_alone(tmp_path: Path) -> None:
    text = """
    heads = ["knn", "lda"]
    [[grid]]
    seeds = 1
    [[grid.exclude]]
    head = "knn"
    [[grid]]
    seeds = 2
    """
    assert described(grid_of(tmp_path, text)) == ["lda, seed 1", "knn, seed 2", "lda, seed 2"]


AXES: dict[str, list[Any]] = {
    "heads": ["knn", "lda", "logreg", "lgbm-columns"],
    "balance": ["none", "weights", "smote"],
    "photos": [1, 5, 10, "50%", "all"],
    "seeds": [0, 1, 2],
    "precision": ["stored", "float16"],
    "folds": [2, 3],
}


@given(st.fixed_dictionaries({
    axis: st.lists(st.sampled_from(values), min_size=1, max_size=4) for axis, values in AXES.items()
}))  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_any_product_has_as_many_cells_as_its_axes_say(axes: dict[str, list[Any]]) -> None:
    text = "\n".join(f"{axis} = {json.dumps(values)}" for axis, values in axes.items())
    with tempfile.TemporaryDirectory() as folder:
        cells = grid_of(Path(folder), text).cells
        base = grid_of(Path(folder), text, "first").cells
    assert len(cells) == np.prod([len(set(values)) for values in axes.values()])
    assert len(set(cells)) == len(cells)
    assert set(base) <= set(cells)
    steps = sum(len(set(values)) - 1 for axis, values in axes.items() if axis != "seeds")
    assert len(base) == (1 + steps) * len(set(axes["seeds"]))


# --- ranges


@pytest.mark.parametrize(
    ("text", "whole", "values"),
    [
        ({"from": 1, "to": 4}, True, [1, 2, 3, 4]),
        ({"from": 1, "to": 10, "step": 4}, True, [1, 5, 9]),
        ({"from": 0.1, "to": 0.7, "step": 0.2}, False, [0.1, 0.3, 0.5, 0.7]),
        ({"from": 0.01, "to": 100, "log": 5}, False, [0.01, 0.1, 1.0, 10.0, 100.0]),
        ({"from": 1, "to": 10, "log": 3}, False, [1.0, 3.2, 10.0]),
        ({"from": 1, "to": 100, "log": 5}, True, [1, 3, 10, 32, 100]),
        ({"from": 1, "to": 3, "log": 9}, True, [1, 2, 3]),
        ({"from": 0, "to": 1, "count": 4}, False, [0.0, 0.33, 0.67, 1.0]),
        ({"from": 1.0, "to": 1.004, "count": 3}, False, [1.0, 1.002, 1.004]),
    ],
)
def test_ranges(text: dict[str, Any], whole: bool, values: list[float]) -> None:
    found = expand(text, whole)
    assert found == values
    assert {type(value) for value in found} == {int if whole else float}


@given(
    st.floats(1e-3, 1e3),
    st.floats(1.01, 1e4),
    st.integers(2, 60),
    st.sampled_from(["log", "count"]),
)
def test_a_range_rises_from_end_to_end(start: float, times: float, n: int, way: str) -> None:
    values = expand({"from": start, "to": start * times, way: n}, whole=False)
    assert (values[0], values[-1], len(values)) == (start, start * times, n)
    assert np.all(np.diff(values) > 0)


# --- includes


def test_the_including_file_wins_and_tables_are_added(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "deep.toml").write_text('head = "knn"\nseeds = [4, 5]\nfolds = 3')
    base = 'include = "deep.toml"\nseeds = 4\nknn.k = [1, 2]\n[[exclude]]\nknn.k = 2'
    (tmp_path / "base" / "base.toml").write_text(base)
    text = 'include = ["base/base.toml"]\nknn.k = [1, 2, 3]\n[[exclude]]\nknn.k = 3'
    cells = grid_of(tmp_path, text).cells
    assert cells == [replace(USUAL, head="knn", seed=4, folds=3, options=(("k", 1),))]


def test_errors_name_the_included_file_and_its_line(tmp_path: Path) -> None:
    other = "# a comment\n\nseeds = [0,\n  -1]\n"
    assert refused(tmp_path, 'include = "other.toml"', other=other).startswith("other.toml:4: ")
    broken = refused(tmp_path, '\ninclude = "other.toml"', other="a = 1\nb = [\n")
    assert broken.startswith("other.toml:3: this is no valid TOML")


def test_includes_that_go_round_or_too_deep_are_refused(tmp_path: Path) -> None:
    around = refused(tmp_path, 'include = "a.toml"', a='\ninclude = "grid.toml"')
    assert around.startswith("a.toml:2: grid.toml includes itself")
    chain = {f"f{i}": f'include = "f{i + 1}.toml"' for i in range(12)}
    assert "more than 10 files" in refused(tmp_path, 'include = "f0.toml"', **chain)
    # twice the same file is no circle
    twice = {"a": 'include = "c.toml"', "b": 'include = "c.toml"', "c": "seeds = 2"}
    grid = grid_of(tmp_path, 'include = ["a.toml", "b.toml"]\nheads = "knn"', **twice)
    assert described(grid) == ["knn, seed 2"]


# --- errors


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ('\nhedas = "knn"', 2, "unknown key 'hedas'. Did you mean 'heads'?"),
        ('heads = [\n  "knn", # "]"\n  "kmn",\n]', 3, "Did you mean 'knn'?"),
        ("fractions = [0.25, 1.0]", 1, 'photos = ["25%", "100%"]'),
        ("photos = [5, 0.25]", 1, 'did you mean "25%"?'),
        ("photos = [0]", 1, "not 0"),
        ("photos = [true]", 1, "not True"),
        ("photos = []", 1, "'photos' is empty"),
        ('photos = ["150%"]', 1, "150%"),
        ("seeds = [1.5]", 1, "whole numbers of 0 or more"),
        ("folds = 1", 1, "whole numbers of 2 or more"),
        ('precision = "float8"', 1, "Did you mean 'float16'?"),
        ('balance = "smot"', 1, "Did you mean 'smote'?"),
        ('encoders = ["pixels@both,full"]', 1, "choose one"),
        ("encoders = [[]]", 1, "one or more"),
        ('splits = [["a"]]', 1, "names in quotes"),
        ("pca = [0]", 1, "1 or more"),
        ("columns = [[3]]", 1, "names in quotes, not 3"),
        ("[knn]\nkk = 3", 2, "'kk' is no parameter of knn. Did you mean 'k'?"),
        ("[knn]\nphotos = 3", 2, "Move it up"),
        ("knn.k = [1,\n 0]", 2, "k must be 1 or more"),
        ("knn.k = 2.5", 1, "whole numbers"),
        ('logreg.C = "1"', 1, "numbers"),
        ("logreg.C = nan", 1, "numbers"),
        ("logreg.balance = 1", 1, "Move it up"),
        ("tip.class_names = 1", 1, "no parameter"),
        ("knn = 5", 1, "'knn' is a head"),
        ("stack.k = 5", 1, "a stack has no parameters"),
        ("pca = 3\nknn.pca = 4", 2, "Give one of the two"),
        ('head = "knn"\nheads = "lda"', 2, "has values in line 1 already"),
        ('heads = "centroid"\nbalance = "smote"', None, "no cell is left (smote means nothing"),
        ('heads = "knn"\n[[exclude]]\nheads = "knn"', None, "no cell is left (everything is"),
        ("k = 3", 1, "'k' is a parameter of a head: write knn.k."),
        ("seeds = {from = 0, to = 99999}", 1, "at most 10,000 values"),
        ("seeds = {from = 3, to = 0}", 1, "goes up"),
        ("seeds = {from = 0, to = 9, log = 3}", 1, "begins above 0"),
        ("seeds = {from = 0, to = 9, setp = 3}", 1, "a range is"),
        ("seeds = {from = 0, to = 9, step = 0}", 1, "'step' of a range is above 0"),
        ("logreg.C = {from = 1, to = 9}", 1, "a range is"),
        ("heads = {from = 1, to = 9}", 1, "ranges are for numbers"),
        ("[zip]\nseeds = 1", 1, "[[zip]]"),
        ("[[zip]]\nseeds = [1, 2]\nfolds = [2, 3, 4]", 3, "'seeds' has 2 and 'folds' 3"),
        ("[[zip]]\nseeds = [1, 2]", 1, "two axes or more"),
        ("folds = 3\n[[zip]]\nseeds = [1, 2]\nfolds = [2, 3]", 4, "has values in grid.toml:1"),
        ("[[exclude]]", 1, "says nothing"),
        ("[[exclude]]\nphoto = 3", 2, "Did you mean 'photos'?"),
        ("[[zip]]\n[[zip.grid]]", 2, "no [[grid]] can stand"),
        ("[[grid]]\ninclude = 3", 2, "unknown key 'include'"),
        ("heds = 1\n[[grid]]\nseeds = 1", 1, "unknown key 'heds'"),
        ("seeds = -1\n[[grid]]\nseeds = 1", 1, "not -1"),
        ("include = 3", 1, "names of files"),
        ('\ninclude = ["grids.toml"]', 2, "Did you mean 'grid.toml'?"),
        ("a = 1\na = 2", 2, "no valid TOML"),
        ("a = " + 5000 * "[", None, "no valid TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, text: str, place: int | None, said: str
) -> None:
    message = refused(tmp_path, text)
    assert said in message
    assert message.startswith(f"grid.toml:{place}: " if place else "grid.toml:")


def test_too_many_cells_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classify.grid.MOST_CELLS", 50)
    text = 'heads = "knn"\nseeds = {from = 1, to = 10}\nfolds = {from = 2, to = '
    assert len(grid_of(tmp_path, text + "6}").cells) == 50
    assert "more than 50 cells, or" in refused(tmp_path, text + "7}")
    monkeypatch.setattr("classify.grid.MOST_POINTS", 50)
    excluded = "7}\n[[exclude]]\nseeds = {from = 1, to = 9}"
    assert "or 50 before" in refused(tmp_path, text + excluded)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cli sweep --init"):
        read_grid(tmp_path / "none.toml", USUAL)
    (tmp_path / "grid.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        read_grid(tmp_path / "grid.toml", USUAL)


def test_a_mark_at_the_beginning_and_windows_lines_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_bytes(
        '\ufeffheads = "knn"\r\nseeds = [\r\n1,\r\n2]\r\n'.encode()
    )
    grid = read_grid(tmp_path / "grid.toml", USUAL)
    assert [cell.seed for cell in grid.cells] == [1, 2]
    assert [grid.place("seeds", seed)[-2:] for seed in (1, 2, 3)] == [":3", ":4", "ml"]


# --- lines

_EVIL = st.text("=[]{}#,'\"\\ \n.kx1é", max_size=12)
_SCALARS = st.one_of(
    _EVIL.map(lambda text: json.dumps(text, ensure_ascii=False)),
    _EVIL.map(lambda text: "'" + text.replace("'", "").replace("\n", "") + "'"),
    _EVIL.map(lambda text: '"""' + text.replace('"', "").replace("\\", "") + '"""'),
    _EVIL.map(lambda text: "'''\n" + text.replace("'", "") + "'''"),
    st.sampled_from(["1", "2.5", "true", "2024-01-01", "{a = ']', b = {c = 1}}"]),
)
_GAPS = st.lists(
    st.one_of(st.just(""), _EVIL.map(lambda text: "#" + text.replace("\n", ""))), max_size=3
)


@st.composite
def _arrays(draw: st.DrawFn) -> str:
    parts = []
    for value in draw(st.lists(st.one_of(_SCALARS, _SCALARS.map("[{}]".format)), max_size=3)):
        parts += [*draw(_GAPS), value + ","]
    return "\n".join(["[", *parts, *draw(_GAPS), "]"])


@st.composite
def _documents(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """A TOML document, and the lines of its keys as `name` or `exclude 0 name`."""
    pieces: list[str] = []
    lines: dict[str, int] = {}
    table, tables = "", 0
    for i in range(draw(st.integers(1, 6))):
        pieces += draw(_GAPS)
        if draw(st.integers(0, 4)) == 0:
            pieces.append(draw(st.sampled_from(["[[exclude]]", "  [[ exclude ]]  # ]"])))
            table, tables = f"exclude {tables} ", tables + 1
        lines[f"{table}key{i}"] = sum(piece.count("\n") + 1 for piece in pieces) + 1
        pieces.append(f"key{i} = {draw(st.one_of(_SCALARS, _arrays()))}")
    return "\n".join(pieces), lines


@given(_documents())
@settings(max_examples=80, deadline=None)
def test_no_string_comment_or_bracket_fools_the_lines(document: tuple[str, dict[str, int]]) -> None:
    text, lines = document
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.toml"
        path.write_text(text, encoding="utf-8", newline="")
        top = read_tables(path)
    found = {key: one.statement.line for key, one in top.settings.items()}
    for i, table in enumerate(top.exclude):
        found |= {f"exclude {i} {key}": one.statement.line for key, one in table.settings.items()}
    assert found == lines


# --- one factor at a time

GRID = """
heads = ["knn", "lda", "centroid"]
balance = ["none", "smote"]
photos = [5, "all"]
seeds = [0, 1]
knn.k = [1, 5]
lda.pca = ["none", 4]
"""


def test_one_factor_goes_one_step_from_the_base(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, GRID, "head=lda,photos=all")
    of_seed_0 = [name for name in described(grid) if name.endswith("seed 0")]
    assert of_seed_0 == [
        "lda, seed 0", "knn, k 1, seed 0", "centroid, seed 0", "lda, smote, seed 0",
        "lda, 5 photos a class, seed 0", "lda, pca 4, seed 0",
    ]  # fmt: skip
    assert len(grid.cells) == 2 * len(of_seed_0)  # seeds are repetitions
    alone = grid_of(tmp_path, GRID, "head=lda, photos=all,seed=1")
    assert described(alone) == [name.replace("seed 0", "seed 1") for name in of_seed_0]


def test_one_factor_first(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, GRID, "first")
    assert described(grid)[::2] == [
        f"{name}, 5 photos a class, seed 0" if "all" not in name else "knn, k 1, seed 0"
        for name in ("knn, k 1", "lda", "centroid", "knn, smote, k 1", "all", "knn, k 5")
    ]


def test_one_factor_with_commas_in_an_encoder(tmp_path: Path) -> None:
    text = 'encoders = ["pixels", "efficientnet-lite0@both,gem", ["pixels", "bioclip"]]\n'
    base = "encoder=efficientnet-lite0@both,gem,head=knn"
    first = grid_of(tmp_path, text + 'heads = ["lda", "knn"]', base).cells[0]
    assert (first.encoders, first.head) == (("efficientnet-lite0@both,gem",), "knn")
    side = grid_of(tmp_path, text, "encoders=pixels+bioclip").cells[0]
    assert side.encoders == ("pixels", "bioclip")


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("photos=7", "the grid has no photos 7. Choose from: 5, all."),
        ("hed=knn", "the grid has no 'hed'. Did you mean 'heads'?"),
        ("nothing", "takes 'first' or a base such as"),
        ("head=", "takes 'first' or a base such as"),
        ("head=centroid,balance=smote", "there is no such base: smote means nothing to centroid"),
    ],
)
def test_a_wrong_base_names_the_axis(tmp_path: Path, base: str, said: str) -> None:
    message = refused(tmp_path, GRID, base)
    assert message.startswith("--one-factor")
    assert said in message


# --- the example


def test_the_example_is_a_grid_of_some_dozens_of_cells(tmp_path: Path) -> None:
    path = tmp_path / "new" / "grid.toml"
    write_example(path)
    assert 20 <= len(read_grid(path, USUAL).cells) <= 100
    with pytest.raises(UserError, match="there already"):
        write_example(path)


def test_what_the_example_has_switched_off_reads_too(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") for line in example_grid().splitlines()]
    keys = [line for line in lines if " = " in line or line.startswith("[")]
    zip_at = keys.index("[[zip]]")
    zipped = ("precision", "folds")  # an axis stands in a zip or by itself
    above = [key for key in keys[:zip_at] if key.split()[0] not in zipped]
    cells = grid_of(tmp_path, "\n".join([*above, *keys[zip_at:]])).cells
    assert {cell.head for cell in cells} == {"lda", "lgbm"}
    assert {(cell.precision, cell.folds) for cell in cells} == {("stored", 5), ("float16", 3)}
    alone = grid_of(tmp_path, "\n".join(keys[:zip_at])).cells
    assert {cell.head for cell in alone} == {"logreg", "knn", "lda", "centroid"}


def test_the_grids_on_the_page_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "sweep.md").read_text()
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", page, re.M)
    grids = [text for block in blocks if " = " in (text := textwrap.dedent(block))]
    grids = [text for text in grids if "include" not in text and "$ " not in text]
    assert len(grids) >= 7
    for text in grids:
        assert grid_of(tmp_path, text).cells, text
    first = re.search(r"= (\d+) cells, (\d+) rows", grids[0])
    assert first is not None
    cells = grid_of(tmp_path, grids[0]).cells
    rows = {replace(cell, seed=0) for cell in cells}
    assert (len(cells), len(rows)) == (int(first[1]), int(first[2]))


# --- the estimate


@pytest.fixture
def workspace(photos: Path, tmp_path: Path, run: Any) -> Workspace:
    result: Result = run("embed", photos, "-w", tmp_path, "--encoder", "pixels")
    assert result.code == 0
    return Workspace(tmp_path)


def _estimate(workspace: Workspace, cells: list[Cell], jobs: int = 1) -> Estimate:
    trains = {data_key(cell): training_data(workspace, cell)[0] for cell in cells}
    return estimate(workspace, cells, trains, jobs)


def test_an_estimate_counts_what_is_to_be_computed(workspace: Workspace) -> None:
    cells = [USUAL, replace(USUAL, head="stack"), replace(USUAL, head="knn", photos=5)]
    found = _estimate(workspace, cells)
    assert (found.cells, found.done, found.members) == (3, 0, len(MEMBERS) - 1)
    assert sum(share.cells for share in found.shares) == 3 + found.members
    assert sum(share.seconds for share in found.shares) == pytest.approx(found.seconds)
    assert {row["head"] for row in found.table()} == {*MEMBERS, "stack"}
    assert "at most" in " ".join(found.lines())
    write_json(workspace.folder / "estimate.json", found.to_json())


def test_a_dry_run_reads_the_grid_and_computes_nothing(workspace: Workspace) -> None:
    path = workspace.folder / "grid.toml"
    path.write_text('heads = ["knn", "centroid"]\nbalance = ["none", "smote"]\npca = 8\n')
    found = dry_run(workspace, path, jobs=1)
    assert (found.cells, found.members) == (3, 0)
    assert "smote means nothing to centroid: these cells are left out" in found.notes
    assert not workspace.sweeps.exists()
    path.write_text('heads = "knn"\nsplits = ["default",\n"nowhere"]\n')
    with pytest.raises(UserError, match=r"grid.toml:3: .*nowhere"):
        dry_run(workspace, path, jobs=1)


def test_finished_cells_cost_nothing_and_teach_the_rest(workspace: Workspace) -> None:
    cells = [replace(USUAL, seed=seed) for seed in range(4)]
    train, _ = training_data(workspace, USUAL)
    before = _estimate(workspace, cells)
    sizes = class_sizes({data_key(USUAL): train})[data_key(USUAL)]
    slow = 50 * built_in_seconds(USUAL, train, sizes)
    result = CellResult(cells[0], cell_id(cells[0], train), seconds=slow)
    write_json(workspace.sweeps / "cells" / f"{result.id}.json", result.to_json())
    after = _estimate(workspace, cells)
    assert (before.measured, after.measured) == ([], ["logreg"])
    assert (after.done, after.shares[0].done) == (1, 1)
    assert after.seconds == pytest.approx(before.seconds * 50 * 3 / 4)
    # of another head, too, the machine is known to be slow
    other = [replace(USUAL, head="knn")]
    write = workspace.sweeps / "cells" / f"{result.id}.json"
    known = _estimate(workspace, other).seconds
    write.unlink()
    assert known == pytest.approx(50 * _estimate(workspace, other).seconds)


def test_more_work_takes_longer(workspace: Workspace) -> None:
    def seconds(**changes: Any) -> float:
        return _estimate(workspace, [replace(USUAL, **changes)]).seconds

    assert seconds(photos=5) < seconds()
    assert seconds(photos=0.25) < seconds(photos=0.5) < seconds()
    assert seconds(folds=3) < seconds()
    assert seconds(options=(("pca", 4),)) < seconds()
    cells = [replace(USUAL, seed=seed) for seed in range(8)]
    assert _estimate(workspace, cells, jobs=2).seconds < _estimate(workspace, cells).seconds
