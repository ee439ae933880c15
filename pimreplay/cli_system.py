"""Commands about whole systems: what a decode takes with attention on GPUs or on PIM."""

import json
import sys
from typing import Annotated, Any

import typer

from tracegen.base.command_line import CommandLine
from tracegen.base.errors import UserError

app = CommandLine()


@app.command("decode")
def decode_command(
    model: Annotated[str, typer.Option(help="Name of a model, for example LLAMA-7B.")],
    prompt_tokens: Annotated[int, typer.Option(help="Tokens of the prompt.")],
    output_tokens: Annotated[int, typer.Option(help="Tokens generated for each sequence.")],
    batch: Annotated[int, typer.Option(help="Sequences decoded together.")] = 1,
    system: Annotated[
        str, typer.Option(help="dgx (attention on the GPUs) or dgx_attacc (on PIM).")
    ] = "dgx_attacc",
    gpu: Annotated[
        str, typer.Option(help="A100a (an A100 with an H100's memory) or H100.")
    ] = "A100a",
    gpus: Annotated[int, typer.Option(help="GPUs that share every layer.")] = 8,
    pim: Annotated[str, typer.Option(help="Where the MAC units are: bank, bg, buffer.")] = "bank",
    power_limit: Annotated[
        bool, typer.Option("--power-limit", help="Space MACs out to stay within the stacks' power.")
    ] = False,
    feedforward_parallel: Annotated[
        bool, typer.Option("--feedforward-parallel", help="Feed-forward on GPU and PIM at once.")
    ] = False,
    pipeline: Annotated[
        bool,
        typer.Option("--pipeline", help="Pipeline KV heads through projections and attention."),
    ] = False,
    word_bytes: Annotated[int, typer.Option(help="Bytes of an element: 1 or 2.")] = 2,
    accounting: Annotated[
        str,
        typer.Option(
            help="physical, or attacc: as AttAcc's program counts, its mistakes included."
        ),
    ] = "physical",
    results: Annotated[
        str | None,
        typer.Option(help="Results folder of a replay: attention is that of its --policy."),
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Policy of the results, NAME[:param=value,...][@LAYOUT].")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Budget of the results, where they hold several.")
    ] = None,
    hardware: Annotated[
        str | None, typer.Option(help="Device of the results, where they hold several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Work out time, energy and capacity of decoding on a whole system, per generated token."""
    from pimreplay.system.decode import Request, build_system, decode
    from pimreplay.system.read_replay import Wanted

    if (results is None) != (policy is None):
        given, missing = ("--policy", "--results") if results is None else ("--results", "--policy")
        raise UserError(f"{given}: needs {missing} beside it; give both or none")
    wanted = None
    if results is not None and policy is not None:
        wanted = Wanted(results, policy, budget=budget, hardware=hardware)
    elif budget is not None or hardware is not None:
        raise UserError("--budget and --hardware choose within --results; give that too")

    built = build_system(
        system,
        gpu=gpu,
        gpus=gpus,
        mode=pim,
        power_limit=power_limit,
        feedforward_parallel=feedforward_parallel,
        pipeline=pipeline,
        accounting=accounting,
    )
    found = decode(built, model, Request(batch, prompt_tokens, output_tokens, word_bytes), wanted)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    def parts(name: str) -> str:
        return ", ".join(f"{part} {value:,.4g}" for part, value in found[name].items())

    gib = 2**30
    print(
        f"{found['model']}: {found['tokens_per_s']:,.1f} tokens/s,"
        f" {found['step_ms']:,.4g} ms a step\n"
        f"  time of a step, ms: {parts('time_ms')}\n"
        f"  energy of a step: {found['step_energy_mj']:,.4g} mJ ({parts('energy_mj')}),"
        f" {found['energy_mj_per_token']:,.4g} mJ a token\n"
        f"  memory: {found['required_bytes'] / gib:,.1f} of {found['memory_bytes'] / gib:,.0f} GiB;"
        f" largest batch {found['largest_batch']:,}"
    )
    if (replayed := found["replayed"]) is not None:
        print(
            f"  attention: {replayed['policy']} on {replayed['layout']}, budget"
            f" {replayed['budget']}, as replayed of {replayed['trace']} on {replayed['hardware']}"
        )
    for line in found["assumed"]:
        print(f"  assumed: {line}")
