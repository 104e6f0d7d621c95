"""Codecs: a mixture as it comes back from lossy coding, as libsndfile codes and decodes it in memory. T samples."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import soundfile as sf

from lobes.data.augmentation.parts import fit_length
from lobes.errors import UserError

HEADROOM = 0.9  # peak of what is coded: samples beyond full scale would be clipped


class Codec(NamedTuple):
    """libsndfile's names, the rates it takes (Hz; none: any), and whether it has a scale of qualities."""

    container: str
    subtype: str
    rates: tuple[int, ...] = ()
    scaled: bool = True


CODECS = {
    "mp3": Codec("MP3", "MPEG_LAYER_III", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
    "vorbis": Codec("OGG", "VORBIS"),
    "opus": Codec("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000)),
    "gsm": Codec("WAV", "GSM610", (), False),
    "ulaw": Codec("WAV", "ULAW", (), False),
    "alaw": Codec("WAV", "ALAW", (), False),
}


def code(x: np.ndarray, sample_rate: int, codec: str, compression: float = 0.5) -> np.ndarray:
    """Code and decode a mixture: float32 [T], as long as it was and in step with it.

    Arguments
    ---------
    x : np.ndarray
        [T], of any level: it is coded at a peak of 0.9 and comes back at its own.
    sample_rate : int
        In Hz.
    codec : str
        One of `CODECS`.
    compression : float
        From 0, the best quality, to 1, the fewest bits; gsm, ulaw and alaw have one quality.

    Example
    -------
    >>> x = np.sin(np.arange(8000) / 5).astype(np.float32)
    >>> coded = code(x, 8000, "ulaw")
    >>> coded.shape, bool(0 < np.abs(coded - x).max() < 0.1)
    ((8000,), True)

    Source: libsndfile 1.2 (LAME, libvorbis, libopus, GSM 06.10, G.711).
    """
    peak = float(np.abs(x).max(initial=0.0))
    if not peak:
        return x
    chosen, file = CODECS[codec], io.BytesIO()
    quality = {"compression_level": compression} if chosen.scaled else {}
    sf.write(file, x * (HEADROOM / peak), sample_rate, format=chosen.container, subtype=chosen.subtype, **quality)
    file.seek(0)
    decoded, _ = sf.read(file, dtype="float32")
    return fit_length(decoded, len(x)) * np.float32(peak / HEADROOM)


def check_codecs(codecs: Sequence[str], sample_rate: int) -> None:
    """Raise a UserError unless each codec is known, in this libsndfile, and takes this rate.

    Example
    -------
    >>> check_codecs(["opus", "ulaw"], 8000)
    """
    for name in codecs:
        if name not in CODECS:
            raise UserError(f"codecs: expected names among {', '.join(CODECS)}, got {name!r}.")
        chosen = CODECS[name]
        if chosen.subtype not in sf.available_subtypes(chosen.container):
            raise UserError(f"codecs: this libsndfile ({sf.__libsndfile_version__}) cannot write {name}. Leave it out.")
        if chosen.rates and sample_rate not in chosen.rates:
            rates = ", ".join(map(str, chosen.rates))
            raise UserError(f"codecs: {name} takes {rates} Hz, got sample_rate {sample_rate}. Leave {name} out.")
