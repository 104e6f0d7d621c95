"""The CPU scan in explicit vectors: one forward and one hand-written backward, float32, one thread each.

Channels are cut into blocks of LANES, the width of a `Vector` (lobes.scan.simd). A kernel takes one item after the
other, walks over it in chunks of `CHUNK` steps, and within a chunk over the blocks. The states before every chunk are
kept; the backward kernel recomputes the states of a chunk into scratch that stays in the cache, then walks back. What
belongs to states lies in rows of blocks, [..., blocks, N, LANES], so that a state is one vector; the channels beyond D
in the last block are zeros, and stay so.

All memory is given as addresses in bytes. A reverse scan is a forward scan whose rows start at the item's true end and
have negative distances. `plain_kernels` is the same scan without vectors of its own: its readable twin, and what runs
where these cannot.
"""

from __future__ import annotations

from typing import NamedTuple

from lobes.scan.simd import (
    BYTES,
    LANES,
    load,
    load_float,
    load_int,
    prefetch_to_read,
    prefetch_to_write,
    splat,
    store,
    store_float,
    total,
)
from lobes.scan.vector_math import (
    LOG2E,
    ONE,
    OPTIONS,
    PART,
    ZERO,
    Rows,
    exp2,
    first_row,
    njit,
    read,
    sigmoid,
    softplus_and_slope,
    write,
)

CHUNK = 16  # steps between stored states
CACHE_LINE = 64


class Problem(NamedTuple):
    """What is scanned. `blocked` stands for [blocks, N, LANES]."""

    u: Rows  # [B, L, D]
    delta: Rows  # [B, L, D]
    z: Rows  # [B, L, D], not read unless gated
    B: Rows  # [B, L, N]
    C: Rows  # [B, L, N]
    A: int  # blocked
    D: int  # [blocks, LANES]
    bias: int  # [blocks, LANES]
    first: int  # [B, blocked], initial state
    lengths: int  # int64 [B]
    steps: int
    channels: int
    states: int
    blocks: int
    chunks: int
    reverse: bool
    softplus: bool
    gated: bool


class Result(NamedTuple):
    """What the forward kernel fills; steps past an item's end are left alone."""

    y: Rows  # [B, L, D]
    last: int  # [B, blocked]
    saved: int  # [B, chunks, blocked], the state before each chunk; 0: nothing is saved


class Gradients(NamedTuple):
    """Gradients that come in (y, last) and those that the backward kernel fills."""

    y: Rows  # [B, L, D]
    last: int  # [B, blocked]
    saved: int  # [B, chunks, blocked], from the forward kernel
    u: Rows  # [B, L, D]
    delta: Rows  # [B, L, D]
    z: Rows  # [B, L, D]
    B: int  # [groups, B, L, N], to be summed over groups
    C: int  # [groups, B, L, N]
    A: int  # [workers, blocked], to be summed over workers; added to
    D: int  # [workers, blocks, LANES]; added to
    bias: int  # [workers, blocks, LANES]; added to
    first: int  # [B, blocked]


def forward_scratch(states: int, blocks: int) -> int:
    """Bytes that a call of `forward` needs."""
    return BYTES * states * blocks


def backward_scratch(states: int, blocks: int) -> int:
    """Bytes that a call of `backward` needs: the states of a chunk, three more rows of states, three of channels."""
    return BYTES * (states * (4 * CHUNK + 1 + blocks) + 3 * CHUNK)


@njit(**PART)
def copy(to, source, count):
    for n in range(count):
        store(to + n * BYTES, load(source + n * BYTES))


@njit(**PART)
def clear(to, count):
    for n in range(count):
        store(to + n * BYTES, splat(ZERO))


@njit(**PART)
def expect(address, writing):
    """Fetch the memory of a block that will be needed a chunk later."""
    for line in range(0, BYTES, CACHE_LINE):
        if writing:
            prefetch_to_write(address + line)
        else:
            prefetch_to_read(address + line)


@njit(**PART)
def step_size(p, x):
    """dt and its derivative."""
    if p.softplus:
        return softplus_and_slope(x)
    return x, splat(ONE)


