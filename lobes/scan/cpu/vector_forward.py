"""The CPU scan in explicit vectors, forward: float32, one thread for each call.

Channels are cut into blocks of LANES, the width of a `Vector` (lobes.kernels.simd). A kernel takes one item after the
other, walks over it in chunks of `CHUNK` steps, and within a chunk over the blocks. A chunk of a block is done in three
passes: `prepare` computes step by step what all states share, `two_states` runs two states over the chunk in registers
and adds what they give to y, `finish` gates and writes y. The states before every chunk are kept for
`lobes.scan.cpu.vector_backward`. What belongs to states lies in rows of blocks, [..., blocks, N, LANES], so that a
state is one vector; the channels beyond D in the last block are zeros, and stay so.

All memory is given as addresses in bytes. A reverse scan is a forward scan whose rows start at the item's true end and
have negative distances. `lobes.scan.torch_blocked` is the same scan in PyTorch's operations: easier to read.
"""

from __future__ import annotations

from typing import NamedTuple

from lobes.kernels.memory import AnyRows
from lobes.kernels.simd import BYTES, LANES, load, load_float, load_int, splat, store, store_float
from lobes.kernels.simd_math import (
    LOG2E,
    ONE,
    OPTIONS,
    PART,
    ZERO,
    exp2_of_product,
    expect,
    first_row,
    njit,
    read,
    sigmoid,
    softplus_and_slope,
    write,
)

CHUNK = 16  # steps between stored states
RATE, DTU, Y = (i * BYTES for i in range(3))  # a step of a chunk: dt log2(e), dt u, and y before the gate
ROW = 3 * BYTES


class ScanAddresses(NamedTuple):
    """The inputs of a scan. `blocked` stands for [blocks, N, LANES]; the number N of states is even."""

    u: AnyRows  # [B, L, D]
    delta: AnyRows  # [B, L, D], or [B, L, R] of low rank
    z: AnyRows  # [B, L, D], not read unless gated
    B: AnyRows  # [B, L, N]
    C: AnyRows  # [B, L, N]
    A: int  # [D, N], without the partner of an odd state
    D: int  # [D]; 0: zeros
    bias: int  # [D]; 0: zeros
    lengths: int  # int64 [B]; 0: all have `steps`
    first: int  # [B, blocked], initial state; 0: zeros
    weight: int  # [R, D], which delta of low rank is multiplied by; 0: it is of no low rank
    rank: int  # R; 0 without a weight
    steps: int
    channels: int
    states: int
    odd: int  # 1 where the last of the states is there only to make their number even
    blocks: int
    chunks: int
    reverse: bool
    softplus: bool
    gated: bool


class OutputAddresses(NamedTuple):
    """The memory that the forward kernel fills; steps past an item's end are left alone."""

    y: AnyRows  # [B, L, D]
    last: int  # [B, blocked]; 0: not wanted
    saved: int  # [B, chunks, blocked], the state before each chunk; 0: not wanted


def forward_scratch(states: int, blocks: int) -> int:
    """Bytes that a call of `forward` needs: A and the state, both blocked, and a chunk's rows."""
    return 2 * BYTES * states * blocks + CHUNK * ROW


@njit(**PART)
def length_of(p, b):
    return p.steps if p.lengths == 0 else load_int(p.lengths + 8 * b)


@njit(**PART)
def of_channels(source, k, room):
    """Block k of [D], of which `room` channels are left; where there is no source, zeros."""
    return splat(ZERO) if source == 0 else read(None, source + k * BYTES, room)


@njit(**PART)
def copy(to, source, offset, count):
    """Copy vectors from `offset` bytes behind `source`; where there is no source, zeros."""
    for n in range(count):
        store(to + n * BYTES, splat(ZERO) if source == 0 else load(source + offset + n * BYTES))


@njit(**PART)
def clear(to, count):
    copy(to, 0, 0, count)


@njit(**PART)
def block_decays(p, to):
    """Write A [D, N] as [blocks, N, LANES], with zeros where there is no channel or state."""
    clear(to, p.blocks * p.states)
    states = p.states - p.odd
    for d in range(p.channels):
        k, lane = d // LANES, d % LANES
        for n in range(states):
            store_float(to + (k * p.states + n) * BYTES + 4 * lane, load_float(p.A + 4 * (d * states + n)))


@njit(**PART)
def step_sizes(p, row, k, room):
    """Block k of a step's delta, which is read from its place in the `row`, or multiplied from R numbers there."""
    if p.rank == 0:
        return read(p.delta, row, room)
    x = splat(ZERO)
    for r in range(p.rank):
        weight = p.weight + 4 * r * p.channels + k * BYTES
        x = load_float(row + 4 * r) * read(None, weight, room) + x
    return x


