"""The CPU scan in explicit vectors, backward. Layout and chunks are those of `lobes.scan.cpu.vector_forward`.

A chunk of a block begins as in the forward kernel: `prepare`, joined by `prepare_gradients`, computes what all states
share. Then two states at a time run forward again over the chunk from where they were stored, and `two_states_back`
takes them back, with all that changes from step to step in registers; what is added up over the states lies in the
chunk's rows, which stay in the first cache. `finish` writes the gradients of u, delta and z. The gradients of B and C
are sums over channels: they are collected over the blocks, and added up over the lanes once for each chunk.
"""

from __future__ import annotations

from typing import NamedTuple

from lobes.kernels.memory import AnyRows
from lobes.kernels.simd import BYTES, HALF, LANES, add_folded, load, load_float, splat, store, store_float, total_folded
from lobes.kernels.simd_math import LN2, ONE, OPTIONS, PART, ZERO, expect, first_row, njit, read, sigmoid, write
from lobes.scan.cpu.vector_forward import (
    CHUNK,
    DTU,
    RATE,
    Y,
    block_decays,
    clear,
    copy,
    length_of,
    of_channels,
    prepare,
    two_states,
)
from lobes.scan.cpu.vector_forward import ROW as FORWARD_ROW

# A row of a chunk goes on after that of the forward kernel. DY is the gradient of y before the gate; FROM_INPUT is
# sum_n (gradient of h) B, the gradient of dt u; FROM_DECAY is sum_n (gradient of dt A) A; GATE is the gradient of z
# over y, and SLOPE that of dt over delta.
DY, FROM_INPUT, FROM_DECAY, GATE, SLOPE = (FORWARD_ROW + i * BYTES for i in range(5))
ROW = FORWARD_ROW + 5 * BYTES


class GradientAddresses(NamedTuple):
    """The gradients that come in (y, last) and those that the backward kernel fills."""

    y: AnyRows  # [B, L, D]
    last: int  # [B, blocked]; 0: zeros
    saved: int  # [B, chunks, blocked], from the forward kernel
    u: AnyRows  # [B, L, D]
    delta: AnyRows  # [B, L, D]
    z: AnyRows  # [B, L, D]
    B: int  # [groups, B, L, N], to be summed over groups
    C: int  # [groups, B, L, N]
    sums: int  # [shares, blocks, N + 2, LANES], of A, then D, then the bias
    first: int  # [B, blocked]; 0: not wanted


def backward_scratch(states: int, blocks: int) -> int:
    """Bytes that a call of `backward` needs: what `Scratch` names."""
    return BYTES * (4 * CHUNK + states * (CHUNK + 2 * blocks) + (states + 2) * blocks) + CHUNK * ROW


class Scratch(NamedTuple):
    """Memory of one call, as addresses."""

    path: int  # [CHUNK, 4, LANES], decays and states of two states over a chunk
    rows: int  # [CHUNK, ROW]
    sums: int  # [N / 2, CHUNK, 2, LANES], gradients of B and C of a chunk, each half a vector
    grad_state: int  # blocked
    decays: int  # A, blocked
    rests: int  # [blocks, N + 2, LANES], what rounding left of the share's sums


@njit(**PART)
def lay_out(p, scratch):
    rows = scratch + 4 * CHUNK * BYTES
    sums = rows + CHUNK * ROW
    grad_state = sums + CHUNK * p.states * BYTES
    decays = grad_state + p.blocks * p.states * BYTES
    return Scratch(scratch, rows, sums, grad_state, decays, decays + p.blocks * p.states * BYTES)


@njit(**PART)
def add_keeping_rest(to, rest, x):
    """Add to a sum over all chunks of all items, and keep what rounding left over for the next time (Kahan)."""
    old = load(to)
    x = x - load(rest)
    new = old + x
    store(to, new)
    store(rest, (new - old) - x)


