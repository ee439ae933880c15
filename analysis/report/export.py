"""Export the figures of a report as image files, for a paper."""

import os
import shutil
from pathlib import Path
from typing import Any

from analysis.figures import Drawing, figures
from analysis.figures._menu import without_menu
from analysis.results.summary import at, settings
from analysis.results.tables import Table
from tracegen.base.errors import FailedRun, UserError, nearest

FORMATS = ("png", "svg", "pdf")
WIDTH, SCALE = 720, 2
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def check_export(form: str) -> None:
    """Raise `UserError` when figures cannot be exported in this format on this machine."""
    if form not in FORMATS:
        raise UserError(f"--format {form!r} is unknown; {nearest(form, FORMATS)}")
    try:
        import kaleido  # type: ignore[import-untyped]  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--format needs the package kaleido; install it with `pip install pimreplay[export]`"
        ) from error
    if not os.environ.get("BROWSER_PATH"):
        found = next((path for path in map(shutil.which, _BROWSERS) if path), None)
        if found is None:
            raise UserError(
                "--format needs a Chromium or Chrome on the path, none was found; install one"
                " (for example `apt-get install chromium`) or set BROWSER_PATH to it"
            )
        os.environ["BROWSER_PATH"] = found


def still_layout(drawing: Drawing) -> dict[str, Any]:
    """Return the layout of a picture: its width fixed, a menu replaced by what it shows."""
    return without_menu(drawing).layout | {"width": WIDTH}


def pictures(table: Table) -> dict[str, dict[str, Any]]:
    """Return every figure of the first setting as a picture, by name."""
    sparse = table.narrowed(policy_layers=True)
    setting = settings(table)[0]
    found = {}
    for name, figure in figures().items():
        drawing = figure.draw(at(sparse, setting, figure.scope))
        if drawing is not None:
            found[name] = {"data": drawing.data, "layout": still_layout(drawing)}
    return found


def export_figures(table: Table, folder: Path, form: str) -> list[Path]:
    """Write every figure of the first setting to `folder` and return the files.

    Raises:
        UserError: the format, the package or the browser is missing, or a file is in the way.
        FailedRun: the browser drew nothing.
    """
    check_export(form)
    import kaleido

    options = {"format": form, "scale": SCALE}
    jobs: list[dict[str, Any]] = [
        {"fig": picture, "path": str(folder / f"{name}.{form}"), "opts": options}
        for name, picture in pictures(table).items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        kaleido.write_fig_from_object_sync(jobs, cancel_on_error=True)
    except RuntimeError as error:
        raise FailedRun(f"{folder}: the browser did not draw the figures ({error})") from error
    paths = [Path(job["path"]) for job in jobs]
    missing = [path.name for path in paths if not path.exists() or not path.stat().st_size]
    if missing:
        raise FailedRun(f"{folder}: not drawn: {', '.join(missing)}")
    return paths
