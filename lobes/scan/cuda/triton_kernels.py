"""The scan in Triton: a program walks one segment of one item for one block of channels, its states in registers.

A program is one warp, and each of its lanes owns a channel with all its N states: a tile of states is [N, W]. So a sum
over states needs no exchange, and the gradients of B and C are summed over the block before they are stored.
Rows are [1, W] (u, delta, z, y) or [N, 1] (B, C).

Loops are `while`: Triton's interpreter cannot count to a tensor under NumPy 2.4. Tensors [B, L, ...] come as tuples
of pointer and distances, in elements, from item to item and from step to step.
"""

# mypy: ignore-errors
# What Triton compiles looks like Python and is not: its tuples grow, and its types are those of each call.

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _softplus(x):
    """log(1 + e^x) and its derivative from one exponential, exact to fp32: log(1 + y) = 2 artanh(y / (2 + y))."""
    y = tl.exp2(-tl.abs(x) * LOG2E)
    s = y / (2 + y)  # at most 1/3
    q = s * s
    p = 1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11 + q * (1 / 13 + q / 15))))))
    slope = 1 / (1 + y)
    return 2 * s * p + tl.where(x > 0, x, 0.0), tl.where(x > 0, slope, y * slope)


@triton.jit
def _sigmoid(x):
    return 1 / (1 + tl.exp2(-x * LOG2E))


@triton.jit
def _places(sizes, N: tl.constexpr, W: tl.constexpr):
    """This program's piece (item and segment), block of channels, states n [N, 1] and channels d [1, W]."""
    _, channels, _, _, _ = sizes
    blocks = tl.cdiv(channels, W)  # neighbours share the rows of B and C
    piece, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    return piece.to(tl.int64), block, tl.arange(0, N)[:, None], (block * W + tl.arange(0, W))[None, :]


@triton.jit
def _span(piece, lengths, sizes):
    """Item, segment, valid steps of the item, first step of the segment and the one after its last."""
    steps, _, _, segment, segments = sizes
    b, k = piece // segments, (piece % segments).to(tl.int32)
    length = steps
    if lengths is not None:
        length = tl.load(lengths + b).to(tl.int32)
    start = tl.minimum(k * segment, length)
    return b, k, length, start, tl.minimum(start + segment, length)


@triton.jit
def _row(s, length, REVERSE: tl.constexpr):
    """The offset of the step s of the scan; past the end, one that is harmless."""
    return tl.maximum(length - 1 - s, 0) if REVERSE else s


