"""The pages in a real browser: Debian's Chromium, headless."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from analysis.report.page import report_html
from analysis.results.tidying import tidy
from pimreplay.results.reader import open_results

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
MISSING = not CHROMIUM or not DRIVER or find_spec("selenium") is None
REASON = "no Chromium with its driver and selenium, so no page was opened in a browser"
if MISSING and os.environ.get("BROWSER_TESTS") != "required":  # .ci/run asks where it can be had
    pytest.skip(REASON, allow_module_level=True)

WIDTHS = (1280, 390)
WAIT_S = 120.0
BASELINES = "?view=Against+the+baselines"


class Browser:
    """The few things that these tests do with a page."""

    def __init__(self, folder: Path) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}"),
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(folder / "downloads")}
        )
        self.driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
        self.driver.set_page_load_timeout(120)

    def open(self, url: str, width: int = 1280, offline: bool = False) -> None:
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Network.enable", {})
        speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.driver.execute_cdp_cmd(
            "Network.emulateNetworkConditions", {"offline": offline, **speed}
        )
        self.driver.get(url)

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: str, *arguments: Any) -> None:
        """Wait until the JavaScript expression holds."""
        end = time.monotonic() + WAIT_S
        while not self.js(f"return Boolean({condition})", *arguments):
            assert time.monotonic() < end, f"never became true: {condition}"
            time.sleep(0.05)

    def console(self) -> list[str]:
        """Return errors and warnings that the page logged."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING")
        ]

    def requests(self) -> list[str]:
        """Return every address that the page asked for."""
        messages = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def nameless(self) -> list[str]:
        """Return the roles of controls without an accessible name."""
        nodes = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        controls = {
            *("button", "link", "checkbox", "radio", "textbox", "spinbutton", "combobox"),
            *("region", "slider", "listbox", "searchbox"),
        }
        return [
            node["role"]["value"]
            for node in nodes
            if not node.get("ignored")
            and node["role"]["value"] in controls
            and not node.get("name", {}).get("value", "").strip()
        ]

    def low_contrast(self) -> list[str]:
        """Return texts whose contrast is below 4.5 (3 when large), as WCAG 2.1 asks."""
        return self.js(CONTRAST)


