"""A figure that shows one of several traces at a time, chosen from a menu inside it."""

from collections.abc import Mapping
from typing import Any


def choice(traces: Mapping[str, dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the traces with one visible, and the layout with a menu of all.

    The first method that is not dense is shown at the start: dense attention looks the same
    everywhere.
    """
    names = list(traces)
    shown = next((name for name in names if not name.startswith("dense")), names[0])
    data = [trace | {"name": name, "visible": name == shown} for name, trace in traces.items()]
    if len(names) == 1:
        return data, {}
    buttons = [
        {"label": name, "method": "restyle", "args": [{"visible": [one == name for one in names]}]}
        for name in names
    ]
    menu = {
        "buttons": buttons,
        "active": names.index(shown),
        "x": 0,
        "xanchor": "left",
        "y": 1.02,
        "yanchor": "bottom",
        "bgcolor": "#ffffff",
        "pad": {"t": 0, "b": 4},
    }
    return data, {"updatemenus": [menu]}
