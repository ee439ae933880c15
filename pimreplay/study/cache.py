"""Where finished parts are kept until the tables are written: in memory, or in a sweep's folder.

Every finished part of a sweep (one point on one layer and KV head) lies in `cache/` of the output
folder under the hash of all that made it. A sweep that was killed, or whose file was changed,
computes what is missing. A file holds the SHA-256 of the rest, the hash that is its name, and the
part: so neither a flipped bit nor another part's file is taken for it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout
from pyarrow import fs

from pimreplay.replay.kv_head import HeadResult
from pimreplay.replay.settings import Settings
from pimreplay.results.seal import digest
from pimreplay.study.parts import Part, Unit, decode
from pimreplay.study.plan import Point
from pimreplay.study.provenance import part_identity
from tracegen.base.errors import UserError
from tracegen.base.folder import refuse_existing
from tracegen.base.location import file_system

SEAL_BYTES = 32


class Parts(Protocol):
    """Where finished parts are kept until the tables are written."""

    def has(self, unit: Unit) -> bool:
        """Whether a part is there already."""
        ...

    def put(self, part: Part) -> None:
        """Keep a part."""
        ...

    def get(self, unit: Unit) -> HeadResult:
        """Return a part."""
        ...


class MemoryParts:
    """Parts of a run, in memory: gone when it stops."""

    def __init__(self) -> None:
        """Start empty."""
        self._parts: dict[Unit, Part] = {}

    def has(self, unit: Unit) -> bool:
        """Whether a part is there already."""
        return unit in self._parts

    def put(self, part: Part) -> None:
        """Keep a part."""
        self._parts[part.unit] = part

    def get(self, unit: Unit) -> HeadResult:
        """Return a part."""
        return decode(self._parts[unit])


class PartCache:
    """Finished parts on disk or in an object store, each a file named by its hash."""

    def __init__(self, out: str, points: Sequence[Point], settings: Settings) -> None:
        """Find out which parts are there.

        Raises:
            UserError: `out` holds something else than a sweep's results.
        """
        self._points, self._settings = points, settings
        self._system, root = file_system(out)
        self._root = f"{root}/cache"
        self.local = isinstance(self._system, fs.LocalFileSystem)
        self._refuse_foreign(out, root)
        self._system.create_dir(self._root, recursive=True)
        selector = fs.FileSelector(self._root, recursive=True, allow_not_found=True)
        self._names = {
            info.base_name.removesuffix(".part")
            for info in self._system.get_file_info(selector)
            if info.base_name.endswith(".part") and info.size
        }
        self._hashes: dict[Unit, str] = {}
        self._made_by: dict[int, str] = {}

    def _refuse_foreign(self, out: str, root: str) -> None:
        refuse_existing(out, overwrite=True, marker="")
        inside = self._system.get_file_info(fs.FileSelector(root, allow_not_found=True))
        names = {info.base_name for info in inside}
        if names and "cache" not in names:
            raise UserError(
                f"{out}: exists already and is not a sweep's folder, nothing was overwritten; "
                "choose another --out"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second sweep out of the same local folder; the system frees it at any death."""
        if not self.local:
            yield
            return
        lock = FileLock(f"{self._root}/lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"{Path(self._root).parent}: another sweep is writing here; wait for it or "
                "choose another --out"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _hash(self, unit: Unit) -> str:
        if unit not in self._hashes:
            number, layer, kv_head = unit
            if number not in self._made_by:
                self._made_by[number] = digest(part_identity(self._points[number], self._settings))
            dense_layer = layer < self._settings.dense_layers
            self._hashes[unit] = digest([self._made_by[number], layer, kv_head, dense_layer])
        return self._hashes[unit]

    def _path(self, name: str) -> str:
        return f"{self._root}/{name[:2]}/{name}.part"

    def has(self, unit: Unit) -> bool:
        """Whether a part is there already."""
        return self._hash(unit) in self._names

    def drop_damaged(self, units: Iterable[Unit]) -> int:
        """Forget parts whose files are not what was written, and return how many."""
        damaged = 0
        for unit in units:
            if self.has(unit):
                try:
                    self._read(unit)
                except (ValueError, OSError):
                    self._forget(unit)
                    damaged += 1
        return damaged

    def put(self, part: Part) -> None:
        """Write a part; a reader sees all of it or nothing."""
        name = self._hash(part.unit)
        path = self._path(name)
        content = name.encode() + part.data
        self._system.create_dir(path.rpartition("/")[0], recursive=True)
        # an object store shows an object only when it is complete, a disk needs the rename
        target = f"{path}.partial" if self.local else path
        with self._system.open_output_stream(target) as sink:
            sink.write(hashlib.sha256(content).digest() + content)
        if self.local:
            self._system.move(target, path)
        self._names.add(name)

    def get(self, unit: Unit) -> HeadResult:
        """Read a part.

        Raises:
            UserError: the file was damaged meanwhile; it is forgotten, so that the next run mends
                it.
        """
        try:
            return decode(Part(unit, self._read(unit)))
        except (ValueError, OSError) as error:
            self._forget(unit)
            raise UserError(
                f"{self._path(self._hash(unit))}: the cached part was damaged and has been "
                "removed; run the same sweep again, it computes that part anew"
            ) from error

    def _read(self, unit: Unit) -> bytes:
        """Return the bytes of a part.

        Raises:
            ValueError: the file is not what was written under this name.
        """
        name = self._hash(unit).encode()
        with self._system.open_input_file(self._path(name.decode())) as source:
            content = source.read()
        seal, content = content[:SEAL_BYTES], content[SEAL_BYTES:]
        if hashlib.sha256(content).digest() != seal or not content.startswith(name):
            raise ValueError("wrong checksum")
        return bytes(content[len(name) :])

    def _forget(self, unit: Unit) -> None:
        name = self._hash(unit)
        self._names.discard(name)
        with suppress(OSError):
            self._system.delete_file(self._path(name))
