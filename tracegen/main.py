"""The three console commands; each imports its own application when it is called."""

import atexit
import gc

from tracegen.errors import run

# Python searches all objects for garbage when it ends; among torch's that takes a third of a second
atexit.register(gc.freeze)


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
