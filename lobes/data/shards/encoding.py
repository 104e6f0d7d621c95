"""A signal as bytes that give the same samples back. T samples, C channels."""

from __future__ import annotations

import io

import numpy as np
import soundfile as sf
from scipy.io import wavfile

FORMATS = {"PCM_16": 16, "PCM_24": 24}  # of FLAC, the smallest first


def encoded(samples: np.ndarray, rate: int) -> tuple[str, bytes]:
    """FLAC where it holds every sample exactly, else WAV in 32-bit floating point; what comes out is compared.

    Arguments
    ---------
    samples : np.ndarray
        float32, [T] or [T,C], as `lobes.data.audio.read` gives them.
    rate : int
        In Hz.

    Returns
    -------
    ending : str
        "flac" or "wav".
    content : bytes

    Example
    -------
    >>> encoded(np.full(800, 0.25, np.float32), 8000)[0], encoded(np.full(800, 0.1, np.float32), 8000)[0]
    ('flac', 'wav')
    """
    for subtype, bits in FORMATS.items():
        content = _flac(samples, rate, subtype, bits)
        if content is not None and _gives(content, samples):
            return "flac", content
    buffer = io.BytesIO()
    wavfile.write(buffer, rate, samples)  # libsndfile would write the time of day into it
    if not _gives(buffer.getvalue(), samples):
        raise RuntimeError("32-bit samples did not come back as they were written")
    return "wav", buffer.getvalue()


def _flac(samples: np.ndarray, rate: int, subtype: str, bits: int) -> bytes | None:
    """None where the samples are no whole steps of so many bits, or FLAC has no such rate or channels."""
    steps = samples.astype(np.float64) * 2 ** (bits - 1)
    if np.any(steps != np.rint(steps)) or steps.min() < -(2 ** (bits - 1)) or steps.max() >= 2 ** (bits - 1):
        return None
    buffer = io.BytesIO()
    try:
        sf.write(buffer, steps.astype(np.int32) << (32 - bits), rate, subtype, format="FLAC")
    except sf.LibsndfileError:
        return None
    return buffer.getvalue()


def _gives(content: bytes, samples: np.ndarray) -> bool:
    return bool(np.array_equal(sf.read(io.BytesIO(content), dtype="float32")[0], samples))
