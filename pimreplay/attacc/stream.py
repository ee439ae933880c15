"""Requests of a layer, gathered run by run."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pimreplay.attacc.addresses import Addresses
from pimreplay.bank_model.commands import REQUEST_WORDS, Requests

IntArray = NDArray[np.int64]
KINDS = {word: kind for kind, word in enumerate(REQUEST_WORDS)}


@dataclass(slots=True)
class Stream:
    """Runs of requests of one kind; there are hundreds of thousands, so each must cost little."""

    kinds: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    addresses: list[IntArray] = field(default_factory=list)

    def add(self, word: str, addresses: IntArray) -> None:
        """Add a run of requests."""
        self.kinds.append(KINDS[word])
        self.lengths.append(addresses.size)
        self.addresses.append(addresses)

    def rounds(self, *runs: tuple[str, IntArray]) -> None:
        """Add the runs in turn, round after round: (rounds, requests) each, or (1, requests)."""
        rounds = max(len(addresses) for _, addresses in runs)
        self.kinds += [KINDS[word] for word, _ in runs] * rounds
        self.lengths += [addresses.shape[1] for _, addresses in runs] * rounds
        every = [np.broadcast_to(one, (rounds, one.shape[1])) for _, one in runs]
        self.addresses.append(np.concatenate(every, axis=1))

    def requests(self) -> Requests:
        """Return the requests in order."""
        kinds = np.repeat(np.array(self.kinds, dtype=np.uint8), self.lengths)
        return Requests(kinds, np.concatenate(self.addresses, axis=None))


def stage(stream: Stream, layout: Addresses, macs: IntArray, group: int, moves: IntArray) -> None:
    """MACs in groups of `group` rows; each but the last hides the move of the sums before it."""
    word, barrier = layout.level.mac_request, layout.channels
    whole = len(macs) // group * group
    groups = macs[:whole].reshape(whole // group, group * macs[0].size)
    rest = macs[whole:]
    stream.add(word, groups[0] if whole else rest)
    stream.add("PIM_BARRIER", barrier)
    if len(groups) > 1:
        stream.rounds(
            (word, groups[1:]),
            ("PIM_MV_SB", moves.reshape(1, -1)),
            ("PIM_BARRIER", barrier.reshape(1, -1)),
        )
    if whole and len(rest):
        stream.add(word, rest)
        stream.add("PIM_MV_SB", moves)
        stream.add("PIM_BARRIER", barrier)
    stream.add("PIM_MV_SB", moves)
