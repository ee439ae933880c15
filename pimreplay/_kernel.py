"""The scheduler: what each channel's controller issues, and when, over integer arrays.

Event-driven: between two cycles at which something can happen, time is skipped. Channels that
have seen the same requests in the same order are in the same state and are simulated once (a
*class* of channels); a class splits at the first request that treats its members differently.

One row of `state` holds everything of a class; the offsets below say what lies where. The
numbers of commands are those of `pimreplay.commands` (a test keeps them equal). The decisions,
with their sources, are described in docs/timing_model.md.
"""

import numpy as np
from numba import njit

ACT, PRE, PREA, PRESB, PREPB, RD, WR, REFAB = range(8)
ACTAB, ACTSB, ACTPB, MACAB, MACSB, MACPB = range(8, 14)
WRGB, MVSB, MVGB, SFM, SETM, SETH, BARRIER = range(14, 21)
DATA = 21
COMMANDS = 21
RESOURCES = 22
FINAL = np.array(
    [RD, WR, MACAB, MACSB, MACPB, WRGB, MVSB, MVGB, SFM, SETM, SETH, BARRIER], dtype=np.int64
)
ROW_BUS, COLUMN_BUS, NO_BUS = 0, 1, -1
# PRESB and PREPB are on neither bus: the controller pairs no command with them.
BUS = np.array(
    [0, 0, 0, -1, -1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1], dtype=np.int64
)

LEVELS = 5
NEVER = np.int64(1) << 60
CAPACITY = 33
"""Entries of a queue: the reference's list accepts one more than its 32."""
PRIORITY_CAPACITY = 512 * 3 + 33
STUCK_CYCLES = 1_000_000
"""Without refresh, a controller that finishes nothing for so long never will."""

# scalars of a class
(
    VERSION,  # counts changes of open rows
    MEMO_ROW,  # last all-bank look-up: its row, version and command
    MEMO_VERSION,
    MEMO_COMMAND,
    REFRESH_IN,  # refresh requests that arrived, and that were served
    REFRESH_OUT,
    NEXT_REFRESH,
    WRITE_MODE,
    IN_PIM,  # the last choice fell on the PIM queue: its requests do not move when they open rows
    LAST_POP,  # cycle at which the last read data left
    NEXT_EVENT,
    LAST_REMOVAL,
    OPEN_BANKS,
    CHANGED,  # a queue of reads or writes changed, or a barrier went
    MOST_ROWS,  # the most rows that one bank has had open
    LAST_TICK,
) = range(16)
ISSUED = 16  # commands issued, by number
SCALARS = 48

# queues: count, order of slots, then the fields of each slot
FINAL_COMMAND, ROW, HALF, RANK, GROUP, BANK, ADDRESS, ARRIVE, NEXT, SEEN = range(10)
FIELDS = 10
SLOTS = CAPACITY + 1
QUEUE = 1 + SLOTS + SLOTS * FIELDS
PIM, READS, WRITES, ACTIVE = (SCALARS + i * QUEUE for i in range(4))
PRIORITY = -2  # stands for the refresh queue where a queue is named
NODES = SCALARS + 4 * QUEUE  # then: ready cycle of each (node, command), activate history, rows

# shape of a channel, passed as one array
(
    PSEUDO_CHANNELS,
    RANKS,
    GROUPS,
    BANKS,
    CHANNEL_BANKS,
    HISTORY,  # offset of the last four activates of each rank
    OPEN,  # offset of the number of open rows of each bank
    SIZE,
    N_REFI,  # 0: no refresh
    READ_LATENCY,
) = range(10)


def shape_of(pseudo_channels, ranks, groups, banks, n_refi, read_latency):
    """Return the shape array of a channel, with the offsets that depend on it."""
    shape = np.zeros(10, dtype=np.int64)
    all_ranks = pseudo_channels * ranks
    channel_banks = all_ranks * groups * banks
    nodes = 1 + pseudo_channels + all_ranks + all_ranks * groups + channel_banks
    shape[:5] = pseudo_channels, ranks, groups, banks, channel_banks
    shape[HISTORY] = NODES + nodes * RESOURCES
    shape[OPEN] = shape[HISTORY] + all_ranks * 4
    shape[SIZE] = shape[OPEN] + channel_banks
    shape[N_REFI] = n_refi
    shape[READ_LATENCY] = read_latency
    return shape


