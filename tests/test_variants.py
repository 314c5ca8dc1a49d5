"""Views, pooling and precision: what they mean, and that each is a spec of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embed.encoder import Choice, joined
from embed.encoders import encoder_name, open_encoder
from embed.errors import UserError
from embed.pooling import GEM_POWER, dim_of, pooled
from embed.transform import VIEWS as VIEW_WEIGHTS
from embed.transform import Transform
from embed.variants import (
    JOINS,
    POOLS,
    PRECISIONS,
    QUALITIES,
    VIEWS,
    Variant,
    chosen_encoders,
    parse_variant,
)

HALF = (0.5, 0.5, 0.5)


@pytest.fixture
def picture() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (150, 210, 3), dtype=np.uint8))


def transform(views: str, mode: str = "shortest") -> Transform:
    return Transform(mode, 72, 64, "bicubic", HALF, HALF, views=views)


# ---- names


@given(
    st.sampled_from(VIEWS),
    st.sampled_from(POOLS),
    st.sampled_from(JOINS),
    st.sampled_from([None, *PRECISIONS]),
    st.sampled_from(["efficientnet-lite0", "openclip:ViT-B-16/x", "a@b", "me@home/model"]),
)
def test_a_name_says_its_variant(
    views: str, pool: str, join: str, precision: str | None, base: str
) -> None:
    variant = Variant(views, pool, join, precision)
    assert parse_variant(base + variant.suffix) == (base, variant)


def test_an_at_sign_of_a_path_is_its_own() -> None:
    assert parse_variant("models@2024/x") == ("models@2024/x", Variant())
    assert encoder_name("efficientnet-lite0@gem,full") == "efficientnet-lite0@full,gem"


def test_two_words_of_a_kind_are_refused() -> None:
    with pytest.raises(UserError, match="names both flip and full"):
        parse_variant("efficientnet-lite0@flip,full")


def test_options_go_into_the_names() -> None:
    assert chosen_encoders(None, None) == ["efficientnet-lite0"]
    assert chosen_encoders(["a@gem", "b"], None, views="full") == ["a@full,gem", "b@full"]
    assert chosen_encoders(["a"], None, precision="auto") == ["a"]
    assert chosen_encoders(["a", "a@center"], None) == ["a"]


def test_a_quality_stands_alone() -> None:
    assert chosen_encoders(None, "best") == QUALITIES["best"]
    with pytest.raises(UserError, match="cannot stand beside --encoder"):
        chosen_encoders(["a"], "best")
    with pytest.raises(UserError, match="cannot stand beside --views"):
        chosen_encoders(None, "fast", views="flip")


def test_each_variant_is_a_spec_of_its_own() -> None:
    names = ["", "@flip", "@full", "@five", "@gem", "@three,concat", "@bf16"]
    specs = [open_encoder(f"efficientnet-lite0{name}", Choice("cpu")).spec for name in names]
    assert len({spec.digest for spec in specs}) == len(names)
    assert [spec.name for spec in specs] == [f"efficientnet-lite0{name}" for name in names]
    assert specs[5].dim == 3 * 1280


def test_stored_vectors_decide_the_precision() -> None:
    stored = Choice("cpu", stored_precision="bf16")
    assert open_encoder("efficientnet-lite0", stored).spec.precision == "bf16"
    assert open_encoder("efficientnet-lite0@fp32", stored).spec.precision == "fp32"


# ---- views


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_views_are_what_they_are_called(picture: Image.Image, mode: str) -> None:
    center = transform("center", mode)(picture)
    assert center.shape == (1, 64, 64, 3)
    flip = transform("flip", mode)(picture)
    np.testing.assert_array_equal(flip[0], center[0])
    np.testing.assert_array_equal(flip[1], center[0][:, ::-1])
    full = transform("full", mode)(picture)
    whole = np.asarray(picture.resize((64, 64), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(full, whole[None])
    three = transform("three", mode)(picture)
    np.testing.assert_array_equal(three, np.stack([*flip, whole]))
    np.testing.assert_array_equal(transform("both", mode)(picture), three[[0, 2]])
    squash = transform("squash", mode)(picture)
    bilinear = np.asarray(picture.resize((64, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(squash, bilinear[None])


def test_five_views_are_the_corners(picture: Image.Image) -> None:
    found = transform("five")(picture).astype(int)
    resized = np.asarray(picture.resize((100, 72), Image.Resampling.BICUBIC)).astype(int)
    corners = [resized[:64, :64], resized[:64, 36:], resized[8:, :64], resized[8:, 36:]]
    for view, corner in zip(found[1:], corners, strict=True):
        assert np.abs(view - corner).mean() < 0.5


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from(VIEWS))
def test_every_size_gives_every_view(width: int, height: int, views: str) -> None:
    for mode in ("shortest", "longest", "squash"):
        found = transform(views, mode)(Image.new("RGB", (width, height), (9, 99, 199)))
        assert found.shape == (len(VIEW_WEIGHTS[views]), 64, 64, 3)
        assert found.dtype == np.uint8


def test_views_are_averaged_by_their_weights() -> None:
    rng = np.random.default_rng(1)
    spec = open_encoder("efficientnet-lite0@three").spec
    features = rng.normal(size=(3, 3, 7)).astype(np.float32)
    unit = features / np.linalg.norm(features, axis=2, keepdims=True)
    mean = unit[:, 0] + unit[:, 1] + 2 * unit[:, 2]
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(joined(features, spec), expected, atol=1e-6)


def test_views_side_by_side() -> None:
    rng = np.random.default_rng(1)
    spec = replace(open_encoder("efficientnet-lite0@flip").spec, join="concat")
    features = rng.normal(size=(2, 2, 5)).astype(np.float32)
    X = joined(features, spec)
    assert X.shape == (2, 10)
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1, atol=1e-6)
    first = features[:, 0] / np.linalg.norm(features[:, 0], axis=1, keepdims=True)
    np.testing.assert_allclose(X[:, :5] * np.sqrt(2), first, atol=1e-6)


def test_pixels_have_views_too(picture: Image.Image) -> None:
    encoder = open_encoder("pixels@flip")
    pixels = encoder.spec.transform(picture)[None]
    alone = open_encoder("pixels").encode(pixels[:, :1])
    mirrored = open_encoder("pixels").encode(pixels[:, 1:])
    both = alone + mirrored
    np.testing.assert_allclose(encoder.encode(pixels), both / np.linalg.norm(both), atol=1e-6)
    with pytest.raises(UserError, match="has no layers"):
        open_encoder("pixels@gem")


# ---- pooling


class Maps(torch.nn.Module):
    """A network with one feature map, which is its input."""

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


def test_gem_is_the_generalised_mean() -> None:
    x = torch.rand(2, 3, 8, 8)
    expected = np.mean(x.numpy().astype(float) ** GEM_POWER, axis=(2, 3)) ** (1 / GEM_POWER)
    np.testing.assert_allclose(pooled(Maps(), "gem")(x).numpy(), expected, rtol=1e-4)
    np.testing.assert_allclose(pooled(Maps(), "avg")(x).numpy(), x.mean(dim=(2, 3)), rtol=1e-5)


def test_layers_end_with_the_networks_own_output() -> None:
    import timm

    torch.manual_seed(0)
    network = timm.create_model("resnet18", pretrained=False, num_classes=0).eval()
    module = pooled(network, "layers")
    assert dim_of(module, 64, "layers", "resnet18") == 128 + 256 + 512 + 512
    x = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        own = torch.nn.functional.normalize(network(x), dim=-1)
        np.testing.assert_allclose(module(x)[:, -512:].numpy(), own.numpy(), atol=1e-5)


def test_tokens_have_no_gem() -> None:
    import timm

    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0).eval()
    with pytest.raises(UserError, match="gem needs a convolutional feature map, which vit_tiny"):
        dim_of(pooled(network, "gem"), 224, "gem", "vit_tiny")
    assert dim_of(pooled(network, "layers"), 224, "layers", "vit_tiny") == 4 * 192
