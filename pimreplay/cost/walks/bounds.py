"""What the walks below bank level can hold; nothing is compiled here."""

from pimreplay.bank_model.limits import QUEUE_ENTRIES
from pimreplay.hardware.device import Hardware
from tracegen.base.errors import UserError

MOST_BANKS = 256
AHEAD = 1 << 10
"""Cycles from one that is looked at in which a bus may be taken (buffer level)."""
MOST_SPACING = 16
"""Cycles between two MACs, of the 64 that are looked at together (buffer level)."""


def refuse_unwalkable(hardware: Hardware) -> None:
    """Refuse a device for which a walk has no room; `command` fidelity has no such bounds.

    Raises:
        UserError: says what is too much.
    """
    org, t, walk = hardware.organisation, hardware.timing, hardware.level.walk
    problems = []
    if walk == "bank_group" and org.banks > MOST_BANKS:
        problems.append(f"{org.banks} banks in a bank group; at most {MOST_BANKS}")
    if walk == "buffer":
        banks = hardware.level.interleaved_banks(org)
        if banks > MOST_BANKS or banks & (banks - 1):
            problems.append(
                f"{banks} banks in a pseudo-channel, which columns go round; must be a power of "
                f"two, at most {MOST_BANKS}"
            )
        spacing = hardware.level.mac_spacing_cycles(t)
        if spacing > MOST_SPACING:
            problems.append(f"{spacing} cycles between MACs; at most {MOST_SPACING}")
        queued = QUEUE_ENTRIES * max(spacing, t.n_ccdl_cycles)
        reach = queued + t.n_rtpl_cycles + t.n_rp_cycles + t.n_rcdrd_cycles + t.n_rc_cycles
        if reach > AHEAD:
            problems.append(
                f"{reach} cycles from a request to its MAC ({QUEUE_ENTRIES} x n_ccdl + n_rtpl + "
                f"n_rp + n_rcdrd + n_rc); at most {AHEAD}"
            )
    if problems:
        raise UserError(
            f"{hardware.name}: the analytic fidelity cannot walk {'; '.join(problems)}; use "
            "--fidelity command"
        )