@njit(**PART)
def prepare_gradients(p, g, b, k, s0, count, rows):
    """Fill the rest of the rows of the steps s0 .. s0 + count."""
    length, at, room = length_of(p, b), k * LANES, p.channels - k * LANES
    z, z_step = first_row(p.z, b, length, p.reverse, at)
    gy, gy_step = first_row(g.y, b, length, p.reverse, at)
    for i in range(count):
        s, row = s0 + i, rows + i * ROW
        expect(g.y, gy + (s - CHUNK) * gy_step, False)
        dy = read(g.y, gy + s * gy_step, room)
        if p.gated:
            expect(p.z, z + (s - CHUNK) * z_step, False)
            z_s = read(p.z, z + s * z_step, room)
            o = sigmoid(z_s)
            store(row + GATE, dy * o * (z_s * (ONE - o) + ONE))
            dy = dy * (z_s * o)
        store(row + DY, dy)
        store(row + FROM_INPUT, splat(ZERO))
        store(row + FROM_DECAY, splat(ZERO))


@njit(**PART)
def two_states_back(B, B_step, C, C_step, count, A, h0, h1, path, grad_state, grad_A, rest_A, rows, sums):
    """Two states back over a chunk, along the `path` that they left."""
    A0, A1 = load(A), load(A + BYTES)
    g0, g1, gA0, gA1 = load(grad_state), load(grad_state + BYTES), splat(ZERO), splat(ZERO)
    for i in range(count - 1, -1, -1):
        row, here, B_s, C_s = rows + i * ROW, path + 4 * i * BYTES, B + i * B_step, C + i * C_step
        dy, dtu, rate, sum_ = load(row + DY), load(row + DTU), load(row + RATE), sums + 2 * i * BYTES
        g0, g1 = dy * load_float(C_s) + g0, dy * load_float(C_s + 4) + g1  # of h after the step
        add_folded(sum_, g0 * dtu)
        add_folded(sum_ + HALF, dy * h0)
        add_folded(sum_ + 2 * HALF, g1 * dtu)
        add_folded(sum_ + 3 * HALF, dy * h1)
        store(row + FROM_INPUT, g1 * load_float(B_s + 4) + (g0 * load_float(B_s) + load(row + FROM_INPUT)))
        g0, g1 = g0 * load(here), g1 * load(here + 2 * BYTES)  # of h before it
        h0, h1 = load(here + BYTES), load(here + 3 * BYTES)
        q0, q1 = g0 * h0, g1 * h1
        store(row + FROM_DECAY, q1 * A1 + (q0 * A0 + load(row + FROM_DECAY)))
        gA0, gA1 = q0 * rate + gA0, q1 * rate + gA1
    store(grad_state, g0)
    store(grad_state + BYTES, g1)
    add_keeping_rest(grad_A, rest_A, gA0 * LN2)
    add_keeping_rest(grad_A + BYTES, rest_A + BYTES, gA1 * LN2)


@njit(**PART)
def finish(p, g, b, k, s0, count, rows, sums, rests):
    """Write the gradients of u, delta and z of a chunk; add its part to `sums` and `rests` of D and of the bias."""
    length, at, room = length_of(p, b), k * LANES, p.channels - k * LANES
    u, u_step = first_row(p.u, b, length, p.reverse, at)
    gu, gu_step = first_row(g.u, b, length, p.reverse, at)
    gdelta, gdelta_step = first_row(g.delta, b, length, p.reverse, at)
    gz, gz_step = first_row(g.z, b, length, p.reverse, at)
    skip, grad_skip, grad_bias = of_channels(p.D, k, room), splat(ZERO), splat(ZERO)
    for i in range(count):
        s, row = s0 + i, rows + i * ROW
        behind = s - CHUNK
        expect(g.u, gu + behind * gu_step, True)
        expect(g.delta, gdelta + behind * gdelta_step, True)
        u_s, dy, from_input = read(p.u, u + s * u_step, room), load(row + DY), load(row + FROM_INPUT)
        gdt = (from_input * u_s + load(row + FROM_DECAY)) * load(row + SLOPE)
        write(g.u, gu + s * gu_step, dy * skip + from_input * load(row + RATE) * LN2, room)
        write(g.delta, gdelta + s * gdelta_step, gdt, room)
        grad_skip, grad_bias = dy * u_s + grad_skip, grad_bias + gdt
        if p.gated:
            expect(g.z, gz + behind * gz_step, True)
            write(g.z, gz + s * gz_step, load(row + GATE) * load(row + Y), room)
    add_keeping_rest(sums, rests, grad_skip)
    add_keeping_rest(sums + BYTES, rests + BYTES, grad_bias)


