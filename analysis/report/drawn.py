"""Every figure for every setting and charge, each different drawing once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.figures import figures
from analysis.results.charge import CHARGES
from analysis.results.summary import Setting, at
from analysis.results.tables import Table

Names = dict[str, int]
"""Place of the drawing of each figure in `Drawn.drawings`."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a report's script draws."""

    drawings: list[dict[str, Any]]
    settings: list[dict[str, Names]]
    """By setting, then by charge."""

    def names(self) -> set[str]:
        """Return the figures that are drawn for one of the settings."""
        return {name for setting in self.settings for names in setting.values() for name in names}


def draw_settings(table: Table, found: Sequence[Setting], most_bytes: int) -> Drawn:
    """Draw the first settings, as many as fit into `most_bytes` of JSON; one at least."""
    drawn = Drawn([], [])
    places: dict[str, int] = {}
    size = 0
    tables = {name: table.narrowed(policy_layers=True).charging(name) for name in CHARGES}
    for setting in found:
        own: dict[str, Names] = {}
        texts: dict[str, int] = {}
        for charge, one in tables.items():
            own[charge] = {}
            for name, text in _drawings(one, setting):
                if text not in places and text not in texts:
                    texts[text] = len(places) + len(texts)
                own[charge][name] = texts[text] if text in texts else places[text]
        size += sum(map(len, texts))
        if drawn.settings and size > most_bytes:
            break
        places |= texts
        drawn.drawings.extend(json.loads(text) for text in texts)
        drawn.settings.append(own)
    return drawn


def _drawings(table: Table, setting: Setting) -> list[tuple[str, str]]:
    """Return the name and the JSON of every figure that has something to draw."""
    found = []
    for name, figure in figures().items():
        drawing = figure.draw(at(table, setting, figure.scope))
        if drawing is not None:
            found.append((name, json.dumps(_shortened(drawing.still().plain()))))
    return found


def _shortened(value: Any) -> Any:
    """Return the value with numbers of six significant digits: finer than any screen shows."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    return [_shortened(one) for one in value] if isinstance(value, list) else value
