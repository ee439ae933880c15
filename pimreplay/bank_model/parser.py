"""Text of a command trace to integer arrays, compiled.

A word of up to 15 letters is read as two numbers of 64 bits, so that its end is found and its name
known without a loop over letters; a digit is looked up. Both spare branches that a processor cannot
foresee.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, unused-ignore"

from typing import Any

import numpy as np
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from pimreplay.bank_model.commands import REQUEST_WORDS
from pimreplay.bank_model.kernel.compiling import lowest_bit
from pimreplay.compiled import kernel

FULL, BAD_WORD, BAD_ADDRESS, OUTSIDE = range(4)
"""Why a parse stopped: the input or the output is at its end, or a line is not a request."""
SPARE_BYTES = 16
"""Bytes that must follow the text: words are read so many bytes at a time."""
NO_DIGIT = 16
DIGIT = np.full(256, NO_DIGIT, dtype=np.int64)
"""Value of each byte as a hexadecimal digit."""
for _value in range(16):
    DIGIT[[ord(f"{_value:x}"), ord(f"{_value:X}")]] = _value
_TO_HIGH_BIT = np.uint64((128 - 33) * 0x0101010101010101)
"""Added to letters, sets the high bit of those above the space, which ends a word."""
_HIGH_BITS = np.uint64(0x8080808080808080)

if config.DISABLE_JIT:

    def _eight_bytes(text: Any, at: int) -> Any:
        """Return eight bytes of a text as a number, the first byte lowest."""
        return np.uint64(int.from_bytes(bytes(text[at : at + 8]), "little"))

else:

    @intrinsic  # type: ignore[misc]
    def _eight_bytes(typing_context, text, at):
        """Return eight bytes of a text as a number, the first byte lowest."""

        def code(context, builder, signature, arguments):
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            place = builder.gep(data, [arguments[1]])
            number = builder.load(builder.bitcast(place, cgutils.intp_t.as_pointer()))
            number.align = 1
            return number

        return types.uint64(text, types.int64), code


def word_table() -> Any:
    """Return the letters of each request's word, the first eight and the rest: (words, 2)."""
    table = np.zeros((len(REQUEST_WORDS), 2), dtype=np.uint64)
    for number, word in enumerate(REQUEST_WORDS):
        text = word.encode()
        table[number] = [int.from_bytes(part, "little") for part in (text[:8], text[8:])]
    return table


@kernel(forceinline=True, _nrt=False)
def _letters(text, at):
    """Return those of eight letters before the first that is a space or less, and their count."""
    letters = _eight_bytes(text, at)
    blanks = ~(((letters & ~_HIGH_BITS) + _TO_HIGH_BIT) | letters) & _HIGH_BITS
    if blanks == 0:
        return letters, np.int64(8)
    length = np.int64(lowest_bit(blanks)) >> 3
    return letters & ((np.uint64(1) << np.uint64(8 * length)) - np.uint64(1)), length


@kernel(_nrt=False)
def parse(text, table, end, kinds, addresses):
    """Parse whole lines of `text`; return (requests, bytes used, why it stopped).

    The last `SPARE_BYTES` of `text` are not parsed. Stops before the first line that is incomplete,
    not a request, or whose address is not below `end`.
    """
    n = 0
    at = 0
    size = len(text) - SPARE_BYTES
    most = len(kinds)
    request = np.uint8(0)
    while n < most:
        begin = at
        first, length = _letters(text, begin)
        second, rest = np.uint64(0), np.int64(0)
        if length == 8:
            second, rest = _letters(text, begin + 8)
        i = begin + length + rest
        if rest == 8:  # too long for a request: named when its end is there
            while i < size and text[i] > 32:
                i += 1
        if i >= size:
            return n, begin, FULL
        if table[request, 0] != first or table[request, 1] != second:  # most often as before
            request = np.uint8(0)
            while table[request, 0] != first or table[request, 1] != second:
                request += np.uint8(1)
                if request == len(table):
                    return n, begin, BAD_WORD
        while i < size and (text[i] == 32 or text[i] == 9):
            i += 1
        value = np.int64(0)
        if text[i] == 48 and (text[i + 1] == 120 or text[i + 1] == 88):
            i += 2
            digits = i
            while i < size and DIGIT[text[i]] < NO_DIGIT:
                value = value << 4 | DIGIT[text[i]]
                i += 1
                if value >= end:
                    return n, begin, OUTSIDE
        else:
            digits = i
            while i < size and DIGIT[text[i]] < 10:
                value = value * 10 + DIGIT[text[i]]
                i += 1
                if value >= end:
                    return n, begin, OUTSIDE
        digits = i - digits
        while i < size and (text[i] == 32 or text[i] == 9 or text[i] == 13):
            i += 1
        if i >= size:
            return n, begin, FULL
        if digits == 0 or text[i] != 10:
            return n, begin, BAD_ADDRESS
        kinds[n] = request
        addresses[n] = value
        n += 1
        at = i + 1
    return n, at, FULL
