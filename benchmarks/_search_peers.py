"""A peer of `search_million.py`, in the python that has it: hnswlib or autofaiss.

    python _search_peers.py hnswlib|autofaiss X.npy Q.npy OUT.npz BYTES

OUT.npz has rows_i (q, k) and seconds_i for each setting i that was tried; printed is JSON.
"""

import json
import sys
import tempfile
import time

import numpy as np

K = 10


def hnswlib_index(X, size):
    """M is the largest of 8, 16, 32 whose graph fits in `size` bytes, 8 where none does."""
    import hnswlib

    fits = [M for M in (8, 16, 32) if len(X) * (4 * X.shape[1] + 8 * M + 16) <= size]
    M = max(fits, default=8)
    index = hnswlib.Index(space="ip", dim=X.shape[1])
    index.init_index(max_elements=len(X), ef_construction=200, M=M)
    index.add_items(X)

    def search(ef, Q):
        index.set_ef(ef)
        return index.knn_query(Q, K)[0]

    return f"hnswlib M {M}", index.index_file_size(), [10, 16, 32, 64, 128, 256, 512], search


def autofaiss_index(X, size):
    import faiss
    from autofaiss import build_index

    with tempfile.TemporaryDirectory() as folder:
        index, about = build_index(
            X,
            save_on_disk=False,
            metric_type="ip",
            max_index_memory_usage=f"{size / 2**20:.0f}MB",
            current_memory_available="16G",
            index_path=f"{folder}/knn.index",
            index_infos_path=f"{folder}/infos.json",
            verbose=30,
        )
    name, tuned = about.get("index_key", ""), about.get("index_param", "")
    space = faiss.ParameterSpace()
    space.initialize(index)
    knob = "efSearch" if "HNSW" in name else "nprobe"
    settings = [tuned] + [f"{knob}={value}" for value in (4, 16, 64, 256, 1024)]

    def search(setting, Q):
        space.set_index_parameters(index, setting)
        return index.search(Q, K)[1]

    bytes_ = int(faiss.serialize_index(index).nbytes)
    return f"autofaiss {name}", bytes_, settings, search


def main(peer, rows, queries, out, size):
    X, Q = np.load(rows, mmap_mode="r"), np.load(queries)
    start = time.perf_counter()
    build = {"hnswlib": hnswlib_index, "autofaiss": autofaiss_index}[peer]
    name, memory, settings, search = build(np.ascontiguousarray(X), int(size))
    built = time.perf_counter() - start
    found = {}
    for i, setting in enumerate(settings):
        search(setting, Q[:1])
        start = time.perf_counter()
        found[f"rows_{i}"] = search(setting, Q)
        found[f"seconds_{i}"] = time.perf_counter() - start
    np.savez(out, **found)
    about = {"name": name, "memory": memory, "build": built, "settings": list(map(str, settings))}
    print(json.dumps(about))


if __name__ == "__main__":
    main(*sys.argv[1:])