def new_state(shape, channels):
    """Return the state of all channels in one class, before the first cycle."""
    state = np.zeros((channels, shape[SIZE]), dtype=np.int64)
    state[:, MEMO_ROW] = -1
    state[:, NEXT_REFRESH] = shape[N_REFI] if shape[N_REFI] else NEVER
    state[:, NEXT_EVENT] = 1
    state[:, shape[HISTORY] : shape[OPEN]] = -NEVER
    for queue in (PIM, READS, WRITES, ACTIVE):
        state[:, queue + 1 : queue + 1 + SLOTS] = np.arange(SLOTS)
    return state


# --- open rows: a bank may hold several, because an all-bank activate opens its row beside others


@njit(cache=True)
def _has_row(s, rows, shape, bank, row):
    for i in range(s[shape[OPEN] + bank]):
        if rows[bank, i] == row:
            return True
    return False


@njit(cache=True)
def _open_row(s, rows, shape, bank, row):
    n = s[shape[OPEN] + bank]
    for i in range(n):
        if rows[bank, i] == row:
            return
    if n == 0:
        s[OPEN_BANKS] += 1
    rows[bank, n] = row
    s[shape[OPEN] + bank] = n + 1
    s[MOST_ROWS] = max(s[MOST_ROWS], n + 1)


@njit(cache=True)
def _close_bank(s, shape, bank):
    if s[shape[OPEN] + bank]:
        s[OPEN_BANKS] -= 1
        s[shape[OPEN] + bank] = 0


