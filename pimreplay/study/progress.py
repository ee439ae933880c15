"""Say how far a long run is and how long it still takes, on stderr."""

import sys
import time
from types import TracebackType
from typing import Any, Self

LINE_EVERY_S = 15.0
"""Where stderr is not a terminal (a log), one line this often."""


class Progress:
    """A bar with an estimate of the time left, or a line now and then in a log."""

    def __init__(self, total: int, done: int = 0) -> None:
        """Expect `total` parts, `done` of them finished in an earlier run."""
        self._total, self._done, self._start_done = total, done, done
        self._bar: Any = None
        self._task: Any = None
        self._start_s = self._line_s = time.monotonic()

    def __enter__(self) -> Self:
        """Start the clock, and the bar on a terminal."""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("replaying"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("parts, time left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=self._total, completed=self._done)
            self._bar.start()
        return self

    def __call__(self, parts: int) -> None:
        """Count finished parts."""
        self._done += parts
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
            return
        now_s = time.monotonic()
        if now_s - self._line_s >= LINE_EVERY_S:
            self._line_s = now_s
            print(self.line(now_s - self._start_s), file=sys.stderr, flush=True)

    def line(self, elapsed_s: float) -> str:
        """Return the state as a sentence.

        >>> Progress(total=10, done=2).line(5.0)
        '2 of 10 parts done'
        """
        said = f"{self._done} of {self._total} parts done"
        new = self._done - self._start_done
        if new <= 0:
            return said
        left_s = elapsed_s * (self._total - self._done) / new
        return f"{said}, about {duration(left_s)} left"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def duration(seconds: float) -> str:
    """Write a duration for people.

    >>> duration(42), duration(150), duration(9000)
    ('42 s', '2 min 30 s', '2 h 30 min')
    >>> duration(4.25)
    '4.2 s'
    """
    whole = round(seconds)
    if whole < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
