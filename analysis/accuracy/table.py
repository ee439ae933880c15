"""Measures as a table in the terminal."""

import polars as pl


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
