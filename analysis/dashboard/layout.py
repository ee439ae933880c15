"""The page: native controls on the left, the chosen view beside them."""

from collections.abc import Sequence

from dash import dcc, html

from analysis.dashboard.content import Content
from analysis.results.charge import CHARGES
from analysis.results.methods import in_order
from analysis.results.tables import Table

EVERY = "every trace, hardware and budget, not only the chosen ones"


def page(table: Table, content: Content, problems: Sequence[str]) -> html.Div:
    """Return the layout; `problems` are folders that could not be opened."""
    described = table.configurations
    synthetic = sorted(described.filter(trace_kind="synthetic")["trace"].unique())
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="initial", data=content.initial()),
            html.A("Skip to the figures", href="#main", className="skip"),
            html.Header([html.H1("PIM replay"), html.P(", ".join(run.name for run in table.runs))]),
            *[_banner(one) for one in problems],
            *[_banner(f"Synthetic trace: {name}. Its recall means nothing.") for name in synthetic],
            html.Div(
                [
                    html.Details(
                        [
                            html.Summary("What is shown"),
                            html.P("Nothing ticked or filled in keeps everything."),
                            _controls(table),
                        ],
                        open=True,
                        className="controls",
                    ),
                    html.Main(
                        [
                            _choice("view", "View", content.views, row=True),
                            html.Div(id="status", role="status", **{"aria-live": "polite"}),
                            html.Div("Working\u2026", id="working", role="status"),
                            html.Div(_choice("method", "Method", [], row=True), id="one-method"),
                            html.Div(
                                _inspector_numbers(table),
                                id="inspector-numbers",
                                className="numbers",
                            ),
                            html.Div(
                                _several("every", "Rows", ["yes"], [EVERY]), id="table-extent"
                            ),
                            html.Div(id="content"),
                        ],
                        id="main",
                        tabIndex=-1,
                    ),
                ],
                className="columns",
            ),
        ]
    )


def trouble_page(problems: Sequence[str]) -> html.Div:
    """Return the page that is shown when no results folder could be opened."""
    return html.Div(
        html.Main(
            [
                html.H1("These results cannot be shown"),
                *[_banner(problem) for problem in problems],
                html.P("Correct what is named above and start `analysis dashboard` again."),
            ]
        )
    )


def _banner(text: str) -> html.P:
    return html.P(text, className="banner", role="note")


def _controls(table: Table) -> html.Div:
    described = table.configurations

    def values(column: str) -> list[str]:
        return [str(one) for one in described[column].unique(maintain_order=True)]

    costs = CHARGES.values()
    methods = in_order(described)["method"].unique(maintain_order=True).to_list()
    budgets = described.sort("budget_tokens")["budget"].unique(maintain_order=True).to_list()
    layers = sorted(table.rows["layer"].unique())
    heads = sorted(table.rows["kv_head"].unique())
    last = int((table.rows["first_step"] + table.rows["steps"]).max()) - 1  # type: ignore[arg-type]
    return html.Div(
        [
            _several("run", "Results", values("run")),
            _several("model", "Model", values("model")),
            _choice("trace", "Trace", values("trace")),
            _choice("hardware", "Hardware", values("hardware")),
            _choice("budget", "Budget", budgets),
            _choice("cost", "Latency and energy of", [*CHARGES], [c.title for c in costs]),
            _several("methods", "Methods (dense stays, as the baseline)", methods),
            _text("layers", f"Layers, of {layers[0]} to {layers[-1]}", "such as 0-3,7"),
            _text("heads", f"KV heads, of {heads[0]} to {heads[-1]}", "such as 0,2"),
            _number("first", f"First step, from 0{_windows(table)}", 0, last),
            _number("last", f"Last step, up to {last}{_windows(table)}", 0, last),
            _several("dense", "Layers kept dense", ["yes"], ["show them too"]),
        ]
    )


def _windows(table: Table) -> str:
    return "" if table.window_steps == 1 else f", in steps of {table.window_steps}"


def _inspector_numbers(table: Table) -> list[object]:
    layers = sorted(table.rows["layer"].unique())
    heads = sorted(table.rows["kv_head"].unique())
    last = int((table.rows["first_step"] + table.rows["steps"]).max()) - 1  # type: ignore[arg-type]
    return [
        _choice("beside", "Beside it", [], row=True),
        _number("layer", f"Layer, {layers[0]} to {layers[-1]}", layers[0], layers[-1]),
        _number("kv_head", f"KV head, {heads[0]} to {heads[-1]}", heads[0], heads[-1]),
        _number("q_head", "Query head of its group, from 0", 0, 1024),
        _number("step", f"Step, 0 to {last}", 0, last),
    ]


def _choice(
    key: str,
    legend: str,
    options: Sequence[str],
    labels: Sequence[str] | None = None,
    row: bool = False,
) -> html.Fieldset:
    return html.Fieldset(
        [
            html.Legend(legend),
            dcc.RadioItems(id=key, options=_options(options, labels), inline=row),
        ],
        className="row" if row else None,
    )


def _options(options: Sequence[str], labels: Sequence[str] | None) -> list[dict[str, str]]:
    pairs = zip(options, labels or options, strict=True)
    return [{"value": value, "label": label} for value, label in pairs]


def _several(
    key: str, legend: str, options: Sequence[str], labels: Sequence[str] | None = None
) -> html.Fieldset:
    shown = _options(options, labels)
    return html.Fieldset(
        [html.Legend(legend), dcc.Checklist(id=key, options=shown, value=[])],
        hidden=len(options) < 2 and labels is None,
    )


def _text(key: str, label: str, example: str) -> html.Div:
    return html.Div(
        [
            html.Label(label, htmlFor=key),
            dcc.Input(id=key, type="text", placeholder=example, debounce=True, value=""),
        ],
        className="field",
    )


def _number(key: str, label: str, low: int, high: int) -> html.Div:
    return html.Div(
        [
            html.Label(label, htmlFor=key),
            dcc.Input(id=key, type="number", min=low, max=high, step=1, debounce=0.3),
        ],
        className="field",
    )
