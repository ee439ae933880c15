"""Tables as plain lines of text, for what is printed and piped on."""

from collections.abc import Sequence
from io import StringIO


def text_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> list[str]:
    """Return lines in which columns stand below each other, whatever the width of a terminal.

    `right` are the columns set to the right; without titles there is no first line for them.

    >>> text_table(["policy", "tokens"], [["dense", "4096"], ["topk", "512"]], right=[1])
    ['policy  tokens', 'dense     4096', 'topk       512']
    """
    from rich.console import Console
    from rich.table import Table

    columns = len(titles) or max(map(len, rows), default=0)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(titles))
    for index in range(columns):
        title = titles[index] if titles else ""
        table.add_column(title, justify="right" if index in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    lines = StringIO()
    plain = Console(
        file=lines,
        width=1 << 16,
        color_system=None,
        force_terminal=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    plain.print(table)
    return [line.rstrip() for line in lines.getvalue().splitlines()]
