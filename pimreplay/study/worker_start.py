"""Imported once by the process that workers are forked from: what each would else load itself.

No tensor is computed here: threads that a library starts for that would not survive the fork.
"""

from contextlib import suppress

import numpy as np

from pimreplay import policies
from pimreplay.cost.step_cost import step_cost
from pimreplay.hardware import reading as hardware
from pimreplay.study import parts
from tracegen.base.discover import discover

__all__ = ["parts"]

# what goes wrong here goes wrong again in a job, where it is reported
with suppress(Exception):
    discover(policies)
    step_cost(hardware.load("attacc_hbm3_bank").geometry(128), np.ones((1, 8), np.bool_), 1)
