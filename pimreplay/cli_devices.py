"""Commands about devices themselves: simulate a command trace, generate one, check a device."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tracegen.base.command_line import CommandLine
from tracegen.base.errors import UserError

app = CommandLine()

_TIMING_HELP = "Timing preset, or a .toml file with a [timing] table."
OrgOption = Annotated[
    str, typer.Option(help="Organisation preset, or a .toml file with an [organisation] table.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("simulate")
def simulate_command(
    command_traces: Annotated[list[Path], typer.Argument(help="Command traces, plain or gzip.")],
    timing: Annotated[
        str | None,
        typer.Option(help=f"{_TIMING_HELP} Default: HBM3_5.2Gbps, or the command set's own."),
    ] = None,
    org: OrgOption = "HBM3_8Gb_2R",
    no_refresh: Annotated[bool, typer.Option("--no-refresh", help="Never refresh.")] = False,
    command_set: Annotated[
        str,
        typer.Option(help="Whose requests the files hold: attacc, aim or hbm_pim."),
    ] = "attacc",
    timeline: Annotated[
        Path | None,
        typer.Option(
            help="FILE.json to write every command over time to, for ui.perfetto.dev; of one "
            "command trace of AttAcc's."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run command traces through the cycle-accurate scheduler.

    One request a line: LD, ST, PIM_MAC_AB, PIM_MAC_SB, PIM_MAC_PB, PIM_WR_GB, PIM_MV_SB,
    PIM_MV_GB, PIM_SFM, PIM_SET_MODEL, PIM_SET_HEAD or PIM_BARRIER, and an address. Of aim: `AiM
    MAC_ABK 8 1 0` and the like. Of hbm_pim: `R BANK ROW COLUMN`, `W BANK ROW COLUMN [BYTE]`, `B`.
    """
    if timeline is not None:
        _refuse_timeline(timeline, command_traces, command_set)
    if command_set != "attacc":
        from pimreplay.command_sets import simulate_file

        found = [
            simulate_file(command_set, trace, timing, refresh=not no_refresh)
            for trace in command_traces
        ]
        _print_sequences(found, as_json)
        return
    timing = timing or "HBM3_5.2Gbps"
    from pimreplay.bank_model.simulate import simulate
    from pimreplay.hardware.preset_files import load_organisation, load_timing

    organisation = load_organisation(org)
    times = load_timing(timing, organisation)
    rows = []
    for path in command_traces:
        result = simulate(path, organisation, times, refresh=not no_refresh, timeline=timeline)
        rows.append(result.row(str(path), timing, org, not no_refresh))
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    for row in rows:
        _print_simulation(row)


def _refuse_timeline(timeline: Path, command_traces: list[Path], command_set: str) -> None:
    from tracegen.base.folder import refuse_existing

    if len(command_traces) > 1:
        raise UserError(f"--timeline: {len(command_traces)} command traces; give one")
    if command_set != "attacc":
        raise UserError(f"--timeline: not of --command-set {command_set}; leave one of them out")
    refuse_existing(timeline, advice="choose another --timeline")


