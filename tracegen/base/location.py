"""Where things lie: paths and URLs, checked before anything is read or written there."""

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tracegen.base.errors import UserError, nearest

if TYPE_CHECKING:
    import pyarrow.fs as pafs

SCHEMES = ("file", "s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "hf")
_NAME_BYTES = 200
"""Longest name of a file or folder; disks allow 255, and a temporary name beside it is longer."""
_PATH_BYTES = 4000
_RETRY_SECONDS = 5
"""How long Google's client goes on trying to reach its service; its own default is 15 minutes."""


def is_url(where: str | Path) -> bool:
    """Whether a location is a URL and not a path.

    >>> is_url("s3://bucket/trace"), is_url("results/one")
    (True, False)
    """
    return "://" in str(where)


def local_path(where: str | Path) -> Path:
    """Return a path of this machine made absolute, links followed.

    Raises:
        UserError: it is empty, too long for a disk, holds a control character, or is a link to
            nothing.
    """
    text = str(where)
    shown = repr(text if len(text) <= 120 else f"{text[:60]}...{text[-40:]}")
    if not text.strip():
        raise UserError("a path is empty; give the name of a file or folder")
    if not text.isprintable():
        raise UserError(f"{shown}: a path holds a control character; give one without it")
    size = max(len(os.fsencode(one)) for one in [*Path(text).parts, ""])
    if size > _NAME_BYTES or len(os.fsencode(text)) > _PATH_BYTES:
        raise UserError(
            f"{shown}: the path is too long; a name has at most {_NAME_BYTES} bytes and a path "
            f"{_PATH_BYTES:,}"
        )
    path = Path(os.path.realpath(text))
    if Path(text).is_symlink() and not path.exists():
        raise UserError(f"{text}: is a link to {path}, which does not exist; remove or mend it")
    return path


def file_system(where: str | Path) -> tuple["pafs.FileSystem", str]:
    """Return the pyarrow file system of a path or URL, and the path inside it.

    Raises:
        UserError: the path is not one (see `local_path`), or the URL's scheme is unknown, its
            service cannot be reached or does not let us in.
    """
    import pyarrow.fs as pafs

    if not is_url(where):
        return pafs.LocalFileSystem(), str(local_path(where))
    system, path = _remote(str(where))
    if isinstance(system, pafs.LocalFileSystem):
        return system, str(local_path(path))
    return system, path


@cache
def _remote(url: str) -> tuple["pafs.FileSystem", str]:
    import pyarrow.fs as pafs

    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise UserError(f"{url}: not a location that can be opened; {nearest(scheme, SCHEMES)}")
    uri = url
    if scheme in ("gs", "gcs"):
        uri += f"{'&' if urlsplit(url).query else '?'}retry_limit_seconds={_RETRY_SECONDS}"
    # Each service's client raises errors of its own, without a common base.
    try:
        system, path = pafs.FileSystem.from_uri(uri)
        system.get_file_info(path)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = reason.rstrip(".") if len(reason) <= 160 else f"{reason[:160]}..."
        raise UserError(
            f"{url}: cannot be reached ({reason}); check the address, the network and the "
            "credentials, or give a local folder"
        ) from error
    return system, str(path).rstrip("/")
