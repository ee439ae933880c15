"""The three console commands; each imports its own application when it is called."""

from tracegen.errors import run


def tracegen() -> None:
    """Run the `tracegen` command."""
    from tracegen.cli import app

    run(app)


def pimreplay() -> None:
    """Run the `pimreplay` command."""
    from pimreplay.cli import app

    run(app)


def analysis() -> None:
    """Run the `analysis` command."""
    from analysis.cli import app

    run(app)
