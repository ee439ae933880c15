"""What is the same for all classes of channels, as one array.

Counts, offsets within a row of `state` (they depend on the number of banks), the rules between
commands and the path of each bank.
"""

from typing import Any

import numpy as np

from pimreplay.bank_model.kernel.commands import COMMANDS, RESOURCES
from pimreplay.bank_model.kernel.state import LEVELS, LIST, MAC_WORDS, RANK, WORD

(
    PSEUDO_CHANNELS,
    RANKS,
    BANK_GROUPS,
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


def constants_of(
    counts: tuple[int, int, int, int],
    n_refi: int,
    read_latency: int,
    shifts: tuple[int, int, int, int],
    rules: tuple[Any, Any],
) -> Any:
    """Return the constants of channels of so many pseudo-channels, ranks, groups, banks.

    `rules` are those of `timing_rules.rule_table`. A bank's path is where the ready cycles of
    each level above it lie, and the number of its rank: (banks, levels + 1).
    """
    pseudo_channels, ranks, groups, banks = counts
    all_ranks = pseudo_channels * ranks
    channel_banks = all_ranks * groups * banks
    nodes = 1 + pseudo_channels + all_ranks + all_ranks * groups + channel_banks
    start, table = rules
    constants = np.zeros(RULES + table.size + channel_banks * (LEVELS + 1), dtype=np.int64)
    constants[:5] = *counts, channel_banks
    constants[WORDS] = -(-channel_banks // WORD)
    constants[MASKS] = MAC_WORDS + 4 * constants[WORDS]
    constants[LISTS] = constants[MASKS] + 4 * channel_banks
    constants[HISTORY] = constants[LISTS] + 3 * LIST
    constants[OPEN] = constants[HISTORY] + all_ranks * 4
    constants[NODES] = constants[OPEN] + channel_banks
    constants[ROWS] = constants[NODES] + nodes * RESOURCES
    constants[ROW_ROOM] = 4
    constants[SIZE] = constants[ROWS] + channel_banks * constants[ROW_ROOM]
    constants[N_REFI] = n_refi
    constants[READ_LATENCY] = read_latency
    constants[SHIFT_CHANNEL : SHIFT_ROW + 1] = shifts
    constants[HALF_BANKS] = channel_banks // pseudo_channels
    constants[PATHS] = RULES + table.size
    constants[STRIDES:RULE_START] = channel_banks, 1, banks, channel_banks // pseudo_channels
    constants[RULE_START:RULES] = start
    constants[RULES : RULES + table.size] = table.reshape(-1)
    bank = np.arange(channel_banks)
    group = bank // banks
    rank = group // groups
    half = rank // ranks
    path = np.zeros((channel_banks, LEVELS + 1), dtype=np.int64)
    path[:, 1] = 1 + half
    path[:, 2] = 1 + pseudo_channels + rank
    path[:, 3] = 1 + pseudo_channels + all_ranks + group
    path[:, 4] = 1 + pseudo_channels + all_ranks * (1 + groups) + bank
    path = constants[NODES] + path * RESOURCES
    path[:, RANK] = rank
    constants[constants[PATHS] :] = path.reshape(-1)
    return constants
