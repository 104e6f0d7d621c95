"""The arithmetic of the vector kernels (exponentials, softplus, sigmoid), and how they read and write blocks."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from lobes.kernels.simd import (
    AVX512,
    LANES,
    load_row,
    load_some,
    number_size,
    power_of_two,
    prefetch_to_read,
    prefetch_to_write,
    product_minus,
    root_of_two,
    splat,
    store_row,
    store_some,
    times_power_of_two,
    where_less,
)

njit: Any = numba.njit  # numba's type stubs know only part of its options
OPTIONS: dict[str, Any] = {"error_model": "numpy", "boundscheck": False, "nogil": True}
PART: dict[str, Any] = {**OPTIONS, "no_cpython_wrapper": True, "forceinline": True}

CACHE_LINE = 64
F = np.float32
ZERO, ONE = F(0), F(1)
NOTHING = F(-0.0)  # adding it is no operation; adding +0.0 is one, because it would change the sign of -0.0
LOG2E, LN2 = F(1.4426950408889634), F(0.6931471805599453)
LOG2E_REST = F(1.4426950408889634 - float(LOG2E))

# With a table (AVX-512): 2^x = 2^floor(k) 2^(j/32) 2^f, where k is x rounded to 32nds and j its part below one. A sum
# with GRID keeps nothing below a 32nd, and j is in its low bits. The polynomial is within 1e-9, and so nearly
# 1 + f log 2 close to zero that a slow decay keeps its rate within 3e-8.
GRID = F(1.5 * 2**18)
Q3, Q2, Q1 = F(0.05550438785), F(0.24022791657), F(0.69314718056)


@njit(**PART)
def scaled_root(r, k, f):
    """2^(k + f) for a `k` of 32nds, whose last ones are the low bits of `r`, and an `f` of at most half a 32nd."""
    root = root_of_two(r)
    return times_power_of_two(((f * Q3 + Q2) * f + Q1) * f * root + root, k)


@njit(**PART)
def exp2_by_table(x, rest):
    """2^(x + rest) with AVX-512, which looks up a root of two and scales by a power of it; NaN for an infinite x."""
    r = x + GRID
    k = r - GRID
    return scaled_root(r, k, x - k + rest)


@njit(**PART)
def exp2_of_product_by_table(x, y):
    """2^(x y) of the product before it is rounded, with an operation less than of a product that is."""
    r = product_minus(x, y, splat(-GRID))
    k = r - GRID
    return scaled_root(r, k, product_minus(x, y, k))


# Without one: 2^x = 2^k 2^f with k = round(x). The polynomial (minimax on [-1/2, 1/2]) is within 1e-7. Far below -126
# the result is 0, far above 127 infinity; NaN stays NaN. A sum with MAGIC keeps no fraction: k + 127 is in its
# low bits.
MAGIC = F(12582912 + 127)
LOWEST, HIGHEST, DEEPEST = F(-127), F(128), F(-88)  # of 2^x, and of e^x
P6, P5, P4 = F(1.535336188319500e-4), F(1.339887440266574e-3), F(9.618437357674640e-3)
P3, P2, P1 = F(5.550332471162809e-2), F(2.402264791363012e-1), F(6.931472028550421e-1)


@njit(**PART)
def exp2_by_shifting(x, rest):
    """2^(x + rest) on any machine: the low bits of x + MAGIC, shifted, are those of 2^k."""
    low, high = splat(LOWEST), splat(HIGHEST)
    x = where_less(x, low, low, x)
    x = where_less(high, x, high, x)
    r = x + MAGIC
    f = x - (r - MAGIC) + rest
    p = (((((f * P6 + P5) * f + P4) * f + P3) * f + P2) * f + P1) * f + ONE
    return p * power_of_two(r)


exp2_of_sum = exp2_by_table if AVX512 else exp2_by_shifting


@njit(**PART)
def exp2_of_product_by_shifting(x, y):
    """2^(x y) on any machine."""
    return exp2_by_shifting(x * y, splat(NOTHING))


exp2_of_product = exp2_of_product_by_table if AVX512 else exp2_of_product_by_shifting


@njit(**PART)
def exp_of_minus(x):
    """exp(-|x|), also for an infinite x; the rounding error of x log2(e) is computed and added."""
    zero, low = splat(ZERO), splat(DEEPEST)
    x = where_less(zero, x, zero - x, x)
    x = where_less(x, low, low, x)
    y = x * LOG2E
    return exp2_of_sum(y, x * LOG2E_REST + product_minus(x, splat(LOG2E), y))


@njit(**PART)
def inverse(y):
    """1 / (1 + y) for y in [0, 1]: a parabola within 1 % and two steps of Newton's, cheaper than a division."""
    d = y + ONE
    r = (y * F(0.32323232) - F(0.80808081)) * y + F(0.98989899)
    r = r * (splat(ONE) - d * r) + r
    return r * (splat(ONE) - d * r) + r


@njit(**PART)
def sigmoid(x):
    y = exp_of_minus(x)
    r = inverse(y)
    return where_less(x, splat(ZERO), y * r, r)


# log(1 + y) = y (1 - L1 y + L2 y^2 - ...) for y in [0, 1], minimax of the relative error, within 1e-7.
L1, L2, L3, L4 = F(0.49999493), F(0.33319097), F(0.24842982), F(0.19106006)
L5, L6, L7, L8 = F(0.13663245), F(0.07822594), F(0.02950523), F(0.00523269)


@njit(**PART)
def softplus_and_slope(x):
    """log(1 + e^x) and its derivative, the sigmoid, from one exponential."""
    zero = splat(ZERO)
    y = exp_of_minus(x)
    p = (((((((y * L8 - L7) * y + L6) * y - L5) * y + L4) * y - L3) * y + L2) * y - L1) * y + ONE
    r = inverse(y)
    return y * p + where_less(x, zero, zero, x), where_less(x, zero, y * r, r)


@njit(**PART)
def first_row(rows, b, length, reverse, channel):
    """Address of the first step that is run, from a channel on, and the bytes to the next step."""
    start = rows.start + b * rows.item + channel * number_size(rows)
    if reverse:
        return start + (length - 1) * rows.step, -rows.step
    return start, rows.step


@njit(**PART)
def read(rows, address, room):
    """A block of a row; `room` channels are left in it from here."""
    return load_row(rows, address) if room >= LANES else load_some(rows, address, room)


@njit(**PART)
def write(rows, address, x, room):
    if room >= LANES:
        store_row(rows, address, x)
    else:
        store_some(rows, address, x, room)


@njit(**PART)
def expect(rows, address, writing):
    """Fetch the memory of a block that will be needed a chunk later."""
    for line in range(0, LANES * number_size(rows), CACHE_LINE):
        if writing:
            prefetch_to_write(address + line)
        else:
            prefetch_to_read(address + line)
