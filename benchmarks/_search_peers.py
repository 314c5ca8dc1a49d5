"""A peer of `search_million.py`, in the python that has it: hnswlib or autofaiss.

    python _search_peers.py hnswlib|autofaiss X.npy Q.npy OUT.npz BYTES

OUT.npz has rows_i (q, k) and seconds_i for each setting i that was tried; printed is JSON.
`FAMILIA_SCRATCH`: a folder that keeps what was built, for the next time.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

K = 10


def build_hnswlib(X, size, path):
    """M is the largest of 8, 16, 32 whose graph fits in `size` bytes, 8 where none does."""
    import hnswlib

    fits = [M for M in (8, 16, 32) if len(X) * (4 * X.shape[1] + 8 * M + 16) <= size]
    M = max(fits, default=8)
    index = hnswlib.Index(space="ip", dim=X.shape[1])
    index.init_index(max_elements=len(X), ef_construction=200, M=M)
    index.add_items(X)
    index.save_index(str(path))
    return f"hnswlib M {M}", [10, 16, 32, 64, 128, 256, 512]


def open_hnswlib(path, dim):
    import hnswlib

    index = hnswlib.Index(space="ip", dim=dim)
    index.load_index(str(path))

    def search(ef, Q):
        index.set_ef(ef)
        return index.knn_query(Q, K)[0]

    return search


def build_autofaiss(X, size, path):
    from autofaiss import build_index

    with tempfile.TemporaryDirectory() as folder:
        _, about = build_index(
            X,
            metric_type="ip",
            max_index_memory_usage=f"{size / 2**20:.0f}MB",
            current_memory_available="16G",
            index_path=str(path),
            index_infos_path=f"{folder}/infos.json",
            verbose=30,
        )
    name, tuned = about.get("index_key", ""), about.get("index_param", "")
    knob = "efSearch" if "HNSW" in name else "nprobe"
    return f"autofaiss {name}", [tuned, *(f"{knob}={value}" for value in (4, 16, 64, 256, 1024))]


def open_autofaiss(path, dim):
    import faiss

    index, space = faiss.read_index(str(path)), faiss.ParameterSpace()
    space.initialize(index)

    def search(setting, Q):
        space.set_index_parameters(index, setting)
        return index.search(Q, K)[1]

    return search


PEERS = {
    "hnswlib": (build_hnswlib, open_hnswlib),
    "autofaiss": (build_autofaiss, open_autofaiss),
}


def built(peer, rows, size, path):
    """What is said of the index at `path`, which is made where it is not there yet."""
    said = path.with_suffix(".json")
    if not said.exists():
        X = np.ascontiguousarray(np.load(rows, mmap_mode="r"))
        start = time.perf_counter()
        name, settings = PEERS[peer][0](X, size, path)
        seconds = time.perf_counter() - start
        about = {"name": name, "memory": path.stat().st_size, "build": seconds}
        said.write_text(json.dumps(about | {"settings": settings}))
    return json.loads(said.read_text())


def main(peer, rows, queries, out, size):
    with tempfile.TemporaryDirectory() as name:
        path = Path(os.environ.get("FAMILIA_SCRATCH") or name) / f"{peer}.index"
        Q, about = np.load(queries), built(peer, rows, int(size), path)
        search = PEERS[peer][1](path, Q.shape[1])
        found = {}
        for i, setting in enumerate(about["settings"]):
            search(setting, Q[:1])
            start = time.perf_counter()
            found[f"rows_{i}"] = search(setting, Q)
            found[f"seconds_{i}"] = time.perf_counter() - start
    np.savez(out, **found)
    print(json.dumps(about))


if __name__ == "__main__":
    main(*sys.argv[1:])
