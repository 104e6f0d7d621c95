"""SpeechBrain's `SpectralMaskEnhancement`, such as MetricGAN+, on waveforms. B batch, T samples, F bins, L frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lobes.inference.speechbrain_adapter import adapt
from lobes.nnet.lengths import to_samples

NETWORK = "enhance_model"
NEEDED = ("compute_stft", "spectral_magnitude", "resynth", "sample_rate")


class SpectralMask(nn.Module):
    """A network that makes a mask for the magnitudes of a signal; the phase stays.

    It computes what SpeechBrain's interface does, one signal at its own length after another: features log(1 + |STFT|),
    times the mask. What is shorter than a window of the STFT is padded.

    Arguments
    ---------
    network : nn.Module
        Features [1,L,F] and relative lengths [1] to a mask [1,L,F].
    stft, magnitude, resynth : callable
        As a folder's YAML file names them.
    """

    def __init__(self, network: nn.Module, stft: Any, magnitude: Any, resynth: Any) -> None:
        super().__init__()
        self.network, self.stft, self.magnitude, self.resynth = network, stft, magnitude, resynth

    def forward(self, mix: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Enhance `mix` [B,T]; give [B,T,1]. Silence gives silence."""
        out = mix.new_zeros(*mix.shape, 1)  # [B,T,1]
        for item, samples in enumerate(to_samples(lengths, mix.shape[1], len(mix)).tolist()):
            if mix[item, :samples].any():
                out[item, :samples, 0] = self._one(mix[item : item + 1, :samples])[0]
        return out

    def _one(self, mix: Tensor) -> Tensor:
        """[1,T] to [1,T]."""
        samples = mix.shape[1]
        padded = nn.functional.pad(mix, (0, max(self.stft.n_fft - samples, 0)))
        features = torch.log1p(self.magnitude(self.stft(padded)))  # [1,L,F]
        mask = self.network(features, lengths=torch.ones(1, device=mix.device))
        return self.resynth(torch.expm1(mask * features), padded)[:, :samples]


def as_separator(hparams: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters of a folder; those of a spectral mask with the keys and modules that a separator has.

    Example
    -------
    >>> as_separator({"modules": {"masknet": 1}})
    {'modules': {'masknet': 1}}
    """
    modules = hparams.get("modules")
    network = modules.get(NETWORK) if isinstance(modules, Mapping) else None
    if not isinstance(network, nn.Module) or len(modules or ()) > 1 or not all(key in hparams for key in NEEDED):
        return hparams
    model = SpectralMask(network, hparams["compute_stft"], hparams["spectral_magnitude"], hparams["resynth"])
    return {**hparams, "modules": adapt(model), "num_spks": 1}
