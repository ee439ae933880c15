"""The analytic fidelity's walk at bank level again: row after row in a list, one point."""

from itertools import groupby

import numpy as np

from pimreplay.bank_model.limits import QUEUE_ENTRIES
from pimreplay.cost.walks import parameters as w


def refreshes(begin: int, before: int, served: int, interval: int, cost: int) -> int:
    """Refreshes that fall due before a row opens, each delaying what follows."""
    more = 0
    while begin + before + more * cost > (served + more + 1) * interval:
        more += 1
    return more


def step(
    chosen: list[int], p: list[int], key_time: np.ndarray, value_time: np.ndarray, tail: np.ndarray
) -> list[int]:
    """Return what the walk finds for a point."""
    found = [0] * w.FIELDS
    found[w.BLOCKS] = n = len(chosen)
    if not n:
        return found
    queries, same, bus = p[w.QUERIES], p[w.SAME], p[w.BUS]
    refresh = p[w.RFC] + 1 - p[w.RP]
    late = max(0, p[w.WRITES] + 2 - QUEUE_ENTRIES)
    first_open = 1 if late == 0 else 2 + (late - 1) * same
    begin = max(2 + (p[w.WRITES] - 1) * same, first_open + p[w.RCD])

    rows = [len(list(row)) for _, row in groupby(chosen, lambda block: block // p[w.KEY_ROW])]
    opened, before, served = first_open, 0, 0
    for index, blocks in enumerate(rows):
        phase = (
            before if before < w.BLOCKS_PER_MOVE else w.BLOCKS_PER_MOVE + before % w.BLOCKS_PER_MOVE
        )
        switch, reading = (int(t) for t in key_time[phase * (p[w.KEY_ROW] + 1) + blocks])
        before += blocks
        end = begin + reading
        if index == 0:
            close = max(first_open + p[w.RAS], end + p[w.RTPL]) + p[w.RP]
            switch = max(close, first_open + p[w.RC]) + p[w.RCD] - begin
        if index + 1 < len(rows):
            begin += switch
            opened = begin - p[w.RCD]
    if len(rows) > 1:
        served = refreshes(0, opened, 0, p[w.REFI], refresh)
    opened, end = opened + served * refresh, end + served * refresh
    found[w.KEY_ROWS], found[w.KEY_END] = len(rows), end

    over = 0
    if n > w.BLOCKS_PER_MOVE:
        here = (n - 1) % w.BLOCKS_PER_MOVE + 1
        work = p[w.KEY_COLUMNS] * queries
        passed = end - (here * work - 1) * p[w.SPACING]
        over = max(0, passed + p[w.SCORE_MOVES] * p[w.SCORE_PACE] - end)
        if here <= rows[-1]:
            over = max(over, 2 + (queries - 1) * same - bus)
    fall, seen = (end + over + int(cycle) for cycle in tail[-(-n // p[w.WORDS])])
    close = max(seen, end + p[w.RTPL], opened + p[w.RAS])
    due = (served + 1) * p[w.REFI]
    opened = max(close + p[w.RP], opened + p[w.RC])
    begin = max(fall, opened + p[w.RCD])
    if due < opened or max(due, opened + p[w.RAS]) < begin:
        served += 1
        closed = due if due >= close else max(due, end + p[w.RTPL]) + 1
        if due >= opened:
            closed = max(due, opened + p[w.RAS]) + 1
        opened = closed + p[w.RFC]
        begin = max(begin, opened + p[w.RCD])
    found[w.VALUE_BEGIN] = begin

    rows = [len(list(row)) for _, row in groupby(chosen, lambda block: block // p[w.VALUE_ROW])]
    found[w.VALUE_ROWS] = len(rows) * p[w.SLICES]
    done, at, last_begin = 0, begin, begin
    for part in range(p[w.SLICES]):
        if part:
            passed = max(end, done)
            done = passed + 1 + (p[w.CONTEXT_MOVES] - 1) * p[w.CONTEXT_PACE]
            at = max(last_begin + int(value_time[rows[-1], 0]), passed + 1)
        for blocks in rows:
            last_begin = at
            end = at + int(value_time[blocks, 1])
            at += int(value_time[blocks, 0])
    opens = last_begin - p[w.RCD] - begin
    if opens > 0:
        delay = refreshes(begin, opens, served, p[w.REFI], refresh) * refresh
        end, done = end + delay, done + delay
    found[w.VALUE_END] = end
    pace = p[w.CONTEXT_PACE]
    found[w.END] = max(end + 1, done + pace) + (p[w.CONTEXT_MOVES] - 1) * pace
    return found
