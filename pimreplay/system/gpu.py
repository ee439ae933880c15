"""Time and energy of a layer on a GPU: a roofline over tiles, and measured kernels where there are.

Source: scale-snu/attacc_simulator @ c600051, src/devices.py (class xPU) and src/config.py.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf

from pimreplay.system.data import Gpu
from pimreplay.system.layers import ACTIVATION, GPU_LINK, LINKS, NORM, PRODUCTS, WEIGHTS, Layer

COMPUTE_RATIO, MEMORY_RATIO = 0.8, 0.85
"""Shares of the peaks that are reached, SCALING_FACTOR in the source."""
MEMORY_PJ_PER_BYTE = (0.11 + 0.44 + 1.01 + 1.23 + 0.5 + 0.3) * 8
"""Cell to interposer: O'Connor et al., Fine-Grained DRAM, MICRO 2017."""
L2_PJ_PER_BYTE, L1_PJ_PER_BYTE, REGISTER_PJ_PER_BYTE, MAC_PJ = 0.3 * 8, 0.16 * 8, 0.0675, 0.32
LINK_PJ_PER_BYTE = 1.3 * 8
"""NVLink: Ishii and Ho, NVLink-Network switch, Hot Chips 2022 as cited by the source."""
_TILES = (8, 16, 32, 64, 128, 192, 256, 320, 384, 448, 512)
_REGISTER_TILE = 16
_L1_DEPTH = 32
_A100_BYTES_PER_S = 1555e9
"""Memory of the A100 on which activations and normalisations were measured."""
_MEASURED = {ACTIVATION: (0.000000447, 8.29), NORM: (0.0000016, 6.87)}
"""Microseconds: slope by bytes and start, fitted by the source."""
_LINK_START_NS, _LINK_NS_PER_BYTE, _A100_LINK_BYTES_PER_S = 6060, 0.009, 600e9


@dataclass(frozen=True, slots=True)
class Cost:
    """Time of a layer and its energies, of all GPUs or stacks together."""

    time_s: float
    memory_pj: float = 0.0
    l2_pj: float = 0.0
    l1_pj: float = 0.0
    register_pj: float = 0.0
    mac_pj: float = 0.0
    link_pj: float = 0.0
    memory_bound: bool = False


def layer_cost(gpu: Gpu, gpus: int, layer: Layer) -> Cost:
    """Return what a layer costs on each of `gpus` GPUs at once."""
    if layer.kind in LINKS:
        return _link(gpu, gpus, layer)
    bytes_by_level = _traffic(gpu, layer)
    compute_s = layer.flops / (
        gpu.flops_per_s * COMPUTE_RATIO * _busy(gpu, layer) * int(2 / layer.word_bytes)
    )
    if layer.kind in _MEASURED:
        slope, start = _MEASURED[layer.kind]
        scale = _A100_BYTES_PER_S / gpu.memory_bytes_per_s
        memory_s = (slope * scale * bytes_by_level[0] + start) / 1e6
    else:
        memory_s = bytes_by_level[0] / (gpu.memory_bytes_per_s * MEMORY_RATIO * _busy(gpu, layer))
    memory, l2, l1, registers = (gpus * part for part in bytes_by_level)
    return Cost(
        time_s=max(compute_s, memory_s),
        memory_pj=memory * MEMORY_PJ_PER_BYTE,
        l2_pj=l2 * L2_PJ_PER_BYTE,
        l1_pj=l1 * L1_PJ_PER_BYTE,
        register_pj=registers * REGISTER_PJ_PER_BYTE,
        mac_pj=gpus * layer.flops / 2 * MAC_PJ,
        memory_bound=compute_s <= memory_s,
    )


def _link(gpu: Gpu, gpus: int, layer: Layer) -> Cost:
    """An all-reduce over the GPUs' links, after times measured on an A100; or a plain transfer."""
    sent = layer.bytes_sent
    one_way = gpu.link_bytes_per_s / 2
    energy_pj = gpus * sent * LINK_PJ_PER_BYTE
    if layer.kind != GPU_LINK:
        return Cost(sent / one_way, link_pj=energy_pj)
    part = sent / gpus
    measured_s = (
        _LINK_START_NS + _LINK_NS_PER_BYTE * part * _A100_LINK_BYTES_PER_S / gpu.link_bytes_per_s
    ) / 1e9
    return Cost(max(measured_s, part / one_way) * (gpus - 1), link_pj=energy_pj)


def _traffic(gpu: Gpu, layer: Layer) -> tuple[float, float, float, float]:
    """Bytes from memory, level-two cache, level-one cache and registers."""
    if layer.kind not in PRODUCTS:
        return (layer.bytes_moved,) * 4
    l1_tile, l2_tile = _tiles(gpu, layer)
    registers = 3 * layer.m * layer.n * layer.k
    return (
        _tiled(layer, *l2_tile),
        _tiled(layer, *l1_tile),
        _tiled(layer, _REGISTER_TILE, _REGISTER_TILE),
        registers,
    )


def _tiled(layer: Layer, rows: float, columns: float) -> float:
    """Bytes that tiles of the result read and write."""
    m, n, k = layer.m, layer.n, layer.k
    elements = ceil(n / columns) * m * k + ceil(m / rows) * n * k + m * n
    return elements * layer.word_bytes * layer.count


def _busy(gpu: Gpu, layer: Layer) -> float:
    """Share of the cores that the thread blocks of a layer keep busy."""
    blocks = layer.count * layer.split
    if layer.kind == WEIGHTS:
        rows, columns = _tiles(gpu, layer)[0]
        blocks *= ceil(layer.m / rows) * ceil(layer.n / columns)
    return blocks / (ceil(blocks / gpu.cores) * gpu.cores)


@lru_cache(maxsize=4096)
def _tiles(gpu: Gpu, layer: Layer) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (rows, columns) of the level-one and level-two tiles that move the fewest bytes."""
    m, n, word = layer.m, layer.n, layer.word_bytes
    best, l1_tile = inf, (0.0, 0.0)
    for rows in (min(tile, m) for tile in _TILES):
        for columns in (min(tile, n) for tile in _TILES):
            if ((rows + columns) * _L1_DEPTH + rows * columns) * word > gpu.l1_bytes_per_core:
                continue
            blocks = layer.count
            if layer.kind == WEIGHTS:
                blocks *= ceil(m / rows) * ceil(n / columns)
            busy = blocks / (ceil(blocks / gpu.cores) * gpu.cores)
            cost = _tiled(layer, rows, columns) / busy**2
            if cost < best:
                best, l1_tile = cost, (rows, columns)
    best, l2_tile = inf, (0.0, 0.0)
    l2_depth = layer.k / 64  # found by experiment, the source says
    for i in (*range(1, int(m / l1_tile[0]) + 1), inf):
        rows = min(i * l1_tile[0], m)
        for j in (*range(1, int(n / l1_tile[1]) + 1), inf):
            columns = min(j * l1_tile[1], n)
            needed = ((rows + columns) * l2_depth + rows * columns) * word
            if needed > gpu.l2_bytes and (rows, columns) != l1_tile:
                continue
            cost = _tiled(layer, rows, columns)
            if cost < best:
                best, l2_tile = cost, (rows, columns)
    return l1_tile, l2_tile
