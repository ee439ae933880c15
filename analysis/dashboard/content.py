"""What the page shows for an address: figures, the table, or the step inspector."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import polars as pl
from dash import dcc, html

from analysis.dashboard.inspection import Inspection, inspect
from analysis.dashboard.inspector_costs import total_ns
from analysis.dashboard.inspector_view import GRAPH, inspector
from analysis.dashboard.state import KEYS, TABLE, State, narrowed, read_state
from analysis.dashboard.table_view import table_view
from analysis.figures import Drawing, Figure, figures
from analysis.figures._menu import without_menu
from analysis.figures._style import INSPECTOR
from analysis.results.methods import in_order
from analysis.results.summary import at, overview
from analysis.results.tables import Table
from tracegen.base.errors import UserError

CLICK = (
    "Click a bar, a point, a line or a cell to keep only its method, budget, device, layer or KV"
    " head; click it again for everything. The step inspector opens at what was clicked."
)


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
            "cost": state.cost,
            "layers": "",
            "heads": "",
            "first": None,
            "last": None,
            "method": self._methods(state)[0],
            "beside": "",
            "layer": layer,
            "kv_head": 0,
            "q_head": 0,
            "step": 0,
        }
        return many | single

    def update(
        self, query: str | None
    ) -> tuple[list[Any], str, list[str], list[Any], bool, bool, bool]:
        """Return the content, a line of status, the methods to choose from, and what is hidden.

        The methods are given twice: to show one, and to show one beside it, or none.

        Hidden are the choice of one method, the numbers of the step inspector, and the extent of
        the table, where the view does not use them.
        """
        state = self.state(query or "")
        inspecting = state.view == INSPECTOR
        one_method = inspecting
        try:
            if inspecting:
                content = self._inspector(state)
            elif state.view == TABLE:
                content = table_view(self.overview(query or ""), query or "")
            else:
                content, one_method = self._figures(state)
        except UserError as error:
            content = [html.P(str(error), className="banner", role="alert")]
        status = f"Shown: {state.label()}."
        if state.problems:
            status += " Not used: " + "; ".join(state.problems) + "."
        methods = self._methods(state)
        beside = [{"value": "", "label": "none"}, *methods]
        hidden = (not one_method, not inspecting, state.view != TABLE)
        return content, status, methods, beside, *hidden

    def overview(self, query: str) -> pl.DataFrame:
        """Return the overview of what the address asks for."""
        state = self.state(query)
        kept = narrowed(self.table, state)
        return overview(kept if state.every else at(kept, state.setting))

    def _narrow(self, state: State, scope: str) -> Table:
        return at(narrowed(self.table, state), state.setting, scope)

    def _figures(self, state: State) -> tuple[list[Any], bool]:
        """Return the figures of a view, and whether one of them shows one method at a time."""
        cards, missing, maps = [], [], False
        for figure in figures().values():
            if figure.group != state.view:
                continue
            kept = state.filters()
            if figure.marks:
                kept = replace(kept, layers=None, kv_heads=None)
            drawing = figure.draw(self._narrowed(kept, figure.scope))
            if drawing is None:
                missing.append(html.P(f"{figure.title}: not drawn, it needs {figure.needs}."))
                continue
            maps |= "updatemenus" in drawing.layout
            if figure.marks:
                drawing = marked(drawing, state.layers, state.kv_heads)
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
        """Return one step of the method, and of another beside it where one is chosen."""
        methods = self._methods(state)
        method = state.method if state.method in methods else methods[0]
        chosen = [method, *(one for one in (state.beside,) if one in methods)]
        steps = [self._inspected(state, one) for one in chosen]
        until_ns = max(total_ns(one.costs) for one in steps)
        parts = [
            inspector(one, called, until_ns, place)
            for place, (one, called) in enumerate(zip(steps, chosen, strict=True))
        ]
        return [html.H2(INSPECTOR), html.Div(parts, className="side-by-side")]

    def _inspected(self, state: State, method: str) -> Inspection:
        described = at(self.table, state.setting).configurations
        row = described.filter(method=method).row(0, named=True)
        run = next(one for one in self.table.runs if one.name == row["run"])
        layer = int(self.initial()["layer"]) if state.layer is None else state.layer
        return inspect(run, row, layer, state.kv_head, state.q_head, state.step)


def marked(
    drawing: Drawing, layers: Sequence[int] | None, kv_heads: Sequence[int] | None
) -> Drawing:
    """Outline the cells of the layers and KV heads that are kept, in every map."""
    if layers is None and kv_heads is None:
        return drawing
    shapes = [
        {
            "type": "rect",
            "xref": one["xaxis"],
            "yref": one["yaxis"],
            "x0": column - 0.5,
            "x1": column + 0.5,
            "y0": row - 0.5,
            "y1": row + 0.5,
            "line": {"color": "#ff003c", "width": 2},
        }
        for one in drawing.data
        for row, layer in enumerate(one["y"])
        for column, head in enumerate(one["x"])
        if (layers is None or int(layer) in layers) and (kv_heads is None or int(head) in kv_heads)
    ]
    return Drawing(drawing.data, drawing.layout | {"shapes": shapes})


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
