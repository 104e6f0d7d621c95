"""STFT pair: equal to torch's, exact for any length but for a weak end, blind to padding, in fp32 under autocast."""

import pytest
import torch

from lobes.errors import UserError
from lobes.nnet.lengths import mask
from lobes.nnet.stft import STFT, WEAKEST

SIZES = [(256, 64), (256, 128), (64, 20), (32, 16), (32, 15)]


def _signal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _fade(n_fft, hop, total):
    """Factor on each sample [T] that comes back: one, except under the foot of the last window alone."""
    frames = max(total, n_fft // 2 + 1) // hop + 1
    t, weight = torch.arange(total, dtype=torch.float64), torch.zeros(total, dtype=torch.float64)
    for centre in range(0, frames * hop, hop):
        window = torch.cos(torch.pi * (t - centre) / n_fft).square()
        weight += window.square() * ((t - centre).abs() < n_fft // 2)
    return (weight / WEAKEST).clamp(max=1)


def test_only_the_foot_of_the_last_window_fades():
    assert ((_fade(256, 128, 1023) < 1).nonzero()[:, 0] == torch.arange(1010, 1023)).all()
    assert all((_fade(n_fft, hop, total) == 1).all() for n_fft, hop in SIZES[2:] for total in range(1, 200))
    assert all((_fade(256, 128, total) == 1).all() for total in (128, 640, 640 + 114))


def test_analysis_and_synthesis_equal_torch():
    x, stft, window = _signal(2, 1001), STFT(256, 64), torch.hann_window(256, dtype=torch.float64)
    expected = torch.stft(x, 256, 64, window=window, return_complex=True)
    parts = stft(x)
    assert torch.allclose(parts, torch.view_as_real(expected).permute(0, 3, 2, 1))
    changed = expected * _signal(*expected.shape)
    parts = torch.view_as_real(changed).permute(0, 3, 2, 1)
    assert torch.allclose(stft.inverse(parts, 1001), torch.istft(changed, 256, 64, window=window, length=1001))


@pytest.mark.parametrize("n_fft,hop", SIZES)
@pytest.mark.parametrize("total", [1, 2, 15, 16, 17, 127, 128, 129, 640, 1023])
def test_any_length_comes_back(n_fft, hop, total):
    stft, x = STFT(n_fft, hop), _signal(2, total)
    assert torch.allclose(stft.inverse(stft(x), total), x * _fade(n_fft, hop, total), atol=1e-12)


@pytest.mark.parametrize("n_fft,hop", SIZES)
def test_a_padded_item_equals_the_item_alone(n_fft, hop):
    n = torch.tensor([700, 511, 64, 1])
    stft, x = STFT(n_fft, hop), _signal(4, 700)
    padded = x.clone()
    for i, end in enumerate(n):
        padded[i, end:] = float("nan")
    spectra = stft(padded, n)
    frames = stft.frames(n)
    outside = ~mask(frames, spectra.shape[2])[:, None, :, None]
    signals = stft.inverse(spectra + 1e3 * outside, 700, n)  # the inverse must not read frames after the end
    for i, end in enumerate(n):
        alone = stft(x[i : i + 1, :end])
        assert torch.allclose(spectra[i : i + 1, :, : frames[i]], alone, atol=1e-12)
        assert (spectra[i, :, frames[i] :] == 0).all()
        assert torch.allclose(signals[i, :end], x[i, :end] * _fade(n_fft, hop, int(end)), atol=1e-9)
        assert (signals[i, end:] == 0).all()


@pytest.mark.parametrize("total", range(1280, 1280 + 128, 18))
def test_the_end_is_not_blown_up_with_half_overlap(total):
    # a change of the spectrum by a part in ten must not change any sample by many times that
    stft, x = STFT(256, 128), _signal(1, total)
    parts = stft(x)
    y = stft.inverse(parts + 0.1 * _signal(*parts.shape), total)
    assert (y - stft.inverse(parts, total)).abs().max() < 1
    assert (stft.inverse(parts, total).abs() <= x.abs() + 1e-12).all()


def test_full_precision_under_autocast():
    stft, x = STFT(64, 16), _signal(1, 300).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = stft(x.bfloat16())
        y = stft.inverse(parts, 300)
    assert parts.dtype == y.dtype == torch.float32
    assert torch.allclose(y, x.bfloat16().float(), atol=1e-5)


@pytest.mark.parametrize("n_fft,hop", [(255, 64), (256, 129), (256, 0), (2, 1)])
def test_sizes_without_an_exact_inverse_are_refused(n_fft, hop):
    with pytest.raises(UserError, match="n_fft"):
        STFT(n_fft, hop)


def test_bins_that_hold_only_rounding_noise_are_zero():
    """What rounding leaves in an empty bin differs between machines, and a norm over its band would amplify it."""
    stft, time = STFT(256, 64), torch.arange(2000)
    constant = stft(torch.full((1, 2000), 0.3))
    assert constant[0, 0, :, :2].abs().min() > 1 and not constant[:, :, :, 2:].any()
    tone = stft(torch.sin(2 * torch.pi * (time % 32) / 32)[None])[:, :, 2:-2]  # bins 8, 16, ... and their neighbours
    assert tone[..., 8].abs().amax(1).min() > 1 and not tone[..., 4::8].any()
    quiet = torch.full((1, 2000), 0.3) + 1e-6 * _signal(1, 2000)  # 110 dB below
    assert (stft(quiet)[:, :, 1:-1, 2:-1] != 0).all()
