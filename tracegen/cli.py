"""The `tracegen` command: capture, import, synthesize, info, verify, and the reference model's.

Heavy libraries are imported inside the commands, so that `--help` answers at once.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from tracegen.base.command_line import CommandLine
from tracegen.cli_reference import app as reference_app

app = CommandLine("Capture a language model's queries, keys and values as a trace folder.")
app.add_typer(reference_app)
Out = Annotated[str, typer.Option("--out", help="Folder (or URL) to make.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a trace that is there.")]
MaxGb = Annotated[
    float | None, typer.Option("--max-gb", help="Refuse a trace larger than this (1e9 bytes).")
]


@app.command()
def capture(
    out: Out,
    model: Annotated[
        str,
        typer.Option(
            help="`reference`, `smollm2`, a GGUF file, a local folder or a Hugging Face id."
        ),
    ] = "reference",
    prompt: Annotated[
        str | None,
        typer.Option(help="Generated prompt: TASK[:tokens=4096,seed=0], e.g. needle:tokens=8192."),
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(help="Prompt: a text file, or a .jsonl file of prompts.")
    ] = None,
    row: Annotated[int | None, typer.Option(help="Row of the .jsonl file, from 0.")] = None,
    question: Annotated[str | None, typer.Option(help="Question about the text file.")] = None,
    template: Annotated[
        Path | None, typer.Option(help="File that joins {context} and {question}.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Put the prompt into the model's own chat template.")
    ] = False,
    prompts: Annotated[
        int | None,
        typer.Option(
            help="Capture this many prompts into a folder of traces: seeds, or rows, from the one "
            "given. Started again it keeps those that are there."
        ),
    ] = None,
    decode_steps: Annotated[int, typer.Option(help="Tokens to decode.")] = 128,
    layers: Annotated[str, typer.Option(help="Layers to keep: all, or e.g. 0,2,8-15.")] = "all",
    dtype: Annotated[str, typer.Option(help="auto, float16, bfloat16 or float32.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    device_map: Annotated[
        str | None,
        typer.Option(
            help="auto: spread a model larger than one GPU over all GPUs, memory and disk."
        ),
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the code that a model brings.")
    ] = False,
    teacher_forced: Annotated[
        bool,
        typer.Option(
            "--teacher-forced",
            help="Feed the text's last tokens as the decode steps, not the model's own choice.",
        ),
    ] = False,
    max_gb: MaxGb = None,
    overwrite: Overwrite = False,
) -> None:
    """Run a model over a prompt, or many, and write what its attention read as a trace each."""
    from tracegen.base.space import in_words, peak_memory_bytes
    from tracegen.capture.prompt_source import Words
    from tracegen.capture.request import capture_command

    traces = capture_command(
        Words(prompt, prompt_file, row, question, template, chat, prompts),
        model=model,
        decode_steps=decode_steps,
        layers=layers,
        dtype=dtype,
        device=device,
        device_map=device_map,
        trust_remote_code=trust_remote_code,
        teacher_forced=teacher_forced,
        max_gb=max_gb,
        out=out,
        overwrite=overwrite,
        announce=typer.echo,
    )
    for trace in traces:
        _print_written(trace)
    typer.echo(f"peak memory {in_words(peak_memory_bytes())}")


@app.command(name="import")
def import_(
    arrays: Annotated[Path, typer.Argument(help=".npz with query, key, value, prefill_tokens.")],
    out: Out,
    overwrite: Overwrite = False,
) -> None:
    """Make a trace of arrays that were captured elsewhere."""
    from tracegen.trace.importing import import_arrays

    _print_written(import_arrays(arrays, out, overwrite=overwrite))


@app.command()
def synthesize(
    out: Out,
    layers: Annotated[int, typer.Option(help="Layers.")] = 1,
    q_heads: Annotated[int, typer.Option(help="Query heads.")] = 8,
    kv_heads: Annotated[int, typer.Option(help="KV heads.")] = 2,
    head_dim: Annotated[int, typer.Option(help="Elements of a key.")] = 128,
    prompt_tokens: Annotated[int, typer.Option(help="Prompt tokens.")] = 4096,
    decode_steps: Annotated[int, typer.Option(help="Decode steps.")] = 128,
    dtype: Annotated[str, typer.Option(help="float16, bfloat16 or float32.")] = "float16",
    clusters: Annotated[int, typer.Option(help="Planted clusters of keys.")] = 64,
    sinks: Annotated[int, typer.Option(help="Sink tokens at the start.")] = 4,
    run_tokens: Annotated[
        int, typer.Option(help="Mean number of neighbours of one cluster (locality).")
    ] = 16,
    rope_theta: Annotated[float, typer.Option(help="Base of the rotary embedding.")] = 500_000.0,
    prompt_attention: Annotated[
        bool,
        typer.Option(
            "--prompt-attention", help="Also sum the prompt's attention (quadratic in its length)."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    max_gb: MaxGb = None,
    overwrite: Overwrite = False,
) -> None:
    """Invent a trace of any geometry, for measuring speed and scale only."""
    from tracegen.synthetic import Synthesis, synthesize_trace

    synthesis = Synthesis(
        layers=layers,
        q_heads=q_heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        prompt_tokens=prompt_tokens,
        decode_steps=decode_steps,
        dtype=dtype,
        clusters=clusters,
        sinks=sinks,
        run_tokens=run_tokens,
        rope_theta=rope_theta,
        prompt_attention=prompt_attention,
        seed=seed,
    )
    trace = synthesize_trace(
        synthesis, out, max_gb=max_gb, overwrite=overwrite, announce=typer.echo
    )
    _print_written(trace)


@app.command()
def info(trace: Annotated[str, typer.Argument(help="Folder (or URL) of the trace.")]) -> None:
    """Print what a trace holds."""
    from tracegen.base.text_table import text_table
    from tracegen.trace.store import Trace
    from tracegen.trace.verify import describe

    for line in text_table([], describe(Trace.open(trace))):
        typer.echo(line)


@app.command()
def verify(
    trace: Annotated[str, typer.Argument(help="Folder (or URL) of the trace.")],
    model: Annotated[
        str | None,
        typer.Option(help="The model that was captured: compare with what it generates by itself."),
    ] = None,
    device: Annotated[str, typer.Option(help="Device of that model.")] = "auto",
) -> None:
    """Check a trace: schema, checksums, completeness, and attention recomputed from it."""
    from tracegen.base.errors import FailedRun
    from tracegen.base.text_table import text_table
    from tracegen.trace.store import Trace
    from tracegen.trace.verify import verify as verify_trace

    opened = Trace.open(trace)
    manifest = opened.manifest
    found = verify_trace(opened)
    problems = list(found.problems)
    rows = [
        ("schema", f"version {manifest.schema_version}, {manifest.kind}"),
        ("checksums", f"{found.files} files, {found.size_bytes:,} bytes, all as written"),
        (
            "complete",
            f"{len(manifest.layers)} layers x {manifest.q_heads} query heads x "
            f"{manifest.decode_steps} steps, {manifest.kv_heads} KV heads x {manifest.tokens:,} "
            "tokens",
        ),
    ]
    if found.output_error_ratio is None:
        rows.append(("attention", "no recorded output to compare with"))
    else:
        rows.append(
            (
                "attention",
                "recomputed against recorded output: relative error at most "
                f"{found.output_error_ratio:.3g}, absolute {found.output_error_max:.3g}",
            )
        )
    if found.attention_sum_error_ratio is not None:
        rows.append(
            (
                "prompt attention",
                "column sums add up to the prompt's length within "
                f"{found.attention_sum_error_ratio:.2g}",
            )
        )
    if model is not None:
        from tracegen.capture.model import load
        from tracegen.capture.own_generation import compare

        computed = manifest.compute_dtype or manifest.dtype
        own = compare(opened, load(model, dtype=computed, device=device))
        error = own.log_prob_error_nats
        rows.append(("generation", f"the model by itself: log-probabilities within {error:.2g}"))
        problems += [own.problem] if own.problem else []
    typer.echo("\n".join(text_table([], rows)))
    if problems:
        raise FailedRun(f"{trace}: {'; '.join(problems)}")
    typer.echo("ok")


def _print_written(trace: Any) -> None:
    from tracegen.base.space import in_words
    from tracegen.trace.verify import head_sizes

    manifest = trace.manifest
    size = sum(one.size_bytes for one in manifest.files)
    typer.echo(
        f"{manifest.kind} trace {trace.hash[:12]}: {len(manifest.layers)} layers, "
        f"{manifest.q_heads} query and {manifest.kv_heads} KV heads of {head_sizes(manifest)}, "
        f"{manifest.prompt_tokens:,} + {manifest.decode_steps:,} tokens, {in_words(size)}"
    )
    typer.echo(trace.where)
