"""Sums of tiles over lanes in Triton, by halving: each exchange gives away half of the rows and keeps the other half.

A butterfly for each of 32 rows takes 160 exchanges among 32 lanes; halving takes 16 + 8 + 4 + 2 + 1 = 31, and leaves
the sums spread over the lanes, as one store wants them.
"""

# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _swap(x, K: tl.constexpr):
    """x [R, W], every lane with the value of the lane whose number differs in the bit K. Exact."""
    R: tl.constexpr = x.shape[0]
    W: tl.constexpr = x.shape[1]
    bits = x.to(tl.int32, bitcast=True).reshape(R, W // (2 * K), 2, K)
    other = tl.xor_sum(bits, 2, keep_dims=True) ^ bits  # of a pair's bits; LLVM makes one exchange of it
    return other.reshape(R, W).to(tl.float32, bitcast=True)


@triton.jit
def _halve(low, high, K: tl.constexpr):
    """Sums of pairs of lanes: those without the bit K get that of `low`, the others that of `high`."""
    W: tl.constexpr = low.shape[1]
    upper = (tl.arange(0, W)[None, :] & K) != 0
    give, own = tl.where(upper, low, high), tl.where(upper, high, low)
    return own + _swap(give, K)


@triton.jit
def spread_sums(low, high):
    """Sums over 32 lanes of the rows of `low` and `high`, [N, 32] each with N <= 16, as [1, 32].

    The lane l has the sum of the row l // (16 / N) of `low` and then `high`.
    """
    N: tl.constexpr = low.shape[0]
    x = _halve(low, high, 16)
    for i in tl.static_range(1, 5):
        if N >> i > 0:
            low, high = tl.split(x.reshape(2, N >> i, 32).permute(1, 2, 0))
            x = _halve(low, high, 16 >> i)
        else:
            x = x + _swap(x, 16 >> i)
    return x
