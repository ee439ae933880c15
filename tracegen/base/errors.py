"""What a user sees when something is wrong: one clear sentence and an exit code."""

import errno
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


INTERRUPTED = "interrupted; nothing half-written was left behind"


class UserError(Exception):
    """Bad input: the message says where, what was found, what is allowed and what to do."""

    exit_code = 2


class FailedRun(UserError):
    """The input was good and the work failed, for example a failed point of a sweep."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the tail of an unknown-name message: the known names and the nearest one.

    >>> nearest("topkk", ["dense", "topk"])
    'known: dense, topk; did you mean topk?'
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"known: {', '.join(names) or 'none'}{hint}"


def run(app: "typer.Typer") -> None:
    """Run a command-line application, turning expected failures into one line and an exit code."""
    try:
        app()
    except UserError as error:
        _stop(str(error), error.exit_code)
    except KeyboardInterrupt:
        _stop(INTERRUPTED, UserError.exit_code)
    except SystemExit as stop:  # Typer turns Ctrl-C into an exit code of its own
        if not _follows_interrupt(stop):
            raise
        _stop(INTERRUPTED, UserError.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(UserError.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        where = f"{error.filename}: " if error.filename else ""
        _stop(f"{where}{error.strerror}; free space or choose another folder", UserError.exit_code)


def _follows_interrupt(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def _stop(sentence: str, exit_code: int) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(exit_code)
