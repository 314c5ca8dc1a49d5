"""OpenVINO runs a network only where it gives PyTorch's vectors, and is compiled once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from embed import compiled, witness
from embed.compiled import cache_folder, compiled_backend, openvino_runs_bf16
from embed.encoder import Choice, Encoder
from embed.encoders import open_encoder
from embed.errors import UserError
from embed.pooling import pooled
from embed.spec import EncoderSpec

CPU = Choice("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAMILIA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def network() -> Any:
    """A small convolutional network with random weights."""
    torch.manual_seed(5)
    return pooled(timm.create_model("resnet10t", pretrained=False, num_classes=0).eval(), "avg")


@pytest.fixture
def spec() -> EncoderSpec:
    spec = open_encoder("efficientnet-lite0", CPU).spec
    small = replace(spec.transform, resize=72, crop=64)
    return replace(spec, architecture="resnet10t", weights="random", dim=512, transform=small)


def squares(spec: EncoderSpec, n: int = 4) -> np.ndarray:
    side = spec.transform.crop
    return np.random.default_rng(0).integers(0, 255, (n, side, side, 3), dtype=np.uint8)


def unit(X: np.ndarray) -> np.ndarray:
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def never() -> Any:
    raise AssertionError("the network was built again")


def test_it_equals_torch(network: Any, spec: EncoderSpec) -> None:
    pixels = squares(spec)
    found = compiled_backend(spec, lambda: network, pixels)
    assert found is not None
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255.0
    with torch.inference_mode():
        theirs = network((x - 0.5) / 0.5).numpy()
    assert witness.lowest_cosine(unit(found.start(pixels)()), unit(theirs)) > 0.9999
    assert found.name.startswith("openvino ")


@pytest.mark.parametrize("photos", [1, 8], ids=["one a request", "eight a request"])
def test_a_vector_does_not_depend_on_its_batch(
    network: Any, spec: EncoderSpec, photos: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_SMALL", 2**40 if photos == 1 else 0)
    found = compiled_backend(spec, lambda: network, squares(spec))
    assert found is not None
    assert found._photos == photos
    pixels = squares(spec, 64)
    together = found.start(pixels)()
    alone = np.concatenate([found.start(pixels[i : i + 1])() for i in range(64)])
    np.testing.assert_array_equal(alone, together)
    pending = [found.start(pixels[i : i + 7]) for i in range(0, 64, 7)]  # side by side
    np.testing.assert_array_equal(np.concatenate([wait() for wait in pending]), together)


def test_it_is_compiled_once(network: Any, spec: EncoderSpec) -> None:
    pixels = squares(spec)
    first = compiled_backend(spec, lambda: network, pixels)
    again = compiled_backend(spec, never, pixels)
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first.start(pixels)(), again.start(pixels)())


def test_other_weights_are_compiled_anew(network: Any, spec: EncoderSpec) -> None:
    compiled_backend(spec, lambda: network, squares(spec))
    for other in (replace(spec, weights="other"), replace(spec, pooling="gem")):
        with pytest.raises(AssertionError, match="built again"):
            compiled_backend(other, never, squares(spec))
    flipped = replace(spec, transform=replace(spec.transform, views="flip"))
    assert compiled_backend(flipped, never, squares(spec)) is not None  # views are no new network


def test_without_parity_torch_runs(
    network: Any, spec: EncoderSpec, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_parity", lambda *_: 0.99)
    assert compiled_backend(spec, lambda: network, squares(spec)) is None
    monkeypatch.undo()
    monkeypatch.setenv("FAMILIA_CACHE", str(cache))
    assert compiled_backend(spec, never, squares(spec)) is None  # the verdict is kept


class Odd(torch.nn.Module):
    """Tracing takes what NumPy gives for a constant: the converted network would be wrong."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.fft.fft(x.numpy().mean(axis=(2, 3))).real.astype(np.float32))


def test_what_cannot_be_converted(spec: EncoderSpec) -> None:
    assert compiled_backend(spec, Odd, squares(spec)) is None


