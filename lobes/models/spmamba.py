"""SPMamba: complex spectral mapping with Mamba along bins and frames.

B batch, L frames, F bins, D channels, S sources.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lobes.errors import UserError, did_you_mean
from lobes.models.base.contract import run_layer
from lobes.models.base.envelope import SpectralModel
from lobes.models.convert.gridnet_reference import load_reference
from lobes.nnet.bimamba import BiMamba, MambaBlock
from lobes.nnet.causal_gridnet import CausalGridNetBlock, looking_back
from lobes.nnet.gridnet import GridNetBlock
from lobes.nnet.lengths import zero_padding
from lobes.nnet.level import running_level, to_unit_level
from lobes.nnet.memory import Memory
from lobes.nnet.mixers import BOTH_IN_ONE, Directions, chosen_direction, chosen_mixer, chosen_width, make_mixers
from lobes.nnet.norms import CumulativeGroupNorm, MaskedGroupNorm

_REFUSED = {
    "input_dim": "it is dead in the reference implementation; the STFT's size is n_fft",
    "lstm_hidden_units": "it is dead in the reference implementation; the Mamba's width is emb_dim * emb_ks * expand",
    "n_imics": "this model takes one microphone",
    "use_builtin_complex": "the STFT here always runs in fp32 with torch's own complex numbers",
    "chunk_size": "SPMamba has no chunks; its windows are emb_ks and emb_hs",
    "n_srcs": "use num_sources",
    "stride": "use hop_length",
    "attn_n_head": "use n_heads",
    "attn_approx_qk_dim": "use approx_qk_dim",
    "window": "the window is always a periodic Hann window",
    "activation": "the activation is always PReLU",
    "eps": "it is always 1e-5",
}


class SPMamba(SpectralModel):
    """SPMamba (Li et al. 2024, arXiv:2404.02063): TF-GridNet with bidirectional Mamba in place of LSTMs.

    Outputs equal those of the reference implementation (github.com/JusperLee/SPMamba, Apache-2.0) with the same
    weights; `from_upstream` and `lobes.models.to_upstream` convert state dicts. In addition, silence gives silence, any
    T >= 1 works, and a padded item equals the item alone.

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
        Size and hop of the windows of bins or frames that make one step of a Mamba. emb_hs = emb_ks is
        fastest.
    n_heads, approx_qk_dim : int
        Attention heads, and the approximate size of a frame's query. Without heads there is no attention.
    attention_window : int
        Frames before and (unless causal) after a frame that it attends to, so that the network is linear in time. 0:
        no window, to all frames, as published. A causal network needs a window, or no heads.
    causal : bool
        No look at later frames: forward in time only, convolutions and windows that look back, norms over past frames,
        and with `level="item"` the level of the frames so far in place of the item's, see
        `lobes.nnet.level.running_level`. Along bins nothing changes. A network of our own.
    d_state, d_conv, expand : int
        As in `lobes.nnet.mamba.Mamba`; without `mixer_width` the mixers have emb_dim * emb_ks * expand inner channels.
    mixer, direction, mixer_width, mixer_heads
        As in `lobes.nnet.mixers`: x + mixer(norm(x)) in each direction. SPMamba's own is mamba in both.
    gradient_checkpointing : bool
        Recompute each block in the backward pass: less memory, about a third more time.
    level : str
        As in `lobes.models.base.envelope.SpectralModel`.

    Raises
    ------
    UserError
        For options that do not fit together, and for unknown or dead ones.

    Example
    -------
    >>> import torch
    >>> model = SPMamba(n_layers=1, emb_dim=4, emb_ks=4, emb_hs=4, n_heads=2, approx_qk_dim=129, expand=1)
    >>> model(torch.rand(3, 1000), torch.tensor([1.0, 0.6, 0.3])).shape
    torch.Size([3, 1000, 2])
    """

    centred_level = True
    streams = True

    def __init__(
        self,
        num_sources: int = 2,
        sample_rate: int = 8000,
        n_fft: int = 256,
        hop_length: int = 64,
        n_layers: int = 6,
        emb_dim: int = 16,
        emb_ks: int = 8,
        emb_hs: int = 1,
        n_heads: int = 4,
        approx_qk_dim: int = 512,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 4,
        attention_window: int = 0,
        causal: bool = False,
        gradient_checkpointing: bool = False,
        level: str = "item",
        mixer: str | None = None,
        direction: str | None = None,
        mixer_width: int | None = None,
        mixer_heads: int | None = None,
        **unknown: object,
    ) -> None:
        _refuse(unknown)
        super().__init__(num_sources, sample_rate, n_fft, hop_length, causal, gradient_checkpointing, level)
        self.mixer = name = chosen_mixer(mixer, "mamba", causal)
        self.direction = side = chosen_direction(direction, causal=causal)
        width = chosen_width(mixer_width, expand * emb_dim * emb_ks)
        sizes: dict[str, Any] = {"d_state": d_state, "d_conv": d_conv}

        def sequence(features: int, side: str = "both") -> Any:
            if name == "mamba":
                kind = BiMamba if side == "both" else MambaBlock
                return kind(features, **sizes, d_inner=width)
            return Directions(make_mixers(name, features, side, width, heads=mixer_heads, **sizes), features, True)

        def forward(features: int) -> Any:
            return sequence(features, "forward")

        def block() -> nn.Module:
            n_bins, features = n_fft // 2 + 1, emb_dim * emb_ks
            rest = (emb_ks, emb_hs, n_heads, approx_qk_dim, attention_window)
            if causal:
                return CausalGridNetBlock(emb_dim, n_bins, sequence(features), forward(features), *rest)
            outputs = (1 if name in BOTH_IN_ONE else 2) * features
            return GridNetBlock(emb_dim, n_bins, sequence, outputs, *rest, forward if side == "forward" else None)

        self.conv = nn.Conv2d(2, emb_dim, 3, padding=1)
        self.norm = CumulativeGroupNorm(emb_dim) if causal else MaskedGroupNorm(emb_dim)
        self.blocks = nn.ModuleList(block() for _ in range(n_layers))
        self.deconv = nn.ConvTranspose2d(emb_dim, 2 * num_sources, 3, padding=1)

    def estimate(self, spectrum: Tensor, frames: Tensor | None, memory: Memory | None = None) -> Tensor:
        """Map `spectrum` [B, 2, L, F] with `frames` valid frames per item (Long [B]) to spectra [B, S, 2, L, F].

        `forward` calls it between the STFT of the mixture at unit level and the inverse STFT of the estimates, a stream
        with a `memory` and chunks of a spectrum.
        """
        if self.causal:
            return self._estimate_causally(spectrum, frames, memory)
        x = self.norm(self.conv(spectrum), frames)  # [B, D, L, F]
        x = x.permute(0, 2, 3, 1)  # [B, L, F, D]
        for block in self.blocks:  # along bins, along frames, attention across frames
            x = run_layer(block, x, frames, self.gradient_checkpointing)  # [B, L, F, D]
        x = zero_padding(x, frames).permute(0, 3, 1, 2)  # [B, D, L, F]
        return self.deconv(x).unflatten(1, (self.num_sources, 2))  # [B, S, 2, L, F]

    def _estimate_causally(self, spectrum: Tensor, frames: Tensor | None, memory: Memory | None) -> Tensor:
        level = running_level(spectrum, memory, self) if self.level == "item" else spectrum.new_ones(1)  # [B, 1, L, 1]
        x = looking_back(self.conv, to_unit_level(spectrum, level), memory)  # [B, D, L, F]
        x = self.norm(x, memory).permute(0, 2, 3, 1)  # [B, L, F, D]
        for block in self.blocks:
            x = run_layer(block, x, frames, self.gradient_checkpointing, memory)  # [B, L, F, D]
        x = looking_back(self.deconv, x.permute(0, 3, 1, 2), memory)  # [B, S 2, L, F]
        return x.unflatten(1, (self.num_sources, 2)) * level[:, None]  # [B, S, 2, L, F]

    @classmethod
    def from_upstream(cls, path: str | Path, **options) -> SPMamba:
        """Load a checkpoint of the reference implementation; see `load_reference` in `lobes.models.convert`."""
        return load_reference(cls, path, **options)


def _refuse(unknown: dict[str, object]) -> None:
    known = [name for name in inspect.signature(SPMamba).parameters if name != "unknown"]
    for name in unknown:
        if name in _REFUSED:
            raise UserError(f"SPMamba: option {name} is refused: {_REFUSED[name]}. Remove it from the model's options.")
        raise UserError(f"SPMamba: unknown option {name}.{did_you_mean(name, known)} Known: {', '.join(known)}.")