@njit(cache=True)
def _first_bank(shape, final, bank):
    if final == MACAB:
        return 0
    if final == MACSB:
        return bank % shape[BANKS]
    if final == MACPB:
        return bank % (shape[CHANNEL_BANKS] // shape[PSEUDO_CHANNELS])
    return bank


@njit(cache=True)
def _bank_stride(shape, final):
    """Distance between the banks that a command works on; the channel's banks: only one."""
    if final == MACAB:
        return 1
    if final == MACSB:
        return shape[BANKS]
    if final == MACPB:
        return shape[CHANNEL_BANKS] // shape[PSEUDO_CHANNELS]
    return shape[CHANNEL_BANKS]


@njit(cache=True)
def _next_command(s, rows, shape, slot):
    """Return what brings the request in a slot forward: its command, or what opens its row."""
    version = s[VERSION] + 1  # 0 in a slot says: never looked
    if s[slot + SEEN] == version:
        return s[slot + NEXT]
    final = s[slot + FINAL_COMMAND]
    row = s[slot + ROW]
    command = final
    if final == MACAB and s[MEMO_ROW] == row and s[MEMO_VERSION] == version:
        command = s[MEMO_COMMAND]
    elif final == RD or final == WR or (MACAB <= final <= MACPB):
        # the first bank that is not ready decides
        for bank in range(
            _first_bank(shape, final, s[slot + BANK]),
            shape[CHANNEL_BANKS],
            _bank_stride(shape, final),
        ):
            if s[shape[OPEN] + bank] == 0:
                if final == MACAB:
                    command = ACTAB
                elif final == MACSB:
                    command = ACTSB
                elif final == MACPB:
                    command = ACTPB
                else:
                    command = ACT
                break
            if not _has_row(s, rows, shape, bank, row):
                if final == MACAB:
                    command = PREA
                elif final == MACSB:
                    command = PRESB
                elif final == MACPB:
                    command = PREPB
                else:
                    command = PRE
                break
        if final == MACAB:
            s[MEMO_ROW] = row
            s[MEMO_VERSION] = version
            s[MEMO_COMMAND] = command
    s[slot + NEXT] = command
    s[slot + SEEN] = version
    return command


# --- timing


@njit(cache=True)
def _node(shape, level, half, rank, group, bank):
    """Return where the ready cycles of the node begin that lies on the way to a bank."""
    at = 0
    if level > 0:
        at = 1 + half
    if level > 1:
        at = 1 + shape[PSEUDO_CHANNELS] + rank
    ranks = shape[PSEUDO_CHANNELS] * shape[RANKS]
    if level > 2:
        at = 1 + shape[PSEUDO_CHANNELS] + ranks + group
    if level > 3:
        at = 1 + shape[PSEUDO_CHANNELS] + ranks + ranks * shape[GROUPS] + bank
    return NODES + at * RESOURCES


@njit(cache=True)
def _ready_cycle(s, shape, command, slot):
    """Return the first cycle at which no rule forbids the command.

    All-bank precharge and refresh look at the channel only, softmax at nothing: so the
    reference has it.
    """
    if command == MACAB or command == PREA or command == REFAB:
        return s[NODES + command]
    if command >= SFM:
        return np.int64(0)
    half, rank, group, bank = s[slot + HALF], s[slot + RANK], s[slot + GROUP], s[slot + BANK]
    half_at = _node(shape, 1, half, rank, group, bank)
    if command == ACTAB:
        return max(s[NODES + command], s[half_at + command])
    rank_at = _node(shape, 2, half, rank, group, bank)
    group_at = _node(shape, 3, half, rank, group, bank)
    if command >= WRGB:
        return max(s[half_at + DATA], s[rank_at + DATA], s[group_at + DATA])
    bank_at = _node(shape, 4, half, rank, group, bank)
    cycle = max(
        s[NODES + command],
        s[half_at + command],
        s[rank_at + command],
        s[group_at + command],
        s[bank_at + command],
    )
    if command == RD or command == WR:
        cycle = max(cycle, s[half_at + DATA], s[rank_at + DATA], s[group_at + DATA])
    return cycle


@njit(cache=True)
def _apply_rules(s, shape, start, table, level, command, node, clock, rank):
    for i in range(start[level * COMMANDS + command], start[level * COMMANDS + command + 1]):
        past = clock
        if table[i, 2] > 1:
            past = s[shape[HISTORY] + rank * 4 + table[i, 2] - 1]
        later = past + table[i, 1]
        if later > s[node + table[i, 0]]:
            s[node + table[i, 0]] = later


@njit(cache=True)
def _issue(s, rows, shape, start, table, command, slot, clock):
    """Issue a command: what it makes others wait for, and which rows it opens and closes."""
    s[ISSUED + command] += 1
    if command == BARRIER:
        return
    half, rank, group, bank = s[slot + HALF], s[slot + RANK], s[slot + GROUP], s[slot + BANK]
    if command == ACT:
        history = shape[HISTORY] + rank * 4
        for i in range(3, 0, -1):
            s[history + i] = s[history + i - 1]
        s[history] = clock
    # a refresh has no bank: it stops at its pseudo-channel
    for level in range(2 if bank < 0 else LEVELS):
        node = _node(shape, level, half, rank, group, bank)
        _apply_rules(s, shape, start, table, level, command, node, clock, rank)
    if command == MACSB or command == MACPB:
        first = bank % shape[BANKS]
        stride = shape[BANKS]
        if command == MACPB:
            # The reference tells the wrong banks of the broadcast: it takes the pseudo-channel's
            # number for the rank's and the rank's for the group's (PIMPerBankActions).
            stride = shape[CHANNEL_BANKS] // shape[PSEUDO_CHANNELS]
            in_half = rank % shape[RANKS]
            if half < shape[RANKS] and in_half < shape[GROUPS]:
                first += (half * shape[GROUPS] + in_half) * shape[BANKS]
            else:
                first = shape[CHANNEL_BANKS]
        for other in range(first, shape[CHANNEL_BANKS], stride):
            if other != bank:
                node = _node(shape, 4, 0, 0, 0, other)
                _apply_rules(s, shape, start, table, 4, command, node, clock, rank)
    row = s[slot + ROW]
    if command == ACT:
        _open_row(s, rows, shape, bank, row)
    elif command == PRE:
        _close_bank(s, shape, bank)
    elif command == PREA:
        for i in range(shape[CHANNEL_BANKS]):
            s[shape[OPEN] + i] = 0
        s[OPEN_BANKS] = 0
    elif command == PRESB or command == PREPB:  # both close one bank of each pseudo-channel
        for i in range(
            _first_bank(shape, MACPB, bank), shape[CHANNEL_BANKS], _bank_stride(shape, MACPB)
        ):
            _close_bank(s, shape, i)
    elif command == ACTAB or command == ACTSB or command == ACTPB:
        final = command - ACTAB + MACAB
        for i in range(
            _first_bank(shape, final, bank), shape[CHANNEL_BANKS], _bank_stride(shape, final)
        ):
            _open_row(s, rows, shape, i, row)
    else:
        return
    s[VERSION] += 1


# --- queues


@njit(cache=True)
def _slot(s, queue, position):
    return queue + 1 + SLOTS + s[queue + 1 + position] * FIELDS


@njit(cache=True)
def _append(s, queue):
    """Return the fields of a free slot, now the last of the queue."""
    n = s[queue]
    # the order array is a permutation of all slots: the free ones follow the used ones
    s[queue] = n + 1
    return _slot(s, queue, n)


@njit(cache=True)
def _remove(s, queue, position, clock):
    index = s[queue + 1 + position]
    n = s[queue] - 1
    for i in range(position, n):
        s[queue + 1 + i] = s[queue + 2 + i]
    s[queue + 1 + n] = index
    s[queue] = n
    s[LAST_REMOVAL] = clock
    if queue != PIM:
        s[CHANGED] = 1


@njit(cache=True)
def _is_access(command):
    return command == RD or command == WR or MACAB <= command <= MACPB


@njit(cache=True)
def _moves_rows(command):
    return command <= PREPB or ACTAB <= command <= ACTPB


@njit(cache=True)
def _protected(s, rows, shape, queue, bank):
    """Tell whether a request in the queue can read the open row of this bank at once."""
    for i in range(s[queue]):
        slot = _slot(s, queue, i)
        if s[slot + BANK] == bank and _is_access(_next_command(s, rows, shape, slot)):
            return True
    return False


@njit(cache=True)
def _best(s, rows, shape, queue, clock):
    """Return the position of the best request, -1 for none, and whether it is ready.

    First come first served among what is ready; a younger request may not overtake an older
    one that is not ready if it would disturb a bank whose open row another request wants.
    """
    if s[queue] == 0:
        return -1, False
    if s[_slot(s, queue, 0) + FINAL_COMMAND] == BARRIER:
        _remove(s, queue, 0, clock)
        s[CHANGED] = 1
        if s[queue] == 0:
            return -1, False
    best = 0
    slot = _slot(s, queue, 0)
    ready = clock >= _ready_cycle(s, shape, _next_command(s, rows, shape, slot), slot)
    if ready and queue != ACTIVE:
        return best, True
    held = False
    for i in range(1, s[queue]):
        slot = _slot(s, queue, i)
        if s[slot + FINAL_COMMAND] == BARRIER:
            held = True
        command = _next_command(s, rows, shape, slot)
        if held and not _moves_rows(command):
            continue
        if clock < _ready_cycle(s, shape, command, slot):
            if not ready and s[slot + ARRIVE] < s[_slot(s, queue, best) + ARRIVE]:
                best = i
            continue
        if ready:
            if s[slot + ARRIVE] < s[_slot(s, queue, best) + ARRIVE]:
                best = i
            continue
        if not _is_access(command) and _protected(s, rows, shape, queue, s[slot + BANK]):
            continue
        best = i
        ready = True
        if queue != ACTIVE:  # arrivals rise along every other queue
            return best, True
    return best, ready


@njit(cache=True)
def _pairs(first, second):
    """Tell whether the second command may go in the same cycle, on the other bus."""
    return first >= 0 and BUS[first] >= 0 and BUS[second] >= 0 and BUS[first] != BUS[second]


@njit(cache=True)
def _set_write_mode(s):
    if s[WRITE_MODE] == 0:
        if s[WRITES] > 0.8 * (CAPACITY - 1) or s[READS] == 0:
            s[WRITE_MODE] = 1
    elif s[WRITES] < 0.2 * (CAPACITY - 1) and s[READS] != 0:
        s[WRITE_MODE] = 0


FREE, NOTHING = -2, -1
"""First command of the second slot's comparison: first slot (no comparison); none."""


@njit(cache=True)
def _choose(s, rows, shape, clock, first):
    """Choose for one slot: (queue, position, command); queue -1 for none.

    Where none is chosen, the command is what the second slot compares with: the waiting
    refresh's, a precharge held back for an active request's sake, or NOTHING.
    """
    queue, position, command = np.int64(-1), np.int64(0), np.int64(NOTHING)
    if s[ACTIVE]:
        at, ready = _best(s, rows, shape, ACTIVE, clock)
        if ready:
            command = s[_slot(s, ACTIVE, at) + NEXT]
            if first == FREE or _pairs(first, command):
                queue, position = np.int64(ACTIVE), np.int64(at)
    if queue == -1:
        if s[REFRESH_IN] != s[REFRESH_OUT]:
            command = np.int64(PREA if s[OPEN_BANKS] else REFAB)
            if first == FREE or _pairs(first, command):
                if clock < s[NODES + command]:
                    return np.int64(-1), np.int64(0), command
                queue = np.int64(PRIORITY)
        s[IN_PIM] = 0
        if queue == -1:
            at, ready = _best(s, rows, shape, PIM, clock)
            if ready:
                command = s[_slot(s, PIM, at) + NEXT]
                if first == FREE or _pairs(first, command):
                    queue, position = np.int64(PIM), np.int64(at)
                    s[IN_PIM] = 1
        if queue == -1:
            _set_write_mode(s)
            turn = WRITES if s[WRITE_MODE] else READS
            at, ready = _best(s, rows, shape, turn, clock)
            if ready:
                command = s[_slot(s, turn, at) + NEXT]
                if first == FREE or _pairs(first, command):
                    queue, position = np.int64(turn), np.int64(at)
    if queue == -1:
        return queue, position, np.int64(NOTHING)
    if command <= PREPB and command != ACT and s[ACTIVE] and queue != PRIORITY:
        bank = s[_slot(s, queue, position) + BANK]
        for i in range(s[ACTIVE]):
            if s[_slot(s, ACTIVE, i) + BANK] == bank:
                return np.int64(-1), np.int64(0), command
    return queue, position, command


@njit(cache=True)
def _serve(s, rows, shape, start, table, queue, position, command, clock, log, log_size, channel):
    """Issue the chosen command and move its request on."""
    if queue == PRIORITY:
        # a slot beyond the active queue's last, only for the refresh
        slot = ACTIVE + 1 + SLOTS + CAPACITY * FIELDS
        for i in range(FIELDS):
            s[slot + i] = -1
        s[slot + HALF] = s[REFRESH_OUT] % shape[PSEUDO_CHANNELS]
    else:
        slot = _slot(s, queue, position)
    if log_size[0] < len(log):
        entry = log[log_size[0]]
        entry[0], entry[1], entry[2] = clock, channel, command
        entry[3], entry[4], entry[5] = s[slot + HALF], s[slot + BANK], s[slot + ROW]
        log_size[0] += 1
    _issue(s, rows, shape, start, table, command, slot, clock)
    if queue == PRIORITY:
        if command == REFAB:
            s[REFRESH_OUT] += 1
            s[LAST_REMOVAL] = clock
        return
    if command == s[slot + FINAL_COMMAND]:
        if command == RD:
            s[LAST_POP] = max(s[LAST_POP] + 1, clock + shape[READ_LATENCY])
        _remove(s, queue, position, clock)
    elif not s[IN_PIM] and (command == ACT or ACTAB <= command <= ACTPB):
        if s[ACTIVE] < CAPACITY:  # a full queue loses the request, as in the reference
            moved = _append(s, ACTIVE)
            for i in range(FIELDS):
                s[moved + i] = s[slot + i]
        _remove(s, queue, position, clock)


@njit(cache=True)
def _queue_event(s, rows, shape, queue, clock, changed, event):
    """Return the earlier of `event` and the next cycle at which a request here turns ready."""
    held = False
    for i in range(s[queue]):
        slot = _slot(s, queue, i)
        if s[slot + FINAL_COMMAND] == BARRIER:
            held = True
        command = _next_command(s, rows, shape, slot)
        if held and not _moves_rows(command):
            continue
        cycle = _ready_cycle(s, shape, command, slot)
        if cycle > clock:
            if cycle < event:
                event = cycle
        elif changed:
            return clock + 1
    return event


@njit(cache=True)
def _tick(s, rows, shape, start, table, clock, log, log_size, channel):
    """Process one cycle of a class and set its next event."""
    if clock == s[NEXT_REFRESH]:
        s[NEXT_REFRESH] += shape[N_REFI]
        s[REFRESH_IN] += shape[PSEUDO_CHANNELS]
    if clock > s[LAST_TICK] + 1:
        s[IN_PIM] = 0  # a cycle without a command ends so
    s[LAST_TICK] = clock
    s[CHANGED] = 0
    queue, position, first = _choose(s, rows, shape, clock, np.int64(FREE))
    issued = queue != -1
    if issued:
        _serve(
            *(s, rows, shape, start, table, queue, position, first, clock, log, log_size, channel)
        )
    again = False
    if first != NOTHING:
        queue, position, command = _choose(s, rows, shape, clock, first)
        if queue != -1:
            again = True
            _serve(
                *(s, rows, shape, start, table, queue, position, command, clock),
                *(log, log_size, channel),
            )
    if again or s[CHANGED]:
        s[NEXT_EVENT] = clock + 1
        return
    event = s[NEXT_REFRESH]
    if s[REFRESH_IN] != s[REFRESH_OUT]:
        cycle = s[NODES + (PREA if s[OPEN_BANKS] else REFAB)]
        event = min(event, max(cycle, clock + 1))
    for queue in (PIM, ACTIVE, READS, WRITES):
        if s[queue] and event > clock + 1:
            event = _queue_event(s, rows, shape, queue, clock, issued, event)
    s[NEXT_EVENT] = event


@njit(cache=True)
def _busy(s):
    return (
        s[PIM]
        or s[ACTIVE]
        or s[READS]
        or s[WRITES]
        or s[REFRESH_IN] != s[REFRESH_OUT]
    )


# --- the front end and the loop over time

(CLOCK, CLASSES, HELD, WIDER_ROWS, ERROR) = range(5)
"""Global scalars: cycle, number of classes, requests of the group that a full queue holds."""
OK, STUCK, REFRESHES_LOST = range(3)
SHIFT_CHANNEL, SHIFT_HALF, SHIFT_RANK, SHIFT_GROUP, SHIFT_BANK, SHIFT_ROW = range(6)


@njit(cache=True)
def _split(state, rows, class_of, first_of, size_of, scalars, target, keep):
    """Split a class: its first `keep` members stay, the rest become a new class."""
    new = scalars[CLASSES]
    scalars[CLASSES] += 1
    state[new] = state[target]
    rows[new] = rows[target]
    seen = 0
    first_of[new] = -1
    for channel in range(len(class_of)):
        if class_of[channel] == target:
            if seen >= keep:
                class_of[channel] = new
                if first_of[new] < 0:
                    first_of[new] = channel
            seen += 1
    size_of[new] = seen - keep
    size_of[target] = keep


@njit(cache=True)
def _group(
    state, rows, class_of, first_of, size_of, scalars, shifts, kinds, addresses, position, last, fold
):
    """Return how many requests from `position` go to one class, one each; 0: need more input."""
    channel_shift = shifts[SHIFT_CHANNEL]
    address = addresses[position]
    channel = address >> channel_shift
    target = class_of[channel]
    if first_of[target] != channel:
        before = 0
        for i in range(channel):
            if class_of[i] == target:
                before += 1
        _split(state, rows, class_of, first_of, size_of, scalars, target, before)
        target = class_of[channel]
    if not fold and size_of[target] > 1:
        _split(state, rows, class_of, first_of, size_of, scalars, target, 1)
    size = size_of[target]
    if size == 1:
        return 1
    local = address & ((np.int64(1) << channel_shift) - 1)
    same = 1
    member = channel
    while same < size:
        member += 1
        while class_of[member] != target:
            member += 1
        at = position + same
        if at >= len(kinds):
            if not last:
                return 0
            break
        if kinds[at] != kinds[position] or addresses[at] != (member << channel_shift | local):
            break
        same += 1
    if same < size:
        _split(state, rows, class_of, first_of, size_of, scalars, target, same)
    return same


@njit(cache=True)
def _send(s, rows, shape, shifts, kind, address, clock):
    """Hand a request to a class's controller; False when its queue is full."""
    final = FINAL[kind]
    if final == RD:
        for i in range(s[WRITES]):
            # the data is still here: it leaves one cycle later without touching the banks
            if s[_slot(s, WRITES, i) + ADDRESS] == address:
                s[LAST_POP] = max(s[LAST_POP] + 1, clock + 1)
                return True
        queue = READS
    elif final == WR:
        queue = WRITES
    else:
        queue = PIM
    if s[queue] >= CAPACITY:
        return False
    slot = _append(s, queue)
    s[slot + FINAL_COMMAND] = final
    s[slot + ROW] = (address >> shifts[SHIFT_ROW]) & ((1 << (shifts[SHIFT_BANK] - shifts[SHIFT_ROW])) - 1)
    bank = (address >> shifts[SHIFT_BANK]) & ((1 << (shifts[SHIFT_GROUP] - shifts[SHIFT_BANK])) - 1)
    group = (address >> shifts[SHIFT_GROUP]) & (
        (1 << (shifts[SHIFT_RANK] - shifts[SHIFT_GROUP])) - 1
    )
    rank = (address >> shifts[SHIFT_RANK]) & ((1 << (shifts[SHIFT_HALF] - shifts[SHIFT_RANK])) - 1)
    half = (address >> shifts[SHIFT_HALF]) & (
        (1 << (shifts[SHIFT_CHANNEL] - shifts[SHIFT_HALF])) - 1
    )
    s[slot + HALF] = half
    s[slot + RANK] = half * shape[RANKS] + rank
    s[slot + GROUP] = s[slot + RANK] * shape[GROUPS] + group
    s[slot + BANK] = s[slot + GROUP] * shape[BANKS] + bank
    s[slot + ADDRESS] = address
    s[slot + ARRIVE] = clock
    s[slot + SEEN] = 0
    # reads and writes can turn the write mode, a barrier that arrives at the head goes at once
    if queue != PIM or s[queue] == 1:
        s[NEXT_EVENT] = clock + 1
    elif s[NEXT_EVENT] > clock + 1 and final != BARRIER:
        command = _next_command(s, rows, shape, slot)
        cycle = max(clock + 1, _ready_cycle(s, shape, command, slot))
        s[NEXT_EVENT] = min(s[NEXT_EVENT], cycle)
    return True


@njit(cache=True)
def run(
    state, rows, shape, start, table, shifts, class_of, first_of, size_of, scalars,
    kinds, addresses, last, fold, log, log_size,
):  # fmt: skip
    """Feed requests and advance time; return how many requests were taken.

    Returns when the input is used up (`last` False: feed more, the rest first), or, with
    `last`, when every queue is empty: `scalars[CLOCK]` is then the answer. A return with
    scalars[WIDER_ROWS] set asks for wider `rows`.
    """
    position = 0
    clock = scalars[CLOCK]
    width = rows.shape[2]
    while True:
        while position < len(kinds):
            size = scalars[HELD]
            if size == 0:
                size = _group(
                    *(state, rows, class_of, first_of, size_of, scalars, shifts),
                    *(kinds, addresses, position, last, fold),
                )
                if size == 0:
                    scalars[CLOCK] = clock
                    return position
            target = class_of[addresses[position] >> shifts[SHIFT_CHANNEL]]
            s = state[target]
            if not _send(s, rows[target], shape, shifts, kinds[position], addresses[position], clock):
                scalars[HELD] = size
                break
            scalars[HELD] = 0
            position += size
        if position >= len(kinds) and not last:
            scalars[CLOCK] = clock
            return position
        # the next cycle at which anything can happen
        classes = scalars[CLASSES]
        event = NEVER
        for k in range(classes):
            event = min(event, state[k, NEXT_EVENT])
        if position >= len(kinds):
            waiting = NEVER
            busy = False
            for k in range(classes):
                busy = busy or _busy(state[k])
                if state[k, LAST_POP] > clock:
                    waiting = min(waiting, state[k, LAST_POP])
            if not busy and waiting == NEVER and clock > 0:
                scalars[CLOCK] = clock
                return position
            event = min(event, waiting)
        clock = event
        for k in range(classes):
            s = state[k]
            if s[NEXT_EVENT] != clock:
                continue
            _tick(s, rows[k], shape, start, table, clock, log, log_size, first_of[k])
            if s[REFRESH_IN] - s[REFRESH_OUT] > PRIORITY_CAPACITY:
                scalars[ERROR] = REFRESHES_LOST
            if shape[N_REFI] == 0 and clock - s[LAST_REMOVAL] > STUCK_CYCLES and _busy(s):
                scalars[ERROR] = STUCK
            if s[MOST_ROWS] + 2 > width:  # a cycle opens at most two more
                scalars[WIDER_ROWS] = 1
        if scalars[ERROR] or scalars[WIDER_ROWS]:
            scalars[CLOCK] = clock
            return position
