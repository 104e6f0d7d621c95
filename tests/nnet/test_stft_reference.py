"""STFT pair against loops over frames with the semantics of torch.stft and torch.istft, at every kind of hop."""

import numpy as np
import pytest
import torch

from lobes.nnet.stft import STFT, WEAKEST

SIZES = [(128, 64), (126, 63), (128, 43), (126, 42), (128, 32), (128, 16), (126, 32), (100, 30), (128, 48), (64, 31)]


def hann(n_fft):
    """The periodic window, sample by sample."""
    return np.array([0.5 - 0.5 * np.cos(2 * np.pi * k / n_fft) for k in range(n_fft)])


def analysed(x, n_fft, hop):
    """Spectrum [L, F] of x [T], T > n_fft / 2, frame after frame: reflected by half a window at both ends."""
    half, last = n_fft // 2, len(x) - 1
    frames = []
    for frame in range(len(x) // hop + 1):
        positions = abs(np.arange(frame * hop - half, frame * hop - half + n_fft))
        positions = np.where(positions > last, 2 * last - positions, positions)
        frames.append(np.fft.rfft(x[positions] * hann(n_fft)))
    return np.array(frames)


def synthesised(spectrum, n_fft, hop, total):
    """Numerator and denominator [T] of the inverse, frame after frame."""
    half = n_fft // 2
    signal, weight = np.zeros(len(spectrum) * hop + n_fft), np.zeros(len(spectrum) * hop + n_fft)
    for number, frame in enumerate(spectrum):
        place = slice(number * hop, number * hop + n_fft)
        signal[place] += np.fft.irfft(frame, n_fft) * hann(n_fft)
        weight[place] += hann(n_fft) ** 2
    return signal[half : half + total], weight[half : half + total]


def lengths(n_fft, hop):
    """From one sample to three windows: all short ones, and every residue of the hop."""
    return [*range(1, n_fft // 2 + 3), *range(2 * n_fft, 2 * n_fft + hop + 1), 3 * n_fft + 1]


def to_complex(parts):
    return torch.complex(parts[0, 0], parts[0, 1]).numpy()  # [L, F]


@pytest.mark.parametrize("n_fft,hop", SIZES)
def test_equals_the_loops_at_every_length(n_fft, hop):
    random, stft = np.random.default_rng(0), STFT(n_fft, hop)
    for total in lengths(n_fft, hop):
        x = random.standard_normal(total)
        extended = np.pad(x, (0, max(0, n_fft // 2 + 1 - total)))  # the reference refuses shorter signals
        expected = analysed(extended, n_fft, hop)
        parts = stft(torch.from_numpy(x)[None])
        assert parts.shape[2] == len(extended) // hop + 1 == int(stft.frames(torch.tensor(total)))
        assert np.abs(to_complex(parts) - expected).max() < 1e-12 * np.abs(expected).max()

        changed = parts * torch.from_numpy(random.standard_normal(parts.shape))
        y = stft.inverse(changed, total)[0].numpy()
        signal, weight = synthesised(to_complex(changed), n_fft, hop, total)
        strong = weight >= WEAKEST
        assert np.abs(y - signal / weight)[strong].max() < 1e-12 * np.abs(signal).max() / WEAKEST**0.5
        assert np.allclose(y[~strong], signal[~strong] / WEAKEST, rtol=1e-9, atol=1e-12)
        assert strong[: total - int(0.057 * n_fft)].all() and (strong.all() or hop > 0.44 * n_fft)


@pytest.mark.parametrize("n_fft,hop", SIZES)
def test_the_loops_are_torchs(n_fft, hop):
    total, window = 3 * n_fft + hop // 2, torch.from_numpy(hann(n_fft))
    x = np.random.default_rng(0).standard_normal(total)
    spectrum = torch.stft(torch.from_numpy(x), n_fft, hop, window=window, return_complex=True)  # [F, L]
    assert np.allclose(analysed(x, n_fft, hop), spectrum.T.numpy(), atol=1e-12)
    signal, weight = synthesised(spectrum.T.numpy(), n_fft, hop, total)
    expected = torch.istft(spectrum, n_fft, hop, window=window, length=total).numpy()
    assert np.allclose(signal / weight, expected, atol=1e-12)
