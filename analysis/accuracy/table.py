"""Measures as tables in the terminal."""

import polars as pl

from analysis.accuracy.measures import by_position


def print_measures(measures: pl.DataFrame) -> None:
    """Print one table a task: policies and budgets down, measures with their intervals across."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False)
    for (task,), part in measures.group_by(["task"], maintain_order=True):
        names = part["measure"].unique(maintain_order=True).to_list()
        table = Table(
            title=f"{task!s}, {part['examples'].max()!s} prompts; 95% intervals in brackets"
        )
        for name in ("policy", "budget"):
            table.add_column(name)
        for name in names:
            table.add_column(name.replace("_", " "), justify="right")
        for (policy, budget), rows in part.group_by(["policy", "budget"], maintain_order=True):
            cells = [
                f"{row['value']:.4g} [{row['low']:.4g}, {row['high']:.4g}]"
                for row in rows.iter_rows(named=True)
            ]
            table.add_row(str(policy), str(budget), *cells)
        console.print(table)


def print_positions(steps: pl.DataFrame) -> None:
    """Print the perplexity of equal runs of steps, so that the cost of long context shows."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False)
    for (task,), part in by_position(steps, bins=4).group_by(["task"], maintain_order=True):
        table = Table(title=f"{task!s}, perplexity of runs of steps")
        for name in ("policy", "budget"):
            table.add_column(name)
        for first, last in (
            part.select("first_step", "last_step").unique(maintain_order=True).rows()
        ):
            table.add_column(f"{first} to {last}", justify="right")
        for (policy, budget), rows in part.group_by(["policy", "budget"], maintain_order=True):
            cells = [f"{value:.4g}" for value in rows.sort("bin")["perplexity"]]
            table.add_row(str(policy), str(budget), *cells)
        console.print(table)
