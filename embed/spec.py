"""All that changes a vector, in one frozen record: two specs never mix in one store."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from embed.files import sha256
from embed.transform import Transform

# A name and where the weights lie do not change a vector; everything else does.
_NOT_IDENTITY = ("name", "source")
RECIPE = 1  # goes up with any change of this program that changes vectors


@dataclass(frozen=True)
class EncoderSpec:
    """What a vector depends on. Saved as `spec.json` beside the vectors."""

    name: str  # what the user calls it, and the store's folder
    source: str  # what `open_encoder` takes to load it again
    library: str  # what builds the network, with its major version: "timm 1"
    architecture: str
    weights: str  # digest of the weights
    dim: int
    pooling: str  # avg (the network's own), gem, layers
    precision: str  # of the forward pass; vectors are float32
    transform: Transform  # with the views
    join: str = "mean"  # of the views: their weighted mean, or side by side
    recipe: int = RECIPE

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that are equal exactly where vectors may be compared."""
        identity = {k: v for k, v in self.to_json().items() if k not in _NOT_IDENTITY}
        return sha256(json.dumps(identity, sort_keys=True).encode())[:16]

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        if not self.transform.perturb:  # digests and files are older than this field
            del fields["transform"]["perturb"]
        return fields

    @classmethod
    def from_json(cls, value: Any) -> "EncoderSpec":
        """The spec in a decoded `spec.json`; a foreign one is a `ValueError`."""
        try:
            transform: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in value["transform"].items()
            }
            return cls(**{**value, "transform": Transform(**transform)})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"it is no encoder spec of this program ({error}).") from error

    def differences(self, other: "EncoderSpec") -> list[str]:
        """`field: mine, not theirs` for every field that changes vectors and differs."""
        mine, theirs = _flat(self), _flat(other)
        return [
            f"{field}: {mine[field]}, not {theirs[field]}"
            for field in mine
            if field not in _NOT_IDENTITY and mine[field] != theirs[field]
        ]


def _flat(spec: EncoderSpec) -> dict[str, Any]:
    fields = asdict(spec)
    transform = fields.pop("transform")
    return fields | {f"transform.{k}": v for k, v in transform.items()}
