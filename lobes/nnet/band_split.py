"""From a spectrum to bands, and back to the bins. B batch, L frames, F bins, K bands, D channels, w bins of a band.

Source: BSRNN (Luo and Yu 2023, arXiv:2209.15174, section 2), for enhancement Yu et al. 2023 (arXiv:2212.00406).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.nnet.banded import BandLinear, norms_for
from lobes.nnet.bands import runs
from lobes.nnet.memory import Memory

START_SHARE = 0.1  # factor on Xavier's weights in the output layer of a decoder that starts at given values
SMALLEST = 1e-20  # added to the variance: so small that the level of the input does not matter


class BandSplit(nn.Module):
    """Each band of a spectrum, normalised and mapped to D channels. The `widths` of the bands add up to F bins.

    A causal one normalises by the frames up to the present one instead of by all.

    Example
    -------
    >>> BandSplit([2, 3, 3], 16)(torch.rand(1, 2, 7, 8)).shape
    torch.Size([1, 7, 3, 16])
    """

    def __init__(self, widths: Sequence[int], n_channels: int, causal: bool = False) -> None:
        super().__init__()
        self.widths, self.stretches = list(widths), runs(widths)
        sizes = [2 * width for width in widths]  # real and imaginary parts
        self.norms = norms_for(sizes, self.stretches, causal, SMALLEST)
        self.linear = BandLinear(sizes, [n_channels] * len(sizes), self.stretches)

    def forward(self, spectrum: Tensor, frames: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Map `spectrum` [B, 2, L, F] with `frames` valid frames per item (Long [B]) to [B, L, K, D].

        With a `memory`, the spectrum is a chunk of a stream.
        """
        pieces, start = [], 0
        for norm, stretch in zip(self.norms, self.stretches, strict=True):
            count, width = stretch.stop - stretch.start, self.widths[stretch.start]
            bins = spectrum[..., start : start + count * width]  # [B, 2, L, bands w]
            bins = bins.unflatten(3, (count, width)).permute(0, 2, 3, 4, 1).flatten(3)  # [B, L, bands, 2 w]
            pieces.append(norm(bins, frames, memory))
            start += count * width
        return torch.cat(self.linear(pieces), 2)


class BandDecoder(nn.Module):
    """For each band: norm, a hidden layer with tanh, an output layer with `features` numbers for each of its bins.

    Arguments
    ---------
    widths : sequence of int
        Bins of each band.
    n_channels : int
        D.
    expansion : int or sequence of int
        Size of the hidden layer divided by D: one for all bands, or one for each.
    features : int
        Numbers for each bin.
    gated : bool
        Compute twice as many numbers and gate one half with the other (GLU).
    causal : bool
        Normalise by the frames up to the present one instead of by all.
    start : sequence of float, optional
        Approximate output of an untrained decoder for every bin. A mask of one, for example, passes the mixture
        through. Without it the first output is noise, which a short training does not unlearn.

    Raises
    ------
    UserError
        If there is not one expansion for each band.

    Example
    -------
    >>> BandDecoder([2, 3, 3], 16, [2, 3, 4], features=6)(torch.rand(1, 7, 3, 16)).shape
    torch.Size([1, 7, 8, 6])
    """

    def __init__(
        self,
        widths: Sequence[int],
        n_channels: int,
        expansion: int | Sequence[int] = 4,
        features: int = 6,
        gated: bool = True,
        causal: bool = False,
        start: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        expansions = [expansion] * len(widths) if isinstance(expansion, int) else list(expansion)
        if len(expansions) != len(widths):
            raise UserError(
                f"expansion: expected a number or {len(widths)} of them, one for each band, got {len(expansions)}"
            )
        self.widths, self.features, self.gated = list(widths), features, gated
        self.stretches = runs(list(zip(widths, expansions, strict=True)))
        channels, hidden = [n_channels] * len(widths), [n_channels * times for times in expansions]
        outputs = [width * features * (2 if gated else 1) for width in widths]
        self.norms = norms_for(channels, self.stretches, causal)
        self.hidden = BandLinear(channels, hidden, self.stretches)
        self.output = BandLinear(hidden, outputs, self.stretches)
        if start is not None:
            self._start_at(torch.tensor(start))

    @torch.no_grad()
    def _start_at(self, values: Tensor) -> None:
        """Set small weights, and biases that give `values` [features] for each bin."""
        for weight, bias in zip(self.output.weights, self.output.biases, strict=True):
            weight *= START_SHARE
            half = bias[:, : bias.shape[1] // 2] if self.gated else bias  # an open gate of zero halves it
            half.copy_(((2 if self.gated else 1) * values).repeat(half.shape[1] // len(values)))

    def forward(self, x: Tensor, frames: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Map `x` [B, L, K, D] with `frames` valid frames per item (Long [B]) to [B, L, F, features].

        With a `memory`, `x` is a chunk of a stream.
        """
        pieces = [norm(x[:, :, s], frames, memory) for norm, s in zip(self.norms, self.stretches, strict=True)]
        pieces = self.output([torch.tanh(piece) for piece in self.hidden(pieces)])
        if self.gated:
            pieces = [F.glu(piece, -1) for piece in pieces]
        return torch.cat([piece.flatten(2).unflatten(2, (-1, self.features)) for piece in pieces], 2)
