"""The functions of the vector kernels against numpy in float64, over all that float32 can hold."""

from __future__ import annotations

import numpy as np
import pytest

simd = pytest.importorskip("lobes.kernels.simd")
simd_math = pytest.importorskip("lobes.kernels.simd_math")


def applied(function, x, results=1):
    """Run a function of vectors over float32 numbers."""

    @simd_math.njit(**simd_math.OPTIONS)
    def over(start, to, count):
        for i in range(count):
            at = i * simd.BYTES
            if results == 1:
                simd.store(to + at, function(simd.load(start + at)))
            else:
                first, second = function(simd.load(start + at))
                simd.store(to + at, first)
                simd.store(to + count * simd.BYTES + at, second)

    padded = np.zeros(-(-len(x) // simd.LANES) * simd.LANES, np.float32)
    padded[: len(x)] = x
    out = np.empty((results, len(padded)), np.float32)
    over(padded.ctypes.data, out.ctypes.data, len(padded) // simd.LANES)
    return out[:, : len(x)].astype(np.float64)


def assert_close(got, truth):
    assert (np.abs(got / truth - 1) < 4e-7).all()


SUMS = [simd_math.exp2_by_shifting] + ([simd_math.exp2_by_table] if simd.AVX512 else [])
PRODUCTS = [simd_math.exp2_of_product_by_shifting] + ([simd_math.exp2_of_product_by_table] if simd.AVX512 else [])
FORMS = [(form, simd_math.NOTHING) for form in SUMS] + [(form, simd_math.ONE) for form in PRODUCTS]


def of_one_number(form, other):
    """A form of 2^(x + rest) or 2^(x y) with one and the same second number."""
    return simd_math.njit(**simd_math.PART)(lambda x: form(x, simd.splat(other)))


MODERATE = np.concatenate([np.linspace(-80, 80, 40001), np.array([0.0, -0.0, 1e-30, -1e-30])]).astype(np.float32)


@pytest.mark.parametrize(("form", "other"), FORMS, ids=lambda f: getattr(f, "__name__", ""))
def test_exp2(form, other):
    exp2 = of_one_number(form, other)
    assert_close(applied(exp2, MODERATE)[0], np.exp2(MODERATE.astype(np.float64)))
    ends = np.array([-126, 127, -1000, 1000, -1e30, 1e30, np.nan], np.float32)
    low, high, *far, nan = applied(exp2, ends)[0]
    assert (low, high) == (2.0**-126, 2.0**127) and far == [0, np.inf, 0, np.inf] and np.isnan(nan)


@pytest.mark.parametrize(("form", "other"), FORMS, ids=lambda f: getattr(f, "__name__", ""))
def test_exp2_falls_to_zero_without_a_step_up(form, other):
    exp2 = of_one_number(form, other)
    x = np.linspace(-200, -120, 5001, dtype=np.float32)
    y = applied(exp2, x)[0]
    assert (y >= 0).all() and (np.diff(y) >= 0).all() and y[0] == 0


@pytest.mark.parametrize(("form", "other"), FORMS, ids=lambda f: getattr(f, "__name__", ""))
def test_exp2_rises_to_infinity_without_a_step_down(form, other):
    x = np.linspace(127, 129, 5001, dtype=np.float32)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        y = applied(of_one_number(form, other), x)[0]
        steps = np.diff(y)
    assert not np.isnan(y).any() and not (steps < 0).any()
    assert np.isinf(y[x >= 128]).all() and np.isfinite(y[x < 127.4]).all()


@pytest.mark.skipif(not simd.AVX512, reason="products are rounded without AVX-512")
def test_exp2_of_a_product_that_is_not_rounded():
    """Rounding x y for x y near 80 would cost 3e-6 of the result."""
    rate = simd_math.LOG2E
    truth = np.exp2(MODERATE.astype(np.float64) * np.float64(rate))
    assert_close(applied(of_one_number(simd_math.exp2_of_product, rate), MODERATE)[0], truth)


def test_sigmoid():
    x = MODERATE.astype(np.float64)
    assert_close(applied(simd_math.sigmoid, MODERATE)[0], 1 / (1 + np.exp(-x)))
    ends = applied(simd_math.sigmoid, np.array([-np.inf, np.inf, -1e30, 1e30, np.nan], np.float32))[0]
    assert ends[:4] == pytest.approx([0, 1, 0, 1], abs=1e-37) and np.isnan(ends[4])


def test_softplus_and_its_slope():
    x = MODERATE.astype(np.float64)
    value, slope = applied(simd_math.softplus_and_slope, MODERATE, 2)
    assert_close(value, np.logaddexp(0, x))
    assert_close(slope, 1 / (1 + np.exp(-x)))
    value, slope = applied(simd_math.softplus_and_slope, np.array([np.inf, -np.inf, 1e30, np.nan], np.float32), 2)
    assert value[:3].tolist() == pytest.approx([np.inf, 0, 1e30], rel=1e-6, abs=1e-37) and np.isnan(value[3])
    assert slope[:3].tolist() == pytest.approx([1, 0, 1], abs=1e-37) and np.isnan(slope[3])
