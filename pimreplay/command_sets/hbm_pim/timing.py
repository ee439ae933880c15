"""Timings of HBM-PIM, and the cycles between commands that follow from them."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True, slots=True)
class Timing:
    """Timings in command clocks; `n_bl_cycles` is half the burst length."""

    t_ck_ps: int
    n_bl_cycles: int
    n_rl_cycles: int
    n_wl_cycles: int
    n_ccds_cycles: int
    n_ccdl_cycles: int
    n_rcdrd_cycles: int
    n_rcdwr_cycles: int
    n_ras_cycles: int
    n_rc_cycles: int
    n_rp_cycles: int
    n_rrds_cycles: int
    n_rrdl_cycles: int
    n_rtpl_cycles: int
    n_wr_cycles: int
    n_wtrl_cycles: int
    n_rtrs_cycles: int
    n_refi_cycles: int
    n_rfc_cycles: int

    @property
    def read_to_precharge(self) -> int:
        """Cycles from a read to a precharge of its bank."""
        return self.n_bl_cycles + max(self.n_rtpl_cycles - self.n_ccdl_cycles, 0)

    @property
    def write_to_precharge(self) -> int:
        """Cycles from a write to a precharge of its bank."""
        return self.n_wl_cycles + self.n_bl_cycles + self.n_wr_cycles

    @property
    def read_to_write(self) -> int:
        """Cycles from a read to a write in any bank."""
        return self.n_rl_cycles + self.n_bl_cycles + self.n_rtrs_cycles - self.n_wl_cycles

    @property
    def write_to_read(self) -> int:
        """Cycles from a write to a read in any bank of the rank."""
        return self.n_wl_cycles + self.n_bl_cycles + self.n_wtrl_cycles

    @property
    def write_to_read_of_other_rank(self) -> int:
        """Cycles from a write to a read of another rank."""
        return max(self.n_wl_cycles + self.n_bl_cycles + self.n_rtrs_cycles - self.n_rl_cycles, 0)

    @property
    def read_to_data(self) -> int:
        """Cycles from a read's issue until the host has the data."""
        return self.n_rl_cycles + self.n_bl_cycles + 2

    @property
    def write_to_data(self) -> int:
        """Cycles from a write's issue until the memory has the data."""
        return self.n_wl_cycles + self.n_bl_cycles + 1


class Gaps(NamedTuple):
    """Cycles between commands, as the compiled functions take them."""

    column: Any
    """[of another rank, write before, write after] between columns of different bank groups."""
    ccdl: int
    to_precharge: Any
    """[write] from a column command to a precharge of its bank."""
    from_activate: Any
    """[write] from an activate to a column command of its bank."""
    to_data: Any
    """[write] from a column command until its data is through."""
    ras: int
    rc: int
    rp: int
    rrds: int
    rrdl: int
    refi: int
    rfc: int


def gaps_of(t: Timing) -> Gaps:
    """Return the cycles between commands."""
    other = t.n_bl_cycles + t.n_rtrs_cycles
    near = [[t.n_ccds_cycles, t.read_to_write], [t.write_to_read, t.n_ccds_cycles]]
    far = [[other, t.read_to_write], [t.write_to_read_of_other_rank, other]]
    return Gaps(
        column=np.array([near, far]),
        ccdl=t.n_ccdl_cycles,
        to_precharge=np.array([t.read_to_precharge, t.write_to_precharge]),
        from_activate=np.array([t.n_rcdrd_cycles, t.n_rcdwr_cycles]),
        to_data=np.array([t.read_to_data, t.write_to_data]),
        ras=t.n_ras_cycles,
        rc=t.n_rc_cycles,
        rp=t.n_rp_cycles,
        rrds=t.n_rrds_cycles,
        rrdl=t.n_rrdl_cycles,
        refi=t.n_refi_cycles,
        rfc=t.n_rfc_cycles,
    )
