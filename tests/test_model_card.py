"""Model cards: every fact of the run's files, and names that stay names."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from classify.logreg import LogReg
from classify.markdown import fenced, plain, table
from classify.metrics import HEADLINE, intervals
from classify.model import Model
from classify.model_card import model_card, write_card
from classify.runs import Predictions, Run, RunConfig
from embed.encoder import PixelEncoder
from embed.encoder_facts import facts_of
from embed.files import write_json
from embed.spec import EncoderSpec

MakeRun = Callable[..., Run]
SPEC = replace(
    PixelEncoder().spec,
    name="bioclip@squash", source="bioclip@squash", architecture="ViT-B-16", dim=20,
    weights="0123456789abcdef",
)  # fmt: skip


def page(text: str) -> Any:
    """The tokens of a card as a reader of GitHub's Markdown sees them."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)


def words(tokens: Any) -> list[str]:
    """What is shown: the text of every paragraph, heading and cell."""
    return [
        "".join(child.content for child in token.children)
        for token in tokens
        if token.type == "inline"
    ]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A finished run; `names` are its classes, of 12, 4 and 1 photos, the last never scored."""

    def make(
        names: tuple[str, ...] = ("felidae", "canidae", "rosaceae"),
        config: dict[str, Any] | None = None,
        facts: dict[str, Any] | None = None,
        specs: tuple[EncoderSpec, ...] = (SPEC,),
    ) -> Run:
        X, y = embeddings((12, 4, 1), seed=3)
        y = np.array(names)[np.array([int(name.split()[1]) for name in y])]
        head = LogReg().fit(X, y)
        scored = y != names[2]
        P = head.predict_proba(X)[scored]
        fold = np.arange(len(P)) % 5
        group = np.array([str(i // 2) for i in range(len(P))])
        ids = [f"{i}.jpg" for i in range(len(P))]
        oof = Predictions(ids, y[scored], P, head.classes_, fold, group)
        folder = tmp_path / "logreg-bioclip-1a2b3c"
        folder.mkdir()
        Model(head).save(folder / "model.npz")
        oof.save(folder / "oof.parquet")
        write_json(folder / "metrics.json", intervals(oof.y_index, P, HEADLINE, groups=group))
        known = {
            "data": "da7a0000da7a0000", "vectors": "fec70000fec70000", "photos": 17, "classes": 3,
            "encoders": [spec.to_json() for spec in specs], "seconds": {}, "notes": ["a note"],
            "versions": {"familia": "0.1.0", "numpy": "2.0", "machine": "host-of-mine"},
        }  # fmt: skip
        write_json(folder / "provenance.json", known | (facts or {}))
        plain_config = asdict(
            RunConfig("logreg", "none", ("bioclip@squash",), 5, 0, "default", "family")
        )
        write_json(folder / "config.json", plain_config | (config or {}))
        return Run(folder)

    return make


def test_a_card_says_what_a_user_must_know(make_run: MakeRun) -> None:
    run = make_run()
    card = model_card(run)
    shown = "\n".join(words(page(card)))
    for fact in (
        "multinomial logistic regression",
        "17 photos of 3 classes",
        "4 in the smallest, 8 in the median, 12 in the largest (of the classes that are scored)",
        "da7a0000da7a0000",
        "16 photos that are scored are of 8 groups",
        "Classes: canidae, felidae, rosaceae.",
        "0123456789abcdef",
        "licence MIT",
        "TreeOfLife-10M",
        "5 folds",
        "bootstrap over the groups",
        "The test photos have not been looked at yet",
        "1 class has 5 photos or fewer, so each of their figures is mostly luck: canidae (4)",
        "1 class was never scored, having all photos in one group: rosaceae",
        "It knows these 3 classes and no other",
        "other places, seasons, cameras",
        "Noted while fitting: a note",
        "familia 0.1.0, run logreg-bioclip-1a2b3c, data da7a0000da7a0000",
        "Stevens et al. 2024",
    ):
        assert fact in shown, fact
    assert "host-of-mine" not in card
    assert f"cli predict PHOTOS --run {run.name}" in card
    assert "cli fit --head logreg --encoder bioclip@squash" in card
    value, low, high = run.figures["macro_f1"]
    assert f"{value:.3f} ({low:.3f} to {high:.3f})" in shown


def test_figures_of_the_test_join_those_out_of_fold(make_run: MakeRun) -> None:
    run = make_run()
    write_json(
        run.folder / "test" / "metrics.json",
        {name: [0.125, 0.0625, 0.25] for name in (*HEADLINE, "top_3")},
    )
    lines = model_card(run).splitlines()
    assert "| figure | out of fold | test |" in lines
    assert "| top 3 |  | 0.125 (0.062 to 0.250) |" in lines
    assert "not been looked at" not in "".join(lines)


def test_calibration_and_the_hardest_classes_are_those_of_the_predictions(
    make_run: MakeRun,
) -> None:
    run = make_run()
    P = np.array([[0.97, 0.02, 0.01], [0.6, 0.3, 0.1], [0.4, 0.35, 0.25], [0.1, 0.7, 0.2]])
    y = np.array(["canidae", "felidae", "canidae", "felidae"])
    classes = np.array(["canidae", "felidae", "rosaceae"])
    Predictions(list("abcd"), y, P, classes, np.arange(4)).save(run.folder / "oof.parquet")
    lines = model_card(run).splitlines()
    assert "| 0% to 50% | 1 | 40.0% | 100.0% |" in lines
    assert "| 50% to 80% | 2 | 65.0% | 50.0% |" in lines
    assert "| 95% to 100% | 1 | 97.0% | 100.0% |" in lines
    start = next(i for i, line in enumerate(lines) if "most often taken for" in line)
    assert lines[start + 2].startswith("| felidae | 2 | 0.67 | 0.50 (")
    assert lines[start + 2].endswith("| canidae (1) |")
    assert lines[start + 3].startswith("| canidae | 2 | 0.80 | 1.00 (")
    assert lines[start + 3].endswith("|  |")


def test_limits_follow_from_how_it_was_fitted(make_run: MakeRun) -> None:
    config = {"balance": "smote", "columns": ["phylum"], "allow_leak": True}
    card = model_card(make_run(config=config))
    assert "Rare classes were helped (smote)" in card
    assert "One of its columns tells the family" in card
    assert "columns of a table: phylum" in card


def test_numbers_that_fitting_chose_are_named(make_run: MakeRun) -> None:
    run = make_run()
    with np.load(run.model_file) as file:
        arrays = dict(file)
    np.savez(run.model_file, **arrays, k_=np.array(7), temperature_=np.array(0.03125))
    assert "k 7, temperature 0.03125" in model_card(run)


def test_a_card_is_written_beside_the_run_and_again(make_run: MakeRun) -> None:
    run = make_run()
    path = write_card(run.folder)
    assert path == run.folder / "model-card.md"
    assert path.read_text() == model_card(run)
    assert write_card(run.folder, "its-name-later").read_text().count("its-name-later") == 4
    assert run.name not in path.read_text()


HOSTILE = (
    "<script>alert(1)</script>",
    "a|b",
    "![x](http://example.org/a.png)",
    "# heading\n\n---\n\n- list",
    "`code` **bold** _it_ ~~no~~ www.example.org",
    "1. <!-- gone",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_shown(make_run: MakeRun, name: str) -> None:
    """As a class, label, column, note and encoder: the page has the same parts as a tame one's."""

    def card(word: str) -> str:
        config = {"label": word, "columns": [word], "encoders": [word], "split": word}
        facts = {"notes": [word], "data": word}
        made = make_run(("zz", word, "zy"), config, facts, (replace(SPEC, name=word),))
        text = model_card(made)
        made.folder.rename(made.folder.with_name(f"{len(list(made.folder.parent.iterdir()))}-old"))
        return text

    hostile, tame = page(card(name)), page(card("tame"))
    assert [token.type for token in hostile] == [token.type for token in tame]
    inside = {child.type for token in hostile for child in token.children or []}
    assert inside <= {"text", "text_special", "softbreak", "code_inline"}
    one_line = " ".join(name.split())
    assert f"Noted while fitting: {one_line}" in words(hostile)
    assert sum(one_line in shown for shown in words(hostile)) >= 8


