"""Photos in tars, zips and Parquet are those of the folder they were made from; nothing leaks."""

import io
import json
import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed import archives, sources
from embed.collection import Collection, find_photos, read_collection
from embed.errors import UserError
from embed.files import sha256
from embed.images import ImageProblem
from embed.tables import read_table

Made = Callable[[Path, Path], Path]
FAMILIES = ("canidae", "felidae", "rosacées")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos in three class folders: any bytes will do, for nobody decodes them."""
    root = tmp_path_factory.mktemp("sources") / "photos"
    rng = random.Random(0)
    for family in FAMILIES:
        for n in range(4):
            path = root / family / ("old" if n == 3 else ".") / f"{n}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(rng.randbytes(rng.randrange(1, 5000)))
    return root


def photos_of(root: Path) -> list[Path]:
    return sorted(root.rglob("*.jpg"))


# ---- the same photos in every form


def as_tar(root: Path, made: Path) -> Path:
    with tarfile.open(made / "photos.tar", "w") as tar:
        for path in photos_of(root):
            tar.add(path, path.relative_to(root))
    return made / "photos.tar"


def as_packed_folder(root: Path, made: Path) -> Path:
    with tarfile.open(made / "photos.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(root, "./home/photos", filter=lambda member: member)
    return made / "photos.tar"


def as_zip(root: Path, made: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(made / "photos.zip", "w", method) as packed:
        for path in photos_of(root):
            packed.write(path, path.relative_to(root))
    return made / "photos.zip"


def as_stored_zip(root: Path, made: Path) -> Path:
    return as_zip(root, made, zipfile.ZIP_STORED)


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def as_webdataset(root: Path, made: Path, first: tuple[int, int] = (0, 100)) -> Path:
    """Two shards, with the family in the .json as webdataset's writers lay it out."""
    halves = photos_of(root)[:5], photos_of(root)[5:]
    for shard, (half, start) in enumerate(zip(halves, first, strict=True)):
        with tarfile.open(made / f"shard-{shard:06}.tar", "w") as tar:
            for n, path in enumerate(half, start=start):
                family = path.relative_to(root).parts[0]
                about = {"family": family, "n": n, "tags": ["a"], "key": "k", "gone": None}
                add(tar, f"{n:06}.cls", str(FAMILIES.index(family)).encode())
                add(tar, f"{n:06}.jpg", path.read_bytes())
                add(tar, f"{n:06}.json", json.dumps(about).encode())
                add(tar, f"{n:06}.txt", f"a photo of {family}\n".encode())
    return made


def hub_table(root: Path, paths: list[Path]) -> pa.Table:
    rows = {
        "image": [{"bytes": path.read_bytes(), "path": path.name} for path in paths],
        "family": [FAMILIES.index(path.relative_to(root).parts[0]) for path in paths],
        "weight": [0.5 * n for n in range(len(paths))],
        "boxes": [[1, 2]] * len(paths),
    }
    features = {
        "image": {"_type": "Image"},
        "family": {"names": list(FAMILIES), "_type": "ClassLabel"},
    }
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.table(rows).replace_schema_metadata(about)


def as_hub(root: Path, made: Path) -> Path:
    (made / "data").mkdir()
    paths = photos_of(root)
    for shard, part in enumerate((paths[:7], paths[7:])):
        name = f"train-{shard:05}-of-00002.parquet"
        pq.write_table(hub_table(root, part), made / "data" / name, row_group_size=3)
    return made


def as_plain_parquet(root: Path, made: Path) -> Path:
    rows = {
        "id": [str(path.relative_to(root)) for path in photos_of(root)],
        "jpg": [path.read_bytes() for path in photos_of(root)],
        "family": [path.relative_to(root).parts[0] for path in photos_of(root)],
    }
    pq.write_table(pa.table(rows), made / "photos.parquet", row_group_size=5)
    return made / "photos.parquet"


FORMS = (
    as_tar, as_packed_folder, as_zip, as_stored_zip, as_webdataset, as_hub, as_plain_parquet,
)  # fmt: skip


