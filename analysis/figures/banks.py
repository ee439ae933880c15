"""Which banks work: channel by lane over the whole run, and lane by step."""

from typing import Any

import numpy as np
import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._menu import choice
from analysis.figures._style import (
    INSPECTOR,
    SCALE,
    axis_title,
    baseline_line,
    colour_bar,
    drawing,
    line,
    lines_height,
    map_height,
    marker,
    pick,
)
from analysis.results.methods import in_order
from analysis.results.tables import Table

STEP_COLUMNS = 128
"""Most columns of the map over steps: neighbouring windows are averaged beyond it."""


def channels_by_lanes(table: Table) -> Drawing | None:
    """Draw the tokens read in each lane of each channel, summed over steps and shown layers."""
    if table.lanes is None or table.lanes.is_empty():
        return None
    loads = table.lanes.group_by("configuration", "channel", "lane").agg(pl.col("load").sum())
    known = table.configurations["device_channels"].drop_nulls().to_list()
    channels = max([*known, *(channel + 1 for channel in loads["channel"].unique())])
    lanes = sorted(loads["lane"].unique())
    maps: dict[str, dict[str, Any]] = {}
    for method, own in _by_method(table, loads):
        values = {(channel, lane): load for _, channel, lane, load in own.iter_rows()}
        used = {channel for channel, _ in values}
        maps[method] = _heat_map(
            z=[[values.get((channel, lane)) for lane in lanes] for channel in range(channels)],
            x=[f"{lane}" for lane in lanes],
            y=[f"{one}" if one in used else f"{one} idle" for one in range(channels)],
            hover="channel %{y}, lane %{x}",
        )
    data, menu = choice(maps)
    return drawing(
        data,
        axis_title("Lane", "index"),
        axis_title("Channel", "index"),
        map_height(channels),
        xaxis={"type": "category", "tickangle": 0},
        yaxis={"type": "category"},
        **menu,
    )


def lanes_by_steps(table: Table) -> Drawing | None:
    """Draw the tokens read in each lane at each step, mean over KV heads and shown layers."""
    if table.lane_windows is None or table.lane_windows.is_empty():
        return None
    names = [name for name in table.lane_windows.columns if name.startswith("lane_")]
    bucket = max(1, -(-table.lane_windows["window"].n_unique() // STEP_COLUMNS))
    loads = (
        table.lane_windows.group_by("configuration", pl.col("window") // bucket)
        .agg(pl.col(name).mean().round(2) for name in names)
        .sort("window")
    )
    maps: dict[str, dict[str, Any]] = {}
    most = 0
    for method, own in _by_method(table, loads):
        # a KV head that is spread has lanes in every channel, the others in their own only
        there = [name for name in names if own[name].null_count() < len(own)]
        most = max(most, len(there))
        maps[method] = _heat_map(
            z=[own[name].to_list() for name in there],
            x=(own["window"] * bucket * table.window_steps).to_list(),
            y=list(range(len(there))),
            hover="step %{x}, lane %{y}",
        ) | {"meta": {"x": ["step"], "pick": {"method": method, "view": INSPECTOR}}}
    data, menu = choice(maps)
    return drawing(
        data,
        axis_title("Decode step", "index"),
        axis_title("Lane of a KV head", "index"),
        map_height(most),
        **menu,
    )


def lane_distribution(table: Table) -> Drawing | None:
    """Draw the cumulative distribution of lane loads, each over the mean lane of its layer."""
    if table.lanes is None or table.lanes.is_empty():
        return None
    layer = ("configuration", "layer")
    used = table.lanes.filter(pl.col("load").sum().over(*layer, "channel") > 0)
    loads = used.with_columns(load=pl.col("load") / pl.col("load").mean().over(layer))
    described = in_order(table.configurations).select("configuration", "method", "look")
    parts = loads.partition_by("configuration", as_dict=True)
    lines = []
    for number, method, look in described.iter_rows():
        if (number,) not in parts:
            continue
        values = parts[number,]["load"].sort()
        places = np.linspace(0, len(values) - 1, min(len(values), 101)).astype(int)
        lines.append(
            {
                "type": "scatter",
                "x": values.gather(places).to_list(),
                "y": ((places + 1) / len(values)).tolist(),
                "name": method,
                "meta": {"pick": pick(method)},
                "mode": "lines+markers",
                "line": line(look),
                "marker": marker(look, size=8) | {"maxdisplayed": 6},
                "hovertemplate": "%{fullData.name}: %{y:.0%} of lanes hold at most %{x:.3g} times"
                " the mean<extra></extra>",
            }
        )
    return drawing(
        lines,
        axis_title("Load of a lane", "multiple of the mean"),
        axis_title("Fraction of the lanes", "ratio"),
        lines_height(len(lines)),
        **baseline_line(1.0, "even load"),
    )


def _by_method(table: Table, loads: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    parts = loads.partition_by("configuration", as_dict=True)
    described = in_order(table.configurations).select("configuration", "method")
    return [
        (method, parts[number,]) for number, method in described.iter_rows() if (number,) in parts
    ]


def _heat_map(z: list[list[Any]], x: list[Any], y: list[Any], hover: str) -> dict[str, Any]:
    largest = max((value or 0.0 for row in z for value in row), default=0.0)
    return {
        "type": "heatmap",
        "z": z,
        "x": x,
        "y": y,
        "colorscale": SCALE,
        "zmin": 0,
        "zmax": largest or 1.0,
        "colorbar": colour_bar("tokens read"),
        "hovertemplate": hover + ": %{z:.4s} tokens<extra></extra>",
    }


FIGURES = (
    Figure(
        name="lane_distribution",
        title="How evenly the lanes are loaded",
        caption="The steeper at 1, the more evenly the lanes of the channels in use are loaded over"
        " the whole run; dense attention, the baseline, loads all alike.",
        draw=lane_distribution,
        needs="the table channels.parquet",
        group="Banks",
        order=62,
    ),
    Figure(
        name="banks_channel_lane",
        title="Tokens read from each lane, summed over the run",
        caption="Tokens that at least one query head attends to, in each lane (the banks that hold"
        " one token) of each channel, summed over steps and layers: an even colour is an even load."
        " A channel without a KV head is idle. Each method has its own scale.",
        draw=channels_by_lanes,
        needs="the table channels.parquet",
        group="Banks",
        order=60,
    ),
    Figure(
        name="banks_lane_step",
        title="Tokens read from each lane, step by step",
        caption="Tokens that at least one query head attends to, in each lane of a KV head at each"
        " decode step, mean over KV heads and layers. Where a layout spreads a KV head, its lanes"
        " go channel by channel. Each method has its own scale.",
        draw=lanes_by_steps,
        group="Banks",
        order=61,
    ),
)
