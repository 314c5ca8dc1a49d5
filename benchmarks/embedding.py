"""How near is embedding to what the processor can do?

`FAMILIA_SHARED` photos, EfficientNet-Lite0, CPU, fp32. Ceiling C = 1 / (1/decode + 1/forward):
decoding alone and the forward pass alone, both on all cores, one after the other on the same
photos in the same run; medians of 3.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

N_PHOTOS = 512


def rate(job: Callable[[], object]) -> float:
    """Photos a second, median of 3."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return N_PHOTOS / statistics.median(seconds)


def measure() -> str:
    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return "Not run: FAMILIA_SHARED is not set."
    from embed.encoders import CPU_BATCH, open_encoder
    from embed.engine import Lane, embed_photos
    from embed.images import decode, read_bytes
    from embed.store import EmbeddingStore

    found = sorted((Path(shared) / "data" / "species").glob("*/*.jpg"))
    step = len(found) // N_PHOTOS
    paths = [str(path) for path in found[::step][:N_PHOTOS]]
    encoder = open_encoder("efficientnet-lite0", "cpu")
    transform = encoder.spec.transform

    def decode_all() -> list[np.ndarray]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda path: transform(decode(read_bytes(Path(path)))), paths))

    pixels = np.stack(decode_all())
    encoder.encode(pixels[:CPU_BATCH])

    def forward_all() -> None:
        for start in range(0, N_PHOTOS, CPU_BATCH):
            encoder.encode(pixels[start : start + CPU_BATCH])

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = EmbeddingStore.open(Path(folder), encoder.spec)
            embed_photos(paths, [Lane(encoder, store)], {})

    decoding, forward, whole = rate(decode_all), rate(forward_all), rate(ours)
    ceiling = 1 / (1 / decoding + 1 / forward)
    return "\n".join(
        [
            "| what | photos/s |",
            "| --- | --- |",
            f"| decode and transform alone | {decoding:,.0f} |",
            f"| forward pass alone | {forward:,.1f} |",
            f"| ceiling C | {ceiling:,.1f} |",
            f"| `embed_photos`, hashing and saving included | {whole:,.1f} |",
            "",
            f"Ratio to the ceiling: {whole / ceiling:.2f}",
        ]
    )