@given(st.text())
@settings(deadline=None, max_examples=200)
def test_any_text_is_shown_as_it_is(text: str) -> None:
    shown = words(page(f"- say {plain(text)}."))
    assert shown == [f"say {' '.join(_printable(text).split())}."]
    cells = words(page(table(["name"], [(text,)])))
    assert cells == ["name", " ".join(_printable(text).split())]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


@given(st.lists(st.text(alphabet="`~ \nab"), min_size=1, max_size=3))
@settings(deadline=None)
def test_nothing_ends_a_block_of_code(lines: list[str]) -> None:
    (token,) = page(fenced(lines))
    assert token.type == "fence"
    assert len(token.content.splitlines()) == len(lines)


@pytest.mark.parametrize(
    ("source", "licence"),
    [
        ("efficientnet-lite2@both,gem", "Apache-2.0"),
        ("bioclip", "MIT"),
        ("hf-hub:imageomics/bioclip-2@squash", "MIT"),
        ("openclip:ViT-B-32/openai", "MIT"),
        ("openclip:ViT-B-32/laion2b_s34b_b79k", "MIT"),
        ("openclip:ViT-B-32//home/me/laion.pt", "unknown"),
        ("/home/me/bioclip", "unknown"),
        ("timm:resnet50", "unknown"),
        ("imported:theirs", "unknown"),
        ("pixels", "none needed"),
    ],
)
def test_licences_are_stated_only_where_they_are_known(source: str, licence: str) -> None:
    assert facts_of(replace(SPEC, source=source)).licence.startswith(licence)


def test_where_weights_lie_is_nobodys_business(make_run: MakeRun) -> None:
    spec = replace(SPEC, name="mine", source="/home/someone/mine")
    run = make_run(specs=(spec,))
    assert "someone" not in model_card(run)
    assert "licence unknown" in model_card(run)
    assert "someone" in json.dumps(run.provenance)
