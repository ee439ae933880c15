"""The controllers of GDDR6-AiM: each channel serves its requests in order."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, unused-ignore"

import numpy as np

from pimreplay.command_sets.aim.commands import ACT, PREA, TMOD, WRA
from pimreplay.command_sets.aim.requests import CHANNELS
from pimreplay.compiled import kernel

QUEUE = 33
"""Requests that a channel holds: its buffer takes one more than its size of 32."""


@kernel()
def issue(requests, gap, latency, to_banks, answered, issued, log):
    """Issue every request in order; return the last cycle.

    Commands are counted into `issued` and noted in `log` where it has room.
    """
    commands = gap.shape[0]
    never = -(1 << 40)
    last = np.full(
        (CHANNELS, commands), never, dtype=np.int64
    )  # cycle of each command's last issue
    open_row = np.full(CHANNELS, -1, dtype=np.int64)
    in_registers = np.zeros(CHANNELS, dtype=np.bool_)
    busy = np.zeros(CHANNELS, dtype=np.int64)  # cycle of the last command
    done = np.zeros(CHANNELS, dtype=np.int64)  # when everything but answers is done
    left = np.zeros((CHANNELS, QUEUE), dtype=np.int64)  # when the last requests left the queue
    sent = np.zeros(CHANNELS, dtype=np.int64)
    decode, logged = 1, 0
    for request in range(requests.shape[0]):
        command, repeats, row, mask = requests[request]
        until = decode
        if command >= commands:  # SYNC or END: to every channel, answered by all
            for channel in range(CHANNELS):
                enter = max(decode, left[channel, sent[channel] % QUEUE] + 1)
                at = max(enter, busy[channel] + 1)
                busy[channel] = at
                left[channel, sent[channel] % QUEUE] = at
                sent[channel] += 1
                until = max(until, max(at, done[channel]) + 1)
            decode = until + 1
            continue
        for _ in range(repeats):
            for channel in range(CHANNELS):
                if not mask >> channel & 1:
                    continue
                slot = sent[channel] % QUEUE
                enter = max(decode, left[channel, slot] + 1)
                at = max(enter, busy[channel] + 1)
                until = max(until, enter)
                while True:
                    need = command
                    if to_banks[command] and open_row[channel] != row:
                        need = ACT if open_row[channel] < 0 else PREA
                    for before in range(commands):
                        at = max(at, last[channel, before] + gap[before, need])
                    if in_registers[channel] == to_banks[command]:
                        in_registers[channel] = not to_banks[command]
                        need = TMOD
                    last[channel, need] = at
                    issued[need] += 1
                    if logged < log.shape[0]:
                        log[logged] = (at, channel, need, row)
                        logged += 1
                    if need == ACT:
                        open_row[channel] = row
                    elif need == PREA or need == WRA:
                        open_row[channel] = -1
                    if need == command:
                        break
                    at += 1
                busy[channel] = at
                left[channel, slot] = at
                sent[channel] += 1
                if answered[command]:
                    until = max(until, at + latency[command])
                else:
                    done[channel] = max(done[channel], at + latency[command])
        decode = until + 1
    return until
