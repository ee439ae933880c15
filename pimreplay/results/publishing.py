"""Put finished tables where others read them, so that whoever looks sees the old or the new ones.

A folder that is new appears in one rename on a local disk. Where there is one already, the new
tables come beside the old ones under `NAME.parquet.next`, one write of `run.json` switches from
the old to the new, and only then do they take the old ones' names. A reader tells by the SHA-256
that `run.json` states which of the two is meant, so a writer may be killed at any moment.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pyarrow import fs

from pimreplay.results.schema import SCHEMAS
from pimreplay.results.seal import stream_sha256
from tracegen.base.documents import parse_json
from tracegen.base.errors import UserError
from tracegen.base.folder import sync

RUN = "run.json"
NEXT = ".next"


def publish_into(folder: Path, system: fs.FileSystem, inside: str) -> None:
    """Move a finished folder's files into `inside`, which may hold results already."""
    system.create_dir(inside, recursive=True)
    tables = [path for path in folder.iterdir() if path.name != RUN]
    if system.get_file_info(f"{inside}/{RUN}").type == fs.FileType.NotFound:
        for path in tables:
            _put(path, system, f"{inside}/{path.name}")
        _put(folder / RUN, system, f"{inside}/{RUN}")
        return
    settle(system, inside)
    for path in tables:
        _put(path, system, f"{inside}/{path.name}{NEXT}")
    _put(folder / RUN, system, f"{inside}/{RUN}")
    settle(system, inside)
    _remove_others(system, inside, {path.name for path in tables})


def settle(system: fs.FileSystem, inside: str) -> None:
    """Finish a switch: a `.next` that `run.json` means takes its name, another one goes."""
    meant = _meant(system, inside)
    for name in SCHEMAS:
        path = f"{inside}/{name}.parquet"
        if system.get_file_info(path + NEXT).type == fs.FileType.NotFound:
            continue
        with system.open_input_stream(path + NEXT) as stream:
            found = stream_sha256(stream)
        if found == meant.get(name):
            _rename(system, path + NEXT, path)
        else:
            _delete(system, path + NEXT)


def _meant(system: fs.FileSystem, inside: str) -> dict[str, str]:
    """Return the SHA-256 of each table that `run.json` states; none where it is unreadable."""
    with suppress(UserError, KeyError, TypeError, AttributeError):
        with system.open_input_stream(f"{inside}/{RUN}") as stream:
            tables = parse_json(stream.read(), RUN)["tables"]
        return {name: str(one["sha256"]) for name, one in tables.items()}
    return {}


def _remove_others(system: fs.FileSystem, inside: str, kept: Iterable[str]) -> None:
    for name in {f"{table}.parquet" for table in SCHEMAS} - set(kept):
        if system.get_file_info(f"{inside}/{name}").type != fs.FileType.NotFound:
            _delete(system, f"{inside}/{name}")


def _put(path: Path, system: fs.FileSystem, target: str) -> None:
    if isinstance(system, fs.LocalFileSystem):
        sync(path)
        path.replace(target)
        sync(Path(target).parent)
        return
    fs.copy_files(
        str(path),
        target,
        source_filesystem=fs.LocalFileSystem(),
        destination_filesystem=system,
    )


def _rename(system: fs.FileSystem, path: str, target: str) -> None:
    system.move(path, target)


def _delete(system: fs.FileSystem, path: str) -> None:
    system.delete_file(path)
