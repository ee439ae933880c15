"""The command scheduler as an object: feed requests, ask for the outcome."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pimreplay.bank_model.address_map import AddressMap
from pimreplay.bank_model.commands import (
    COMMANDS,
    FINAL_COMMANDS,
    REQUESTS,
    Requests,
    count_requests,
)
from pimreplay.bank_model.kernel import front_end
from pimreplay.bank_model.kernel.allocation import more_row_room, new_state
from pimreplay.bank_model.kernel.constants import constants_of
from pimreplay.bank_model.kernel.state import ISSUED
from pimreplay.bank_model.limits import STUCK_CYCLES
from pimreplay.bank_model.timing_rules import rule_table
from pimreplay.hardware.organisation import Organisation
from pimreplay.hardware.timing import Timing
from tracegen.base.errors import UserError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command trace came to."""

    cycles: int
    requests: dict[str, int]
    commands: dict[str, int]
    """Commands issued, all channels; only those that occurred."""
    row_activations: int
    """Rows opened, counted in banks: an all-bank activate opens one in each."""
    refreshes: int


@cache
def _constants(organisation: Organisation, timing: Timing, refresh: bool) -> NDArray[np.int64]:
    """Return the kernel's constants; they are never written to."""
    m = AddressMap.of(organisation)
    constants: NDArray[np.int64] = constants_of(
        (
            organisation.pseudo_channels,
            organisation.ranks,
            organisation.bank_groups,
            organisation.banks,
        ),
        timing.n_refi_cycles if refresh else 0,
        timing.n_cl_cycles + timing.n_bl_cycles,
        (m.channel_shift, m.pseudo_channel_shift, m.bank_shift, m.row_shift),
        rule_table(timing),
    )
    return constants


class Scheduler:
    """All channels' controllers behind one front end, as the AttAcc simulator has them.

    Requests may be fed in any number of pieces; time only advances when they are needed.
    """

    def __init__(
        self,
        organisation: Organisation,
        timing: Timing,
        *,
        refresh: bool = True,
        fold: bool = True,
        log_commands: int = 0,
    ) -> None:
        """Start at cycle 0 with every bank closed.

        Args:
            organisation: Counts of the device.
            timing: Its timings.
            refresh: All-bank refresh every tREFI.
            fold: Simulate channels in equal state once; False only to test that.
            log_commands: Room for a log of issued commands (needs `fold=False`).
        """
        channels = organisation.channels
        self.organisation, self.timing = organisation, timing
        self._constants = _constants(organisation, timing, refresh)
        self._state = new_state(self._constants, channels)
        self._classes = np.zeros((4, channels), dtype=np.int64)
        self._classes[front_end.SIZE_OF, 0] = channels
        self._classes[front_end.EVENT] = 1
        self._scalars = np.zeros(5, dtype=np.int64)
        self._scalars[front_end.CLASSES] = 1
        self._fold = fold
        self._log = np.zeros((1 + log_commands, 5), dtype=np.int64)
        self._log[0, 0] = 1  # where the next entry goes
        self._kinds = np.zeros(0, dtype=np.uint8)
        self._addresses = np.zeros(0, dtype=np.int64)
        self._counts = np.zeros(len(REQUESTS), dtype=np.int64)
        self._finished = False

    def feed(self, requests: Requests) -> None:
        """Hand over the next requests, whose addresses lie inside the device."""
        if self._finished:
            raise ValueError("this scheduler has finished; make a new one")
        self._counts += np.bincount(requests.kind, minlength=len(REQUESTS))
        if len(self._kinds):
            requests = Requests(
                np.concatenate([self._kinds, requests.kind]),
                np.concatenate([self._addresses, requests.address]),
            )
        taken = self._run(requests.kind, requests.address, last=False)
        self._kinds, self._addresses = requests.kind[taken:], requests.address[taken:]

    def finish(self) -> Outcome:
        """Let every queue run empty and return the outcome."""
        self._run(self._kinds, self._addresses, last=True)
        self._finished = True
        classes = int(self._scalars[front_end.CLASSES])
        issued = self._state[:classes, ISSUED : ISSUED + len(COMMANDS)]
        totals = self._classes[front_end.SIZE_OF, :classes] @ issued
        commands = {name: int(total) for name, total in zip(COMMANDS, totals, strict=True) if total}
        org = self.organisation
        banks = {
            "ACT": 1,
            "ACTAB": org.channel_banks,
            "ACTSB": org.lanes,
            "ACTPB": org.pseudo_channels,
        }
        return Outcome(
            cycles=int(self._scalars[front_end.CLOCK]),
            requests=count_requests(self._counts),
            commands={name: n for name, n in commands.items() if name != "BARRIER"},
            row_activations=sum(commands.get(name, 0) * n for name, n in banks.items()),
            refreshes=commands.get("REFab", 0),
        )

    def log(self) -> NDArray[np.int64]:
        """Return the issued commands: (n, 5) cycle, channel, command, bank of the channel, row."""
        log = self._log[1 : self._log[0, 0]]
        return log[np.argsort(log[:, 0], kind="stable")]

    def _run(self, kinds: NDArray[np.uint8], addresses: NDArray[np.int64], *, last: bool) -> int:
        taken = 0
        while True:
            taken += front_end.run(
                self._state,
                self._constants,
                self._classes,
                self._scalars,
                kinds[taken:],
                addresses[taken:],
                last,
                self._fold,
                self._log,
            )
            error = int(self._scalars[front_end.ERROR])
            if error == front_end.STUCK:
                raise UserError(
                    f"the controller finishes no request for {STUCK_CYCLES} cycles: "
                    "requests keep closing each other's rows; the reference simulator hangs here; "
                    "change the command trace"
                )
            if error == front_end.REFRESHES_LOST:
                raise UserError(
                    "refresh requests pile up because requests keep closing each other's rows; "
                    "the reference simulator stops here; change the command trace"
                )
            if not self._scalars[front_end.WIDER_ROWS]:
                return int(taken)
            self._state, self._constants = more_row_room(self._state, self._constants)
            self._scalars[front_end.WIDER_ROWS] = 0


def schedule(
    requests: Requests, organisation: Organisation, timing: Timing, *, refresh: bool = True
) -> Outcome:
    """Run requests that are in memory from an idle device to the end."""
    scheduler = Scheduler(organisation, timing, refresh=refresh)
    scheduler.feed(requests)
    return scheduler.finish()


assert len(FINAL_COMMANDS) == len(REQUESTS)
