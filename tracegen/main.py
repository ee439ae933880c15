"""The three console commands; each imports its own application when it is called."""

import atexit
import gc
import signal


@atexit.register
def _end() -> None:
    """End at once: the work is done or was given up, and said so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Python looks for garbage at its end; among torch's objects that takes a third of a second
    gc.freeze()


def tracegen() -> None:
    """Run the `tracegen` command."""
    _run("tracegen.cli")


def pimreplay() -> None:
    """Run the `pimreplay` command."""
    _run("pimreplay.cli")


def analysis() -> None:
    """Run the `analysis` command."""
    _run("analysis.cli")


def _run(module: str) -> None:
    """Run an application; until there is what makes a sentence of it, Ctrl-C ends in silence."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tracegen.base.console import run

    signal.signal(signal.SIGINT, before)
    run(module)