@njit(**PART)
def forward_chunk(p, out, b, k, s0, s1, state):
    """Run the steps s0 .. s1 of one block; `state` [N, LANES] is read and replaced."""
    length, at, room = load_int(p.lengths + 8 * b), k * BYTES, p.channels - k * LANES
    u, u_step = first_row(p.u, b, length, p.reverse, at)
    delta, delta_step = first_row(p.delta, b, length, p.reverse, at)
    z, z_step = first_row(p.z, b, length, p.reverse, at)
    y, y_step = first_row(out.y, b, length, p.reverse, at)
    B, B_step = first_row(p.B, b, length, p.reverse, 0)
    C, C_step = first_row(p.C, b, length, p.reverse, 0)
    skip, bias, A = load(p.D + at), load(p.bias + at), p.A + p.states * at
    for s in range(s0, s1):
        ahead = s + CHUNK
        expect(u + ahead * u_step, False)
        expect(delta + ahead * delta_step, False)
        expect(y + ahead * y_step, True)
        u_s = read(u + s * u_step, room)
        dt, _ = step_size(p, read(delta + s * delta_step, room) + bias)
        dtu, rate, y_s = dt * u_s, dt * LOG2E, skip * u_s
        B_s, C_s = B + s * B_step, C + s * C_step
        for n in range(p.states):
            at_n = n * BYTES
            h = exp2(rate * load(A + at_n)) * load(state + at_n) + dtu * load_float(B_s + 4 * n)
            store(state + at_n, h)
            y_s = h * load_float(C_s + 4 * n) + y_s
        if p.gated:
            expect(z + ahead * z_step, False)
            z_s = read(z + s * z_step, room)
            y_s = y_s * (z_s * sigmoid(z_s))
        write(y + s * y_step, y_s, room)


