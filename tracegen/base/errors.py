"""What a user sees when something is wrong: one clear sentence and an exit code."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


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


def printable(text: str) -> str:
    r"""Return text that a terminal shows and does not obey: control characters spelled out.

    >>> printable("a\x1b[2J")
    'a\\x1b[2J'
    """
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode()
        for one in text
    )


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Give a failure of the system inside the block the name of the file that it concerns."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
