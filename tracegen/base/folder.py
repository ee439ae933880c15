"""Write a folder under a temporary name and give it its own name only once it is complete."""

import contextlib
import os
import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from tracegen.base.errors import UserError


class NewFolder:
    """Context manager: a folder that appears complete or not at all.

    Inside the block write into `path`, a hidden folder beside the target. A block that ends well
    syncs it to the disk and renames it; one that fails or is interrupted removes it; a killed
    process leaves it under its temporary name, which nothing reads and the next attempt at the
    same target removes.

    Args:
        target: the folder to make.
        overwrite: replace a folder that an earlier run made.
        marker: file by which a folder made earlier is recognised; another non-empty folder is
            never replaced.
    """

    def __init__(self, target: str | Path, *, overwrite: bool, marker: str) -> None:
        self.target = Path(target).absolute()
        self.marker = marker
        self.overwrite = overwrite
        self.path = self.target.parent / f"{self._prefix}{os.getpid()}"
        refuse_existing(self.target, overwrite=overwrite, marker=marker)

    @property
    def _prefix(self) -> str:
        return f".{self.target.name}.partial-{socket.gethostname()}-"

    def __enter__(self) -> Self:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            shutil.rmtree(self.path, ignore_errors=True)

    def _publish(self) -> None:
        for folder, _, names in os.walk(self.path):
            for name in names:
                _sync(Path(folder) / name)
            _sync(Path(folder))
        refuse_existing(self.target, overwrite=self.overwrite, marker=self.marker)
        aside = self.path.with_name(f"{self.path.name}-old")
        if self.target.exists():
            self.target.rename(aside)
        try:
            self.path.rename(self.target)
        except OSError:
            if aside.exists() and not self.target.exists():
                aside.rename(self.target)
            raise
        _sync(self.target.parent)
        shutil.rmtree(aside, ignore_errors=True)

    def _remove_abandoned(self) -> None:
        """Remove what killed runs on this machine left of the same target."""
        for path in self.target.parent.glob(f"{self._prefix}*"):
            process = path.name.removeprefix(self._prefix).removesuffix("-old")
            if process.isdigit() and not _alive(int(process)):
                shutil.rmtree(path, ignore_errors=True)


def refuse_existing(target: Path, *, overwrite: bool, marker: str) -> None:
    """Refuse a target that may not be written.

    Raises:
        UserError: it exists and `overwrite` is off, or it is not a folder that `overwrite` may
            replace.
    """
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise UserError(f"{target}: exists and is not a folder; choose another --out")
    if not overwrite:
        raise UserError(f"{target}: exists already; choose another --out or add --overwrite")
    if any(target.iterdir()) and not (target / marker).exists():
        raise UserError(
            f"{target}: holds no {marker}, so it is not a folder that --overwrite may replace; "
            "choose another --out"
        )


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync(path: Path) -> None:
    with contextlib.suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
