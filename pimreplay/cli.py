"""The `pimreplay` command: parse, call one library function, print what came of it.

Heavy libraries are imported inside the commands, so that `--help` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pimreplay.cli_devices import app as hardware_app
from pimreplay.cli_system import app as system_app
from pimreplay.study.workers import start_importing
from tracegen.base.command_line import CommandLine

app = CommandLine("Replay captured attention on processing-in-memory devices.")
app.add_typer(hardware_app)
app.add_typer(system_app)

TraceArgument = Annotated[str, typer.Argument(help="Trace folder, by path or URL.")]
PolicyOption = Annotated[
    list[str],
    typer.Option(
        "--policy",
        help="NAME[:param=value,...][@LAYOUT]; may be given several times. "
        "See `pimreplay list`. `starc@sequential` sets a layout for this policy alone.",
    ),
]
OnePolicyOption = Annotated[str, typer.Option("--policy", help="NAME[:param=value,...].")]
LayoutOption = Annotated[
    str | None,
    typer.Option(
        help="Where tokens lie, for every policy without @LAYOUT. Left out: each policy's usual "
        "layout, which `pimreplay list` shows."
    ),
]
HardwareOption = Annotated[str, typer.Option(help="Name of a device, or a .toml file.")]
BudgetOption = Annotated[
    str,
    typer.Option(
        help="Tokens read per step: 1024, a share of the context: 0.1, 10%, or a schedule over"
        " layers: pyramid:tokens=1024,layers=32 or FILE.toml."
    ),
]
LayerOption = Annotated[
    list[str] | None, typer.Option("--layer", help="3, 0-4 or 0,2,5; left out: every layer.")
]
FidelityOption = Annotated[
    str, typer.Option(help="analytic (row by row) or command (cycle-accurate).")
]
KvBitsOption = Annotated[
    int,
    typer.Option(help="Bits of a KV element in the device: 4, 8, 16 or 32, whatever was captured."),
]
KvQuantisationOption = Annotated[
    str,
    typer.Option(help="What 4 or 8 bits do to the values: none or kivi."),
]
StacksOption = Annotated[
    int, typer.Option(min=1, help="Stacks of the device; the layers are dealt out over them.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of policies that draw at random.")]
DeviceOption = Annotated[str, typer.Option(help="Torch device of the selections: cpu, cuda, auto.")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=0, help="Worker processes; left out: one a core. 0: none, everything in this process."
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(help="Work on a Ray cluster at this address (auto, host:port; local starts one)."),
]


@app.command()
def run(
    trace: Annotated[
        str, typer.Argument(help="Trace folder, or a folder of traces, by path or URL.")
    ],
    policy: PolicyOption,
    out: Annotated[str, typer.Option(help="Results folder to make.")],
    budget: BudgetOption,
    layout: LayoutOption = None,
    hardware: HardwareOption = "attacc_hbm3_bank",
    fidelity: FidelityOption = "analytic",
    kv_bits: KvBitsOption = 16,
    kv_quantisation: KvQuantisationOption = "none",
    stacks: StacksOption = 1,
    dense_layers: Annotated[
        int, typer.Option(min=0, help="The model's first layers that every policy reads whole.")
    ] = 2,
    layer: LayerOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    memory_gb: Annotated[
        float | None,
        typer.Option(min=0.1, help="Bound on all workers' memory; left out: 1.25 GB a core."),
    ] = None,
    workers: WorkersOption = None,
    ray: RayOption = None,
    selections: Annotated[
        bool | None,
        typer.Option(help="Keep each step's selection in the results; left out: when small."),
    ] = None,
) -> None:
    """Replay a trace under one or several policies and write a results folder."""
    if workers != 0 and ray is None:
        start_importing()
    from pimreplay.replay.settings import Settings
    from pimreplay.study.capacity import memory_bytes
    from pimreplay.study.runs import RunRequest, run_once

    request = RunRequest(
        trace=trace,
        policies=tuple(policy),
        layout=layout,
        hardware=hardware,
        budget=budget,
        layers=tuple(layer) if layer else None,
        workers=workers,
        ray=ray,
        settings=Settings(
            dense_layers=dense_layers,
            fidelity=fidelity,
            kv_bits=kv_bits,
            kv_quantisation=kv_quantisation,
            stacks=stacks,
            seed=seed,
            device=device,
            memory_bytes=memory_bytes(memory_gb, "--memory-gb"),
            selections=selections,
        ),
    )
    for line in run_once(request, out):
        print(line, flush=True)


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="The grid; see the docs.")],
    out: Annotated[
        str, typer.Option(help="Results folder, by path or URL; resumed if it is there.")
    ],
    workers: WorkersOption = None,
    ray: RayOption = None,
) -> None:
    """Replay a grid of traces, policies, layouts, budgets and devices; resumes where it was."""
    if workers != 0 and ray is None:
        start_importing()
    from pimreplay.study.runs import run_sweep

    for line in run_sweep(file, out, workers, ray):
        print(line, flush=True)


@app.command(name="list")
def list_variants() -> None:
    """Show every policy, layout and device, with its parameters."""
    from pimreplay.listing import listing

    print(listing())


@app.command()
def explain(
    trace: TraceArgument,
    policy: OnePolicyOption = "starc",
    budget: BudgetOption = "1024",
    layout: LayoutOption = None,
    hardware: HardwareOption = "attacc_hbm3_bank",
    layer: Annotated[int | None, typer.Option(help="Layer; left out: the last.")] = None,
    kv_head: Annotated[int, typer.Option(min=0, help="KV head.")] = 0,
    step: Annotated[int | None, typer.Option(min=0, help="Step; left out: the last.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Blocks to show.")] = 32,
    fidelity: FidelityOption = "analytic",
    kv_bits: KvBitsOption = 16,
    kv_quantisation: KvQuantisationOption = "none",
    seed: SeedOption = 0,
) -> None:
    """Show one step of one KV head: tokens, blocks, rows, commands and cycles."""
    from pimreplay.replay.explain import StepRequest, explain_step
    from pimreplay.replay.settings import Settings

    request = StepRequest(
        trace=trace,
        policy=policy,
        budget=budget,
        hardware=hardware,
        layout=layout,
        layer=layer,
        kv_head=kv_head,
        step=step,
        rows=rows,
        settings=Settings(
            fidelity=fidelity, kv_bits=kv_bits, kv_quantisation=kv_quantisation, seed=seed
        ),
    )
    print(explain_step(request))


@app.command()
def select(
    trace: TraceArgument,
    policy: OnePolicyOption,
    budget: BudgetOption,
    out: Annotated[Path, typer.Option(help="FILE.npz to make.")],
    layer: LayerOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
) -> None:
    """Write which tokens a policy selects, for whoever wants to check it.

    Array `selected_layer_N` of each layer is np.packbits along the last axis of the boolean mask
    (q_heads, steps, tokens), tokens in order; a single layer is also there as `selected`. The
    policy `recorded` replays such a file. The policy itself: dense layers make no exception here.
    """
    from pimreplay.study.selecting import write_selections

    print(write_selections(trace, policy, budget, layer, out, seed, device))


if __name__ == "__main__":
    sys.exit(app())
