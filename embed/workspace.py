"""The folder that commands share, and where everything in it lies."""

import re
from dataclasses import dataclass
from pathlib import Path


def slug(name: str) -> str:
    """`name` as one safe folder name: `openclip:ViT-B-16/x` -> `openclip-ViT-B-16-x`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "unnamed"


@dataclass(frozen=True)
class Workspace:
    """Paths only: every file below is written and read by the module named after it."""

    folder: Path

    @property
    def collection(self) -> Path:
        """One row a photo (Parquet)."""
        return self.folder / "collection.parquet"

    @property
    def skipped(self) -> Path:
        """What the last `embed` left out, and why (CSV)."""
        return self.folder / "embed-skipped.csv"

    @property
    def facts(self) -> Path:
        """Sizes, formats and hashes of the photos' files, as `inspect` found them (Parquet)."""
        return self.folder / "facts"

    @property
    def embeddings(self) -> Path:
        return self.folder / "embeddings"

    @property
    def latest(self) -> Path:
        """Which encoders the last `embed` used (JSON)."""
        return self.embeddings / "latest.json"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def sweeps(self) -> Path:
        return self.folder / "sweeps"

    def store(self, encoder: str) -> Path:
        """The embedding store of one encoder: spec.json and part-*.h5."""
        return self.embeddings / slug(encoder)

    def split(self, name: str) -> Path:
        return self.folder / "splits" / f"{slug(name)}.csv"

    def index(self, encoders: tuple[str, ...]) -> Path:
        """The search index over one encoder or several side by side."""
        return self.folder / "indexes" / "+".join(slug(name) for name in encoders)
