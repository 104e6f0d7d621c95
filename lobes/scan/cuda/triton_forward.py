"""The forward kernel of the scan in Triton."""

# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl

from lobes.scan.cuda.triton_parts import (
    checkpoint,
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
    whole_tile,
)

SIZES = ["steps", "segment", "segments"]  # they change from call to call: no version of the kernel for each kind
STRIDES = ["u_item", "u_step", "delta_item", "delta_step", "z_item", "z_step"]


@triton.jit
def _rows(u, u_step, delta, delta_step, z, z_step, d, at, inside, EVEN: tl.constexpr):
    """What the step `at` steps ahead reads of its channels: u, delta and z."""
    gate = read_row(z, z_step, at, d, inside, EVEN) if z is not None else 0.0
    return ((read_row(u, u_step, at, d, inside, EVEN), read_row(delta, delta_step, at, d, inside, EVEN), gate),)


@triton.jit
def _maps(B, C, map_step, n, at, inside, EVEN: tl.constexpr):
    return ((read_map(B, map_step, at, n, inside, EVEN), read_map(C, map_step, at, n, inside, EVEN)),)


@triton.jit(do_not_specialize=[*SIZES, *STRIDES])
def forward(
    u, u_item, u_step, delta, delta_item, delta_step, z, z_item, z_step, B, C, map_item, map_step,
    A, D, bias, lengths, steps, channels, segment, segments,
    first, y, last, saved,
    REVERSE: tl.constexpr, SOFTPLUS: tl.constexpr, EVEN: tl.constexpr, STATES: tl.constexpr, N: tl.constexpr,
    W: tl.constexpr, CHUNK: tl.constexpr, T: tl.constexpr, LOOK: tl.constexpr,
):  # fmt: skip
    """Outputs y [B, L, D], the last state, and the states before every CHUNK steps if `saved` is there.

    A turn of the loop takes T steps. The rows of the next turn and the B and C of the next LOOK steps are on their way
    meanwhile. The outputs are written at the end of a turn: the compiler moves no read over a write.
    """
    piece, block, n, d = places(channels, N, W)
    b, k, length, start, stop = span(piece, lengths, steps, segment, segments)
    in_d, in_n = d < channels, n < STATES
    A2 = decay_rates(A, n, d, channels, STATES)
    skip, shift = vector(D, d, channels), vector(bias, d, channels)
    h = state(first, piece, n, d, channels, STATES)
    u, u_step = rows_from(u, u_item, u_step, b, start, length, REVERSE)
    delta, delta_step = rows_from(delta, delta_item, delta_step, b, start, length, REVERSE)
    if z is not None:
        z, z_step = rows_from(z, z_item, z_step, b, start, length, REVERSE)
    B, _ = rows_from(B, map_item, map_step, b, start, length, REVERSE)
    C, map_step = rows_from(C, map_item, map_step, b, start, length, REVERSE)
    y, y_step = rows_from(y, steps.to(tl.int64) * channels, channels, b, start, length, REVERSE)
    if saved is not None:
        saved = checkpoint(saved, b, start, steps, block, tl.cdiv(channels, W), N * W, CHUNK)
    s0 = start
    if start < stop:
        rows, maps = (), ()
        for i in tl.static_range(T):
            rows = rows + _rows(u, u_step, delta, delta_step, z, z_step, d, tl.minimum(i, stop - 1 - s0), in_d, EVEN)
        for i in tl.static_range(LOOK):
            maps = maps + _maps(B, C, map_step, n, tl.minimum(i, stop - 1 - s0), in_n, EVEN)
        while s0 < stop:
            left = stop - 1 - s0
            if saved is not None:
                if s0 % CHUNK == 0:
                    tl.store(saved + whole_tile(N, W), h)
                    saved += tl.cdiv(channels, W) * (N * W)
            now, rows = rows, ()
            for i in tl.static_range(T):
                rows = rows + _rows(u, u_step, delta, delta_step, z, z_step, d, tl.minimum(T + i, left), in_d, EVEN)
            outs = ()
            for i in tl.static_range(T):
                value, x, gate = now[i]
                maps = maps + _maps(B, C, map_step, n, tl.minimum(i + LOOK, left), in_n, EVEN)
                b_row, c_row = maps[0]
                maps = maps[1:]
                dt, slope = step_size(x + shift, i <= left, SOFTPLUS)
                h = tl.exp2(dt * A2) * h + (dt * value) * b_row
                out = tl.sum(h * c_row, 0, keep_dims=True) + skip * value
                if z is not None:
                    out = out * gate * sigmoid(gate)
                outs = outs + (out,)
            for i in tl.static_range(T):
                tl.store((y + i * y_step) + d, outs[i], mask=(i <= left) if EVEN else (i <= left) & in_d)
            u += T * u_step
            delta += T * delta_step
            if z is not None:
                z += T * z_step
            B += T * map_step
            C += T * map_step
            y += T * y_step
            s0 += T
    if last is not None and k == segments - 1:
        keep(last, b, n, d, channels, STATES, h)
