"""The CPU scan in plain numba: one forward and one hand-written backward, float32, one thread each.

A kernel walks over items and blocks of up to `STRIDE` channels, and over a block in chunks of `CHUNK` steps. All that
a chunk needs lies in one flat scratch array `S`, plane by plane (dt, dt*u, y, states...), a row of channels for each
step: it stays in the cache, and because all rows live in one array at constant distances LLVM knows that they do not
overlap and vectorises the hot loops (`advance`, `retreat`) without run-time checks. For each state n the chunk is
walked forward, recomputing the states in the backward kernel, and then backward, so the states of only one n are held.
The hot loops take two steps at a time, which keeps the state between them in a register.

Rules that keep this fast and right. Indices are unsigned (`U`): numba then leaves out its test for negative indices.
The parts are inlined, or each call would count references to all arrays. No fast-math flag claims that NaN does not
occur: a NaN in the input must reach the output.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

njit: Any = numba.njit  # numba's type stubs know only part of its options
intrinsic: Any = numba.extending.intrinsic

CHUNK = 16  # steps between stored states
STRIDE = 256  # most channels in a block, and the distance between two rows of scratch
LANES = 16  # blocks are padded to a multiple of this, so that vector loops have no remainder

F, U = np.float32, np.uint64
ZERO, ONE, TWO = F(0), F(1), F(2)
U0, U1, U2, NEXT, STEPS = U(0), U(1), U(2), U(STRIDE), U(CHUNK)
AFTER = U(2 * STRIDE)  # from a row to the one behind its pair of steps
LOG2E = F(1.4426950408889634)

# Scratch planes. The odd 80 floats keep equal rows of different planes apart in the cache.
_PLANE = (CHUNK + 1) * STRIDE + 80
DT, SLOPE, DU, Y, DY, SB, SA, DECAY, H = (U(k * _PLANE) for k in range(9))
PLANES = U(9)
SCRATCH = 9 * _PLANE

_CORRECT = {"contract", "nsz"}  # fused multiply-add; a - a + b stays as written, which exp2 needs
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "boundscheck": False, "nogil": True}
_PART: dict[str, Any] = {**_OPTIONS, "fastmath": _CORRECT, "no_cpython_wrapper": True, "forceinline": True}


@intrinsic
def _bits(typing_context: Any, x: Any) -> Any:
    """The bits of a float32 as int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.int32))

    return types.int32(types.float32), generate


@intrinsic
def _from_bits(typing_context: Any, x: Any) -> Any:
    """The float32 that has these int32 bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


# 2^x = 2^k 2^f with k = round(x): adding MAGIC leaves k + 127 in the low bits, which shifted are the bits of
# 2^k. The polynomial (minimax on [-1/2, 1/2]) is within 1e-7. Below -126.5 the result is 0, above 127.5
# infinity, NaN stays NaN.
MAGIC = F(12582912 + 127)
LOWEST, HIGHEST = F(-127), F(128)
P6, P5, P4 = F(1.535336188319500e-4), F(1.339887440266574e-3), F(9.618437357674640e-3)
P3, P2, P1 = F(5.550332471162809e-2), F(2.402264791363012e-1), F(6.931472028550421e-1)
EXPONENT = np.int32(23)


@njit(inline="always", **_PART)
def exp2(x):
    x = LOWEST if x < LOWEST else x
    x = HIGHEST if x > HIGHEST else x
    r = x + MAGIC
    f = x - (r - MAGIC)
    p = ((((((P6 * f + P5) * f + P4) * f + P3) * f + P2) * f + P1) * f) + ONE
    return p * _from_bits(np.int32(_bits(r) << EXPONENT))


# log(1 + y) = 2 artanh(s), s = y / (2 + y), as a series in s^2; y = exp(-|x|) <= 1, so s <= 1/3.
Q15, Q13, Q11, Q9, Q7, Q5, Q3 = (F(1 / k) for k in (15, 13, 11, 9, 7, 5, 3))


@njit(inline="always", **_PART)
def softplus_and_slope(x):
    """log(1 + e^x) and its derivative, the sigmoid, from one exponential."""
    y = exp2((-x if x > ZERO else x) * LOG2E)
    s = y / (TWO + y)
    q = s * s
    p = ((((((Q15 * q + Q13) * q + Q11) * q + Q9) * q + Q7) * q + Q5) * q + Q3) * q + ONE
    o = ONE / (ONE + y)
    return TWO * s * p + (x if x > ZERO else ZERO), (o if x > ZERO else y * o)


@njit(inline="always", **_PART)
def sigmoid(x):
    return ONE / (ONE + exp2(-x * LOG2E))


@njit(inline="always", **_PART)
def time_of(p, b, s):
    """The place in time of the s-th step that is run: a reverse scan starts at the item's true end."""
    return p.lengths[b] - U1 - s if p.reverse else s


