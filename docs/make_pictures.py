"""Draw the pictures of the documentation from a results folder.

    python docs/make_pictures.py demo/results
    python docs/make_pictures.py --curve curve/results

Needs a Chromium with its driver, and the packages kaleido and selenium.
"""

import argparse
import base64
import shutil
import tempfile
import threading
import time
from pathlib import Path

from werkzeug.serving import make_server

from analysis.dashboard import make_app
from analysis.dashboard.serving import load
from analysis.objects import read_results
from analysis.report.export import export_figures, stills

PICTURES = Path(__file__).parent / "pictures"
FIGURES = (
    "latency_against_dense",
    "latency_by_phase",
    "comparison_over_fetch",
    "pareto_attention_mass",
    "banks_lane_step_starc",
    "latency_at_recall",
)
VIEW = "?view=Step+inspector&method=starc&step=20"


def main() -> None:
    """Write every picture to docs/pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="?")
    parser.add_argument("--curve", help="results of docs/long_context.toml: that page's picture")
    options = parser.parse_args()
    if options.curve:
        draw_curve(options.curve)
        return
    table, problems = load([options.results])
    if table is None:
        raise SystemExit("; ".join(problems))
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        drawings = dict(stills(table))
        chosen = [(name, drawings[name]) for name in FIGURES]
        for path in export_figures(chosen, Path(folder), "svg"):
            if path.parent.name == "page":
                shutil.copy(path, PICTURES / path.name)
    server = make_server("127.0.0.1", 0, make_app(table).server, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    photograph(f"http://127.0.0.1:{server.server_port}/{VIEW}", PICTURES / "dashboard.png")
    server.shutdown()


def draw_curve(results: str) -> None:
    """Write the picture of docs/long_context.md: attention alone, a curve a method."""
    drawing = dict(stills(read_results(results, cost="attention")))["pareto_attention_mass"]
    with tempfile.TemporaryDirectory() as folder:
        for path in export_figures([("long_context", drawing)], Path(folder), "svg"):
            if path.parent.name == "page":
                shutil.copy(path, PICTURES / path.name)


def photograph(url: str, path: Path, width: int = 1280, height: int = 1000) -> None:
    """Save a picture of a page."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    service = Service(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(url)
    while not driver.execute_script("return document.querySelector('.main-svg') !== null"):
        time.sleep(0.2)
    time.sleep(1)
    picture = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    path.write_bytes(base64.b64decode(picture["data"]))
    driver.quit()


if __name__ == "__main__":
    main()
