"""What reading a KV head costs at a step, by the commands that the slow bank model issues.

It shares no code with `pimreplay`. A head lies in one channel or is dealt out over several; the
heads of a layer share the channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from slow_energy import MACS, OPENED_BY, Bill, Log, charge
from slow_scheduler import simulate
from slow_step import (
    Device,
    address_of,
    columns_of_a_vector,
    is_in_rows,
    rows_of_keys,
    step_requests,
)


@dataclass
class Step:
    """What one KV head costs at one step in one channel."""

    cycles: dict[str, int]
    """score, softmax, context, move; they make up `total`."""
    total: int
    key_rows: int
    value_rows: int
    activations: int
    macs: int
    moves: int
    bill: Bill


@cache
def issued(
    device: Device, requests: tuple[tuple[str, int], ...], channels: int = 1
) -> tuple[Log, int]:
    """Return the commands of (word, address) requests in all channels, and the cycles."""
    shape = (
        *(channels, device.pseudo_channels, device.ranks, device.bank_groups, device.banks),
        device.rows,
    )
    logs: dict[int, list[tuple[int, str, tuple[int, ...]]]] = {}
    cycles = simulate(requests, device.timing, shape, device.columns, device.refresh, logs)
    return [line for log in logs.values() for line in log], cycles


def step(
    device: Device,
    head_dim: int,
    element_bytes: float,
    n_blocks: int,
    chosen: Sequence[int],
    q_heads: int,
    model: str = "activation",
) -> Step:
    """Schedule a step's requests in one channel, and count and charge what was issued."""
    if not chosen:
        nothing = charge(
            device, [], 0, model, scores=0, head_dim=head_dim, element_bytes=element_bytes
        )
        return Step(dict.fromkeys(("score", "softmax", "context", "move"), 0), *[0] * 6, nothing)
    requests = step_requests(device, head_dim, element_bytes, n_blocks, chosen, q_heads)
    log, total = issued(
        device, tuple((word, address_of(device, place)) for word, place in requests)
    )
    softmax = next(cycle for cycle, command, _ in log if command == "SFM")
    mac_cycles = [cycle for cycle, command, _ in log if command in MACS]
    key_macs = [cycle for cycle in mac_cycles if cycle <= softmax]
    value_macs = [cycle for cycle in mac_cycles if cycle > softmax]
    columns = columns_of_a_vector(device, head_dim, element_bytes)
    assert len(key_macs) == len(value_macs) == len(chosen) * columns * q_heads

    parts = {
        "score": key_macs[-1],  # until the last key is multiplied
        "softmax": 1,
        "context": value_macs[-1] - value_macs[0],  # from the first value to the last
    }
    parts["move"] = total - sum(parts.values())  # what is left: moves that no MAC hides
    opened = [where for _, command, where in log if command in OPENED_BY]
    rows = rows_of_keys(device, columns, n_blocks)
    for_keys = [where for where in opened if is_in_rows(device, rows, *where[4:])]
    return Step(
        cycles=parts,
        total=total,
        key_rows=len(for_keys),
        value_rows=len(opened) - len(for_keys),
        activations=len(opened) * device.banks_at_once,
        macs=len(mac_cycles),
        moves=sum(command in ("WRGB", "MVSB", "MVGB") for _, command, _ in log),
        bill=charge(
            device,
            log,
            total,
            model,
            scores=len(chosen) * device.block_tokens * q_heads,
            head_dim=head_dim,
            element_bytes=element_bytes,
        ),
    )


def spread_step(
    device: Device,
    head_dim: int,
    element_bytes: float,
    n_blocks: int,
    chosen: Sequence[int],
    q_heads: int,
    channels: int,
    model: str = "activation",
) -> tuple[Step, list[Step]]:
    """Deal a head's blocks out over channels; return the whole and each channel's share.

    The step ends with the slowest channel, whose times stand for the whole; counts and energies
    are those of all channels together.
    """
    shares = []
    for channel in range(channels):
        own = [block // channels for block in chosen if block % channels == channel]
        shares.append(
            step(device, head_dim, element_bytes, -(-n_blocks // channels), own, q_heads, model)
        )
    slowest = max(shares, key=lambda one: one.total)
    bill = Bill()
    for share in shares:
        for part, amount in share.bill.parts.items():
            bill.add(part, 1.0, amount)
    return (
        Step(
            cycles=slowest.cycles,
            total=slowest.total,
            key_rows=sum(share.key_rows for share in shares),
            value_rows=sum(share.value_rows for share in shares),
            activations=sum(share.activations for share in shares),
            macs=sum(share.macs for share in shares),
            moves=sum(share.moves for share in shares),
            bill=bill,
        ),
        shares,
    )


def channel_cycles(
    channels: int,
    cycles: Sequence[int],
    hidden: Sequence[int] | None = None,
    channel_of: Sequence[int] | None = None,
) -> list[int]:
    """Return each channel's cycles for the KV heads of a layer at one step.

    Heads go round the channels. Those of one channel follow one another in pairs, and each of a
    pair hides, under its own cycles, what of its partner can be hidden; an odd one is alone.
    """
    found = []
    for channel in range(channels):
        mine = [
            head
            for head in range(len(cycles))
            if (head % channels if channel_of is None else channel_of[head]) == channel
        ]
        busy = 0
        while mine:
            pair, mine = mine[:2], mine[2:]
            busy += sum(cycles[head] for head in pair)
            if hidden is not None and len(pair) == 2:
                one, two = pair
                busy -= min(hidden[one], cycles[two])
                busy -= min(hidden[two], cycles[one])
        found.append(busy)
    return found
