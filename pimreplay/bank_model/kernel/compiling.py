"""How the kernel's functions are compiled, and two operations on bits."""

import numpy as np
from numba import config

from pimreplay.compiled import kernel

# No function makes an array: `_nrt=False` spares counting the references of those passed on, which
# took nine tenths of the time. Wrappers for callers in Python or C take a quarter of the compiling.
# A function of its own is optimised again inside each that calls it: it is pasted where it is long
# and one place calls it.
_OPTIONS = {"_nrt": False, "no_cfunc_wrapper": True}
from_python = kernel(**_OPTIONS)
called = kernel(**_OPTIONS, no_cpython_wrapper=True)
inlined = kernel(**_OPTIONS, no_cpython_wrapper=True, forceinline=True)
pasted = kernel(**_OPTIONS, no_cpython_wrapper=True, inline="always")

u64 = np.uint64
"""Makes an index that is not negative: numba then leaves out counting from the end."""

if config.DISABLE_JIT:

    def lowest_bit(mask: int) -> int:
        """Return the position of the lowest bit of a mask."""
        return (int(mask) & -int(mask)).bit_length() - 1

else:
    from numba.cpython.unsafe.numbers import trailing_zeros as lowest_bit  # type: ignore[no-redef]

__all__ = ["called", "from_python", "inlined", "lowest_bit", "pasted", "u64"]
