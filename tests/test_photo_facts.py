"""Facts of photos are true, odd files stop nothing, and nothing is read twice."""

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_perceptual import scene

from embed import photo_facts as module
from embed import sources
from embed.files import sha256
from embed.perceptual import perceptual_hash
from embed.photo_facts import photo_facts


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def rows_of(folder: Path, files: dict[str, bytes]) -> pd.DataFrame:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    paths = [str(folder / name) for name in files]
    keys = [sha256(data) for data in files.values()]
    return pd.DataFrame({"id": list(files), "path": paths, "key": keys})


def huge_png() -> bytes:
    """A header that promises 100,000 × 100,000 pixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def sepia(image: Image.Image) -> Image.Image:
    grey = image.convert("L")
    return Image.merge(
        "RGB", (grey, grey.point(lambda v: v * 8 // 10), grey.point(lambda v: v // 2))
    )


COLOUR = scene(1, 120, 80)
GREY = COLOUR.convert("L")
SIXTEEN = Image.fromarray(np.asarray(GREY, dtype=np.uint16) * 257)
ORIENTED = Image.Exif()
ORIENTED[0x0112] = 6
KNOWN = {  # file: (content, format, mode, grey, width, height)
    "jpeg": (encoded(COLOUR, "JPEG"), "JPEG", "RGB", False, 120, 80),
    "turned": (encoded(COLOUR, "JPEG", exif=ORIENTED), "JPEG", "RGB", False, 80, 120),
    "png": (encoded(COLOUR), "PNG", "RGB", False, 120, 80),
    "grey mode": (encoded(GREY, "JPEG"), "JPEG", "L", True, 120, 80),
    "grey as rgb": (encoded(GREY.convert("RGB"), "JPEG", quality=50), "JPEG", "RGB", True, 120, 80),
    "sepia": (encoded(sepia(COLOUR)), "PNG", "RGB", False, 120, 80),
    "16 bits": (encoded(SIXTEEN), "PNG", "I;16", True, 120, 80),
    "palette": (encoded(COLOUR.quantize(64)), "PNG", "P", False, 120, 80),
    "cmyk": (encoded(COLOUR.convert("CMYK"), "JPEG"), "JPEG", "CMYK", False, 120, 80),
    "alpha": (encoded(COLOUR.convert("RGBA")), "PNG", "RGBA", False, 120, 80),
    "webp": (encoded(COLOUR, "WEBP"), "WEBP", "RGB", False, 120, 80),
}
BAD = {
    "truncated": (encoded(COLOUR, "JPEG")[:900], "truncated"),
    "huge": (huge_png(), "too large"),
    "empty": (b"", "empty"),
    "zeros": (bytes(500), "zero bytes"),
    "text": (b"hello", "not an image"),
}


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(location: str) -> bytes:
        raise AssertionError(f"{location} was read")

    monkeypatch.setattr(sources, "read", read)


def test_facts_are_true_and_odd_files_stop_nothing(tmp_path: Path) -> None:
    files = {name: values[0] for name, values in (KNOWN | BAD).items()}
    rows = rows_of(tmp_path / "photos", files).sample(frac=1, random_state=0)
    rows = pd.concat(
        [rows, pd.DataFrame({"id": ["gone"], "path": ["/no/such"], "key": ["0" * 64]})]
    )
    facts = photo_facts(rows, tmp_path / "facts")
    assert facts["id"].tolist() == rows["id"].tolist()
    assert facts["key"].tolist() == rows["key"].tolist()
    facts = facts.set_index("id")
    for name, (data, kind, mode, grey, width, height) in KNOWN.items():
        found = facts.loc[name]
        assert found["problem"] == "", name
        assert not found["blank"], name
        assert (found["bytes"], found["width"], found["height"]) == (len(data), width, height), name
        assert (found["format"], found["mode"], found["grey"]) == (kind, mode, grey), name
    for name, (_, why) in BAD.items():
        assert why in facts.loc[name, "problem"]
        assert pd.isna(facts.loc[name, "width"])
    assert facts.loc["gone", "problem"] == "does not exist"
    assert tuple(facts.loc["png", ["hash", "hash_mirrored"]]) == perceptual_hash(COLOUR)


@pytest.mark.parametrize("spread", [0, 3, 60])
def test_blank_is_nearly_one_tone(tmp_path: Path, spread: int) -> None:
    tones = np.random.default_rng(0).integers(100, 101 + spread, (60, 60), dtype=np.uint8)
    rows = rows_of(tmp_path / "photos", {"a": encoded(Image.fromarray(tones))})
    facts = photo_facts(rows, tmp_path / "facts")
    assert facts["blank"].tolist() == [spread < 8]
    assert (facts["hash"][0] == "") == (spread < 8)


def test_second_call_reads_no_photo(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    rows = rows_of(tmp_path / "photos", {name: values[0] for name, values in KNOWN.items()})
    facts = photo_facts(rows, tmp_path / "facts")
    request.getfixturevalue("no_reading")
    again = photo_facts(rows.iloc[::-1], tmp_path / "facts")
    pd.testing.assert_frame_equal(again.iloc[::-1].reset_index(drop=True), facts)


def test_copies_and_moved_photos_share_facts(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rows = rows_of(tmp_path / "photos", {"a": KNOWN["png"][0]})
    photo_facts(rows, tmp_path / "facts")
    request.getfixturevalue("no_reading")
    moved = pd.DataFrame({"id": ["b", "c"], "path": ["x", "y"], "key": [rows["key"][0]] * 2})
    assert photo_facts(moved, tmp_path / "facts")["width"].tolist() == [120, 120]


def test_changed_photo_is_named_not_taken(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "photos", {"a": KNOWN["png"][0]})
    (tmp_path / "photos" / "a").write_bytes(KNOWN["jpeg"][0])
    assert "changed" in photo_facts(rows, tmp_path / "facts")["problem"][0]
    (tmp_path / "photos" / "a").write_bytes(KNOWN["png"][0])
    assert photo_facts(rows, tmp_path / "facts")["problem"].tolist() == [""]


def test_interruption_loses_a_batch_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{i:02}": encoded(scene(i, 40, 30)) for i in range(10)}
    rows = rows_of(tmp_path / "photos", files)
    monkeypatch.setattr(module, "_BATCH", 4)
    read, asked = sources.read, []

    def interrupted(location: str) -> bytes:
        asked.append(location)
        if location.endswith("09"):
            raise KeyboardInterrupt
        return read(location)

    monkeypatch.setattr(sources, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        photo_facts(rows, tmp_path / "facts")
    assert len(list((tmp_path / "facts").glob("part-*.parquet"))) == 2
    asked.clear()
    monkeypatch.setattr(sources, "read", lambda path: asked.append(path) or read(path))
    facts = photo_facts(rows, tmp_path / "facts")
    assert sorted(asked) == rows["path"].tolist()[8:]
    assert (facts["problem"] == "").all()
    assert [path.suffix for path in (tmp_path / "facts").iterdir()] == [".parquet"]  # compacted


@pytest.mark.parametrize("harm", ["cut", "zeros", "recipe"])
def test_damaged_or_old_cache_is_made_anew(
    tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(tmp_path / "photos", {name: values[0] for name, values in KNOWN.items()})
    facts = photo_facts(rows, tmp_path / "facts")
    (part,) = (tmp_path / "facts").iterdir()
    if harm == "recipe":
        monkeypatch.setattr(module, "RECIPE", "familia-facts-0")
    else:
        data = part.read_bytes()
        part.write_bytes(data[: len(data) // 2] if harm == "cut" else bytes(len(data)))
    read, asked = sources.read, []
    monkeypatch.setattr(sources, "read", lambda path: asked.append(path) or read(path))
    pd.testing.assert_frame_equal(photo_facts(rows, tmp_path / "facts"), facts)
    assert len(asked) == len(rows)


def test_member_of_an_archive_and_no_rows(tmp_path: Path) -> None:
    data = KNOWN["png"][0]
    with zipfile.ZipFile(tmp_path / "shard.zip", "w") as archive:
        archive.writestr("felidae/1.png", data)
    path = str(tmp_path / "shard.zip") + "!/felidae/1.png"
    rows = pd.DataFrame({"id": ["a"], "path": [path], "key": [sha256(data)]})
    assert photo_facts(rows, tmp_path / "facts")["width"].tolist() == [120]
    assert len(photo_facts(rows.iloc[:0], tmp_path / "facts")) == 0
