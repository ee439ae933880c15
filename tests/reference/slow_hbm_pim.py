"""HBM-PIM's controller again, slow and obvious: one tick a cycle, every rule by looking back.

Shares no code with `pimreplay`; the rules are stated a second time. One rank.
"""

from collections.abc import Mapping

BANKS = range(16)
QUEUE = 64
Log = list[tuple[int, str, int, int]]
"""(cycle, command, bank, row)"""


def distance(
    before: str, after: str, same_bank: bool, same_group: bool, t: Mapping[str, int]
) -> int:
    """Return the least cycles from one command to another, by where they are."""
    write_end = t["WL"] + t["BL"]
    if before in ("RD", "WR") and after == before:
        return t["tCCDL"] if same_group else t["tCCDS"]
    if (before, after) == ("RD", "WR"):
        return t["RL"] + t["BL"] + t["tRTRS"] - t["WL"]
    if (before, after) == ("WR", "RD"):
        return write_end + t["tWTRL"]
    if before == "REF" and after == "ACT":
        return t["tRFC"]
    if same_bank:
        return {
            ("ACT", "RD"): t["tRCDRD"],
            ("ACT", "WR"): t["tRCDWR"],
            ("ACT", "PRE"): t["tRAS"],
            ("ACT", "ACT"): t["tRC"],
            ("PRE", "ACT"): t["tRP"],
            ("RD", "PRE"): t["BL"] + max(t["tRTPL"], t["tCCDL"]) - t["tCCDL"],
            ("WR", "PRE"): write_end + t["tWR"],
        }.get((before, after), 0)
    if (before, after) == ("ACT", "ACT"):
        return t["tRRDL"] if same_group else t["tRRDS"]
    return 0


def simulate(lines: list[str], t: Mapping[str, int], *, refresh: bool = True) -> tuple[int, Log]:
    """Return the cycles of a request file and the commands issued; cycles of -1 for ever."""
    incoming: list[dict] = []  # type: ignore[type-arg]
    for line in lines:
        kind, *numbers = line.split()
        if kind == "B":
            if incoming:
                incoming[-1]["barrier"] = True
            continue
        bank, row, column, *data = map(int, numbers)
        incoming.append(
            {
                "command": "RD" if kind == "R" else "WR",
                "bank": bank,
                "row": row,
                "column": column,
                "data": data[0] if data else 0,
                "barrier": False,
            }
        )
    queue: list[dict] = []  # type: ignore[type-arg]
    opened: dict[int, int] = {}
    log: Log = []
    mode = "single"
    entered: set[int] = set()
    left: set[int] = set()
    turn = 0
    waiting = False
    finish = clock = 0
    allowed: dict[tuple[str, int], int] = {}

    def ready(command: str, bank: int) -> bool:
        return clock >= allowed.get((command, bank), 0)

    def issue(command: str, bank: int, row: int) -> None:
        log.append((clock, command, bank, row))
        for other in BANKS:
            for after in ("RD", "WR", "ACT", "PRE"):
                gap = distance(command, after, other == bank, other // 4 == bank // 4, t)
                key = (after, other)
                allowed[key] = max(allowed.get(key, 0), clock + gap)

    while incoming or queue or clock < finish:
        if clock > finish + 10_000:
            return -1, log
        if refresh and clock and clock % t["tREFI"] == 0:
            waiting = True
        issued = False
        if waiting:
            for bank in sorted(opened):
                if ready("PRE", bank):
                    row = opened.pop(bank)
                    issue("PRE", bank, row)
                    issued = True
                    if row == 0x1FFF and mode == "all" and bank < 2:
                        left.add(bank)
                    break
            else:
                if not opened:
                    issue("REF", 0, 0)
                    waiting = False
                    issued = True
        window = []
        for place, one in enumerate(queue):
            if one["barrier"] and place:
                break
            window.append(one)
            if one["barrier"]:
                break
        if not issued:
            for place, one in enumerate(window):
                same = [
                    b
                    for b in window[:place]
                    if (b["bank"], b["row"], b["column"])
                    == (one["bank"], one["row"], one["column"])
                ]
                bank = one["bank"]
                if opened.get(bank) == one["row"] and ready(one["command"], bank) and not same:
                    issue(one["command"], bank, one["row"])
                    finish = max(
                        finish,
                        clock + t["BL"] + (t["RL"] + 2 if one["command"] == "RD" else t["WL"] + 1),
                    )
                    switch = one["command"] == "WR" and (one["row"], one["column"]) == (0x3FFF, 0)
                    if switch and mode != "single":
                        mode = "computing" if one["data"] & 1 else "all"
                    queue.remove(one)
                    issued = True
                    break
        if not issued:
            for place, one in enumerate(queue):
                if one["barrier"] and place:
                    break
                bank = one["bank"]
                if bank in opened or not ready("ACT", bank) or (mode != "single" and bank > 1):
                    continue
                opened[bank] = one["row"]
                issue("ACT", bank, one["row"])
                if mode == "single" and (one["row"], one["column"]) == (0x17FF, 31):
                    entered.add(bank)
                    if entered >= {0, 1, 8, 9}:
                        mode, entered = "all", set()
                issued = True
                break
        if not issued:
            for step in BANKS:
                bank = (turn + step) % 16
                if bank not in opened or not ready("PRE", bank):
                    continue
                wanted = False
                for one in queue:
                    if (one["bank"], one["row"]) == (bank, opened[bank]):
                        wanted = True
                    if one["barrier"]:
                        break
                if not wanted:
                    row = opened.pop(bank)
                    issue("PRE", bank, row)
                    turn = bank
                    if row == 0x1FFF and mode == "all" and bank < 2:
                        left.add(bank)
                    break
        if left == {0, 1}:
            mode, left = "single", set()
        if incoming and len(queue) < QUEUE:
            queue.append(incoming.pop(0))
        clock += 1
    return clock, log
