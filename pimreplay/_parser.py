"""Text of a command trace to integer arrays, compiled.

A word of up to 16 letters is two numbers of 64 bits, so that it is known by two comparisons; a
digit is looked up. Both spare the branches that a processor cannot foresee.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc"

from typing import Any

import numpy as np
from numba import njit

from pimreplay.commands import REQUEST_WORDS

FULL, BAD_WORD, BAD_ADDRESS, OUTSIDE = range(4)
"""Why a parse stopped: at the end of the input or the output, or at a line that is no request."""
HIGH, LOW, LENGTH, REQUEST = range(4)
"""Columns of the word table: first letters, last eight letters, their count, number."""
NO_DIGIT = 16
DIGIT = np.full(256, NO_DIGIT, dtype=np.int64)
"""Value of each byte as a hexadecimal digit."""
for _value in range(16):
    DIGIT[[ord(f"{_value:x}"), ord(f"{_value:X}")]] = _value


@njit(cache=True, error_model="numpy")
def _slot(low):
    """Return the slot of a word by its last letters; the shifts, found by trial, tell all apart."""
    return np.int64(((low >> np.uint64(9)) ^ (low >> np.uint64(24))) & np.uint64(15))


def word_table() -> Any:
    """Return the word of each slot: (16, 4) uint64."""
    table = np.zeros((16, 4), dtype=np.uint64)
    for number, word in enumerate(REQUEST_WORDS):
        text = word.encode()
        high, low = (np.uint64(int.from_bytes(part)) for part in (text[:-8], text[-8:]))
        slot = table[_slot(low)]
        if slot[LENGTH]:
            raise AssertionError(f"{word} and {REQUEST_WORDS[int(slot[REQUEST])]} share a slot")
        slot[:] = high, low, len(text), number
    return table


@njit(cache=True, error_model="numpy", _nrt=False)
def parse(text, table, address_bits, kinds, addresses):
    """Parse whole lines of `text`; return (requests, bytes used, why it stopped).

    Stops before the first line that is incomplete or no request.
    """
    n = 0
    at = 0
    size = len(text)
    most = len(kinds)
    limit = np.int64(1) << address_bits
    byte, top = np.uint64(8), np.uint64(56)
    while n < most:
        begin = at
        i = begin
        high, low = np.uint64(0), np.uint64(0)
        while i < size and text[i] > 32:
            high = (high << byte) | (low >> top)
            low = (low << byte) | np.uint64(text[i])
            i += 1
        if i >= size:
            return n, begin, FULL
        word = _slot(low)
        if table[word, HIGH] != high or table[word, LOW] != low:
            return n, begin, BAD_WORD
        if table[word, LENGTH] != np.uint64(i - begin):
            return n, begin, BAD_WORD
        while i < size and (text[i] == 32 or text[i] == 9):
            i += 1
        value = np.int64(0)
        base = np.int64(10)
        if i + 1 < size and text[i] == 48 and (text[i + 1] == 120 or text[i + 1] == 88):
            i += 2
            base = np.int64(16)
        first = i
        while i < size and DIGIT[text[i]] < base:
            value = value * base + DIGIT[text[i]]
            i += 1
            if value >= limit:
                return n, begin, OUTSIDE
        digits = i - first
        while i < size and (text[i] == 32 or text[i] == 9 or text[i] == 13):
            i += 1
        if i >= size:
            return n, begin, FULL
        if digits == 0 or text[i] != 10:
            return n, begin, BAD_ADDRESS
        kinds[n] = table[word, REQUEST]
        addresses[n] = value
        n += 1
        at = i + 1
    return n, at, FULL
