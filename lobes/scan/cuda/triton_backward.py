"""The backward kernel of the scan in Triton."""

# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl

from lobes.scan.cuda.triton_forward import SIZES, STRIDES
from lobes.scan.cuda.triton_parts import (
    LOG2E,
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
from lobes.scan.cuda.triton_sums import spread_sums


@triton.jit
def _map_places(half, N: tl.constexpr, W: tl.constexpr):
    """Where the lanes' sums of a step belong: those of C, [N], then those of B, `half` elements on; and which count."""
    lane = tl.arange(0, W)[None, :]
    row = lane * (2 * N) // W
    return tl.where(row < N, row.to(tl.int64), half + row - N), lane * (2 * N) % W == 0


@triton.jit
def _rebuilt(
    h, count, u, u_step, delta, delta_step, B, map_step, A2, shift, n, d, in_d, in_n,
    SOFTPLUS: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """The state `count` steps after `h`, up to the step to which the rows point."""
    at = -count
    while at < 0:
        dt, slope = step_size(read_row(delta, delta_step, at, d, in_d, EVEN) + shift, at < 0, SOFTPLUS)
        more = (dt * read_row(u, u_step, at, d, in_d, EVEN)) * read_map(B, map_step, at, n, in_n, EVEN)
        h = tl.exp2(dt * A2) * h + more
        at += 1
    return h


@triton.jit(do_not_specialize=[*SIZES, *STRIDES, "gy_item", "gy_step", "half"])
def backward(  # noqa: PLR0915
    u, u_item, u_step, delta, delta_item, delta_step, z, z_item, z_step, B, C, map_item, map_step,
    A, D, bias, lengths, steps, channels, segment, segments,
    saved, gy, gy_item, gy_step, glast,
    gu, gdelta, gz, gmaps, half, gA, gD, gbias, gfirst,
    REVERSE: tl.constexpr, SOFTPLUS: tl.constexpr, EVEN: tl.constexpr, STATES: tl.constexpr, N: tl.constexpr,
    W: tl.constexpr, CHUNK: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """All gradients, T steps at a time from the last to the first; their states come again from the one saved before.

    `gmaps` [2, B, blocks, L, N] gets the gradients of C and of B, `half` elements apart, summed over a block of
    channels; those of A, D and the bias are of one piece. All writes of a turn of the loop come after its reads.
    """
    piece, block, n, d = places(channels, N, W)
    b, k, length, start, stop = span(piece, lengths, steps, segment, segments)
    in_d, in_n = d < channels, n < STATES
    A2 = decay_rates(A, n, d, channels, STATES)
    skip, shift = vector(D, d, channels), vector(bias, d, channels)
    gh = state(glast, piece, n, d, channels, STATES)
    sum_A = tl.zeros(gh.shape, tl.float32)
    sum_D, sum_bias = tl.zeros(d.shape, tl.float32), tl.zeros(d.shape, tl.float32)
    blocks = tl.cdiv(channels, W)
    s0 = start + (tl.cdiv(stop - start, T) - 1) * T
    u, u_step = rows_from(u, u_item, u_step, b, s0, length, REVERSE)
    delta, delta_step = rows_from(delta, delta_item, delta_step, b, s0, length, REVERSE)
    if z is not None:
        z, z_step = rows_from(z, z_item, z_step, b, s0, length, REVERSE)
    B, _ = rows_from(B, map_item, map_step, b, s0, length, REVERSE)
    C, map_step = rows_from(C, map_item, map_step, b, s0, length, REVERSE)
    gy, gy_step = rows_from(gy, gy_item, gy_step, b, s0, length, REVERSE)
    out, out_step = rows_from(0, steps.to(tl.int64) * channels, channels, b, s0, length, REVERSE)
    maps, maps_step = rows_from(0, steps.to(tl.int64) * N, N, b * blocks + block, s0, length, REVERSE)
    map_place, counts = _map_places(half, N, W)
    while s0 >= start:
        left = stop - 1 - s0
        place = checkpoint(saved, b, s0, steps, block, blocks, N * W, CHUNK) + whole_tile(N, W)
        h = tl.load(place)
        rows, gates = (), ()
        for i in tl.static_range(T):  # all that comes from afar is on its way before the first wait
            at = tl.minimum(i, left)
            value, x = read_row(u, u_step, at, d, in_d, EVEN), read_row(delta, delta_step, at, d, in_d, EVEN)
            rows = rows + ((value, x, read_map(B, map_step, at, n, in_n, EVEN)),)
        for i in tl.static_range(T):
            at = tl.minimum(i, left)
            gate = read_row(z, z_step, at, d, in_d, EVEN) if z is not None else 0.0
            gates = gates + ((read_row(gy, gy_step, at, d, in_d, EVEN), gate),)
        if CHUNK > T:
            h = _rebuilt(
                h, s0 % CHUNK, u, u_step, delta, delta_step, B, map_step, A2, shift, n, d, in_d, in_n, SOFTPLUS, EVEN
            )
        known = ()
        for i in tl.static_range(T):
            value, x, b_row = rows[i]
            dt, slope = step_size(x + shift, i <= left, SOFTPLUS)
            before = h
            h = tl.exp2(dt * A2) * h + (dt * value) * b_row
            known = known + ((value, dt, slope, before, h, b_row),)
        outs = ()
        for i in tl.static_range(T - 1, -1, -1):
            value, dt, slope, before, after, b_row = known[i]
            dy, gate = gates[i]
            c_row = read_map(C, map_step, tl.minimum(i, left), n, in_n, EVEN)
            dy = tl.where(i <= left, dy, 0.0)
            for_z = 0.0
            if z is not None:
                passes = sigmoid(gate)
                y = tl.sum(after * c_row, 0, keep_dims=True) + skip * value
                for_z = dy * y * passes * (1 + gate * (1 - passes))
                dy = dy * gate * passes
            g = gh + c_row * dy
            sums = spread_sums(after * dy, g * (dt * value))
            # Always true, which the compiler cannot know: it would else keep all decays of the walk above in registers.
            gh = tl.exp2(tl.where(left >= -STATES, dt, 0.0) * A2) * g
            ga = gh * before  # gradient of dt A
            gdu = tl.sum(g * b_row, 0, keep_dims=True)
            gdt = (tl.sum(ga * A2, 0, keep_dims=True) * (1 / LOG2E) + gdu * value) * slope
            outs = outs + ((gdu * dt + dy * skip, gdt, for_z, sums),)
            sum_A += ga * dt
            sum_D += dy * value
            sum_bias += tl.where(i <= left, gdt, 0.0)
        for j in tl.static_range(T):
            i = T - 1 - j
            to_u, to_delta, to_z, sums = outs[j]
            inside = (i <= left) if EVEN else (i <= left) & in_d
            tl.store((gu + (out + i * out_step)) + d, to_u, mask=inside)
            tl.store((gdelta + (out + i * out_step)) + d, to_delta, mask=inside)
            if z is not None:
                tl.store((gz + (out + i * out_step)) + d, to_z, mask=inside)
            tl.store((gmaps + (maps + i * maps_step)) + map_place, sums, mask=(i <= left) & counts)
        u -= T * u_step
        delta -= T * delta_step
        if z is not None:
            z -= T * z_step
        B -= T * map_step
        C -= T * map_step
        gy -= T * gy_step
        out -= T * out_step
        maps -= T * maps_step
        s0 -= T
    keep(gA, piece, n, d, channels, STATES, sum_A)
    if gD is not None:
        tl.store(gD + piece * channels + d, sum_D, mask=in_d)
    if gbias is not None:
        tl.store(gbias + piece * channels + d, sum_bias, mask=in_d)
    if gfirst is not None and k == 0:
        keep(gfirst, b, n, d, channels, STATES, gh)
