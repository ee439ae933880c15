"""The three console commands; each imports its own application when it is called."""

import atexit
import gc
import signal

from tracegen.base.console import run


@atexit.register
def _end() -> None:
    """End at once: the work is done or was given up, and said so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Python looks for garbage at its end; among torch's objects that takes a third of a second
    gc.freeze()


def tracegen() -> None:
    """Run the `tracegen` command."""
    run("tracegen.cli")


def pimreplay() -> None:
    """Run the `pimreplay` command."""
    run("pimreplay.cli")


def analysis() -> None:
    """Run the `analysis` command."""
    run("analysis.cli")