@njit(**PART)
def store_sums(p, g, group, items, b, length, s0, count, sums):
    """Add the gradients of B and C of a chunk up over the lanes."""
    for i in range(count):
        s = length - 1 - s0 - i if p.reverse else s0 + i
        row = 4 * (((group * items + b) * p.steps + s) * p.states)
        for n in range(p.states):
            here = sums + ((n // 2 * CHUNK + i) * 2 + n % 2) * BYTES
            store_float(g.B + row + 4 * n, total_folded(here))
            store_float(g.C + row + 4 * n, total_folded(here + HALF))


@njit(**PART)
def backward_item(p, g, items, group, b, k0, k1, share_sums, m):
    """Gradients of the blocks k0 .. k1 of one item; `m` is the call's memory."""
    length, size = length_of(p, b), p.states * BYTES
    B, B_step = first_row(p.B, b, length, p.reverse, 0)
    C, C_step = first_row(p.C, b, length, p.reverse, 0)
    copy(m.grad_state, g.last, (b * p.blocks + k0) * size, (k1 - k0) * p.states)
    for c in range((length + CHUNK - 1) // CHUNK - 1, -1, -1):
        s0 = c * CHUNK
        count = min(length, s0 + CHUNK) - s0
        clear(m.sums, CHUNK * p.states)
        for k in range(k0, k1):
            saved = g.saved + ((b * p.chunks + c) * p.blocks + k) * size
            grad_state, A = m.grad_state + (k - k0) * size, m.decays + k * size
            mine, rests = share_sums + k * (size + 2 * BYTES), m.rests + k * (size + 2 * BYTES)
            prepare(p, b, k, s0, count, -CHUNK, m.rows, ROW, SLOPE)
            prepare_gradients(p, g, b, k, s0, count, m.rows)
            for n in range(0, p.states, 2):
                at, B_n, C_n = n * BYTES, B + s0 * B_step + 4 * n, C + s0 * C_step + 4 * n
                h0, h1 = two_states(B_n, B_step, C_n, C_step, count, A + at, saved + at, m.path, True, m.rows, ROW)
                two_states_back(
                    B_n, B_step, C_n, C_step, count, A + at, h0, h1, m.path,
                    grad_state + at, mine + at, rests + at, m.rows, m.sums + at * CHUNK,
                )  # fmt: skip
            finish(p, g, b, k, s0, count, m.rows, mine + size, rests + size)
        store_sums(p, g, group, items, b, length, s0, count, m.sums)
    if g.first != 0:
        copy(g.first + (b * p.blocks + k0) * size, m.grad_state, 0, (k1 - k0) * p.states)


@njit(**OPTIONS)
def backward(start, stop, groups, share, items, scratch, p, g):
    """`forward`'s jobs start .. stop on the way back; slice `share` of the summed gradients is this call's own."""
    m, vectors = lay_out(p, scratch), p.blocks * (p.states + 2)
    share_sums = g.sums + share * vectors * BYTES
    block_decays(p, m.decays)
    clear(m.rests, vectors)
    clear(share_sums, vectors)
    for j in range(start, stop):
        group = j % groups
        k0, k1 = p.blocks * group // groups, p.blocks * (group + 1) // groups
        backward_item(p, g, items, group, j // groups, k0, k1, share_sums, m)


@njit(**OPTIONS)
def add_shares(p, sums, shares, A, D, bias):
    """Add the slices of `sums` up in order and write the gradients of A [D, N], D and the bias [D]."""
    vectors, states = p.blocks * (p.states + 2), p.states - p.odd
    for i in range(1, shares):
        for v in range(vectors):
            at = sums + v * BYTES
            store(at, load(at) + load(at + i * vectors * BYTES))
    for d in range(p.channels):
        here = sums + d // LANES * (p.states + 2) * BYTES + 4 * (d % LANES)
        for n in range(states):
            store_float(A + 4 * (d * states + n), load_float(here + n * BYTES))
        store_float(D + 4 * d, load_float(here + p.states * BYTES))
        store_float(bias + 4 * d, load_float(here + (p.states + 1) * BYTES))
