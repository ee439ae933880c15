"""Commands about devices themselves: simulate a command trace, generate one, check a device."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

TimingOption = Annotated[
    str, typer.Option(help="Timing preset, or a .toml file with a [timing] table.")
]
OrgOption = Annotated[
    str, typer.Option(help="Organisation preset, or a .toml file with an [organisation] table.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("simulate")
def simulate_command(
    traces: Annotated[list[Path], typer.Argument(help="Command traces, plain or gzip.")],
    timing: TimingOption = "HBM3_5.2Gbps",
    org: OrgOption = "HBM3_8Gb_2R",
    no_refresh: Annotated[bool, typer.Option("--no-refresh", help="Never refresh.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run command traces through the cycle-accurate scheduler.

    One request a line: LD, ST, PIM_MAC_AB, PIM_MAC_SB, PIM_MAC_PB, PIM_WR_GB, PIM_MV_SB,
    PIM_MV_GB, PIM_SFM, PIM_SET_MODEL, PIM_SET_HEAD or PIM_BARRIER, and an address.
    """
    from pimreplay.simulate import simulate
    from pimreplay.timing import load_organisation, load_timing

    organisation = load_organisation(org)
    times = load_timing(timing, organisation)
    rows = []
    for trace in traces:
        result = simulate(trace, organisation, times, refresh=not no_refresh)
        rows.append(result.row(str(trace), timing, org, not no_refresh))
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    for row in rows:
        _print_simulation(row)


def _print_simulation(row: dict[str, object]) -> None:
    def counts(name: str) -> str:
        found = row[name]
        assert isinstance(found, dict)
        return ", ".join(f"{key} {value:,}" for key, value in found.items()) or "none"

    achieved = row["achieved_bandwidth_gbps"]
    lines = [
        f"{row['file']}",
        f"  {row['cycles']:,} cycles = {row['time_ns']:,.1f} ns"
        f" ({row['timing']}, {row['org']}, refresh {'on' if row['refresh'] else 'off'})",
        f"  requests: {counts('requests')}",
        f"  commands issued: {counts('commands')}",
        f"  row activations: {row['row_activations']:,} (rows x banks)",
        f"  data bus utilisation: {row['data_bus_utilisation_ratio']:.1%}",
        f"  internal bandwidth: {achieved:,.1f} GB/s of {row['peak_bandwidth_gbps']:,.1f} GB/s "
        f"peak of {row['peak_of']} ({row['peak_ratio']:.1%})",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
