"""The scheduler: what each channel's controller issues, and when, over integer arrays.

Event-driven: time jumps to the next cycle at which something can happen. Channels that have
received the same requests in the same order are in the same state and are simulated once (a
*class* of channels); a class splits at the first request that treats its members differently.

One row of `state` holds everything of a class; the offsets below say what lies where. The PIM
queue is kept as bit masks over its entries in order of age, one mask for each thing an entry can
wait for, so that a decision looks at a few masks and not at 33 entries. The rules and their
sources are in docs/timing_model.md; the numbers of commands are those of `commands.py`
(a test keeps them equal).
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc"
# mypy: disable-error-code="arg-type, unused-ignore"

from typing import Any

import numpy as np
from numba import config

from pimreplay.compiled import kernel

LD, ST = range(2)
"""Numbers of the requests that go to the lists of reads and writes; all others are for PIM."""
ACT, PRE, PREA, PRESB, PREPB, RD, WR, REFAB = range(8)
ACTAB, ACTSB, ACTPB, MACAB, MACSB, MACPB = range(8, 14)
WRGB, MVSB, MVGB, SFM, SETM, SETH, BARRIER = range(14, 21)
DATA = 21
COMMANDS = 21
RESOURCES = 22
FINAL = np.array(
    [RD, WR, MACAB, MACSB, MACPB, WRGB, MVSB, MVGB, SFM, SETM, SETH, BARRIER], dtype=np.int64
)
# Row bus 0, column bus 1. PRESB, PREPB and the barrier pair with no other command.
BUS = np.array([0, 0, 0, -1, -1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1], dtype=np.int64)

# What opens the row that a command needs, and what closes the one in its place.
OPENER = np.array([ACT] * MACAB + [ACTAB, ACTSB, ACTPB], dtype=np.int64)
CLOSER = np.array([PRE] * MACAB + [PREA, PRESB, PREPB], dtype=np.int64)

BRINGS = np.array([MACAB, ACTAB, PREA], dtype=np.int64)
"""What brings an all-bank MAC forward, by what it waits for: nothing, its row, another's to close.
"""

LEVELS = 5
RANK = LEVELS
"""Column of a bank's path that holds its rank's number."""
NEVER = np.int64(1) << 60
CAPACITY = 33
"""Entries of a queue: the reference's list accepts one more than its 32."""
HIGH_WRITES, LOW_WRITES = int(0.8 * (CAPACITY - 1)), int(0.2 * (CAPACITY - 1)) + 1
"""The write mode begins above the one and ends below the other."""
PRIORITY_CAPACITY = 512 * 3 + 33
STUCK_CYCLES = 1_000_000
"""A controller that finishes and receives nothing for so long never will finish anything."""
WINDOW = 60
"""Bits of a queue mask; entries are packed anew when ages have run past it."""
WORD = 32
"""Banks of one word of a mask over banks."""

# scalars of a class
(
    VERSION,  # counts changes of open rows
    ALL_ROW,  # the row open in all banks alike, or ALL_CLOSED, or MIXED
    OPEN_BANKS,
    MOST_ROWS,  # the most rows that one bank has had open
    REFRESH_IN,  # refresh requests that arrived, and that were served
    REFRESH_OUT,
    NEXT_REFRESH,
    WRITE_MODE,
    IN_PIM,  # the last choice fell on the PIM queue: its requests do not move when they open rows
    LAST_POP,  # cycle at which the last read data leaves
    LAST_TICK,
    LAST_REMOVAL,  # cycle at which a request was last received or finished
    CHANGED,  # a queue of reads or writes changed, or a barrier went: look again next cycle
    AGE,  # position of the next PIM request
    COUNT,  # requests in the PIM queue
    LIVE,  # masks of PIM positions: all, barriers, those that wait for no timing
    BARRIERS,
    FREE,
    MACS_ALL,  # MACs on all, same and single banks
    MACS_SAME,
    MACS_SINGLE,
    HITS,  # MACs whose row is open, closed, and in whose place another is open: as BRINGS
    TO_OPEN,
    TO_CLOSE,
    LISTED,  # length of each list: reads, writes, half-served requests
) = range(25)
READS, WRITES, ACTIVE = np.arange(3)  # typed, so that no function is compiled once for each
ISSUED = LISTED + 3  # commands issued, by number
KIND = ISSUED + COMMANDS + 1  # final command, bank and row of each PIM position
BANK_OF = KIND + WINDOW
ROW_OF = BANK_OF + WINDOW
MAC_WORDS = ROW_OF + WINDOW  # which banks have MACs of each kind, and which have moves
# lists of reads, writes and half-served requests: order, fields of each slot
L_FINAL, L_BANK, L_ROW, L_ADDRESS, L_ARRIVE, L_NEXT, L_SEEN = range(7)
FIELDS = 7
LIST = CAPACITY + CAPACITY * FIELDS

