"""GDDR6-AiM again, slow and obvious: one tick a cycle, one object a request.

Shares no code with `pimreplay`; the rules are stated a second time.
"""

from collections import deque
from collections.abc import Mapping

REGISTERS = {"WR_GB": "WRGB", "WR_BIAS": "WRMAC16", "RD_MAC": "RDMAC16", "RD_AF": "RDAF16"}
BANKS = {"MAC_ABK": "MAC16", "AF": "AF16", "EWMUL": "EWMUL16", "WR_ABK": "WRA16"}
CHANNELS = 32


def distance(before: str, after: str, t: Mapping[str, int]) -> int:
    """Return the least cycles from one command to another in a channel."""
    reads, writes = {"RDMAC16", "RDAF16"}, {"WRA16", "WRGB", "WRMAC16"}
    start = {"WRA16": t["nCWL"], "WRGB": t["nCWLGB"], "WRMAC16": t["nCWLREG"]}
    least = [0]
    if before == "TMOD" and after != "TMOD":
        least.append(t["nMODCH"])
    for group in (reads, writes):
        if before in group and after in group:
            least.append(t["nBL"])
    for group in (reads | {"MAC16"}, writes):
        if before in group and after in group:
            least.append(t["nCCDS"])
    for group in (reads | {"MAC16", "EWMUL16"}, {"WRA16", "WRMAC16", "EWMUL16"}):
        if before in group and after in group:
            least.append(t["nCCDL"])
    if before in reads and after in writes:
        least.append(t["nCLREG"] + t["nBL"] + 3 - start[after] + t["nWPRE"])
    if before in writes and after in reads:
        turn = t["nWTRS"] if before == "WRGB" else max(t["nWTRS"], t["nWTRL"])
        least.append(start[before] + t["nBL"] + turn)
    pairs = {
        ("MAC16", "PREA"): t["nRTP"],
        ("AF16", "PREA"): t["nRTP"],
        ("EWMUL16", "PREA"): max(t["nRTP"], t["nCWL"] + t["nWR"]),
        ("ACT16", "ACT16"): max(t["nRC"], t["nRRDL"]),
        ("ACT16", "PREA"): t["nRAS"],
        ("PREA", "PREA"): t["nRP"],
        ("PREA", "ACT16"): t["nRP"],
        ("ACT16", "MAC16"): t["nRCDRDMAC"],
        ("ACT16", "AF16"): t["nRCDRDAF"],
        ("ACT16", "EWMUL16"): t["nRCDEWMUL"],
        ("ACT16", "WRA16"): t["nRCDWR"],
        ("WRA16", "ACT16"): t["nCWL"] + t["nBL"] + t["nWR"] + t["nRP"],
    }
    return max(*least, pairs.get((before, after), 0))


class Channel:
    """One channel: a queue, a mode, open rows."""

    def __init__(self, timing: Mapping[str, int]) -> None:
        self.t = timing
        self.queue: deque[tuple[str, int | str]] = deque()
        self.issued: list[tuple[int, str, int | str]] = []
        self.row: int | str | None = None
        self.registers = False
        self.answers: deque[int] = deque()
        self.writes: list[int] = []

    def tick(self, clock: int) -> int:
        """Advance by a cycle; return how many answers reached the host."""
        answered = 0
        # an answer to SYNC or EOC, marked negative, also waits for all writes
        due = self.answers and abs(self.answers[0]) <= clock
        if due and (self.answers[0] > 0 or not self.writes):
            self.answers.popleft()
            answered = 1
        self.writes = [end for end in self.writes if end > clock]
        if not self.queue:
            return answered
        name, row = self.queue[0]
        if name in ("SYNC", "EOC"):
            self.queue.popleft()
            self.answers.append(-clock)
            return answered
        final = {**REGISTERS, **BANKS}[name]
        need = final
        if name in BANKS and self.row != row:
            need = "ACT16" if self.row is None else "PREA"
        if any(clock < then + distance(what, need, self.t) for then, what, _ in self.issued[-40:]):
            return answered
        if self.registers != (name in REGISTERS):
            self.registers = not self.registers
            self.issued.append((clock, "TMOD", -1))
            return answered
        self.issued.append((clock, need, row))
        if need == "ACT16":
            self.row = row
        if need in ("PREA", "WRA16"):
            self.row = None
        if need == final:
            self.queue.popleft()
            t = self.t
            if final in ("RDMAC16", "RDAF16"):
                self.answers.append(clock + t["nCLREG"] + t["nBL"])
            else:
                extra = {
                    "WRGB": t["nCWLGB"] + t["nBL"],
                    "WRMAC16": t["nCWLREG"] + t["nBL"],
                    "WRA16": t["nCWL"] + t["nBL"] + t["nRP"],
                }
                self.writes.append(clock + extra.get(final, 1))
        return answered


def simulate(
    lines: list[str], t: Mapping[str, int]
) -> tuple[int, list[list[tuple[int, str, int | str]]]]:
    """Return the cycles of a request file and the commands of each channel."""
    channels = [Channel(t) for _ in range(CHANNELS)]
    host = deque(line.split()[1:] for line in lines)
    unsent: list[tuple[int, str, int | str]] = []
    open_answers = 0
    held = False
    clock = 0
    while host or open_answers:
        clock += 1
        if held:
            blocked: set[int] = set()
            rest = []
            for channel, name, row in unsent:
                if channel in blocked or len(channels[channel].queue) > 32:
                    blocked.add(channel)
                    rest.append((channel, name, row))
                else:
                    channels[channel].queue.append((name, row))
            unsent = rest
            if not unsent and not open_answers:
                host.popleft()
            held = bool(unsent)
        elif not open_answers and host:
            name, *numbers = host[0]
            values = [int(number, 0) for number in numbers]
            mask, row, times = (1 << CHANNELS) - 1, -1, 1
            if name in ("MAC_ABK", "EWMUL"):
                times, mask, row = values
            elif name == "WR_ABK":
                _, mask, row = values
            elif name == "WR_GB":
                times, _, mask = values
            elif name not in ("SYNC", "EOC"):
                mask = values[-1]
            for _ in range(times):
                for channel in range(CHANNELS):
                    if mask >> channel & 1:
                        place = "table" if name == "AF" else row
                        if len(channels[channel].queue) > 32:
                            unsent.append((channel, name, place))
                            held = True
                        else:
                            channels[channel].queue.append((name, place))
                        open_answers += name in ("RD_MAC", "RD_AF", "SYNC", "EOC")
            if not open_answers and not held:
                host.popleft()
        for one in channels:
            done = one.tick(clock)
            if done:
                open_answers -= done
                if not open_answers and not held:
                    host.popleft()
    return clock, [one.issued for one in channels]
