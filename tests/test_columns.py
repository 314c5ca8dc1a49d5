"""Columns beside the photos: read as what they are, weighed by what they bring, saved as arrays."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from classify.columns import ColumnSpec, SideColumns, parse_specs, with_kind
from classify.encodings import (
    ENCODINGS,
    Categories,
    Cycle,
    Dates,
    Encoded,
    Numbers,
    Texts,
    as_dates,
    as_numbers,
)
from classify.knn import Knn
from embed.errors import UserError

N = 160


def frame(**columns: Sequence[str | None]) -> Any:
    return pd.DataFrame(columns, dtype="str")


def collection(seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Rows, unit rows, labels, class numbers: hard photos, and columns that tell some more."""
    X, y = embeddings((N // 4,) * 4, dim=16, spread=3.0, seed=seed)
    index = np.unique(y, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    near = np.where(rng.random(N) < 0.8, index, rng.integers(0, 4, N))
    said = np.array(["stripes", "spots", "scales", "petals"])[near]
    rows = frame(
        place=[f"Site {i}" for i in near],
        month=[f"{3 * i + rng.integers(2) + 1}" for i in near],
        depth=[f"{100 * i + 30 * rng.normal():.1f}" for i in index],
        seen=[f"2024-{3 * i + 1:02}-{rng.integers(1, 29):02}" for i in near],
        remark=[f"it was {word} {rng.integers(1000)} once more" for word in said],
        noise=[f"n{k}" for k in rng.integers(0, 8, N)],
    )
    return rows, X, y, index


def fake_text_vectors(texts: Sequence[str]) -> Any:
    """(n, 8) float32 unit rows that depend on each text alone."""
    X = np.array([np.bincount(np.frombuffer(t.encode(), np.uint8) % 8, minlength=8) for t in texts])
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


# --- what is asked for


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("place", ColumnSpec("place")),
        ("PLACE:category", ColumnSpec("place", "category")),
        ("month:cycle", ColumnSpec("month", "cycle", 12)),
        ("place:cycle=7", ColumnSpec("place", "cycle", 7)),
        ("lat:long", ColumnSpec("lat:long")),
        ("lat:long:text", ColumnSpec("lat:long", "text")),
    ],
)
def test_a_column_is_named_with_or_without_its_kind(text: str, expected: ColumnSpec) -> None:
    rows = frame(id=["1"], place=["x"], month=["1"], family=["a"], **{"lat:long": ["1:2"]})
    assert parse_specs([text, text], rows, "family") == [expected]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("plase", "Did you mean 'place'"),
        ("family", "is the label"),
        ("Family:text", "is the label"),
        ("id", "which photo it is"),
        ("key", "which photo it is"),
        ("place:words", "no kind of column"),
        ("place:cycle", "length of the cycle"),
        ("month:cycle=x", "length of the cycle"),
        ("month:number=3", "length of the cycle"),
    ],
)
def test_columns_that_cannot_be_taken_are_refused(text: str, says: str) -> None:
    rows = frame(id=["1"], key=["k"], place=["x"], month=["1"], family=["a"])
    with pytest.raises(UserError, match=says):
        parse_specs([text], rows, "family")


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("month", ["1", "12", "7"], "cycle"),
        ("Month", ["1", "2024", "7"], "number"),
        ("month", ["Jan", "Jul", "Jan"], "category"),
        ("time", ["14:30", "03:05:59", "0:00"], "cycle"),
        ("date", ["2024-05-31", "2024-06-01 12:30", "2023-01-01T00:00:00Z"], "date"),
        ("taken", ["2024:05:31 23:59:59"] * 3, "date"),
        ("depth", ["12.5", "-3", "1e3"], "number"),
        ("depth", ["12,5", "3,25", "7"], "number"),
        ("depth", ["1.5"] * 30 + ["deep"], "number"),
        ("depth", ["1.5"] * 10 + ["deep"], "category"),
        ("station", ["007", "012", "112"], "category"),
        ("camera", ["A", "B", "A"], "category"),
        ("what", ["a small bird in a tree", "two large fish under ice", "a red leaf"], "text"),
        ("park", ["Kruger National Park, South Africa"] * 5 + ["Yala"], "category"),
    ],
)
def test_what_a_column_holds_is_told_from_its_values(
    name: str, values: list[str], kind: str
) -> None:
    assert with_kind(ColumnSpec(name), values).kind == kind
    assert with_kind(ColumnSpec(name, "text"), values).kind == "text"


# --- values as numbers


def test_numbers_are_read_as_people_write_them() -> None:
    found = as_numbers(["12.5", " -3 ", "12,5", "6:30", "x", "nan", "inf", "1_000", "1,234.5"])
    expected = [12.5, -3, 12.5, 6.5, *[np.nan] * 5]
    np.testing.assert_array_equal(found, expected)


