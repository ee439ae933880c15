"""The command stream of one attention layer of one decode step, as AttAcc maps it.

KV heads, one query head each, go to channels in rounds of as many as there are channels; rounds are
pipelined in pairs, one KV head's moves under the other's MACs. Each stage of MACs ends with a
barrier. Mapping and order are those of the public trace generators (scale-snu/attacc_simulator @
c600051, trace_gen; for `kv_budget` and `cluster_step` EPIC-RPI/STARC @ 30d4ce9, simulator_starc),
their rounding of chunk sizes and the second KV head's context addresses included.
"""

from collections.abc import Callable
from functools import partial
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pimreplay.attacc.addresses import Addresses, Round
from pimreplay.attacc.cluster_step import cluster_step
from pimreplay.attacc.shape import AttentionShape, refuse_overfull
from pimreplay.attacc.stream import Stream, stage
from pimreplay.bank_model.address_map import AddressMap
from pimreplay.bank_model.commands import Requests
from pimreplay.cost.walks.parameters import BLOCKS_PER_MOVE
from pimreplay.hardware.device import Hardware
from tracegen.base.errors import UserError

IntArray = NDArray[np.int64]


def attention_requests(hardware: Hardware, shape: AttentionShape) -> Requests:
    """Return the requests of the layer in the order in which the front end hands them over."""
    shape.check(hardware.level)
    refuse_overfull(hardware, shape)
    layout = Addresses(hardware, shape)
    channels = hardware.organisation.channels
    rounds = [
        layout.round(index, min(channels, shape.heads - index * channels))
        for index in range(ceil(shape.heads / channels))
    ]
    stream = Stream()
    if shape.cluster_step:
        cluster_step(stream, layout, rounds[0].valid)
    for index in range(0, len(rounds) - 1, 2):
        _pair(stream, layout, rounds[index], rounds[index + 1], dummy=index == 0)
    if len(rounds) % 2:
        _single(stream, layout, rounds[-1])
    requests = stream.requests()
    last = int(requests.address.max())
    end = AddressMap.of(hardware.organisation).end
    if last >= end:
        raise UserError(
            f"the layer needs address {last:#x}, the device ends at {end - 1:#x}; use fewer "
            "--heads or a smaller --max-tokens"
        )
    return requests


def _chunk(addresses: IntArray, index: int, size: int) -> IntArray:
    """Return the index-th chunk of a flat list of moves (the generators cut across channels)."""
    flat = addresses.reshape(-1)
    return flat[max(index, 0) * size : (index + 1) * size]


def _pair(stream: Stream, layout: Addresses, one: Round, two: Round, *, dummy: bool) -> None:
    """Two rounds, each one's moves under the other's MACs."""
    barrier = layout.channels
    stream.add("PIM_WR_GB", one.query_writes)
    if dummy:
        stream.add(layout.level.mac_request, one.score_macs[0, 0])
    stream.add("PIM_BARRIER", barrier)
    # score of the first head; the second head's query
    length = one.score_groups
    chunk = int(len(two.query_writes) * two.valid / length)
    for j in range(length + 1):
        _score(stream, layout, one, j)
        if j < length:
            stream.add("PIM_WR_GB", _chunk(two.query_writes, j, chunk))
            stream.add("PIM_BARRIER", barrier)
    # score of the second head; softmax and probabilities of the first
    score_two = partial(_score, stream, layout, two)
    _over_softmax(stream, layout, score_two, two.score_groups, one)
    # context of the first head; softmax and probabilities of the second
    context_one = partial(_context, stream, layout, one)
    _over_softmax(stream, layout, context_one, len(one.context_macs), two)
    # context of the second head, at the first's addresses as in the generators
    length = len(one.context_macs)
    for j in range(length + 1):
        context_one(j)
        if j < length:
            stream.add("PIM_BARRIER", barrier)


def _over_softmax(
    stream: Stream, layout: Addresses, macs: Callable[[int], None], length: int, waiting: Round
) -> None:
    """One KV head's MACs, under them the softmax and the probabilities of the other, waiting."""
    moves = len(layout.gemv_offsets(layout.shape.tokens))
    chunk = int(moves * waiting.valid / ceil(length / 2))
    for j in range(length + 1):
        macs(j)
        if j == 0:
            stream.add("PIM_SFM", waiting.softmax)
        if j < length:
            if j >= length // 2:
                stream.add("PIM_MV_GB", _chunk(waiting.context_writes, j - length // 2, chunk))
            stream.add("PIM_BARRIER", layout.channels)


def _single(stream: Stream, layout: Addresses, one: Round) -> None:
    """A round without a partner: nothing hides its moves."""
    barrier = layout.channels
    stream.add("PIM_WR_GB", one.query_writes)
    stream.add("PIM_BARRIER", barrier)
    stage(stream, layout, one.score_macs, BLOCKS_PER_MOVE, one.score_moves)
    stream.add("PIM_SFM", one.softmax)
    stream.add("PIM_MV_GB", one.context_writes)
    stream.add("PIM_BARRIER", barrier)
    stage(stream, layout, one.context_macs, 1, one.context_moves)


def _score(stream: Stream, layout: Addresses, one: Round, j: int) -> None:
    """MACs of the j-th 16 blocks, then the move of the scores of the 16 before them."""
    if j < one.score_groups:
        blocks = one.score_macs[j * BLOCKS_PER_MOVE : (j + 1) * BLOCKS_PER_MOVE]
        stream.add(layout.level.mac_request, blocks)
    if j > 0:
        stream.add("PIM_MV_SB", one.score_moves)


def _context(stream: Stream, layout: Addresses, one: Round, j: int) -> None:
    if j < len(one.context_macs):
        stream.add(layout.level.mac_request, one.context_macs[j])
    if j > 0:
        stream.add("PIM_MV_SB", one.context_moves)
