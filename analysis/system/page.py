"""Whole systems as one self-contained HTML file, in the look of `analysis report`."""

from collections.abc import Iterator

import polars as pl

from analysis.report.web import WebTable, drawn, page, plotly_script, text_table
from analysis.system.figures import MATTERS_RATIO, placed
from analysis.system.points import Point, Points


def system_html(points: Points) -> str:
    """Return the page as one HTML text that needs nothing outside itself."""
    drawings, asked = placed(points), points.question
    return page(
        "system.html",
        title=f"{asked.model} on whole systems",
        plotly=plotly_script(),
        subtitle=f"8 {asked.gpu}, with 40 PIM stacks at {asked.pim} level or without;"
        f" {asked.prompt_tokens:,} tokens in, {asked.output_tokens:,} out, batch {asked.batch}.",
        summary=list(summary(points)),
        table=_table(points),
        figures=[one.place for one in drawings],
        assumptions=list(_assumptions(points)),
        data=drawn(drawings, _frame(points).write_csv()),
    )


def summary(points: Points) -> Iterator[str]:
    """Yield the result in a few sentences; every number comes from the points."""
    gpus = points.alone[0]
    for one in points.alone[1:]:
        yield (
            f"{one.system}: {one.tokens_per_s:,.0f} tokens a second,"
            f" {one.tokens_per_s / gpus.tokens_per_s:.2f} times those of GPUs alone, with"
            f" {one.energy_j_per_token / gpus.energy_j_per_token:.2f} times the energy of a token."
            f" Attention takes {one.attention_ratio:.0%} of a step; were it free, a step would be"
            f" {1 / (1 - one.attention_ratio) - 1:.0%} faster."
        )
    for name in points.systems:
        own = [one for one in points.lengths if one.system == name]
        mattering = [one.output_tokens for one in own if one.attention_ratio >= MATTERS_RATIO]
        reached = (
            f"from {min(mattering):,} generated tokens on" if mattering else "at no length drawn"
        )
        yield f"{name}: attention is {MATTERS_RATIO:.0%} of a step or more {reached}."


def _table(points: Points) -> WebTable:
    heads = (
        *("System", "Step (ms)", "Tokens/s", "Energy of a token (J)"),
        *("Attention's part", "Largest batch"),
    )
    body = [
        (
            one.system,
            f"{one.found['step_ms']:.3f}",
            f"{one.tokens_per_s:,.1f}",
            f"{one.energy_j_per_token:.4f}",
            f"{one.attention_ratio:.1%}",
            f"{one.found['largest_batch']:,}",
        )
        for one in points.alone
    ]
    return text_table("The decode asked for, means over its steps", heads, body, "overview")


def _frame(points: Points) -> pl.DataFrame:
    """Return every decode as a row: for the download."""
    every = {
        (one.system, one.batch, one.output_tokens): one
        for one in (*points.alone, *points.lengths, *points.batches)
    }
    return pl.DataFrame([_row(one) for one in every.values()])


def _row(one: Point) -> dict[str, object]:
    return {
        "system": one.system,
        "batch": one.batch,
        "output_tokens": one.output_tokens,
        "tokens_per_s": one.tokens_per_s,
        "energy_j_per_token": one.energy_j_per_token,
        "attention_ratio": one.attention_ratio,
        **{f"{name}_ms": value for name, value in one.found["time_ms"].items()},
        **{f"{name}_mj": value for name, value in one.found["energy_mj"].items()},
    }


def _assumptions(points: Points) -> Iterator[str]:
    yield (
        "PIM under its power limit, feed-forward shared by GPU and PIM, KV heads pipelined through"
        " projections and attention; accounting as `pimreplay decode` does it physically."
    )
    every = (text for one in points.alone for text in one.found["assumed"])
    yield from (f"{text[0].upper()}{text[1:]}." for text in dict.fromkeys(every))