def keys_and_families(found: Collection) -> list[tuple[str, str]]:
    keys = [sha256(sources.read(path)) for path in found.rows["path"]]
    return sorted(zip(keys, found.rows[found.label], strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_photos_and_labels_of_the_folder(form, folder, tmp_path):
    made = form(folder, tmp_path)
    found = read_collection(made, None)
    assert found.problems == []
    assert found.label == "family"
    assert keys_and_families(found) == keys_and_families(read_collection(folder, None))
    assert found.rows["id"].is_unique
    assert found.rows["path"].is_unique
    assert list(found.rows["path"]) == [f"{found.root}/{name}" for name in found.rows["file_path"]]
    assert found.rows.equals(read_collection(made, None).rows)
    bare = find_photos(made).rows
    assert bare.equals(found.rows[["id", "path", "file_path"]])


@pytest.mark.parametrize("form", [as_tar, as_packed_folder, as_zip, as_stored_zip])
def test_ids_of_an_archive_are_those_of_the_folder(form, folder, tmp_path):
    found = read_collection(form(folder, tmp_path), None)
    assert sorted(found.rows["id"]) == sorted(read_collection(folder, None).rows["id"])


@pytest.mark.parametrize("form", FORMS)
def test_four_threads_at_once_read_the_same(form, folder, tmp_path):
    paths = find_photos(form(folder, tmp_path)).rows["path"].tolist()
    archives._opened.clear()
    once = [sources.read(path) for path in paths]
    some = [random.Random(seed).choice(range(len(paths))) for seed in range(300)]
    archives._opened.clear()
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda at: sources.read(paths[at]), some))
    assert read == [once[at] for at in some]


def test_more_archives_than_are_kept_open(folder, tmp_path):
    shards = [tmp_path / f"{n:02}.tar" for n in range(3 * archives._OPEN)]
    for shard in shards:
        with tarfile.open(shard, "w") as tar:
            add(tar, f"{shard.stem}.jpg", shard.stem.encode())
    before = len(list(Path("/dev/fd").iterdir()))
    paths = find_photos(tmp_path).rows["path"].tolist()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(sources.read, 5 * paths)) == 5 * [s.stem.encode() for s in shards]
    assert len(archives._opened) == archives._OPEN
    assert len(list(Path("/dev/fd").iterdir())) <= before + 2 * archives._OPEN


# ---- webdataset


def test_what_lies_beside_a_photo_becomes_columns(folder, tmp_path):
    found = read_collection(as_webdataset(folder, tmp_path), None)
    assert found.rows["id"].tolist() == [f"{n:06}" for n in (*range(5), *range(100, 107))]
    first = found.rows.iloc[0].drop(["id", "path"]).to_dict()
    assert first.pop("gone") is None or pd.isna(found.rows["gone"]).all()
    assert first == {
        "file_path": "shard-000000.tar!/000000.jpg", "cls": "0", "family": "canidae", "n": "0",
        "tags": '["a"]', "table_key": "k", "text": "a photo of canidae",
    }  # fmt: skip
    assert found.notes == []


def test_keys_that_begin_anew_in_each_shard_get_its_name(folder, tmp_path):
    found = read_collection(as_webdataset(folder, tmp_path, first=(0, 0)), None)
    assert found.rows["id"].is_unique
    assert found.rows["id"][0] == "shard-000000/000000"
    assert found.rows["id"][5] == "shard-000001/000000"


def test_shards_that_differ_by_suffix_alone(folder, tmp_path):
    as_tar(folder, tmp_path)
    as_zip(folder, tmp_path)
    found = read_collection(tmp_path, None)
    assert len(found.rows) == 24
    assert found.rows["id"].is_unique


def test_another_label_than_family(folder, tmp_path):
    made = as_webdataset(folder, tmp_path)
    assert read_collection(made, None, "cls").label == "cls"
    with pytest.raises(UserError, match=r"no column 'clss' for the label. Did you mean 'cls'"):
        read_collection(made, None, "clss")


