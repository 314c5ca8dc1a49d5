"""Small public collections to start with: real photos in the course layout, with their licence.

The course layout is `FOLDER/<phylum>_<family>/<photo>` plus `FOLDER/metadata.csv`. A sample is
made in a scratch folder beside FOLDER and renamed at the end, so FOLDER is whole or not there.
"""

import gzip
import io
import tempfile
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embed import debian, rare_species
from embed.errors import UserError, did_you_mean
from embed.files import read_json, sha256, write_bytes, write_json, write_rows, write_text
from embed.rare_species import read_rows

SAMPLES = {
    "stamps": "photo cut-outs of animals, plants and fruit from a Debian package (160 MB fetched)",
    "rare-species": "11,983 photos of 400 threatened species in 202 families (about 4 GB fetched)",
}
STAMPS_TABLE = Path(__file__).with_name("stamps.csv")
MARKER = "sample.json"

_PACKAGE = "tuxpaint-stamps-default"
_STAMPS = "usr/share/tuxpaint/stamps/"
_COPYRIGHT = f"usr/share/doc/{_PACKAGE}/copyright"
_HISTORY = f"usr/share/doc/{_PACKAGE}/changelog.gz"
_LICENCE = (
    "GPL-2.0-or-later for the collection (LICENSE.txt); the package's history names makers and, "
    "for some photos, other free licences (CREDITS.txt)"
)
_PIXEL_LIMIT = 20_000_000
_TEXT_LIMIT = 4 << 20


@dataclass(frozen=True)
class Sample:
    """What lies in `folder`; `left_out` has one line for every reason that photos are missing."""

    folder: Path
    n_photos: int
    n_families: int
    licence: str
    source: str
    left_out: list[str]


def sample(
    name: str,
    folder: Path,
    archive: Path | None = None,
    source: Path | None = None,
    *,
    min_photos: int = 4,
) -> Sample:
    """Fetch the sample `name` into `folder`; one that lies there whole is only read.

    `archive` is the .deb of `stamps`, `source` a downloaded copy of `rare-species`, for machines
    without a network. `min_photos` leaves out the smaller families of `stamps`.
    """
    _check_request(name, archive, source)
    place = folder.expanduser().resolve()
    recipe = {"sample": name}
    if name == "stamps":
        recipe |= {"min_photos": str(min_photos), "table": sha256(STAMPS_TABLE.read_bytes())}
    if (known := _existing(place, recipe)) is not None:
        return replace(known, folder=folder)
    with _scratch(place) as scratch:
        made = scratch / "sample"
        if name == "stamps":
            done = _stamps(made, archive or debian.download(_PACKAGE, scratch), min_photos)
        else:
            done = _rare_species(made, source or rare_species.snapshot())
        facts = {key: value for key, value in vars(done).items() if key != "folder"}
        write_json(made / MARKER, {"recipe": recipe, "facts": facts})
        _put(made, place)
    return replace(done, folder=folder)


def stamps_table() -> list[dict[str, str]]:
    """The project's taxonomy of the stamps: path, kingdom, phylum, family, common_name."""
    return read_rows(STAMPS_TABLE)


def over_white(data: bytes) -> bytes:
    """The picture in `data` (PNG or JPEG, any mode) over white, as an RGB PNG.

    A `ValueError` says why it cannot be read.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as image:
            if image.width * image.height > _PIXEL_LIMIT:
                raise ValueError(f"{image.width} x {image.height} pixels")
            photo = image.convert("RGBA")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from error
    white = Image.new("RGBA", photo.size, "white")
    packed = io.BytesIO()
    Image.alpha_composite(white, photo).convert("RGB").save(packed, "PNG")
    return packed.getvalue()


def _stamps(made: Path, deb: Path, min_photos: int) -> Sample:
    version = debian.package_version(deb, _PACKAGE)
    table = stamps_table()
    wanted = [_STAMPS + row["path"] for row in table]
    files = debian.read_files(deb, [*wanted, _COPYRIGHT, _HISTORY])
    notes = _notes(deb, files)
    photos: dict[str, bytes] = {}
    left_out = []
    for path in (row["path"] for row in table):
        try:
            photos[path] = over_white(files[_STAMPS + path])
        except KeyError:
            left_out.append(f"{path}: not in this archive as a file of a stamp's size")
        except ValueError as error:
            left_out.append(f"{path}: cannot be read as a picture ({error})")
    found = [row for row in table if row["path"] in photos]
    sizes = Counter(row["family"] for row in found)
    kept = [row for row in found if sizes[row["family"]] >= min_photos]
    if not kept:
        raise UserError(
            f"{deb} gives no family with {min_photos} photos: {len(found)} of the {len(table)} "
            "stamps in the table are there. Get Debian's own package, or ask for fewer photos."
        )
    if small := [size for size in sizes.values() if size < min_photos]:
        left_out.append(
            f"{sum(small)} photos of {len(small)} families with fewer than {min_photos} photos"
        )
    rows = [_stamp_row(row) for row in kept]
    for row, known in zip(rows, kept, strict=True):
        write_bytes(made / row["file_path"], photos[known["path"]])
    for name, text in notes.items():
        write_bytes(made / name, text)
    source = f"Debian package {_PACKAGE} {version}"
    return _finish(made, rows, _LICENCE, source, left_out)


def _stamp_row(row: dict[str, str]) -> dict[str, str]:
    path = Path(row["path"])
    name = f"{path.parent.name}-{path.stem}.png"
    return {
        "rare_species_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"deb:{_PACKAGE}/{row['path']}")),
        **{key: row[key] for key in ("kingdom", "phylum", "family", "common_name")},
        "file_path": f"{row['phylum']}_{row['family']}/{name}",
    }


def _notes(deb: Path, files: dict[str, bytes]) -> dict[str, bytes]:
    """The package's own words on licence and makers, by the name of the file to write."""
    if _COPYRIGHT not in files:
        raise UserError(f"{deb} has no {_COPYRIGHT}, so its licence is unknown. Get Debian's own.")
    try:
        with gzip.open(io.BytesIO(files[_HISTORY])) as handle:
            history = handle.read(_TEXT_LIMIT)
    except (KeyError, OSError, EOFError, zlib.error):
        history = b"This copy of the package has no history; Debian's own has it.\n"
    return {"LICENSE.txt": files[_COPYRIGHT], "CREDITS.txt": history}


