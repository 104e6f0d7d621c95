"""Perceptual contrast stretching (PCS): a fixed equaliser of log magnitudes, with nothing learned. L frames, F bins.

It raises PESQ, also of noise that nobody touched, and lowers SI-SDR and CBAK: figures with it stand next to those
without.

Source: Chao et al. 2022, "Perceptual contrast stretching on target feature for speech enhancement", arXiv:2203.17152.
"""

from __future__ import annotations

import numpy as np

from lobes.errors import UserError

LEVELS = (1.0, 1.070175439, 1.182456140, 1.287719298, 1.4, 1.322807018, 1.238596491, 1.161403509, 1.077192982, 1.0)
RATE = 16000  # Hz
LEAST = 400  # samples of a signal that can be stretched with the default window
# window -> (hop, number of bins for each level), at 16 kHz
TABLES = {
    512: (256, (3, 3, 3, 3, 126, 28, 34, 41, 15, 1)),
    400: (100, (3, 2, 3, 2, 100, 20, 30, 30, 11, 0)),
}


def pcs(x: np.ndarray, n_fft: int = 400) -> np.ndarray:
    """Stretch the contrast of a signal.

    Arguments
    ---------
    x : array [T]
        At 16 kHz, full scale 1: the result depends on the level.
    n_fft : int
        400, as in SEMamba and later work, or 512, as first published.

    Returns
    -------
    array [T]
        With a peak of 1; a silent signal stays as it is.

    Raises
    ------
    UserError
        For a window without a published table.

    Example
    -------
    >>> pcs(np.sin(np.arange(16000) / 5)).shape
    (16000,)
    """
    if n_fft not in TABLES:
        raise UserError(f"PCS: expected a window of {' or '.join(map(str, TABLES))} samples, got {n_fft}")
    import torch

    hop = TABLES[n_fft][0]
    window, signal = torch.hamming_window(n_fft, dtype=torch.float64), torch.as_tensor(np.asarray(x, np.float64))
    if len(x) <= n_fft // 2:
        raise UserError(f"PCS: expected more than {n_fft // 2} samples, got {len(x)}")
    spectrum = torch.stft(signal, n_fft, hop, window=window, return_complex=True)  # [F, L]
    gains = torch.as_tensor(band_gains(n_fft))[:, None]
    magnitude = torch.expm1(gains * torch.log1p(spectrum.abs()))
    y = torch.istft(torch.polar(magnitude, spectrum.angle()), n_fft, hop, window=window, length=len(x)).numpy()
    peak = np.abs(y).max()
    return (y / peak if peak > 0 else y).astype(np.asarray(x).dtype, copy=False)


def pcs_at_level(x: np.ndarray) -> np.ndarray:
    """Stretch the contrast of a signal [T] with the default window, and give it back at its former rms.

    Example
    -------
    >>> x = np.sin(np.arange(16000) / 5)
    >>> round(float(np.square(pcs_at_level(x)).mean()), 3)
    0.5
    """
    y = pcs(x)
    power, stretched = np.square(x, dtype=np.float64).mean(), np.square(y, dtype=np.float64).mean()
    return (y * np.sqrt(power / stretched)).astype(y.dtype, copy=False) if stretched > 0 else y


def band_gains(n_fft: int) -> np.ndarray:
    """The exponent of each bin [F].

    Example
    -------
    >>> band_gains(400).shape, band_gains(512).max()
    ((201,), np.float64(1.4))
    """
    return np.repeat(LEVELS, TABLES[n_fft][1])
