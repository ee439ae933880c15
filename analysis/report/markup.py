"""HTML that the reports share: the page around them, tables, figures' places, lists."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from string import Template


def template(name: str) -> str:
    """Return the text of a file in `analysis/report/templates`."""
    return (files("analysis.report") / "templates" / name).read_text(encoding="utf-8")


def page(name: str, title: str, **parts: str) -> str:
    """Fill one of the page templates; head, style and script are the same in all of them."""
    title = html.escape(title)
    head = Template(template("head.html")).substitute(title=title, style=template("report.css"))
    script = template("report.js")
    return Template(template(name)).substitute(parts, title=title, head=head, script=script)


def table(
    heads: Sequence[str],
    rows: Iterable[str],
    caption: str,
    identity: str = "",
    wrapped: bool = False,
) -> str:
    """Return a table that scrolls in its own region; `heads` and `rows` are HTML.

    `wrapped` breaks words rather than being wider than the page: for text, not for numbers.
    """
    label = html.escape(caption, quote=True)
    mark = f' id="{identity}"' if identity else ""
    mark += ' class="wrapped"' if wrapped else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">'
        f"<table{mark}><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def heading(text: str, number: bool = False, sorts: int | None = None) -> str:
    """Return the heading of a column; with `sorts`, its place, a button that sorts by it."""
    mark = ' class="number"' if number else ""
    text = html.escape(text)
    if sorts is None:
        return f'<th scope="col"{mark}>{text}</th>'
    button = f'<button type="button" data-column="{sorts}">{text}</button>'
    return f'<th scope="col"{mark} aria-sort="none">{button}</th>'


def row(head: str, *cells: str) -> str:
    """Return a row of text: its first cell names it."""
    texts = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row">{html.escape(head)}</th>{texts}</tr>'


def figure(name: str, title: str, caption: str) -> str:
    """Return the empty place that the script draws the figure `name` into."""
    return (
        f'<figure id="{name}"><h3 id="{name}-title">{html.escape(title)}</h3>'
        f'<div class="plot" role="group" aria-labelledby="{name}-title"'
        f' aria-describedby="{name}-caption" data-figure="{name}"></div>'
        f'<figcaption id="{name}-caption">{html.escape(caption)}</figcaption></figure>'
    )


def paragraphs(sentences: Iterable[str]) -> str:
    """Return one paragraph a sentence."""
    return "".join(f"<p>{html.escape(one)}</p>" for one in sentences)


def items(sentences: Iterable[str]) -> str:
    """Return a list."""
    return f"<ul>{''.join(f'<li>{html.escape(one)}</li>' for one in sentences)}</ul>"


def facts(named: Mapping[str, str]) -> str:
    """Return names with what they are."""
    pairs = (
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(text)}</dd>" for key, text in named.items()
    )
    return f"<dl>{''.join(pairs)}</dl>"


def embedded(value: object) -> str:
    """Return JSON that can stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
