"""Write the command-line reference from the commands themselves.

    python docs/make_reference.py

A test compares the page with what this would write.
"""

import os
from pathlib import Path

PAGE = Path(__file__).parent / "commands.md"
HEAD = """# Commands

Every command with its options, made by `python docs/make_reference.py` from the commands' own help.
"""


def reference() -> str:
    """Return the whole page."""
    os.environ["COLUMNS"] = "100"
    import typer
    from typer.cli import get_docs_for_click

    from analysis.cli import app as analysis
    from pimreplay.cli import app as pimreplay
    from tracegen.cli import app as tracegen

    pages = []
    for name, app in (("tracegen", tracegen), ("pimreplay", pimreplay), ("analysis", analysis)):
        command = typer.main.get_command(app)
        context = typer.Context(command, info_name=name)
        text = get_docs_for_click(obj=command, ctx=context, name=name)
        # one page for three programs: every heading goes down a level, and no prompt is a command
        pages.append(
            "\n".join(f"#{line}" if line[:1] == "#" else line for line in text.split("\n"))
        )
    text = "\n".join((HEAD, *pages)).replace("```console\n$ ", "```text\n")
    text = text.replace("][", "]\\[")  # [...][...] would be a link
    lines = [line.rstrip() for line in text.split("\n")]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
