"""Scans of few items in Triton: what each segment does to a state, and the chain of the segments."""

# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl

from lobes.scan.cuda.triton_forward import SIZES, STRIDES
from lobes.scan.cuda.triton_parts import (
    decay_rates,
    keep,
    places,
    read_map,
    read_row,
    rows_from,
    sigmoid,
    span,
    state,
    step_size,
    vector,
)


@triton.jit
def _rows(u, u_step, delta, delta_step, z, z_step, B, map_step, at, n, d, in_n, in_d, EVEN: tl.constexpr):
    """What the step `at` steps on reads."""
    gate = read_row(z, z_step, at, d, in_d, EVEN) if z is not None else 0.0
    value, x = read_row(u, u_step, at, d, in_d, EVEN), read_row(delta, delta_step, at, d, in_d, EVEN)
    return ((value, x, gate, read_map(B, map_step, at, n, in_n, EVEN)),)


@triton.jit(do_not_specialize=[*SIZES, *STRIDES])
def summarize(
    u, u_item, u_step, delta, delta_item, delta_step, z, z_item, z_step, B, map_item, map_step,
    A, bias, lengths, steps, channels, segment, segments,
    total, end,
    REVERSE: tl.constexpr, SOFTPLUS: tl.constexpr, BACK: tl.constexpr, EVEN: tl.constexpr, STATES: tl.constexpr,
    N: tl.constexpr, W: tl.constexpr, LOOK: tl.constexpr,
):  # fmt: skip
    """The effect of a segment on a state that enters it: the sum of its dt, and where a state of zeros ends.

    BACK: the same for the gradient of the state, which enters at the end; `u` is then gy, and `B` is C. Rows are read
    LOOK steps ahead.
    """
    piece, _, n, d = places(channels, N, W)
    b, _, length, start, stop = span(piece, lengths, steps, segment, segments)
    in_d, in_n = d < channels, n < STATES
    A2 = decay_rates(A, n, d, channels, STATES)
    shift = vector(bias, d, channels)
    h, time = tl.zeros(A2.shape, tl.float32), tl.zeros(d.shape, tl.float32)
    BACKWARDS: tl.constexpr = REVERSE != BACK  # in memory
    first = length - stop if BACK else start
    u, u_step = rows_from(u, u_item, u_step, b, first, length, BACKWARDS)
    delta, delta_step = rows_from(delta, delta_item, delta_step, b, first, length, BACKWARDS)
    if z is not None:
        z, z_step = rows_from(z, z_item, z_step, b, first, length, BACKWARDS)
    B, map_step = rows_from(B, map_item, map_step, b, first, length, BACKWARDS)
    left = stop - 1 - start
    if left >= 0:
        rows = ()
        for j in tl.static_range(LOOK):
            at = tl.minimum(j, left)
            rows = rows + _rows(u, u_step, delta, delta_step, z, z_step, B, map_step, at, n, d, in_n, in_d, EVEN)
        while left >= 0:
            for j in tl.static_range(LOOK):
                at = tl.minimum(j + LOOK, left)
                value, x, gate, other = rows[0]
                rows = rows[1:] + _rows(
                    u, u_step, delta, delta_step, z, z_step, B, map_step, at, n, d, in_n, in_d, EVEN
                )  # fmt: skip
                dt, slope = step_size(x + shift, j <= left, SOFTPLUS)
                a = tl.exp2(dt * A2)
                time += tl.where(in_d, dt, 0.0)
                if BACK:
                    if z is not None:
                        value = value * gate * sigmoid(gate)
                    h = a * (h + tl.where(j <= left, value, 0.0) * other)
                else:
                    h = a * h + (dt * value) * other
            u += LOOK * u_step
            delta += LOOK * delta_step
            if z is not None:
                z += LOOK * z_step
            B += LOOK * map_step
            left -= LOOK
    tl.store(total + piece * channels + d, time, mask=in_d)
    keep(end, piece, n, d, channels, STATES, h)


@triton.jit(do_not_specialize=["segments"])
def join(
    A, channels, segments, first, total, end,
    BACK: tl.constexpr, STATES: tl.constexpr, N: tl.constexpr, W: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Replace each segment's end by the state that enters the segment; `first` enters the first (BACK: the last).

    T segments are read at once.
    """
    b, _, n, d = places(channels, N, W)  # here a program has the whole item
    in_d = d < channels
    A2 = decay_rates(A, n, d, channels, STATES)
    h = state(first, b, n, d, channels, STATES)
    i = 0
    while i < segments:
        known = ()
        for j in tl.static_range(T):
            at = tl.minimum(i + j, segments - 1)
            piece = b * segments + (segments - 1 - at if BACK else at)
            time = tl.load(total + piece * channels + d, mask=in_d, other=0.0)
            known = known + ((state(end, piece, n, d, channels, STATES), time),)
        for j in tl.static_range(T):
            if i + j < segments:
                piece = b * segments + (segments - 1 - i - j if BACK else i + j)
                own, time = known[j]
                keep(end, piece, n, d, channels, STATES, h)
                h = tl.exp2(time * A2) * h + own
        i += T
