"""Do 100,000 points stay fluid on the page of `cli map`? (goal: below 33 ms a frame)

Headless Chromium without a graphics card, 1,400 x 900 pixels; 100,000 drawn points of 60 classes.
Moving and zooming step by step, each step drawn: the script's own time a frame, and the time from
one frame of the browser to the next, which has the compositing in it. Both grow where the machine
is busy; the processor time of the page's thread does not.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

POINTS, CLASSES, FRAMES = 100_000, 60, 120
GOAL_MS = 33
STEPS = {
    "moving": "i => look(spanX / 2 + .3 * Math.sin(i / 15), spanY / 2, 2 * fitting(spanX, spanY))",
    "zooming in and out": "i => zoom(i % 60 < 30 ? 1.08 : 1 / 1.08)",
    "moving, near": "i => look(spanX / 2 + .02 * Math.sin(i / 15), spanY / 2,"
    " 30 * fitting(spanX, spanY))",
}
# one step a frame, as a finger or a wheel does; the page's own `draw` is timed
MEASURED = """([step, frames]) => new Promise(done => {
  const change = eval(step), own = [], between = [], drawing = draw; let i = 0, before = 0;
  draw = () => { const start = performance.now(); drawing(); own.push(performance.now() - start); };
  const frame = now => {
    if (before) between.push(now - before);
    before = now; change(i);
    if (++i < frames) return requestAnimationFrame(frame);
    draw = drawing; done([own, between]);
  };
  requestAnimationFrame(frame);
})"""


def page(path: Path) -> float:
    """Write the map; the megabytes of its file."""
    from retrieval.layout_2d import Layout
    from retrieval.map_page import write_map

    rng = np.random.default_rng(0)
    classes = rng.integers(0, CLASSES, POINTS)
    xy = rng.normal(0, 10, (CLASSES, 2))[classes] + rng.normal(size=(POINTS, 2))
    names = [f"photos/{i:06}.jpg" for i in range(POINTS)]
    rows = pd.DataFrame(
        {
            "id": [f"photo-{i:06}" for i in range(POINTS)],
            "path": [str(path.parent / name) for name in names],
            "file_path": names,
            "family": [f"family {c:02}" for c in classes],
            "year": rng.integers(1900, 2026, POINTS).astype(str),
        }
    )
    layout = Layout(xy.astype(np.float32), "umap", 0, POINTS, 0.5, 0.4, 0.9)
    write_map(path, rows, layout, ["family", "year"], ["drawn"], pictures=0)
    return path.stat().st_size / 1e6


def opened(browser: Any, path: Path) -> tuple[Any, float]:
    """The page when it is drawn, and the seconds until then."""
    tab = browser.new_page(viewport={"width": 1400, "height": 900})
    tab.goto(path.as_uri())
    tab.wait_for_selector("#board[data-ready]", timeout=120_000)
    return tab, float(tab.evaluate("performance.now()")) / 1e3


def busy(session: Any) -> float:
    """Seconds of processor time that the page's thread has taken."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))


def measure() -> str:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "Not run: playwright is not installed."
    chromium = shutil.which("chromium")
    if chromium is None:
        return "Not run: there is no chromium."
    lines = [
        "| what | processor a frame | script, median | 95th percentile | frame to frame, median | "
        "goal | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "map.html"
        size = page(path)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab, seconds = opened(browser, path)
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        for what, step in STEPS.items():
            before = busy(session)
            own, between = tab.evaluate(MEASURED, [step, FRAMES])
            spent = 1e3 * (busy(session) - before) / FRAMES
            median, apart = float(np.median(own)), float(np.median(between))
            met = "met" if max(median, apart) < GOAL_MS else "missed"
            lines.append(
                f"| {what} | {spent:.1f} ms | {median:.1f} ms | {np.quantile(own, 0.95):.1f} ms | "
                f"{apart:.1f} ms | < {GOAL_MS} ms | {met} |"
            )
        browser.close()
    return "\n".join(
        [
            *lines,
            "",
            f"{POINTS:,} points, {size:.1f} MB without pictures, drawn {seconds:.1f} s after it "
            f"was opened. Load of the machine: {os.getloadavg()[0]:.1f}.",
        ]
    )


if __name__ == "__main__":
    print(measure())
