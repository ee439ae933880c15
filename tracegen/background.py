"""Work that waits for the disk, done in one thread while the next file is made."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self


class Background:
    """Context manager: tasks done in order by one thread, whose errors are never lost.

    `finish` waits for all of them and raises the first error. A block that ends otherwise drops the
    tasks that have not begun.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._tasks: list[Future[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def do(self, task: Callable[..., Any], *arguments: Any) -> None:
        """Have a task done; its arguments must not change meanwhile."""
        self._tasks.append(self._thread.submit(task, *arguments))

    def finish(self) -> list[Any]:
        """Wait for all tasks and return what they returned, in order."""
        return [task.result() for task in self._tasks]
