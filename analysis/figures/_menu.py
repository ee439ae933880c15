"""A figure that shows one of several traces at a time, chosen from a menu inside it."""

from collections.abc import Mapping

import plotly.graph_objects as go


def choice(traces: Mapping[str, go.Heatmap], first: str | None = None) -> go.Figure | None:
    """Return a figure with one trace visible and a menu of all; None when there are none.

    The first method that is not dense is shown at the start: dense attention looks the same
    everywhere.
    """
    names = list(traces)
    if not names:
        return None
    shown = first or next((name for name in names if not name.startswith("dense")), names[0])
    figure = go.Figure()
    for name, trace in traces.items():
        trace.update(name=name, visible=name == shown)
        figure.add_trace(trace)
    if len(names) > 1:
        buttons = [
            {
                "label": name,
                "method": "restyle",
                "args": [{"visible": [one == name for one in names]}],
            }
            for name in names
        ]
        figure.update_layout(
            updatemenus=[
                {
                    "buttons": buttons,
                    "active": names.index(shown),
                    "x": 0,
                    "xanchor": "left",
                    "y": 1.02,
                    "yanchor": "bottom",
                    "bgcolor": "#ffffff",
                    "pad": {"t": 0, "b": 4},
                }
            ]
        )
    return figure
