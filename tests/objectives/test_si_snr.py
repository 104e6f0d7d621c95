"""SI-SNR: the oracle's values, any level, any padding, finite gradients where there is nothing to measure."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lobes.errors import UserError
from lobes.objectives import si_snr
from lobes.objectives.si_snr import CEILING_DB, FLOOR_DB


def pair(snr_db, samples=4000, sources=2, batch=2, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(batch, samples, sources, generator=generator, dtype=dtype)
    noise = torch.randn(batch, samples, sources, generator=generator, dtype=dtype)
    return target + noise * 10 ** (-snr_db / 20), target


@pytest.mark.parametrize("snr_db, tolerance", [(-30, 0.05), (-10, 1e-3), (0, 1e-4), (30, 1e-4), (60, 1e-3)])
def test_equals_torchmetrics(snr_db, tolerance):
    from torchmetrics.functional.audio import (
        scale_invariant_signal_distortion_ratio,
        scale_invariant_signal_noise_ratio,
    )

    estimate, target = pair(snr_db, samples=40_000, batch=1, dtype=torch.float64)
    estimate, target = 3 * estimate + 0.5, target - 0.2
    rows = (estimate.transpose(1, 2), target.transpose(1, 2))
    torch.testing.assert_close(
        si_snr(estimate, target), scale_invariant_signal_noise_ratio(*rows), atol=tolerance, rtol=0
    )
    torch.testing.assert_close(
        si_snr(estimate, target, zero_mean=False),
        scale_invariant_signal_distortion_ratio(*rows),
        atol=tolerance,
        rtol=0,
    )


@pytest.mark.parametrize("level", [1e-30, 1e-12, 1e-6, 1e6, 1e15])
@pytest.mark.parametrize("which", ["estimate", "target", "both"])
def test_N06_level_does_not_matter(level, which):
    estimate, target = pair(20)
    expected = si_snr(estimate, target)
    estimate = estimate * (level if which != "target" else 1)
    target = target * (level if which != "estimate" else 1)
    silent = [("estimate", 1e-30), ("both", 1e-30), ("estimate", 1e-12), ("target", 1e15)]
    if (which, level) in silent:  # 300 dB below full scale, or 200 dB below the target
        expected = torch.full_like(expected, FLOOR_DB)
    torch.testing.assert_close(si_snr(estimate, target), expected, atol=0.01, rtol=0)


def test_padding_is_never_looked_at():
    estimate, target = pair(20, samples=1000)
    padded = [torch.full((2, 1500, 2), float("nan")) for _ in range(2)]
    for long, short in zip(padded, (estimate, target), strict=True):
        long[0, :1000], long[1, :] = short[0], 1.0
        long[1, :600] = short[1, :600]
    lengths = torch.tensor([1000 / 1500, 600 / 1500])
    padded[0].requires_grad_()
    value = si_snr(*padded, lengths)
    torch.testing.assert_close(value[0], si_snr(estimate, target)[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(value[1], si_snr(estimate[:, :600], target[:, :600])[1], atol=1e-5, rtol=0)
    value.sum().backward()
    gradient = padded[0].grad
    assert gradient.isfinite().all() and (gradient[0, 1000:] == 0).all() and (gradient[1, 600:] == 0).all()


def test_a_long_recording_keeps_its_last_sample():
    lengths = torch.tensor([1999999 / 2000000])
    estimate = torch.zeros(1, 2000000, 1)
    estimate[0, 1999998] = 1.0
    assert si_snr(estimate, estimate, lengths).item() > 99
    estimate[0, 1999998], estimate[0, 1999999] = 0.0, 1.0
    assert si_snr(estimate, estimate, lengths).item() == FLOOR_DB


@pytest.mark.parametrize("make", [torch.zeros_like, torch.ones_like, lambda x: 1e-38 * x, lambda x: 1e-44 * x])
@pytest.mark.parametrize("silent", ["estimate", "target", "both"])
def test_silence_is_the_floor_with_a_finite_gradient(make, silent):
    estimate, target = pair(10)
    estimate = make(estimate) if silent != "target" else estimate
    target = make(target) if silent != "estimate" else target
    estimate.requires_grad_()
    value = si_snr(estimate, target)
    value.sum().backward()
    assert value.isfinite().all() and estimate.grad.isfinite().all()
    if make in (torch.zeros_like, torch.ones_like):
        torch.testing.assert_close(value, torch.full_like(value, FLOOR_DB))


def test_range_ends():
    _, target = pair(0)
    assert (si_snr(target, target) - CEILING_DB).abs().max() < 1e-2
    wave = torch.arange(8000.0)[None, :, None] * (2 * torch.pi / 100)
    assert abs(si_snr(torch.cos(wave), torch.sin(wave)).item() - FLOOR_DB) < 0.1


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_very_short_items(samples):
    estimate = torch.randn(2, samples, 1, requires_grad=True)
    value = si_snr(estimate, torch.randn(2, samples, 1))
    value.sum().backward()
    assert value.isfinite().all() and estimate.grad.isfinite().all()


def test_fp32_under_autocast_and_fp64_kept():
    estimate, target = pair(40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = si_snr(estimate, target)
    assert inside.dtype == torch.float32 and torch.equal(inside, si_snr(estimate, target))
    assert si_snr(estimate.bfloat16(), target.bfloat16()).dtype == torch.float32
    assert si_snr(estimate.double(), target).dtype == torch.float64


def test_gradient_is_right_and_inputs_are_untouched():
    estimate, target = pair(5, samples=20, batch=1, dtype=torch.float64)
    before = estimate.clone(), target.clone()
    lengths = torch.tensor([0.75])
    assert torch.autograd.gradcheck(lambda x: si_snr(x, target, lengths), estimate.requires_grad_())
    assert torch.equal(estimate, before[0]) and torch.equal(target, before[1])


def test_nan_is_not_hidden():
    estimate, target = pair(5)
    estimate[0, 7, 1] = float("nan")
    estimate[1, 7, 0] = float("inf")
    assert si_snr(estimate, target).isfinite().tolist() == [[True, False], [False, True]]


@settings(max_examples=25, deadline=None)
@given(
    scale=st.floats(1e-6, 1e6),
    offset=st.floats(-1, 1),
    snr=st.floats(-20, 50),
    seed=st.integers(0, 1000),
)
def test_gain_sign_and_offset_do_not_matter(scale, offset, snr, seed):
    estimate, target = pair(snr, samples=500, sources=1, batch=1, dtype=torch.float64, seed=seed)
    expected = si_snr(estimate, target)
    torch.testing.assert_close(si_snr(-scale * (estimate + offset), target), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "estimate, target, lengths",
    [((2, 9, 1), (2, 9, 2), None), ((2, 9), (2, 9), None), ((2, 9, 1), (2, 9, 1), torch.ones(3))],
)
def test_wrong_shapes_are_one_clear_error(estimate, target, lengths):
    with pytest.raises(UserError, match="Expected"):
        si_snr(torch.ones(estimate), torch.ones(target), lengths)