# what is the same for all classes, passed as one array: counts, offsets within a row of `state`
# (they depend on the number of banks), then the rules and the path of each bank
(
    PSEUDO_CHANNELS,
    RANKS,
    GROUPS,
    BANKS,
    CHANNEL_BANKS,
    WORDS,
    MASKS,  # masks of positions by bank: moves, then MACs on all, same and single banks
    LISTS,
    HISTORY,  # last four activates of each rank
    OPEN,  # number of open rows of each bank
    NODES,  # ready cycle of each (node, command)
    SIZE,
    N_REFI,  # 0: no refresh
    READ_LATENCY,
    SHIFT_CHANNEL,
    SHIFT_HALF,
    SHIFT_BANK,
    SHIFT_ROW,
    HALF_BANKS,  # banks of a pseudo-channel
    PATHS,
    ROWS,  # rows that each bank has open, room for so many
    ROW_ROOM,
) = range(22)
STRIDES = 22  # distance between the banks of a command on one bank, all, same and single banks
RULE_START = STRIDES + 4  # where the rules of each command start
RULES = RULE_START + COMMANDS + 1  # level, following command, cycles, window
RULE = 4
ALL_CLOSED, MIXED = -1, -2
MOST_EACH = 8
"""The most requests in a row to one channel that are looked for in the next channels too."""
PIM, PRIORITY, NO_QUEUE = -3, -2, -1
FREE_SLOT, NOTHING = -2, -1
"""First command that the second slot compares with: none to compare (first slot); none at all."""