@njit(**_PART)
def load_step(p, b, t, d0, w, S, o):
    """Fill dt, its slope, dt*u and D*u of one step."""
    if p.softplus:
        for d in range(U0, w):
            dt, slope = softplus_and_slope(p.delta[b, t, d0 + d] + p.bias[d0 + d])
            S[DT + o + d] = dt
            S[SLOPE + o + d] = slope
    else:
        for d in range(U0, w):
            S[DT + o + d] = p.delta[b, t, d0 + d] + p.bias[d0 + d]
            S[SLOPE + o + d] = ONE
    for d in range(U0, w):
        u = p.u[b, t, d0 + d]
        S[DU + o + d] = S[DT + o + d] * u
        S[Y + o + d] = p.D[d0 + d] * u


@njit(**_PART)
def store_output(p, out, b, t, d0, w, S, o):
    if p.gated:
        for d in range(U0, w):
            z = p.z[b, t, d0 + d]
            out.y[b, t, d0 + d] = S[Y + o + d] * (z * sigmoid(z))
    else:
        for d in range(U0, w):
            out.y[b, t, d0 + d] = S[Y + o + d]


@njit(**_PART)
def pair(p, x, b, n, s0, i, m):
    """B or C of steps i and i + 1; a step past the chunk, which `clear_odd` leaves without effect, repeats the last."""
    return x[b, time_of(p, b, s0 + i), n], x[b, time_of(p, b, s0 + min(i + U1, m - U1)), n]


@njit(**_PART)
def clear_odd(S, m):
    """Give the step behind an odd chunk dt = 0 and no input, so that the second half of its pair changes nothing."""
    o = m * NEXT
    if m % U2 != U0:
        for d in range(U0, NEXT):
            S[DT + o + d] = ZERO
            S[DU + o + d] = ZERO
            S[DY + o + d] = ZERO


@njit(**_PART)
def advance(S, A2, state, n, o, lanes, b, c):
    """Two steps of one state: h' = exp(dt A) h + dt u B, and its part of y."""
    for d in range(U0, lanes):
        a = A2[n, d]
        h = exp2(S[DT + o + d] * a) * state[n, d] + S[DU + o + d] * b[0]
        S[Y + o + d] += h * c[0]
        h = exp2(S[DT + NEXT + o + d] * a) * h + S[DU + NEXT + o + d] * b[1]
        S[Y + NEXT + o + d] += h * c[1]
        state[n, d] = h


@njit(**_PART)
def advance_and_keep(S, A2, n, o, lanes, b, c):
    """`advance` from row to row of H, which also keeps exp(dt A) for the way back."""
    for d in range(U0, lanes):
        a = A2[n, d]
        decay = exp2(S[DT + o + d] * a)
        h = decay * S[H + o + d] + S[DU + o + d] * b[0]
        S[DECAY + o + d] = decay
        S[H + NEXT + o + d] = h
        S[Y + o + d] += h * c[0]
        decay = exp2(S[DT + NEXT + o + d] * a)
        h = decay * h + S[DU + NEXT + o + d] * b[1]
        S[DECAY + NEXT + o + d] = decay
        S[H + AFTER + o + d] = h
        S[Y + NEXT + o + d] += h * c[1]


@njit(**{**_PART, "fastmath": _CORRECT | {"reassoc"}})  # reassoc: the sums over channels run in vectors
def retreat(S, A, grad_state, grad_a, n, o, lanes, b, c):
    """Two steps of one state backward; returns the gradients of B[t, n] and C[t, n] of both, over these channels.

    `grad_state` is the gradient of the state between steps. SB collects sum_n g B, the gradient of dt*u; SA collects
    sum_n (gradient of dt A) A.
    """
    first_b, first_c, second_b, second_c = ZERO, ZERO, ZERO, ZERO
    for d in range(U0, lanes):
        a = A[n, d]
        dy = S[DY + NEXT + o + d]
        g = grad_state[n, d] + dy * c[1]
        second_b += g * S[DU + NEXT + o + d]
        second_c += dy * S[H + AFTER + o + d]
        S[SB + NEXT + o + d] += g * b[1]
        g = g * S[DECAY + NEXT + o + d]
        h = S[H + NEXT + o + d]
        q = g * h
        S[SA + NEXT + o + d] += q * a
        grad = grad_a[n, d] + q * S[DT + NEXT + o + d]
        dy = S[DY + o + d]
        g = g + dy * c[0]
        first_b += g * S[DU + o + d]
        first_c += dy * h
        S[SB + o + d] += g * b[0]
        g = g * S[DECAY + o + d]
        q = g * S[H + o + d]
        S[SA + o + d] += q * a
        grad_a[n, d] = grad + q * S[DT + o + d]
        grad_state[n, d] = g
    return (first_b, second_b), (first_c, second_c)