@pytest.mark.parametrize("damage", ["model.xml", "model.bin", "parity.json"])
def test_a_damaged_cache_is_made_again(network: Any, spec: EncoderSpec, damage: str) -> None:
    pixels = squares(spec)
    first = compiled_backend(spec, lambda: network, pixels)
    file = next(cache_folder().rglob(damage))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    again = compiled_backend(spec, lambda: network, pixels)
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first.start(pixels)(), again.start(pixels)())
    assert json.loads(next(cache_folder().rglob("parity.json")).read_text())["cosine"] > 0.9999


def test_a_cache_that_cannot_be_written_is_no_matter(
    network: Any, spec: EncoderSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FAMILIA_CACHE", str(tmp_path / "file" / "cache"))
    assert compiled_backend(spec, lambda: network, squares(spec)) is not None


def test_a_signal_is_survived(network: Any, spec: EncoderSpec) -> None:
    """OpenVINO leaves a stack for signals with the thread that loads it; see `_apart`."""
    import ctypes

    class Stack(ctypes.Structure):
        _fields_ = (("at", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

    def current() -> tuple[int | None, int]:
        found = Stack()
        ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
        return found.at, found.size

    before = current()
    assert compiled_backend(spec, lambda: network, squares(spec)) is not None
    openvino_runs_bf16()
    assert current() == before


# ---- engines


def cosines(one: Encoder, other: Encoder) -> np.ndarray:
    pixels = witness.squares(one.spec)
    return (one.encode(pixels) * other.encode(pixels)).sum(axis=1)


def test_engines_agree() -> None:
    openvino = open_encoder("efficientnet-lite0@both", Choice("cpu", "openvino"))
    pytorch = open_encoder("efficientnet-lite0@both", Choice("cpu", "torch"))
    assert openvino.spec == pytorch.spec
    assert cosines(openvino, pytorch).min() > 0.9999
    assert (openvino.engine[:8], pytorch.engine[:5]) == ("openvino", "torch")


def test_openvino_is_asked_for_and_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embed.encoder.compiled_backend", lambda *_: None)
    with pytest.raises(UserError, match=r"cannot run efficientnet-lite0.*--engine torch"):
        _ = open_encoder("efficientnet-lite0", Choice("cpu", "openvino")).engine
    assert open_encoder("efficientnet-lite0", CPU).engine.startswith("torch")


def test_openvino_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embed.encoder.openvino_here", lambda: False)
    with pytest.raises(UserError, match="pip install openvino"):
        Choice("cpu", "openvino")
    assert open_encoder("efficientnet-lite0", CPU).engine.startswith("torch")


def test_transformers_take_bf16_where_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    from embed.variants import Variant

    for here, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("embed.encoder.openvino_runs_bf16", lambda here=here: here)
        assert CPU.precision(Variant(), attention=True) == expected
        assert CPU.precision(Variant(), attention=False) == "fp32"


# ---- the witness


def test_the_first_engine_leaves_a_witness(tmp_path: Path, spec: EncoderSpec) -> None:
    X = unit(np.random.default_rng(0).normal(size=(4, 512)).astype(np.float32))
    witness.check_witness(tmp_path, spec, X, "one")
    witness.check_witness(tmp_path, spec, unit(X + np.float32(1e-4)), "another")
    with pytest.raises(UserError, match=r"another makes here do not agree: cosine 0\.\d+"):
        witness.check_witness(tmp_path, spec, unit(X + np.float32(0.02)), "another")
    with pytest.raises(UserError, match="do not agree"):
        witness.check_witness(tmp_path, spec, np.full_like(X, np.nan), "another")


def test_a_damaged_witness_is_left_anew(tmp_path: Path, spec: EncoderSpec) -> None:
    X = unit(np.random.default_rng(0).normal(size=(4, 512)).astype(np.float32))
    witness.check_witness(tmp_path, spec, X, "one")
    file = tmp_path / "witness.npy"
    file.write_bytes(file.read_bytes()[:50])
    witness.check_witness(tmp_path, spec, X, "one")
    np.testing.assert_array_equal(np.load(file), X)


def test_the_test_pictures_never_change() -> None:
    """Stores keep their vectors for years."""
    from embed.files import sha256

    joined = b"".join(picture.tobytes() for picture in witness.pictures())
    assert sha256(joined)[:16] == "6f72e37f9a402a8d"