def test_dates_are_read_with_and_without_time() -> None:
    texts = ["2024-01-01", "2023/7/2 18:30", "2024:12:31 06:00:01", "2023-02-30", "1.5.2024"]
    year, hour = as_dates(texts)
    np.testing.assert_allclose(year, [2024, 2023 + 182 / 366, 2024 + 365 / 366, np.nan, np.nan])
    np.testing.assert_array_equal(hour[:3], [np.nan, 18.5, 6])


def test_december_lies_beside_january() -> None:
    december, january, june = Cycle(np.array(12)).encode(["12", "1", "6"])
    assert january @ december > 0.8
    assert june @ december < -0.9
    late, early = Dates.learnt(["2023-12-31", "2024-01-01"]).encode(["2023-12-31", "2024-01-01"])
    np.testing.assert_allclose(late[:2], early[:2], atol=0.05)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30), st.floats(-1e12, 1e12))
@settings(deadline=None, max_examples=50)
def test_a_number_is_shared_out_to_the_knots_beside_it(known: list[float], new: float) -> None:
    numbers = Numbers.learnt([repr(x) for x in known])
    shares = numbers.encode([repr(new)])[0]
    assert shares.sum() == pytest.approx(1)
    clipped = np.clip(new, min(known), max(known))
    assert shares @ numbers.knots == pytest.approx(clipped, rel=1e-6, abs=1e-3)


def test_rare_categories_share_a_column_with_those_never_seen() -> None:
    pooled = Categories.learnt(["Rhine", "rhine ", "Elbe", "Elbe", "Oder", "Spree"])
    np.testing.assert_array_equal(
        pooled.encode(["RHINE", "Elbe", "Oder", "Nile"]),
        [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]],
    )
    all_common = Categories.learnt(["Rhine", "Rhine", "Elbe", "Elbe"])
    np.testing.assert_array_equal(all_common.encode(["Rhine", "Nile"]), [[0, 1], [np.nan] * 2])


def test_text_is_tf_idf_on_its_strongest_components() -> None:
    """With as many components as there are words nothing is lost: cosines are TF-IDF's own."""
    texts = ["a striped cat", "the cat in the tree", "Cát and tree", "striped tree", "nothing else"]
    found = np.nan_to_num(Texts.learnt(texts).encode(texts))
    plain = TfidfVectorizer(
        strip_accents="unicode", token_pattern=r"\b\w{2,40}\b", sublinear_tf=True, min_df=2
    ).fit_transform(texts)
    np.testing.assert_allclose(found @ found.T, (plain @ plain.T).toarray(), atol=1e-12)
    assert np.isnan(Texts.learnt(texts).encode(["zebra"])).all()
    assert Texts.learnt(["one", "two"]).encode(["one"]).shape == (1, 0)


def test_the_encoder_reads_each_text_once() -> None:
    asked: list[str] = []

    def text_vectors(texts: Sequence[str]) -> Any:
        asked.extend(texts)
        return fake_text_vectors(texts)

    texts = ["a cat", "a dog", "a cat", "some tree"]
    encoded = Encoded.learnt(texts, text_vectors)
    assert sorted(asked) == ["a cat", "a dog", "some tree"]
    X = fake_text_vectors(texts).astype(float)
    X -= X.mean(axis=0)
    found = encoded.encode(texts, text_vectors)
    np.testing.assert_allclose(found @ found.T, X @ X.T, atol=1e-6)


def test_an_encoder_without_words_is_the_users_mistake() -> None:
    rows, X, _, index = collection()
    with pytest.raises(UserError, match="text side"):
        SideColumns(["remark:encoder"]).fit(rows, X, index)


# --- fitted


@pytest.mark.parametrize("name", ["place", "month", "depth", "seen", "remark", "remark:encoder"])
def test_a_column_that_tells_something_helps_and_noise_is_left_out(name: str) -> None:
    rows, X, y, index = collection()
    new, new_X, truth, _ = collection(seed=1)
    columns = SideColumns([name, "noise"], fake_text_vectors).fit(rows, X, index)
    told, left_out = columns.notes
    assert "weight" in told
    assert "left out, it does not help" in left_out
    plain = Knn().fit(X, y).score(new_X, truth)
    layout = (X.shape[1],)
    both = Knn(layout=layout).fit(np.hstack([X, columns.transform(rows)]), y)
    gain = both.score(np.hstack([new_X, columns.transform(new)]), truth) - plain
    assert gain > 0.04


def test_noise_alone_gives_no_column_at_all() -> None:
    rows, X, _, index = collection()
    columns = SideColumns(["noise"]).fit(rows, X, index)
    assert columns.width == 0
    assert columns.transform(rows).shape == (N, 0)


def test_rows_of_one_group_do_not_speak_for_each_other() -> None:
    """A camera that stands where one animal lives helps only with that camera's other photos."""
    X, y = embeddings((200, 200), dim=16, spread=5.0)
    index = np.unique(y, return_inverse=True)[1]
    camera = np.random.default_rng(0).integers(0, 20, 400) * 2 + index
    rows = frame(camera=[f"camera {c}" for c in camera])
    assert SideColumns(["camera"]).fit(rows, X, index).width
    assert not SideColumns(["camera"]).fit(rows, X, index, camera).width


