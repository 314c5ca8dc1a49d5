"""Photos made worse: what each does, and that the specs of the others stay as they were."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from embed.encoder import Choice, PerturbedEncoder
from embed.encoders import encoder_name, open_encoder
from embed.errors import UserError
from embed.ingest import embed_collection, open_lane, repair_store
from embed.perturb import PERTURBATIONS, chosen_perturbations, perturb_word, perturbed
from embed.spec import EncoderSpec
from embed.store import EmbeddingStore
from embed.variants import JOINS, POOLS, PRECISIONS, VIEWS, Variant, chosen_encoders, parse_variant
from embed.vectors import note_latest, open_stores
from embed.workspace import Workspace

NAMES = list(PERTURBATIONS)
FP32 = Choice("cpu", stored_precision="fp32")


@pytest.fixture
def picture() -> Image.Image:
    """Waves of several lengths with grain, in colours."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:240, :320]
    planes = [
        128 + 60 * np.sin(x / (7 + 9 * c) + y / 31) + rng.normal(0, 15, x.shape) for c in range(3)
    ]
    return Image.fromarray(np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8))


def worse(image: Image.Image, name: str, side: int = 256) -> np.ndarray:
    return np.asarray(perturbed(image, perturb_word(name), side)).astype(float)


def detail(pixels: np.ndarray) -> float:
    """Mean difference of neighbouring pixels."""
    return float(np.abs(np.diff(pixels, axis=0)).mean() + np.abs(np.diff(pixels, axis=1)).mean())


# ---- pixels


def test_grey_has_equal_channels(picture: Image.Image) -> None:
    grey = worse(picture, "grey")
    assert (grey == grey[..., :1]).all()
    luma = np.asarray(picture).astype(float) @ (0.299, 0.587, 0.114)
    assert np.abs(grey[..., 0] - luma).max() <= 1
    again = worse(Image.fromarray(grey.astype(np.uint8)), "grey")
    np.testing.assert_array_equal(again, grey)


def test_blur_takes_detail_and_keeps_the_mean(picture: Image.Image) -> None:
    before, after = np.asarray(picture).astype(float), worse(picture, "blur")
    assert detail(after) < 0.6 * detail(before)
    assert after.mean() == pytest.approx(before.mean(), abs=1)


def test_blur_means_the_same_at_any_size(picture: Image.Image) -> None:
    """A photo of twice the pixels is blurred twice as wide."""
    large = picture.resize((960, 720), Image.Resampling.BICUBIC)
    blurred = Image.fromarray(worse(large, "blur").astype(np.uint8))
    shrunk = np.asarray(blurred.resize(picture.size, Image.Resampling.BOX)).astype(float)
    small = worse(picture, "blur")
    moved = np.abs(np.asarray(picture).astype(float) - small).mean()
    assert np.abs(shrunk - small).mean() < 0.15 * moved


def test_jpeg_is_made_of_blocks_at_the_encoders_size(picture: Image.Image) -> None:
    after = worse(picture, "jpeg", side=120)
    assert after.shape == (120, 160, 3)
    steps = np.abs(np.diff(after, axis=1)).mean(axis=(0, 2))
    edges = np.arange(159) % 8 == 7
    assert steps[edges].mean() > 1.3 * steps[~edges].mean()
    assert worse(picture, "jpeg", side=500).shape == (240, 320, 3)  # never enlarged


def test_dark_is_a_quarter_of_the_light() -> None:
    def light(value: np.ndarray) -> np.ndarray:
        v = value / 255
        return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)

    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    after = worse(Image.fromarray(ramp), "dark")[0, :, 0]
    assert (np.diff(after) >= 0).all()
    expected = light(np.arange(256.0)) / 4
    assert np.all(light(np.maximum(after - 0.5, 0)) <= expected + 1e-9)
    assert np.all(light(after + 0.5) >= expected - 1e-9)


def test_crop_is_the_upper_left(picture: Image.Image) -> None:
    after = worse(picture, "crop")
    height, width, _ = after.shape
    np.testing.assert_array_equal(after, np.asarray(picture)[:height, :width])
    assert height * width / (240 * 320) == pytest.approx(0.6, abs=0.005)
    assert width / height == pytest.approx(320 / 240, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_photo_gives_the_same_pixels(picture: Image.Image, name: str) -> None:
    before = np.asarray(picture).copy()
    first = worse(picture, name)
    np.testing.assert_array_equal(worse(picture, name), first)
    np.testing.assert_array_equal(np.asarray(picture), before)  # other encoders read it too
    assert first.shape != before.shape or (first != before).any()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(NAMES))
def test_every_size_goes(width: int, height: int, name: str) -> None:
    after = perturbed(Image.new("RGB", (width, height), (90, 99, 199)), perturb_word(name), 64)
    assert after.mode == "RGB"
    if name in ("blur", "dark", "grey"):
        assert after.size == (width, height)
    else:
        assert 1 <= after.width <= width
        assert 1 <= after.height <= height


def test_a_long_strip_is_no_jpeg_too_large() -> None:
    after = perturbed(Image.new("RGB", (70_000, 350)), perturb_word("jpeg"), 448)
    assert after.width == 65_500


def test_a_photo_is_perturbed_before_the_transform(picture: Image.Image) -> None:
    plain = open_encoder("pixels@both").spec.transform
    for name in NAMES:
        found = open_encoder(f"pixels@both,{name}").spec.transform(picture)
        by_hand = plain(perturbed(picture, perturb_word(name), 32))
        np.testing.assert_array_equal(found, by_hand)


