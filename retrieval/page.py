"""The shell of every HTML page: one file that opens from disk, loads nothing and trusts no name."""

import base64
import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any

from embed.files import write_text

STYLE = """
:root { color-scheme: light dark; --page: #f5f6f4; --card: #fff; --ink: #1c211d; --soft: #5d665f;
  --line: #dcdfda; --well: #e9ece7; --accent: #1f6f50; --same: #17663f; --other: #a8321f; }
@media (prefers-color-scheme: dark) { :root { --page: #141714; --card: #1e221f; --ink: #e8ebe7;
  --soft: #a0a9a2; --line: #333935; --well: #282d29; --accent: #6cc79d; --same: #7fd3a6;
  --other: #ff9a85; } }
* { box-sizing: border-box; }
body { margin: 0; padding: clamp(1rem, 3vw, 2.5rem); background: var(--page); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
header, main, footer { max-width: 90rem; margin-inline: auto; }
h1 { margin: 0; font-size: 1.6rem; font-weight: 650; line-height: 1.25; overflow-wrap: anywhere; }
header p { margin: .35rem 0 0; color: var(--soft); }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; top: 1rem; z-index: 9; padding: .5rem .8rem; background: var(--card); }
.missing { padding: 1rem; color: var(--soft); font-size: .82rem; text-align: center;
  overflow-wrap: anywhere; }
footer { margin-top: 2rem; color: var(--soft); font-size: .82rem; }
@media print { :root { color-scheme: light; --page: #fff; --card: #fff; --ink: #000; --soft: #444;
  --line: #bbb; --well: #eee; --accent: #1f6f50; --same: #17663f; --other: #a8321f; }
  body { padding: 0; font-size: 10pt; } .skip, .screen { display: none !important; } }
"""


def write_page(
    path: Path,
    title: str,
    main: str,
    *,
    header: str = "",
    footer: str = "",
    style: str = "",
    script: str = "",
    skip: str = "",
) -> None:
    """Write one self-contained page to `path` (UTF-8 HTML).

    title : plain text, the heading too. main, header (below the heading), footer : HTML whose
    values went through `text`. style : CSS after the common one. script : plain JavaScript; it is
    the only script that the page's policy lets run, so an event handler or a script that came in
    with a name does nothing. skip : the words of a first link past the header to the main part,
    for those where one has to pass much. Elements of class `screen` are not printed.
    """
    style = STYLE + style
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f"<meta {_policy(script)}>",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(title)}</title>\n<style>{style}</style>\n</head>\n<body>",
        f'<a class="skip" href="#main">{text(skip)}</a>' if skip else "",
        f"<header><h1>{text(title)}</h1>{header}</header>",
        f'<main id="main" tabindex="-1">\n{main}\n</main>',
        f"<footer>{footer}</footer>" if footer else "",
        f"<script>{script}</script>" if script else "",
        "</body>\n</html>\n",
    ]
    write_text(path, "\n".join(part for part in parts if part))


def text(value: object) -> str:
    """`value` for HTML, in attributes too; what is no Unicode (an old file name) becomes `?`."""
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def breakable(name: str) -> str:
    """A path for HTML that may break after a folder or a word, not in the middle of one."""
    return text(name).replace("/", "/<wbr>").replace("_", "_<wbr>")


def data_block(name: str, value: Any) -> str:
    """JSON that the page's script reads with `JSON.parse(document.getElementById(name)…)`."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    safe = line.replace("<", "\\u003c").encode("utf-8", "replace").decode("utf-8")
    return f'<script type="application/json" id="{text(name)}">{safe}</script>'


def _policy(script: str) -> str:
    """The page may show its own pictures and run its own script; nothing comes from elsewhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    allowed = f"'sha256-{digest}'" if script else "'none'"
    return (
        'http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        f"style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'; form-action 'none'\""
    )
