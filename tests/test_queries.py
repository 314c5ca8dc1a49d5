"""What one can search by: every way to ask gives the vector that is asked for."""

import errno
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from classify.base import unit_rows
from embed.collection import load_collection, save_collection
from embed.encoder import Choice
from embed.encoders import open_encoder
from embed.errors import UserError
from embed.images import ImageProblem
from embed.store import EmbeddingStore
from embed.workspace import Workspace
from retrieval import query_texts
from retrieval.boxes import Box
from retrieval.flat_file import FlatFile
from retrieval.hit_forms import show_hits
from retrieval.index import Index
from retrieval.lookalikes import also_tiles, lookalikes, query_tiles, write_lookalikes
from retrieval.narrowing import narrowed_hits
from retrieval.queries import Query, SearchBy, combined, read_queries
from retrieval.query_texts import text_prompt, text_rows
from retrieval.searchable import Searchable
from retrieval.standard_input import listed

CPU = Choice("cpu", "torch")
CAT = "felidae/03.png"
ROSE = "rosaceae/07.png"


@pytest.fixture(scope="module")
def embedded(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import cli

    folder = tmp_path_factory.mktemp("searched")
    assert cli.run(["embed", str(photos), "--encoder", "pixels", "-w", str(folder)]) == 0
    return folder


@pytest.fixture
def workspace(embedded: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(embedded, tmp_path / "w")))


def one(workspace: Workspace, **asked: Any) -> Query:
    queries, left_out = read_queries(Searchable(workspace), SearchBy(**asked), CPU)
    assert not left_out
    assert len(queries) == 1
    return queries[0]