# ---- names


@given(
    st.sampled_from(VIEWS),
    st.sampled_from(POOLS),
    st.sampled_from(JOINS),
    st.sampled_from([None, *PRECISIONS]),
    st.sampled_from([None, *NAMES]),
)
def test_a_name_says_its_perturbation(
    views: str, pool: str, join: str, precision: str | None, perturb: str | None
) -> None:
    variant = Variant(views, pool, join, precision, perturb)
    assert parse_variant(f"bioclip{variant.suffix}") == ("bioclip", variant)


def test_the_word_stands_last() -> None:
    assert encoder_name("efficientnet-lite0@blur,gem") == "efficientnet-lite0@gem,blur"
    assert chosen_encoders(["a@grey"], None, views="full") == ["a@full,grey"]
    with pytest.raises(UserError, match="names both blur and grey"):
        parse_variant("a@blur,grey")


def test_several_are_chosen_with_commas() -> None:
    assert chosen_perturbations("all") == NAMES
    assert chosen_perturbations("grey, blur,grey") == ["grey", "blur"]
    with pytest.raises(UserError, match=r"'blurr' is no perturbation\. Did you mean 'blur'"):
        chosen_perturbations("grey,blurr")


# ---- specs


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("efficientnet-lite0", "180c26b405028d1a"),
        ("efficientnet-lite0@both,gem", "ce66861f5c00d967"),
        ("pixels", "fc2dc39f79323499"),
    ],
)
def test_specs_of_photos_as_they_are_have_not_changed(name: str, digest: str) -> None:
    """Digests of before there were perturbations: stored vectors stay good."""
    spec = open_encoder(name, FP32).spec
    assert spec.digest == digest
    written = spec.to_json()
    assert "perturb" not in written["transform"]
    assert EncoderSpec.from_json(json.loads(json.dumps(written))) == spec


def test_each_perturbation_is_a_spec_of_its_own() -> None:
    specs = [open_encoder(f"pixels{at}").spec for at in ("", *(f"@{name}" for name in NAMES))]
    assert len({spec.digest for spec in specs}) == 1 + len(NAMES)
    for spec in specs:
        assert EncoderSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_another_strength_is_another_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_encoder("pixels@blur").spec
    stronger = replace(PERTURBATIONS["blur"], strength=0.02)
    monkeypatch.setitem(PERTURBATIONS, "blur", stronger)
    after = open_encoder("pixels@blur").spec
    assert before.digest != after.digest
    assert before.differences(after) == ["transform.perturb: blur 0.01, not blur 0.02"]


@pytest.mark.parametrize(
    "name", ["pixels@flip", "efficientnet-lite0", "efficientnet-lite0@both,gem,fp32"]
)
def test_a_shared_network_has_the_spec_of_its_own_name(name: str) -> None:
    encoder = PerturbedEncoder(open_encoder(name, FP32), "grey")
    assert encoder.spec == open_encoder(encoder.spec.source, FP32).spec
    assert encoder.spec.name == encoder_name(encoder.spec.source)


def test_perturbed_vectors_are_those_of_worse_files(picture: Image.Image) -> None:
    plain = open_encoder("pixels")
    encoder = PerturbedEncoder(plain, "dark")
    found = encoder.encode(encoder.spec.transform(picture)[None])
    worse_file = perturbed(picture, perturb_word("dark"), 32)
    np.testing.assert_array_equal(found, plain.encode(plain.spec.transform(worse_file)[None]))


# ---- no default


@pytest.fixture
def workspace(tmp_path: Path, photos: Path) -> Workspace:
    place = Workspace(tmp_path / "ws")
    embed_collection(place, photos, None, None, ["pixels"])
    embed_collection(place, photos, None, None, ["pixels@grey"])
    return place


def names_of(stores: Any) -> list[str]:
    return [store.spec.name for store in stores]


def test_perturbed_vectors_are_no_default(workspace: Workspace) -> None:
    assert names_of(open_stores(workspace, None)) == ["pixels"]
    workspace.latest.unlink()
    assert names_of(open_stores(workspace, None)) == ["pixels"]
    assert names_of(open_stores(workspace, ["pixels@grey"])) == ["pixels@grey"]
    note_latest(workspace, ["pixels", "pixels@grey"])
    assert json.loads(workspace.latest.read_text()) == {"encoders": ["pixels"]}


def test_repair_embeds_no_perturbed_photo_that_was_not_asked_for(
    workspace: Workspace, photos: Path
) -> None:
    """A store of the test photos alone stays one."""
    lane = open_lane(workspace, "pixels@blur")
    whole = EmbeddingStore.open(workspace.store("pixels"))
    keys = pd.read_parquet(workspace.collection)["key"].tolist()[:7]
    lane.store.append(keys, whole.load(keys))
    done = repair_store(workspace, lane.store.folder)
    assert done.encoded == 0
    part = next(lane.store.folder.glob("part-*.h5"))
    raw = bytearray(part.read_bytes())
    raw[-200] ^= 255  # in the vectors
    part.write_bytes(raw)
    done = repair_store(workspace, lane.store.folder)
    assert done.encoded == done.lost > 0
    assert len(EmbeddingStore.open(lane.store.folder)) == 7