@triton.jit
def _read(rows, b, row, place, mask):
    pointer, item, step = rows
    return tl.load(pointer + b * item + row * step + place, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _write(rows, b, row, place, mask, value):
    pointer, item, step = rows
    tl.store(pointer + b * item + row * step + place, value, mask=mask)


@triton.jit
def _vector(pointer, d, channels):
    """A value for each channel; zeros without a tensor."""
    if pointer is None:
        return tl.zeros(d.shape, tl.float32)
    else:  # Triton compiles whatever follows a return, too
        return tl.load(pointer + d, mask=d < channels, other=0.0)


@triton.jit
def _state(pointer, at, n, d, sizes):
    """The tile `at` of states [..., D, N]; zeros without a tensor."""
    _, channels, states, _, _ = sizes
    if pointer is None:
        return tl.zeros((n + d).shape, tl.float32)
    else:
        return tl.load(pointer + (at * channels + d) * states + n, mask=(n < states) & (d < channels), other=0.0)


@triton.jit
def _keep(pointer, at, n, d, sizes, tile):
    """Store a tile of states as [..., D, N]."""
    _, channels, states, _, _ = sizes
    tl.store(pointer + (at * channels + d) * states + n, tile, mask=(n < states) & (d < channels))


@triton.jit
def _checkpoint(pointer, at, n, d, sizes):
    """The offset of the tile `at` of saved states [..., N, D]: lanes side by side, as the kernels alone read it."""
    _, channels, states, _, _ = sizes
    return pointer + (at * states + n) * channels + d, (n < states) & (d < channels)


@triton.jit
def _step(x, A2, mask, SOFTPLUS: tl.constexpr):
    """dt, its derivative and the decay of a step, from delta with its bias; a step that is masked changes nothing."""
    slope = tl.full(x.shape, 1.0, tl.float32)
    if SOFTPLUS:
        x, slope = _softplus(x)
    dt = tl.where(mask, x, 0.0)
    return dt, slope, tl.where(mask, tl.exp2(dt * A2), 1.0)


@triton.jit
def forward(
    u, delta, A, B, C, D, z, bias, first, lengths, y, last, saved, sizes,
    REVERSE: tl.constexpr, SOFTPLUS: tl.constexpr, N: tl.constexpr, W: tl.constexpr,
    CHUNK: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Outputs y, the last state, and the states before every CHUNK steps if `saved` is there; reads T steps ahead."""
    steps, channels, states, segment, segments = sizes
    piece, block, n, d = _places(sizes, N, W)
    b, k, length, start, stop = _span(piece, lengths, sizes)
    A2 = _state(A, 0, n, d, sizes) * LOG2E
    skip, shift = _vector(D, d, channels), _vector(bias, d, channels)
    h = _state(first, piece, n, d, sizes)
    s0 = start
    while s0 < stop:
        if saved is not None:
            if s0 % CHUNK == 0:
                place, inside = _checkpoint(saved, b * tl.cdiv(steps, CHUNK) + s0 // CHUNK, n, d, sizes)
                tl.store(place, h, mask=inside)
        ahead = ()
        for i in tl.static_range(T):
            row = _row(s0 + i, length, REVERSE)
            here = (s0 + i < stop) & (d < channels)
            gate = _read(z, b, row, d, here) if z is not None else 0.0
            ahead = ahead + ((_read(u, b, row, d, here), _read(delta, b, row, d, here) + shift, gate),)
        for i in tl.static_range(T):
            row = _row(s0 + i, length, REVERSE)
            here, there = (s0 + i < stop) & (d < channels), (s0 + i < stop) & (n < states)
            value, x, gate = ahead[i]
            dt, slope, a = _step(x, A2, here, SOFTPLUS)
            h = a * h + (dt * value) * _read(B, b, row, n, there)
            out = tl.sum(h * _read(C, b, row, n, there), 0, keep_dims=True) + skip * value
            if z is not None:
                out = out * gate * _sigmoid(gate)
            _write(y, b, row, d, here, out)
        s0 += T
    if k == segments - 1:
        _keep(last, b, n, d, sizes, h)


@triton.jit
def backward(  # noqa: PLR0915
    u, delta, A, B, C, D, z, bias, lengths, saved, gy, glast,
    gu, gdelta, gz, gB, gC, gA, gD, gbias, gfirst, sizes,
    REVERSE: tl.constexpr, SOFTPLUS: tl.constexpr, N: tl.constexpr, W: tl.constexpr,
    CHUNK: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """All gradients, T steps at a time from the last to the first; their states come again from the one saved before.

    Those of B and C are sums over a block of channels; those of A, D and bias are of one piece.
    """
    steps, channels, states, segment, segments = sizes
    piece, block, n, d = _places(sizes, N, W)
    b, k, length, start, stop = _span(piece, lengths, sizes)
    A2 = _state(A, 0, n, d, sizes) * LOG2E
    skip, shift = _vector(D, d, channels), _vector(bias, d, channels)
    gh = _state(glast, piece, n, d, sizes)
    sum_A = tl.zeros(gh.shape, tl.float32)
    sum_D, sum_bias = tl.zeros(d.shape, tl.float32), tl.zeros(d.shape, tl.float32)
    part = b * tl.cdiv(channels, W) + block  # of gB and gC, [B, blocks, L, N]
    s0 = start + (tl.cdiv(stop - start, T) - 1) * T
    while s0 >= start:
        chunk = s0 // CHUNK
        place, inside = _checkpoint(saved, b * tl.cdiv(steps, CHUNK) + chunk, n, d, sizes)
        h = tl.load(place, mask=inside, other=0.0)
        s = chunk * CHUNK
        while s < s0:
            row = _row(s, length, REVERSE)
            dt, slope, a = _step(_read(delta, b, row, d, d < channels) + shift, A2, d < channels, SOFTPLUS)
            h = a * h + (dt * _read(u, b, row, d, d < channels)) * _read(B, b, row, n, n < states)
            s += 1
        known = ()
        for i in tl.static_range(T):
            row = _row(s0 + i, length, REVERSE)
            here, there = (s0 + i < stop) & (d < channels), (s0 + i < stop) & (n < states)
            value = _read(u, b, row, d, here)
            dt, slope, a = _step(_read(delta, b, row, d, here) + shift, A2, here, SOFTPLUS)
            known = known + ((value, dt, slope, h),)
            h = a * h + (dt * value) * _read(B, b, row, n, there)
        for i in tl.static_range(T - 1, -1, -1):
            row = _row(s0 + i, length, REVERSE)
            here, there = (s0 + i < stop) & (d < channels), (s0 + i < stop) & (n < states)
            value, dt, slope, before = known[i]
            b_row, c_row = _read(B, b, row, n, there), _read(C, b, row, n, there)
            a = tl.where(here, tl.exp2(dt * A2), 1.0)
            after = a * before + (dt * value) * b_row
            dy = _read(gy, b, row, d, here)
            if z is not None:
                gate = _read(z, b, row, d, here)
                passes = _sigmoid(gate)
                out = tl.sum(after * c_row, 0, keep_dims=True) + skip * value
                _write(gz, b, row, d, here, dy * out * passes * (1 + gate * (1 - passes)))
                dy = dy * gate * passes
            g = gh + c_row * dy
            _write(gC, part, row, n, there, tl.sum(after * dy, 1, keep_dims=True))
            _write(gB, part, row, n, there, tl.sum(g * (dt * value), 1, keep_dims=True))
            gh = a * g
            ga = gh * before  # gradient of dt A
            gdu = tl.sum(g * b_row, 0, keep_dims=True)
            gdt = (tl.sum(ga * A2, 0, keep_dims=True) / LOG2E + gdu * value) * slope
            _write(gu, b, row, d, here, gdu * dt + dy * skip)
            _write(gdelta, b, row, d, here, gdt)
            sum_A += ga * dt
            sum_D += dy * value
            sum_bias += tl.where(here, gdt, 0.0)
        s0 -= T
    _keep(gA, piece, n, d, sizes, sum_A)
    tl.store(gD + piece * channels + d, sum_D, mask=d < channels)
    tl.store(gbias + piece * channels + d, sum_bias, mask=d < channels)
    if k == 0:
        _keep(gfirst, b, n, d, sizes, gh)


@triton.jit
def summarize(
    u, delta, A, B, z, bias, lengths, total, end, sizes,
    REVERSE: tl.constexpr, SOFTPLUS: tl.constexpr, BACK: tl.constexpr, N: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """The effect of a segment on a state that enters it: the sum of its dt, and where a state of zeros ends.

    BACK: the same for the gradient of the state, which enters at the end; `u` is then gy, and `B` is C.
    """
    _, channels, states, _, _ = sizes
    piece, _, n, d = _places(sizes, N, W)
    b, _, length, start, stop = _span(piece, lengths, sizes)
    A2 = _state(A, 0, n, d, sizes) * LOG2E
    shift = _vector(bias, d, channels)
    h, time = tl.zeros(A2.shape, tl.float32), tl.zeros(d.shape, tl.float32)
    i = 0
    while i < stop - start:
        row = _row(stop - 1 - i if BACK else start + i, length, REVERSE)
        here = d < channels
        dt, slope, a = _step(_read(delta, b, row, d, here) + shift, A2, here, SOFTPLUS)
        value, other = _read(u, b, row, d, here), _read(B, b, row, n, n < states)
        time += dt
        if BACK:
            if z is not None:
                gate = _read(z, b, row, d, here)
                value = value * gate * _sigmoid(gate)
            h = a * (h + value * other)
        else:
            h = a * h + (dt * value) * other
        i += 1
    tl.store(total + piece * channels + d, time, mask=d < channels)
    _keep(end, piece, n, d, sizes, h)


@triton.jit
def join(A, first, total, end, sizes, BACK: tl.constexpr, N: tl.constexpr, W: tl.constexpr):
    """Replace each segment's end by the state that enters the segment; `first` enters the first (BACK: the last)."""
    _, channels, _, _, segments = sizes
    b, _, n, d = _places(sizes, N, W)  # here a program has the whole item
    A2 = _state(A, 0, n, d, sizes) * LOG2E
    h = _state(first, b, n, d, sizes)
    i = 0
    while i < segments:
        piece = b * segments + (segments - 1 - i if BACK else i)
        own = _state(end, piece, n, d, sizes)
        time = tl.load(total + piece * channels + d, mask=d < channels, other=0.0)
        _keep(end, piece, n, d, sizes, h)
        h = tl.exp2(time * A2) * h + own
        i += 1
