"""Run every benchmark of this folder (or those named) and write RESULTS.md.

A benchmark is a script with one question as its docstring and `measure() -> str`, Markdown. What
several of them share is in files whose names start with an underscore.
"""

import importlib.util
import os
import platform
import re
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
sys.path[:0] = [str(HERE), str(HERE.parent)]


def machine() -> str:
    """Processor, cores and the versions that the figures depend on."""
    from classify.runs import versions

    model = platform.processor() or platform.machine()
    flags = ""
    if Path("/proc/cpuinfo").exists():
        text = Path("/proc/cpuinfo").read_text()
        found = re.search(r"model name\s*: (.*)", text)
        model = found[1] if found else model
        flags = ", ".join(f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in text)
    shown = {k: v for k, v in versions().items() if k not in ("familia", "machine")}
    packages = ", ".join(f"{name} {version}" for name, version in shown.items())
    return f"{model}, {os.cpu_count()} cores ({flags}); {packages}"


def run_one(path: Path) -> str:
    """One section of the results; a benchmark that cannot run here says why."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print(f"{path.stem} ...", file=sys.stderr, flush=True)
    text = module.measure()
    day = time.strftime("%Y-%m-%d")
    return f"## {path.stem}\n\n{module.__doc__.strip()}\n\n{text.strip()}\n\n*{day}; {machine()}*\n"


def main(names: list[str]) -> None:
    paths = [p for p in sorted(HERE.glob("[!_]*.py")) if p.name != "run.py"]
    old = RESULTS.read_text() if RESULTS.exists() else ""
    sections = dict(re.findall(r"(?ms)^## (\S+)\n(.*?)(?=^## |\Z)", old))
    for path in paths:
        if names and path.stem not in names:
            continue
        section = run_one(path)
        print(section)
        sections[path.stem] = section.split("\n", 1)[1]
    body = "\n".join(f"## {name}\n{text.rstrip()}\n" for name, text in sorted(sections.items()))
    RESULTS.write_text(f"# Results\n\nWritten by `make bench`; one section a script.\n\n{body}")


if __name__ == "__main__":
    main(sys.argv[1:])
