"""Depthwise convolution over time followed by SiLU, and its gradients, in the vectors of `lobes.kernels.simd`.

A block of LANES channels of one item is one job: its rows stay in the cache, and nothing is written but the result. The
backward kernel recomputes the convolution. In the direction of the scan the convolution is always causal; a reverse one
starts at the end and has negative distances between its rows.
"""

from __future__ import annotations

from typing import NamedTuple

from lobes.kernels.memory import AnyRows
from lobes.kernels.simd import BYTES, LANES, load, splat, store
from lobes.kernels.simd_math import ONE, OPTIONS, PART, ZERO, first_row, njit, read, sigmoid, write


class ConvInputs(NamedTuple):
    """The inputs of the convolution. Taps lie in rows of blocks, so that one tap of a block is a vector."""

    x: AnyRows  # [B, L, D]
    taps: int  # [blocks, K, LANES], the last one at the current step
    bias: int  # [blocks, LANES]
    steps: int
    channels: int
    width: int  # K
    blocks: int
    reverse: bool


class ConvGradients(NamedTuple):
    """The gradient that comes in (y) and those that the backward kernel fills."""

    y: AnyRows  # [B, L, D]
    x: AnyRows  # [B, L, D]
    taps: int  # [shares, blocks, K, LANES], to be summed over shares; added to
    bias: int  # [shares, blocks, LANES]; added to


@njit(**PART)
def convolve(rows, x, x_step, taps, bias, s, width, room):
    """bias + sum over k of taps[k] x[s + k - width + 1]; zeros lie before the first step."""
    y = bias
    for k in range(max(0, width - 1 - s), width):
        y = read(rows, x + (s + k - width + 1) * x_step, room) * load(taps + k * BYTES) + y
    return y


@njit(**OPTIONS)
def forward(start, stop, p, out):
    """Run the jobs start .. stop; job j is block j % blocks of item j // blocks."""
    for j in range(start, stop):
        b, block = j // p.blocks, j % p.blocks
        room, taps, bias = p.channels - block * LANES, p.taps + block * p.width * BYTES, load(p.bias + block * BYTES)
        x, x_step = first_row(p.x, b, p.steps, p.reverse, block * LANES)
        y, y_step = first_row(out, b, p.steps, p.reverse, block * LANES)
        for s in range(p.steps):
            c = convolve(p.x, x, x_step, taps, bias, s, p.width, room)
            write(out, y + s * y_step, c * sigmoid(c), room)


@njit(**PART)
def through_silu(p, g, b, block, grad_taps, inner):
    """Fill `inner` [L, LANES], the gradient before SiLU; add to the gradient of the taps, return that of the bias."""
    room, taps, bias = p.channels - block * LANES, p.taps + block * p.width * BYTES, load(p.bias + block * BYTES)
    x, x_step = first_row(p.x, b, p.steps, p.reverse, block * LANES)
    gy, gy_step = first_row(g.y, b, p.steps, p.reverse, block * LANES)
    grad_bias = splat(ZERO)
    for s in range(p.steps):
        c = convolve(p.x, x, x_step, taps, bias, s, p.width, room)
        o = sigmoid(c)
        d = read(g.y, gy + s * gy_step, room) * (o * (c * (ONE - o) + ONE))
        store(inner + s * BYTES, d)
        grad_bias = grad_bias + d
        for k in range(max(0, p.width - 1 - s), p.width):
            at = grad_taps + k * BYTES
            store(at, read(p.x, x + (s + k - p.width + 1) * x_step, room) * d + load(at))
    return grad_bias


@njit(**PART)
def through_taps(p, g, b, block, inner):
    """Fill the gradient of x: the same taps the other way."""
    room, taps = p.channels - block * LANES, p.taps + block * p.width * BYTES
    gx, gx_step = first_row(g.x, b, p.steps, p.reverse, block * LANES)
    for s in range(p.steps):
        d = splat(ZERO)
        for k in range(max(0, p.width - p.steps + s), p.width):
            d = load(inner + (s + p.width - 1 - k) * BYTES) * load(taps + k * BYTES) + d
        write(g.x, gx + s * gx_step, d, room)


@njit(**OPTIONS)
def backward(start, stop, share, inner, p, g):
    """`forward`'s jobs on the way back; `inner` is scratch of `steps` vectors, slice `share` of the sums its own."""
    for j in range(start, stop):
        b, block = j // p.blocks, j % p.blocks
        mine = share * p.blocks + block
        grad_bias = through_silu(p, g, b, block, g.taps + mine * p.width * BYTES, inner)
        store(g.bias + mine * BYTES, load(g.bias + mine * BYTES) + grad_bias)
        through_taps(p, g, b, block, inner)
