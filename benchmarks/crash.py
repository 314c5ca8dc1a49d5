"""What does a SIGKILL at any moment of an `embed` run cost?

100 runs that kill themselves at a random call (fixed seed) of a function that starts a batch,
saves, syncs, renames, removes or merges: 70 over 240 photos with `pixels`, 30 over 120 with
EfficientNet-Lite0. After each: is `verify` clean, are the vectors after a second run those of an
undisturbed one bit for bit, and how many photos were computed twice (one batch is 16)?
"""

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

BATCH_CALLS = {"pixels": (240, 16), "efficientnet-lite0": (120, 8)}  # photos, and a forward pass's
KINDS = ("batch", "save", "sync", "rename", "remove", "merge")


def measure() -> str:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from test_crash import BATCH, embed, photos_in, vectors

    from embed.store import EmbeddingStore
    from embed.verify import verify
    from embed.workspace import Workspace

    rng = np.random.default_rng(0)
    killed: Counter[str] = Counter()
    clean = equal = twice = 0
    with tempfile.TemporaryDirectory() as name:
        for encoder, runs in (("pixels", 70), ("efficientnet-lite0", 30)):
            n, forward = BATCH_CALLS[encoder]
            photos = photos_in(Path(name) / encoder, n)
            undisturbed = Path(name) / f"{encoder}-undisturbed"
            if embed(photos, undisturbed, encoder=encoder)[0]:
                raise RuntimeError("the undisturbed run failed")
            expected = vectors(undisturbed, encoder)
            for run in range(runs):
                workspace = Path(name) / f"{encoder}-{run}"
                kind = str(rng.choice(KINDS))
                calls = 1 if kind == "merge" else int(rng.integers(1, n // forward + 3))
                code, _ = embed(photos, workspace, (kind, calls), encoder)
                killed[kind if code == -9 else "ended before"] += 1
                folder = Workspace(workspace).store(encoder)
                there = (folder / "spec.json").exists()
                clean += not there or verify(folder).clean
                saved = len(EmbeddingStore.open(folder)) if there else 0
                code, out = embed(photos, workspace, encoder=encoder)
                if code:
                    raise RuntimeError(f"going on failed after {kind} {calls}")
                again = json.loads(out)["encoded"][encoder]
                if again + saved != n:
                    raise RuntimeError(f"{again} photos encoded beside {saved} saved ones of {n}")
                equal += vectors(workspace, encoder) == expected and verify(folder).clean
                if kind in ("batch", "save"):  # how many were started is known just here
                    started = min(n, calls * forward) - (forward if kind == "batch" else 0)
                    twice = max(twice, started - saved)
    kinds = ", ".join(f"{count} {kind}" for kind, count in killed.most_common())
    return "\n".join(
        [
            "| what | found |",
            "| --- | --- |",
            f"| killed at | {kinds} |",
            f"| `verify` clean after the kill | {clean} of 100 |",
            f"| equal bit for bit, and clean, after going on | {equal} of 100 |",
            f"| most photos computed twice | {twice} (a batch is {BATCH}) |",
        ]
    )