def test_two_photos_of_one_sample_and_a_photo_without_any(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("d/1.left.jpg", "d/1.right.jpg", "d/1.json", "d/2.jpg"):
            add(tar, name, b'{"x": 1}')
    found = read_collection(tmp_path / "a.tar", None)
    assert found.rows["id"].tolist() == ["d/1.left", "d/1.right", "d/2"]
    assert found.rows["x"].fillna("").tolist() == ["1", "1", ""]


@pytest.mark.parametrize(
    "data", [b"{", b"[1]", b"\xff", b"[" * 10_000, b" " * 2**21], ids=lambda data: str(data[:3])
)
def test_a_broken_json_costs_no_photo(data, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "1.jpg", b"x")
        add(tar, "1.json", data)
        add(tar, "2.jpg", b"y")
        add(tar, "2.json", b'{"family": "\\ud800", "id": "own"}')
    found = read_collection(tmp_path / "a.tar", None)
    assert found.rows["id"].tolist() == ["1", "2"]
    assert found.rows["table_id"].fillna("").tolist() == ["", "own"]
    (problem,) = found.problems
    assert problem.where == "a.tar!/1.json"
    pa.Table.from_pandas(found.rows)  # no half letters


# ---- Parquet


def test_the_hubs_columns_and_classes(folder, tmp_path):
    found = read_collection(as_hub(folder, tmp_path), None)
    assert list(found.rows) == ["id", "path", "file_path", "family", "weight"]
    assert found.rows["weight"][1] == "0.5"
    assert found.rows["id"][0] == "data/train-00000-of-00002/0"  # names stand there twice
    assert found.rows["path"][8] == str(tmp_path / "data/train-00001-of-00002.parquet!/1")


def test_classes_that_are_unknown_and_rows_without_bytes(folder, tmp_path):
    table = hub_table(folder, photos_of(folder)[:4])
    table = table.set_column(1, "family", pa.array([-1, 7, None, 0]))
    empty = pa.array(
        [{"bytes": None, "path": "x"}, None, {"bytes": b"", "path": "y"}, {"bytes": b"1"}]
    )
    pq.write_table(table.set_column(0, "image", empty), tmp_path / "a.parquet")
    found = read_collection(tmp_path / "a.parquet", None)
    assert found.rows["family"].fillna("").tolist() == ["", "7", "", "canidae"]
    said = [problem_of(path) for path in found.rows["path"]]
    assert said == ["holds no bytes", "holds no bytes", "an empty file (0 bytes)", ""]


def test_a_row_group_larger_than_the_window_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr("embed.parquet._WINDOW", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    photos = [random.Random(n).randbytes(300) for n in range(200)]
    pq.write_table(pa.table({"image": photos}), tmp_path / "a.parquet", row_group_size=90)
    order = [*range(200), *random.Random(0).sample(range(200), 60)]
    for at in order:
        assert sources.read(f"{tmp_path}/a.parquet!/{at}") == photos[at]
    assert "is not a row" in problem_of(f"{tmp_path}/a.parquet!/200")
    assert "is not a row" in problem_of(f"{tmp_path}/a.parquet!/-1")
    assert sources.stamp(f"{tmp_path}/a.parquet!/7") == sources.stamp(f"{tmp_path}/a.parquet")


def test_a_damaged_row_group_costs_its_own_rows(tmp_path):
    path = tmp_path / "a.parquet"
    photos = [random.Random(n).randbytes(3000) for n in range(60)]
    table = pa.table({"image": photos})
    pq.write_table(table, path, row_group_size=20, use_dictionary=False, write_page_checksum=True)
    about = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[about.data_page_offset : about.data_page_offset + 40] = bytes(40)
    path.write_bytes(data)
    said = [problem_of(f"{path}!/{row}") for row in range(60)]
    assert said[:20] + said[40:] == [""] * 40
    assert all("damaged part" in why for why in said[20:40])


def test_a_table_that_is_parquet(tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"x")
    (tmp_path / "2.jpg").write_bytes(b"y")
    rows = {
        "file_path": ["1.jpg", "2.jpg", "no.jpg", None, "1.jpg"],
        "family": pa.array(["a", None, "c", None, "a"]).dictionary_encode(),
        "n": [1.0, 12345678.0, None, None, 2.5],
        "sure": [True, False, None, None, True],
        "photo": [b"no text", b"", None, None, b""],
        "day": pd.to_datetime(["2020-01-02", None, None, None, None]),
    }
    table = pa.table({**rows, "day": pa.array(rows["day"]).cast(pa.date32())})
    pq.write_table(table, tmp_path / "t.parquet")
    found = read_collection(None, tmp_path / "t.parquet")
    assert found.rows["id"].tolist() == ["1.jpg", "2.jpg"]
    assert found.rows.iloc[0].drop("path").to_dict() == {
        "id": "1.jpg", "file_path": "1.jpg", "family": "a", "n": "1", "sure": "true",
        "day": "2020-01-02",
    }  # fmt: skip
    assert [(problem.where, problem.reason) for problem in found.problems] == [
        ("t.parquet row 3", "'no.jpg' does not exist"),
        ("t.parquet row 5", "'1.jpg' stands already in row 1"),
    ]
    path = tmp_path / "t.parquet"
    pq.write_table(table.drop_columns("photo"), path)
    with pytest.raises(UserError, match="cli embed --table"):
        read_collection(path, None)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"t.parquet is damaged"):
        read_table(path, ["file_path"])


# ---- members that are not what they should be


def problem_of(location: str) -> str:
    try:
        sources.read(location)
    except ImageProblem as problem:
        return str(problem)
    return ""


def reasons(found: Collection) -> dict[str, str]:
    return {problem.where: problem.reason for problem in found.problems}


def special(name: str, kind: bytes, link: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


def test_hostile_members_of_a_tar(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for name in ("../../etc/passwd.jpg", "/etc/a.jpg", "a/../../b.jpg", "good/1.jpg"):
            add(tar, name, b"x")
        tar.addfile(special("link.jpg", tarfile.SYMTYPE, "/etc/passwd"))
        tar.addfile(special("hard.jpg", tarfile.LNKTYPE, "good/1.jpg"))
        tar.addfile(special("device.jpg", tarfile.CHRTYPE))
        tar.addfile(special("pipe.jpg", tarfile.FIFOTYPE))
        tar.addfile(special("folder.jpg", tarfile.DIRTYPE))
        add(tar, "good/twice.jpg", b"old")
        add(tar, "./good//twice.jpg", b"new")
        add(tar, os.fsdecode(b"good/caf\xe9.jpg"), b"x")
        add(tar, "good/new\nline.jpg", b"n")
        add(tar, "good/" + "long" * 60 + ".jpg", b"l")
        for name in ("__MACOSX/good/1.jpg", "good/._1.jpg", "good/Thumbs.db", "good/notes.md"):
            add(tar, name, b"x")
        add(tar, "good/empty.jpg", b"")
        add(tar, "good/raw.NEF", b"II*\0")
    found = read_collection(tmp_path / "a.tar", None)
    outside = "its name leads out of the archive"
    assert reasons(found) == {
        "a.tar!/../../etc/passwd.jpg": outside,
        "a.tar!//etc/a.jpg": outside,
        "a.tar!/../b.jpg": outside,
        "a.tar!/link.jpg": "a link in the archive, not a photo",
        "a.tar!/hard.jpg": "a link in the archive, not a photo",
        "a.tar!/device.jpg": "not a regular file (a pipe or a device)",
        "a.tar!/pipe.jpg": "not a regular file (a pipe or a device)",
        "a.tar!/good/twice.jpg": "stands in the archive twice: the later one counts",
        "a.tar!/good/caf\\udce9.jpg": "its name is not UTF-8 text",
    }
    read = {name.removeprefix("good/"): problem_of(f"{tmp_path}/a.tar!/{name}") or
            sources.read(f"{tmp_path}/a.tar!/{name}") for name in found.rows["id"]}  # fmt: skip
    assert read == {
        "1.jpg": b"x", "twice.jpg": b"new", "new\nline.jpg": b"n", "long" * 60 + ".jpg": b"l",
        "empty.jpg": "an empty file (0 bytes)",
        "raw.NEF": "a camera RAW photo, which is not supported: convert it to JPEG",
    }  # fmt: skip
    assert found.notes == ["other files, passed over: 1 (.md)"]
    assert problem_of(f"{tmp_path}/a.tar!/none.jpg") == "is not in the archive"
    assert problem_of(f"{tmp_path}/a.tar!/link.jpg") == "a link in the archive, not a photo"
    assert "does not exist" in problem_of(f"{tmp_path}/none.tar!/1.jpg")


def test_a_sparse_member_is_left_out(tmp_path):
    data = tarfile.TarInfo("a/1.jpg")
    data.type, data.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(data.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"00000000000\0" + b"00000001000\0"  # offset, size of the only piece
    block[483:495] = b"00000001000\0"  # its real size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        add(tar, "a/2.jpg", b"y")
    (tmp_path / "a.tar").write_bytes(bytes(block) + bytes(512) + (tmp_path / "b.tar").read_bytes())
    found = read_collection(tmp_path / "a.tar", None)
    assert found.rows["id"].tolist() == ["a/2.jpg"]
    assert "sparse" in reasons(found)["a.tar!/a/1.jpg"]


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_truncated_tar_gives_what_is_whole(keep, folder, tmp_path):
    path = as_tar(folder, tmp_path)
    whole = {key for key, _ in keys_and_families(read_collection(path, None))}
    with tarfile.open(path) as tar:
        tar.getmembers()
        data = path.read_bytes()[: tar.offset]
    path.write_bytes(data[: int(keep * len(data))])
    found = read_collection(path, None)
    keys = {key for key, _ in keys_and_families(found)}
    assert keys < whole
    assert len(keys) >= int(keep * 8)
    assert any(problem.where == "photos.tar" for problem in found.problems)
    path.write_bytes(data)
    found = read_collection(path, None)
    assert len(found.rows) == 12
    assert "no end mark" in reasons(found)["photos.tar"]


def test_garbage_in_the_middle_of_a_tar_is_noticed(folder, tmp_path):
    path = as_tar(folder, tmp_path)
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[6].offset
    data = bytearray(path.read_bytes())
    data[offset : offset + 512] = b"\xaa" * 512
    path.write_bytes(data)
    found = read_collection(path, None)
    assert len(found.rows) == 6
    assert f"damaged after byte {offset:,}" in reasons(found)["photos.tar"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_to_a_tar_crashes_or_hangs(tmp_path_factory, data):
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=data.draw(st.sampled_from([0, 1, 2]))
    ) as tar:
        for name in ("a/1.jpg", "a/" + "b" * 120 + "/2.jpg", "c/é.jpg"):
            add(tar, name, b"x" * 100)
    damaged = bytearray(buffer.getvalue()[:5000])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.sampled_from([0, 0x80, 0xFF, 0x20, 0x30, 0x37, *b"xgLKS1"]))
        block = at // 512 * 512
        header = damaged[block : block + 512]
        if data.draw(st.booleans()) and len(header) == 512:  # with a checksum that is right
            header[148:156] = b" " * 8
            damaged[block + 148 : block + 156] = b"%06o\0 " % sum(header)
    path = tmp_path_factory.getbasetemp() / "damaged.tar"
    path.write_bytes(damaged)
    archives._opened.clear()
    try:
        found = find_photos(path)
    except UserError:
        return
    for location in found.rows["path"]:
        problem_of(location)


def negative(name: str, size: int) -> bytes:
    """A header whose size runs backwards, over which `tarfile` goes in circles."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" + (256**11 + size).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("size", [-512, -1024, -(10**6)])
def test_a_tar_that_runs_in_circles_ends(size, tmp_path):
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        add(tar, "a/1.jpg", b"y")
    data = (tmp_path / "b.tar").read_bytes()[:1024] + negative("a/2.jpg", size) + bytes(1024)
    (tmp_path / "b.tar").write_bytes(data)
    found = read_collection(tmp_path / "b.tar", None)
    assert found.rows["id"].tolist() == ["a/1.jpg"]
    assert "damaged after byte" in reasons(found)["b.tar"]


def test_hostile_members_of_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("../up.jpg", "/etc/a.jpg", "good/1.jpg", "good/é.jpg"):
            packed.writestr(name, b"x" * 100)
        link = zipfile.ZipInfo("good/link.jpg")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
        odd = zipfile.ZipInfo("good/odd.jpg")
        odd.compress_type = zipfile.ZIP_LZMA
        packed.writestr(odd, b"x")
        packed.writestr("good/bomb.jpg", b"x" * 2**20)
        packed.writestr("good/wrong.jpg", b"y" * 3000)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for name, size in ((b"good/bomb.jpg", 2**30), (b"good/wrong.jpg", 2999)):
        at = data.rindex(b"PK\1\2", 0, data.rindex(name))
        data[at + 24 : at + 28] = struct.pack("<I", size)
    locked = data.rindex(b"PK\1\2", 0, data.rindex("good/é.jpg".encode())) + 8
    data[locked] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    found = read_collection(tmp_path / "a.zip", None)
    assert reasons(found) == {
        "a.zip!/../up.jpg": "its name leads out of the archive",
        "a.zip!//etc/a.jpg": "its name leads out of the archive",
        "a.zip!/good/link.jpg": "a link in the archive, not a photo",
        "a.zip!/good/é.jpg": "locked with a password: unpack the archive",
        "a.zip!/good/odd.jpg": "packed in a way that is not supported: pack the archive anew "
        "(deflate)",
    }
    said = {name: problem_of(f"{tmp_path}/a.zip!/{name}") for name in found.rows["id"]}
    assert said == {
        "good/1.jpg": "",
        "good/bomb.jpg": "too large: 1,073,741,824 bytes, at most 268,435,456",
        "good/wrong.jpg": "damaged in the archive: its checksum is wrong",
    }


def test_names_in_zips_of_other_systems(tmp_path):
    """The flag for UTF-8 is left off by some, and some write backslashes."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name in ("b/xxxx.jpg", "b/yyy.jpg", "c\\zzz.jpg"):
            packed.writestr(name, b"x")
    data = (tmp_path / "a.zip").read_bytes()
    data = data.replace(b"xxxx.jpg", "ééjpg".encode()[:4] + b".jpg")
    data = data.replace(b"yyy.jpg", b"\x82\x82y.jpg")  # é in the code page of DOS
    (tmp_path / "a.zip").write_bytes(data)
    found = read_collection(tmp_path / "a.zip", None)
    assert found.rows["id"].tolist() == ["b/éé.jpg", "b/ééy.jpg", "c/zzz.jpg"]
    assert [sources.read(path) for path in found.rows["path"]] == [b"x"] * 3


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_to_a_zip_crashes_or_gives_wrong_bytes(tmp_path_factory, data):
    buffer = io.BytesIO()
    photos = {f"a/{n}.jpg": random.Random(n).randbytes(80) * 2 for n in range(3)}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in photos.items():
            packed.writestr(name, content)
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.zip"
    path.write_bytes(damaged)
    archives._opened.clear()
    try:
        found = find_photos(path)
    except UserError:
        return
    for location in found.rows["path"]:
        if not problem_of(location):
            assert sources.read(location) in photos.values()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damage_to_a_parquet_crashes_or_hangs(tmp_path_factory, data):
    buffer = io.BytesIO()
    rows = {"image": [{"bytes": b"x" * 50, "path": f"{n}.jpg"} for n in range(6)], "n": range(6)}
    pq.write_table(pa.table(rows), buffer, row_group_size=4)
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    path.write_bytes(damaged)
    archives._opened.clear()
    try:
        found = find_photos(path)
    except UserError:
        return
    for location in found.rows["path"]:
        problem_of(location)


# ---- archives as a whole


@pytest.mark.parametrize("name", ["a.tar", "a.zip", "a.parquet"])
@pytest.mark.parametrize("data", [b"", b"x" * 3000, b"PK\3\4" + b"x" * 600, b"PAR1" + b"x" * 99])
def test_what_is_no_archive_is_refused(name, data, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=name):
        read_collection(tmp_path / name, None)
    with pytest.raises(UserError, match=name):
        find_photos(tmp_path / name)


def test_an_archive_without_photos(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "notes.txt", b"x")
    with pytest.raises(UserError, match=r"no photos in .*a\.tar .*1 \(\.txt\)"):
        read_collection(tmp_path / "a.tar", None)
    with pytest.raises(UserError, match=r"gunzip -k b\.tar\.gz"):
        read_collection(touch(tmp_path / "b.tar.gz"), None)


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_damaged_shard_among_good_ones_costs_itself_alone(folder, tmp_path):
    as_webdataset(folder, tmp_path)
    touch(tmp_path / "shard-000002.tar", b"x" * 2000)
    touch(tmp_path / "shard-000003.parquet", b"x" * 2000)
    found = read_collection(tmp_path, None)
    assert len(found.rows) == 12
    assert set(reasons(found)) == {"shard-000002.tar", "shard-000003.parquet"}


def test_archives_beside_photos_are_passed_over_and_said(folder, tmp_path):
    as_tar(folder, tmp_path)
    touch(tmp_path / "a" / "1.jpg")
    found = read_collection(tmp_path, None)
    assert found.rows["id"].tolist() == ["a/1.jpg"]
    assert found.notes == ["other files, passed over: 1 (.tar)"]


def test_a_workspace_among_shards_is_no_shard(folder, tmp_path):
    as_hub(folder, tmp_path)
    pq.write_table(pa.table({"id": ["a"], "path": ["/a.jpg"]}), tmp_path / "collection.parquet")
    assert len(read_collection(tmp_path, None).rows) == 12


@pytest.mark.parametrize("inside", ["", "photos/"])
def test_a_table_in_an_archive_is_its_table(inside, tmp_path):
    text = (
        "id,family,file_path\n1,a,x/1.jpg\n2,b,./x\\2.jpg\n3,c,../3.jpg\n4,d,/etc/passwd\n"
        "5,e,x/none.jpg\n6,f,X/1.jpg\n7,g,https://x.org/7.jpg\n8,h,x/../../o/3.jpg\n"
    )
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(f"{inside}metadata.csv", text)
        for name in ("x/1.jpg", "x/2.jpg", "x/3.jpg"):
            packed.writestr(f"{inside}{name}", name)
    found = read_collection(tmp_path / "a.zip", None)
    assert found.label == "family"
    assert found.rows["id"].tolist() == ["1", "2"]
    assert [sources.read(path) for path in found.rows["path"]] == [b"x/1.jpg", b"x/2.jpg"]
    assert found.notes[0] == f"{inside}metadata.csv in a.zip is taken as its table"
    outside = "leads out of the folder of the table in a.zip"
    assert [problem.reason for problem in found.problems] == [
        f"'../3.jpg' {outside}",
        f"'/etc/passwd' {outside}",
        "'x/none.jpg' does not exist in the archive",
        f"'X/1.jpg' does not exist in the archive (did you mean '{inside}x/1.jpg'?)",
        "'https://x.org/7.jpg' is a web address: fetch it with --urls, or download the photo first",
        f"'x/../../o/3.jpg' {outside}",
    ]


# ---- locations


def test_a_file_with_an_exclamation_mark_wins(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "b/1.jpg", b"member")
    touch(tmp_path / "c!" / "a.tar!" / "1.jpg", b"file")
    with tarfile.open(tmp_path / "c!" / "d.tar", "w") as tar:
        add(tar, "x!/1.jpg", b"odd")
    assert sources.read(f"{tmp_path}/c!/a.tar!/1.jpg") == b"file"
    assert sources.stamp(f"{tmp_path}/c!/a.tar!/1.jpg")[0] == 4
    assert sources.read(f"{tmp_path}/a.tar!/b/1.jpg") == b"member"
    assert sources.read(f"{tmp_path}/c!/d.tar!/x!/1.jpg") == b"odd"
    assert "does not exist" in problem_of(f"{tmp_path}/c!/none.jpg")


def test_stamps_tell_that_a_photo_changed(folder, tmp_path):
    path = as_tar(folder, tmp_path)
    locations = find_photos(path).rows["path"].tolist()
    before = [sources.stamp(location) for location in locations]
    assert before == [sources.stamp(location) for location in locations]
    assert [size for size, _ in before] == [len(sources.read(location)) for location in locations]
    with tarfile.open(path, "w") as tar:
        add(tar, "canidae/0.jpg", b"new")
    os.utime(path, ns=(1, before[0][1] + 1))
    assert sources.stamp(locations[0]) == (3, before[0][1] + 1)
    assert sources.read(locations[0]) == b"new"
    for gone in (locations[1], f"{tmp_path}/none.jpg"):
        with pytest.raises(ImageProblem):
            sources.stamp(gone)
    file = touch(tmp_path / "1.jpg")
    assert sources.stamp(str(file)) == (1, file.stat().st_mtime_ns)
    assert sources.stamp("https://example.org/1.jpg") == (0, 0)


def test_a_name_with_a_newline_is_read_and_broken_utf_8_is_not(tmp_path):
    touch(tmp_path / "a" / "new\nline.jpg", b"n")
    touch(Path(os.fsdecode(os.fsencode(tmp_path) + b"/a/caf\xe9.jpg")))
    found = read_collection(tmp_path, None)
    assert [sources.read(path) for path in found.rows["path"]] == [b"n"]
    assert reasons(found) == {"a/caf\\udce9.jpg": "its name is not UTF-8 text: rename it"}


def test_the_command_line_takes_an_archive(run, photos, tmp_path):
    """embed, search and predict: the same vectors as from the folder, thumbnails included."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for photo in sorted(photos.rglob("*.png")):
            packed.write(photo, photo.relative_to(photos))
    workspace = tmp_path / "w"
    assert run("embed", photos, "--encoder", "pixels", "-w", workspace).code == 0
    again = run("embed", path, "--encoder", "pixels", "-w", workspace, "--json")
    assert again.code == 0
    assert set(again.json["encoded"].values()) == {0}
    page = tmp_path / "page.html"
    assert run("search", "canidae/00.png", "-w", workspace, "--gallery", page).code == 0
    assert page.read_text().count("data:image/jpeg") > 3
    assert f'href="{path.name}"' in page.read_text()
