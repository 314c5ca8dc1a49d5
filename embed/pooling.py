"""From a network's feature maps to one vector: as it comes, GeM, or several layers side by side.

GeM, the generalised mean of a feature map (p = 3), is from Radenović, Tolias and Chum, "Fine-tuning
CNN image retrieval with no human annotation", 2018.
"""

from typing import Any

from embed.errors import UserError

GEM_POWER = 3.0
LAYERS = 3  # feature maps besides the network's own output


def pooled(network: Any, pool: str) -> Any:
    """A module from pixels (n, 3, side, side) to (n, dim) features."""
    import torch

    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Any) -> Any:
            features = self.network(x)
            return features[0] if isinstance(features, tuple) else features  # CoCa: (pooled, …)

    class Gem(Own):
        def forward(self, x: Any) -> Any:
            maps = self.network.forward_features(x).clamp(min=1e-6)
            return maps.pow(GEM_POWER).mean(dim=(2, 3)).pow(1.0 / GEM_POWER)

    class Layers(Own):
        def forward(self, x: Any) -> Any:
            maps = self.network.forward_intermediates(
                x, indices=LAYERS, intermediates_only=True, output_fmt="NCHW"
            )
            features = [m.mean(dim=(2, 3)) for m in maps] + [super().forward(x)]
            unit = torch.nn.functional.normalize
            return torch.cat([unit(f, dim=-1) for f in features], dim=-1)

    return {"avg": Own, "gem": Gem, "layers": Layers}[pool]().eval().requires_grad_(False)


def dim_of(module: Any, side: int, pool: str, architecture: str) -> int:
    """How many numbers a pooled network gives.

    Raises `UserError` where the network has no feature maps of the kind that `pool` needs.
    """
    import torch

    try:
        with torch.inference_mode():
            return int(module(torch.zeros(1, 3, side, side)).shape[-1])
    except (AttributeError, TypeError, RuntimeError, IndexError, AssertionError) as error:
        if pool == "avg":
            raise
        what = "a convolutional feature map" if pool == "gem" else "layers that can be read"
        raise UserError(
            f"--pool {pool} needs {what}, which {architecture} does not give. Use --pool avg."
        ) from error