def test_missing_values_say_nothing_and_unknown_ones_neither() -> None:
    rows, X, _, index = collection()
    names = ["place", "month", "depth", "seen", "remark"]
    columns = SideColumns(names).fit(rows, X, index)
    np.testing.assert_allclose(columns.transform(rows).mean(axis=0), 0, atol=1e-6)
    odd = frame(place=["Nowhere", None], month=["?", " "], depth=["deep", ""], seen=["0", None],
                remark=["zebra", None])  # fmt: skip
    for nothing in (odd, columns.blank(2), frame(other=["x", "y"])):
        np.testing.assert_array_equal(columns.transform(nothing), np.zeros((2, columns.width)))
    assert columns.absent(rows) == []
    assert columns.absent(rows.drop(columns=["depth"])) == ["depth"]


def test_gaps_are_filled_with_nothing_and_count_where_they_tell() -> None:
    rows, X, _, index = collection()
    gap = np.random.default_rng(1).random(N) < 0.4
    rows["place"] = rows["place"].mask(gap)
    rows["noise"] = rows["noise"].mask(index == 0)
    columns = SideColumns(["place", "noise"]).fit(rows, X, index)
    place, noise, place_given, noise_given = columns.notes
    assert "weight" in place
    assert "weight" in noise_given
    assert "left out" in noise
    assert "left out" in place_given


def test_a_column_without_a_choice_is_left_out() -> None:
    rows, X, _, index = collection()
    rows = rows.assign(same="x", each=[f"id{i}" for i in range(N)], none=None)
    columns = SideColumns(["same", "each", "none", "none:number"]).fit(rows, X, index)
    assert columns.width == 0
    assert all("left out" in note for note in columns.notes)


@pytest.mark.parametrize("kind", ["number", "date", "cycle=12"])
def test_a_kind_that_the_values_are_not_is_refused(kind: str) -> None:
    rows, X, _, index = collection()
    with pytest.raises(UserError, match=r"Expected .* in 'place', found 'Site"):
        SideColumns([f"place:{kind}"]).fit(rows, X, index)


cells = st.one_of(st.none(), st.text(max_size=12), st.sampled_from(["3", "2024-01-01", "a b c d"]))


@pytest.mark.parametrize("kind", [k for k in ENCODINGS if k != "cycle"] + ["cycle=12", ""])
@given(values=st.lists(cells, min_size=8, max_size=8), new=st.lists(cells, max_size=4))
@settings(deadline=None, max_examples=15)
def test_no_value_breaks_anything(
    kind: str, values: list[str | None], new: list[str | None]
) -> None:
    X, y = embeddings((4, 4))
    columns = SideColumns([f"c:{kind}" if kind else "c"], fake_text_vectors)
    with suppress(UserError):  # where the kind is given and not one value is of it
        columns.fit(frame(c=values), X, np.unique(y, return_inverse=True)[1])
    found = columns.transform(frame(c=new))
    assert found.shape == (len(new), columns.width)
    assert np.isfinite(found).all()


# --- files

FRESH = """
import sys
from pathlib import Path
import numpy as np, pandas as pd
from classify.columns import SideColumns
from test_columns import fake_text_vectors
folder = Path(sys.argv[1])
new = pd.read_parquet(folder / "new.parquet")
for path in folder.glob("*.npz"):
    with np.load(path, allow_pickle=False) as file:
        columns = SideColumns.from_state({key: file[key] for key in file.files}, fake_text_vectors)
    expected = np.load(path.with_suffix(".npy"))
    assert expected.any() and columns.transform(new).tobytes() == expected.tobytes(), path.stem
"""


def test_saved_columns_give_the_same_numbers_in_a_fresh_process(tmp_path: Path) -> None:
    rows, X, _, index = collection()
    rows["gaps"] = rows["noise"].mask(index == 0)
    new = collection(seed=2)[0]
    new.to_parquet(tmp_path / "new.parquet")
    names = ["place", "month", "depth", "seen", "remark:text", "remark:encoder", "gaps"]
    for at, some in enumerate([*[[name] for name in names], names]):
        columns = SideColumns(some, fake_text_vectors).fit(rows, X, index)
        np.savez(tmp_path / f"{at}.npz", allow_pickle=False, **columns.state())
        np.save(tmp_path / f"{at}.npy", columns.transform(new))
        again = SideColumns.from_state(columns.state(), fake_text_vectors)
        assert again.notes == columns.notes
        refitted = again.unfitted().fit(rows, X, index)
        np.testing.assert_array_equal(refitted.transform(new), columns.transform(new))
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FRESH, tmp_path],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{here.parent}:{here}"},
    )
    assert done.returncode == 0, done.stderr
