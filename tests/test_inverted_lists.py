"""Lists of 4-bit codes on the disk, as FAISS's fast scan has them in memory."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from big_indexes_by_hand import clustered

from retrieval import inverted_lists
from retrieval.faiss_parts import encode_rows, fast_scan, new_ivf
from retrieval.inverted_lists import fold, open_lists, pack
from retrieval.plan import Plan

DIM, NLIST = 16, 30
PLAN = Plan("ivf", "pq8x4", NLIST, nprobe=NLIST)


@pytest.mark.parametrize("n", [1, 31, 32, 33, 2000])
@pytest.mark.parametrize("at_once", [1, 2**25])
def test_packed_lists_are_those_of_faiss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, at_once: int
) -> None:
    """Empty lists among them, and however few are packed at a time."""
    monkeypatch.setattr(inverted_lists, "_PACKED_BYTES", at_once)
    X = clustered(2000, DIM, 0)
    ivf = new_ivf(PLAN, DIM)
    ivf.train(X)
    trained = faiss.serialize_index(ivf)
    lists, codes = encode_rows(ivf, X[:n])
    (tmp_path / "codes").write_bytes(codes.tobytes())
    sizes = fold(None, tmp_path / "codes", lists, 0, ivf.code_size, NLIST, tmp_path / "lists")
    pack(ivf, tmp_path / "lists", sizes, tmp_path / "blocks")
    assert sizes.sum() == n

    empty = faiss.deserialize_index(trained)
    mapped = fast_scan(empty)
    blocks = open_lists(tmp_path / "blocks", sizes, empty.code_size, packed=True)
    mapped.replace_invlists(blocks, False)
    mapped.ntotal = n
    whole = faiss.deserialize_index(trained)
    whole.add(X[:n])
    in_memory = fast_scan(whole)
    for nprobe in (1, 5, NLIST):
        how = faiss.SearchParametersIVF(nprobe=nprobe)
        ours, theirs = (one.search(X[:50], 20, params=how) for one in (mapped, in_memory))
        assert (ours[0] == theirs[0]).all()
        assert (ours[1] == theirs[1]).all()
    assert np.isin(np.arange(min(n, 20)), ours[1]).all()
