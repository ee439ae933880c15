"""Which banks work: channel by lane over the whole run, and lane by step."""

import plotly.graph_objects as go
import polars as pl

from analysis.figures import Figure
from analysis.figures._menu import choice
from analysis.figures._style import SCALE, axis_title, in_order, styled
from analysis.tables import Table

STEP_COLUMNS = 128
"""Most columns of the map over steps: neighbouring windows are averaged beyond it."""


def channels_by_lanes(table: Table) -> go.Figure | None:
    """Draw the tokens read by each lane of each channel, summed over steps and shown layers."""
    if table.lanes is None or table.lanes.is_empty():
        return None
    loads = table.lanes.group_by("configuration", "channel", "lane").agg(pl.col("load").sum())
    found = in_order(table.configurations).iter_rows(named=True)
    maps: dict[str, go.Heatmap] = {}
    largest = float(loads["load"].max() or 1.0)  # type: ignore[arg-type]
    for one in found:
        own = loads.filter(configuration=one["configuration"])
        if own.is_empty():
            continue
        grid = own.pivot(on="lane", index="channel", values="load").sort("channel")
        lanes = sorted(own["lane"].unique())
        maps[one["method"]] = go.Heatmap(
            z=grid.select(str(lane) for lane in lanes).to_numpy(),
            x=[f"{lane}" for lane in lanes],
            y=[f"{channel}" for channel in grid["channel"]],
            colorscale=SCALE,
            zmin=0,
            zmax=largest,
            colorbar={"title": {"text": "tokens read", "side": "right"}, "thickness": 12},
            hovertemplate="channel %{y}, lane %{x}: %{z:.4s} tokens<extra></extra>",
        )
    figure = choice(maps)
    return figure and styled(
        figure,
        axis_title("Lane", "index"),
        axis_title("Channel", "index"),
        440,
        xaxis={"type": "category"},
        yaxis={"type": "category"},
    )


def lanes_by_steps(table: Table) -> go.Figure | None:
    """Draw the tokens read by each lane at each step, mean over KV heads and shown layers."""
    if table.lane_windows is None or table.lane_windows.is_empty():
        return None
    names = [name for name in table.lane_windows.columns if name.startswith("lane_")]
    count = table.lane_windows["window"].n_unique()
    bucket = max(1, -(-count // STEP_COLUMNS))
    loads = (
        table.lane_windows.group_by("configuration", pl.col("window") // bucket)
        .agg(pl.col(name).mean() for name in names)
        .sort("window")
    )
    largest = max(float(loads[name].max() or 0.0) for name in names)  # type: ignore[arg-type]
    maps: dict[str, go.Heatmap] = {}
    for one in in_order(table.configurations).iter_rows(named=True):
        own = loads.filter(configuration=one["configuration"])
        if own.is_empty():
            continue
        maps[one["method"]] = go.Heatmap(
            z=own.select(names).to_numpy().T.round(2),
            x=(own["window"] * bucket * table.window_steps).to_list(),
            y=[name.removeprefix("lane_") for name in names],
            colorscale=SCALE,
            zmin=0,
            zmax=largest,
            colorbar={"title": {"text": "tokens read", "side": "right"}, "thickness": 12},
            hovertemplate="step %{x}, lane %{y}: %{z:.4s} tokens<extra></extra>",
        )
    figure = choice(maps)
    return figure and styled(
        figure,
        axis_title("Decode step", "index"),
        axis_title("Lane", "index"),
        440,
        yaxis={"type": "category"},
    )


FIGURES = (
    Figure(
        name="banks_channel_lane",
        title="Load of the banks, whole run",
        caption="Selected tokens in each lane of each channel, summed over steps: an even colour"
        " is an even load; empty channels hold no KV head of this trace.",
        draw=channels_by_lanes,
        group="Banks",
        order=60,
    ),
    Figure(
        name="banks_lane_step",
        title="Load of the lanes, step by step",
        caption="Selected tokens in each lane at each decode step, mean over KV heads and layers.",
        draw=lanes_by_steps,
        group="Banks",
        order=61,
    ),
)
