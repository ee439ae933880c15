"""Pages as single HTML files: Jinja templates with autoescape, and what they show as records."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment

    from analysis.figures import Drawing

TEMPLATES = files("analysis.report") / "templates"


@dataclass(frozen=True, slots=True)
class Head:
    """The heading of a column."""

    text: str
    number: bool = False
    kind: str = ""
    """CSS class."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell; its `value` is what a number sorts by, and `kind` a CSS class."""

    text: str
    number: bool = False
    value: float | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class WebTable:
    """A table that scrolls in its own region; the first cell of a row names it."""

    caption: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    identity: str = ""
    sorts: bool = False
    """Headings are buttons that sort."""
    wrapped: bool = False
    """Break words rather than be wider than the page: for text, not for numbers."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the script draws the figure of this name."""

    name: str
    title: str
    caption: str


@dataclass(frozen=True, slots=True)
class Placed:
    """One drawing with its words, on a page of a subject of its own."""

    name: str
    title: str
    caption: str
    drawing: "Drawing"

    @property
    def place(self) -> Place:
        """Where the script draws it."""
        return Place(self.name, self.title, self.caption)


def drawn(figures: Sequence[Placed], csv: str) -> Markup:
    """Return what the script needs to draw figures and to offer a table as CSV."""
    return embedded(
        {
            "drawings": [one.drawing.plain() for one in figures],
            "settings": [{"": {one.name: place for place, one in enumerate(figures)}}],
            "csv": {"": csv},
        }
    )


def text_table(
    caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]], identity: str = ""
) -> WebTable:
    """Return a table of plain text."""
    cells = [[Cell(text) for text in row] for row in rows]
    return WebTable(caption, [Head(text) for text in heads], cells, identity, wrapped=True)


def page(name: str, **parts: Any) -> str:
    """Fill one of the templates; text in `parts` is escaped, whatever it holds."""
    return _environment().get_template(name).render(parts)


def embedded(value: object) -> Markup:
    """Return JSON that can stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def plotly_script() -> Markup:
    """Return Plotly's JavaScript, so that a page needs no network."""
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("analysis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["asset"] = lambda name: Markup((TEMPLATES / name).read_text(encoding="utf-8"))
    return found
