"""The files that one `analysis report` writes: a page, a LaTeX table, figures."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from analysis.report.export import export_figures, stills
from analysis.report.latex import latex_table
from analysis.report.page import report_html
from analysis.results.summary import overview
from analysis.results.tables import Table
from tracegen.base.errors import UserError
from tracegen.base.folder import refuse_existing, write_file
from tracegen.base.space import in_words


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that one call writes; None: not this one."""

    html: Path | None
    latex: Path | None
    figures: Path | None
    """A folder."""
    form: str | None
    """Format of the figures."""

    @classmethod
    def planned(cls, out: Path, form: str | None, latex: bool) -> "Outputs":
        """Derive every path from `--out`: an HTML file, or a folder for figures only.

        Raises:
            UserError: it names nothing that could be made, such as `.`.
        """
        if not out.name:
            raise UserError(f"--out {out}: names no file; give one, such as report.html")
        is_page = form is None or out.suffix in (".html", ".htm")
        folder = out.with_name(f"{out.stem}_figures") if is_page else out
        return cls(
            html=out if is_page else None,
            latex=out.with_suffix(".tex") if latex else None,
            figures=folder if form else None,
            form=form,
        )

    def refuse_existing(self, overwrite: bool) -> None:
        """Raise `UserError` when something would be lost."""
        for path in (self.html, self.latex):
            if path is not None:
                refuse_existing(path, overwrite=overwrite)
        if self.figures is not None and self.figures.exists():
            if not self.figures.is_dir():
                raise UserError(f"{self.figures}: is a file; figures go into a folder")
            if any(self.figures.iterdir()) and not overwrite:
                raise UserError(
                    f"{self.figures}: holds files already; choose another --out, or give"
                    " --overwrite"
                )


def write_all(table: Table, outputs: Outputs, overwrite: bool) -> Iterator[str]:
    """Write what was asked for; yield one line a file or folder when it is complete.

    Raises:
        UserError: something is in the way.
    """
    if outputs.html is not None:
        refuse_existing(outputs.html, overwrite=overwrite)
        write_file(outputs.html, report_html(table))
        yield f"wrote {outputs.html} ({in_words(outputs.html.stat().st_size)})"
    if outputs.latex is not None:
        refuse_existing(outputs.latex, overwrite=overwrite)
        write_file(outputs.latex, latex_table(overview(table.narrowed(policy_layers=True))))
        yield f"wrote {outputs.latex}"
    if outputs.figures is not None and outputs.form is not None:
        paths = export_figures(stills(table), outputs.figures, outputs.form)
        yield f"wrote {outputs.figures} ({len(paths)} pictures, {outputs.form})"
