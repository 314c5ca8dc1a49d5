"""`cli store`: what a user sees of sound and of damaged stores, and vectors out and in."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from embed.collection import load_collection
from embed.store import EmbeddingStore
from embed.workspace import Workspace

Run = Callable[..., Any]


@pytest.fixture
def embedded(photos: Path, tmp_path: Path, run: Run) -> Path:
    workspace = tmp_path / "workspace"
    assert run("embed", photos, "-w", workspace, "--encoder", "pixels").code == 0
    return workspace


def vectors(workspace: Path, name: str = "pixels") -> np.ndarray:
    place = Workspace(workspace)
    keys = load_collection(place.collection).rows["key"].tolist()
    return EmbeddingStore.open(place.store(name)).load(keys)


def flip(workspace: Path) -> Path:
    """Change one bit in the middle of a part."""
    part = next(Workspace(workspace).store("pixels").glob("part-*.h5"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 4
    part.write_bytes(data)
    return part


def test_info(embedded: Path, run: Run) -> None:
    said = run("store", "info", "-w", embedded).out
    assert "pixels: 60 vectors of 192 numbers (float32)" in said
    assert "60 by numpy (" in said
    (info,) = run("store", "info", "--json", "-w", embedded).json
    assert (info["rows"], info["dtypes"]) == (60, {"float32": 60})


def test_half_precision(photos: Path, tmp_path: Path, embedded: Path, run: Run) -> None:
    half = ("embed", photos, "-w", tmp_path / "half", "--encoder", "pixels")
    assert run(*half, "--store-dtype", "float16").code == 0
    assert "(float16)" in run("store", "info", "-w", tmp_path / "half").out
    np.testing.assert_allclose(vectors(tmp_path / "half"), vectors(embedded), atol=1e-3)


def test_a_flipped_bit_is_found_and_mended(embedded: Path, run: Run) -> None:
    before = vectors(embedded)
    assert run("store", "verify", "-w", embedded).code == 0
    part = flip(embedded)
    found = run("store", "verify", "-w", embedded)
    assert found.code == 1
    assert part.name in found.out
    assert "cli store repair" in found.out
    mended = run("store", "repair", "-w", embedded)
    assert mended.code == 0
    assert re.search(r"([1-9]\d*) vectors set aside, \1 encoded", mended.out)
    assert run("store", "verify", "-w", embedded).code == 0
    np.testing.assert_array_equal(vectors(embedded), before)
    assert (part.parent / "damaged" / part.name).exists()


def test_repair_says_which_photo_is_gone(photos: Path, tmp_path: Path, run: Run) -> None:
    copy, workspace = tmp_path / "copy", tmp_path / "workspace"
    shutil.copytree(photos, copy)
    run("embed", copy, "-w", workspace, "--encoder", "pixels")
    flip(workspace)
    for gone in copy.glob("*/*[02468].png"):
        gone.unlink()
    mended = run("store", "repair", "-w", workspace)
    assert mended.code == 0
    lost, encoded = re.search(r"(\d+) vectors set aside, (\d+) encoded", mended.out).groups()
    without = re.findall(r"Without a vector: \w+/\d[02468].png: does not exist", mended.err)
    assert int(lost) - int(encoded) == len(without) > 0


def test_compact(embedded: Path, run: Run) -> None:
    before = vectors(embedded)
    assert "became 1" in run("store", "compact", "-w", embedded).out
    np.testing.assert_array_equal(vectors(embedded), before)


def test_out_and_in_again(photos: Path, embedded: Path, tmp_path: Path, run: Run) -> None:
    """Another program's vectors serve as our own do: the same vectors give the same answers."""
    file = tmp_path / "out.parquet"
    assert "60 rows of 192 numbers" in run("store", "export", file, "-w", embedded).out
    frame = pd.read_parquet(file)
    np.save(tmp_path / "theirs.npy", 3 * np.stack(frame["vector"]))
    table = tmp_path / "theirs.csv"
    frame[["file_path", "family"]].to_csv(table, index=False)
    new = tmp_path / "new"
    options = ("--table", table, "--photos", photos, "--name", "theirs", "-w", new)
    done = run("store", "import", tmp_path / "theirs.npy", *options)
    assert done.code == 0, done.err
    assert "theirs: 60 vectors of 192 numbers (60 new, 0 known)" in done.out
    np.testing.assert_allclose(vectors(new, "theirs"), vectors(embedded), atol=1e-6)
    assert run("split", "-w", new).code == 0
    assert run("fit", "--head", "knn", "--folds", "3", "-w", new).code == 0
    refused = run("predict", photos / "felidae", "-w", new)
    assert refused.code == 1
    assert "made elsewhere and imported" in refused.err


def test_what_is_not_there(tmp_path: Path, embedded: Path, run: Run) -> None:
    for command in ("info", "verify", "repair", "compact"):
        assert "Run `cli embed PHOTOS` first" in run("store", command, "-w", tmp_path / "no").err
        unknown = run("store", command, "-w", embedded, "--encoder", "pixel")
        assert (unknown.code, "Did you mean 'pixels'" in unknown.err) == (1, True)


def test_encoders_show(embedded: Path, run: Run) -> None:
    card = run("encoders", "show", "pixels", "--json", "-w", embedded).json
    assert (card["stored"], card["differs"], card["dim"]) == (60, [], 192)
    assert card["seen"] == "nothing: it has no weights"
    said = run("encoders", "show", "efficientnet-lite0@both,gem", "-w", embedded).out
    assert "ImageNet" in said
    assert "transform.views          both" in said
    assert "pooling                  gem" in said


def test_the_last_embeds_encoders_are_used(photos: Path, embedded: Path, run: Run) -> None:
    assert run("embed", photos, "-w", embedded, "--encoder", "pixels", "--views", "flip").code == 0
    run("split", "-w", embedded)
    fitted = run("fit", "--head", "knn", "--folds", "3", "--json", "-w", embedded)
    assert "pixels-flip" in fitted.json["runs"][0]["run"]
    chosen = ("--encoder", "pixels", "--json", "-w", embedded)
    assert "flip" not in run("fit", "--head", "knn", "--folds", "3", *chosen).json["runs"][0]["run"]
