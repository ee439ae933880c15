"""A figure that shows one of several traces at a time, chosen from a menu inside it."""

from collections.abc import Mapping
from typing import Any

from analysis.figures import Drawing


def choice(traces: Mapping[str, dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the traces with one visible, and the layout with a menu of all.

    The first method that is not dense is shown at the start: dense attention looks the same
    everywhere.
    """
    names = list(traces)
    shown = next((name for name in names if not name.startswith("dense")), names[0])
    data = [
        trace
        | {"name": name, "visible": name == shown}
        | {"meta": {"pick": {"method": name}} | trace.get("meta", {})}
        for name, trace in traces.items()
    ]
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


def menu_names(drawing: Drawing) -> list[str]:
    """Return what a drawing's menu chooses from; none without a menu."""
    menus = drawing.layout.get("updatemenus", [])
    return [button["label"] for menu in menus for button in menu["buttons"]]


def without_menu(drawing: Drawing, method: str | None = None) -> Drawing:
    """Return the drawing with its menu replaced by the name of the method that it shows.

    That is `method` where the menu has it, else what the menu shows at the start.
    """
    if "updatemenus" not in drawing.layout:
        return drawing
    names = menu_names(drawing)
    shown = method if method in names else names[drawing.layout["updatemenus"][0]["active"]]
    layout = {key: value for key, value in drawing.layout.items() if key != "updatemenus"}
    layout["title"] = {"text": shown, "font": {"size": 13}, "x": 0.02, "y": 0.98, "yanchor": "top"}
    data = [trace | {"visible": trace["name"] == shown} for trace in drawing.data]
    return Drawing(data, layout)
