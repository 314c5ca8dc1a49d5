"""Small collections of synthetic photos with class signal, and the command line in-process."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cli
from classify.base import unit_rows

SHARED = os.environ.get("FAMILIA_SHARED")
CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
needs_shared = pytest.mark.skipif(not SHARED, reason="FAMILIA_SHARED is not set")
LONGEST = "test_real_photos.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: at the end one of two workers would wait for it."""
    items.sort(key=lambda item: item.path.name != LONGEST)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled networks of the tests are the tests' own, whatever the user has cached."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAMILIA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def embeddings(sizes: tuple[int, ...], dim: int = 20, spread: float = 0.6, seed: int = 0) -> Any:
    """Unit rows (n, dim) float32 around one random centre a class, and class names."""
    rng = np.random.default_rng(seed)
    index = np.repeat(np.arange(len(sizes)), sizes)
    X = np.random.default_rng(99).normal(size=(len(sizes), dim))[index]
    X = X + spread * rng.normal(size=(len(index), dim))
    return unit_rows(X.astype(np.float32)), np.array([f"family {c}" for c in index])


COLOURS = {
    "felidae": (200, 120, 40),
    "canidae": (120, 120, 120),
    "anatidae": (30, 140, 60),
    "nautilidae": (220, 200, 180),
    "rosaceae": (200, 30, 80),
}


def photo(colour: tuple[int, int, int], seed: int, noise: int = 40) -> Image.Image:
    """A 40×48 RGB photo: one colour with a gradient and noise."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(-20, 20, 40)[:, None, None]
    pixels = np.array(colour) + slope + rng.normal(0, noise, (40, 48, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five class folders, 12 PNG photos each (read only: tests share it)."""
    folder = tmp_path_factory.mktemp("photos")
    for c, (family, colour) in enumerate(COLOURS.items()):
        (folder / family).mkdir()
        for i in range(12):
            photo(colour, 100 * c + i).save(folder / family / f"{i:02}.png")
    return folder


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command in this process: `run("embed", photos, "-w", workspace)`."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def bioclip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BioCLIP's true architecture (ViT-B/16) with random weights, as the hub lays it out."""
    import json

    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("hub") / "bioclip-copy"
    folder.mkdir()
    torch.manual_seed(1)
    model = open_clip.create_model("ViT-B-16")
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    config = {
        "model_cfg": open_clip.get_model_config("ViT-B-16"),
        "preprocess_cfg": {
            "mean": [0.48145466, 0.4578275, 0.40821073],
            "std": [0.26862954, 0.26130258, 0.27577711],
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def chromium() -> Any:
    """A browser; the test is skipped where playwright is not installed."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Any, page_file: Any, request: pytest.FixtureRequest) -> Any:
    """The page, opened from disk with every other request refused and counted.

    A module may say in `READY` what to wait for.
    """
    context = chromium.new_context(**getattr(request, "param", {}))
    tab = context.new_page()
    trouble: list[str] = []
    tab.on("console", lambda message: trouble.append(message.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))

    def guard(route: Any) -> None:
        if route.request.url == page_file.as_uri():
            route.continue_()
        else:
            trouble.append(f"asked for {route.request.url}")
            route.abort()

    tab.route("**/*", guard)
    tab.goto(page_file.as_uri())
    tab.wait_for_selector(getattr(request.module, "READY", "body"))
    yield tab
    assert tab.evaluate("window.hit") is None
    assert trouble == []
    context.close()
