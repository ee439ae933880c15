"""What bounds a controller, in the AttAcc simulator.

Source: scale-snu/attacc_simulator @ c600051, pim_ramulator_src/Controller.h.
"""

QUEUE_ENTRIES = 33
"""Requests that a queue holds: the simulator's list accepts one more than its 32."""
MANY_WRITES, FEW_WRITES = int(0.8 * (QUEUE_ENTRIES - 1)), int(0.2 * (QUEUE_ENTRIES - 1)) + 1
"""Writes are served first from more than the one until there are fewer than the other."""
REFRESH_ENTRIES = 512 * 3 + 33
"""Refreshes that may wait."""
STUCK_CYCLES = 1_000_000
"""A controller that finishes and receives nothing for so long never will; the simulator hangs."""