def pasted(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# ---- photos, rows and folders


def test_a_row_and_its_photo_are_one_query_but_for_what_is_left_out(
    workspace: Workspace, photos: Path
) -> None:
    row, photo = one(workspace, photos=[CAT]), one(workspace, photos=[str(photos / CAT)])
    np.testing.assert_array_equal(row.vector, photo.vector)
    assert (row.key, row.label, row.path) == (photo.key, "felidae", str(photos / CAT))
    assert (row.exclude, photo.exclude) == ((CAT,), ())
    assert photo.label == "felidae"  # the label of the row with these bytes


def test_a_new_photo_is_encoded_once(workspace: Workspace, tmp_path: Path) -> None:
    Image.effect_noise((60, 50), 90).convert("RGB").save(tmp_path / "new.png")
    before = len(EmbeddingStore.open(workspace.store("pixels")))
    first = one(workspace, photos=[str(tmp_path / "new.png")])
    second = one(workspace, photos=[str(tmp_path / "new.png")])
    assert len(EmbeddingStore.open(workspace.store("pixels"))) == before + 1
    np.testing.assert_array_equal(first.vector, second.vector)
    assert first.label is None


def test_a_folder_is_as_many_queries_and_bad_photos_are_left_out(
    workspace: Workspace, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(photos / "felidae", folder)
    (folder / "05.png").write_bytes(b"no photo")
    asked = SearchBy([str(folder), "canidae/00.png", "nobody", str(tmp_path / "none.jpg")])
    queries, left_out = read_queries(Searchable(workspace), asked, CPU)
    names = [f"{folder}/{i:02}.png" for i in range(12) if i != 5]
    assert [query.name for query in queries] == [*names, "canidae/00.png"]
    assert {one.where for one in left_out} == {
        f"{folder}/05.png", "nobody", str(tmp_path / "none.jpg")
    }  # fmt: skip
    together = one_of_folder(workspace, folder)
    X = np.stack([query.vector for query in queries[:-1]])
    np.testing.assert_allclose(together.vector, unit_rows(X.mean(axis=0)[None])[0], atol=1e-6)


def one_of_folder(workspace: Workspace, folder: Path) -> Query:
    queries, left_out = read_queries(
        Searchable(workspace), SearchBy([str(folder)], together=True), CPU
    )
    assert (len(queries), len(left_out)) == (1, 1)
    assert queries[0].label == "felidae"
    assert "11 " not in queries[0].name
    assert "10 others" in queries[0].name
    return queries[0]


def test_nothing_readable_is_an_error(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"bad\.jpg: it cannot be read: an empty file"):
        one(workspace, photos=[str(tmp_path / "bad.jpg")])
    with pytest.raises(UserError, match=r"None of 2 queries.*felidae/3\.png.*Did you mean"):
        one(workspace, photos=[str(tmp_path / "bad.jpg"), "felidae/3.png"])
    with pytest.raises(UserError, match="Say what to search by"):
        one(workspace)


# ---- several together


def query(name: str, vector: np.ndarray, **more: Any) -> Query:
    return Query(name, unit_rows(vector[None].astype(np.float32))[0], **more)


@settings(deadline=None, max_examples=40)
@given(a=st.integers(1, 5), b=st.integers(0, 4), seed=st.integers(0, 10_000))
def test_mean_less_mean(a: int, b: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plus = [query(f"p{i}", rng.normal(size=8), exclude=(f"p{i}",)) for i in range(a)]
    minus = [query(f"m{i}", rng.normal(size=8), exclude=(f"m{i}",)) for i in range(b)]
    by_hand = sum(q.vector.astype(float) for q in plus) / a
    if minus:
        by_hand = by_hand - sum(q.vector.astype(float) for q in minus) / b
    found = combined(plus, minus)
    np.testing.assert_allclose(found.vector, by_hand / np.linalg.norm(by_hand), atol=1e-6)
    assert found.exclude == tuple(q.name for q in (*plus, *minus))
    assert (found.key, found.single) == (None, False)


def test_a_photo_less_itself_is_nothing() -> None:
    one = query("a", np.arange(1, 9))
    with pytest.raises(UserError, match="Nothing is left of a less b"):
        combined([one], [query("b", np.arange(1, 9))])


def test_together_and_minus_leave_their_rows_out(workspace: Workspace) -> None:
    names = [CAT, "felidae/04.png"]
    plain = lookalikes(workspace, SearchBy(names, together=True), 60).frame
    assert not {*names} & {*plain["id"]}
    assert len(plain) == 58
    assert plain["percentile"].isna().all()  # a mean is no photo: no scale for it
    less = one(workspace, photos=[CAT], minus=[ROSE])
    cosines = {name: float(one(workspace, photos=[name]).vector @ less.vector) for name in names}
    ours = lookalikes(workspace, SearchBy([CAT], minus=[ROSE]), 60)
    (tiles,) = also_tiles(ours.queries).values()
    assert [(tile.caption, tile.name) for tile in tiles] == [("less like", ROSE)]
    assert ours.queries[0].exclude == (CAT, ROSE)
    found = dict(zip(ours.frame["id"], ours.frame["similarity"], strict=True))
    assert found["felidae/04.png"] == pytest.approx(cosines["felidae/04.png"], abs=1e-6)
    with pytest.raises(UserError, match="nobody: it is neither an id"):
        one(workspace, photos=[CAT], minus=["nobody"])


# ---- a part of a photo


@pytest.mark.parametrize(
    ("box", "by_hand"),
    [
        ("5,6,20,30", (5, 6, 25, 36)),
        ("0.25,0.5,0.5,0.5", (12, 20, 36, 40)),
        ("0,0,1,1", (0, 0, 48, 40)),
        ("30,10,500,500", (30, 10, 48, 40)),
    ],
)
def test_a_box_is_cropping_by_hand(
    workspace: Workspace, photos: Path, tmp_path: Path, box: str, by_hand: tuple[int, int, int, int]
) -> None:
    cropped = Image.open(photos / CAT).crop(by_hand)
    cropped.save(tmp_path / "part.png")
    before = len(EmbeddingStore.open(workspace.store("pixels")))
    part = one(workspace, photos=[str(photos / CAT)], box=Box.parse(box))
    assert len(EmbeddingStore.open(workspace.store("pixels"))) == before  # nothing is stored
    np.testing.assert_array_equal(
        part.vector, one(workspace, photos=[str(tmp_path / "part.png")]).vector
    )
    assert (part.key, part.name) == (None, f"{photos / CAT} [{box}]")
    of_row = one(workspace, photos=[CAT], box=Box.parse(box))
    np.testing.assert_array_equal(of_row.vector, part.vector)
    assert of_row.exclude == (CAT,)


def test_a_box_is_of_the_upright_photo(workspace: Workspace, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = Image.fromarray(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8))
    exif = pixels.getexif()
    exif[0x0112] = 6  # lies on its side
    pixels.save(tmp_path / "turned.png", exif=exif)
    upright = pixels.transpose(Image.Transpose.ROTATE_270).crop((10, 50, 40, 80))
    upright.save(tmp_path / "part.png")
    part = one(workspace, photos=[str(tmp_path / "turned.png")], box=Box.parse("10,50,30,30"))
    whole = one(workspace, photos=[str(tmp_path / "part.png")])
    np.testing.assert_array_equal(part.vector, whole.vector)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1,2,3", "not four numbers"),
        ("a,b,c,d", "not four numbers"),
        ("0,0,0,5", "size above 0"),
        ("-1,0,5,5", "0 or more"),
        ("nan,0,5,5", "0 or more"),
        ("0,0,inf,5", "0 or more"),
        ("0.5,0.5,20,30", "whole numbers"),
    ],
)
def test_boxes_that_are_none(text: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        Box.parse(text)


@settings(deadline=None, max_examples=80)
@given(data=st.data(), width=st.integers(1, 80), height=st.integers(1, 80))
def test_a_box_never_leaves_the_photo(data: st.DataObject, width: int, height: int) -> None:
    share = st.floats(0, 1)
    number = data.draw(st.sampled_from([share, st.integers(0, 200).map(float)]))
    x, y, w, h = (data.draw(number) for _ in range(4))
    photo = Image.new("RGB", (width, height))
    try:
        part = Box(x, y, w, h).crop(photo)
    except ImageProblem:
        return
    assert 1 <= part.width <= width
    assert 1 <= part.height <= height


def test_a_box_beside_the_photo_is_a_reason(workspace: Workspace, photos: Path) -> None:
    with pytest.raises(UserError, match=r"nothing of it \(the photo has 48 × 40 pixels\)"):
        one(workspace, photos=[str(photos / CAT)], box=Box.parse("48,0,10,10"))
    with pytest.raises(ImageProblem, match="too narrow"):
        Box.parse("0,0,1,3000").crop(Image.new("RGB", (50, 3000)))
    with pytest.raises(UserError, match="name the photo"):
        one(workspace, texts=["a cat"], box=Box.parse("0,0,1,1"))


# ---- standard input


def test_a_pasted_photo(
    workspace: Workspace, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pasted(monkeypatch, (photos / CAT).read_bytes())
    found = lookalikes(workspace, SearchBy(["-"]), 3, choice=CPU)
    assert found.queries[0].name == "-"
    first = found.to_pylist()[0]
    assert (first["id"], first["similarity"], first["same_photo"]) == (CAT, 1.0, True)
    kept = query_tiles(found.queries)["-"].path
    assert kept is not None
    assert Path(kept).read_bytes() == (photos / CAT).read_bytes()


@pytest.mark.parametrize("data", [b"", b"\n"])
def test_nothing_pasted(workspace: Workspace, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    pasted(monkeypatch, data)
    with pytest.raises(UserError, match="Standard input is empty: expected a photo"):
        one(workspace, photos=["-"])


def test_no_photo_pasted(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    pasted(monkeypatch, b"a text")
    with pytest.raises(UserError, match="-: it cannot be read: not an image"):
        one(workspace, photos=["-"])


def test_a_list_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    pasted(monkeypatch, "felidae/03.png\n\nwith space.jpg\r\nmöwe.png".encode() + b"\n\xff.png\n")
    assert listed() == ["felidae/03.png", "with space.jpg", "möwe.png", "\udcff.png"]


# ---- words


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small image-text model of open_clip with random weights."""
    import open_clip
    import torch

    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("clip") / "small.pt"
    torch.save(open_clip.create_model("ViT-S-32-alt").state_dict(), file)
    return f"openclip:ViT-S-32-alt/{file}"


@pytest.fixture
def with_words(clip: str, workspace: Workspace) -> tuple[Workspace, str]:
    """Hand-made vectors of the photos beside the true text side: ten classes of one direction."""
    spec = open_encoder(clip, CPU).spec
    rows = load_collection(workspace.collection).rows
    axes = rows["family"].factorize()[0]
    X = 0.05 * np.random.default_rng(0).normal(size=(len(rows), spec.dim))
    X[np.arange(len(rows)), axes] += 1
    store = EmbeddingStore.open(workspace.store(spec.name), spec)
    store.append(rows["key"].tolist(), unit_rows(X.astype(np.float32)))
    return workspace, spec.name


def test_a_text_ranks_by_its_cosine(
    with_words: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that points at a class's direction finds that class, in the order of the cosines."""
    workspace, name = with_words
    rows = load_collection(workspace.collection).rows
    store = EmbeddingStore.open(workspace.store(name))
    names = rows["family"].unique().tolist()

    def by_hand(_: Workspace, __: str, texts: list[str]) -> Any:
        X = np.full((len(texts), store.spec.dim), 0.01, dtype=np.float32)
        for i, text in enumerate(texts):
            X[i, names.index(text.removeprefix("a photo of ").removesuffix("."))] = 1
        return unit_rows(X)

    monkeypatch.setattr(query_texts, "text_vectors", by_hand)
    found = lookalikes(workspace, SearchBy(texts=["rosaceae", "canidae"]), 12, [name])
    for text in ("rosaceae", "canidae"):
        hits = found.frame[found.frame["query"] == text]
        assert set(hits["family"]) == {text}
        x = by_hand(workspace, "", [text])[0]
        cosines = store.load(rows["key"].tolist()).astype(float) @ x.astype(float)
        best = np.argsort(-cosines, kind="stable")[:12]
        assert hits["id"].tolist() == rows["id"].iloc[best].tolist()
        np.testing.assert_allclose(hits["similarity"], cosines[best], atol=1e-6)
    assert found.frame["percentile"].isna().all()  # pairs of photos are no scale for words
    both = lookalikes(workspace, SearchBy([CAT], texts=["rosaceae"], together=True), 5, [name])
    assert both.queries[0].name == f"{CAT} + rosaceae"
    assert both.queries[0].exclude == (CAT,)


def test_the_way_of_a_text_through_clip(with_words: tuple[Workspace, str]) -> None:
    """The vector is that of open_clip's text side for the prompt; beside pixels it is padded."""
    import open_clip
    import torch

    workspace, name = with_words
    file = EmbeddingStore.open(workspace.store(name)).spec.source.split("/", 1)[1]
    model = open_clip.create_model("ViT-S-32-alt", pretrained=file).eval()
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer("ViT-S-32-alt")(["a photo of a spotted cat."])
        theirs = model.encode_text(tokens, normalize=True)[0].numpy()
    queries, _ = read_queries(Searchable(workspace, [name]), SearchBy(texts=["a spotted cat"]))
    np.testing.assert_allclose(queries[0].vector, theirs, atol=1e-5)
    beside = text_rows(Searchable(workspace, ["pixels", name]), ["a photo of a spotted cat."])[0]
    assert not beside[:192].any()
    np.testing.assert_allclose(beside[192:], theirs, atol=1e-5)


def test_an_encoder_of_pictures_alone_names_the_command(workspace: Workspace) -> None:
    with pytest.raises(UserError, match=r"pixels knows pictures only.*`cli embed PHOTOS --enc"):
        one(workspace, texts=["a spotted cat"])


def test_prompts() -> None:
    assert text_prompt(" a spotted cat") == "a photo of a spotted cat."
    assert text_prompt("Felidae") == "a photo of Felidae."
    assert text_prompt("A photo of snow") == "A photo of snow"
    with pytest.raises(UserError, match="needs words"):
        text_prompt("  ")


# ---- hits


def test_hits_are_those_of_the_index(workspace: Workspace) -> None:
    """The quick way and the usual one agree on everything but the percentile."""
    collection = load_collection(workspace.collection)
    store = EmbeddingStore.open(workspace.store("pixels"))
    X = store.load(collection.rows["key"].tolist())
    index = Index.build(X, collection.rows["id"].tolist())
    for k in (1, 7, 100):
        found = lookalikes(workspace, SearchBy([CAT, ROSE]), k)
        ours = found.frame
        for name, query in zip((CAT, ROSE), found.queries, strict=True):
            theirs = narrowed_hits(index, collection.rows, lambda rows: X[rows], [query], k)
            mine = ours[ours["query"] == name].reset_index(drop=True)
            assert mine["id"].tolist() == theirs["id"].tolist()
            columns = theirs.columns.tolist()
            assert mine.drop(columns="percentile").columns.tolist() == columns
            for column in ("rank", "similarity", "same_photo", "path", "family"):
                np.testing.assert_array_equal(mine[column], theirs[column])


def test_exact_copies_come_first(photos: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    folder = tmp_path / "twice"
    shutil.copytree(photos, folder)
    shutil.copy(folder / CAT, folder / "rosaceae" / "a copy.png")
    shutil.copy(folder / CAT, folder / "anatidae" / "another.png")
    run("embed", folder, "--encoder", "pixels", "-w", tmp_path)
    hits = lookalikes(Workspace(tmp_path), SearchBy([CAT]), 4).frame
    assert hits["id"].tolist()[:2] == ["anatidae/another.png", "rosaceae/a copy.png"]
    assert hits["same_photo"].tolist() == [True, True, False, False]
    assert hits["similarity"].tolist()[:2] == [1, 1]
    by_path = lookalikes(Workspace(tmp_path), SearchBy([str(photos / CAT)]), 2).frame
    assert by_path["id"].tolist() == ["anatidae/another.png", CAT]  # k may end among the copies


def test_a_column_of_our_name_is_told_apart(photos: Path, workspace: Workspace) -> None:
    found = load_collection(workspace.collection)
    for name in ("rank", "percentile", "similarity"):
        found.rows[name] = "theirs"
    save_collection(found.rows, found.label, found.root, workspace.collection)
    hit = lookalikes(workspace, SearchBy([CAT]), 1).to_pylist()[0]
    assert (hit["rank"], hit["table_rank"], hit["table_percentile"]) == (1, "theirs", "theirs")


def test_percentiles_are_of_this_collection(workspace: Workspace) -> None:
    place = Searchable(workspace)
    X = place.vectors(place.photos.keys).astype(float)
    pairs = (X @ X.T)[np.triu_indices(60, 1)]
    for hit in lookalikes(workspace, SearchBy([CAT]), 59).to_pylist():
        naive = (pairs < hit["similarity"] - 1e-6).mean() * 100
        assert hit["percentile"] == pytest.approx(min(naive, place.scale.highest), abs=0.1)
    assert (workspace.index(("pixels",)) / "similarity_scale.npz").exists()


def test_hits_are_plain_and_make_a_page(workspace: Workspace, tmp_path: Path) -> None:
    found = lookalikes(workspace, SearchBy([CAT]), 3)
    write_lookalikes(tmp_path / "page.html", found)
    assert found.label == "family"
    hit = json.loads(show_hits(found, "json"))[0]
    assert set(hit) == {
        "rank", "id", "similarity", "percentile", "file_path", "path", "same_photo", "family"
    }  # fmt: skip
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg;base64") == 4


def test_narrowed_hits_have_the_same_columns(workspace: Workspace) -> None:
    plain = lookalikes(workspace, SearchBy([CAT]), 59)
    some = lookalikes(workspace, SearchBy([CAT]), 7, where="family != 'felidae'")
    assert some.column_names == plain.column_names
    expected = [hit for hit in plain.to_pylist() if hit["family"] != "felidae"][:7]
    found = [hit | {"rank": None} for hit in some.to_pylist()]
    assert found == [hit | {"rank": None} for hit in expected]
    assert some.frame["rank"].tolist() == list(range(1, 8))


# ---- the index in place


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(1, 60), k=st.integers(1, 70))
def test_a_flat_file_answers_as_the_index(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    X = rng.integers(-2, 3, (n, 5))  # many are equal, or equally far
    X[~X.any(axis=1), 0] = 1
    rows, ids = unit_rows(X.astype(np.float32)), [f"id {i}" for i in range(n)]
    folder = tmp_path_factory.mktemp("flat")
    index = Index.build(rows, ids, "flat", "source")
    index.save(folder)
    file = FlatFile.open(folder, ids, "source")
    assert file is not None
    allowed = rng.random(n) < 0.5
    for asked in (None, allowed):
        for mine, theirs in zip(
            file.search(rows[:3], k, asked), index.search(rows[:3], k, asked), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)


def test_a_flat_file_that_is_none(tmp_path: Path) -> None:
    X = unit_rows(np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32))
    ids = [f"id {i}" for i in range(30)]
    assert FlatFile.open(tmp_path, ids, "s") is None
    Index.build(X, ids, "hnsw", "s").save(tmp_path)
    assert FlatFile.open(tmp_path, ids, "s") is None
    Index.build(X, ids, "flat", "s").save(tmp_path)
    assert FlatFile.open(tmp_path, ids, "s") is not None
    assert FlatFile.open(tmp_path, ids, "another") is None
    assert FlatFile.open(tmp_path, ids[1:], "s") is None
    data = bytearray((tmp_path / "index.faiss").read_bytes())
    for at in (2, 300):
        data[at] ^= 1
        (tmp_path / "index.faiss").write_bytes(data)
        assert FlatFile.open(tmp_path, ids, "s") is None
    (tmp_path / "index.faiss").unlink()
    assert FlatFile.open(tmp_path, ids, "s") is None


def test_a_flat_file_without_the_quick_check(tmp_path: Path) -> None:
    """As indices were written before there was one: the SHA-256 says whether it is whole."""
    X = unit_rows(np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32))
    ids = [f"id {i}" for i in range(30)]
    Index.build(X, ids, "flat", "s").save(tmp_path)
    about = json.loads((tmp_path / "index.json").read_text())
    del about["check"]
    (tmp_path / "index.json").write_text(json.dumps(about))
    assert FlatFile.open(tmp_path, ids, "s") is not None
    with (tmp_path / "index.faiss").open("r+b") as handle:
        handle.seek(-1, 2)
        handle.write(b"\x7f")
    assert FlatFile.open(tmp_path, ids, "s") is None


def test_a_damaged_index_is_made_anew(workspace: Workspace) -> None:
    before = lookalikes(workspace, SearchBy([CAT]), 5).to_pylist()
    file = workspace.index(("pixels",)) / "index.faiss"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert lookalikes(workspace, SearchBy([CAT]), 5).to_pylist() == before
    assert file.read_bytes() != bytes(data)


def test_the_index_is_that_of_the_photos_now_and_in_memory_where_it_cannot_be_written(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = workspace.index(("pixels",)) / "index.json"
    Searchable(workspace).index.search(np.eye(192, dtype=np.float32)[:1], 1)
    stamp = about.stat().st_mtime_ns
    assert Searchable(workspace).index.ids == Searchable(workspace).photos.ids
    assert about.stat().st_mtime_ns == stamp  # it is not made again
    there = load_collection(workspace.collection)
    renamed = there.rows.assign(id="other " + there.rows["id"])
    save_collection(renamed, there.label, workspace.folder, workspace.collection)
    assert Searchable(workspace).index.ids == renamed["id"].tolist()
    about.unlink()

    def read_only(_: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "fsync", read_only)
    index = Searchable(workspace).index
    assert not about.exists()
    x = Searchable(workspace).row_vectors([4])
    assert index.search(x, 1)[0] == [[4]]
