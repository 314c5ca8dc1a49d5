"""What an encoder is: squares of pixels through a frozen network to one unit vector a photo."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embed import witness
from embed.backends import (
    CPU_BATCH,
    Backend,
    Pending,
    TorchBackend,
    check_device,
    present_device,
    torch_devices,
)
from embed.compiled import compiled_backend, openvino_here, openvino_runs_bf16
from embed.errors import UserError, did_you_mean
from embed.perturb import perturb_word
from embed.spec import EncoderSpec
from embed.transform import Transform
from embed.variants import Variant, parse_variant

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

ENGINES = ("auto", "openvino", "torch")


class Encoder(Protocol):
    """Pixels to unit vectors, by one frozen spec."""

    spec: EncoderSpec

    @property
    def engine(self) -> str:
        """What makes the vectors, in words."""
        ...

    @property
    def batch_size(self) -> int:
        """Photos worth handing over at once."""
        ...

    @property
    def in_flight(self) -> int:
        """Batches worth starting before the first is waited for."""
        ...

    def start(self, pixels: U8) -> Pending:
        """Begin `encode`; the call waits for its rows."""
        ...

    def encode(self, pixels: U8) -> F32:
        """(n, dim) float32 unit rows of (n, views, crop, crop, 3) uint8 pixels."""
        ...


@dataclass(frozen=True)
class Choice:
    """How an encoder is run here. Raises `UserError` for an engine or device that is not here."""

    device: str = "auto"
    engine: str = "auto"
    stored_precision: str | None = None  # of vectors that the new ones will stand beside

    def __post_init__(self) -> None:
        check_device(self.device)
        if self.engine not in ENGINES:
            raise UserError(f"'{self.engine}' is no engine. {did_you_mean(self.engine, ENGINES)}")
        if self.engine == "openvino" and not openvino_here():
            raise UserError("--engine openvino needs a package: run `pip install openvino`.")

    def precision(self, variant: Variant, attention: bool) -> str:
        """As asked for, as stored, or the fastest that keeps a cosine of .999 to fp32 here.

        bf16 rounds a convolutional network's activations too much (EfficientNet-Lite0: .996).
        """
        wanted = variant.precision or self.stored_precision
        if wanted:
            return wanted
        device = present_device(self.device)
        if device == "cuda":
            return "fp16"
        if device == "cpu" and attention and self.engine != "torch":
            return "bf16" if openvino_runs_bf16() else "fp32"
        return "fp32"


class NetworkEncoder:
    """A frozen network; it is built, and its engine chosen, when there is the first photo."""

    def __init__(self, spec: EncoderSpec, build: Callable[[], Any], choice: Choice) -> None:
        self.spec = spec
        self._build = build
        self._choice = choice
        self._opened: Backend | None = None

    @property
    def engine(self) -> str:
        return self._backend.name

    @property
    def batch_size(self) -> int:
        return max(1, self._backend.batch_size // len(self.spec.transform.weights))

    @property
    def in_flight(self) -> int:
        return self._backend.in_flight

    def start(self, pixels: U8) -> Pending:
        n, views = pixels.shape[:2]
        pending = self._backend.start(pixels.reshape(n * views, *pixels.shape[2:]))
        return lambda: joined(pending().reshape(n, views, -1), self.spec)

    def encode(self, pixels: U8) -> F32:
        return self.start(pixels)()

    @property
    def _backend(self) -> Backend:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> Backend:
        device = present_device(self._choice.device)
        if device == "cpu" and self._choice.engine != "torch" and self.spec.precision != "fp16":
            squares = witness.squares(self.spec)[:, 0]
            found = compiled_backend(self.spec, self._build, squares) if openvino_here() else None
            if found is not None:
                return found
            if self._choice.engine == "openvino":
                raise UserError(
                    f"OpenVINO cannot run {self.spec.name}, or makes other vectors than PyTorch. "
                    "Use --engine torch."
                )
        return TorchBackend(self._build(), self.spec, torch_devices(device))


def joined(features: F32, spec: EncoderSpec) -> F32:
    """(n, dim) float32 unit rows of the (n, views, d) features of each photo's views."""
    unit = features / np.linalg.norm(features, axis=2, keepdims=True)
    if spec.join == "concat":
        rows = unit.reshape(len(unit), -1)
    else:
        weights = np.array(spec.transform.weights, dtype=np.float32)
        rows = np.einsum("nvd,v->nd", unit, weights)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


class PixelEncoder:
    """Eight by eight mean colours: what colour and layout alone tell. Needs no weights."""

    engine = "numpy"
    in_flight = 1

    def __init__(self, name: str = "pixels", variant: Variant | None = None) -> None:
        chosen = variant or Variant()
        if chosen.pool != "avg" or chosen.precision not in (None, "fp32"):
            raise UserError("`pixels` has no layers: only --views and --join apply to it.")
        half = (0.5, 0.5, 0.5)
        transform = _chosen(Transform("shortest", 32, 32, "bilinear", half, half), chosen)
        dim = 192 * (len(transform.weights) if chosen.join == "concat" else 1)
        self.batch_size = CPU_BATCH
        self.spec = EncoderSpec(
            name, name, "familia", "grid-8x8", "none", dim, "avg", "fp32", transform, chosen.join
        )

    def start(self, pixels: U8) -> Pending:
        rows = self.encode(pixels)
        return lambda: rows

    def encode(self, pixels: U8) -> F32:
        n, views = pixels.shape[:2]
        blocks = pixels.reshape(n, views, 8, 4, 8, 4, 3).astype(np.float32).mean(axis=(3, 5))
        X = blocks.reshape(n, views, -1) / 255.0 - 0.5
        X[..., 0] += 1e-3 * (np.abs(X).max(axis=2) < 1e-6)  # an all-grey photo has no direction
        return joined(np.asarray(X, dtype=np.float32), self.spec)


def spec_of(
    name: str, source: str, variant: Variant, choice: Choice, found: "Any", dim: int
) -> EncoderSpec:
    """The spec of a network (see `networks.Network`) whose features have `dim` numbers."""
    transform = _chosen(found.transform, variant)
    views = len(transform.weights) if variant.join == "concat" else 1
    return EncoderSpec(
        name=name,
        source=source,
        library=found.library,
        architecture=found.architecture,
        weights=found.weights,
        dim=dim * views,
        pooling=variant.pool,
        precision=choice.precision(variant, found.attention),
        transform=transform,
        join=variant.join,
    )


class PerturbedEncoder:
    """An encoder that looks at photos made worse first; the network is the given one's."""

    def __init__(self, encoder: Encoder, perturbation: str) -> None:
        spec = encoder.spec
        name, variant = parse_variant(spec.name)
        suffix = replace(variant, perturb=perturbation).suffix
        self.spec = replace(
            spec,
            name=name + suffix,
            source=parse_variant(spec.source)[0] + suffix,
            transform=replace(spec.transform, perturb=perturb_word(perturbation)),
        )
        self._encoder = encoder

    @property
    def engine(self) -> str:
        return self._encoder.engine

    @property
    def batch_size(self) -> int:
        return self._encoder.batch_size

    @property
    def in_flight(self) -> int:
        return self._encoder.in_flight

    def start(self, pixels: U8) -> Pending:
        return self._encoder.start(pixels)

    def encode(self, pixels: U8) -> F32:
        return self._encoder.encode(pixels)


def _chosen(transform: Transform, variant: Variant) -> Transform:
    views: Any = variant.views
    return replace(transform, views=views, perturb=perturb_word(variant.perturb))
