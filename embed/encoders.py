"""Encoders by name: what a user may type after `--encoder`, and what comes of it."""

from pathlib import Path

from embed import networks
from embed.encoder import Choice, Encoder, NetworkEncoder, PixelEncoder, spec_of
from embed.errors import UserError, did_you_mean
from embed.pooling import dim_of, pooled
from embed.variants import parse_variant

_LITES = {
    "efficientnet-lite0": networks.PackagedLite(0, 224, 0.875),
    "efficientnet-lite1": networks.PackagedLite(1, 240, 0.882),
    "efficientnet-lite2": networks.PackagedLite(2, 260, 0.890),
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
    "NAME@WORD,WORD": "any of these with views, pooling or precision, such as @both,gem,bf16; "
    "or of photos made worse, such as @blur",
}


def encoder_name(text: str) -> str:
    """What an encoder is called in the workspace: a folder or a checkpoint by its last name."""
    base, variant = parse_variant(text)
    return _base_name(base) + variant.suffix


def open_encoder(text: str, choice: Choice | None = None) -> Encoder:
    """The encoder that `text` names.

    Raises `UserError` for unknown names, and for missing packages or weights.
    """
    base, variant = parse_variant(text)
    choice = choice or Choice()
    name = _base_name(base) + variant.suffix
    if base == "pixels":
        return PixelEncoder(name, variant)
    if base in _LITES and variant.pool != "layers":  # no network: a cached run loads no torch
        lite = _LITES[base]
        spec = spec_of(name, name, variant, choice, lite, lite.dim)
        return NetworkEncoder(spec, lambda: pooled(lite.build(), variant.pool), choice)
    found, source = find_network(base)
    module = pooled(found.module, variant.pool)
    dim = dim_of(module, found.transform.crop, variant.pool, found.architecture)
    spec = spec_of(name, source + variant.suffix, variant, choice, found, dim)
    return NetworkEncoder(spec, lambda: module, choice)


def _base_name(text: str) -> str:
    path = Path(text)
    kind, model, rest = _parts(text)
    if rest and Path(rest).is_file():
        return f"{kind}:{model}/{Path(rest).name}"
    if text in NAMES or kind in ("openclip", "timm", "hf-hub"):
        return text
    if path.exists():
        return path.resolve().name
    return text


def _parts(text: str) -> tuple[str, str, str]:
    """`openclip:MODEL/REST` -> its three parts, empty where there is none."""
    kind, _, after = text.partition(":")
    model, _, rest = after.partition("/")
    return kind, model, rest


def find_network(text: str) -> tuple[networks.Network, str]:
    """A network, and the text that finds it again from any folder."""
    if text in _LITES:
        return _LITES[text].open(), text
    path = Path(text)
    if path.exists():
        return _local(path), str(path.resolve())
    kind, model, rest = _parts(text)
    absolute = rest and Path(rest).is_file()
    return _named(text), f"{kind}:{model}/{Path(rest).resolve()}" if absolute else text


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
    if kind == "imported":
        raise UserError(
            f"The vectors of '{model}' were made elsewhere and imported: there is no network here "
            "to make more. Embed the photos with an encoder of this program (see `cli encoders`)."
        )
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
