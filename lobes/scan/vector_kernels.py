"""The CPU scan in explicit vectors, forward: float32, one thread for each call.

Channels are cut into blocks of LANES, the width of a `Vector` (lobes.scan.simd). A kernel takes one item after the
other, walks over it in chunks of `CHUNK` steps, and within a chunk over the blocks. The states before every chunk are
kept for `lobes.scan.vector_backward`. What belongs to states lies in rows of blocks, [..., blocks, N, LANES], so that a
state is one vector; the channels beyond D in the last block are zeros, and stay so.

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
)
from lobes.scan.vector_math import (
    LOG2E,
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
    """What is scanned. `blocked` stands for [blocks, N, LANES]; the number N of states is even."""

    u: Rows  # [B, L, D]
    delta: Rows  # [B, L, D]
    z: Rows  # [B, L, D], not read unless gated
    B: Rows  # [B, L, N]
    C: Rows  # [B, L, N]
    A: int  # blocked
    D: int  # [blocks, LANES]; 0: zeros
    bias: int  # [blocks, LANES]; 0: zeros
    lengths: int  # int64 [B]; 0: all have `steps`
    first: int  # [B, blocked], initial state; 0: zeros
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
    last: int  # [B, blocked]; 0: not wanted
    saved: int  # [B, chunks, blocked], the state before each chunk; 0: not wanted


def forward_scratch(states: int, blocks: int) -> int:
    """Bytes that a call of `forward` needs."""
    return BYTES * states * blocks


@njit(**PART)
def length_of(p, b):
    return p.steps if p.lengths == 0 else load_int(p.lengths + 8 * b)


@njit(**PART)
def present(source, offset):
    """The vector `offset` bytes behind `source`; where there is no source, zeros."""
    return splat(ZERO) if source == 0 else load(source + offset)


@njit(**PART)
def copy(to, source, offset, count):
    """Copy vectors from `offset` bytes behind `source`; where there is no source, zeros."""
    for n in range(count):
        store(to + n * BYTES, present(source, offset + n * BYTES))


@njit(**PART)
def expect(address, writing):
    """Fetch the memory of a block that will be needed a chunk later."""
    for line in range(0, BYTES, CACHE_LINE):
        if writing:
            prefetch_to_write(address + line)
        else:
            prefetch_to_read(address + line)


@njit(**PART)
def forward_chunk(p, out, b, k, s0, s1, state):
    """Run the steps s0 .. s1 of one block; `state` [N, LANES] is read and replaced."""
    length, at, room = length_of(p, b), k * BYTES, p.channels - k * LANES
    u, u_step = first_row(p.u, b, length, p.reverse, at)
    delta, delta_step = first_row(p.delta, b, length, p.reverse, at)
    z, z_step = first_row(p.z, b, length, p.reverse, at)
    y, y_step = first_row(out.y, b, length, p.reverse, at)
    B, B_step = first_row(p.B, b, length, p.reverse, 0)
    C, C_step = first_row(p.C, b, length, p.reverse, 0)
    skip, bias, A = present(p.D, at), present(p.bias, at), p.A + p.states * at
    for s in range(s0, s1):
        ahead = s + CHUNK
        expect(u + ahead * u_step, False)
        expect(delta + ahead * delta_step, False)
        expect(y + ahead * y_step, True)
        u_s = read(u + s * u_step, room)
        x = read(delta + s * delta_step, room) + bias
        dt = softplus_and_slope(x)[0] if p.softplus else x
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
    length, size = length_of(p, b), p.states * BYTES  # bytes of the states of a block
    copy(state, p.first, (b * p.blocks + k0) * size, (k1 - k0) * p.states)
    for c in range((length + CHUNK - 1) // CHUNK):
        for k in range(k0, k1):
            here = state + (k - k0) * size
            if out.saved != 0:
                copy(out.saved + ((b * p.chunks + c) * p.blocks + k) * size, here, 0, p.states)
            forward_chunk(p, out, b, k, c * CHUNK, min(length, (c + 1) * CHUNK), here)
    if out.last != 0:
        copy(out.last + (b * p.blocks + k0) * size, state, 0, (k1 - k0) * p.states)


@njit(**OPTIONS)
def forward(start, stop, groups, scratch, p, out):
    """Run the jobs start .. stop; job j is item j // groups and share j % groups of its blocks."""
    for j in range(start, stop):
        g = j % groups
        forward_item(p, out, j // groups, p.blocks * g // groups, p.blocks * (g + 1) // groups, scratch)
