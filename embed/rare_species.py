"""The Rare Species photos as the hub lays them out, read as rows of the course's table.

The hub has had two shapes: photo files under `dataset/` and, later, Parquet files under `data/`;
a downloaded copy of either will do.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from embed.errors import UserError
from embed.workspace import slug

HUB = "imageomics/rare-species"
SOURCE = f"Rare Species (Imageomics, 2023), hub dataset {HUB}"
LICENCE = (
    "CC0-1.0 for the collection; each photo has its own licence, from CC0 to CC BY-NC-SA "
    "(licenses.csv)"
)
LICENCES = "metadata/licenses.csv"

_RANKS = ["kingdom", "phylum", "class", "order", "family", "genus", "species"]
_IDS = ["rarespecies_id", "eol_content_id", "eol_page_id"]
_CATALOGUES = ("metadata.csv", "metadata/rarespecies-catalog.csv")
_PHOTOS = {".jpg", ".jpeg", ".png"}


def course_row(row: dict[str, str]) -> dict[str, str]:
    """A row of the hub's catalogue as a row of the course's table, with the finer ranks."""
    number, content, page = (row[key] for key in _IDS)
    ranks = {key: row[key] for key in _RANKS}
    ranks |= {key: row[key].lower() for key in ("kingdom", "phylum", "family")}
    folder = slug(f"{ranks['phylum']}_{ranks['family']}")
    return {
        "rare_species_id": number,
        "eol_content_id": content,
        "eol_page_id": page,
        **ranks,
        "common_name": row.get("common", ""),
        "file_path": f"{folder}/{slug(f'{content}_{page}')}_eol-full-size-copy.jpg",
    }


def catalogue(source: Path) -> list[dict[str, str]]:
    """The rows of the course's table for the copy in `source`."""
    found = [source / name for name in _CATALOGUES if (source / name).is_file()]
    if not found:
        raise UserError(
            f"{source} is no copy of {HUB}: expected {' or '.join(_CATALOGUES)} in it. "
            "Give the downloaded folder with --source FOLDER."
        )
    rows = read_rows(found[0])
    if missing := [key for key in _IDS + _RANKS if not rows or key not in rows[0]]:
        raise UserError(f"{found[0]} has no column {', '.join(missing)}. Download it again.")
    return [course_row(row) for row in rows]


def photos(source: Path) -> Iterator[tuple[str, bytes]]:
    """Every photo, with `<content id>_<page id>` or the catalogue's id: the hub has had both."""
    for path in sorted(source.joinpath("dataset").rglob("*")):
        if path.suffix.lower() in _PHOTOS and (key := re.match(r"\d+_\d+(?=_)", path.name)):
            yield key[0], _read(path)
    for shard in sorted(source.joinpath("data").glob("*.parquet")):
        yield from _parquet_photos(shard)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def _parquet_photos(shard: Path) -> Iterator[tuple[str, bytes]]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(shard) as table:
            image = "file_name" if "file_name" in table.schema_arrow.names else "image"
            for batch in table.iter_batches(batch_size=16, columns=["rarespecies_id", image]):
                for record in batch.to_pylist():
                    if (photo := record[image]) and photo["bytes"]:
                        yield str(record["rarespecies_id"]), photo["bytes"]
    except pa.ArrowException as error:
        raise UserError(f"{shard} is damaged ({error}). Download it again.") from error


def snapshot() -> Path:
    """The dataset's files in the hub's cache, fetched where they are not there yet."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        names = HfApi().list_repo_files(HUB, repo_type="dataset")
        packed = any(name.startswith("data/") and name.endswith(".parquet") for name in names)
        wanted = ["metadata*", "data/*.parquet" if packed else "dataset/*"]
        return Path(snapshot_download(HUB, repo_type="dataset", allow_patterns=wanted))
    except Exception as error:  # the transport's own errors changed with every release of the hub
        raise UserError(
            f"The hub's dataset {HUB} cannot be fetched ({error}). Run it again "
            "where there is a network (it goes on from what came), or give a downloaded copy "
            "with --source FOLDER."
        ) from error


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a UTF-8 CSV table; one that cannot be read is a `UserError`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            return list(csv.DictReader(handle, restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a UTF-8 CSV table ({error}).") from error
