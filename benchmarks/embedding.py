"""How near is embedding to what the processor can do?

Photos of `FAMILIA_SHARED` (300 pixels), and the same enlarged to 12 megapixels with grain;
EfficientNet-Lite0, and ViT-B/32 and ViT-B/16 with random weights; the engine and precision that
`auto` takes. Ceiling C = 1 / (1/decode + 1/forward): decoding alone and the forward pass alone,
each on all cores and in one piece, medians of 5 rounds in turn with `embed_photos` (hashing and
saving included). Goal: 0.85 C.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

ROUNDS = 5
Jobs = dict[str, Callable[[], object]]


def species(shared: str, n: int) -> list[str]:
    """`n` photos spread over all classes."""
    found = sorted((Path(shared) / "data" / "species").glob("*/*.jpg"))
    return [str(path) for path in found[:: len(found) // n][:n]]


def enlarged(paths: list[str], folder: Path) -> list[str]:
    """The photos as JPEGs of 12 megapixels, with grain so that they do not compress to nothing."""
    grain = np.random.default_rng(0).integers(-12, 13, (3000, 4000, 1), dtype=np.int16)
    made = []
    for i, path in enumerate(paths):
        photo = Image.open(path).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC)
        pixels = np.clip(np.asarray(photo, dtype=np.int16) + grain, 0, 255).astype(np.uint8)
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        made.append(folder / f"{i}.jpg")
        made[-1].write_bytes(buffer.getvalue())
    return [str(path) for path in made]


def checkpoint(architecture: str, folder: Path) -> str:
    """An open_clip architecture with random weights, as `--encoder` takes it."""
    import open_clip
    import torch

    file = folder / f"{architecture}.pt"
    torch.manual_seed(0)
    torch.save(open_clip.create_model(architecture).state_dict(), file)
    return f"openclip:{architecture}/{file}"


def medians(jobs: Jobs) -> dict[str, float]:
    """Seconds of each job, the median of rounds that run one after the other."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def row(what: str, encoder_text: str, paths: list[str]) -> str:
    """One line of the table."""
    from embed import sources
    from embed.encoders import open_encoder
    from embed.engine import Lane, embed_photos
    from embed.images import decode_at
    from embed.store import EmbeddingStore

    encoder = open_encoder(encoder_text)
    transform = encoder.spec.transform

    def prepared(path: str) -> np.ndarray:
        return transform(decode_at(sources.read(path), [transform.shortest])[0])

    def decode_all() -> list[np.ndarray]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(prepared, paths))

    pixels = np.stack(decode_all())
    engine = encoder.engine  # the network is compiled here, not in a round

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            embed_photos(paths, [Lane(encoder, EmbeddingStore.open(Path(folder), encoder.spec))])

    took = medians({"decode": decode_all, "forward": lambda: encoder.encode(pixels), "ours": ours})
    rates = {name: len(paths) / seconds for name, seconds in took.items()}
    ceiling = 1 / (1 / rates["decode"] + 1 / rates["forward"])
    shown = [f"{rates['decode']:,.0f}", f"{rates['forward']:,.1f}", f"{ceiling:,.1f}"]
    return " | ".join(
        [
            f"| {what} ({engine})",
            *shown,
            f"{rates['ours']:,.1f}",
            f"{rates['ours'] / ceiling:.2f} |",
        ]
    )


def measure() -> str:
    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return "Not run: FAMILIA_SHARED is not set."
    lines = [
        "| photos/s | decode alone | forward alone | C | ours | ours / C |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = species(shared, 1024)
        lines.append(row("Lite0, 300 px", "efficientnet-lite0", photos))
        lines.append(row("Lite0, 12 MP", "efficientnet-lite0", enlarged(photos[::16], folder)))
        for architecture, n in (("ViT-B-32", 192), ("ViT-B-16", 192)):
            some = photos[:: len(photos) // n][:n]
            lines.append(row(f"{architecture}, 300 px", checkpoint(architecture, folder), some))
    return "\n".join(lines)
