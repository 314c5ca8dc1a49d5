"""Compile LaTeX where an engine is installed: no shell, nothing read or written outside."""

import os
import shutil
import subprocess
from pathlib import Path

from embed.errors import UserError

SECONDS = 120
_SAFE = ["-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error"]
ENGINES = {
    "tectonic": ["-X", "compile", "--untrusted"],
    "pdflatex": _SAFE,
    "lualatex": _SAFE,
    "xelatex": _SAFE,
}
_INSTALL = (
    "Install Tectonic (https://tectonic-typesetting.github.io), or TeX Live with lmodern (Debian: "
    "`apt install texlive-latex-recommended texlive-fonts-recommended lmodern`)"
)


def latex_engine() -> str:
    """The first of `ENGINES` that is on the PATH; a `UserError` where there is none."""
    found = next((name for name in ENGINES if shutil.which(name)), None)
    if found is None:
        raise UserError(
            f"A PDF needs LaTeX, and none is on the PATH. {_INSTALL}. Or `--format tex` for the "
            "sources, to compile elsewhere, or `--format html` and the browser's own print."
        )
    return found


def compile_pdf(source: Path, engine: str) -> bytes:
    """The PDF of a LaTeX file, made in its folder.

    Raises `UserError` where the engine fails or takes over `SECONDS`.
    """
    try:
        done = subprocess.run(
            [str(shutil.which(engine)), *ENGINES[engine], source.name],
            cwd=source.parent, env=_environment(), stdin=subprocess.DEVNULL, timeout=SECONDS,
            capture_output=True, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{engine} took more than {SECONDS} seconds. `--format tex` gives the sources."
        ) from error
    made = source.with_suffix(".pdf")
    if done.returncode or not made.exists():
        said = (done.stdout + done.stderr).decode(errors="replace").splitlines()
        why = " ".join(line.strip() for line in said if line.startswith(("!", "error:", "l.")))
        raise UserError(
            f"{engine} could not make the PDF ({why[:300]}). {_INSTALL}. `--format tex` gives "
            "the sources."
        )
    return made.read_bytes()


def _environment() -> dict[str, str]:
    """Paths outside the folder are closed to the document, and the clock stands still."""
    still = {"SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1"}
    return os.environ | {"openin_any": "p", "openout_any": "p", "max_print_line": "500"} | still
