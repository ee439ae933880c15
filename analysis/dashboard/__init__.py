"""The dashboard: every figure of the report, filtered together, and single steps up close.

The address of the page is the whole state: controls write its query, the figures read it.
"""

from collections.abc import Sequence

import dash
import flask
from dash import Input, Output, State

from analysis.dashboard.content import Content
from analysis.dashboard.layout import page, trouble_page
from analysis.dashboard.state import KEYS
from analysis.report.columns import csv_text
from analysis.results.tables import Table

OUTPUTS = (
    *(("content", "children"), ("status", "children"), ("method", "options")),
    *(("beside", "options"), ("one-method", "hidden"), ("inspector-numbers", "hidden")),
    ("table-extent", "hidden"),
)
"""What an address decides: the parts of the page that `Content.update` returns, in order."""


def make_app(table: Table | None, problems: Sequence[str] = ()) -> dash.Dash:
    """Return the application; without a table it is one page that says what is wrong."""
    app = dash.Dash(__name__, title="PIM replay", update_title="", serve_locally=True)
    app.index_string = app.index_string.replace("<html>", '<html lang="en">')
    if table is None:
        app.layout = trouble_page(problems)
        return app
    content = Content(table)
    app.layout = page(table, content, problems)
    app.clientside_callback(
        dash.ClientsideFunction("pimreplay", "sync"),
        Output("url", "search"),
        *[Output(key, "value") for key in KEYS],
        Input("url", "search"),
        *[Input(key, "value") for key in KEYS],
        State("initial", "data"),
    )
    app.callback(
        *[Output(name, what) for name, what in OUTPUTS],
        Input("url", "search"),
        running=[(Output("main", "aria-busy"), "true", "false")],
    )(content.update)

    def download() -> flask.Response:
        rows = content.overview(flask.request.query_string.decode())
        disposition = {"Content-Disposition": "attachment; filename=pimreplay.csv"}
        return flask.Response(csv_text(rows), mimetype="text/csv", headers=disposition)

    app.server.add_url_rule("/table.csv", "table", download)
    return app
