"""What energy is charged for."""

from dataclasses import dataclass

from pimreplay.cost.energy_parts import FloatArray


@dataclass(frozen=True, slots=True)
class Events:
    """What energy is charged for: counts of one channel or of a stack, (points,)."""

    activations: FloatArray
    """Rows opened, in banks."""
    mac_reads: FloatArray
    """Column accesses of MACs, in banks: all-bank MACs times the banks they read."""
    mac_commands: FloatArray
    query_writes: FloatArray
    """Column accesses from the host to GEMV buffers."""
    moves: FloatArray
    """Column accesses between the GEMV buffers and the softmax unit."""
    host_accesses: FloatArray
    """Column accesses between cells and host: plain reads and writes."""
    scores: FloatArray
    """Elements through the softmax."""
    score_products: FloatArray
    """Multiply-adds of query times keys, without lanes that only pad."""
    time_ns: FloatArray
    channels: int
    kv_bits: int
