"""What the page shows for an address: figures, the table, or the step inspector."""

from functools import lru_cache
from typing import Any

import polars as pl
from dash import dcc, html

from analysis.dashboard.inspection import inspect
from analysis.dashboard.inspector_view import GRAPH, inspector
from analysis.dashboard.state import KEYS, State, narrowed, read_state
from analysis.figures import Drawing, Figure, figures
from analysis.figures._menu import without_menu
from analysis.report.columns import columns, shown_settings
from analysis.results.reading_order import in_order
from analysis.results.summary import at, overview
from analysis.results.tables import Table
from tracegen.base.errors import UserError

TABLE = "Table"
INSPECTOR = "Step inspector"
CLICK = (
    "Click a bar, a point, a line or a cell to keep only its method, budget, device, layer or KV"
    " head; click it again for everything. The step inspector opens at what was clicked."
)
TABLE_ROWS = 60
"""Most rows of the table in the page; the download holds all."""


class Content:
    """The views of one table; what a filter keeps is remembered for the last few filters."""

    def __init__(self, table: Table) -> None:
        self.table = table
        groups = dict.fromkeys(one.group for one in figures().values())
        self.views = (*groups, TABLE, INSPECTOR)
        self._narrowed = lru_cache(maxsize=8)(self._narrow)

    def state(self, query: str) -> State:
        """Read the query of an address."""
        return read_state(query, self.table, self.views)

    def initial(self) -> dict[str, Any]:
        """Return the value of every control on a bare address."""
        state = self.state("")
        many: dict[str, Any] = {key: [] for key in KEYS}
        layer = self.table.narrowed(policy_layers=True).rows["layer"].min()
        single: dict[str, Any] = {
            "view": state.view,
            "trace": state.setting.trace,
            "hardware": state.setting.hardware,
            "budget": state.setting.budget,
            "layers": "",
            "heads": "",
            "first": None,
            "last": None,
            "method": self._methods(state)[0],
            "layer": layer,
            "kv_head": 0,
            "q_head": 0,
            "step": 0,
        }
        return many | single

    def update(self, query: str | None) -> tuple[list[Any], str, list[str], bool, bool]:
        """Return the content, a line of status, the methods to choose from, and what is hidden.

        Hidden are the choice of one method, and the numbers of the step inspector, where the view
        does not use them.
        """
        state = self.state(query or "")
        inspecting = state.view == INSPECTOR
        one_method = inspecting
        try:
            if inspecting:
                content = self._inspector(state)
            elif state.view == TABLE:
                content = self._table(state, query or "")
            else:
                content, one_method = self._figures(state)
        except UserError as error:
            content = [html.P(str(error), className="banner", role="alert")]
        status = f"Shown: {state.setting.label()}."
        if state.problems:
            status += " Not used: " + "; ".join(state.problems) + "."
        return content, status, self._methods(state), not one_method, not inspecting

    def overview(self, query: str) -> pl.DataFrame:
        """Return the overview of what the address asks for, every budget and device of it."""
        return overview(narrowed(self.table, self.state(query)))

    def _narrow(self, state: State, scope: str) -> Table:
        return at(narrowed(self.table, state), state.setting, scope)

    def _figures(self, state: State) -> tuple[list[Any], bool]:
        """Return the figures of a view, and whether one of them shows one method at a time."""
        cards, missing, maps = [], [], False
        for figure in figures().values():
            if figure.group != state.view:
                continue
            drawing = figure.draw(self._narrowed(state.filters(), figure.scope))
            if drawing is None:
                missing.append(html.P(f"{figure.title}: not drawn, it needs {figure.needs}."))
                continue
            maps |= "updatemenus" in drawing.layout
            cards.append(_card(figure, without_menu(drawing, state.method)))
        content = [html.H2(state.view)]
        if cards:
            content += [html.P(CLICK, className="hint"), html.Div(cards, className="figures")]
        if missing:
            content.append(html.Div(missing, role="note"))
        return content, maps

    def _methods(self, state: State) -> list[str]:
        described = in_order(at(self.table, state.setting).configurations)
        sparse = described.filter(pl.col("policy") != "dense")["method"].to_list()
        return [*sparse, *described.filter(policy="dense")["method"].to_list()]

    def _inspector(self, state: State) -> list[Any]:
        described = at(self.table, state.setting).configurations
        methods = self._methods(state)
        method = state.method if state.method in methods else methods[0]
        row = described.filter(method=method).row(0, named=True)
        run = next(one for one in self.table.runs if one.name == row["run"])
        layers = sorted(self.table.rows["layer"].unique())
        heads = sorted(self.table.rows["kv_head"].unique())
        layer = state.layer
        if layer is None or layer not in layers:
            layer = int(self.initial()["layer"])
        kv_head = state.kv_head if state.kv_head in heads else heads[0]
        one = inspect(run, row, layer, kv_head, state.q_head, state.step)
        return [html.H2(INSPECTOR), *inspector(one, method)]

    def _table(self, state: State, query: str) -> list[Any]:
        rows = overview(narrowed(self.table, state))
        settings = shown_settings(rows)
        shown = list(columns(rows))
        texts = [column.texts for column in shown]
        headings = ["Method", *(name.capitalize() for name in settings)]
        head = [html.Th(text, scope="col") for text in headings]
        head += [html.Th(one.heading, scope="col", className="number") for one in shown]
        body = [
            html.Tr(
                [
                    html.Th(row["method"], scope="row"),
                    *[html.Td(str(row[name])) for name in settings],
                    *[html.Td(text[place], className="number") for text in texts],
                ]
            )
            for place, row in enumerate(rows.head(TABLE_ROWS).iter_rows(named=True))
        ]
        more = f" The first {TABLE_ROWS} of {len(rows)} rows." if len(rows) > TABLE_ROWS else ""
        return [
            html.H2("Table"),
            html.P(
                [
                    html.A("Download as CSV", href=f"/table.csv{query}", id="download"),
                    f" (all columns, full precision).{more}",
                ]
            ),
            html.Div(
                html.Table(
                    [
                        html.Caption("Every method, for every budget and device"),
                        html.Thead(html.Tr(head)),
                        html.Tbody(body),
                    ],
                    id="overview",
                ),
                className="scroll",
                role="region",
                tabIndex=0,
                **{"aria-label": "Table of all methods"},
            ),
        ]


def _card(figure: Figure, drawing: Drawing) -> html.Figure:
    title, caption = f"{figure.name}-title", f"{figure.name}-caption"
    return html.Figure(
        [
            html.H3(figure.title, id=title),
            html.Div(
                dcc.Graph(id=figure.name, figure=drawing.plain(), config=GRAPH),
                role="group",
                **{"aria-labelledby": title, "aria-describedby": caption},
            ),
            html.Figcaption(figure.caption, id=caption),
        ]
    )
