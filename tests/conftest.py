"""Small collections of synthetic photos with class signal, and the command line in-process."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cli

SHARED = os.environ.get("FAMILIA_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="FAMILIA_SHARED is not set")

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