@njit(**_PART)
def load_rows(rows, values, d0, w, lanes, factor):
    """The block's part of `values` [N, D], times a factor, into `rows`; padded lanes are 0 and stay without effect."""
    for n in range(U0, U(values.shape[0])):
        for d in range(U0, w):
            rows[n, d] = values[n, d0 + d] * factor
        for d in range(w, lanes):
            rows[n, d] = ZERO


@njit(**_PART)
def clear_padding(S, w, lanes):
    """A narrow block must not meet what a wide one left in its padded lanes."""
    for plane in range(U0, PLANES):
        for row in range(U0, STEPS + U1):
            for d in range(w, lanes):
                S[plane * U(_PLANE) + row * NEXT + d] = ZERO


@njit(**_PART)
def forward_chunk(p, out, b, s0, m, d0, w, lanes, state, A2, S):
    """Run steps s0 .. s0+m of one block; `state` [N, STRIDE] is read and replaced."""
    for i in range(U0, m):
        load_step(p, b, time_of(p, b, s0 + i), d0, w, S, i * NEXT)
    clear_odd(S, m)
    for n in range(U0, U(p.At.shape[0])):
        for i in range(U0, m, U2):
            advance(S, A2, state, n, i * NEXT, lanes, pair(p, p.B, b, n, s0, i, m), pair(p, p.C, b, n, s0, i, m))
    for i in range(U0, m):
        store_output(p, out, b, time_of(p, b, s0 + i), d0, w, S, i * NEXT)


