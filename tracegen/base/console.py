"""Run a command-line application: whatever happens, the user sees one sentence and an exit code."""

import _thread
import errno
import signal
import sys
from importlib import import_module
from threading import Timer
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from tracegen.base.errors import UserError, printable

if TYPE_CHECKING:
    import typer

INTERRUPTED = "interrupted; nothing half-written was left behind"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def run(module: str) -> NoReturn:
    """Import `module`, run the application `app` in it and leave the process."""
    interrupt = _Interrupt()
    try:
        sys.exit(_call(import_module(module).app))
    except Exception as error:
        if interrupt.asked:  # a library turned Ctrl-C into an error of its own
            _stop(INTERRUPTED)
        _explain(error)
        raise
    except KeyboardInterrupt:
        _stop(INTERRUPTED)
    finally:
        interrupt.over()


class _Interrupt:
    """Ctrl-C: whether it was asked for; one that a library swallows is raised again."""

    def __init__(self) -> None:
        self.asked = False
        self._handler = signal.signal(signal.SIGINT, self._raise)
        self._hook, sys.unraisablehook = sys.unraisablehook, self._again

    def _raise(self, number: int, frame: FrameType | None) -> NoReturn:
        self.asked = True
        raise KeyboardInterrupt

    def _again(self, found: Any) -> None:
        if issubclass(found.exc_type, KeyboardInterrupt):
            # a moment later: what is raised in this hook would be swallowed as well
            Timer(0.01, _thread.interrupt_main).start()
        else:
            self._hook(found)

    def over(self) -> None:
        """Give Ctrl-C back to who had it before."""
        signal.signal(signal.SIGINT, self._handler)
        sys.unraisablehook = self._hook


def _call(app: "typer.Typer") -> int:
    """Run the application on the command line's words and return its exit code."""
    import typer

    # The base of all that is wrong with the words, which Typer itself does not export.
    usage_error: Any = typer.BadParameter.__base__
    try:
        code = app(standalone_mode=False)
    except usage_error as error:
        sentence = " ".join(error.format_message().split())
        if not sentence:  # the help was asked for by giving no words, and was printed
            return UserError.exit_code
        command = error.ctx.command_path if error.ctx else ""
        _stop(f"{sentence[0].lower()}{sentence[1:].rstrip('.')}; see {command} --help".strip())
    if code == 128 + signal.SIGINT:  # what Typer makes of Ctrl-C
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> None:
    """Leave with a sentence where the failure is the user's to mend; return for a bug of ours."""
    if isinstance(error, UserError):
        _stop(str(error), error.exit_code)
    if isinstance(error, BrokenPipeError):
        sys.stderr.close()
        sys.exit(UserError.exit_code)
    if isinstance(error, MemoryError):
        _stop("not enough memory; ask for less, or use a machine with more")
    if isinstance(error, OSError) and (error.filename or error.errno in _FULL):
        where = f"{error.filename}: " if error.filename else ""
        _stop(f"{where}{error.strerror}; {_advice(error.errno)}")


def _advice(number: int | None) -> str:
    if number in _FULL:
        return "free space or choose another folder"
    if number in _FORBIDDEN:
        return "change its permissions or choose another place"
    return "check the path and the disk"


def _stop(sentence: str, exit_code: int = UserError.exit_code) -> NoReturn:
    print(f"error: {printable(sentence)}", file=sys.stderr)
    sys.exit(exit_code)
