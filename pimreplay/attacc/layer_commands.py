"""The command stream of one attention layer of one decode step, as AttAcc maps it.

Heads go to channels in rounds of as many heads as there are channels; rounds are pipelined in
pairs, one head's moves under the other's MACs. Each stage of MACs ends with a barrier. Mapping and
order are those of the public trace generators (scale-snu/attacc_simulator @ c600051, trace_gen;
for `kv_budget` and `cluster_step` EPIC-RPI/STARC @ 30d4ce9, simulator_starc), their rounding of
chunk sizes and the second head's context addresses included.
"""

import gzip
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pimreplay.bank_model.address_map import AddressMap
from pimreplay.bank_model.commands import REQUEST_WORDS, Requests
from pimreplay.cost.walks.parameters import BLOCKS_PER_MOVE
from pimreplay.hardware.device import Hardware
from pimreplay.hardware.levels import Level
from tracegen.base.errors import UserError

IntArray = NDArray[np.int64]

VALUE_OFFSET = 1 << 23
"""Bytes from the keys' to the values' region in a bank, and on to the clustering scratch."""
KINDS = {word: kind for kind, word in enumerate(REQUEST_WORDS)}
ARTEFACT_MAX_TOKENS = 409600
MOST = 1 << 32
CLUSTER_TOKENS = 64
CLUSTER_ITERATIONS = 16
CLUSTER_ROW_TOKENS = 16


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """One attention layer of one decode step on one stack."""

    head_dim: int
    heads: int
    tokens: int
    element_bytes: int = 2
    kv_budget: int | None = None
    """Tokens read, rounded up to blocks; None or 0: all of them."""
    max_tokens: int | None = None
    """Cache length that addresses leave room for; None: as the generators' defaults."""
    cluster_step: bool = False
    """Prepend STARC's clustering and rewriting of all tokens, as its artefact costs them."""

    @property
    def read_tokens(self) -> int:
        """Tokens whose keys and values are read."""
        if not self.kv_budget:
            return self.tokens
        return min(-(-self.kv_budget // 16), -(-self.tokens // 16)) * 16

    def check(self, level: Level) -> None:
        """Raise `UserError` with everything that is wrong for a device of this level."""
        problems = [
            f"{name} = {value} must be at least 1"
            for name, value in (
                ("--head-dim", self.head_dim),
                ("--heads", self.heads),
                ("--tokens", self.tokens),
            )
            if value < 1
        ]
        problems += [
            f"{name} is above {MOST:,}, the most that is worked out"
            for name, value in (
                ("--head-dim", self.head_dim),
                ("--heads", self.heads),
                ("--tokens", self.tokens),
                ("--max-tokens", self.max_tokens or 0),
                ("--kv-budget", self.kv_budget or 0),
            )
            if value > MOST
        ]
        if self.element_bytes not in (1, 2, 4):
            problems.append(f"--bytes-per-element = {self.element_bytes}; allowed: 1, 2, 4")
        if self.kv_budget is not None and self.kv_budget < 0:
            problems.append(f"--kv-budget = {self.kv_budget} must not be negative; 0 reads all")
        if self.max_tokens is not None and self.max_tokens < self.tokens:
            problems.append(f"--max-tokens = {self.max_tokens} is below --tokens = {self.tokens}")
        if self.cluster_step and level.name != "bank":
            problems.append("--cluster-step: the artefact has it for --mode bank only")
        if self.cluster_step and self.heads > 16:
            problems.append(
                f"--cluster-step with --heads {self.heads}: the artefact writes no valid trace "
                "for more than one round of 16 heads; use at most 16"
            )
        if self.cluster_step and self.tokens > ARTEFACT_MAX_TOKENS:
            problems.append(
                f"--cluster-step with --tokens {self.tokens:,}: the artefact has room for "
                f"{ARTEFACT_MAX_TOKENS:,}"
            )
        if problems:
            raise UserError("; ".join(problems))


@dataclass(slots=True)
class _Round:
    """Addresses of one round: every array's last axis is the channel."""

    valid: int
    query_writes: IntArray
    score_macs: IntArray  # (blocks, MACs a block, channels)
    score_moves: IntArray  # one move of 16 blocks' scores: (moves, channels)
    softmax: IntArray
    context_writes: IntArray  # (moves, channels)
    context_macs: IntArray  # (slices, blocks, channels)
    context_moves: IntArray  # after one slice: (moves, channels)

    @property
    def score_groups(self) -> int:
        return ceil(len(self.score_macs) / BLOCKS_PER_MOVE)


@dataclass(slots=True)
class _Stream:
    """Runs of requests of one kind; there are hundreds of thousands, so each must cost little."""

    kinds: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    addresses: list[IntArray] = field(default_factory=list)

    def add(self, word: str, addresses: IntArray) -> None:
        self.kinds.append(KINDS[word])
        self.lengths.append(addresses.size)
        self.addresses.append(addresses)

    def rounds(self, *runs: tuple[str, IntArray]) -> None:
        """Add the runs in turn, round after round: (rounds, requests) each, or (1, requests)."""
        rounds = max(len(addresses) for _, addresses in runs)
        self.kinds += [KINDS[word] for word, _ in runs] * rounds
        self.lengths += [addresses.shape[1] for _, addresses in runs] * rounds
        every = [np.broadcast_to(one, (rounds, one.shape[1])) for _, one in runs]
        self.addresses.append(np.concatenate(every, axis=1))

    def requests(self) -> Requests:
        kinds = np.repeat(np.array(self.kinds, dtype=np.uint8), self.lengths)
        return Requests(kinds, np.concatenate(self.addresses, axis=None))


class _Layout:
    """Where the generators put things, in bytes."""

    def __init__(self, hardware: Hardware, shape: AttentionShape) -> None:
        org = hardware.organisation
        m = AddressMap.of(org)
        self.org, self.shape = org, shape
        self.column = org.access_bytes
        self.row = m.address(row=1)
        self.bank = m.address(bank=1)
        self.group = m.address(bank_group=1)
        self.rank = m.address(rank=1)
        self.channel = m.address(channel=1)
        self.words = org.access_bytes // shape.element_bytes
        self.level = hardware.level
        self.lanes = self.level.lanes(org)
        self.columns = ceil(shape.head_dim / self.level.vector_banks(org) / self.words)
        longest = shape.max_tokens
        if longest is None:
            starc = shape.kv_budget is not None
            longest = max(ARTEFACT_MAX_TOKENS if starc else 4096, shape.tokens)
        self.partition = ceil(longest * shape.head_dim / org.channel_banks)
        self.channels = np.arange(org.channels, dtype=np.int64) * self.channel

    def place(self, offsets: IntArray | list[int], valid: int) -> IntArray:
        """Return offsets in every valid channel: one axis more."""
        return np.asarray(offsets, dtype=np.int64)[..., None] + self.channels[:valid]

    def mac(self, index: IntArray) -> IntArray:
        """Return the offset of the index-th column that MACs read in order."""
        org = self.org
        at = self.level.place(index, org)
        # rows continue into the bits above where a region is larger than a bank
        offset: IntArray = at.rank * self.rank + at.bank_group * self.group + at.bank * self.bank
        return offset + at.row * self.row + at.column * self.column

    def gemv_offsets(self, tokens: int) -> list[int]:
        """Moves of the probabilities of so many tokens to the GEMV buffers, one channel."""
        count = ceil(tokens / (self.lanes * self.words))
        return [
            rank * self.rank + group * self.group + column
            for rank, group in self.level.gemv_targets(self.org)
            for column in range(count)
        ]

    def score_move_offsets(self) -> list[int]:
        return [r * self.rank + g * self.group for r, g in self.level.score_moves(self.org)]

    def context_move_offsets(self) -> list[int]:
        return [bank * self.bank + r * self.rank for bank, r in self.level.context_moves(self.org)]

    def query_offsets(self) -> list[int]:
        banks = self.level.vector_banks(self.org)
        return [bank * self.bank + c for bank in range(banks) for c in range(self.columns)]

    def round(self, index: int, valid: int) -> _Round:
        tokens = self.shape.read_tokens
        blocks = ceil(tokens / self.lanes)
        keys = index * self.partition
        values = keys + VALUE_OFFSET
        macs = np.arange(blocks * self.columns, dtype=np.int64)
        return _Round(
            valid=valid,
            query_writes=self.place(self.query_offsets(), valid) + keys,
            score_macs=self.place(self.mac(macs).reshape(blocks, self.columns), valid) + keys,
            score_moves=self.place(self.score_move_offsets(), valid) + keys,
            softmax=self.channels[:valid],
            context_writes=self.place(self.gemv_offsets(tokens), valid) + values,
            context_macs=self.place(self.mac(macs).reshape(self.columns, blocks), valid) + values,
            context_moves=self.place(self.context_move_offsets(), valid) + values,
        )


def attention_requests(hardware: Hardware, shape: AttentionShape) -> Requests:
    """Return the requests of the layer in the order in which the front end hands them over."""
    shape.check(hardware.level)
    _refuse_overfull(hardware, shape)
    layout = _Layout(hardware, shape)
    channels = hardware.organisation.channels
    rounds = [
        layout.round(index, min(channels, shape.heads - index * channels))
        for index in range(ceil(shape.heads / channels))
    ]
    stream = _Stream()
    if shape.cluster_step:
        _cluster(stream, layout, rounds[0].valid)
    for index in range(0, len(rounds) - 1, 2):
        _pair(stream, layout, rounds[index], rounds[index + 1], dummy=index == 0)
    if len(rounds) % 2:
        _single(stream, layout, rounds[-1])
    requests = stream.requests()
    last = int(requests.address.max())
    end = AddressMap.of(hardware.organisation).end
    if last >= end:
        raise UserError(
            f"the layer needs address {last:#x}, the device ends at {end - 1:#x}; use fewer heads "
            "or a smaller --max-tokens"
        )
    return requests


def _refuse_overfull(hardware: Hardware, shape: AttentionShape) -> None:
    """Refuse keys and values that the fullest channel does not hold."""
    org = hardware.organisation
    heads = -(-shape.heads // org.channels)
    need = 2 * heads * shape.tokens * shape.head_dim * shape.element_bytes
    room = org.capacity_bytes // org.channels
    if need > room:
        raise UserError(
            f"{heads:,} heads of {shape.tokens:,} tokens lie in a channel and need {need:,} bytes "
            f"for keys and values; a channel has {room:,}; use fewer --tokens or --heads"
        )


def _chunk(addresses: IntArray, index: int, size: int) -> IntArray:
    """Return the index-th chunk of a flat list of moves (the generators cut across channels)."""
    flat = addresses.reshape(-1)
    return flat[max(index, 0) * size : (index + 1) * size]


def _pair(  # noqa: PLR0912  # four stages, one after the other
    stream: _Stream, layout: _Layout, one: _Round, two: _Round, *, dummy: bool
) -> None:
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
    length = two.score_groups
    moves = len(layout.gemv_offsets(layout.shape.tokens))
    chunk = int(moves * one.valid / ceil(length / 2))
    for j in range(length + 1):
        _score(stream, layout, two, j)
        if j == 0:
            stream.add("PIM_SFM", one.softmax)
        if j < length:
            if j >= length // 2:
                stream.add("PIM_MV_GB", _chunk(one.context_writes, j - length // 2, chunk))
            stream.add("PIM_BARRIER", barrier)
    # context of the first head; softmax and probabilities of the second
    length = len(one.context_macs)
    chunk = int(moves * two.valid / ceil(length / 2))
    for j in range(length + 1):
        _context(stream, layout, one, j)
        if j == 0:
            stream.add("PIM_SFM", two.softmax)
        if j < length:
            if j >= length // 2:
                stream.add("PIM_MV_GB", _chunk(two.context_writes, j - length // 2, chunk))
            stream.add("PIM_BARRIER", barrier)
    # context of the second head, at the first's addresses as in the generators
    for j in range(length + 1):
        _context(stream, layout, one, j)
        if j < length:
            stream.add("PIM_BARRIER", barrier)


def _single(stream: _Stream, layout: _Layout, one: _Round) -> None:
    """A round without a partner: nothing hides its moves."""
    barrier = layout.channels
    stream.add("PIM_WR_GB", one.query_writes)
    stream.add("PIM_BARRIER", barrier)
    _stage(stream, layout, one.score_macs, BLOCKS_PER_MOVE, one.score_moves)
    stream.add("PIM_SFM", one.softmax)
    stream.add("PIM_MV_GB", one.context_writes)
    stream.add("PIM_BARRIER", barrier)
    _stage(stream, layout, one.context_macs, 1, one.context_moves)


def _stage(stream: _Stream, layout: _Layout, macs: IntArray, group: int, moves: IntArray) -> None:
    """MACs in groups of `group` rows; each but the last hides the move of the sums before it."""
    word, barrier = layout.level.mac_request, layout.channels
    whole = len(macs) // group * group
    groups = macs[:whole].reshape(whole // group, group * macs[0].size)
    rest = macs[whole:]
    stream.add(word, groups[0] if whole else rest)
    stream.add("PIM_BARRIER", barrier)
    if len(groups) > 1:
        stream.rounds(
            (word, groups[1:]),
            ("PIM_MV_SB", moves.reshape(1, -1)),
            ("PIM_BARRIER", barrier.reshape(1, -1)),
        )
    if whole and len(rest):
        stream.add(word, rest)
        stream.add("PIM_MV_SB", moves)
        stream.add("PIM_BARRIER", barrier)
    stream.add("PIM_MV_SB", moves)


def _score(stream: _Stream, layout: _Layout, one: _Round, j: int) -> None:
    """MACs of the j-th 16 blocks, then the move of the scores of the 16 before them."""
    if j < one.score_groups:
        blocks = one.score_macs[j * BLOCKS_PER_MOVE : (j + 1) * BLOCKS_PER_MOVE]
        stream.add(layout.level.mac_request, blocks)
    if j > 0:
        stream.add("PIM_MV_SB", one.score_moves)


def _context(stream: _Stream, layout: _Layout, one: _Round, j: int) -> None:
    if j < len(one.context_macs):
        stream.add(layout.level.mac_request, one.context_macs[j])
    if j > 0:
        stream.add("PIM_MV_SB", one.context_moves)


def _cluster(stream: _Stream, layout: _Layout, valid: int) -> None:
    """STARC's clustering and rewriting as its artefact charges them: over all tokens, once."""
    org, shape, barrier = layout.org, layout.shape, layout.channels
    tokens = shape.tokens
    blocks = ceil(tokens / layout.lanes)
    scratch = 2 * VALUE_OFFSET
    moves = layout.place(layout.gemv_offsets(tokens), valid) + scratch
    score_moves = layout.place(layout.score_move_offsets(), valid) + scratch
    columns = np.arange(blocks * layout.columns, dtype=np.int64) * layout.column
    norms = layout.place(columns.reshape(blocks, layout.columns), valid) + scratch
    norms = np.concatenate([norms, norms])  # squares, then divisions
    charged = ceil(blocks / BLOCKS_PER_MOVE) * BLOCKS_PER_MOVE
    # norms of the keys
    stream.add("PIM_MV_GB", moves)
    stream.add("PIM_BARRIER", barrier)
    _stage(stream, layout, norms[:charged], BLOCKS_PER_MOVE, score_moves)
    # centroid updates, then every key and value read and written once
    centroid_rows = ceil(ceil(tokens / CLUSTER_TOKENS) / CLUSTER_ROW_TOKENS)
    vector = [bank * layout.bank + c for bank in range(org.banks) for c in range(layout.columns)]
    centroids = [row * layout.row + at for row in range(centroid_rows) for at in vector]
    for _ in range(CLUSTER_ITERATIONS):
        stream.add("PIM_MV_GB", moves)
        stream.add("PIM_WR_GB", layout.place(centroids, valid) + scratch + (1 << 22))
    for row in range(ceil(tokens / CLUSTER_ROW_TOKENS)):
        for source, target in (
            (0, scratch + VALUE_OFFSET),
            (VALUE_OFFSET, scratch + 2 * VALUE_OFFSET),
        ):
            places = layout.place(vector, valid).reshape(-1, 1) + row * layout.row
            stream.rounds(("PIM_MV_GB", places + source), ("PIM_WR_GB", places + target))
    stream.add("PIM_BARRIER", barrier)
    # similarities of the first blocks
    pairs = tokens * tokens / CLUSTER_TOKENS
    length = ceil(pairs / org.banks / layout.words / BLOCKS_PER_MOVE)
    block = np.arange(length, dtype=np.int64) % ceil(pairs / layout.lanes)
    columns = block[:, None] * layout.columns + np.arange(layout.columns)
    macs = layout.place(columns * layout.column, valid) + scratch
    _stage(stream, layout, macs, 1, score_moves)


def export(requests: Requests, path: Path) -> None:
    """Write requests as a gzip command trace that any Ramulator with AttAcc's front end reads."""
    words = np.array(REQUEST_WORDS)
    if path.exists():
        raise UserError(f"{path}: exists already; give another name or remove it")
    part = path.with_name(path.name + ".part")
    try:
        with gzip.open(part, "wt", encoding="ascii", newline="\n", compresslevel=6) as file:
            for start in range(0, len(requests), 1 << 16):
                kinds = words[requests.kind[start : start + (1 << 16)]].tolist()
                places = requests.address[start : start + (1 << 16)].tolist()
                file.write(
                    "".join(
                        f"{kind} 0x{place:08x}\n" for kind, place in zip(kinds, places, strict=True)
                    )
                )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
