"""BioCLIP's vectors are those of open_clip and of pybioclip, at either precision.

True architecture, random weights: nobody's weights are fetched here.
"""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from embed.encoder import Choice, Encoder
from embed.encoders import open_encoder
from embed.images import decode_at

CPU = Choice("cpu")


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    """Waves, edges and noise in awkward sizes."""
    found = []
    for i, (width, height) in enumerate([(300, 200), (200, 300), (80, 64), (517, 333), (224, 224)]):
        rng = np.random.default_rng(i)
        coarse = Image.fromarray(rng.integers(0, 255, (7, 9, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=int)
        grain = smooth + rng.integers(-20, 20, smooth.shape)
        found.append(Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8)))
    return found


def encode(encoder: Encoder, images: list[Image.Image]) -> np.ndarray:
    return encoder.encode(np.stack([encoder.spec.transform(image) for image in images]))


def lowest(A: np.ndarray, B: np.ndarray) -> float:
    B = B / np.linalg.norm(B, axis=1, keepdims=True)
    return float((A * B).sum(axis=1).min())


def test_it_is_open_clips(bioclip_folder: Path, images: list[Image.Image]) -> None:
    import open_clip

    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{bioclip_folder}")
    with torch.inference_mode():
        theirs = model.encode_image(torch.stack([preprocess(image) for image in images])).numpy()
    fp32 = open_encoder(f"{bioclip_folder}@fp32", CPU)
    assert (fp32.spec.name, fp32.spec.dim, fp32.spec.architecture) == (
        "bioclip-copy@fp32", 512, "ViT-B-16",
    )  # fmt: skip
    mine = encode(fp32, images)
    assert lowest(mine, theirs) > 0.9999
    bf16 = open_encoder(f"{bioclip_folder}@bf16", CPU)
    assert lowest(encode(bf16, images), mine) > 0.999


def test_it_is_pybioclips(bioclip_folder: Path, images: list[Image.Image]) -> None:
    """Both ways in which pybioclip prepares a photo: squashed, and resized with a centre crop."""
    predict = pytest.importorskip("bioclip.predict", reason="pybioclip is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = predict.BaseClassifier(model_str=f"local-dir:{bioclip_folder}")
    cropped = theirs.create_image_features(images).numpy()
    theirs.preprocess = predict.preprocess_img  # what it takes for BioCLIP by its hub name
    squashed = theirs.create_image_features(images).numpy()
    assert lowest(encode(open_encoder(str(bioclip_folder), CPU), images), cropped) > 0.999
    squash = open_encoder(f"{bioclip_folder}@squash", CPU)
    assert lowest(encode(squash, images), squashed) > 0.999
    assert lowest(cropped, squashed) < 0.99  # so the transform does belong to the spec


def test_a_large_jpeg_decoded_small_gives_the_same_vector() -> None:
    """JPEGs much larger than the crop are decoded at a half to an eighth of their size."""
    from io import BytesIO

    encoder = open_encoder("efficientnet-lite0", CPU)
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
    large = np.asarray(coarse.resize((4000, 3000), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = large + rng.integers(-25, 25, large.shape, dtype=np.int16)
    buffer = BytesIO()
    Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=92)
    shrunk, whole = decode_at(buffer.getvalue(), [encoder.spec.transform.shortest, None])
    assert (whole.size, shrunk.size) == ((4000, 3000), (1000, 750))
    X = encode(encoder, [shrunk, whole])
    assert X[0] @ X[1] > 0.999


def test_a_whole_photo_is_decoded_where_a_spec_says_so() -> None:
    transform = open_encoder("efficientnet-lite0", CPU).spec.transform
    assert (transform.shortest, replace(transform, shrink=0).shortest) == (512, None)