def device_of(
    counts: tuple[int, int, int, int],
    n_refi: int,
    read_latency: int,
    shifts: tuple[int, int, int, int],
    rules: tuple[Any, Any],
) -> Any:
    """Return the constants of channels of so many pseudo-channels, ranks, groups, banks.

    `rules` are those of `commands.rule_table`. A bank's path is where the ready cycles of
    each level above it lie, and the number of its rank: (banks, levels + 1).
    """
    pseudo_channels, ranks, groups, banks = counts
    all_ranks = pseudo_channels * ranks
    channel_banks = all_ranks * groups * banks
    nodes = 1 + pseudo_channels + all_ranks + all_ranks * groups + channel_banks
    start, table = rules
    device = np.zeros(RULES + table.size + channel_banks * (LEVELS + 1), dtype=np.int64)
    device[:5] = *counts, channel_banks
    device[WORDS] = -(-channel_banks // WORD)
    device[MASKS] = MAC_WORDS + 4 * device[WORDS]
    device[LISTS] = device[MASKS] + 4 * channel_banks
    device[HISTORY] = device[LISTS] + 3 * LIST
    device[OPEN] = device[HISTORY] + all_ranks * 4
    device[NODES] = device[OPEN] + channel_banks
    device[ROWS] = device[NODES] + nodes * RESOURCES
    device[ROW_ROOM] = 4
    device[SIZE] = device[ROWS] + channel_banks * device[ROW_ROOM]
    device[N_REFI] = n_refi
    device[READ_LATENCY] = read_latency
    device[SHIFT_CHANNEL : SHIFT_ROW + 1] = shifts
    device[HALF_BANKS] = channel_banks // pseudo_channels
    device[PATHS] = RULES + table.size
    device[STRIDES:RULE_START] = channel_banks, 1, banks, channel_banks // pseudo_channels
    device[RULE_START:RULES] = start
    device[RULES : RULES + table.size] = table.reshape(-1)
    bank = np.arange(channel_banks)
    group = bank // banks
    rank = group // groups
    half = rank // ranks
    path = np.zeros((channel_banks, LEVELS + 1), dtype=np.int64)
    path[:, 1] = 1 + half
    path[:, 2] = 1 + pseudo_channels + rank
    path[:, 3] = 1 + pseudo_channels + all_ranks + group
    path[:, 4] = 1 + pseudo_channels + all_ranks * (1 + groups) + bank
    path = device[NODES] + path * RESOURCES
    path[:, RANK] = rank
    device[device[PATHS] :] = path.reshape(-1)
    return device


def new_state(device: Any, channels: int) -> Any:
    """Return the state before the first cycle: all channels are in class 0."""
    state = np.zeros((channels, device[SIZE]), dtype=np.int64)
    first = state[0]  # a split copies it
    first[ALL_ROW] = ALL_CLOSED
    first[NEXT_REFRESH] = device[N_REFI] if device[N_REFI] else NEVER
    first[device[HISTORY] : device[OPEN]] = -NEVER
    for queue in range(3):
        order = device[LISTS] + queue * LIST
        first[order : order + CAPACITY] = np.arange(CAPACITY)
    return state


def more_row_room(state: Any, device: Any) -> tuple[Any, Any]:
    """Return the state and the constants with room for twice as many open rows a bank."""
    wider = device.copy()
    wider[ROW_ROOM] *= 2
    wider[SIZE] += device[SIZE] - device[ROWS]
    grown = np.zeros((len(state), wider[SIZE]), dtype=np.int64)
    grown[:, : device[ROWS]] = state[:, : device[ROWS]]
    banks, room = int(device[CHANNEL_BANKS]), int(device[ROW_ROOM])
    rows = grown[:, device[ROWS] :].reshape(len(state), banks, 2 * room)
    rows[:, :, :room] = state[:, device[ROWS] :].reshape(len(state), banks, room)
    return grown, wider


# No function makes an array: `_nrt=False` spares counting the references of those passed on, which
# took nine tenths of the time. Wrappers for callers in Python or C take a quarter of the compiling.
# A function of its own is optimised again inside each that calls it: it is pasted where it is long
# and one place calls it.
_OPTIONS = {"_nrt": False, "no_cfunc_wrapper": True}
_called = kernel(**_OPTIONS, no_cpython_wrapper=True)
_inlined = kernel(**_OPTIONS, no_cpython_wrapper=True, forceinline=True)
_pasted = kernel(**_OPTIONS, no_cpython_wrapper=True, inline="always")

_at = np.uint64
"""An index that is not negative: numba then leaves out counting from the end."""

if config.DISABLE_JIT:

    def lowest_bit(mask: int) -> int:
        """Return the position of the lowest bit of a mask."""
        return (int(mask) & -int(mask)).bit_length() - 1

else:
    from numba.cpython.unsafe.numbers import trailing_zeros as lowest_bit  # type: ignore[no-redef]


# --- open rows: a bank may hold several, because an all-bank activate opens its row beside others


@_inlined
def _stride(device, final):
    """Return the distance between the banks that a command works on: one of this many."""
    return device[STRIDES + (final - MACAB + 1 if MACAB <= final <= MACPB else 0)]


@_inlined
def _is_open(s, device, bank, n, row):
    """Tell whether the row is among the first `n` that a bank has open."""
    first = device[ROWS] + bank * device[ROW_ROOM]
    for i in range(first, first + n):  # noqa: SIM110 - numba compiles no generator
        if s[i] == row:
            return True
    return False


@_called
def _next_in_banks(s, device, final, bank, row):
    """Return what brings a request forward where banks have different rows open."""
    stride = _stride(device, final)
    for at in range(bank % stride, device[CHANNEL_BANKS], stride):  # the first not ready decides
        n = s[device[OPEN] + at]
        if n == 0:
            return OPENER[final]
        if not _is_open(s, device, at, n, row):
            return CLOSER[final]
    return final


@_inlined
def _next_command(s, device, final, bank, row):
    """Return what brings a request forward: its own command, or what opens or closes a row."""
    if s[ALL_ROW] == row:
        return final
    if s[ALL_ROW] == ALL_CLOSED:
        return OPENER[final]
    if s[ALL_ROW] != MIXED:
        return CLOSER[final]
    return _next_in_banks(s, device, final, bank, row)


@_called
def _spell_out(s, device):
    """Write down each bank's open rows where all were alike."""
    if s[ALL_ROW] == MIXED:
        return
    n = 0 if s[ALL_ROW] == ALL_CLOSED else 1
    for bank in range(device[CHANNEL_BANKS]):
        s[device[OPEN] + bank] = n
        s[device[ROWS] + bank * device[ROW_ROOM]] = s[ALL_ROW]
    s[ALL_ROW] = MIXED


@_inlined
def _open_row(s, device, bank, row):
    n = s[device[OPEN] + bank]
    if _is_open(s, device, bank, n, row):
        return
    if n == 0:
        s[OPEN_BANKS] += 1
    s[device[ROWS] + bank * device[ROW_ROOM] + n] = row
    s[device[OPEN] + bank] = n + 1
    s[MOST_ROWS] = max(s[MOST_ROWS], n + 1)


@_called
def _change_rows(s, device, command, bank, row):
    """Open or close what a row command opens or closes."""
    if command == PREA:
        s[ALL_ROW] = ALL_CLOSED
        s[OPEN_BANKS] = 0
    elif command == ACTAB and s[ALL_ROW] == ALL_CLOSED:
        s[ALL_ROW] = row
        s[OPEN_BANKS] = device[CHANNEL_BANKS]
    else:
        _spell_out(s, device)
        if command == ACT or command >= ACTAB:
            final = RD if command == ACT else command - ACTAB + MACAB
            stride = _stride(device, final)
            for at in range(bank % stride, device[CHANNEL_BANKS], stride):
                _open_row(s, device, at, row)
        else:  # PRESB, too, closes one bank of each pseudo-channel only
            final = RD if command == PRE else MACPB
            stride = _stride(device, final)
            for at in range(bank % stride, device[CHANNEL_BANKS], stride):
                if s[_at(device[OPEN] + at)]:
                    s[OPEN_BANKS] -= 1
                    s[_at(device[OPEN] + at)] = 0
    s[VERSION] += 1
    waiting = s[MACS_ALL] | s[MACS_SAME] | s[MACS_SINGLE]
    s[HITS] = 0
    s[TO_OPEN] = 0
    s[TO_CLOSE] = 0
    if s[ALL_ROW] == ALL_CLOSED:
        s[TO_OPEN] = waiting
    elif s[ALL_ROW] != MIXED:
        hits = np.int64(0)
        for position in range(WINDOW):  # all, because the compiler then takes several at once
            hits |= np.int64(s[_at(ROW_OF + position)] == s[ALL_ROW]) << position
        hits &= waiting
        s[HITS] = hits
        s[TO_CLOSE] = waiting & ~hits
    else:
        while waiting:
            _classify(s, device, lowest_bit(waiting))
            waiting &= waiting - 1


@_inlined
def _classify(s, device, position):
    """Note what a MAC of the PIM queue needs next."""
    final = s[KIND + position]
    command = _next_command(s, device, final, s[BANK_OF + position], s[ROW_OF + position])
    bit = np.int64(1) << position
    if command == final:
        s[HITS] |= bit
    elif command >= ACTAB:
        s[TO_OPEN] |= bit
    else:
        s[TO_CLOSE] |= bit


# --- timing


@_inlined
def _ready_cycle(s, device, command, bank):
    """Return the first cycle at which no rule forbids the command.

    All-bank precharge and refresh look at the channel only, softmax at nothing: so the
    reference has it.
    """
    channel = device[NODES]
    if command == MACAB or command == PREA or command == REFAB:
        return s[_at(channel + command)]
    if command >= SFM:
        return np.int64(0)
    path = device[PATHS] + bank * (LEVELS + 1)
    half, rank, group = device[_at(path + 1)], device[_at(path + 2)], device[_at(path + 3)]
    if command >= WRGB:
        return max(s[_at(half + DATA)], s[_at(rank + DATA)], s[_at(group + DATA)])
    if command == ACTAB:
        return max(s[_at(channel + command)], s[_at(half + command)])
    cycle = max(
        s[_at(channel + command)],
        s[_at(half + command)],
        s[_at(rank + command)],
        s[_at(group + command)],
        s[_at(device[_at(path + 4)] + command)],
    )
    if command == RD or command == WR:
        cycle = max(cycle, s[_at(half + DATA)], s[_at(rank + DATA)], s[_at(group + DATA)])
    return cycle


@_inlined
def _apply_rules(s, device, command, bank, highest, clock):
    """Note what a command makes others wait for, at levels from `highest` down to the bank."""
    path = device[PATHS] + bank * (LEVELS + 1)
    rule = RULES + RULE * device[_at(RULE_START + command)]
    end = RULES + RULE * device[_at(RULE_START + command + 1)]
    while rule < end:
        if device[_at(rule)] >= highest:
            past = clock
            if device[_at(rule + 3)] > 1:
                past = s[
                    _at(device[HISTORY] + device[_at(path + RANK)] * 4 + device[_at(rule + 3)] - 1)
                ]
            ready = device[_at(path + device[_at(rule)])] + device[_at(rule + 1)]
            s[_at(ready)] = max(s[_at(ready)], past + device[_at(rule + 2)])
        rule += RULE


@_inlined
def _issue(s, device, command, bank, row, clock):
    """Issue a command: what it makes others wait for, and which rows it opens and closes."""
    s[_at(ISSUED + command)] += 1
    if command >= SETM:
        return
    rank = device[_at(device[PATHS] + bank * (LEVELS + 1) + RANK)]
    if command == ACT:
        history = device[HISTORY] + rank * 4
        for i in range(3, 0, -1):
            s[_at(history + i)] = s[_at(history + i - 1)]
        s[_at(history)] = clock
    _apply_rules(s, device, command, bank, np.int64(0), clock)
    if command == MACSB or command == MACPB:
        first, stride = bank % device[BANKS], device[BANKS]
        if command == MACPB:
            # The reference tells the wrong banks of the broadcast: it takes the pseudo-channel's
            # number for the rank's and the rank's for the group's (PIMPerBankActions).
            stride = device[HALF_BANKS]
            half, in_half = rank // device[RANKS], rank % device[RANKS]
            if half < device[RANKS] and in_half < device[GROUPS]:
                first += (half * device[GROUPS] + in_half) * device[BANKS]
            else:
                first = device[CHANNEL_BANKS]
        for other in range(first, device[CHANNEL_BANKS], stride):
            if other != bank:
                _apply_rules(s, device, command, other, np.int64(LEVELS - 1), clock)
    if command <= PREPB or ACTAB <= command <= ACTPB:
        _change_rows(s, device, command, bank, row)


# --- the PIM queue: masks


@_inlined
def _set_bits(s, device, position):
    """Enter a position into the masks of what it waits for."""
    final, bank = s[_at(KIND + position)], s[_at(BANK_OF + position)]
    bit = np.int64(1) << position
    s[LIVE] |= bit
    if final == BARRIER:
        s[BARRIERS] |= bit
        return
    kind = final - MACAB + 1 if final <= MACPB else 0
    s[_at(device[MASKS] + kind * device[CHANNEL_BANKS] + bank)] |= bit
    s[_at(MAC_WORDS + kind * device[WORDS] + bank // WORD)] |= np.int64(1) << (bank % WORD)
    if final <= MACPB:
        s[_at(MACS_ALL + kind - 1)] |= bit
        _classify(s, device, position)
    elif final >= SFM:
        s[FREE] |= bit


@_called
def _pack(s, device):
    """Make room for younger entries: give the live ones lower positions, in the same order."""
    live = s[LIVE]
    lowest = lowest_bit(live)
    if lowest >= WINDOW // 4:
        for i in range(LIVE, TO_CLOSE + 1):
            s[_at(i)] >>= lowest
        for i in range(4 * device[WORDS]):
            first = device[MASKS] + i // device[WORDS] * device[CHANNEL_BANKS]
            first += i % device[WORDS] * WORD
            banks = s[_at(MAC_WORDS + i)]
            while banks:
                s[_at(first + lowest_bit(banks))] >>= lowest
                banks &= banks - 1
        for i in range(WINDOW - lowest):
            s[_at(KIND + i)] = s[_at(KIND + i + lowest)]
            s[_at(BANK_OF + i)] = s[_at(BANK_OF + i + lowest)]
            s[_at(ROW_OF + i)] = s[_at(ROW_OF + i + lowest)]
        s[AGE] = WINDOW - lowest
        return
    for i in range(LIVE, TO_CLOSE + 1):
        s[_at(i)] = 0
    for i in range(MAC_WORDS, device[LISTS]):
        s[_at(i)] = 0
    n = np.int64(0)
    while live:
        position = lowest_bit(live)
        live &= live - 1
        s[_at(KIND + n)] = s[_at(KIND + position)]
        s[_at(BANK_OF + n)] = s[_at(BANK_OF + position)]
        s[_at(ROW_OF + n)] = s[_at(ROW_OF + position)]
        _set_bits(s, device, n)
        n += 1
    s[AGE] = n


@_inlined
def _push(s, device, final, bank, row):
    if s[LIVE] == 0:
        s[AGE] = 0
    elif s[AGE] == WINDOW:
        _pack(s, device)
    position = s[AGE]
    s[AGE] = position + 1
    s[COUNT] += 1
    s[_at(KIND + position)] = final
    s[_at(BANK_OF + position)] = bank
    s[_at(ROW_OF + position)] = row
    _set_bits(s, device, position)
    return position


@_inlined
def _drop(s, device, position, clock):
    """Take an entry out of the PIM queue."""
    final, bank = s[_at(KIND + position)], s[_at(BANK_OF + position)]
    keep = ~(np.int64(1) << position)
    s[LIVE] &= keep
    s[COUNT] -= 1
    s[LAST_REMOVAL] = clock
    if final == BARRIER:
        s[BARRIERS] &= keep
        return
    kind = final - MACAB + 1 if final <= MACPB else 0
    mask = device[MASKS] + kind * device[CHANNEL_BANKS] + bank
    s[_at(mask)] &= keep
    if s[_at(mask)] == 0:
        s[_at(MAC_WORDS + kind * device[WORDS] + bank // WORD)] &= ~(np.int64(1) << (bank % WORD))
    if final <= MACPB:
        s[_at(MACS_ALL + kind - 1)] &= keep
        s[HITS] &= keep
    elif final >= SFM:
        s[FREE] &= keep


@_inlined
def _command_at(s, position):
    """Return the command that an entry of the PIM queue would issue."""
    final = s[_at(KIND + position)]
    if MACAB <= final <= MACPB:
        bit = np.int64(1) << position
        if s[TO_OPEN] & bit:
            return final - MACAB + ACTAB
        if s[TO_CLOSE] & bit:
            return final - MACAB + PREA
    return final


@_inlined
def _wanted(s, device, bank):
    """Tell whether a MAC in the queue can read the open row of this bank at once."""
    at, step = device[MASKS] + bank, device[CHANNEL_BANKS]
    return (s[_at(at + step)] | s[_at(at + 2 * step)] | s[_at(at + 3 * step)]) & s[HITS] != 0


@_inlined
def _scan(s, device, clock):
    """Return (position, next cycle at which one more turns ready) of the best PIM request.

    Position -1: none is ready. First come first served among what is ready; nothing but a
    precharge or activate passes a barrier; a younger request may not overtake an older one that
    is not ready if its bank's open row is wanted by another. The cycle is 0 where it was not
    worth finding out.
    """
    live = s[LIVE]
    if live & -live & s[BARRIERS]:
        _drop(s, device, lowest_bit(live), clock)
        s[CHANGED] = 1
        live = s[LIVE]
    event = NEVER
    if live == 0:
        return np.int64(-1), event
    first = lowest_bit(live)
    head = np.int64(1) << first
    if s[_at(KIND + first)] == BARRIER:
        return first, np.int64(0)
    command = _command_at(s, first)
    if clock >= _ready_cycle(s, device, command, s[_at(BANK_OF + first)]):
        return first, np.int64(0)
    barriers = s[BARRIERS]
    below = (barriers & -barriers) - 1 if barriers else np.int64(-1)
    found = np.int64(0)
    if live & ~(s[MACS_ALL] | s[MACS_SAME] | s[MACS_SINGLE] | barriers):
        for word in range(device[WORDS]):
            banks = s[_at(MAC_WORDS + word)]
            while banks:
                bank = word * WORD + lowest_bit(banks)
                banks &= banks - 1
                moves = s[_at(device[MASKS] + bank)] & below
                ready = moves & s[FREE]
                moves &= ~ready
                if moves:
                    cycle = _ready_cycle(s, device, np.int64(WRGB), bank)
                    if cycle <= clock:
                        ready |= moves
                    elif cycle < event:
                        event = cycle
                if ready and not _wanted(s, device, bank):
                    found |= ready
    for kind in range(3 if s[MACS_SAME] | s[MACS_SINGLE] else 1):
        if s[_at(MACS_ALL + kind)] == 0:
            continue
        for word in range(device[WORDS]):
            banks = s[_at(MAC_WORDS + (kind + 1) * device[WORDS] + word)]
            while banks:
                bank = word * WORD + lowest_bit(banks)
                banks &= banks - 1
                macs = s[_at(device[MASKS] + (kind + 1) * device[CHANNEL_BANKS] + bank)]
                for need in range(3):
                    part = macs & s[_at(HITS + need)]
                    if need == 0:
                        part &= below
                    if part:
                        cycle = _ready_cycle(s, device, BRINGS[need] + kind, bank)
                        if cycle > clock:
                            event = min(event, cycle)
                        elif need == 0 or not _wanted(s, device, bank):
                            found |= part
    found &= ~head  # the oldest is known not to be ready
    if found == 0:
        return np.int64(-1), event
    return lowest_bit(found), event


# --- reads, writes and half-served requests: lists in order of age


@_inlined
def _listed(s):
    """Tell whether any list holds a request."""
    return s[LISTED + READS] | s[LISTED + WRITES] | s[LISTED + ACTIVE] != 0


@_inlined
def _slot(s, device, queue, index):
    order = device[LISTS] + queue * LIST
    return order + CAPACITY + s[_at(order + index)] * FIELDS


@_inlined
def _append(s, device, queue):
    """Return the fields of a free slot, now the last of the list."""
    n = s[LISTED + queue]  # the order is a permutation of all slots, the free ones at its end
    s[LISTED + queue] = n + 1
    return _slot(s, device, queue, n)


@_inlined
def _remove(s, device, queue, index, clock):
    order = device[LISTS] + queue * LIST
    slot = s[order + index]
    n = s[LISTED + queue] - 1
    for i in range(order + index, order + n):
        s[i] = s[i + 1]
    s[order + n] = slot
    s[LISTED + queue] = n
    s[LAST_REMOVAL] = clock
    s[CHANGED] = 1


@_inlined
def _listed_command(s, device, slot):
    version = s[VERSION] + 1  # 0 in a slot says: never looked
    if s[slot + L_SEEN] != version:
        s[slot + L_NEXT] = _next_command(
            s, device, s[slot + L_FINAL], s[slot + L_BANK], s[slot + L_ROW]
        )
        s[slot + L_SEEN] = version
    return s[slot + L_NEXT]


@_inlined
def _is_access(command):
    return command == RD or command == WR or MACAB <= command <= MACPB


@_inlined
def _listed_wanted(s, device, queue, bank):
    for i in range(s[LISTED + queue]):
        slot = _slot(s, device, queue, i)
        if s[slot + L_BANK] == bank and _is_access(_listed_command(s, device, slot)):
            return True
    return False


@_called
def _best(s, device, queue, clock):
    """Return the index of a list's best request, -1 for none, and whether it is ready."""
    if s[LISTED + queue] == 0:
        return np.int64(-1), False
    best = np.int64(0)
    slot = _slot(s, device, queue, best)
    command = _listed_command(s, device, slot)
    ready = clock >= _ready_cycle(s, device, command, s[slot + L_BANK])
    for i in range(1, s[LISTED + queue]):
        slot = _slot(s, device, queue, i)
        command = _listed_command(s, device, slot)
        older = s[slot + L_ARRIVE] < s[_slot(s, device, queue, best) + L_ARRIVE]
        if clock < _ready_cycle(s, device, command, s[slot + L_BANK]):
            if not ready and older:
                best = i
        elif ready:
            if older:
                best = i
        elif _is_access(command) or not _listed_wanted(s, device, queue, s[slot + L_BANK]):
            best = i
            ready = True
    return best, ready


@_called
def _list_event(s, device, queue, clock, issued, event):
    """Return the earlier of `event` and the next cycle at which a request here turns ready."""
    for i in range(s[LISTED + queue]):
        slot = _slot(s, device, queue, i)
        command = _listed_command(s, device, slot)
        cycle = _ready_cycle(s, device, command, s[slot + L_BANK])
        if cycle > clock:
            event = min(event, cycle)
        elif issued:
            return clock + 1
    return event


# --- one cycle of a controller


@_inlined
def _pairs(first, second):
    """Tell whether the second command may go in the same cycle, on the other bus."""
    one, other = BUS[_at(first)], BUS[_at(second)]
    return one >= 0 and other >= 0 and one != other


@_inlined
def _set_write_mode(s):
    reads, writes = s[LISTED + READS], s[LISTED + WRITES]
    if s[WRITE_MODE] == 0:
        if writes > HIGH_WRITES or reads == 0:
            s[WRITE_MODE] = 1
    elif writes < LOW_WRITES and reads != 0:
        s[WRITE_MODE] = 0


@_inlined
def _choose(s, device, clock, first):
    """Choose for one slot: (queue, index, command, next PIM event).

    Where none is chosen, the command is what the second slot compares with: the waiting
    refresh's, a precharge held back for an active request's sake, or NOTHING. The event is 0
    where the PIM queue was not looked through.
    """
    event = np.int64(0)
    if s[LISTED + ACTIVE]:
        index, ready = _best(s, device, ACTIVE, clock)
        if ready:
            slot = _slot(s, device, ACTIVE, index)
            command = s[slot + L_NEXT]
            if first == FREE_SLOT or _pairs(first, command):
                if command <= PREPB and command != ACT:
                    # it would close the row of a request that waits for it: its own
                    return np.int64(NO_QUEUE), np.int64(0), command, event
                return ACTIVE, np.int64(index), command, event
    if s[REFRESH_IN] != s[REFRESH_OUT]:
        command = np.int64(PREA if s[OPEN_BANKS] else REFAB)
        if first == FREE_SLOT or _pairs(first, command):
            if clock < s[device[NODES] + command]:
                return np.int64(NO_QUEUE), np.int64(0), command, event
            s[IN_PIM] = 0
            return np.int64(PRIORITY), np.int64(0), command, event
    s[IN_PIM] = 0
    queue, position, command, bank = np.int64(NO_QUEUE), np.int64(0), np.int64(NOTHING), np.int64(0)
    if s[LIVE]:
        position, event = _scan(s, device, clock)
        if position >= 0:
            command = _command_at(s, position)
            if first == FREE_SLOT or _pairs(first, command):
                queue, bank = np.int64(PIM), s[BANK_OF + position]
                s[IN_PIM] = 1
            else:
                event = np.int64(0)
    else:
        event = NEVER
    if queue == NO_QUEUE:
        _set_write_mode(s)
        turn = WRITES if s[WRITE_MODE] else READS
        if s[LISTED + turn]:
            index, ready = _best(s, device, turn, clock)
            if ready:
                slot = _slot(s, device, turn, index)
                command = s[slot + L_NEXT]
                if first == FREE_SLOT or _pairs(first, command):
                    queue, position, bank = turn, np.int64(index), s[slot + L_BANK]
    if queue == NO_QUEUE:
        return queue, np.int64(0), np.int64(NOTHING), event
    if s[LISTED + ACTIVE] and command <= PREPB and command != ACT:
        for i in range(s[LISTED + ACTIVE]):
            if s[_slot(s, device, ACTIVE, i) + L_BANK] == bank:
                return np.int64(NO_QUEUE), np.int64(0), command, np.int64(0)
    return queue, position, command, event


@_pasted
def _serve(s, device, queue, index, command, clock, log, channel):
    """Issue the chosen command and move its request on."""
    row = np.int64(-1)
    if queue == PRIORITY:
        half = s[REFRESH_OUT] % device[PSEUDO_CHANNELS]
        bank = half * device[HALF_BANKS]
    elif queue == PIM:
        bank, row = s[_at(BANK_OF + index)], s[_at(ROW_OF + index)]
    else:
        slot = _slot(s, device, queue, index)
        bank, row = s[_at(slot + L_BANK)], s[_at(slot + L_ROW)]
    if log[0, 0] < len(log):
        entry = log[log[0, 0]]
        entry[0], entry[1], entry[2], entry[3], entry[4] = clock, channel, command, bank, row
        log[0, 0] += 1
    if queue == PIM and command == s[_at(KIND + index)]:
        _drop(s, device, index, clock)
    _issue(s, device, command, bank, row, clock)
    if queue == PRIORITY:
        s[REFRESH_OUT] += command == REFAB
    elif queue != PIM:
        if command == s[_at(slot + L_FINAL)]:
            if command == RD:
                s[LAST_POP] = max(s[LAST_POP] + 1, clock + device[READ_LATENCY])
            _remove(s, device, queue, index, clock)
        elif not s[IN_PIM] and command == ACT:
            if s[LISTED + ACTIVE] < CAPACITY:  # a full list loses the request, as in the reference
                moved = _append(s, device, ACTIVE)
                for i in range(FIELDS):
                    s[_at(moved + i)] = s[_at(slot + i)]
            _remove(s, device, queue, index, clock)


@_pasted
def _tick(s, device, clock, log, channel):
    """Process one cycle of a class; return the next cycle at which something can happen."""
    if clock == s[NEXT_REFRESH]:
        s[NEXT_REFRESH] += device[N_REFI]
        s[REFRESH_IN] += device[PSEUDO_CHANNELS]
    if clock > s[LAST_TICK] + 1:
        s[IN_PIM] = 0  # a cycle without a command ends so
    s[LAST_TICK] = clock
    s[CHANGED] = 0
    first = np.int64(FREE_SLOT)
    issued = False
    event = np.int64(0)
    for _ in range(2):  # one command, and then perhaps one of the other bus
        queue, index, command, event = _choose(s, device, clock, first)
        if queue != NO_QUEUE:
            _serve(s, device, queue, index, command, clock, log, channel)
            if first != FREE_SLOT:
                return clock + 1
            issued = True
        if command == NOTHING:
            break
        first = command
    if s[CHANGED] or event == 0:
        return clock + 1
    event = min(event, s[NEXT_REFRESH])
    if s[REFRESH_IN] != s[REFRESH_OUT]:
        command = PREA if s[OPEN_BANKS] else REFAB
        event = min(event, max(s[device[NODES] + command], clock + 1))
    if _listed(s):
        for queue in range(3):
            event = _list_event(s, device, queue, clock, issued, event)
    return event


@_inlined
def _busy(s):
    return s[LIVE] != 0 or _listed(s) or s[REFRESH_IN] != s[REFRESH_OUT]


# --- the front end and the loop over time

CLOCK, CLASSES, HELD, WIDER_ROWS, ERROR = range(5)
"""Global scalars; HELD: size of the group of requests that waits for a full queue."""
OK, STUCK, REFRESHES_LOST = range(3)
CLASS_OF, FIRST_OF, SIZE_OF, EVENT = range(4)
"""Rows of `classes`: class of each channel; first channel, size and next event of each class."""


@_called
def _split(state, classes, scalars, target, keep):
    """Split a class: its first `keep` members stay, the rest become a new class."""
    new = scalars[CLASSES]
    scalars[CLASSES] += 1
    for i in range(state.shape[1]):  # loops compile faster than slices, which carry messages
        state[new, i] = state[target, i]
    classes[EVENT, new] = classes[EVENT, target]
    seen = np.int64(0)
    for channel in range(classes.shape[1]):
        if classes[CLASS_OF, channel] == target:
            if seen == keep:
                classes[FIRST_OF, new] = channel
            if seen >= keep:
                classes[CLASS_OF, channel] = new
            seen += 1
    classes[SIZE_OF, new] = seen - keep
    classes[SIZE_OF, target] = keep


@_called
def _group(state, device, classes, scalars, kinds, addresses, position, last, fold):
    """Return (channels, requests each) that go to one class from `position`; (0, 0): need input.

    The front end goes round the channels with one request for each, or with a few for each; these
    only where all of them find room at once, because channels that wait for room part ways.
    """
    shift = device[SHIFT_CHANNEL]
    address = addresses[position]
    channel = address >> shift
    target = classes[CLASS_OF, channel]
    if classes[FIRST_OF, target] != channel:
        before = np.int64(0)
        for i in range(channel):
            if classes[CLASS_OF, i] == target:
                before += 1
        _split(state, classes, scalars, target, before)
        target = classes[CLASS_OF, channel]
    if not fold and classes[SIZE_OF, target] > 1:
        _split(state, classes, scalars, target, np.int64(1))
    size = classes[SIZE_OF, target]
    if size == 1:
        return np.int64(1), np.int64(1)
    room = min(CAPACITY - state[target, COUNT], MOST_EACH)
    each = np.int64(1)
    while each < room and kinds[position] > ST:
        at = position + each
        if at >= len(kinds):
            if not last:
                return np.int64(0), np.int64(0)
            break
        if addresses[at] >> shift != channel or kinds[at] <= ST:
            break
        each += 1
    same = np.int64(1)
    member = channel
    matches = True
    while same < size:
        member += 1
        while classes[CLASS_OF, member] != target:
            member += 1
        for i in range(position, position + each):
            at = i + same * each
            if at >= len(kinds):
                if not last:
                    return np.int64(0), np.int64(0)
                matches = False
                break
            if kinds[at] != kinds[i] or addresses[at] - addresses[i] != (member - channel) << shift:
                matches = False
                break
        if not matches:
            break
        same += 1
    if same < size:
        _split(state, classes, scalars, target, same)
    return same, each


@_inlined
def _send(s, device, kind, address, clock, event):
    """Hand a request to a controller; return its class's next event, -1 when its queue is full."""
    final = FINAL[_at(kind)]
    if final > WR and s[COUNT] >= CAPACITY:
        return np.int64(-1)
    address &= (np.int64(1) << device[SHIFT_CHANNEL]) - 1  # the channels of a class share the rest
    shift = device[SHIFT_BANK]
    row = (address >> device[SHIFT_ROW]) & ((np.int64(1) << (shift - device[SHIFT_ROW])) - 1)
    # the fields have whole bits: of three ranks only two have an address
    half = (address >> device[SHIFT_HALF]) & (device[PSEUDO_CHANNELS] - 1)
    bank = (address >> shift) & ((np.int64(1) << (device[SHIFT_HALF] - shift)) - 1)
    bank += half * device[HALF_BANKS]
    if final > WR:
        position = _push(s, device, final, bank, row)
        s[LAST_REMOVAL] = clock
        if s[COUNT] == 1:
            return clock + 1
        if event > clock + 1 and final != BARRIER:
            cycle = _ready_cycle(s, device, _command_at(s, position), bank)
            return min(event, max(clock + 1, cycle))
        return event
    if final == RD:
        for i in range(s[LISTED + WRITES]):
            # the data is still here: it leaves one cycle later without touching the banks
            if s[_at(_slot(s, device, WRITES, i) + L_ADDRESS)] == address:
                s[LAST_POP] = max(s[LAST_POP] + 1, clock + 1)
                return event
    queue = READS if final == RD else WRITES
    if s[_at(LISTED + queue)] >= CAPACITY:
        return np.int64(-1)
    slot = _append(s, device, queue)
    s[LAST_REMOVAL] = clock
    s[_at(slot + L_FINAL)] = final
    s[_at(slot + L_BANK)] = bank
    s[_at(slot + L_ROW)] = row
    s[_at(slot + L_ADDRESS)] = address
    s[_at(slot + L_ARRIVE)] = clock
    s[_at(slot + L_SEEN)] = 0
    return clock + 1  # the write mode may turn


@_pasted
def _advance(s, device, event, until, scalars, log, channel):
    """Process the cycles of a class up to `until`, its next event; return the event after that."""
    while event <= until and scalars[ERROR] == OK and scalars[WIDER_ROWS] == 0:
        clock = event
        event = _tick(s, device, clock, log, channel)
        if s[REFRESH_IN] - s[REFRESH_OUT] > PRIORITY_CAPACITY:
            scalars[ERROR] = REFRESHES_LOST
        if clock - s[LAST_REMOVAL] > STUCK_CYCLES and _busy(s):
            scalars[ERROR] = STUCK
        if s[MOST_ROWS] + 2 > device[ROW_ROOM]:  # a cycle opens at most two more
            scalars[WIDER_ROWS] = 1
    return event


@kernel(**_OPTIONS)
def run(state, device, classes, scalars, kinds, addresses, last, fold, log):
    """Feed requests and advance time; return how many requests were taken.

    Channels meet at the front end only. So each class lags behind until a request is for it, and
    then goes through all its cycles up to the present, or on to the one that makes room.

    Returns when the input is used up (`last` False: feed more, the rest first), or, with
    `last`, when every queue is empty: `scalars[CLOCK]` is then the answer. A return with
    scalars[WIDER_ROWS] set asks for more room for rows.
    """
    position = np.int64(0)
    clock = scalars[CLOCK]
    n = len(kinds)
    while position < n or last:
        draining = position >= n
        first, end = np.int64(0), scalars[CLASSES]
        if not draining:
            first = classes[CLASS_OF, _at(addresses[_at(position)] >> device[SHIFT_CHANNEL])]
            end = first + 1
        event = NEVER
        for k in range(first, end):
            at = _at(k)
            due = _advance(
                state[at], device, classes[EVENT, at], clock, scalars, log, classes[FIRST_OF, at]
            )
            classes[EVENT, at] = due
            event = min(event, due)
        if scalars[ERROR] or scalars[WIDER_ROWS]:
            break
        if draining:
            busy = False
            for k in range(scalars[CLASSES]):
                busy = busy or _busy(state[k])
                if state[k, LAST_POP] > clock:
                    busy = True
                    event = min(event, state[k, LAST_POP])
            if not busy and clock > 0:
                break
            clock = event
            continue
        size, each = scalars[HELD], np.int64(1)
        if size == 0:
            size = classes[SIZE_OF, _at(first)]
            if size > 1:
                size, each = _group(
                    state, device, classes, scalars, kinds, addresses, position, last, fold
                )
                if size == 0:
                    break
                first = classes[CLASS_OF, _at(addresses[_at(position)] >> device[SHIFT_CHANNEL])]
        event = np.int64(0)
        at = _at(first)
        for i in range(position, position + each):
            event = _send(
                state[at], device, kinds[_at(i)], addresses[_at(i)], clock, classes[EVENT, at]
            )
            if event >= 0:
                classes[EVENT, at] = event
        if event < 0:
            scalars[HELD] = size
            clock = classes[EVENT, at]
        else:
            scalars[HELD] = 0
            position += size * each
    scalars[CLOCK] = clock
    return position
