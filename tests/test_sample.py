"""`sample`: untrusted packages, white under transparency, whole folders, the taxonomy table."""

import csv
import gzip
import io
import json
import lzma
import os
import re
import stat
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embed import debian, rare_species
from embed import sample as samples
from embed.errors import UserError
from embed.sample import STAMPS_TABLE, over_white, sample, stamps_table

STAMPS = "usr/share/tuxpaint/stamps/"
DOCS = "usr/share/doc/tuxpaint-stamps-default/"
FELIDAE = [row["path"] for row in stamps_table() if row["family"] == "felidae"]
CERVIDAE = [row["path"] for row in stamps_table() if row["family"] == "cervidae"]


def png(mode: str = "RGBA", size: tuple[int, int] = (4, 2), fill: object = (200, 0, 0, 0)) -> bytes:
    packed = io.BytesIO()
    Image.new(mode, size, fill).save(packed, "PNG")
    return packed.getvalue()


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return info, data


def ar_of(parts: list[tuple[str, bytes]]) -> bytes:
    packed = b"!<arch>\n"
    for name, data in parts:
        packed += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        packed += data + b"\n" * (len(data) % 2)
    return packed


def write_deb(
    path: Path,
    files: dict[str, bytes],
    extra: list[tuple[tarfile.TarInfo, bytes]] | None = None,
    package: str = "tuxpaint-stamps-default",
    suffix: str = ".xz",
) -> Path:
    pack = {".xz": lzma.compress, ".gz": gzip.compress, "": bytes, ".bz2": bytes}[suffix]
    control = f"Package: {package}\nVersion: 1.2-3\n".encode()
    notes = {DOCS + "copyright": b"License: GPL-2\n", DOCS + "changelog.gz": gzip.compress(b"By A")}
    data = [*(extra or []), *(member("./" + name, what) for name, what in (notes | files).items())]
    parts = [
        ("debian-binary", b"2.0\n"),
        (f"control.tar{suffix}", pack(tar_of([member("./control", control)]))),
        (f"data.tar{suffix}", pack(tar_of(data))),
    ]
    path.write_bytes(ar_of(parts))
    return path


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    """Four felids and three cervids."""
    return write_deb(tmp_path / "x.deb", {STAMPS + p: png() for p in FELIDAE + CERVIDAE[:3]})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


# --- the taxonomy table


def test_table_is_consistent() -> None:
    rows = stamps_table()
    assert list(rows[0]) == ["path", "kingdom", "phylum", "family", "common_name"]
    assert all(value == value.strip() != "" for row in rows for value in row.values())
    assert len({row["path"] for row in rows}) == len(rows)
    phylum_of = {row["family"]: (row["kingdom"], row["phylum"]) for row in rows}
    for row in rows:
        assert phylum_of[row["family"]] == (row["kingdom"], row["phylum"])
        for rank in ("kingdom", "phylum", "family"):
            assert re.fullmatch("[a-z]+", row[rank])
        assert re.fullmatch(r"(animals|plants|food)/[A-Za-z0-9_/-]+\.png", row["path"])
        assert row["family"].endswith("idae" if row["kingdom"] == "animalia" else "aceae")
        assert not {"cartoon", "toys", "plastic", "dessert"} & set(row["path"].split("/"))


def test_table_gives_about_ten_families() -> None:
    sizes = Counter(row["family"] for row in stamps_table())
    assert 9 <= sum(size >= 4 for size in sizes.values()) <= 13


def test_photos_get_distinct_names_and_ids() -> None:
    made = [samples._stamp_row(row) for row in stamps_table()]
    for key in ("rare_species_id", "file_path"):
        assert len({row[key].lower() for row in made}) == len(made)


# --- pixels


def test_transparency_lies_over_white() -> None:
    for mode, fill, expected in [
        ("RGBA", (200, 0, 100, 0), (255, 255, 255)),
        ("RGBA", (200, 0, 100, 255), (200, 0, 100)),
        ("RGBA", (200, 0, 100, 128), (227, 127, 177)),
        ("LA", (50, 0), (255, 255, 255)),
        ("LA", (50, 255), (50, 50, 50)),
        ("L", 50, (50, 50, 50)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
    ]:
        with Image.open(io.BytesIO(over_white(png(mode, fill=fill)))) as photo:
            assert (photo.mode, photo.size) == ("RGB", (4, 2))
            assert np.abs(np.asarray(photo).astype(int) - expected).max() <= 1, mode


def test_palette_transparency_lies_over_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.putdata([0, 1])
    packed = io.BytesIO()
    image.save(packed, "PNG", transparency=0)
    with Image.open(io.BytesIO(over_white(packed.getvalue()))) as photo:
        assert np.asarray(photo).tolist() == [[[255, 255, 255], [200, 0, 0]]]


@pytest.mark.parametrize("data", [b"", b"text", png()[:40], b"GIF89a" + bytes(30)])
def test_no_picture_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        over_white(data)


def test_a_picture_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="5000 x 5000"):
        over_white(png("1", (5000, 5000), 0))


