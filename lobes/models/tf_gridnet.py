"""TF-GridNet: complex spectral mapping with LSTMs along bins and frames.

B batch, L frames, F bins, D channels, S sources.
"""

from __future__ import annotations

from torch import Tensor, nn

from lobes.models.base.contract import run_layer
from lobes.models.base.envelope import SpectralModel
from lobes.nnet.bilstm import BiLSTM
from lobes.nnet.gridnet import GridNetBlock
from lobes.nnet.lengths import zero_padding
from lobes.nnet.mixers import BOTH_IN_ONE, Directions, chosen_direction, chosen_mixer, chosen_width, make_mixers
from lobes.nnet.norms import MaskedGroupNorm


class TFGridNet(SpectralModel):
    """TF-GridNet (Wang et al. 2023, arXiv:2211.12433).

    It differs from `lobes.models.spmamba.SPMamba` only in the sequence model, so the two can be compared directly.

    Arguments
    ---------
    num_sources : int
        Sources S.
    sample_rate : int
        In Hz. Stored as an attribute; the network does not use it.
    n_fft, hop_length : int
        STFT window and hop in samples.
    n_layers : int
        Number of blocks.
    emb_dim : int
        Channels D.
    emb_ks, emb_hs : int
        Size and hop of the windows of bins or frames that make one step of an LSTM.
    lstm_hidden_units : int
        Units of each direction; without `mixer_width` also the inner channels of another mixer.
    n_heads, approx_qk_dim : int
        Attention heads, and the approximate size of a frame's query.
    gradient_checkpointing : bool
        Recompute each block in the backward pass: less memory, about a third more time.
    level : str
        As in `lobes.models.base.envelope.SpectralModel`.
    mixer, direction, mixer_width, mixer_heads
        As in `lobes.nnet.mixers`. TF-GridNet's own is lstm in both directions, without a linear map behind it.

    Raises
    ------
    UserError
        For options that do not fit together.

    Example
    -------
    >>> import torch
    >>> model = TFGridNet(n_layers=1, emb_dim=4, lstm_hidden_units=8, n_heads=2, approx_qk_dim=129)
    >>> model(torch.rand(3, 1000), torch.tensor([1.0, 0.6, 0.3])).shape
    torch.Size([3, 1000, 2])
    """

    centred_level = True

    def __init__(
        self,
        num_sources: int = 2,
        sample_rate: int = 8000,
        n_fft: int = 256,
        hop_length: int = 64,
        n_layers: int = 6,
        emb_dim: int = 64,
        emb_ks: int = 4,
        emb_hs: int = 1,
        lstm_hidden_units: int = 256,
        n_heads: int = 4,
        approx_qk_dim: int = 512,
        gradient_checkpointing: bool = False,
        level: str = "item",
        mixer: str | None = None,
        direction: str | None = None,
        mixer_width: int | None = None,
        mixer_heads: int | None = None,
    ) -> None:
        super().__init__(num_sources, sample_rate, n_fft, hop_length, False, gradient_checkpointing, level)

        self.mixer = name = chosen_mixer(mixer, "lstm")
        self.direction = side = chosen_direction(direction)
        width = chosen_width(mixer_width, lstm_hidden_units)

        def sequence(features: int, side: str = "both") -> nn.Module:
            if name == "lstm":
                return BiLSTM(features, width, bidirectional=side == "both")
            return Directions(make_mixers(name, features, side, width, heads=mixer_heads), features)

        def forward(features: int) -> nn.Module:
            return sequence(features, "forward")

        def block() -> GridNetBlock:
            n_bins, outputs = n_fft // 2 + 1, 2 * width
            if name != "lstm":
                outputs = (1 if name in BOTH_IN_ONE else 2) * emb_dim * emb_ks
            sizes = (emb_ks, emb_hs, n_heads, approx_qk_dim)
            over_time = forward if side == "forward" else None
            return GridNetBlock(emb_dim, n_bins, sequence, outputs, *sizes, over_time=over_time)

        self.conv = nn.Conv2d(2, emb_dim, 3, padding=1)
        self.norm = MaskedGroupNorm(emb_dim)
        self.blocks = nn.ModuleList(block() for _ in range(n_layers))
        self.deconv = nn.ConvTranspose2d(emb_dim, 2 * num_sources, 3, padding=1)

    def estimate(self, spectrum: Tensor, frames: Tensor | None) -> Tensor:
        """Map `spectrum` [B, 2, L, F] with `frames` valid frames per item (Long [B]) to spectra [B, S, 2, L, F]."""
        x = self.norm(self.conv(spectrum), frames)  # [B, D, L, F]
        x = x.permute(0, 2, 3, 1)  # [B, L, F, D]
        for block in self.blocks:
            x = run_layer(block, x, frames, self.gradient_checkpointing)  # [B, L, F, D]
        x = zero_padding(x, frames).permute(0, 3, 1, 2)  # [B, D, L, F]
        return self.deconv(x).unflatten(1, (self.num_sources, 2))  # [B, S, 2, L, F]
