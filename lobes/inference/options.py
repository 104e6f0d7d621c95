"""What a user may choose about files to separate: all options that do not belong to the model."""

from __future__ import annotations

import os
from dataclasses import dataclass

from lobes.errors import UserError, did_you_mean
from lobes.inference.voice import Voice, speaker_model
from lobes.inference.writing import ending_of, subtype_for

CHANNELS = ("mix", "left", "right", "each")


@dataclass(frozen=True)
class Options:
    """How files are read, cut and written.

    Arguments
    ---------
    chunk_s : float, optional
        Length of a chunk in seconds; 0 cuts nothing. By default as `lobes.inference.chunks.plan_chunks` chooses.
    channels : str
        Which channels are taken: `mix` averages them, `left` and `right` are the first and the second, `each`
        separates every one, and the outputs have as many.
    mixture_consistency : bool
        Share what the sources' sum lacks of the mixture equally among them (Wisdom et al. 2019, arXiv:1811.08521).
    strength : float
        How much of an enhancement is applied, 0 to 1; 0 gives the input.
    max_attenuation_db : float, optional
        The most that an enhancement takes away, in dB.
    format : str
        Of the outputs: wav, flac, ogg and others that libsndfile writes, or `same` as the input.
    subtype : str, optional
        libsndfile's name of the sample format, such as PCM_24.
    voice : callable, str or PathLike, optional
        What recognises speakers after a pause, see `lobes.inference.voice`: a function, or the folder of a speaker
        model of SpeechBrain.
    trust : bool
        Run whatever that folder's file names, as a program of whoever made it.

    Raises
    ------
    UserError
        For a value out of its range.

    Example
    -------
    >>> round(Options(strength=0.8, max_attenuation_db=6.0).share, 3)
    0.499
    """

    chunk_s: float | None = None
    channels: str = CHANNELS[0]
    mixture_consistency: bool = False
    strength: float = 1.0
    max_attenuation_db: float | None = None
    format: str = "wav"
    subtype: str | None = None
    voice: Voice | str | os.PathLike[str] | None = None
    trust: bool = False

    def __post_init__(self) -> None:
        if self.channels not in CHANNELS:
            known = ", ".join(CHANNELS)
            hint = did_you_mean(str(self.channels), CHANNELS)
            raise UserError(f"--channels {self.channels}: expected one of {known}.{hint}")
        if not 0 <= self.strength <= 1:
            raise UserError(f"--strength {self.strength:g}: expected 0 (the input) to 1 (all of the enhancement).")
        if self.max_attenuation_db is not None and not 0 <= self.max_attenuation_db < 1000:
            raise UserError(f"--max_attenuation_db {self.max_attenuation_db:g}: expected 0 or more dB.")
        if self.chunk_s is not None and not 0 <= self.chunk_s < 1e6:
            raise UserError(f"--chunk_s {self.chunk_s:g}: expected seconds, or 0 to cut nothing.")
        if self.format != "same":
            subtype_for(ending_of(self.format, ""), 0.0, self.subtype)

    @property
    def share(self) -> float:
        """The share of the enhanced signal in the output; the rest is the input."""
        most = 1.0 if self.max_attenuation_db is None else 1 - 10 ** (-self.max_attenuation_db / 20)
        return min(self.strength, most)

    def recogniser(self) -> Voice | None:
        """The voice, made if it was named; None: the default."""
        if self.voice is None or callable(self.voice):
            return self.voice  # type: ignore[return-value]
        return speaker_model(os.fspath(self.voice), self.trust)