@njit(**PART)
def prepare(p, b, k, s0, count, ahead, rows, row_size, slope):
    """Fill the rows of the steps s0 .. s0 + count: what their states share, and the slope of dt at `slope` unless 0."""
    length, at, room = length_of(p, b), k * LANES, p.channels - k * LANES
    u, u_step = first_row(p.u, b, length, p.reverse, at)
    delta, delta_step = first_row(p.delta, b, length, p.reverse, at if p.rank == 0 else 0)
    skip, bias = of_channels(p.D, k, room), of_channels(p.bias, k, room)
    for i in range(count):
        s, row = s0 + i, rows + i * row_size
        expect(p.u, u + (s + ahead) * u_step, False)
        expect(p.delta, delta + (s + ahead) * delta_step, False)
        u_s, x = read(p.u, u + s * u_step, room), step_sizes(p, delta + s * delta_step, k, room) + bias
        dt, rise = softplus_and_slope(x) if p.softplus else (x, splat(ONE))
        store(row + RATE, dt * LOG2E)
        store(row + DTU, dt * u_s)
        store(row + Y, skip * u_s)
        if slope != 0:
            store(row + slope, rise)


@njit(**PART)
def two_states(B, B_step, C, C_step, count, A, state, path, keep, rows, row_size):
    """Run two states over a chunk, add to y and return them; `path` keeps, if asked, their decays and states."""
    A0, A1, h0, h1 = load(A), load(A + BYTES), load(state), load(state + BYTES)
    for i in range(count):
        row, here, B_s, C_s = rows + i * row_size, path + 4 * i * BYTES, B + i * B_step, C + i * C_step
        rate, dtu = load(row + RATE), load(row + DTU)
        a0, a1 = exp2_of_product(rate, A0), exp2_of_product(rate, A1)
        if keep:
            store(here, a0)
            store(here + BYTES, h0)
            store(here + 2 * BYTES, a1)
            store(here + 3 * BYTES, h1)
        h0, h1 = a0 * h0 + dtu * load_float(B_s), a1 * h1 + dtu * load_float(B_s + 4)
        store(row + Y, h1 * load_float(C_s + 4) + (h0 * load_float(C_s) + load(row + Y)))
    return h0, h1


@njit(**PART)
def finish(p, out, b, k, s0, count, rows):
    """Gate and write y."""
    length, at, room = length_of(p, b), k * LANES, p.channels - k * LANES
    z, z_step = first_row(p.z, b, length, p.reverse, at)
    y, y_step = first_row(out.y, b, length, p.reverse, at)
    for i in range(count):
        s = s0 + i
        y_s = load(rows + i * ROW + Y)
        expect(out.y, y + (s + CHUNK) * y_step, True)
        if p.gated:
            expect(p.z, z + (s + CHUNK) * z_step, False)
            z_s = read(p.z, z + s * z_step, room)
            y_s = y_s * (z_s * sigmoid(z_s))
        write(out.y, y + s * y_step, y_s, room)


@njit(**PART)
def forward_item(p, out, b, k0, k1, decays, state, rows):
    """Run the blocks k0 .. k1 of one item."""
    length, size = length_of(p, b), p.states * BYTES  # bytes of the states of a block
    B, B_step = first_row(p.B, b, length, p.reverse, 0)
    C, C_step = first_row(p.C, b, length, p.reverse, 0)
    copy(state, p.first, (b * p.blocks + k0) * size, (k1 - k0) * p.states)
    for c in range((length + CHUNK - 1) // CHUNK):
        for k in range(k0, k1):
            here = state + (k - k0) * size
            if out.saved != 0:
                copy(out.saved + ((b * p.chunks + c) * p.blocks + k) * size, here, 0, p.states)
            s0 = c * CHUNK
            count = min(length, s0 + CHUNK) - s0
            prepare(p, b, k, s0, count, CHUNK, rows, ROW, 0)
            for n in range(0, p.states, 2):
                at = n * BYTES
                h0, h1 = two_states(
                    B + s0 * B_step + 4 * n, B_step, C + s0 * C_step + 4 * n, C_step, count,
                    decays + k * size + at, here + at, 0, False, rows, ROW,
                )  # fmt: skip
                store(here + at, h0)
                store(here + at + BYTES, h1)
            finish(p, out, b, k, s0, count, rows)
    if out.last != 0:
        copy(out.last + (b * p.blocks + k0) * size, state, 0, (k1 - k0) * p.states)


@njit(**OPTIONS)
def forward(start, stop, groups, scratch, p, out):
    """Run the jobs start .. stop; job j is item j // groups and share j % groups of its blocks."""
    state = scratch + p.blocks * p.states * BYTES
    rows = state + p.blocks * p.states * BYTES
    block_decays(p, scratch)
    for j in range(start, stop):
        g = j % groups
        k0, k1 = p.blocks * g // groups, p.blocks * (g + 1) // groups
        forward_item(p, out, j // groups, k0, k1, scratch, state, rows)
