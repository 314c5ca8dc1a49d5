"""The house itself: a light start, help with examples, a page a command, a README that runs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from scipy.special import softmax

import cli
from classify.model import Model

ROOT = Path(cli.__file__).resolve().parent


def _commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[str]:
    """`embed`, `store verify` and so on."""
    inner = getattr(command, "commands", {})
    if words and (not inner or command.invoke_without_command):
        yield " ".join(words)
    for name, one in inner.items():
        yield from _commands(one, (*words, name))


COMMANDS = list(_commands(typer.main.get_command(cli.app)))
PAGES = {"index": "indexing", "sweep show": "sweep-show"}  # index.md lists the pages
HEAVY = ("torch", "sklearn", "pandas", "numpy", "faiss", "lightgbm", "matplotlib", "PIL", "h5py")


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    code = f"import sys, cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, run: Callable[..., object]) -> None:
    result = run(*name.split(), "--help")
    assert result.code == 0
    assert f"Example: cli {name}" in result.out
    options = re.findall(r"^  (--?\S+)", result.out, re.M)
    assert options[-1] == "--help"
    assert "--workspace" in result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_page(name: str, run: Callable[..., object]) -> None:
    page_name = PAGES.get(name, name.split()[0])
    page = (ROOT / "docs" / f"{page_name}.md").read_text()
    assert f"cli {name}" in page
    flags = set(re.findall(r"--[a-z][a-z-]+", run(*name.split(), "--help").out)) - {"--help"}
    for flag in flags - {"--workspace", "--json"}:
        assert flag in page, f"docs/{name}.md says nothing of {flag}"


def test_no_page_names_a_flag_that_is_gone(run: Callable[..., object]) -> None:
    helps = "".join(run(*name.split(), "--help").out for name in COMMANDS)
    known = set(re.findall(r"--[a-z-]+", helps))
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for line in re.findall(r"^\s*\$? ?cli .*$", page.read_text(), re.M):
            for flag in re.findall(r"(?<= )--[a-z-]+", line):
                assert flag in known, f"{page.name}: {flag}"


def test_local_links_of_the_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_snippets_on_formats_run(
    photos: Path, run: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file opens as docs/formats.md says, and logreg's arrays give the run's own answer."""
    (tmp_path / "grid.toml").write_text('heads = ["knn"]')
    for command in (
        ["embed", photos, "--encoder", "pixels"],
        ["split"],
        ["fit", "--head", "all", "--folds", "3"],
        ["evaluate"],
        ["search", "canidae/00.png"],
        ["sweep", tmp_path / "grid.toml"],
    ):
        assert run(*command, "-w", tmp_path).code == 0
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "formats.md").read_text().replace("efficientnet-lite0", "pixels")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        exec(block, names)
    model, unit = names["model"], names["unit"]
    by_hand = softmax(unit @ model["coef_"].T + model["intercept_"], axis=1)
    head = Model.load(names["run"] / "model.npz")
    np.testing.assert_allclose(by_hand, head.predict_proba(names["X"]), atol=1e-6)


def readme_blocks() -> list[str]:
    """The README's shell blocks that call the command line, without their output."""
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    return ["\n".join(re.findall(r"^\$ (.*)$", block, re.M)) for block in blocks]


def test_the_readme_runs(photos: Path, tmp_path: Path) -> None:
    """Every command of the README, in order, on a small folder in the place of its sample."""
    script = "set -e\n" + "\n".join(readme_blocks())
    assert script.count("cli ") >= 8
    shutil.copytree(photos, tmp_path / "photos")
    for named in set(re.findall(r"photos/\S+\.png", script)):
        (tmp_path / named).parent.mkdir(exist_ok=True)
        shutil.copy(photos / "felidae" / "00.png", tmp_path / named)
    script = re.sub(r"^make .*$", "", script, flags=re.M)
    script = re.sub(r"^cli sample .*$", "", script, flags=re.M)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "cli").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli "$@"\n')
    (folder / "cli").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    environment.pop("FAMILIA_WORKSPACE", None)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