def _print_phases(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    phases = ", ".join(f"{name} {cycles:,}" for name, cycles in found["phases"].items())
    print(
        f"{found['hardware']}, head_dim {found['head_dim']}, {found['read_tokens']:,} of "
        f"{found['tokens']:,} tokens read\n"
        f"  {found['cycles']:,} cycles = {found['time_ns']:,.1f} ns ({phases})"
    )
    for name, region in found["regions"].items():
        cycles = f", {region['cycles']:,} cycles" if "cycles" in region else ""
        print(f"  {name}: {region['blocks']:,} blocks{cycles}")
    for line in found["assumed"]:
        print(f"  assumed: {line}")


def _print_sequences(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    for row in rows:
        counts = ", ".join(f"{name} {count:,}" for name, count in row["commands"].items())
        print(
            f"{row['file']}\n  {row['cycles']:,} cycles = {row['time_ns']:,.1f} ns"
            f" ({row['command_set']}, {row['timing']})\n  commands issued: {counts}"
        )


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


@app.command("attention")
def attention_command(
    head_dim: Annotated[int, typer.Option(help="Elements of a key.")],
    tokens: Annotated[int, typer.Option(help="Tokens in the cache.")],
    heads: Annotated[
        int, typer.Option(help="KV heads on the stack, each with one query head.")
    ] = 1,
    hardware: Annotated[
        str | None,
        typer.Option(help="Name of a device, or a .toml file; default: --mode's AttAcc."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Where the MAC units are: bank, bg or buffer.")
    ] = None,
    kv_budget: Annotated[
        int | None,
        typer.Option(help="Tokens read, in whole blocks, as STARC's artefact does; 0: all."),
    ] = None,
    bytes_per_element: Annotated[int, typer.Option(help="1, 2 or 4.")] = 2,
    max_tokens: Annotated[
        int | None, typer.Option(help="Cache length that addresses leave room for.")
    ] = None,
    cluster_step: Annotated[
        bool, typer.Option("--cluster-step", help="Add STARC's clustering and rewriting.")
    ] = False,
    timing: Annotated[
        str | None, typer.Option(help="Timing preset or .toml file instead of the device's.")
    ] = None,
    org: Annotated[
        str | None, typer.Option(help="Organisation preset or .toml file instead of the device's.")
    ] = None,
    no_refresh: Annotated[bool, typer.Option("--no-refresh", help="Never refresh.")] = False,
    export: Annotated[
        Path | None, typer.Option(help="Also write the requests as a command trace, gzip.")
    ] = None,
    read_tokens: Annotated[
        Path | None,
        typer.Option(help="File of the positions read, for a device with its own mapping."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Generate, run and cost the commands of one attention layer of one decode step."""
    from pimreplay import mappings

    if hardware is not None and mappings.load(hardware).mapping != "attacc":
        given = {
            "--mode": mode, "--kv-budget": kv_budget, "--max-tokens": max_tokens,
            "--timing": timing, "--org": org, "--export": export,
            "--cluster-step": cluster_step or None,
            "--bytes-per-element": None if bytes_per_element == 2 else bytes_per_element,
        }  # fmt: skip
        for option, value in given.items():
            if value is not None:
                raise UserError(f"{option}: not for {hardware}, whose mapping is its own")
        _print_phases(
            mappings.attention(
                hardware,
                head_dim=head_dim,
                heads=heads,
                tokens=tokens,
                read=read_tokens,
                refresh=not no_refresh,
            ),
            as_json,
        )
        return
    if read_tokens is not None:
        raise UserError(
            "--read-tokens: only for a device with a mapping of its own, for example "
            "--hardware samsung_hbm_pim; `pimreplay list` shows the mappings"
        )
    from pimreplay.attacc.layer import attention_layer

    row = attention_layer(
        hardware_name=hardware,
        mode=mode,
        head_dim=head_dim,
        heads=heads,
        tokens=tokens,
        kv_budget=kv_budget,
        element_bytes=bytes_per_element,
        max_tokens=max_tokens,
        cluster_step=cluster_step,
        timing=timing,
        organisation=org,
        refresh=not no_refresh,
        export_to=export,
    )
    if as_json:
        sys.stdout.write(json.dumps(row, indent=1) + "\n")
        return
    _print_simulation({"file": f"{row['hardware']}, mode {row['mode']}", **row})
    energy = row["energy"]
    assert isinstance(energy, dict)
    parts = ", ".join(
        f"{name.removesuffix('_pj')} {'unknown' if value is None else f'{value / 1000:,.1f}'}"
        for name, value in energy.items()
    )
    total = row["energy_pj"]
    shown = "unknown" if total is None else f"{total / 1000:,.1f} nJ"
    print(f"  energy ({row['energy_model']}): {shown} ({parts}; nJ)")
    print(f"  energy as AttAcc accounts it: {row['attacc_energy_pj'] / 1000:,.1f} nJ")
    for line in row["assumed"]:
        print(f"  assumed: {line}")
    if export is not None:
        print(f"wrote {export}")


@app.command("selfcheck")
def selfcheck_command(
    hardware: Annotated[
        list[str] | None, typer.Option(help="Name of a device, or a .toml file; default: all.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check devices: streams reach their closed-form peak, capacities and energies add up."""
    from pimreplay import mappings
    from pimreplay.hardware import reading
    from tracegen.base.errors import FailedRun

    devices = [mappings.load(name) for name in hardware or reading.names()]
    checks = [check for device in devices for check in mappings.check(device)]
    if as_json:
        sys.stdout.write(json.dumps([one.row() for one in checks], indent=1) + "\n")
    else:
        for one in checks:
            print(f"{'ok  ' if one.passed else 'FAIL'} {one.hardware}: {one.text}")
    failed = sum(not one.passed for one in checks)
    if failed:
        raise FailedRun(f"{failed} of {len(checks)} checks failed")
