"""Pictures are written whole, for few classes and for many, and show what they should."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from classify import figures
from classify.figures import confusion_picture, sweep_picture


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    saved: list[Figure] = []
    save = figures._save

    def keep(figure: Figure, path: Path) -> None:
        save(figure, path)
        saved.append(figure)

    monkeypatch.setattr(figures, "_save", keep)
    return saved


def labels(figure: Figure, which: str) -> list[str]:
    axis = getattr(figure.axes[0], f"{which}axis")
    return [tick.get_text() for tick in axis.get_ticklabels()]


def inside(figure: Figure) -> bool:
    """No label sticks out of the picture."""
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def confused(n_classes: int, *pairs: tuple[int, int, int]) -> np.ndarray:
    counts = np.diag(np.full(n_classes, 10))
    for true, taken_for, times in pairs:
        counts[true, taken_for] += times
    return counts


@pytest.mark.parametrize("n_classes", [2, 3, 20, 21, 2000])
def test_any_number_of_classes(n_classes: int, tmp_path: Path, drawn: list[Figure]) -> None:
    names = [f"Genus species subspecies number {i}" for i in range(n_classes)]
    confusion_picture(confused(n_classes, (0, 1, 3)), names, tmp_path / "deep" / "c.png")
    with Image.open(tmp_path / "deep" / "c.png") as image:
        assert image.format == "PNG"
        assert max(image.size) < 2500
    assert inside(drawn[0])
    assert len(labels(drawn[0], "y")) == min(n_classes, 20)
    assert len(labels(drawn[0], "x")) == min(n_classes, 20) + (n_classes > 20)


def test_the_most_confused_classes_are_shown_side_by_side(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    counts = confused(9, (7, 1, 8), (1, 7, 5), (2, 5, 6), (2, 0, 1), (3, 4, 2))
    confusion_picture(counts, list("abcdefghi"), tmp_path / "c.png", worst=4)
    (figure,) = drawn
    order = labels(figure, "y")
    assert sorted(order) == ["b", "c", "f", "h"]
    assert abs(order.index("b") - order.index("h")) == 1
    assert abs(order.index("c") - order.index("f")) == 1
    cells = {}
    for text in figure.axes[0].texts:
        column, row = text.get_position()
        cells[order[int(row)], labels(figure, "x")[int(column)]] = int(text.get_text())
    assert cells["h", "b"] == 8
    assert cells["c", "another class"] == 1
    for name in order:
        whole = counts["abcdefghi".index(name)].sum()
        assert sum(n for (row, _), n in cells.items() if row == name) == whole


def test_a_class_is_shown_with_what_it_is_taken_for() -> None:
    hubs = [(hub, hub + other, 3) for hub in (0, 3, 6, 9) for other in (1, 2)]
    assert set(figures._worst_first(confused(12, *hubs), 4)) == {0, 1, 3, 4}


def test_scattered_errors_are_no_confusion() -> None:
    scattered = [(0, other, 1) for other in range(1, 7)]
    assert set(figures._worst_first(confused(9, *scattered, (7, 8, 3)), 2)) == {7, 8}


def test_labels_are_shown_as_they_are(tmp_path: Path, drawn: list[Figure]) -> None:
    names = ["$x^2$", "two\nlines", "_hidden", "猫"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion_picture(confused(4, (0, 1, 1)), names, tmp_path / "c.png")
    assert sorted(labels(drawn[0], "y")) == sorted(["$x^2$", "two lines", "_hidden", "猫"])


def test_right_is_blue_wrong_is_orange_nothing_is_white() -> None:
    colours = figures._colours(np.array([[1.0, 0.0], [0.5, 0.5]]))
    assert colours[0, 1].tolist() == [1, 1, 1]
    assert colours[1, 1, 2] > colours[1, 1, 0]
    assert colours[1, 0, 0] > colours[1, 0, 2]


def sweep(n: int) -> pd.DataFrame:
    value = np.random.default_rng(0).uniform(0.5, 0.9, n)
    return pd.DataFrame(
        {
            "name": [f"cell {i} with a rather long name for a head" for i in range(n)],
            "value": value,
            "low": value - 0.05,
            "high": np.where(np.arange(n) == 0, np.nan, value + 0.05),
            "group": [f"_$group {i % 9}" for i in range(n)],
        }
    )


@pytest.mark.parametrize("n", [1, 9, 200])
def test_sweep_has_the_best_on_top(n: int, tmp_path: Path, drawn: list[Figure]) -> None:
    table = sweep(n)
    sweep_picture(table, tmp_path / "s.png")
    (figure,) = drawn
    best = table.sort_values("value", ascending=False)["name"].tolist()
    assert labels(figure, "y") == best[:60]
    bottom, top = figure.axes[0].get_ylim()
    assert top < bottom
    assert inside(figure)
    if n > 1:
        legend = [text.get_text().strip() for text in figure.legends[0].get_texts()]
        assert legend == [f"_$group {i}" for i in range(9)]


def test_a_picture_that_cannot_be_drawn_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "s.png"
    sweep_picture(sweep(3), path)
    before = path.read_bytes()
    with pytest.raises(KeyError):
        sweep_picture(sweep(3).drop(columns="low"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
