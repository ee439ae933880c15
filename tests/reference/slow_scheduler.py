"""The bank model again, slow and obvious: one tick a cycle, one object a request.

It shares no code with `pimreplay`: the rules are stated here a second time, so that a slip in
one of the two statements shows up as a difference in cycles.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product

LEVELS = ("channel", "pseudochannel", "rank", "bankgroup", "bank")
FINAL = {
    "LD": "RD",
    "ST": "WR",
    "PIM_MAC_AB": "MACAB",
    "PIM_MAC_SB": "MACSB",
    "PIM_MAC_PB": "MACPB",
    "PIM_WR_GB": "WRGB",
    "PIM_MV_SB": "MVSB",
    "PIM_MV_GB": "MVGB",
    "PIM_SFM": "SFM",
    "PIM_SET_MODEL": "SETM",
    "PIM_SET_HEAD": "SETH",
    "PIM_BARRIER": "BARRIER",
    "REFRESH": "REFab",
}
OPENING = {"ACT", "ACTAB", "ACTSB", "ACTPB"}
CLOSING = {"PRE", "PREA", "PRESB", "PREPB"}
ACCESS = {"RD", "WR", "MACAB", "MACSB", "MACPB"}
# PRESB and PREPB sit on neither bus: the controller never pairs them with another command.
ROW_BUS = {"ACT", "PRE", "PREA", "REFab", "ACTAB", "ACTSB", "ACTPB"}
COLUMN_BUS = {*ACCESS, "WRGB", "MVSB", "MVGB", "SFM", "SETM", "SETH"}
# The deepest level at which a command's timings are checked.
SCOPE = {"PREA": 0, "REFab": 0, "SFM": 0, "SETH": 0, "BARRIER": 0}
QUEUE_ENTRIES = 33
PRIORITY_ENTRIES = 512 * 3 + 33


def rules(t: Mapping[str, int]) -> list[tuple[str, str, str, int, int]]:
    """(level, earlier commands, later commands, least distance in cycles, window)."""
    data = "RD WR WRGB MVSB MVGB SFM"
    write_end = t["nCWL"] + t["nBL"]
    table = [
        # a row command takes the row bus for two cycles
        ("channel", "ACTAB", "ACTAB ACT PRE PREA REFab", 2, 1),
        ("channel", "ACTSB", "ACTSB ACT PRE PREA PRESB REFab", 2, 1),
        ("channel", "ACTPB", "ACTPB ACT PRE PREA PREPB REFab", 2, 1),
        ("channel", "ACT", "ACT PRE PREA PRESB REFab", 2, 1),
        # MAC on all banks
        ("channel", "MACAB", "MACAB", t["nCCDAB"], 1),
        ("channel", "MACAB", "PREA", t["nRTPL"], 1),
        ("channel", "ACTAB", "ACTAB", t["nRC"], 1),
        ("channel", "ACTAB", "MACAB", t["nRCDRD"], 1),
        ("channel", "ACTAB", "PREA", t["nRAS"], 1),
        ("channel", "PREA", "ACTAB", t["nRP"], 1),
        # MAC on the same bank of each bank group
        ("channel", "MACSB", "MACSB", t["nCCDSB"], 1),
        # MAC on one bank of each pseudo-channel
        ("channel", "MACPB", "MACPB", t["nBL"], 1),
        ("rank", "MACPB", "MACPB", t["nCCDS"], 1),
        ("bankgroup", "MACPB", "MACPB", t["nCCDL"], 1),
        # data buses
        ("pseudochannel", data, data, t["nBL"], 1),
        ("rank", data, data, t["nCCDS"], 1),
        ("bankgroup", data, data, t["nCCDL"], 1),
        ("rank", "RD", "WR", t["nCL"] + t["nBL"] + 2 - t["nCWL"], 1),
        ("rank", "WR", "RD", write_end + t["nWTRS"], 1),
        ("bankgroup", "WR", "RD", write_end + t["nWTRL"], 1),
        # refresh
        ("pseudochannel", "REFab", "ACT ACTAB ACTSB ACTPB", t["nRFC"], 1),
        # plain activates
        ("pseudochannel", "PREA", "ACT", t["nRP"], 1),
        ("rank", "PREA", "ACT", t["nRP"], 1),
        ("rank", "ACT", "ACT", t["nRRDS"], 1),
        ("rank", "ACT", "ACT", t["nFAW"], 4),
        ("bankgroup", "ACT", "ACT", t["nRRDL"], 1),
        # one bank
        ("bank", "ACT", "ACT", t["nRC"], 1),
        ("bank", "ACT", "RD", t["nRCDRD"], 1),
        ("bank", "ACT", "WR", t["nRCDWR"], 1),
        ("bank", "ACT", "PRE", t["nRAS"], 1),
        ("bank", "PRE", "ACT", t["nRP"], 1),
        ("bank", "RD", "PRE", t["nRTPL"], 1),
        ("bank", "WR", "PRE", write_end + t["nWR"], 1),
    ]
    for kind in ("SB", "PB"):
        table += [
            ("bank", f"ACT{kind}", f"ACT{kind}", t["nRC"], 1),
            ("bank", f"ACT{kind}", f"MAC{kind}", t["nRCDRD"], 1),
            ("bank", f"ACT{kind}", f"PRE{kind}", t["nRAS"], 1),
            ("bank", f"MAC{kind}", f"PRE{kind}", t["nRTPL"], 1),
            ("bank", f"PRE{kind}", f"ACT{kind}", t["nRP"], 1),
        ]
    return table


@dataclass(eq=False)
class Request:
    kind: str
    # channel, pseudo-channel, rank, bank group, bank, row; -1 where a refresh has none
    where: tuple[int, ...]
    address: int = -1
    arrive: int = -1
    command: str = ""

    @property
    def final(self) -> str:
        return FINAL[self.kind]

    @property
    def bank(self) -> tuple[int, ...]:
        return self.where[:5]

    @property
    def row(self) -> int:
        return self.where[5]


@dataclass
class Channel:
    """One controller and the banks of its channel."""

    number: int
    timing: Mapping[str, int]
    shape: tuple[int, int, int, int]  # pseudo-channels, ranks, bank groups, banks
    refresh: bool = True
    log: list[tuple[int, str, tuple[int, ...]]] | None = None
    clock: int = 0
    in_pim_slot: bool = False
    write_mode: bool = False
    active: list[Request] = field(default_factory=list)
    priority: list[Request] = field(default_factory=list)
    reads: list[Request] = field(default_factory=list)
    writes: list[Request] = field(default_factory=list)
    pim: list[Request] = field(default_factory=list)
    departures: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rules = rules(self.timing)
        self.ready: dict[tuple[tuple[int, ...], str], int] = {}
        self.history: dict[tuple[tuple[int, ...], str], list[int]] = {}
        banks = product([self.number], *(range(n) for n in self.shape))
        self.open_rows: dict[tuple[int, ...], set[int]] = {bank: set() for bank in banks}

    # --- the device

    def same_bank(self, where: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [bank for bank in self.open_rows if bank[4] == where[4]]

    def both_pseudo_channels(self, where: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [bank for bank in self.open_rows if bank[2:] == where[2:5]]

    def next_command(self, request: Request) -> str:
        """The command that brings the request forward: itself, or what opens its row."""
        final = request.final
        if final == "REFab":
            return "PREA" if any(self.open_rows.values()) else "REFab"
        if final in ("RD", "WR"):
            banks, activate, precharge = [request.bank], "ACT", "PRE"
        elif final == "MACAB":
            banks, activate, precharge = list(self.open_rows), "ACTAB", "PREA"
        elif final == "MACSB":
            banks, activate, precharge = self.same_bank(request.where), "ACTSB", "PRESB"
        elif final == "MACPB":
            banks, activate, precharge = self.both_pseudo_channels(request.where), "ACTPB", "PREPB"
        else:
            return final
        for bank in banks:  # in order: the first bank that is not ready decides
            if not self.open_rows[bank]:
                return activate
            if request.row not in self.open_rows[bank]:
                return precharge
        return final

    def earliest(self, command: str, where: tuple[int, ...]) -> int:
        """The first cycle at which no timing forbids the command."""
        deepest = SCOPE.get(command, 4)
        cycle = 0
        for depth in range(deepest + 1):
            if where[depth] < 0:
                break
            cycle = max(cycle, self.ready.get((where[: depth + 1], command), 0))
        return cycle

    def is_ready(self, request: Request) -> bool:
        return self.clock >= self.earliest(request.command, request.where)

    def note(self, node: tuple[int, ...], command: str) -> None:
        past = self.history.setdefault((node, command), [])
        past.insert(0, self.clock)
        level = LEVELS[len(node) - 1]
        for rule_level, earlier, later, distance, window in self.rules:
            if rule_level != level or command not in earlier.split():
                continue
            if len(past) < window:
                continue
            for follower in later.split():
                key = (node, follower)
                self.ready[key] = max(self.ready.get(key, 0), past[window - 1] + distance)

    def issue(self, command: str, request: Request) -> None:
        where = request.where
        if self.log is not None:
            self.log.append((self.clock, command, where))
        for depth in range(5):
            if where[depth] < 0:
                break
            self.note(where[: depth + 1], command)
        if command == "MACSB":
            for bank in self.same_bank(where):
                if bank != request.bank:
                    self.note(bank, command)
        if command == "MACPB":
            # The reference looks one level too high for the banks it tells of the broadcast: it
            # takes the pseudo-channel's number for the rank's and the rank's for the group's.
            for half in range(self.shape[0]):
                bank = (self.number, half, where[1], where[2], where[4])
                if bank in self.open_rows and bank != request.bank:
                    self.note(bank, command)
        if command == "PREA":
            for rows in self.open_rows.values():
                rows.clear()
        elif command == "PRE":
            self.open_rows[request.bank].clear()
        elif command in ("PRESB", "PREPB"):  # both close one bank of each pseudo-channel
            for bank in self.both_pseudo_channels(where):
                self.open_rows[bank].clear()
        elif command == "ACT":
            self.open_rows[request.bank].add(request.row)
        elif command == "ACTAB":
            for rows in self.open_rows.values():
                rows.add(request.row)
        elif command in ("ACTSB", "ACTPB"):
            pick = self.same_bank if command == "ACTSB" else self.both_pseudo_channels
            for bank in pick(where):
                self.open_rows[bank].add(request.row)

    # --- the controller

    def send(self, request: Request) -> bool:
        request.arrive = self.clock
        if request.kind == "LD":
            if any(write.address == request.address for write in self.writes):
                self.departures.append(self.clock + 1)
                return True
            queue = self.reads
        elif request.kind == "ST":
            queue = self.writes
        else:
            queue = self.pim
        if len(queue) >= QUEUE_ENTRIES:
            return False
        queue.append(request)
        return True

    def best(self, queue: list[Request]) -> Request | None:
        """First come first served among what is ready, open rows protected."""
        if not queue:
            return None
        for request in queue:
            request.command = self.next_command(request)
        hits = {request.bank for request in queue if request.command in ACCESS}
        if queue[0].kind == "PIM_BARRIER":
            queue.pop(0)
            if not queue:
                return None
        chosen = queue[0]
        held = False
        for request in queue[1:]:
            held = held or request.kind == "PIM_BARRIER"
            if held and request.command not in OPENING | CLOSING:
                continue
            chosen = self.better(chosen, request, hits)
        return chosen

    def better(self, one: Request, two: Request, hits: set[tuple[int, ...]]) -> Request:
        if self.is_ready(one) != self.is_ready(two):
            if self.is_ready(one):
                return one
            closes_a_hit = two.command not in ACCESS and two.bank in hits
            return one if closes_a_hit else two
        return one if one.arrive <= two.arrive else two

    def set_write_mode(self) -> None:
        most = QUEUE_ENTRIES - 1
        if not self.write_mode:
            self.write_mode = len(self.writes) > 0.8 * most or not self.reads
        elif len(self.writes) < 0.2 * most and self.reads:
            self.write_mode = False

    def choose(self, other_bus_than: str | None) -> tuple[Request | None, list[Request], str]:
        """A request to serve, its queue, and the command that the second slot compares with."""

        def allowed(request: Request) -> bool:
            return other_bus_than is None or self.pairs(other_bus_than, request.command)

        found: Request | None = None
        queue: list[Request] = []
        request = self.best(self.active)
        if request is not None and self.is_ready(request) and allowed(request):
            found, queue = request, self.active
        if found is None:
            if self.priority:
                request = self.priority[0]
                request.command = self.next_command(request)
                if allowed(request):
                    if not self.is_ready(request):
                        return None, [], request.command
                    found, queue = request, self.priority
            self.in_pim_slot = False
            if found is None:
                request = self.best(self.pim)
                if request is not None and allowed(request) and self.is_ready(request):
                    found, queue, self.in_pim_slot = request, self.pim, True
            if found is None:
                self.set_write_mode()
                candidates = self.writes if self.write_mode else self.reads
                request = self.best(candidates)
                if request is not None and allowed(request) and self.is_ready(request):
                    found, queue = request, candidates
        if found is None:
            return None, [], ""
        if found.command in CLOSING and any(r.bank == found.bank for r in self.active):
            return None, [], found.command
        return found, queue, found.command

    @staticmethod
    def pairs(first: str, second: str) -> bool:
        return (first in ROW_BUS and second in COLUMN_BUS) or (
            first in COLUMN_BUS and second in ROW_BUS
        )

    def serve(self, request: Request, queue: list[Request]) -> None:
        self.issue(request.command, request)
        if request.command == request.final:
            if request.kind == "LD":
                self.departures.append(self.clock + self.timing["nCL"] + self.timing["nBL"])
            queue.remove(request)
        elif request.command in OPENING and not self.in_pim_slot:
            self.active_move(request, queue)

    def active_move(self, request: Request, queue: list[Request]) -> None:
        if len(self.active) < QUEUE_ENTRIES:
            moved = Request(request.kind, request.where, request.address, request.arrive)
            moved.command = request.command
            self.active.append(moved)
        queue.remove(request)

    def tick(self) -> None:
        self.clock += 1
        if self.departures and self.departures[0] <= self.clock:
            self.departures.pop(0)
        if self.refresh and self.clock % self.timing["nREFI"] == 0:
            for half in range(self.shape[0]):
                self.priority.append(Request("REFRESH", (self.number, half, -1, -1, -1, -1)))
        request, queue, first = self.choose(None)
        if request is not None:
            self.serve(request, queue)
        request, queue, _ = self.choose(first)
        if request is not None:
            self.serve(request, queue)

    @property
    def busy(self) -> bool:
        queues = (self.active, self.priority, self.reads, self.writes, self.pim, self.departures)
        return any(queues)


def simulate(
    requests: Iterable[tuple[str, int]],
    timing: Mapping[str, int],
    shape: tuple[int, int, int, int, int, int] = (16, 2, 2, 4, 4, 1 << 14),
    columns: int = 32,
    refresh: bool = True,
    log: dict[int, list[tuple[int, str, tuple[int, ...]]]] | None = None,
) -> int:
    """Run (kind, address) requests to the end and return the cycles.

    `shape` is channels, pseudo-channels, ranks, bank groups, banks, rows. `log` collects the
    commands of each channel as (cycle, command, where).
    """
    channels = [Channel(c, timing, shape[1:5], refresh) for c in range(shape[0])]
    for channel in channels:
        if log is not None:
            channel.log = log.setdefault(channel.number, [])
    waiting = [
        Request(kind, decode(address, shape, columns), address) for kind, address in requests
    ]
    waiting.reverse()
    cycle = 0
    while True:
        while waiting and channels[waiting[-1].where[0]].send(waiting[-1]):
            waiting.pop()
        cycle += 1
        for channel in channels:
            channel.tick()
        if not waiting and not any(channel.busy for channel in channels):
            return cycle


def decode(
    address: int, shape: tuple[int, int, int, int, int, int], columns: int, offset_bits: int = 5
) -> tuple[int, ...]:
    """Split an address into channel, pseudo-channel, rank, bank group, bank and row."""
    rest = address >> (offset_bits + columns.bit_length() - 1)
    fields = []
    for count in reversed(shape):
        bits = count.bit_length() - 1
        fields.append(rest & ((1 << bits) - 1))
        rest >>= bits
    row, bank, group, rank, half, channel = fields
    return channel, half, rank, group, bank, row