# --- stamps


@pytest.mark.parametrize("suffix", [".xz", ".gz", ""])
def test_stamps_in_the_course_layout(tmp_path: Path, suffix: str) -> None:
    files = {STAMPS + p: png() for p in FELIDAE + CERVIDAE[:3]}
    deb = write_deb(tmp_path / "x.deb", files, suffix=suffix)
    made = sample("stamps", tmp_path / "out", deb)
    assert (made.folder, made.n_photos, made.n_families) == (tmp_path / "out", 4, 1)
    assert made.source == "Debian package tuxpaint-stamps-default 1.2-3"
    rows = rows_of(made.folder)
    on_disk = {p.relative_to(made.folder).as_posix() for p in made.folder.rglob("*.png")}
    assert on_disk == {row["file_path"] for row in rows}
    assert {Path(row["file_path"]).parent.name for row in rows} == {"chordata_felidae"}
    with Image.open(made.folder / rows[0]["file_path"]) as photo:
        assert photo.getextrema() == ((255, 255),) * 3
    assert (made.folder / "LICENSE.txt").read_text() == "License: GPL-2\n"
    assert (made.folder / "CREDITS.txt").read_text() == "By A"
    assert made.licence in (made.folder / "SOURCE.txt").read_text()
    assert "3 photos of 1 families with fewer than 4 photos" in made.left_out
    assert sum("not in this archive" in line for line in made.left_out) == len(stamps_table()) - 7
    assert names(tmp_path) == {"out", "x.deb"}


def test_ids_do_not_depend_on_the_run(deb: Path, tmp_path: Path) -> None:
    first, second = (rows_of(sample("stamps", tmp_path / n, deb).folder) for n in "ab")
    assert first == second


def test_min_photos(deb: Path, tmp_path: Path) -> None:
    made = sample("stamps", tmp_path / "three", deb, min_photos=3)
    assert Counter(row["family"] for row in rows_of(made.folder)) == {"felidae": 4, "cervidae": 3}
    with pytest.raises(UserError, match="no family with 5 photos"):
        sample("stamps", tmp_path / "five", deb, min_photos=5)
    assert not (tmp_path / "five").exists()


def test_a_damaged_stamp_is_left_out_and_counts_no_more(tmp_path: Path) -> None:
    files = {STAMPS + p: png() for p in FELIDAE + CERVIDAE}
    files[STAMPS + CERVIDAE[0]] = png()[:50]
    made = sample("stamps", tmp_path / "out", write_deb(tmp_path / "x.deb", files))
    assert {row["family"] for row in rows_of(made.folder)} == {"felidae"}
    assert any(CERVIDAE[0] in line and "cannot be read" in line for line in made.left_out)


