"""Write a folder or file under a temporary name; it gets its own only once it is complete.

Whatever kills a process in between leaves the old state or the new one. What it leaves beside
them, hidden and named `.NAME.partial-*`, the next start at the same target removes: a lock file
tells a dead owner from one that is still at work, and the system frees the lock at any death.
"""

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from tracegen.base.errors import UserError
from tracegen.base.location import file_system, is_url, local_path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # <fcntl.h> and <linux/fs.h>
NEW_NAME = "choose another --out or add --overwrite"


@contextmanager
def new_folder(target: str | Path, *, overwrite: bool = False, marker: str = "") -> Iterator[Path]:
    """Yield a folder to write into; it takes the target's place when the block ends well.

    Args:
        target: the folder to make.
        overwrite: exchange it with a folder that an earlier run made, in one step.
        marker: file by which such a folder is recognised; another non-empty one is never replaced.

    Raises:
        UserError: as `refuse_existing`.
    """
    refuse_existing(target, overwrite=overwrite, marker=marker)
    place = local_path(target)
    with _partial(place) as partial:
        partial.mkdir()
        yield partial
        refuse_existing(target, overwrite=overwrite, marker=marker)
        publish(partial, place)


@contextmanager
def hidden_folder(target: str | Path) -> Iterator[Path]:
    """Yield a folder beside a target; what its owner has not moved away by the end is removed."""
    place = local_path(target)
    _recover(place)
    with _partial(place) as partial:
        partial.mkdir()
        yield partial


def publish(folder: Path, target: Path) -> None:
    """Bring a folder to the disk whole and put it in the target's place in one step."""
    for inside, _, names in os.walk(folder):
        for name in names:
            sync(Path(inside) / name)
        sync(Path(inside))
    _put(folder, target)
    sync(target.parent)


def write_file(target: str | Path, content: str | bytes) -> None:
    """Write a file that appears, or takes an older one's place, when it is complete."""
    place = local_path(target)
    with _partial(place) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        sync(partial)
        partial.replace(place)


def refuse_existing(
    target: str | Path, *, overwrite: bool = False, marker: str | None = None, advice: str = ""
) -> None:
    """Refuse a target that may not be written, after clearing what a killed run left beside it.

    Args:
        target: a path, or the URL of a folder.
        overwrite: whether what is there may be replaced.
        marker: the file that a folder to be replaced must hold; None: the target is a file.
        advice: what to do about a target that exists.

    Raises:
        UserError: it exists and `overwrite` is off, it is not what `overwrite` may replace, or it
            cannot be made because something on the way to it is a file.
    """
    system, inside = file_system(target)
    if not is_url(target):
        _recover(Path(inside))
        _refuse_place(target, Path(inside), "file" if marker is None else "folder")
    exists = system.get_file_info(inside).type.name != "NotFound"
    if exists and not overwrite:
        raise UserError(f"{target}: exists already, nothing was overwritten; {advice or NEW_NAME}")
    if exists and marker and not _replaceable(target, marker):
        raise UserError(
            f"{target}: holds no {marker}, so it is not a folder that --overwrite may replace; "
            "choose another --out"
        )


def _refuse_place(target: str | Path, place: Path, kind: str) -> None:
    """Refuse a local path where no file or folder can be made."""
    if place.exists() and place.is_dir() != (kind == "folder"):
        found = "a folder; name a file" if kind == "file" else "a file; name a folder"
        raise UserError(f"{target}: exists and is {found} for --out")
    if place == Path.cwd() or place in Path.cwd().parents:
        raise UserError(f"{target}: is the folder you are in, or holds it; choose another --out")
    above = next(one for one in place.parents if one.exists())
    if not above.is_dir():
        raise UserError(f"{target}: {above} is a file, not a folder; choose another --out")


def _replaceable(target: str | Path, marker: str) -> bool:
    import pyarrow.fs as pafs

    system, inside = file_system(target)
    if system.get_file_info(f"{inside}/{marker}").type == pafs.FileType.File:
        return True
    return not system.get_file_info(pafs.FileSelector(inside, allow_not_found=True))


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """Yield a hidden, unused name beside a target; whatever stands there at the end is removed."""
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial-{secrets.token_hex(4)}")
    lock = partial.with_name(f"{partial.name}.lock")
    lock.touch()  # where no file can be made the lock would be waited for, for ever
    with FileLock(lock):
        try:
            yield partial
        finally:
            _clear(partial, target)
            _remove(lock)


def _recover(target: Path) -> None:
    """Clear away what killed processes left of the same target, and end a half-done exchange."""
    from filelock import FileLock, Timeout

    if not target.parent.is_dir():
        return
    for lock in target.parent.glob(f".{escape(target.name)}.partial-*.lock"):
        partial = lock.with_suffix("")
        with contextlib.suppress(Timeout, OSError), FileLock(lock, timeout=0):
            _clear(partial, target)
            _remove(lock)


def recover_folder(folder: Path) -> None:
    """Clear away what killed processes left of any file in a folder."""
    for lock in folder.glob(".*.partial-*.lock"):
        _recover(folder / lock.name[1:].rpartition(".partial-")[0])


def _clear(partial: Path, target: Path) -> None:
    """Remove a hidden folder; one that was moved aside returns if nothing took its place."""
    aside = _aside(partial)
    if aside.exists() and not target.exists():
        aside.rename(target)
    _remove(aside)
    _remove(partial)


def _aside(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}-old")


def _put(partial: Path, target: Path) -> None:
    """Put a finished folder in its place; the one that was there is removed afterwards."""
    if not target.exists():
        try:
            partial.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise UserError(f"{target}: was made meanwhile by another run; {NEW_NAME}") from error
    elif not _exchange(partial, target):
        # Two steps where the system has no exchange; `_clear` undoes the first without the second.
        target.rename(_aside(partial))
        partial.rename(target)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or the disk cannot."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    paths = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    return bool(rename(*paths, _RENAME_EXCHANGE) == 0)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def sync(path: Path) -> None:
    """Bring a file's or a folder's content to the disk."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
