"""The analytic fidelity below bank level again: sets of cycles, MAC by MAC, one point."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pimreplay.bank_model.limits import QUEUE_ENTRIES
from pimreplay.cost.walks import parameters as w


def with_refreshes(
    found: list[int], interval: int, cost: int, key_macs: int, value_macs: int
) -> list[int]:
    """Return what a walk has found, delayed by one refresh after the other."""
    among = [0, 0]
    for due in itertools.count(interval, interval):
        if due <= found[w.KEY_END]:
            among[0] += 1
            delayed, delay = [w.KEY_END, w.VALUE_BEGIN, w.VALUE_END, w.END], cost
        elif due <= found[w.VALUE_BEGIN]:
            delayed = [w.VALUE_BEGIN, w.VALUE_END, w.END]
            delay = max(0, due + cost - found[w.VALUE_BEGIN])
        elif due <= found[w.VALUE_END]:
            among[1] += 1
            delayed, delay = [w.VALUE_END, w.END], cost
        else:
            break
        for one in delayed:
            found[one] += delay
    found[w.KEY_ROWS] += among[0] * found[w.KEY_OPEN] // (found[w.BLOCKS] * key_macs)
    found[w.VALUE_ROWS] += among[1] * found[w.VALUE_OPEN] // (found[w.BLOCKS] * value_macs)
    return found


@dataclass
class Walk:
    """A controller with its queue and buses. `p` are the parameters of the walk over all banks."""

    p: list[int]
    tails: np.ndarray
    queue: list[list[int]] = field(default_factory=list)  # last to leave, entries, pace
    row_bus: set[int] = field(default_factory=set)
    macs: set[int] = field(default_factory=set)
    free: int = 0
    opened: int = 0
    open_rows: int = 0

    def __post_init__(self) -> None:
        banks = range(self.p[w.VALUE_BANKS])
        interleaved = self.p[w.PLACES] > 0
        self.activated = [-self.p[w.RC] if interleaved else 0 for _ in banks]
        self.last = [0 for _ in banks]
        self.hold = [0 for _ in banks]
        self.row: list[int | None] = [None for _ in banks]
        self.chains = [(-w.NEVER, -w.NEVER) for _ in range(self.p[w.PLACES])]
        self.gaps: list[list[int]] = []
        self.bank = 0

    def enter(self, cycle: int, entries: int, pace: int) -> None:
        self.queue.append([cycle, entries, pace])
        self.queue.sort(key=lambda run: run[0])

    def seen(self) -> int:
        """The cycle at which the window has room for one more."""
        cycle = 0
        while sum(run[1] for run in self.queue) >= QUEUE_ENTRIES:
            leave, entries, pace = self.queue[0]
            cycle = max(cycle, leave - (entries - 1) * pace)
            self.queue[0][1] -= 1
            if entries == 1:
                self.queue.pop(0)
        return cycle + 1

    def precharge(self, cycle: int) -> int:
        while cycle in self.row_bus or cycle in self.macs:
            cycle += 1
        self.row_bus.add(cycle)
        return cycle

    def activate(self, cycle: int) -> int:
        while cycle in self.row_bus or cycle + 1 in self.row_bus:
            cycle += 1
        self.row_bus |= {cycle, cycle + 1}
        return cycle

    def closes(self, bank: int, seen: int) -> int:
        close = max(seen, self.activated[bank] + self.p[w.RAS], self.last[bank] + self.p[w.RTPL])
        if self.hold[bank] <= close:
            close = max(close, self.hold[bank] + self.p[w.RTPL])
        return close

    def open(self, bank: int, wanted: int, seen: int) -> None:
        cycle = seen
        if self.row[bank] is not None:
            close = self.closes(bank, seen)
            if self.p[w.PLACES]:
                close = self.precharge(close)
            cycle = max(close + self.p[w.RP], self.activated[bank] + self.p[w.RC])
        self.activated[bank] = self.activate(cycle) if self.p[w.PLACES] else cycle
        self.row[bank] = wanted
        self.opened += 1

    # --- parts of a step

    def step(self, chosen: list[int]) -> list[int]:
        """Return what a walk finds for a point."""
        p = self.p
        found = [0] * w.FIELDS
        found[w.BLOCKS] = n = len(chosen)
        if not n:
            return found
        same = p[w.SAME]
        interleaved = p[w.PLACES] > 0
        start = 2 + (p[w.WRITES] - 1) * same
        self.enter(start - 1, p[w.WRITES], same)
        self.enter(start, 1, 0)
        read = self.read_columns if interleaved else self.read_rows
        done = end = passed = 0
        for begin in range(0, n, w.BLOCKS_PER_MOVE):
            self.free = max(self.free, start)
            end = read(chosen[begin : begin + w.BLOCKS_PER_MOVE], True, 0, start)
            if begin:
                done = passed + 1 + (p[w.SCORE_MOVES] - 1) * p[w.SCORE_PACE]
                if not interleaved and self.bank == 0:
                    done = max(done, end + 1 + (p[w.QUERIES] - 1) * same)
            passed = max(end, done)
            start = passed + 1
            if begin + w.BLOCKS_PER_MOVE < n:
                self.enter(passed, 1, 0)
        found[w.KEY_END], found[w.KEY_ROWS] = end, self.opened
        found[w.KEY_OPEN] = self.open_rows

        over = max(0, done + p[w.SCORE_PACE] - end - 1)
        each = -(-n // p[w.WORDS])
        start, seen = (end + over + int(cycle) for cycle in self.tails[each])
        moves = min(QUEUE_ENTRIES, p[w.SCORE_MOVES] + p[w.QUERIES] + p[w.TARGETS] * each)
        self.enter(start - 1, moves, min(p[w.SCORE_PACE], (start - seen) // moves))
        found[w.VALUE_BEGIN] = start
        done, passed = 0, start - 1
        for part in range(p[w.SLICES]):
            first_row = p[w.VALUE_FIRST] + part * p[w.SLICE_ROWS]
            self.free = max(self.free, start)
            end = read(chosen, False, first_row, start)
            if part:
                done = passed + 1 + (p[w.CONTEXT_MOVES] - 1) * p[w.CONTEXT_PACE]
                if not interleaved and self.bank == 0 and self.activated[0] <= passed:
                    done = max(done, end + 1 + (p[w.QUERIES] - 1) * same)
            passed = max(end, done)
            start = passed + 1
            self.enter(passed, 1, 0)
        found[w.VALUE_END] = end
        found[w.VALUE_ROWS] = self.opened - found[w.KEY_ROWS]
        found[w.VALUE_OPEN] = self.open_rows - found[w.KEY_OPEN]
        pace = p[w.CONTEXT_PACE]
        found[w.END] = max(end, done + pace - 1) + 1 + (p[w.CONTEXT_MOVES] - 1) * pace
        return found

    # --- bank-group level: a row in one set of banks

    def read_rows(self, chosen: list[int], keys: bool, first_row: int, start: int) -> int:
        p = self.p
        per_row = p[w.KEY_ROW] if keys else p[w.VALUE_ROW]
        each = p[w.QUERIES] * (p[w.KEY_COLUMNS] if keys else 1)
        end = start
        for row in sorted({block // per_row for block in chosen}):
            work = each * sum(block // per_row == row for block in chosen)
            place = first_row + row
            self.bank = place % p[w.KEY_BANKS]
            end = max(end, self.run(self.bank, place // p[w.KEY_BANKS], work, start))
        return end

    def run(self, bank: int, wanted: int, work: int, start: int) -> int:
        p, spacing = self.p, self.p[w.SPACING]
        seen = self.seen()
        while self.gaps and self.gaps[0][1] <= seen:
            self.gaps.pop(0)
        self.open_rows += min(p[w.KEY_BANKS] * work, work + QUEUE_ENTRIES)
        ready = max(start, seen, self.activated[bank] + p[w.RCD])
        if self.row[bank] != wanted:
            self.open(bank, wanted, seen)
            ready = max(start, self.activated[bank] + p[w.RCD])
        last = self.place(ready, work)
        self.last[bank] = max(self.last[bank], last)
        self.enter(last, work, spacing)
        return last

    def place(self, ready: int, work: int) -> int:
        """MAC by MAC: into the gaps that begin before `free`, then behind."""
        spacing = self.p[w.SPACING]
        last = 0
        kept: list[list[int]] = []
        for begin, until in self.gaps:
            at = max(begin, ready)
            first = at
            while work and at < until:
                last, at, work = at, at + spacing, work - 1
            if at == first:
                kept.append([begin, until])
                continue
            self.free += max(0, at - until)
            kept += [[a, b] for a, b in ((begin, first), (at, until)) if a < b]
        self.gaps = kept
        if work:
            begin = max(ready, self.free)
            if begin > self.free:
                self.gaps.append([self.free, begin])
            last = begin + (work - 1) * spacing
            self.free = last + spacing
        return last

    # --- buffer level: columns go round the banks

    def slot(self, cycle: int) -> int:
        reach = self.p[w.SPACING]
        while any(cycle + by in self.macs for by in range(1 - reach, reach)):
            cycle += 1
        return cycle

    def note(self, bank: int, cycle: int) -> None:
        place = bank % self.p[w.PLACES]
        kept = bank - place + place // self.p[w.BANK_GROUPS]
        self.last[bank] = max(self.last[bank], cycle)
        self.hold[kept] = max(self.hold[kept], cycle)

    def rows(self, chosen: list[int], columns: int) -> Iterator[list[int]]:
        stretch = self.p[w.VALUE_BANKS] * self.p[w.COLUMNS]
        for row in sorted({block * columns // stretch for block in chosen}):
            yield [block for block in chosen if block * columns // stretch == row]

    def read_columns(self, chosen: list[int], keys: bool, first_row: int, start: int) -> int:
        p = self.p
        columns = p[w.KEY_COLUMNS] if keys else 1
        banks = p[w.VALUE_BANKS]
        width = banks // p[w.KEY_BANKS] if keys else 1
        end = start
        for blocks in self.rows(chosen, columns):
            ends = []
            columns_read = [block * columns + k for block in blocks for k in range(columns)]
            used = {column % banks for column in columns_read}
            self.open_rows += len(used) * len(columns_read) * p[w.QUERIES]
            for block in blocks:
                for column in range(block * columns, (block + 1) * columns, width):
                    row = first_row + column // (banks * p[w.COLUMNS])
                    ends.append(self.columns(column % banks, width, row, start))
            end = max(end, *ends)
            if p[w.QUERIES] > 1:
                earliest = min(ends) - (width - 1) * p[w.SPACING]
                end = max(end, self.again(blocks, columns, width, earliest, max(ends)))
        return end

    def columns(self, bank: int, width: int, wanted: int, start: int) -> int:
        """A MAC on each of some banks; return the last one's cycle."""
        p, spacing, same = self.p, self.p[w.SPACING], self.p[w.SAME]
        seen = self.seen()
        last = self.chain(bank, width, wanted, start, seen) if width > 1 else 0
        b = bank + width if last else bank
        while b < bank + width:
            if self.row[b] != wanted:
                self.open(b, wanted, seen)
                ready = max(start, self.activated[b] + p[w.RCD])
            else:
                ready = max(start, seen, self.activated[b] + p[w.RCD])
            slot = self.slot(ready)
            place = b % p[w.PLACES]
            since, until = self.chains[place]
            if width == 1 and since - same < slot < until + same:
                slot = self.slot(until + same)
            self.macs.add(slot)
            self.free = max(self.free, slot + spacing)
            if width == 1 and slot > until:
                self.chains[place] = (slot if slot >= until + 2 * same else since, slot)
            self.note(b, slot)
            last = max(last, slot)
            b += 1
        self.enter(last, width, spacing)
        return last

    def chain(self, bank: int, width: int, wanted: int, start: int, seen: int) -> int:
        """The banks one after the other at the MACs' pace; 0 where something is in the way."""
        p, spacing = self.p, self.p[w.SPACING]
        banks, paces = range(bank, bank + width), range(0, width * spacing, spacing)
        wide = (width + 1) * spacing > 64  # the compiled walk looks at 64 cycles
        if wide or self.row[bank] != self.row[bank + width - 1]:
            return 0
        close = cycle = seen
        opens = self.row[bank] != wanted
        closes = opens and self.row[bank] is not None
        if closes:
            close = max(
                seen, *(self.closes(b, 0) - pace for b, pace in zip(banks, paces, strict=True))
            )
            if any(close + pace in self.row_bus | self.macs for pace in paces):
                close += 1
            if any(close + pace in self.row_bus | self.macs for pace in paces):
                return 0
            cycle = max(close + p[w.RP], self.activated[bank] + p[w.RC])
        if opens:
            if any(cycle + by in self.row_bus for by in range(width * spacing)):
                return 0
            ready = max(start, cycle + p[w.RCD])
        else:
            pace = (width - 1) * spacing
            ready = max(
                start,
                seen,
                self.activated[bank] + p[w.RCD],
                self.activated[bank + width - 1] + p[w.RCD] - pace,
            )
        slot = self.slot(ready)
        last = slot + (width - 1) * spacing
        if any(self.slot(slot + by) != slot + by for by in paces):
            return 0
        if opens:
            if closes:
                self.row_bus |= {close + pace for pace in paces}
            self.row_bus |= {cycle + by for by in range(width * spacing)}
            self.opened += width
        self.free = max(self.free, last + spacing)
        for b, pace in zip(banks, paces, strict=True):
            if opens:
                self.activated[b], self.row[b] = cycle + pace, wanted
            self.macs.add(slot + pace)
            self.last[b] = slot + pace
            place = b % p[w.PLACES]
            kept = b - place + place // p[w.BANK_GROUPS]
            self.hold[kept] = max(self.hold[kept], last)
        return last

    def again(self, blocks: list[int], columns: int, width: int, earliest: int, latest: int) -> int:
        """The passes of the other query heads over open rows; return the last MAC's cycle."""
        p, spacing, same = self.p, self.p[w.SPACING], self.p[w.SAME]
        work, passes = len(blocks) * columns, p[w.QUERIES] - 1
        cycle = max(earliest, self.seen())
        cycles = []
        for _ in range(passes * work):
            cycle = self.slot(cycle)
            self.macs.add(cycle)
            cycles.append(cycle)
            cycle += spacing
        between = sum(cycle < self.free for cycle in cycles)
        last, span, slow = cycles[-1], work * spacing, False
        if width == 1:
            places = [
                (block * columns + k) % p[w.PLACES] for block in blocks for k in range(columns)
            ]
            busiest = max(range(p[w.PLACES]), key=places.count)
            slow = places.count(busiest) * same > span
            if slow:
                span = places.count(busiest) * same
                last = max(last, earliest + p[w.QUERIES] * span - same)
                self.chains[busiest] = (self.chains[busiest][0], last)
        last = max(last, latest + passes * same)
        self.free = max(self.free, last + spacing)
        column = [block * columns + k for block in blocks for k in range(columns)]
        for after, one in zip(range(work - 1, -1, -1), column, strict=True):
            cycle = last - (after * span // work if slow else after * spacing)
            if not slow and passes * work - 1 - after < between:
                cycle = min(cycle, cycles[-1 - after])
            self.note(one % p[w.VALUE_BANKS], cycle)
        self.enter(last, passes * work, spacing)
        return last
