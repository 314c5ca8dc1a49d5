"""How does `embed` compare with its peers, on the same photos and the same weights?

Photos of `FAMILIA_SHARED` (300 pixels), from files on disk to vectors: medians of 5 rounds (3 with
ViT-B/16) in which each takes its turn, start-up apart (building the model; for clip-retrieval all
that its command does before the first batch). Ours hashes and saves as always. The PyTorch loops
have `inference_mode`, channels-last, weights in the precision named (autocast was slower), and the
fastest in a trial of batches of 8 or 32 and 0, 1 or as many DataLoader workers as there are cores;
"memory kept" is the same with glibc told to keep freed memory, which few know to do.
clip-retrieval's rate is from its own statistics, which leave out its start;
`FAMILIA_CLIP_RETRIEVAL` is a python that has it.
Goals: 3 times pybioclip (ViT-B/16), 3 times the PyTorch bf16 loop for Lite0, 1.3 times for
ViT-B/16, ahead of clip-retrieval.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from embedding import species
from PIL import Image

BATCH = 32
ARCHITECTURE = "ViT-B-16"
LITE = "efficientnet-lite0"
# glibc gives large blocks back to the system after each layer, and every page is then made anew
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
Run = Callable[[], tuple[float, np.ndarray]]  # seconds, and vectors in the order of the photos


@dataclass(frozen=True)
class Contender:
    name: str
    setting: str
    startup: float  # seconds
    run: Run
    warm_up: bool = True


@dataclass(frozen=True)
class Absent:
    name: str
    why: str


def timed(embed: Callable[[], np.ndarray]) -> Run:
    def run() -> tuple[float, np.ndarray]:
        start = time.perf_counter()
        X = embed()
        return time.perf_counter() - start, X

    return run


def ours(encoder_text: str, paths: list[str], name: str) -> Contender:
    from embed.encoders import open_encoder
    from embed.engine import Lane, embed_photos
    from embed.store import EmbeddingStore

    start = time.perf_counter()
    encoder = open_encoder(encoder_text)
    engine = encoder.engine  # the network is compiled here
    startup = time.perf_counter() - start

    def embed() -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            store = EmbeddingStore.open(Path(folder), encoder.spec)
            return store.load(embed_photos(paths, [Lane(encoder, store)]).keys)

    return Contender(name, engine, startup, timed(embed))


def pytorch(model: str, paths: list[str], precision: str, keeps_memory: bool = False) -> Contender:
    """The loop below in a process of its own, so that neither library disturbs the other."""
    python, environment = sys.executable, {**os.environ, **(KEEP_MEMORY if keeps_memory else {})}
    child = subprocess.Popen(
        [python, __file__, model, precision],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def ask(what: object) -> Any:
        assert child.stdin
        assert child.stdout
        print(json.dumps(what), file=child.stdin, flush=True)
        return json.loads(child.stdout.readline())

    startup, setting = ask(paths)

    def run() -> tuple[float, np.ndarray]:
        seconds, X = ask("run")
        return seconds, np.array(X, dtype=np.float32)

    kept = ", memory kept" if keeps_memory else ""
    return Contender(f"PyTorch loop, {precision}{kept}", setting, startup, run)


def pytorch_child(model: str, precision: str) -> None:
    """Answers each line of standard input: first the paths, then one line a run; until the end."""
    import torch

    start = time.perf_counter()
    network, transform = network_and_transform(model)
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    network = network.eval().to(dtype=dtype, memory_format=torch.channels_last)
    startup = time.perf_counter() - start
    paths = json.loads(input())

    def loop(batch: int, workers: int, some: list[str]) -> Run:
        photos: Any = Photos(some, transform)
        loader: Any = torch.utils.data.DataLoader(
            photos, batch, num_workers=workers, persistent_workers=workers > 0
        )

        @torch.inference_mode()
        def embed() -> np.ndarray:
            batches = (x.to(dtype, memory_format=torch.channels_last) for x in loader)
            return torch.cat([network(x).float() for x in batches]).numpy()

        run = timed(embed)
        run()  # the workers start
        return run

    seconds = {}
    for batch, workers in product((8, BATCH), sorted({0, 1, os.cpu_count() or 1})):
        run = loop(batch, workers, paths[: len(paths) // 2])
        seconds[batch, workers] = min(run()[0] for _ in range(2))
    batch, workers = min(seconds, key=lambda setting: seconds[setting])
    setting = f"batches of {batch}, {workers} workers, {torch.get_num_threads()} threads"
    print(json.dumps([startup, setting]), flush=True)
    run = loop(batch, workers, paths)
    for _ in sys.stdin:
        took, X = run()
        print(json.dumps([took, X.tolist()]), flush=True)


def network_and_transform(model: str) -> tuple[Any, Any]:
    """A network and the transform that its own library makes for it."""
    if model == LITE:
        import timm

        from embed.encoders import find_network

        network: Any = find_network(LITE)[0].module
        config = timm.data.resolve_model_data_config(network)
        return network, timm.data.create_transform(**config)
    import open_clip

    found, _, transform = open_clip.create_model_and_transforms(f"local-dir:{model}")
    return found.visual, transform


@dataclass(frozen=True)
class Photos:
    """What a DataLoader takes."""

    paths: list[str]
    transform: Any

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Any:
        return self.transform(Image.open(self.paths[i]).convert("RGB"))


def pybioclip(folder: Path, paths: list[str]) -> Contender | Absent:
    """`bioclip embed` itself, JSON file included, given a model that is loaded already."""
    try:
        from bioclip import commands
    except ImportError:
        return Absent("pybioclip", "not installed: `pip install pybioclip`")
    start = time.perf_counter()
    classifier = commands.BaseClassifier(model_str=f"local-dir:{folder}")
    startup = time.perf_counter() - start

    def embed() -> np.ndarray:
        with (
            tempfile.TemporaryDirectory() as name,
            redirect_stderr(StringIO()),  # its progress bar
            patch.object(commands, "BaseClassifier", lambda **_: classifier),
        ):
            out = Path(name) / "vectors.json"
            commands.embed(paths, str(out))
            found = json.loads(out.read_text())["embeddings"]
        return np.array([found[path] for path in paths])

    setting = f"batches of {commands.DEFAULT_BATCH_SIZE}, fp32 (its defaults)"
    return Contender("pybioclip `embed`", setting, startup, timed(embed))


def clip_retrieval(folder: Path, paths: list[str]) -> Contender | Absent:
    """`clip-retrieval inference` in its own environment."""
    name, python = "clip-retrieval `inference`", os.environ.get("FAMILIA_CLIP_RETRIEVAL")
    if not python:
        how = '`pip install clip-retrieval "setuptools<81"` in an environment of its own'
        return Absent(name, f"{how}, and FAMILIA_CLIP_RETRIEVAL=its python")
    photos, out = folder / "photos", folder / "out"
    photos.mkdir()
    for i, path in enumerate(paths):
        (photos / f"{i:06}.jpg").symlink_to(path)
    workers = os.cpu_count() or 1
    options = {
        "input_dataset": photos,
        "output_folder": out,
        "clip_model": f"open_clip:{ARCHITECTURE}/{folder / 'open_clip_model.safetensors'}",
        "enable_text": False,
        "batch_size": BATCH,
        "num_prepro_workers": workers,
    }
    command = [python, "-m", "clip_retrieval.cli", "inference"]
    command += [f"--{option}={value}" for option, value in options.items()]

    def run() -> tuple[float, np.ndarray]:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        stats = json.loads((out / "stats" / "0.json").read_text())
        X = np.load(out / "img_emb" / "img_emb_0.npy").astype(np.float32)
        return stats["total_duration"], X

    start = time.perf_counter()
    try:
        seconds, _ = run()
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        return Absent(name, f"does not run: {said.splitlines()[-1]}")
    startup = time.perf_counter() - start - seconds
    setting = f"batches of {BATCH}, {workers} workers, fp32"
    return Contender(name, setting, startup, run, warm_up=False)


def lowest_cosine(X: np.ndarray, Y: np.ndarray) -> float:
    A, B = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (X, Y))
    return float((A * B).sum(axis=1).min())


def table(what: str, n: int, contenders: Sequence[Contender | Absent], times: int) -> str:
    """Markdown; the first contender is what the others are compared with."""
    present = [c for c in contenders if isinstance(c, Contender)]
    for contender in present:
        if contender.warm_up:
            contender.run()
    rounds = [{c.name: c.run() for c in present} for _ in range(times)]
    first = present[0].name
    lines = [
        f"| {what} | setting | start-up, s | photos/s | {first} / this | lowest cosine |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    rate = {c.name: n / statistics.median(r[c.name][0] for r in rounds) for c in present}
    for c in contenders:
        if isinstance(c, Absent):
            lines.append(f"| {c.name} | {c.why} | | | | |")
            continue
        cosine = lowest_cosine(rounds[-1][c.name][1], rounds[-1][first][1])
        cells = [c.name, c.setting, f"{c.startup:.1f}", f"{rate[c.name]:,.1f}"]
        cells += [f"{rate[first] / rate[c.name]:.2f} ×", f"{cosine:.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def checkpoint(folder: Path) -> None:
    """BioCLIP's architecture with random weights, as the hub lays it out."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    model = open_clip.create_model(ARCHITECTURE)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    config = {"model_cfg": open_clip.get_model_config(ARCHITECTURE), "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def vit(paths: list[str], folder: Path) -> str:
    checkpoint(folder)
    name = str(folder)
    contenders = [
        ours(name, paths, "ours"),
        ours(f"{name}@fp32", paths, "ours, @fp32"),
        pybioclip(folder, paths),
        pytorch(name, paths, "bf16"),
        pytorch(name, paths, "bf16", keeps_memory=True),
        clip_retrieval(folder, paths),
    ]
    return table(f"ViT-B/16, {len(paths)} photos", len(paths), contenders, 3)


def lite(paths: list[str]) -> str:
    contenders = [
        ours(LITE, paths, "ours"),
        ours(f"{LITE}@bf16", paths, "ours, @bf16"),
        pytorch(LITE, paths, "bf16"),
        pytorch(LITE, paths, "bf16", keeps_memory=True),
        pytorch(LITE, paths, "fp32"),
    ]
    return table(f"EfficientNet-Lite0, {len(paths)} photos", len(paths), contenders, 5)


def measure() -> str:
    shared = os.environ.get("FAMILIA_SHARED")
    if not shared:
        return "Not run: FAMILIA_SHARED is not set."
    first = lite(species(shared, 512))
    with tempfile.TemporaryDirectory() as folder:
        return f"{first}\n\n{vit(species(shared, 128), Path(folder))}"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    pytorch_child(*sys.argv[1:])