def test_hostile_members_are_not_taken(tmp_path: Path) -> None:
    wanted = STAMPS + FELIDAE[0]
    huge, _ = member("./" + STAMPS + CERVIDAE[0])
    huge.size = debian.FILE_LIMIT + 1
    extra = [
        member("../../escaped.png", png()),
        member("/tmp/absolute.png", png()),
        member(f"./{STAMPS}../{FELIDAE[1]}", png()),
        member("./" + wanted, kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member("./" + wanted, kind=tarfile.LNKTYPE, link="etc/passwd"),
        member("./" + wanted, kind=tarfile.FIFOTYPE),
        (huge, bytes(huge.size)),
    ]
    files = {STAMPS + p: png() for p in FELIDAE}
    made = sample("stamps", tmp_path / "in" / "out", write_deb(tmp_path / "x.deb", files, extra))
    assert made.n_photos == 4
    assert any(CERVIDAE[0] in line for line in made.left_out)
    assert {p.name for p in tmp_path.rglob("*") if "escaped" in p.name or p.is_symlink()} == set()
    assert names(tmp_path) == {"in", "x.deb"}
    assert names(tmp_path / "in") == {"out"}


def test_only_links_is_no_sample(tmp_path: Path) -> None:
    links = [member("./" + STAMPS + p, kind=tarfile.SYMTYPE, link="/etc/passwd") for p in FELIDAE]
    with pytest.raises(UserError, match="0 of the"):
        sample("stamps", tmp_path / "out", write_deb(tmp_path / "x.deb", {}, links))


@pytest.mark.parametrize("what", ["skipped", "header"])
def test_an_archive_without_end_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(debian, "STREAM_LIMIT", 1 << 20)
    kind = tarfile.REGTYPE if what == "skipped" else tarfile.XHDTYPE
    bomb = [member("./zeros", bytes(4 << 20), kind)]
    with pytest.raises(UserError, match="unpacks to more than"):
        sample("stamps", tmp_path / "out", write_deb(tmp_path / "x.deb", {}, bomb))


def test_every_truncation_is_told(deb: Path, tmp_path: Path) -> None:
    whole = deb.read_bytes()
    for length in (0, 5, 30, 100, len(whole) // 2, len(whole) - 40):
        cut = tmp_path / "cut.deb"
        cut.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"damaged or cut short|not a Debian package"):
            sample("stamps", tmp_path / "out", cut)
    assert names(tmp_path) == {"cut.deb", "x.deb"}


def test_damage_inside_the_packed_data_is_told(deb: Path, tmp_path: Path) -> None:
    data = bytearray(deb.read_bytes())
    start = data.index(b"data.tar.xz") + 60
    data[start + 100 : start + 200] = os.urandom(100)
    deb.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        sample("stamps", tmp_path / "out", deb)


def test_other_files_given_as_a_package(tmp_path: Path) -> None:
    text = tmp_path / "text.deb"
    text.write_text("not a package at all\n" * 9)
    with pytest.raises(UserError, match="not a Debian package"):
        sample("stamps", tmp_path / "out", text)
    with pytest.raises(UserError, match="cannot be read"):
        sample("stamps", tmp_path / "out", tmp_path / "absent.deb")
    with pytest.raises(UserError, match="cannot be read"):
        sample("stamps", tmp_path / "out", tmp_path)
    other = write_deb(tmp_path / "other.deb", {}, package="hello")
    with pytest.raises(UserError, match=r"tuxpaint-stamps-default, but .* is hello"):
        sample("stamps", tmp_path / "out", other)
    odd = write_deb(tmp_path / "odd.deb", {}, suffix=".bz2")
    with pytest.raises(UserError, match=r"control\.tar\.bz2"):
        sample("stamps", tmp_path / "out", odd)


def test_zstandard_without_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    deb = tmp_path / "x.deb"
    deb.write_bytes(ar_of([("debian-binary", b"2.0\n"), ("control.tar.zst", b"....")]))
    with pytest.raises(UserError, match="dpkg-deb"):
        sample("stamps", tmp_path / "out", deb)


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for dpkg-deb is a shell script")
def test_zstandard_goes_through_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "data.tar").write_bytes(
        tar_of(
            [member("./" + STAMPS + p, png()) for p in FELIDAE]
            + [member("./" + DOCS + "copyright")]
        )
    )
    control = b"Package: tuxpaint-stamps-default\nVersion: 9\n"
    (tmp_path / "control.tar").write_bytes(tar_of([member("./control", control)]))
    program(
        tmp_path / "bin",
        "dpkg-deb",
        f'case "$1" in --ctrl*) exec cat {tmp_path}/control.tar;; '
        f"*) exec cat {tmp_path}/data.tar;; esac\n",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    deb = tmp_path / "x.deb"
    deb.write_bytes(ar_of([("control.tar.zst", b"...."), ("data.tar.zst", b"....")]))
    assert sample("stamps", tmp_path / "out", deb).n_photos == 4


# --- fetching


def test_no_apt_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"no apt-get.*--archive FILE"):
        sample("stamps", tmp_path / "out")
    assert names(tmp_path) == set()


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for apt-get is a shell script")
@pytest.mark.parametrize("state", ["fresh", "stale", "broken"])
def test_apt_get(deb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """`stale`: only lists of its own help; `broken`: nothing does, and half a file is left."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    program(
        bin_folder,
        "apt-get",
        f"""echo "$@" >> {tmp_path}/calls
case "{state} $*" in
  *update) exit 100;;
  fresh*|stale*Dir::State::Lists=*) cp {deb} tuxpaint.deb;;
  *) echo half > tuxpaint.deb; echo 'E: Unable to locate package' >&2; exit 100;;
