"""Small modules that let SpeechBrain's `SepformerSeparation` run any waveform model, bit for bit.

SpeechBrain computes `decoder(encoder(mix) * masknet(encoder(mix))[s])` for each source s. With

    encoder: mix [B,T]   -> stack([mix, ones])       [B,2,T]
    masknet: e [B,2,T]   -> stack([zeros, y])        [S,B,2,T]   where y = model(mix) by source
    decoder: x [B,2,T]   -> x[:, 1]                  [B,T]

the product is [0, 1 * y], so the decoder returns y exactly. Multiplying by one and stacking change no bit,
and a model that is no masking network at all needs no other interface.

Legend: B batch, T samples, S sources.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lobes.errors import UserError, did_you_mean
from lobes.nnet.level import fit_level

LEVELS = ("mixture", "model")  # of what leaves the program


def check_level(level: str) -> str:
    """Return the name of a level, or refuse it.

    Example
    -------
    >>> check_level("mixture")
    'mixture'
    """
    if level not in LEVELS:
        raise UserError(f"level: expected {' or '.join(LEVELS)}, got {level!r}.{did_you_mean(str(level), LEVELS)}")
    return level


def at_level(estimates: Tensor, mix: Tensor, level: str, samples: Tensor | None = None) -> Tensor:
    """Bring estimates to the level at which they leave the program.

    Arguments
    ---------
    estimates : Tensor
        [B,T,S]
    mix : Tensor
        [B,T]
    level : str
        `mixture`: the level that fits the mixture best, `lobes.nnet.level.fit_level`. `model`: as they are.
    samples : Tensor or None
        Valid samples per item, Long [B]; None: all.

    Returns
    -------
    Tensor
        [B,T,S]

    Example
    -------
    >>> mix = torch.randn(1, 100)
    >>> bool(torch.allclose(at_level(9 * mix[..., None], mix, "mixture"), mix[..., None], atol=1e-5))
    True
    """
    return fit_level(estimates, mix, samples=samples) if check_level(level) == "mixture" else estimates


class MixAndOnes(nn.Module):
    """The encoder: the mixture and a row of ones.

    Example
    -------
    >>> MixAndOnes()(torch.randn(3, 100)).shape
    torch.Size([3, 2, 100])
    """

    def forward(self, mix: Tensor) -> Tensor:
        """Stack `mix` [B,T] and ones to [B,2,T]."""
        return torch.stack([mix, torch.ones_like(mix)], dim=1)  # [B,2,T]


class MappingMaskNet(nn.Module):
    """The mask network: the model's estimates, as factors of the row of ones.

    Arguments
    ---------
    model : nn.Module
        Maps a mixture [B,T] to estimates [B,T,S]; its weights stand under `model.` in this module's state
        dict.
    level : str
        As in `at_level`. Folders that were exported before there was a choice name none and hold `model`.

    Example
    -------
    >>> class Halves(nn.Module):
    ...     def forward(self, mix):
    ...         return torch.stack([mix / 2, mix / 2], dim=-1)
    >>> mix = torch.randn(3, 100)
    >>> masks = MappingMaskNet(Halves())(MixAndOnes()(mix))
    >>> masks.shape
    torch.Size([2, 3, 2, 100])
    >>> bool(torch.equal(TakeEstimate()(masks[0] * MixAndOnes()(mix)), mix / 2))
    True
    """

    def __init__(self, model: nn.Module, level: str = "model") -> None:
        super().__init__()
        self.model, self.level = model, check_level(level)

    def forward(self, encoded: Tensor) -> Tensor:
        """Take `encoded` [B,2,T] from `MixAndOnes`, give [S,B,2,T]."""
        mix = encoded[:, 0]  # [B,T]
        estimates = at_level(self.model(mix), mix, self.level).permute(2, 0, 1)  # [S,B,T]
        return torch.stack([torch.zeros_like(estimates), estimates], dim=2)  # [S,B,2,T]


class TakeEstimate(nn.Module):
    """The decoder: the row that holds the estimate.

    Example
    -------
    >>> TakeEstimate()(torch.randn(3, 2, 100)).shape
    torch.Size([3, 100])
    """

    def forward(self, product: Tensor) -> Tensor:
        """Take [B,2,T], give [B,T]."""
        return product[:, 1]  # [B,T]


class EnhanceModel(nn.Module):
    """The model as SpeechBrain's `WaveformEnhancement` calls it: a pair of which it takes the first.

    Arguments
    ---------
    model : nn.Module
        Maps a mixture [B,T] to estimates [B,T,1].
    level : str
        As in `MappingMaskNet`.

    Example
    -------
    >>> class Half(nn.Module):
    ...     def forward(self, mix):
    ...         return mix[..., None] / 2
    >>> EnhanceModel(Half())(torch.randn(3, 100))[0].shape
    torch.Size([3, 100])
    """

    def __init__(self, model: nn.Module, level: str = "model") -> None:
        super().__init__()
        self.model, self.level = model, check_level(level)

    def forward(self, noisy: Tensor) -> tuple[Tensor, None]:
        """Take `noisy` [B,T], give the enhanced speech [B,T], and None for the features that others give."""
        return at_level(self.model(noisy), noisy, self.level)[..., 0], None


def adapt(model: nn.Module) -> dict[str, nn.Module]:
    """Return the `modules` that SpeechBrain's `SepformerSeparation` wants, around one model.

    Example
    -------
    >>> sorted(adapt(nn.Identity()))
    ['decoder', 'encoder', 'masknet']
    """
    return {"encoder": MixAndOnes(), "masknet": MappingMaskNet(model), "decoder": TakeEstimate()}
