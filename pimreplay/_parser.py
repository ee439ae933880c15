"""Text of a command trace to integer arrays, compiled."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc"

from typing import Any

import numpy as np
from numba import njit

from pimreplay.commands import REQUEST_WORDS

FULL, BAD_WORD, BAD_ADDRESS, OUTSIDE = range(4)
"""Why a parse stopped: at the end of the input or the output, or at a line that is no request."""
_SLOTS = 64


def _slot(length: int, fourth: int, second_last: int) -> int:
    return (length * 5 + fourth * 7 + second_last * 3) % _SLOTS


def word_table() -> tuple[Any, Any, Any]:
    """Return (request of a slot or -1, length of each word, letters of each word)."""
    slots = np.full(_SLOTS, -1, dtype=np.int64)
    lengths = np.zeros(len(REQUEST_WORDS), dtype=np.int64)
    letters = np.zeros((len(REQUEST_WORDS), 16), dtype=np.uint8)
    for number, word in enumerate(REQUEST_WORDS):
        text = word.encode()
        slot = _slot(len(text), text[min(4, len(text) - 1)], text[-2])
        if slots[slot] >= 0:
            raise AssertionError(f"{word} and {REQUEST_WORDS[slots[slot]]} share a slot")
        slots[slot] = number
        lengths[number] = len(text)
        letters[number, : len(text)] = np.frombuffer(text, dtype=np.uint8)
    return slots, lengths, letters


@njit(cache=True)
def parse(text, slots, lengths, letters, address_bits, kinds, addresses):
    """Parse whole lines of `text`; return (requests, bytes used, why it stopped).

    Stops before the first line that is incomplete or no request.
    """
    n = 0
    at = 0
    size = len(text)
    most = len(kinds)
    limit = np.int64(1) << address_bits
    while n < most:
        begin = at
        i = begin
        while i < size and text[i] > 32:
            i += 1
        if i >= size:
            return n, begin, FULL
        length = i - begin
        number = np.int64(-1)
        if 2 <= length <= 16:
            fourth = text[begin + min(4, length - 1)]
            key = length * 5 + np.int64(fourth) * 7 + np.int64(text[i - 2]) * 3
            number = slots[key % 64]
        good = number >= 0 and lengths[number] == length
        if good:
            for j in range(length):
                if letters[number, j] != text[begin + j]:
                    good = False
                    break
        if not good:
            return n, begin, BAD_WORD
        while i < size and (text[i] == 32 or text[i] == 9):
            i += 1
        value = np.int64(0)
        digits = 0
        if i + 1 < size and text[i] == 48 and (text[i + 1] == 120 or text[i + 1] == 88):
            i += 2
            while i < size:
                c = np.int64(text[i])
                if 48 <= c <= 57:
                    c -= 48
                elif 97 <= c <= 102:
                    c -= 87
                elif 65 <= c <= 70:
                    c -= 55
                else:
                    break
                value = value * 16 + c
                digits += 1
                i += 1
                if value >= limit:
                    return n, begin, OUTSIDE
        else:
            while i < size and 48 <= text[i] <= 57:
                value = value * 10 + np.int64(text[i]) - 48
                digits += 1
                i += 1
                if value >= limit:
                    return n, begin, OUTSIDE
        while i < size and (text[i] == 32 or text[i] == 9 or text[i] == 13):
            i += 1
        if i >= size:
            return n, begin, FULL
        if digits == 0 or text[i] != 10:
            return n, begin, BAD_ADDRESS
        kinds[n] = number
        addresses[n] = value
        n += 1
        at = i + 1
    return n, at, FULL
