"""The CPU scan in explicit vectors, backward. Layout and chunks are those of `lobes.scan.vector_kernels`.

A chunk of a block begins as in the forward kernel: `prepare`, joined by `prepare_gradients`, computes what all states
share. Then two states at a time run forward again over the chunk from where they were stored, and `two_states_back`
takes them back, with all that changes from step to step in registers; what is added up over the states lies in the
chunk's rows, which stay in the first cache. `finish` writes the gradients of u, delta and z. The gradients of B and C
are sums over channels: they are collected over the blocks, and added up over the lanes once for each chunk.
"""

from __future__ import annotations

from typing import NamedTuple

from lobes.scan.simd import (
    BYTES,
    HALF,
    LANES,
    add_folded,
    load,
    load_float,
    splat,
    store,
    store_float,
    total_folded,
)
from lobes.scan.vector_kernels import CHUNK, DTU, RATE, Y, copy, expect, length_of, prepare, present, two_states
from lobes.scan.vector_kernels import ROW as FORWARD_ROW
from lobes.scan.vector_math import (
    LN2,
    ONE,
    OPTIONS,
    PART,
    ZERO,
    Rows,
    first_row,
    njit,
    read,
    sigmoid,
    write,
)

# A row of a chunk goes on after that of the forward kernel. DY is the gradient of y before the gate; FROM_INPUT is
# sum_n (gradient of h) B, the gradient of dt u; FROM_DECAY is sum_n (gradient of dt A) A; GATE is the gradient of z
# over y, and SLOPE that of dt over delta.
DY, FROM_INPUT, FROM_DECAY, GATE, SLOPE = (FORWARD_ROW + i * BYTES for i in range(5))
ROW = FORWARD_ROW + 5 * BYTES


class Gradients(NamedTuple):
    """Gradients that come in (y, last) and those that the backward kernel fills."""

    y: Rows  # [B, L, D]
    last: int  # [B, blocked]; 0: zeros
    saved: int  # [B, chunks, blocked], from the forward kernel
    u: Rows  # [B, L, D]
    delta: Rows  # [B, L, D]
    z: Rows  # [B, L, D]
    B: int  # [groups, B, L, N], to be summed over groups
    C: int  # [groups, B, L, N]
    sums: int  # [workers, blocks, N + 2, LANES], of A, then D, then the bias; added to
    rests: int  # the same for what rounding left of the sums
    first: int  # [B, blocked]; 0: not wanted


def backward_scratch(states: int, blocks: int) -> int:
    """Bytes that a call of `backward` needs: two states over a chunk, its rows, its sums, gradients of states."""
    return BYTES * (4 * CHUNK + states * (CHUNK + blocks)) + CHUNK * ROW


@njit(**PART)
def clear(to, count):
    for n in range(count):
        store(to + n * BYTES, splat(ZERO))


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
    length, at, room = length_of(p, b), k * BYTES, p.channels - k * LANES
    z, z_step = first_row(p.z, b, length, p.reverse, at)
    gy, gy_step = first_row(g.y, b, length, p.reverse, at)
    for i in range(count):
        s, row = s0 + i, rows + i * ROW
        expect(gy + (s - CHUNK) * gy_step, False)
        dy = read(gy + s * gy_step, room)
        if p.gated:
            expect(z + (s - CHUNK) * z_step, False)
            z_s = read(z + s * z_step, room)
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
def finish(p, g, b, k, s0, count, rows, worker):
    """Write the gradients of u, delta and z of a chunk; add its part of those of D and of the bias."""
    length, at, room = length_of(p, b), k * BYTES, p.channels - k * LANES
    u, u_step = first_row(p.u, b, length, p.reverse, at)
    gu, gu_step = first_row(g.u, b, length, p.reverse, at)
    gdelta, gdelta_step = first_row(g.delta, b, length, p.reverse, at)
    gz, gz_step = first_row(g.z, b, length, p.reverse, at)
    skip, grad_skip, grad_bias = present(p.D, at), splat(ZERO), splat(ZERO)
    for i in range(count):
        s, row = s0 + i, rows + i * ROW
        behind = s - CHUNK
        expect(gu + behind * gu_step, True)
        expect(gdelta + behind * gdelta_step, True)
        u_s, dy, from_input = read(u + s * u_step, room), load(row + DY), load(row + FROM_INPUT)
        gdt = (from_input * u_s + load(row + FROM_DECAY)) * load(row + SLOPE)
        write(gu + s * gu_step, dy * skip + from_input * load(row + RATE) * LN2, room)
        write(gdelta + s * gdelta_step, gdt, room)
        grad_skip, grad_bias = dy * u_s + grad_skip, grad_bias + gdt
        if p.gated:
            expect(gz + behind * gz_step, True)
            write(gz + s * gz_step, load(row + GATE) * load(row + Y), room)
    block = ((worker * p.blocks + k) * (p.states + 2) + p.states) * BYTES
    add_keeping_rest(g.sums + block, g.rests + block, grad_skip)
    add_keeping_rest(g.sums + block + BYTES, g.rests + block + BYTES, grad_bias)


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
def backward_item(p, g, items, group, worker, b, k0, k1, scratch):
    """Gradients of the blocks k0 .. k1 of one item."""
    length, size = length_of(p, b), p.states * BYTES
    path, rows = scratch, scratch + 4 * CHUNK * BYTES
    sums = rows + CHUNK * ROW
    grad_state = sums + CHUNK * size
    B, B_step = first_row(p.B, b, length, p.reverse, 0)
    C, C_step = first_row(p.C, b, length, p.reverse, 0)
    copy(grad_state, g.last, (b * p.blocks + k0) * size, (k1 - k0) * p.states)
    for c in range((length + CHUNK - 1) // CHUNK - 1, -1, -1):
        s0 = c * CHUNK
        count = min(length, s0 + CHUNK) - s0
        clear(sums, CHUNK * p.states)
        for k in range(k0, k1):
            saved = g.saved + ((b * p.chunks + c) * p.blocks + k) * size
            here = grad_state + (k - k0) * size
            block = (worker * p.blocks + k) * (size + 2 * BYTES)
            grad_A, rest_A = g.sums + block, g.rests + block
            prepare(p, b, k, s0, count, -CHUNK, rows, ROW, SLOPE)
            prepare_gradients(p, g, b, k, s0, count, rows)
            for n in range(0, p.states, 2):
                at = n * BYTES
                B_n, C_n, A = B + s0 * B_step + 4 * n, C + s0 * C_step + 4 * n, p.A + k * size + at
                h0, h1 = two_states(B_n, B_step, C_n, C_step, count, A, saved + at, path, True, rows, ROW)
                two_states_back(
                    B_n, B_step, C_n, C_step, count, A, h0, h1, path,
                    here + at, grad_A + at, rest_A + at, rows, sums + at * CHUNK,
                )  # fmt: skip
            finish(p, g, b, k, s0, count, rows, worker)
        store_sums(p, g, group, items, b, length, s0, count, sums)
    if g.first != 0:
        copy(g.first + (b * p.blocks + k0) * size, grad_state, 0, (k1 - k0) * p.states)


@njit(**OPTIONS)
def backward(start, stop, groups, worker, items, scratch, p, g):
    """`forward`'s jobs start .. stop on the way back; slice `worker` of the summed gradients is this call's own."""
    for j in range(start, stop):
        group = j % groups
        k0, k1 = p.blocks * group // groups, p.blocks * (group + 1) // groups
        backward_item(p, g, items, group, worker, j // groups, k0, k1, scratch)
