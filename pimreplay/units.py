"""Conversions between the units that names carry: cycles, ns, pJ, bytes, Gb/s."""


def clock_period_ps(data_rate_mbps: int) -> int:
    """Return the command clock period of quad-pumped pins, truncated to whole picoseconds.

    Four transfers a clock, as the AttAcc device model has it: 5200 Mb/s gives 769 ps.
    """
    return 1_000_000 // (data_rate_mbps // 4)


def cycles_to_ns(cycles: float, t_ck_ps: int) -> float:
    """Return the time of `cycles` command clocks in nanoseconds."""
    return cycles * t_ck_ps / 1000.0


def ns_to_cycles(time_ns: float, t_ck_ps: int) -> int:
    """Round a time up to whole cycles as JEDEC asks: the last 2.5% of a cycle are forgiven.

    The rounding of JESD79-4 section 13 in integers: cycles = (1000 t / tCK + 974) / 1000.
    """
    return (int(time_ns * 1_000_000) // t_ck_ps + 974) // 1000


def gigabytes_per_second(n_bytes: float, time_ns: float) -> float | None:
    """Return bytes over time in GB/s (1e9 bytes), None when no time passed."""
    return n_bytes / time_ns if time_ns > 0 else None
