"""`cli search --index`: an index made elsewhere answers as one's own, or says why it cannot."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
import pytest

from embed.collection import load_collection, save_collection
from embed.errors import UserError
from embed.store import EmbeddingStore
from embed.workspace import Workspace
from retrieval.faiss_exchange import metadata_rows, read_index
from retrieval.faiss_export import export_index
from retrieval.foreign_lookalikes import foreign_lookalikes
from retrieval.lookalikes import lookalikes, write_lookalikes
from retrieval.queries import SearchBy

CAT = "felidae/03.png"


@pytest.fixture(scope="module")
def embedded(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import cli

    folder = tmp_path_factory.mktemp("searched")
    assert cli.run(["embed", str(photos), "--encoder", "pixels", "-w", str(folder)]) == 0
    for form in ("autofaiss", "clip-retrieval-index"):
        export_index(Workspace(folder), None, folder / form, form)
    return folder


@pytest.fixture
def workspace(embedded: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(embedded, tmp_path / "w")))


def search(workspace: Workspace, index: str, k: int = 7, asked: Any = CAT, **more: Any) -> Any:
    by = asked if isinstance(asked, SearchBy) else SearchBy([asked])
    return foreign_lookalikes(workspace, workspace.folder / index, None, by, k, **more)


def smaller(workspace: Workspace) -> None:
    """Half of the photos leave the workspace."""
    there = load_collection(workspace.collection)
    rows = there.rows.iloc[::2] if CAT in set(there.rows["id"].iloc[::2]) else there.rows.iloc[1::2]
    save_collection(
        rows.reset_index(drop=True), there.label, workspace.folder, workspace.collection
    )


@pytest.mark.parametrize("form", ["autofaiss", "clip-retrieval-index"])
def test_an_exported_index_answers_as_the_own_one(workspace: Workspace, form: str) -> None:
    narrow: dict[str, Any]
    for narrow in ({}, {"where": "family != 'felidae'"}, {"page": 2}, {"exclude_same": "family"}):
        own = lookalikes(workspace, SearchBy([CAT, "rosaceae/07.png"]), 7, **narrow)
        both = SearchBy([CAT, "rosaceae/07.png"])
        assert search(workspace, form, asked=both, **narrow).to_pylist() == own.to_pylist()


def test_a_kind_with_lists_and_rows_in_another_order(workspace: Workspace) -> None:
    rows = load_collection(workspace.collection).rows
    X = EmbeddingStore.open(workspace.store("pixels")).load(rows["key"].tolist())
    order = np.random.default_rng(0).permutation(len(rows))
    ivf = faiss.index_factory(X.shape[1], "IVF3,Flat", faiss.METRIC_INNER_PRODUCT)
    ivf.cp.min_points_per_centroid = 1
    ivf.train(X)
    ivf.nprobe = 3
    ivf.add(X[order])
    faiss.write_index(ivf, str(workspace.folder / "their.index"))
    table = pd.DataFrame({"id": rows["id"], "i": np.argsort(order)})
    table.to_parquet(workspace.folder / "ids.parquet")
    found = foreign_lookalikes(
        workspace, workspace.folder / "their.index", workspace.folder / "ids.parquet",
        SearchBy([CAT]), 9,
    )  # fmt: skip
    own = lookalikes(workspace, SearchBy([CAT]), 9)
    assert [hit["id"] for hit in found.to_pylist()] == [hit["id"] for hit in own.to_pylist()]
    with pytest.raises(UserError, match="Name the Parquet file with the ids"):
        search(workspace, "their.index")


@pytest.mark.parametrize("form", ["autofaiss", "clip-retrieval-index"])
def test_rows_that_are_not_here_are_described_by_the_index(
    workspace: Workspace, form: str, tmp_path: Path
) -> None:
    own = lookalikes(workspace, SearchBy([CAT]), 9).to_pylist()
    rows = load_collection(workspace.collection).rows.set_index("id")
    smaller(workspace)
    found = search(workspace, form, 9)
    hits = found.to_pylist()
    assert [hit["id"] for hit in hits] == [hit["id"] for hit in own]
    for hit, known in zip(hits, own, strict=True):
        assert (hit["path"], hit["family"]) == (known["path"], known["family"])
        assert hit["key"] == rows["key"][hit["id"]]
        assert hit["percentile"] is None
    pages = [hit for page in (1, 2, 3) for hit in search(workspace, form, 3, page=page).to_pylist()]
    assert pages == hits
    assert "not in this workspace" in found.note
    write_lookalikes(tmp_path / "page.html", found)
    for option, value in {"where": "family == 'felidae'", "unique": True, "diverse": 0.5}.items():
        with pytest.raises(UserError, match=rf"--{option} needs the rows.*`cli embed`"):
            search(workspace, form, **{option: value})


def test_metadata_come_in_the_order_that_is_asked_for(workspace: Workspace) -> None:
    for form in ("autofaiss", "clip-retrieval-index"):
        found = read_index(workspace.folder / form)
        wanted = [5, 0, 5, 11]
        said = metadata_rows(found, wanted)["id"].to_pylist()
        assert said == [found.index.ids[row] for row in wanted]
        assert metadata_rows(found, []).num_rows == 0


def test_names_alone_make_hits(workspace: Workspace, tmp_path: Path) -> None:
    """Ids and nothing else: no photo can be shown, and the page says so."""
    index = read_index(workspace.folder / "autofaiss")
    for part in (workspace.folder / "autofaiss" / "ids").iterdir():
        part.unlink()
    names = [f"elsewhere {i}" for i in range(len(index.index))]
    pd.DataFrame({"id": names}).to_parquet(workspace.folder / "autofaiss/ids/0.parquet")
    found = search(workspace, "autofaiss", 3)
    assert [hit["path"] for hit in found.to_pylist()] == [""] * 3
    row = index.index.ids.index(CAT)
    assert found.to_pylist()[0]["id"] == names[row]  # the photo itself, under another name
    write_lookalikes(tmp_path / "page.html", found)
    assert "No picture" in (tmp_path / "page.html").read_text()


def test_an_index_of_another_encoder_is_refused(
    workspace: Workspace, photos: Path, run: Callable[..., Any]
) -> None:
    rows = load_collection(workspace.collection).rows
    for dim, says in ((64, "64 numbers a photo and pixels gives 192"), (192, "other vectors than")):
        X = np.random.default_rng(dim).normal(size=(len(rows), dim)).astype(np.float32)
        index = faiss.IndexFlatIP(dim)
        index.add(X / np.linalg.norm(X, axis=1, keepdims=True))
        folder = workspace.folder / f"of-{dim}"
        (folder / "ids").mkdir(parents=True)
        faiss.write_index(index, str(folder / "knn.index"))
        rows[["id"]].to_parquet(folder / "ids" / "0.parquet")
        with pytest.raises(UserError, match=says):
            search(workspace, folder.name)
