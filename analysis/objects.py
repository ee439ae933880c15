"""Read and draw results in a notebook or a script."""

from pathlib import Path
from typing import TYPE_CHECKING

from analysis.figures import figures
from analysis.results.tables import Table
from analysis.results.tidying import tidy
from pimreplay.results.reader import open_results
from tracegen.base.errors import UserError, nearest

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def read_results(*folders: str | Path, cost: str | None = None) -> Table:
    """Open results folders as one table; `measured()` of it is a Polars frame, a row a method.

    Args:
        folders: Folders or URLs that `pimreplay run` or `sweep` wrote.
        cost: `attention`, `scoring` or `all`: what latency and energy are charged with; None: all.

    Raises:
        UserError: a folder holds no results, or damaged ones.
    """
    return tidy(open_results([str(one) for one in folders])).charging(cost)


def draw(name: str, table: Table) -> "Figure":
    """Draw a figure of the report, by the name that its exports have.

    Raises:
        UserError: there is no such figure, or the results do not hold what it shows.
    """
    from plotly.graph_objects import Figure

    known = figures()
    if name not in known:
        raise UserError(f"figure {name!r}: unknown; {nearest(name, known)}")
    drawing = known[name].draw(table)
    if drawing is None:
        raise UserError(f"figure {name}: nothing to draw; it needs {known[name].needs}")
    return Figure(drawing.plain())
