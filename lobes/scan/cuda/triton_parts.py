"""Parts of the Triton kernels: where a program works, how it reads and writes, and the functions of one step.

A program is one warp. It walks one piece, which is a segment of one item, for one block of W channels. A tile of states
is [N, W], rows of u, delta, z and y are [1, W], rows of B and C [N, 1]. Each of the 32 lanes owns a channel with all
its N states, and a sum over states needs no exchange between lanes.

Loops are `while`: Triton's interpreter cannot count to a tensor under NumPy 2.4. A step past the end of a piece runs on
the last valid row with dt = 0, which changes no state, and its results are not written: so no row needs a mask.
"""

# mypy: ignore-errors
# What Triton compiles looks like Python and is not: its tuples grow, and its types are those of each call.

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
FASTEST_DECAY = tl.constexpr(-3.0e38)  # instead of -inf, which times a dt of 0 would be no number


@triton.jit
def softplus(x):
    """log(1 + e^x) and its derivative from one exponential: log(1 + y) = 2 artanh(y / (2 + y)), within 4e-9."""
    y = tl.exp2(-tl.abs(x) * LOG2E)
    s = y / (2 + y)  # at most 1/3
    q = s * s
    p = 1.000000004 + q * (0.3333315734 + q * (0.2001245513 + q * (0.139803016 + q * 0.1408916646)))
    slope = 1 / (1 + y)
    return 2 * s * p + tl.where(x > 0, x, 0.0), tl.where(x > 0, slope, y * slope)


@triton.jit
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1 / (1 + tl.exp2(-x * LOG2E))


@triton.jit
def step_size(x, here, SOFTPLUS: tl.constexpr):
    """The dt of a step and its derivative, from delta with its bias; 0 unless the step is `here`."""
    slope = tl.full(x.shape, 1.0, tl.float32)
    if SOFTPLUS:
        x, slope = softplus(x)
    return tl.where(here, x, 0.0), slope


@triton.jit
def places(channels, N: tl.constexpr, W: tl.constexpr):
    """This program's piece, its block of channels, states n [N, 1] and channels d [1, W]."""
    blocks = tl.cdiv(channels, W)  # neighbours share the rows of B and C
    piece, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    return piece.to(tl.int64), block, tl.arange(0, N)[:, None], (block * W + tl.arange(0, W))[None, :]


@triton.jit
def span(piece, lengths, steps, segment, segments):
    """Item, segment, valid steps of the item, first step of the segment and the one after its last.

    Lengths outside 0..L are cut to it here: on the device nobody has looked at them.
    """
    b, k = piece // segments, (piece % segments).to(tl.int32)
    length = steps
    if lengths is not None:
        length = tl.maximum(tl.minimum(tl.load(lengths + b), steps), 0).to(tl.int32)
    start = tl.minimum(k * segment, length)
    return b, k, length, start, tl.minimum(start + segment, length)


@triton.jit
def rows_from(pointer, item, step, b, s, length, REVERSE: tl.constexpr):
    """The row of the step s of an item, as a pointer, and the way to the next step's: 64 bits once, then 32."""
    row = length - 1 - s if REVERSE else s
    return pointer + b * item + row.to(tl.int64) * step, (-step if REVERSE else step)


@triton.jit
def read_row(pointer, step, at, d, inside, EVEN: tl.constexpr):
    """The row of channels `at` steps from the one at `pointer`, in float32; EVEN: it has all channels of the block."""
    if EVEN:
        return tl.load(pointer + (d + at * step)).to(tl.float32)
    else:
        return tl.load(pointer + (d + at * step), mask=inside, other=0.0).to(tl.float32)


@triton.jit
def read_map(pointer, step, at, n, inside, EVEN: tl.constexpr):
    """The row of B or C `at` steps from the one at `pointer`, in float32; EVEN: it has N states.

    Unlike in `read_row` the step is added first, and n becomes a part of the instructions that read.
    """
    if EVEN:
        return tl.load((pointer + at * step) + n).to(tl.float32)
    else:
        return tl.load((pointer + at * step) + n, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def vector(pointer, d, channels):
    """A parameter of each channel, [1, W]; zeros if there is none."""
    if pointer is None:
        return tl.zeros(d.shape, tl.float32)
    else:
        return tl.load(pointer + d, mask=d < channels, other=0.0)


@triton.jit
def state(pointer, at, n, d, channels, STATES: tl.constexpr):
    """The tile `at` of states [..., D, N]; zeros if there are none."""
    if pointer is None:
        return tl.zeros((n + d).shape, tl.float32)
    else:
        return tl.load(pointer + (at * channels + d) * STATES + n, mask=(n < STATES) & (d < channels), other=0.0)


@triton.jit
def keep(pointer, at, n, d, channels, STATES: tl.constexpr, tile):
    """Store a tile of states as [..., D, N]."""
    tl.store(pointer + (at * channels + d) * STATES + n, tile, mask=(n < STATES) & (d < channels))


@triton.jit
def decay_rates(A, n, d, channels, STATES: tl.constexpr):
    """A log2(e), so that the decay of a step is 2^(dt A2). Rates of -inf become finite; a NaN stays."""
    A2 = state(A, 0, n, d, channels, STATES) * LOG2E
    return tl.where(A2 < FASTEST_DECAY, FASTEST_DECAY, A2)


@triton.jit
def checkpoint(saved, b, s, steps, block, blocks, TILE: tl.constexpr, CHUNK: tl.constexpr):
    """Where the state before the step s begins in `saved` [B, chunks, blocks, N, W]."""
    return saved + ((b * tl.cdiv(steps, CHUNK) + s // CHUNK) * blocks + block) * TILE


@triton.jit
def whole_tile(N: tl.constexpr, W: tl.constexpr):
    """The places in a tile of states as `checkpoint` keeps it, [N, W]: lanes side by side."""
    return tl.arange(0, N)[:, None] * W + tl.arange(0, W)[None, :]
