"""When a command may issue, and what it makes others wait for."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.bank_model.kernel.commands import (
    ACT,
    ACTAB,
    ACTPB,
    DATA,
    MACAB,
    MACPB,
    MACSB,
    PREA,
    PREPB,
    RD,
    REFAB,
    SETM,
    SFM,
    WR,
    WRGB,
)
from pimreplay.bank_model.kernel.compiling import inlined, u64
from pimreplay.bank_model.kernel.constants import (
    BANK_GROUPS,
    BANKS,
    CHANNEL_BANKS,
    HALF_BANKS,
    HISTORY,
    NODES,
    PATHS,
    RANKS,
    RULE,
    RULE_START,
    RULES,
)
from pimreplay.bank_model.kernel.open_rows import change_rows
from pimreplay.bank_model.kernel.state import ISSUED, LEVELS, RANK


@inlined
def ready_cycle(s, constants, command, bank):
    """Return the first cycle at which no rule forbids the command.

    All-bank precharge and refresh look at the channel only, softmax at nothing: so the
    reference has it.
    """
    channel = constants[NODES]
    if command == MACAB or command == PREA or command == REFAB:
        return s[u64(channel + command)]
    if command >= SFM:
        return np.int64(0)
    path = constants[PATHS] + bank * (LEVELS + 1)
    half, rank, group = constants[u64(path + 1)], constants[u64(path + 2)], constants[u64(path + 3)]
    if command >= WRGB:
        return max(s[u64(half + DATA)], s[u64(rank + DATA)], s[u64(group + DATA)])
    if command == ACTAB:
        return max(s[u64(channel + command)], s[u64(half + command)])
    cycle = max(
        s[u64(channel + command)],
        s[u64(half + command)],
        s[u64(rank + command)],
        s[u64(group + command)],
        s[u64(constants[u64(path + 4)] + command)],
    )
    if command == RD or command == WR:
        cycle = max(cycle, s[u64(half + DATA)], s[u64(rank + DATA)], s[u64(group + DATA)])
    return cycle


@inlined
def _apply_rules(s, constants, command, bank, highest, clock):
    """Note what a command makes others wait for, at levels from `highest` down to the bank."""
    path = constants[PATHS] + bank * (LEVELS + 1)
    rule = RULES + RULE * constants[u64(RULE_START + command)]
    end = RULES + RULE * constants[u64(RULE_START + command + 1)]
    while rule < end:
        if constants[u64(rule)] >= highest:
            past = clock
            if constants[u64(rule + 3)] > 1:
                past = s[
                    u64(
                        constants[HISTORY]
                        + constants[u64(path + RANK)] * 4
                        + constants[u64(rule + 3)]
                        - 1
                    )
                ]
            ready = constants[u64(path + constants[u64(rule)])] + constants[u64(rule + 1)]
            s[u64(ready)] = max(s[u64(ready)], past + constants[u64(rule + 2)])
        rule += RULE


@inlined
def issue(s, constants, command, bank, row, clock):
    """Issue a command: what it makes others wait for, and which rows it opens and closes."""
    s[u64(ISSUED + command)] += 1
    if command >= SETM:
        return
    rank = constants[u64(constants[PATHS] + bank * (LEVELS + 1) + RANK)]
    if command == ACT:
        history = constants[HISTORY] + rank * 4
        for i in range(3, 0, -1):
            s[u64(history + i)] = s[u64(history + i - 1)]
        s[u64(history)] = clock
    _apply_rules(s, constants, command, bank, np.int64(0), clock)
    if command == MACSB or command == MACPB:
        first, stride = bank % constants[BANKS], constants[BANKS]
        if command == MACPB:
            # The reference tells the wrong banks of the broadcast: it takes the pseudo-channel's
            # number for the rank's and the rank's for the group's (PIMPerBankActions).
            stride = constants[HALF_BANKS]
            half, in_half = rank // constants[RANKS], rank % constants[RANKS]
            if half < constants[RANKS] and in_half < constants[BANK_GROUPS]:
                first += (half * constants[BANK_GROUPS] + in_half) * constants[BANKS]
            else:
                first = constants[CHANNEL_BANKS]
        for other in range(first, constants[CHANNEL_BANKS], stride):
            if other != bank:
                _apply_rules(s, constants, command, other, np.int64(LEVELS - 1), clock)
    if command <= PREPB or ACTAB <= command <= ACTPB:
        change_rows(s, constants, command, bank, row)
