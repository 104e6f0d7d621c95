"""What compiled kernels of vectors are made of: exponentials, rows in memory, and the blocks of a row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from lobes.scan.simd import LANES, load, load_some, power_of_two, splat, store, store_some, where_less

njit: Any = numba.njit  # numba's type stubs know only part of its options
OPTIONS: dict[str, Any] = {"error_model": "numpy", "boundscheck": False, "nogil": True}
PART: dict[str, Any] = {**OPTIONS, "no_cpython_wrapper": True, "forceinline": True}

F = np.float32
ZERO, ONE, TWO = F(0), F(1), F(2)
LOG2E = F(1.4426950408889634)

# 2^x = 2^k 2^f with k = round(x): adding MAGIC leaves k + 127 in the low bits, which shifted are the bits of
# 2^k. The polynomial (minimax on [-1/2, 1/2]) is within 1e-7. Below -126.5 the result is 0, above 127.5
# infinity, NaN stays NaN.
MAGIC = F(12582912 + 127)
LOWEST, HIGHEST = F(-127), F(128)
P6, P5, P4 = F(1.535336188319500e-4), F(1.339887440266574e-3), F(9.618437357674640e-3)
P3, P2, P1 = F(5.550332471162809e-2), F(2.402264791363012e-1), F(6.931472028550421e-1)


@njit(**PART)
def exp2(x):
    low, high = splat(LOWEST), splat(HIGHEST)
    x = where_less(x, low, low, x)
    x = where_less(high, x, high, x)
    r = x + MAGIC
    f = x - (r - MAGIC)
    p = ((((((f * P6 + P5) * f + P4) * f + P3) * f + P2) * f + P1) * f) + ONE
    return p * power_of_two(r)


@njit(**PART)
def sigmoid(x):
    return ONE / (exp2(x * -LOG2E) + ONE)


# log(1 + y) = 2 artanh(s), s = y / (2 + y), as a series in s^2; y = exp(-|x|) <= 1, so s <= 1/3.
Q15, Q13, Q11, Q9, Q7, Q5, Q3 = (F(1 / k) for k in (15, 13, 11, 9, 7, 5, 3))


@njit(**PART)
def softplus_and_slope(x):
    """log(1 + e^x) and its derivative, the sigmoid, from one exponential."""
    zero = splat(ZERO)
    y = exp2(where_less(zero, x, zero - x, x) * LOG2E)
    s = y / (y + TWO)
    q = s * s
    p = ((((((q * Q15 + Q13) * q + Q11) * q + Q9) * q + Q7) * q + Q5) * q + Q3) * q + ONE
    o = ONE / (y + ONE)
    return s * p * TWO + where_less(x, zero, zero, x), where_less(zero, x, o, y * o)


class Rows(NamedTuple):
    """A tensor [B, L, D or N] in memory; its last dimension is contiguous."""

    start: int  # address
    item: int  # bytes from an item to the next
    step: int  # bytes from a step to the next


@njit(**PART)
def first_row(rows, b, length, reverse, offset):
    """Address of the first step that is run, at a byte offset in its row, and the bytes to the next."""
    start = rows.start + b * rows.item + offset
    if reverse:
        return start + (length - 1) * rows.step, -rows.step
    return start, rows.step


@njit(**PART)
def read(address, room):
    """A block of a row; `room` channels are left in it from here."""
    return load(address) if room >= LANES else load_some(address, room)


@njit(**PART)
def write(address, x, room):
    if room >= LANES:
        store(address, x)
    else:
        store_some(address, x, room)
