"""The sums of what the programs of the backward kernel leave, in one kernel in Triton.

PyTorch needs five launches for them, which on a small scan take the host longer than the sums take the device.
"""

# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _total(source, out, tile, size, count, N: tl.constexpr, STATES: tl.constexpr, ROWS: tl.constexpr, T: tl.constexpr):
    """Store the sum of `count` rows of `source` [count, size]: the numbers of one tile, STATES out of every N."""
    k = tile * T + tl.arange(0, T)[None, :]
    row = tl.arange(0, ROWS)[:, None].to(tl.int64)
    total = tl.zeros([ROWS, T], tl.float32)
    i = 0
    while i < count:  # in an order that depends on nothing but the shapes
        total += tl.load(source + (i + row) * size + k, mask=(i + row < count) & (k < size), other=0.0)
        i += ROWS
    tl.store(out + (k // N * STATES + k % N), tl.sum(total, 0, keep_dims=True), mask=(k < size) & (k % N < STATES))


@triton.jit(do_not_specialize=["half", "items", "steps", "channels", "pieces", "blocks"])
def add_up(
    gmaps, half, gA, gD, gbias, items, steps, channels, pieces, blocks, gC, gB, to_A, to_D, to_bias,
    STATES: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Gradients of C and B [B, L, N] from `gmaps` [2, B, blocks, L, N]; of A, D and the bias from those of pieces."""
    program, one = tl.program_id(0), tl.cdiv(steps * N, T)  # tiles of an item
    of_maps, of_A, of_vector = 2 * items * one, tl.cdiv(channels * STATES, T), tl.cdiv(channels, T)
    if program < of_maps:
        item = (program // one).to(tl.int64)  # those of C come first
        b = item % items
        source, to = gmaps + b * blocks * (steps * N), b * (steps * STATES)
        if item < items:
            _total(source, gC + to, program % one, steps * N, blocks, N, STATES, 8, T)
        else:
            _total(source + half, gB + to, program % one, steps * N, blocks, N, STATES, 8, T)
    elif program < of_maps + of_A:
        _total(gA, to_A, program - of_maps, channels * STATES, pieces, 1, 1, ROWS, T)
    elif program < of_maps + of_A + of_vector:
        if gD is not None:
            _total(gD, to_D, program - of_maps - of_A, channels, pieces, 1, 1, ROWS, T)
    elif gbias is not None:
        _total(gbias, to_bias, program - of_maps - of_A - of_vector, channels, pieces, 1, 1, ROWS, T)
