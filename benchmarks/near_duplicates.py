"""Are the copies in a collection found, how many others come with them, and how long does it take?

`FAMILIA_SHARED` photos and the 20 pairs listed with them; "further" are all other pairs. Nobody has
listed those: 100 are mirror images to the bit or nearly so, and are counted apart. Then the same
photos with 100 changed copies of each kind beside them: how many are found. Seconds of processor.
"""

import csv
import io
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CHANGED = 100
PIXELS_ALIKE = 10  # of 768 bits, mirrored: below it a mirror image, nothing else done to it
PEER_BITS = 10  # of 64: the usual line for pHash


def measure() -> str:
    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return "Not run: FAMILIA_SHARED is not set."
    from embed.collection import read_collection
    from embed.perceptual import HASHES
    from embed.photo_facts import photo_facts
    from retrieval.near_duplicates import near_duplicates

    root = Path(shared) / "data" / "species"
    rows = read_collection(root, None, None).rows
    with (root / "near_duplicates.csv").open() as handle:
        listed = {tuple(sorted((row["a"], row["b"]))) for row in csv.DictReader(handle)}
    lines = [
        "| by | listed | sure, further | of them mirror images | to judge | search, s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        seconds = {}
        for name in ("pixels", "efficientnet-lite0", "efficientnet-lite0@both,gem"):
            rows["key"], X = vectors(Path(folder) / "store", name, rows["path"].tolist())
            start = time.process_time()
            facts = photo_facts(rows, Path(folder) / "facts")
            seconds[name] = time.process_time() - start
            hashes = facts[list(HASHES)].to_numpy()
            start = time.process_time()
            pairs = near_duplicates(X, rows["file_path"], hashes, rows["key"])
            took = time.process_time() - start
            sure = pairs[pairs["kind"] != "maybe"]
            found = set(zip(sure["a"], sure["b"], strict=True))
            mirror = int((sure["mirrored"] & (sure["hamming"] < PIXELS_ALIKE)).sum())
            lines.append(
                f"| {name}, hashes | {len(found & listed)} of {len(listed)} | "
                f"{len(found - listed)} | {mirror} | {len(pairs) - len(sure)} | {took:.1f} |"
            )
        lines += [peer(rows, listed), "", pairs.attrs["rule"], ""]
        lines += [pace(rows["path"].tolist(), seconds), "", *changed(rows, Path(folder))]
    return "\n".join(lines)


def vectors(folder: Path, name: str, paths: list[str]) -> tuple[list[str], Any]:
    """Keys and unit rows of photos."""
    from embed.encoders import open_encoder
    from embed.engine import Lane, embed_photos
    from embed.store import EmbeddingStore
    from embed.vectors import load_vectors

    encoder = open_encoder(name)
    store = EmbeddingStore.open(folder / name, encoder.spec)
    keys = embed_photos(paths, [Lane(encoder, store)]).keys
    return keys, load_vectors([store], keys)


def peer(rows: Any, listed: set[tuple[str, ...]]) -> str:
    """imagehash alone: pHash of 64 bits, Hamming distance at most 10."""
    import imagehash
    from PIL import Image

    names = rows["file_path"].tolist()
    start = time.process_time()
    hashes = []
    for path in rows["path"]:
        with Image.open(path) as photo:
            hashes.append(np.packbits(imagehash.phash(photo).hash).view(np.uint64)[0])
    took = time.process_time() - start
    apart = np.bitwise_count(np.array(hashes)[:, None] ^ np.array(hashes))
    a, b = np.nonzero(np.triu(apart <= PEER_BITS, 1))
    found = {tuple(sorted((names[i], names[j]))) for i, j in zip(a, b, strict=True)}
    return (
        f"| imagehash alone, pHash, at most {PEER_BITS} of 64 bits ({took:.1f} s of hashing) | "
        f"{len(found & listed)} of {len(listed)} | {len(found - listed)} | 0 | – | – |"
    )


def pace(paths: list[str], seconds: dict[str, float]) -> str:
    """Facts against decoding alone, the photos in memory."""
    from embed.images import decode_at
    from embed.perceptual import SHORTEST

    data = [Path(path).read_bytes() for path in paths]
    alone = {}
    for what, shortest in (("in full", None), ("to the size that hashes need", SHORTEST)):
        start = time.process_time()
        for content in data:
            decode_at(content, [shortest])
        alone[what] = time.process_time() - start
    first, *again = seconds.values()
    decoding = ", ".join(f"{took:.1f} s {what}" for what, took in alone.items())
    return (
        f"Facts of {len(paths):,} photos: {first:.1f} s with reading, SHA-256, hashes and cache "
        f"({1e3 * first / len(paths):.2f} ms a photo); once cached {again[0]:.2f} s. Decoding "
        f"alone: {decoding}."
    )


def changed(rows: Any, folder: Path) -> list[str]:
    """Found of 100 changed copies among all photos, kind by kind."""
    import pandas as pd
    from PIL import Image, ImageEnhance, ImageOps

    from embed.perceptual import HASHES
    from embed.photo_facts import photo_facts
    from retrieval.near_duplicates import near_duplicates

    def crop(image: Any, share: float) -> Any:
        x, y = image.width * share / 2, image.height * share / 2
        return image.crop((round(x), round(y), round(image.width - x), round(image.height - y)))

    kinds = {
        "resaved, quality 50": lambda image: image,
        "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
        "5% cropped": lambda image: crop(image, 0.05),
        "10% cropped": lambda image: crop(image, 0.10),
        "15% brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
        "15% darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
        "mirrored": ImageOps.mirror,
        "mirrored, 5% cropped": lambda image: crop(ImageOps.mirror(image), 0.05),
    }
    chosen = np.random.default_rng(0).permutation(len(rows))[:CHANGED]
    names = ("pixels", "efficientnet-lite0")
    lines = [
        f"| {CHANGED} copies, found (and to judge) | {' | '.join(names)} |",
        "| --- | --- | --- |",
    ]
    plain = rows[["path"]].assign(id=rows["file_path"])
    for kind, change in kinds.items():
        added = []
        for row in chosen.tolist():
            with Image.open(rows["path"][row]) as photo:
                stream = io.BytesIO()
                change(photo.convert("RGB")).save(
                    stream, "JPEG", quality=50 if "50" in kind else 90
                )
            path = folder / f"{row}.jpg"
            path.write_bytes(stream.getvalue())
            added.append({"path": str(path), "id": f"copy of {row}"})
        both = pd.concat([plain, pd.DataFrame(added)], ignore_index=True)
        true = {tuple(sorted((f"copy of {row}", rows["file_path"][row]))) for row in chosen}
        cells = []
        for name in names:
            both["key"], X = vectors(folder / "store", name, both["path"].tolist())
            hashes = photo_facts(both, folder / "facts")[list(HASHES)].to_numpy()
            pairs = near_duplicates(X, both["id"], hashes, both["key"])
            maybe = pairs["kind"] == "maybe"
            sure, doubt = (
                len(true & set(zip(pairs["a"][mask], pairs["b"][mask], strict=True)))
                for mask in (~maybe, maybe)
            )
            cells.append(f"{sure} ({doubt})")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    print(measure())