CONTRAST = """
const luminance = (c) => { const f = c.map((v) => { v /= 255;
  return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); });
  return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
const parse = (text) => (text.match(/[0-9.]+/g) || []).map(Number);
const ground = (element) => { for (let e = element; e; e = e.parentElement) {
  const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length && (c.length === 3 || c[3] === 1)) return c; } return [255, 255, 255]; };
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  if (!text || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
  if (!element.getClientRects().length) continue;
  const style = getComputedStyle(element);
  if (style.visibility === "hidden" || Number(style.opacity) === 0) continue;
  const svg = element.ownerSVGElement !== undefined && element.ownerSVGElement !== null;
  const ink = luminance(parse(svg ? style.fill : style.color));
  const back = luminance(ground(element));
  const ratio = (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (large ? 3 : 4.5)) found.push(text.slice(0, 40) + " " + ratio.toFixed(2));
}
return found;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if MISSING:
        pytest.fail(REASON, pytrace=False)
    one = Browser(tmp_path_factory.mktemp("browser"))
    yield one
    one.driver.quit()
    one.driver.service.stop()


@pytest.fixture(scope="module")
def report(replayed: Path) -> str:
    path = replayed.parent / "report.html"
    path.write_text(report_html(tidy(open_results([replayed]))), encoding="utf-8")
    return path.as_uri()


def served(folders: list[str]) -> tuple[str, Callable[[], None]]:
    from werkzeug.serving import make_server

    from analysis.dashboard import make_app
    from analysis.dashboard.serving import load

    server = make_server("127.0.0.1", 0, make_app(*load(folders)).server, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def stop() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    return f"http://127.0.0.1:{server.server_port}/", stop


@pytest.fixture(scope="module")
def dashboard(replayed: Path) -> Iterator[str]:
    url, stop = served([str(replayed)])
    yield url
    stop()


@pytest.fixture(scope="class", params=WIDTHS)
def opened(request: pytest.FixtureRequest, browser: Browser, report: str) -> tuple[Browser, int]:
    """Open the report once per width, without a network, for all tests that only look at it."""
    browser.open(report, request.param, offline=True)
    browser.wait("document.documentElement.dataset.ready")
    return browser, request.param


class TestReport:
    def test_it_opens_offline_and_draws_everything(self, opened: tuple[Browser, int]) -> None:
        browser, _ = opened
        drawn = browser.js("return document.querySelectorAll('.plot .main-svg').length")
        assert drawn >= browser.js("return document.querySelectorAll('.plot').length") > 20
        assert browser.console() == []
        assert [one for one in browser.requests() if not one.startswith(("file:", "data:"))] == []

    def test_it_fits_the_width(self, opened: tuple[Browser, int]) -> None:
        browser, width = opened
        assert browser.js("return document.documentElement.scrollWidth") <= width
        for left, right in browser.js(
            "return [...document.querySelectorAll('.plot svg.main-svg')]"
            ".map((e) => e.getBoundingClientRect()).map((r) => [r.left, r.right])"
        ):
            assert 0 <= left < right <= width

    def test_no_axis_title_is_cut_off(self, opened: tuple[Browser, int]) -> None:
        browser, _ = opened
        cut = browser.js(
            "return [...document.querySelectorAll('.xtitle, .ytitle')].filter((e) => {"
            " const a = e.getBoundingClientRect();"
            " const b = e.closest('.plot').getBoundingClientRect();"
            " return a.left < b.left - 1 || a.right > b.right + 1"
            " || a.top < b.top - 1 || a.bottom > b.bottom + 1; }).map((e) => e.textContent)"
        )
        assert cut == []

    def test_everything_has_a_name_and_contrast(self, opened: tuple[Browser, int]) -> None:
        browser, _ = opened
        assert browser.nameless() == []
        assert browser.low_contrast() == []

    def test_a_heading_sorts_the_table_and_says_so(self, opened: tuple[Browser, int]) -> None:
        browser, _ = opened
        click = (
            "const b = [...document.querySelectorAll('#overview thead button')]"
            ".find((e) => e.textContent.startsWith('Latency (') && e.offsetParent); b.click();"
            "return b.closest('th').getAttribute('aria-sort')"
        )
        values = (
            "const shown = [...document.querySelectorAll('#overview thead th')]"
            ".findIndex((e) => e.textContent.startsWith('Latency (') && e.offsetParent);"
            "return [...document.querySelectorAll('#overview tbody tr')]"
            ".map((row) => Number(row.cells[shown].dataset.value))"
        )
        assert browser.js(click) == "ascending"
        assert browser.js(values) == sorted(browser.js(values))
        assert browser.js(click) == "descending"
        assert browser.js(values) == sorted(browser.js(values), reverse=True)

    def test_the_table_downloads_as_csv(self, opened: tuple[Browser, int], tmp_path: Path) -> None:
        browser, _ = opened
        behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
        browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
        browser.js("document.getElementById('download').click()")
        end = time.monotonic() + WAIT_S
        path = tmp_path / "pimreplay.csv"
        while not path.exists():
            assert time.monotonic() < end, "nothing was downloaded"
            time.sleep(0.05)
        assert "latency_vs_dense_ratio" in path.read_text().splitlines()[0]


def test_the_reports_menu_changes_words_and_figures(
    browser: Browser, make: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "two.html"
    table = tidy(open_results([make(hardware=("fast", "slow"))]))
    path.write_text(report_html(table), encoding="utf-8")
    browser.open(path.as_uri())
    browser.wait("document.documentElement.dataset.ready")
    dense = "document.querySelector('#latency_by_context .plot').data[0].y[0]"
    before = browser.js(f"return {dense}")
    browser.js(
        "const menu = document.getElementById('setting'); menu.value = '1';"
        "menu.dispatchEvent(new Event('change'))"
    )
    browser.wait(f"{dense} !== {before}")
    assert browser.js(f"return {dense}") == pytest.approx(1.5 * before)
    words = "return [...document.querySelectorAll('.words')].find((e) => !e.hidden).textContent"
    assert "hardware slow" in browser.js(words)


def open_dashboard(browser: Browser, url: str, width: int = 1280) -> None:
    browser.open(url, width)
    browser.wait("document.querySelector('#status')?.textContent.startsWith('Shown')")


def choose(browser: Browser, control: str, text: str) -> None:
    browser.js(
        "[...document.querySelectorAll('#' + arguments[0] + ' label')]"
        ".find((e) => e.textContent.trim() === arguments[1]).querySelector('input').click()",
        control,
        text,
    )


def test_a_filter_changes_the_figures_and_the_address(browser: Browser, dashboard: str) -> None:
    open_dashboard(browser, dashboard + BASELINES)
    bars = "document.querySelectorAll('#latency_against_dense .bars .point').length"
    browser.wait(f"{bars} === 3")
    choose(browser, "methods", "starc")
    browser.wait(f"{bars} === 1")
    assert browser.js("return location.search") == f"{BASELINES}&methods=starc"
    choose(browser, "methods", "starc")
    browser.wait(f"{bars} === 3")
    assert browser.js("return location.search") == BASELINES
    assert browser.console() == []


def press(browser: Browser, selector: str) -> None:
    """Click the middle of an element with the mouse."""
    box = "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
    x, y = browser.js(box + "return [b.x + b.width / 2, b.y + b.height / 2]", selector)
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        mouse = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
        browser.driver.execute_cdp_cmd("Input.dispatchMouseEvent", mouse)
        time.sleep(0.1)  # hovering is throttled, and a click is one on what is hovered


def test_clicking_a_bar_keeps_its_method_and_clicking_again_lets_go(
    browser: Browser, dashboard: str
) -> None:
    open_dashboard(browser, dashboard + BASELINES)
    bars = "document.querySelectorAll('#latency_against_dense .bars .point').length"
    browser.wait(f"{bars} === 3")
    press(browser, "#latency_against_dense .bars .point:nth-of-type(2) path")
    browser.wait(f"{bars} === 1")
    checked = "return [...document.querySelectorAll('#methods input:checked')]"
    assert len(browser.js(checked)) == 1
    query = f"{BASELINES}&method=quest&methods=quest"
    assert browser.js("return location.search") == query
    press(browser, "#latency_against_dense .bars .point path")
    browser.wait(f"{bars} === 3")
    assert browser.js(checked) == []
    assert "methods" not in browser.js("return location.search")
    assert browser.console() == []


def test_clicking_a_cell_marks_it_in_every_map_and_keeps_it_elsewhere(
    browser: Browser, dashboard: str
) -> None:
    open_dashboard(browser, dashboard + "?view=Layer+by+layer")
    browser.wait("document.querySelector('#grid_attention_mass .main-svg')")
    browser.wait("document.querySelector('#grid_attention_mass .js-plotly-plot').picksWith")
    browser.js(
        "const plot = document.querySelector('#grid_attention_mass .js-plotly-plot');"
        "plot.emit('plotly_click', {points: [{data: plot.data[0], x: '1', y: '1'}]})"
    )
    browser.wait("document.getElementById('layers').value === '1'")
    browser.wait("document.getElementById('heads').value === '1'")
    plot = "document.querySelector('#grid_over_fetch .js-plotly-plot')"
    browser.wait(f"({plot}.layout.shapes || []).length === {plot}.data.length")
    assert browser.js(f"return {plot}.data[0].x") == ["0", "1"]  # marked, nothing is left out
    assert browser.js(f"return {plot}.layout.shapes.map((one) => [one.x0, one.x1])") == [
        [0.5, 1.5]
    ] * browser.js(f"return {plot}.data.length")
    query = browser.js("return location.search")
    for part in ("layers=1", "heads=1", "kv_head=1"):
        assert part in query
    browser.open(dashboard + query)
    browser.wait("document.getElementById('heads')?.value === '1'")


def test_clicking_a_step_opens_the_inspector_at_that_step(browser: Browser, dashboard: str) -> None:
    open_dashboard(browser, dashboard + "?view=Context+and+budget&layer=1&kv_head=1")
    plot = "document.querySelector('#latency_by_context .js-plotly-plot')"
    browser.wait(f"{plot}?.picksWith")
    browser.js(
        f"const plot = {plot}; const line = plot.data.find((one) => one.name === 'starc');"
        "plot.emit('plotly_click', {points: [{data: line, customdata: line.customdata[4]}]})"
    )
    browser.wait("document.getElementById('inspector-summary')")
    summary = browser.js("return document.getElementById('inspector-summary').textContent")
    assert summary.startswith("starc, layer 1, KV head 1, query head 0 of its group, step 5: ")
    assert "method=starc" in browser.js("return location.search")


def test_a_heading_of_the_grid_sorts_by_number(browser: Browser, dashboard: str) -> None:
    open_dashboard(browser, dashboard + "?view=Table&cost=attention")
    cells = "[...document.querySelectorAll('#overview [col-id=latency].ag-cell')]"
    browser.wait(f"{cells}.length === 4")
    shown = f"return {cells}.map((one) => Number(one.textContent))"
    assert min(browser.js(shown)) > 0
    heading = "document.querySelector('#overview .ag-header-cell[col-id=latency]')"
    for state in ("ascending", "descending"):
        browser.js(f"{heading}.querySelector('.ag-header-cell-label').click()")
        browser.wait(f"{heading}.getAttribute('aria-sort') === '{state}'")
        values = browser.js(shown)
        assert values == sorted(values, reverse=state == "descending")
    assert browser.console() == []


def test_a_click_that_takes_long_says_that_it_works(browser: Browser, dashboard: str) -> None:
    open_dashboard(browser, dashboard)
    browser.js(
        "window.seen = []; new MutationObserver(() => window.seen.push("
        "document.getElementById('main').getAttribute('aria-busy'))).observe("
        "document.getElementById('main'), {attributes: true, attributeFilter: ['aria-busy']})"
    )
    choose(browser, "view", "Step inspector")
    browser.wait("document.getElementById('inspector-text')")
    browser.wait("window.seen.at(-1) === 'false'")
    assert browser.js("return window.seen")[0] == "true"
    browser.js("document.getElementById('main').setAttribute('aria-busy', 'true')")
    working = "getComputedStyle(document.getElementById('working'))"
    browser.wait(f"{working}.visibility === 'visible' && {working}.display === 'block'")
    assert browser.low_contrast() == []


def test_a_shared_address_opens_the_same_view(browser: Browser, dashboard: str) -> None:
    query = "?view=Layer+by+layer&methods=quest&layers=1&first=2&last=5"
    open_dashboard(browser, dashboard + query)
    browser.wait("document.querySelector('#grid_attention_mass .main-svg')")
    checked = "return [...document.querySelectorAll('#methods input:checked')].length"
    assert browser.js(checked) == 1
    assert browser.js("return document.getElementById('layers').value") == "1"
    assert browser.js("return document.getElementById('first').value") == "2"
    assert browser.js("return location.search") == query


def test_the_back_button_restores_the_controls(browser: Browser, dashboard: str) -> None:
    open_dashboard(browser, dashboard + BASELINES)
    choose(browser, "view", "Banks")
    browser.wait("document.querySelector('#banks_channel_lane .main-svg')")
    browser.driver.back()
    browser.wait("document.querySelector('#latency_against_dense .main-svg')")
    chosen = "document.querySelector('#view input:checked').closest('label')"
    browser.wait(f"{chosen}.textContent.trim() === 'Against the baselines'")


def test_every_view_of_the_dashboard_draws_without_an_error(
    browser: Browser, dashboard: str
) -> None:
    open_dashboard(browser, dashboard)
    views = browser.js(
        "return [...document.querySelectorAll('#view label')].map((e) => e.textContent.trim())"
    )
    for view in views:
        choose(browser, "view", view)
        browser.wait(
            "document.querySelector('#content h2')?.textContent === arguments[0]"
            " || document.querySelector('#content [role=note]')",
            view,
        )
    assert len(views) > 8
    assert browser.console() == []


def test_the_step_inspector_marks_the_selected_tokens(
    browser: Browser, dashboard: str, replayed: Path
) -> None:
    from analysis.dashboard.inspection import inspect
    from pimreplay.results.reader import Results

    run = Results.open(replayed)
    row = tidy([run]).configurations.filter(policy="starc").row(0, named=True)
    expected = inspect(run, row, layer=1, kv_head=1, q_head=1, step=5)
    query = "?view=Step+inspector&method=starc&layer=1&kv_head=1&q_head=1&step=5"
    open_dashboard(browser, dashboard + query)
    browser.wait("document.getElementById('inspector-text')")
    text = browser.js("return document.getElementById('inspector-text').textContent")
    marked = browser.js(
        "return [...document.querySelectorAll('#inspector-text mark.selected')]"
        ".map((e) => e.textContent).join('')"
    )
    assert text == "".join(expected.text)
    words = [word for word, kept in zip(expected.text, expected.selected, strict=True) if kept]
    assert marked == "".join(words)
    summary = browser.js("return document.getElementById('inspector-summary').textContent")
    assert f"{expected.selected.sum()} of 306 tokens are selected" in summary
    browser.js("document.getElementById('step').focus()")
    browser.driver.switch_to.active_element.send_keys("\ue013")
    browser.wait("document.getElementById('inspector-summary').textContent.includes('step 6')")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("view", ["Against+the+baselines", "Banks", "Table", "Step+inspector"])
def test_the_dashboard_fits_and_everything_has_a_name_and_contrast(
    browser: Browser, dashboard: str, width: int, view: str
) -> None:
    open_dashboard(browser, f"{dashboard}?view={view}", width)
    browser.wait("document.querySelector('#content h2')")
    assert browser.js("return document.documentElement.scrollWidth") <= width
    assert browser.nameless() == []
    assert browser.low_contrast() == []


def test_a_narrow_page_starts_with_its_filters_folded(browser: Browser, dashboard: str) -> None:
    for width, folded in ((390, True), (1280, False)):
        open_dashboard(browser, dashboard, width)
        browser.wait("document.querySelector('#content h2')")
        assert browser.js("return !document.querySelector('details.controls').open") == folded
        top = "return document.querySelector('#content h2').getBoundingClientRect().top"
        assert browser.js(top) < 900


@pytest.fixture(scope="session")
def few_results(make_once: Callable[..., Path]) -> Path:
    return make_once(policies=("dense", "starc"))


@pytest.mark.parametrize("form", ["svg", "pdf"])
def test_figures_are_exported_with_their_font_a_column_and_a_page_wide(
    few_results: Path, tmp_path: Path, form: str
) -> None:
    pytest.importorskip("kaleido", reason="kaleido is not installed")
    from analysis.report.export import export_figures, stills

    drawings = dict(stills(tidy(open_results([few_results]))))
    few = ("latency_against_dense", "latency_at_recall", "banks_channel_lane_starc")
    chosen = [(name, drawings[name]) for name in few]
    paths = export_figures(chosen, tmp_path / "figures", form)
    for place, inches in {"column": 3.3, "page": 7.0}.items():
        own = [path for path in paths if path.parent.name == place]
        assert {path.name for path in own} == {f"{name}.{form}" for name in few}
        (path,) = [one for one in own if one.stem == "latency_against_dense"]
        width, fonts, text = (in_svg if form == "svg" else in_pdf)(path)
        assert width / 96 == pytest.approx(inches, abs=0.01)
        assert fonts == {"Roboto"}
        assert "Latency of a decode step" in text


def in_svg(path: Path) -> tuple[float, set[str], str]:
    """Return width in pixels, the fonts that texts ask for and the file holds, and its text."""
    import re

    text = path.read_text(encoding="utf-8")
    asked = set(re.findall(r"font-family: *(?:&quot;|\"|')?([A-Za-z ]+)", text))
    held = set(
        re.findall(r"@font-face{font-family:\"(\w+)\";src:url\(data:font/woff;base64,", text)
    )
    assert asked == held
    (width,) = re.findall(r'<svg[^>]* width="([0-9.]+)"', text)[:1]
    return float(width), held, text


def in_pdf(path: Path) -> tuple[float, set[str], str]:
    """Return the same of a page; a font counts only if its glyphs are in the file."""
    from pypdf import PdfReader

    (page,) = PdfReader(path).pages
    fonts = set()
    for one in page["/Resources"]["/Font"].values():
        inner = one.get_object()
        inner = inner["/DescendantFonts"][0].get_object() if "/DescendantFonts" in inner else inner
        assert any(key.startswith("/FontFile") for key in inner["/FontDescriptor"])
        fonts.add(str(inner["/BaseFont"]).split("+")[-1].removeprefix("/").split("-")[0])
    return float(page.mediabox.width) * 96 / 72, fonts, page.extract_text()


def test_results_that_cannot_be_opened_get_a_clear_page(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    url, stop = served([str(tmp_path / "empty")])
    try:
        browser.open(url)
        browser.wait("document.querySelector('h1')")
        body = browser.js("return document.body.textContent")
        assert "These results cannot be shown" in body
        assert "the folder is empty; make one with" in body
    finally:
        stop()


def test_good_results_are_shown_beside_broken_ones(
    browser: Browser, replayed: Path, tmp_path: Path
) -> None:
    newer = tmp_path / "newer"
    shutil.copytree(replayed, newer)
    config = json.loads((newer / "run.json").read_text())
    (newer / "run.json").write_text(json.dumps(config | {"schema_version": 99}))
    url, stop = served([str(replayed), str(newer)])
    try:
        open_dashboard(browser, url + BASELINES)
        body = browser.js("return document.body.textContent")
        assert "results schema 99 is newer than this version reads" in body
        browser.wait("document.querySelector('#latency_against_dense .main-svg')")
    finally:
        stop()
