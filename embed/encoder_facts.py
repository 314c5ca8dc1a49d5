"""What is known of the encoders by name: whose licence, what they were trained on."""

from dataclasses import dataclass

from embed.spec import EncoderSpec
from embed.variants import parse_variant


@dataclass(frozen=True)
class EncoderFacts:
    """In words, as its makers state it."""

    licence: str  # of the weights
    seen: str  # what it may have seen in training
    cite: str = ""


_LITE = EncoderFacts(
    "Apache-2.0 as timm's copy of the same networks states (timm/tf_efficientnet_lite0.in1k and "
    "its sisters); the Python package that carries the weights here states none",
    "1.28 million web photos of ImageNet-1k, some 400 of whose 1,000 classes are animals, with "
    "other labels than these. ImageNet's own terms give its photos for research",
    "Tan & Le 2019, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
)
_BIOCLIP = EncoderFacts(
    "MIT",
    "TreeOfLife-10M (iNat21, BIOSCAN-1M, Encyclopedia of Life) with taxonomic names: photos from "
    "these sources may have been in its training, so figures on them may be too good. It started "
    "from OpenAI's CLIP",
    "Stevens et al. 2024, BioCLIP: A Vision Foundation Model for the Tree of Life",
)
_BIOCLIP_2 = EncoderFacts(
    "MIT",
    "TreeOfLife-200M (GBIF, Encyclopedia of Life and more: citizen science, museums, camera traps) "
    "with taxonomic names: photos from these sources may have been in its training, so figures on "
    "them may be too good. It started from a CLIP of LAION-2B",
    "Gu et al. 2025, BioCLIP 2: Emergent Properties from Scaling Hierarchical Contrastive Learning",
)
_OPENAI = EncoderFacts(
    "MIT",
    "400 million web photos with captions that OpenAI never listed: nobody can say whether these "
    "photos were among them",
    "Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision",
)
_LAION = EncoderFacts(
    "MIT as LAION's model cards state",
    "web photos with captions (LAION): these photos may have been among them",
    "Schuhmann et al. 2022, LAION-5B; Cherti et al. 2023, Reproducible scaling laws for "
    "contrastive language-image learning",
)
_NONE = EncoderFacts("none needed: it has no weights", "nothing: it has no weights")
_UNKNOWN = EncoderFacts(
    "unknown: see where its weights come from",
    "unknown: see where its weights come from. Photos that it learnt from give figures that are "
    "too good",
)
_BY_SOURCE = {
    "efficientnet-lite0": _LITE,
    "efficientnet-lite1": _LITE,
    "efficientnet-lite2": _LITE,
    "bioclip": _BIOCLIP,
    "hf-hub:imageomics/bioclip": _BIOCLIP,
    "bioclip-2": _BIOCLIP_2,
    "hf-hub:imageomics/bioclip-2": _BIOCLIP_2,
    "pixels": _NONE,
}


def facts_of(spec: EncoderSpec) -> EncoderFacts:
    """What is known of the encoder by where its weights come from; else that it is unknown."""
    source = parse_variant(spec.source)[0]
    if source.startswith("openclip:"):
        tag = source.partition("/")[2]
        if tag == "openai":
            return _OPENAI
        if tag.startswith("laion") and "/" not in tag and "." not in tag:  # no file of a user's
            return _LAION
    return _BY_SOURCE.get(source, _UNKNOWN)