esac
""",
    )
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    if state == "broken":
        with pytest.raises(UserError, match=r"E: Unable to locate package.*--archive FILE"):
            sample("stamps", tmp_path / "out")
    else:
        assert sample("stamps", tmp_path / "out").n_photos == 4
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == (1 if state == "fresh" else 3)
    left = {"bin", "calls", "x.deb"} | (set() if state == "broken" else {"out"})
    assert names(tmp_path) == left


# --- folders


def test_a_whole_sample_is_not_fetched_again(
    deb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sample("stamps", tmp_path / "out", deb)
    deb.unlink()
    monkeypatch.setenv("PATH", "")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    assert sample("stamps", tmp_path / "out") == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == before


def test_folders_that_are_not_ours_stay_as_they_are(deb: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not empty"):
        sample("stamps", foreign, deb)
    assert names(foreign) == {"thesis.txt"}
    with pytest.raises(UserError, match="not empty"):
        sample("stamps", foreign / "thesis.txt", deb)
    for text in ("[]", "{}", '{"recipe": {"sample": "rare-species"}}'):
        (foreign / samples.MARKER).write_text(text)
        with pytest.raises(UserError, match="another version"):
            sample("stamps", foreign, deb)


def test_another_min_photos_is_another_sample(deb: Path, tmp_path: Path) -> None:
    sample("stamps", tmp_path / "out", deb)
    with pytest.raises(UserError, match="another version"):
        sample("stamps", tmp_path / "out", deb, min_photos=3)


def test_lost_photos_are_told(deb: Path, tmp_path: Path) -> None:
    made = sample("stamps", tmp_path / "out", deb)
    next(made.folder.rglob("*.png")).unlink()
    with pytest.raises(UserError, match="lost 1 of its photos"):
        sample("stamps", tmp_path / "out", deb)


def test_an_empty_folder_is_used(
    deb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(UserError, match="not the current one"):
        sample("stamps", Path(), deb)
    monkeypatch.chdir(tmp_path)
    assert sample("stamps", Path("out"), deb).folder == Path("out")
    assert (tmp_path / "out" / "metadata.csv").is_file()


def test_a_failure_half_way_leaves_nothing(
    deb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(samples, "write_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sample("stamps", tmp_path / "out", deb)
    assert names(tmp_path) == {"x.deb"}


def test_a_place_that_cannot_be_made(deb: Path) -> None:
    with pytest.raises(UserError, match="Name another folder"):
        sample("stamps", deb / "out", deb)


def test_names_and_flags(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'stamps'"):
        sample("stamp", tmp_path / "out")
    with pytest.raises(UserError, match="--source FOLDER"):
        sample("rare-species", tmp_path / "out", archive=tmp_path)
    with pytest.raises(UserError, match="--archive"):
        sample("stamps", tmp_path / "out", source=tmp_path)


# --- rare-species

HUB_ROWS = [
    [
        "id-1",
        "10009",
        "45510209",
        "Chordata",
        "Aves",
        "Passeriformes",
        "Turdidae",
        "Bicknell's Thrush",
    ],
    ["id-2", "12853", "449393", "Mollusca", "Bivalvia", "Unionida", "Unionidae", "mussel"],
    ["id-3", "77777", "1", "Chordata", "Aves", "Passeriformes", "Turdidae", "absent"],
]
HUB_HEADER = (
    "rarespecies_id,eol_content_id,eol_page_id,kingdom,phylum,class,order,family,genus,species,"
    "sciName,common"
)


def hub_folder(folder: Path, catalogue: str = "metadata/rarespecies-catalog.csv") -> Path:
    """A downloaded copy of the hub's dataset, without photos."""
    lines = [HUB_HEADER]
    for number, content, page, phylum, klass, order, family, common in HUB_ROWS:
        lines.append(
            f"{number},{content},{page},Animalia,{phylum},{klass},{order},{family},"
            f"Genus,species,Genus species,{common}"
        )
    (folder / catalogue).parent.mkdir(parents=True, exist_ok=True)
    (folder / catalogue).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "metadata").mkdir(exist_ok=True)
    (folder / "metadata" / "licenses.csv").write_text("rarespecies_id,license_name\nid-1,cc-by\n")
    return folder


def hub_of_files(folder: Path) -> Path:
    hub_folder(folder)
    for number, content, page, *_ in HUB_ROWS[:2]:
        photo = folder / f"dataset/Animalia-{number}/{content}_{page}_eol-full-size-copy.jpg"
        photo.parent.mkdir(parents=True)
        photo.write_bytes(f"bytes of {number}".encode())
    (folder / "dataset" / "5_6_stranger.jpg").write_bytes(b"in no catalogue")
    return folder