@njit(**PART)
def forward_item(p, out, b, k0, k1, state):
    """Run the blocks k0 .. k1 of one item."""
    length, size = load_int(p.lengths + 8 * b), p.states * BYTES  # bytes of the states of a block
    copy(state, p.first + (b * p.blocks + k0) * size, (k1 - k0) * p.states)
    for c in range((length + CHUNK - 1) // CHUNK):
        for k in range(k0, k1):
            here = state + (k - k0) * size
            if out.saved != 0:
                copy(out.saved + ((b * p.chunks + c) * p.blocks + k) * size, here, p.states)
            forward_chunk(p, out, b, k, c * CHUNK, min(length, (c + 1) * CHUNK), here)
    copy(out.last + (b * p.blocks + k0) * size, state, (k1 - k0) * p.states)


@njit(**OPTIONS)
def forward(start, stop, groups, scratch, p, out):
    """Run the jobs start .. stop; job j is item j // groups and share j % groups of its blocks."""
    for j in range(start, stop):
        g = j % groups
        forward_item(p, out, j // groups, p.blocks * g // groups, p.blocks * (g + 1) // groups, scratch)


@njit(**PART)
def again(p, g, b, k, s0, count, states, decays, rows):
    """Forward again over a chunk. Keeps states, decays, dt, its slope and the gradient of y before the gate, dy."""
    length, at, room = load_int(p.lengths + 8 * b), k * BYTES, p.channels - k * LANES
    u, u_step = first_row(p.u, b, length, p.reverse, at)
    delta, delta_step = first_row(p.delta, b, length, p.reverse, at)
    z, z_step = first_row(p.z, b, length, p.reverse, at)
    gy, gy_step = first_row(g.y, b, length, p.reverse, at)
    gz, gz_step = first_row(g.z, b, length, p.reverse, at)
    gu, gu_step = first_row(g.u, b, length, p.reverse, at)
    gdelta, gdelta_step = first_row(g.delta, b, length, p.reverse, at)
    B, B_step = first_row(p.B, b, length, p.reverse, 0)
    C, C_step = first_row(p.C, b, length, p.reverse, 0)
    skip, bias, A = load(p.D + at), load(p.bias + at), p.A + p.states * at
    size = p.states * BYTES
    for i in range(count):
        s = s0 + i
        behind = s - CHUNK
        expect(u + behind * u_step, False)
        expect(delta + behind * delta_step, False)
        expect(gy + behind * gy_step, False)
        expect(gu + behind * gu_step, True)
        expect(gdelta + behind * gdelta_step, True)
        u_s, gy_s = read(u + s * u_step, room), read(gy + s * gy_step, room)
        dt, slope = step_size(p, read(delta + s * delta_step, room) + bias)
        dtu, rate, y_s = dt * u_s, dt * LOG2E, skip * u_s
        B_s, C_s = B + s * B_step, C + s * C_step
        h0, a0 = states + i * size, decays + i * size
        for n in range(p.states):
            at_n = n * BYTES
            a = exp2(rate * load(A + at_n))
            h = a * load(h0 + at_n) + dtu * load_float(B_s + 4 * n)
            store(a0 + at_n, a)
            store(h0 + size + at_n, h)
            y_s = h * load_float(C_s + 4 * n) + y_s
        if p.gated:
            expect(z + behind * z_step, False)
            expect(gz + behind * gz_step, True)
            z_s = read(z + s * z_step, room)
            o = sigmoid(z_s)
            gate = gy_s * o
            write(gz + s * gz_step, gate * y_s * (z_s * (ONE - o) + ONE), room)
            gy_s = gate * z_s
        store(rows + 3 * i * BYTES, dt)
        store(rows + (3 * i + 1) * BYTES, slope)
        store(rows + (3 * i + 2) * BYTES, gy_s)


@njit(**PART)
def back(p, g, b, k, s0, count, states, decays, rows, sums, grad_state, grad_A):
    """Walk back over a chunk; returns its part of the gradients of D and of the bias.

    `grad_state` [N, LANES] is the gradient of the state between steps. `sums` collects the gradients of B and C lane by
    lane. Within a step, from_input is sum_n (gradient of h) B, the gradient of dt*u, and from_decay is
    sum_n (gradient of dt A) A.
    """
    length, at, room = load_int(p.lengths + 8 * b), k * BYTES, p.channels - k * LANES
    u, u_step = first_row(p.u, b, length, p.reverse, at)
    gu, gu_step = first_row(g.u, b, length, p.reverse, at)
    gdelta, gdelta_step = first_row(g.delta, b, length, p.reverse, at)
    B, B_step = first_row(p.B, b, length, p.reverse, 0)
    C, C_step = first_row(p.C, b, length, p.reverse, 0)
    skip, A = load(p.D + at), p.A + p.states * at
    size = p.states * BYTES
    grad_skip, grad_bias = splat(ZERO), splat(ZERO)
    for i in range(count - 1, -1, -1):
        s = s0 + i
        u_s = read(u + s * u_step, room)
        dt, slope, dy = load(rows + 3 * i * BYTES), load(rows + (3 * i + 1) * BYTES), load(rows + (3 * i + 2) * BYTES)
        dtu, from_input, from_decay = dt * u_s, splat(ZERO), splat(ZERO)
        B_s, C_s = B + s * B_step, C + s * C_step
        h0, a0 = states + i * size, decays + i * size
        sum_B, sum_C = sums + 2 * i * size, sums + (2 * i + 1) * size
        for n in range(p.states):
            at_n = n * BYTES
            gh = dy * load_float(C_s + 4 * n) + load(grad_state + at_n)
            store(sum_C + at_n, dy * load(h0 + size + at_n) + load(sum_C + at_n))
            store(sum_B + at_n, gh * dtu + load(sum_B + at_n))
            from_input = gh * load_float(B_s + 4 * n) + from_input
            gh = gh * load(a0 + at_n)
            q = gh * load(h0 + at_n)
            from_decay = q * load(A + at_n) + from_decay
            store(grad_A + at_n, q * dt + load(grad_A + at_n))
            store(grad_state + at_n, gh)
        gdt = (from_input * u_s + from_decay) * slope
        write(gu + s * gu_step, dy * skip + from_input * dt, room)
        write(gdelta + s * gdelta_step, gdt, room)
        grad_skip, grad_bias = dy * u_s + grad_skip, grad_bias + gdt
    return grad_skip, grad_bias


@njit(**PART)
def store_sums(p, g, group, items, b, length, s0, count, sums):
    """Sum the gradients of B and C of a chunk over the lanes."""
    for i in range(count):
        s = length - 1 - s0 - i if p.reverse else s0 + i
        row = 4 * (((group * items + b) * p.steps + s) * p.states)
        for n in range(p.states):
            at = (2 * i * p.states + n) * BYTES
            store_float(g.B + row + 4 * n, total(load(sums + at)))
            store_float(g.C + row + 4 * n, total(load(sums + at + p.states * BYTES)))


@njit(**PART)
def backward_item(p, g, items, group, worker, b, k0, k1, scratch):
    """Gradients of the blocks k0 .. k1 of one item."""
    length, size = load_int(p.lengths + 8 * b), p.states * BYTES
    states = scratch
    decays = states + (CHUNK + 1) * size
    sums = decays + CHUNK * size
    rows = sums + 2 * CHUNK * size
    grad_state = rows + 3 * CHUNK * BYTES
    copy(grad_state, g.last + (b * p.blocks + k0) * size, (k1 - k0) * p.states)
    for c in range((length + CHUNK - 1) // CHUNK - 1, -1, -1):
        s0 = c * CHUNK
        count = min(length, s0 + CHUNK) - s0
        clear(sums, 2 * count * p.states)
        for k in range(k0, k1):
            copy(states, g.saved + ((b * p.chunks + c) * p.blocks + k) * size, p.states)
            again(p, g, b, k, s0, count, states, decays, rows)
            here, block = grad_state + (k - k0) * size, worker * p.blocks + k
            grad_A = g.A + block * size
            skip, bias = back(p, g, b, k, s0, count, states, decays, rows, sums, here, grad_A)
            store(g.D + block * BYTES, load(g.D + block * BYTES) + skip)
            store(g.bias + block * BYTES, load(g.bias + block * BYTES) + bias)
        store_sums(p, g, group, items, b, length, s0, count, sums)
    copy(g.first + (b * p.blocks + k0) * size, grad_state, (k1 - k0) * p.states)


@njit(**OPTIONS)
def backward(start, stop, groups, worker, items, scratch, p, g):
    """`forward`'s jobs start .. stop on the way back; slice `worker` of the summed gradients is this call's own."""
    for j in range(start, stop):
        group = j % groups
        k0, k1 = p.blocks * group // groups, p.blocks * (group + 1) // groups
        backward_item(p, g, items, group, worker, j // groups, k0, k1, scratch)
