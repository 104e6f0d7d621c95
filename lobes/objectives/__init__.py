"""Losses and their measures: SI-SNR over the valid samples, permutation invariance, the separation loss."""

from lobes.objectives.pit import best_permutation, pit_si_snr
from lobes.objectives.separation import separation_loss
from lobes.objectives.si_snr import si_snr

__all__ = ["best_permutation", "pit_si_snr", "separation_loss", "si_snr"]
