"""Texts get the vectors that open_clip gives them, once."""

from pathlib import Path

import numpy as np
import pytest
import torch

from embed import texts as module
from embed.encoder import Choice
from embed.encoders import open_encoder
from embed.errors import UserError
from embed.prompts import NAMINGS, prompt
from embed.store import EmbeddingStore
from embed.texts import text_vectors
from embed.workspace import Workspace

TEXTS = ["a photo of Felidae.", "a photo of Nautilidae.", "a photo of a cat"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small image-text model of open_clip with random weights."""
    import open_clip

    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("clip") / "small.pt"
    torch.save(open_clip.create_model("ViT-S-32-alt").state_dict(), file)
    return f"openclip:ViT-S-32-alt/{file}"


@pytest.fixture
def workspace(clip: str, tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    spec = open_encoder(clip, Choice("cpu", "torch")).spec
    EmbeddingStore.open(place.store(spec.name), spec)
    return place


def test_texts_are_open_clips(clip: str, workspace: Workspace) -> None:
    import open_clip

    model = open_clip.create_model("ViT-S-32-alt", pretrained=clip.split("/", 1)[1]).eval()
    with torch.inference_mode():
        theirs = model.encode_text(open_clip.get_tokenizer("ViT-S-32-alt")(TEXTS), normalize=True)
    np.testing.assert_allclose(text_vectors(workspace, clip, TEXTS), theirs.numpy(), atol=1e-5)


def test_known_texts_load_no_network(
    clip: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = text_vectors(workspace, clip, TEXTS)

    def loaded(text: str) -> None:
        raise AssertionError("the network was loaded")

    monkeypatch.setattr(module, "find_network", loaded)
    np.testing.assert_array_equal(text_vectors(workspace, clip, TEXTS[::-1]), first[::-1])
    with pytest.raises(AssertionError, match="was loaded"):
        text_vectors(workspace, clip, ["new"])


def test_texts_do_not_mix_with_photos(clip: str, workspace: Workspace) -> None:
    text_vectors(workspace, clip, TEXTS)
    photos = next(workspace.embeddings.glob("*/spec.json")).parent
    assert len(EmbeddingStore.open(photos)) == 0


def test_an_encoder_of_pictures_alone(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    for name in ("efficientnet-lite0", "efficientnet-lite0@gem"):
        spec = open_encoder(name, Choice("cpu")).spec
        EmbeddingStore.open(place.store(name), spec)
    with pytest.raises(UserError, match="knows pictures only"):
        text_vectors(place, "efficientnet-lite0", TEXTS)
    with pytest.raises(UserError, match="cannot be compared"):
        text_vectors(place, "efficientnet-lite0@gem", TEXTS)


TAXON = {
    "kingdom": "Animalia",
    "phylum": "Chordata",
    "class": "Mammalia",
    "order": None,
    "family": "Felidae",
    "genus": "Panthera",
    "species": "leo",
    "common_name": "lion",
}


@pytest.mark.parametrize(
    ("naming", "expected"),
    [
        ("taxonomic", "a photo of Animalia Chordata Mammalia Felidae Panthera leo."),
        ("scientific", "a photo of Panthera leo."),
        ("common", "a photo of lion."),
        ("scientific+common", "a photo of Panthera leo with common name lion."),
        (
            "taxonomic+common",
            "a photo of Animalia Chordata Mammalia Felidae Panthera leo with common name lion.",
        ),
    ],
)
def test_prompts(naming: str, expected: str) -> None:
    assert naming in NAMINGS
    assert prompt(TAXON, naming) == expected


def test_a_prompt_without_a_name() -> None:
    with pytest.raises(UserError, match="nothing to say"):
        prompt({"family": "Felidae"}, "common")
    with pytest.raises(UserError, match=r"no form of prompt\. Did you mean 'taxonomic'"):
        prompt(TAXON, "taxonomik")