def hub_of_parquet(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    hub_folder(folder, "metadata.csv")
    photos = [{"bytes": f"bytes of {row[0]}".encode(), "path": "x.jpg"} for row in HUB_ROWS[:2]]
    (folder / "data").mkdir()
    for number, photo in enumerate([*photos, {"bytes": None, "path": None}]):
        table = pa.table({"rarespecies_id": [HUB_ROWS[number][0]], "file_name": [photo]})
        pq.write_table(table, folder / "data" / f"train-{number:05}-of-00003.parquet")
    return folder


@pytest.mark.parametrize("build", [hub_of_files, hub_of_parquet])
def test_rare_species_in_the_course_layout(tmp_path: Path, build: object) -> None:
    source = build(tmp_path / "hub")  # type: ignore[operator]
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in source.rglob("*")}
    made = sample("rare-species", tmp_path / "out", source=source)
    assert (made.n_photos, made.n_families) == (2, 2)
    assert made.left_out == [f"1 photos of the catalogue are not in {source}"]
    rows = rows_of(made.folder)
    assert rows[0] == {
        "rare_species_id": "id-1",
        "eol_content_id": "10009",
        "eol_page_id": "45510209",
        "kingdom": "animalia",
        "phylum": "chordata",
        "class": "Aves",
        "order": "Passeriformes",
        "family": "turdidae",
        "genus": "Genus",
        "species": "species",
        "common_name": "Bicknell's Thrush",
        "file_path": "chordata_turdidae/10009_45510209_eol-full-size-copy.jpg",
    }
    for row in rows:
        photo = made.folder / row["file_path"]
        assert photo.read_bytes() == f"bytes of {row['rare_species_id']}".encode()
        assert photo.stat().st_nlink == 1
    assert (made.folder / "licenses.csv").is_file()
    assert "CC0" in (made.folder / "SOURCE.txt").read_text()
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in source.rglob("*")} == before
    assert sample("rare-species", tmp_path / "out") == made


def test_a_catalogue_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    row = dict.fromkeys(HUB_HEADER.split(","), "../../../x")
    path = Path(rare_species.course_row(row)["file_path"])
    assert not path.is_absolute()
    assert ".." not in path.parts


def test_sources_that_are_no_copy(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match="is no copy of"):
            sample("rare-species", tmp_path / "out", source=source)
    with pytest.raises(UserError, match="holds none of the 3 photos"):
        sample("rare-species", tmp_path / "out", source=hub_folder(tmp_path / "bare"))
    broken = hub_of_parquet(tmp_path / "broken")
    next((broken / "data").iterdir()).write_bytes(b"PAR1")
    with pytest.raises(UserError, match="damaged"):
        sample("rare-species", tmp_path / "out", source=broken)
    (tmp_path / "metadata.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no column rarespecies_id"):
        sample("rare-species", tmp_path / "out", source=tmp_path)
    assert not (tmp_path / "out").exists()


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", unreachable)
    with pytest.raises(UserError, match=r"rare-species cannot be fetched.*--source FOLDER"):
        sample("rare-species", tmp_path / "out")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("packed", [True, False])
def test_what_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    """Photos once: the Parquet files where there are some, the photo files where not."""
    import huggingface_hub

    source = (hub_of_parquet if packed else hub_of_files)(tmp_path / "hub")
    listed = [p.relative_to(source).as_posix() for p in source.rglob("*")]
    asked = {}

    def fetched(_: str, **options: object) -> str:
        asked.update(options)
        return str(source)

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: listed)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    assert sample("rare-species", tmp_path / "out").n_photos == 2
    assert asked["repo_type"] == "dataset"
    assert asked["allow_patterns"] == ["metadata*", "data/*.parquet" if packed else "dataset/*"]


SHARED = os.environ.get("FAMILIA_SHARED")


@pytest.mark.skipif(not SHARED, reason="FAMILIA_SHARED is not set")
def test_rows_are_those_of_the_courses_table() -> None:
    folder = Path(SHARED or "") / "data" / "rare_species"
    with (folder / "catalog.csv").open(newline="", encoding="utf-8") as handle:
        catalogue = list(csv.DictReader(handle))
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as handle:
        expected = {row["rare_species_id"]: row for row in csv.DictReader(handle)}
    assert len(catalogue) == len(expected) == 11983
    for known in catalogue:
        hub = known | {
            "rarespecies_id": known["rare_species_id"],
            "class": known["class_"],
            "common": known["common_name"],
            **{rank: known[rank].title() for rank in ("kingdom", "phylum", "family")},
        }
        row = rare_species.course_row(hub)
        assert {key: row[key] for key in expected[row["rare_species_id"]]} == expected[
            row["rare_species_id"]
        ]


def test_marker_is_plain_json(deb: Path, tmp_path: Path) -> None:
    made = sample("stamps", tmp_path / "out", deb)
    facts = json.loads((made.folder / samples.MARKER).read_text())["facts"]
    assert facts["n_photos"] == 4
    assert STAMPS_TABLE.is_file()
