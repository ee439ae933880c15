"""Say now and then how far a long command trace is."""

import sys
import time
from collections.abc import Iterable, Iterator

from pimreplay.bank_model.commands import Requests

EVERY_S = 15.0


def announced(parts: Iterable[Requests], where: str) -> Iterator[Requests]:
    """Pass requests on; every quarter of a minute say on stderr how many have been scheduled."""
    passed, said_s = 0, time.monotonic()
    for part in parts:
        yield part
        passed += len(part)
        if time.monotonic() - said_s >= EVERY_S:
            said_s = time.monotonic()
            print(f"{where}: {passed:,} requests scheduled", file=sys.stderr, flush=True)
