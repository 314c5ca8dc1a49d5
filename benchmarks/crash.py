"""What does a SIGKILL at any moment of an `embed` run cost?

100 runs that kill themselves at a random call (fixed seed) of a function that starts a batch,
saves a part, syncs, renames, removes or merges: 70 over 240 photos with `pixels` in batches of 3,
so that parts are merged on the way as well, and 30 over 120 photos with EfficientNet-Lite0 in
batches of 16. After each: is `verify` clean, are the vectors after a second run those of an
undisturbed one bit for bit, and how many photos were computed twice?
"""

import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

RUNS = (("pixels", 240, 3, 70), ("efficientnet-lite0", 120, 16, 30))
KINDS = ("batch", "save", "sync", "rename", "remove", "merge")


def measure() -> str:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from test_crash import embed, photos_in, vectors

    from embed.store import EmbeddingStore
    from embed.verify import verify
    from embed.workspace import Workspace

    rng = np.random.default_rng(0)
    lines = ["| what | pixels | efficientnet-lite0 |", "| --- | --- | --- |"]
    columns = []
    with tempfile.TemporaryDirectory() as name:
        for encoder, n, batch, runs in RUNS:
            photos = photos_in(Path(name) / encoder, n)
            calls, expected = {}, {}
            for kind in KINDS:  # how often each is called in an undisturbed run
                workspace = Path(name) / f"{encoder}-{kind}"
                calls[kind] = embed(photos, workspace, (kind, 0), encoder, batch).calls
                expected = vectors(workspace, encoder)
            killed: Counter[str] = Counter()
            clean = equal = twice = 0
            while killed.total() < runs:
                kind = str(rng.choice([kind for kind in KINDS if calls[kind]]))
                moment = (kind, int(rng.integers(1, calls[kind] + 1)))
                workspace = Path(name) / f"{encoder}-{kind}-{killed.total()}"
                ended = embed(photos, workspace, moment, encoder, batch)
                if ended.code != -9:
                    shutil.rmtree(workspace)
                    continue
                killed[kind] += 1
                folder = Workspace(workspace).store(encoder)
                there = (folder / "spec.json").exists()
                clean += not there or verify(folder).clean
                saved = len(EmbeddingStore.open(folder)) if there else 0
                tests = 4 if encoder != "pixels" and ended.computed else 0  # the test pictures
                twice = max(twice, ended.computed - tests - saved)
                again = embed(photos, workspace, encoder=encoder, batch=batch)
                right = again.code == 0 and json.loads(again.out)["encoded"][encoder] == n - saved
                equal += right and vectors(workspace, encoder) == expected and verify(folder).clean
            if (clean, equal) != (runs, runs):
                raise RuntimeError(f"{encoder}: {clean} clean and {equal} equal of {runs}")
            kinds = ", ".join(f"{count} {kind}" for kind, count in killed.most_common())
            columns.append((kinds, f"{clean} of {runs}", f"{equal} of {runs}", twice, batch))
    titles = (
        "killed at",
        "`verify` clean after the kill",
        "equal bit for bit, and clean, after going on",
        "most photos computed twice",
        "photos under way (`--batch-size`)",
    )
    rows = zip(titles, *columns, strict=True)
    return "\n".join([*lines, *(f"| {what} | {a} | {b} |" for what, a, b in rows)])
