"""Export the figures of a report as image files, for a paper."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from analysis.figures import Drawing, figures
from analysis.figures._menu import menu_names, without_menu
from analysis.report.picture_font import FAMILY, font_script
from analysis.results.summary import at, settings
from analysis.results.tables import Table
from tracegen.base.errors import FailedRun, UserError, nearest
from tracegen.base.folder import hidden_folder

FORMATS = ("png", "svg", "pdf")
WIDTHS_IN = {"column": 3.3, "page": 7.0}
"""Inches of a column and of the text of a two-column page, the folders' names."""

PIXELS_PER_INCH = 96
"""Of CSS: what a picture's pixel is in print."""

PNG_SCALE = 4
"""Pixels of a PNG for one of the drawing: 384 an inch."""

ABOVE_PLOT = 24
"""Pixels above a plot, for the name of a baseline: there are no buttons in a picture."""

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def check_export(form: str) -> None:
    """Raise `UserError` when figures cannot be exported in this format on this machine."""
    if form not in FORMATS:
        raise UserError(f"--format {form!r} is unknown; {nearest(form, FORMATS)}")
    try:
        import font_roboto  # noqa: F401
        import fontTools  # noqa: F401
        import kaleido  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--format needs the package {error.name}; install it with"
            " `pip install pimreplay[export]`"
        ) from error
    if not os.environ.get("BROWSER_PATH"):
        found = next((path for path in map(shutil.which, _BROWSERS) if path), None)
        if found is None:
            raise UserError(
                "--format needs a Chromium or Chrome on the path, none was found; install one"
                " (for example `apt-get install chromium`) or set BROWSER_PATH to it"
            )
        os.environ["BROWSER_PATH"] = found


def still_layout(drawing: Drawing, inches: float) -> dict[str, Any]:
    """Return the layout of a picture: its width and font fixed, no room for buttons."""
    layout = drawing.layout
    fixed: dict[str, Any] = {
        "width": round(inches * PIXELS_PER_INCH),
        "font": layout["font"] | {"family": FAMILY},
    }
    if "title" not in layout:
        fixed["margin"] = layout["margin"] | {"t": min(layout["margin"]["t"], ABOVE_PLOT)}
    return layout | fixed


def stills(table: Table) -> Iterator[tuple[str, Drawing]]:
    """Yield every figure of the first setting by name; one for each method where a menu chooses."""
    sparse = table.narrowed(policy_layers=True)
    setting = settings(table)[0]
    for name, figure in figures().items():
        drawing = figure.draw(at(sparse, setting, figure.scope))
        if drawing is None:
            continue
        methods = menu_names(drawing)
        if not methods:
            yield name, drawing.still()
        for method in methods:
            slug = "".join(one if one.isalnum() else "_" for one in method)
            yield f"{name}_{slug}", without_menu(drawing, method).still()


def export_figures(drawings: Iterable[tuple[str, Drawing]], folder: Path, form: str) -> list[Path]:
    """Write drawings by name to `folder`, each a column and a page wide.

    Returns:
        The files, in the folders `WIDTHS_IN`.

    Raises:
        UserError: the format, the package or the browser is missing, or a file is in the way.
        FailedRun: the browser drew nothing.
    """
    check_export(form)
    import kaleido

    options = {"format": form, "scale": PNG_SCALE if form == "png" else 1}
    with hidden_folder(folder) as own:
        jobs: list[dict[str, Any]] = [
            {
                "fig": {"data": drawing.data, "layout": still_layout(drawing, inches)},
                "path": str(own / place / f"{name}.{form}"),
                "opts": options,
            }
            for name, drawing in drawings
            for place, inches in WIDTHS_IN.items()
        ]
        for place in WIDTHS_IN:
            (own / place).mkdir()
        text = json.dumps([job["fig"] for job in jobs], ensure_ascii=False)
        script = (own / "font.js").absolute()
        script.write_text(font_script(text), encoding="utf-8")
        page = kaleido.PageGenerator(mathjax=False, others=[script.as_uri()])
        try:
            kaleido.write_fig_from_object_sync(
                jobs, kopts={"page_generator": page}, cancel_on_error=True
            )
        except RuntimeError as error:
            raise FailedRun(f"{folder}: the browser did not draw the figures ({error})") from error
        drawn = [Path(job["path"]) for job in jobs]
        missing = [path.name for path in drawn if not path.exists() or not path.stat().st_size]
        if missing:
            raise FailedRun(f"{folder}: not drawn: {', '.join(missing)}")
        for place in WIDTHS_IN:
            (folder / place).mkdir(parents=True, exist_ok=True)
        return [path.replace(folder / path.relative_to(own)) for path in drawn]  # each one whole
