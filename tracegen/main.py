"""The three console commands; each imports its own application when it is called."""

import atexit
import gc
import signal

from tracegen.base.errors import run


@atexit.register
def _end() -> None:
    """End at once: the work is done or was given up, and said so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Python looks for garbage at its end; among torch's objects that takes a third of a second
    gc.freeze()


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