@njit(**_PART)
def forward_block(p, out, b, d0, w, lanes, state, A2, S):
    states = U(p.At.shape[0])
    steps = p.lengths[b]
    clear_padding(S, w, lanes)
    load_rows(A2, p.At, d0, w, lanes, LOG2E)
    load_rows(state, p.first[b], d0, w, lanes, ONE)
    for c in range(U0, (steps + STEPS - U1) // STEPS):
        if out.saved.shape[1] > 0:
            for n in range(U0, states):
                for d in range(U0, w):
                    out.saved[b, c, n, d0 + d] = state[n, d]
        forward_chunk(p, out, b, c * STEPS, min(STEPS, steps - c * STEPS), d0, w, lanes, state, A2, S)
    for n in range(U0, states):
        for d in range(U0, w):
            out.last[b, n, d0 + d] = state[n, d]
    for t in range(steps, U(p.u.shape[1])):
        for d in range(U0, w):
            out.y[b, t, d0 + d] = ZERO


@njit(fastmath=_CORRECT, **_OPTIONS)
def forward(start, stop, groups, width, p, out):
    """Run jobs start..stop; job j is item j // groups and share j % groups of its blocks of `width` channels."""
    channels, states = p.u.shape[2], p.At.shape[0]
    blocks = (channels + width - 1) // width
    scratch = np.empty((2, states, STRIDE), F)
    S = np.zeros(SCRATCH, F)
    for j in range(start, stop):
        g = j % groups
        for k in range(blocks * g // groups, blocks * (g + 1) // groups):
            w = min(width, channels - k * width)
            lanes = (w + LANES - 1) // LANES * LANES
            forward_block(p, out, U(j // groups), U(k * width), U(w), U(lanes), scratch[0], scratch[1], S)


@njit(**_PART)
def load_gradient(p, g, b, t, d0, w, lanes, S, o):
    """Fill dy, the gradient of the output before the gate; clear the sums of this step."""
    if p.gated:
        for d in range(U0, w):
            z = p.z[b, t, d0 + d]
            S[DY + o + d] = g.y[b, t, d0 + d] * (z * sigmoid(z))
    else:
        for d in range(U0, w):
            S[DY + o + d] = g.y[b, t, d0 + d]
    for d in range(U0, lanes):
        S[SB + o + d] = ZERO
        S[SA + o + d] = ZERO


@njit(**_PART)
def store_gradients(p, g, share, b, t, d0, w, S, o):
    for d in range(U0, w):
        g.u[b, t, d0 + d] = S[DY + o + d] * p.D[d0 + d] + S[SB + o + d] * S[DT + o + d]
    for d in range(U0, w):
        g.delta[b, t, d0 + d] = (S[SA + o + d] + S[SB + o + d] * p.u[b, t, d0 + d]) * S[SLOPE + o + d]
    for d in range(U0, w):
        g.D[share, d0 + d] += S[DY + o + d] * p.u[b, t, d0 + d]
    for d in range(U0, w):
        g.bias[share, d0 + d] += g.delta[b, t, d0 + d]
    if p.gated:
        for d in range(U0, w):
            z = p.z[b, t, d0 + d]
            s = sigmoid(z)
            g.z[b, t, d0 + d] = g.y[b, t, d0 + d] * S[Y + o + d] * (s * (ONE + z * (ONE - s)))


@njit(**_PART)
def backward_state(p, g, group, b, n, s0, m, lanes, grad_state, grad_a, A, A2, S):
    """One state over one chunk: forward again from row 0 of H, then back."""
    for i in range(U0, m, U2):
        advance_and_keep(S, A2, n, i * NEXT, lanes, pair(p, p.B, b, n, s0, i, m), pair(p, p.C, b, n, s0, i, m))
    pairs = (m + U1) // U2
    for k in range(U0, pairs):
        i = (pairs - U1 - k) * U2
        b_t, c_t = pair(p, p.B, b, n, s0, i, m), pair(p, p.C, b, n, s0, i, m)
        grad_b, grad_c = retreat(S, A, grad_state, grad_a, n, i * NEXT, lanes, b_t, c_t)
        t = time_of(p, b, s0 + i)
        g.B[group, b, t, n] += grad_b[0]
        g.C[group, b, t, n] += grad_c[0]
        if i + U1 < m:
            t = time_of(p, b, s0 + i + U1)
            g.B[group, b, t, n] += grad_b[1]
            g.C[group, b, t, n] += grad_c[1]


@njit(**_PART)
def backward_chunk(p, g, saved, share, group, b, c, d0, w, lanes, grad_state, grad_a, A, A2, S):
    """One chunk of one block; `grad_state` and `grad_a` [N, STRIDE] are read and replaced."""
    s0 = c * STEPS
    m = min(STEPS, p.lengths[b] - s0)
    for i in range(U0, m):
        t = time_of(p, b, s0 + i)
        load_step(p, b, t, d0, w, S, i * NEXT)
        load_gradient(p, g, b, t, d0, w, lanes, S, i * NEXT)
    clear_odd(S, m)
    for n in range(U0, U(p.At.shape[0])):
        for d in range(U0, w):
            S[H + d] = saved[b, c, n, d0 + d]
        backward_state(p, g, group, b, n, s0, m, lanes, grad_state, grad_a, A, A2, S)
    for i in range(U0, m):
        store_gradients(p, g, share, b, time_of(p, b, s0 + i), d0, w, S, i * NEXT)


@njit(**_PART)
def backward_block(p, g, saved, share, group, b, d0, w, lanes, grad_state, grad_a, A, A2, S):
    states = U(p.At.shape[0])
    chunks = (p.lengths[b] + STEPS - U1) // STEPS
    clear_padding(S, w, lanes)
    load_rows(A, p.At, d0, w, lanes, ONE)
    load_rows(A2, p.At, d0, w, lanes, LOG2E)
    load_rows(grad_state, g.last[b], d0, w, lanes, ONE)
    load_rows(grad_a, A, U0, U0, lanes, ONE)  # all zero
    for k in range(U0, chunks):
        c = chunks - U1 - k
        backward_chunk(p, g, saved, share, group, b, c, d0, w, lanes, grad_state, grad_a, A, A2, S)
    for n in range(U0, states):
        for d in range(U0, w):
            g.first[b, n, d0 + d] = grad_state[n, d]
            g.At[share, n, d0 + d] += grad_a[n, d]
    for t in range(p.lengths[b], U(p.u.shape[1])):
        for d in range(U0, w):
            g.u[b, t, d0 + d] = ZERO
            g.delta[b, t, d0 + d] = ZERO
            if p.gated:
                g.z[b, t, d0 + d] = ZERO


@njit(fastmath=_CORRECT, **_OPTIONS)
def backward(start, stop, groups, width, share, p, g, saved):
    """`forward`'s jobs start..stop on the way back; slice `share` of the summed gradients is this call's own."""
    channels, states = p.u.shape[2], p.At.shape[0]
    blocks = (channels + width - 1) // width
    scratch = np.empty((4, states, STRIDE), F)
    S = np.zeros(SCRATCH, F)
    for j in range(start, stop):
        b, group = U(j // groups), j % groups
        g.B[group, b] = ZERO
        g.C[group, b] = ZERO
        for k in range(blocks * group // groups, blocks * (group + 1) // groups):
            w = min(width, channels - k * width)
            lanes = (w + LANES - 1) // LANES * LANES
            grad_state, grad_a, A, A2 = scratch[0], scratch[1], scratch[2], scratch[3]
            place = (U(share), U(group), b, U(k * width), U(w), U(lanes))
            backward_block(p, g, saved, *place, grad_state, grad_a, A, A2, S)