def _rare_species(made: Path, source: Path) -> Sample:
    rows = rare_species.catalogue(source)
    places = {row["rare_species_id"]: row["file_path"] for row in rows}
    places |= {f"{row['eol_content_id']}_{row['eol_page_id']}": row["file_path"] for row in rows}
    written = set()
    for key, data in rare_species.photos(source):
        if file_path := places.get(key):
            write_bytes(made / file_path, data)
            written.add(file_path)
    kept = [row for row in rows if row["file_path"] in written]
    if not kept:
        raise UserError(
            f"{source} holds none of the {len(rows)} photos of its catalogue: expected "
            "dataset/*/<content id>_<page id>_*.jpg or data/*.parquet. Download it again."
        )
    if (licences := source / rare_species.LICENCES).is_file():
        write_bytes(made / licences.name, licences.read_bytes())
    absent = len(rows) - len(kept)
    left_out = [f"{absent} photos of the catalogue are not in {source}"] if absent else []
    return _finish(made, kept, rare_species.LICENCE, rare_species.SOURCE, left_out)


def _finish(
    made: Path, rows: list[dict[str, str]], licence: str, source: str, left_out: list[str]
) -> Sample:
    write_rows(made / "metadata.csv", list(rows[0]), rows)
    write_text(made / "SOURCE.txt", f"{source}\nLicence: {licence}\n")
    n_families = len({row["family"] for row in rows})
    return Sample(made, len(rows), n_families, licence, source, left_out)


def _check_request(name: str, archive: Path | None, source: Path | None) -> None:
    if name not in SAMPLES:
        raise UserError(f"There is no sample '{name}'. {did_you_mean(name, SAMPLES)}")
    if archive is not None and name != "stamps":
        raise UserError("--archive FILE is for `cli sample stamps`; here it is --source FOLDER.")
    if source is not None and name != "rare-species":
        raise UserError("--source FOLDER is for `cli sample rare-species`; here it is --archive.")


def _existing(place: Path, recipe: dict[str, str]) -> Sample | None:
    """The sample that lies in `place`; None where nothing does."""
    if place == Path.cwd():
        raise UserError("A sample needs a folder of its own: name a new one, not the current one.")
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return None
    known: Any = read_json(place / MARKER) if (place / MARKER).is_file() else {}
    if not isinstance(known, dict) or known.get("recipe") != recipe:
        raise UserError(
            f"{place} is not empty and holds no such sample (or another version's). "
            "Name a new folder, or remove this one if nothing in it is yours."
        )
    table = read_rows(place / "metadata.csv")
    if lost := sum(not (place / row["file_path"]).is_file() for row in table):
        raise UserError(f"{place} has lost {lost} of its photos. Remove it and run again.")
    return Sample(folder=place, **known["facts"])


@contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    """A folder on the same disk as `place`, gone at the end whatever happens."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent)
    except OSError as error:
        raise UserError(
            f"{place} cannot be made ({error.strerror}). Name another folder."
        ) from error
    with scratch as name:
        yield Path(name)


def _put(made: Path, place: Path) -> None:
    try:
        if place.is_dir():
            place.rmdir()
        made.rename(place)
    except OSError as error:
        raise UserError(
            f"{place} cannot be put in place ({error.strerror}). Name a folder that is not there."
        ) from error
