"""SPMamba: complex spectral mapping with Mamba along bins and frames.

B batch, T samples, L frames, F bins, D channels, S sources.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from lobes.errors import UserError, did_you_mean
from lobes.models.contract import check_mixtures, run_layer, samples_unless_full
from lobes.nnet.gridnet import GridNetBlock
from lobes.nnet.lengths import zero_padding
from lobes.nnet.level import item_level, to_unit_level
from lobes.nnet.norms import MaskedGroupNorm
from lobes.nnet.stft import STFT

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
_OPTIONS = (
    "num_sources sample_rate n_fft hop_length n_layers emb_dim emb_ks emb_hs n_heads approx_qk_dim "
    "d_state d_conv expand gradient_checkpointing"
).split()


class SPMamba(nn.Module):
    """SPMamba (Li et al. 2024, arXiv:2404.02063): TF-GridNet with bidirectional Mamba in place of LSTMs.

    Weights interchange with the reference implementation (github.com/JusperLee/SPMamba, Apache-2.0) under the
    same keys, and outputs agree with it. Beyond it: silence gives silence, any T >= 1 works, and `lengths`
    are honoured in the level, the STFT, the norms, the scans and the attention, so that a padded item equals
    the item alone.

    Arguments
    ---------
    num_sources : int
        Sources S.
    sample_rate : int
        In Hz; kept for those who use the model.
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
        Attention heads, and the approximate size of a frame's query.
    d_state, d_conv, expand : int
        As in `lobes.nnet.mamba.Mamba`.
    gradient_checkpointing : bool
        Recompute each block in the backward pass: less memory, about a third more time.

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

    causal = False

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
        gradient_checkpointing: bool = False,
        **unknown: object,
    ) -> None:
        super().__init__()
        _refuse(unknown)
        self.num_sources, self.sample_rate = num_sources, sample_rate
        self.gradient_checkpointing = gradient_checkpointing
        self.stft = STFT(n_fft, hop_length)
        self.conv = nn.Sequential(nn.Conv2d(2, emb_dim, 3, padding=1), MaskedGroupNorm(emb_dim))
        self.blocks = nn.ModuleList(
            GridNetBlock(
                emb_dim,
                n_fft // 2 + 1,
                emb_ks,
                emb_hs,
                n_heads,
                approx_qk_dim,
                d_state=d_state,
                d_conv=d_conv,
                expand=expand,
            )
            for _ in range(n_layers)
        )
        self.deconv = nn.ConvTranspose2d(emb_dim, 2 * num_sources, 3, padding=1)

    def forward(self, mix: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Separate.

        Arguments
        ---------
        mix : Tensor
            Mixtures [B, T], any T >= 1.
        lengths : Tensor or None
            Relative lengths in (0, 1], [B]; None: all full.

        Returns
        -------
        Tensor
            Estimates [B, T, S], zeros after an item's end.

        Raises
        ------
        ValueError
            If `mix` is not [B, T] with T >= 1.
        """
        check_mixtures(self, mix)
        return self._separate(mix, samples_unless_full(lengths, mix))

    def _separate(self, mix: Tensor, n: Tensor | None) -> Tensor:
        frames = None if n is None else self.stft.frames(n)
        mix = zero_padding(mix, n)
        level = item_level(mix, n, centred=True)  # [B, 1]
        spectrum = self.stft(to_unit_level(mix, level), n)  # [B, 2, L, F]
        x = self.conv[1](self.conv[0](spectrum), frames)  # [B, D, L, F]
        x = x.permute(0, 2, 3, 1)  # [B, L, F, D]
        for block in self.blocks:
            x = run_layer(block, x, frames, self.gradient_checkpointing)
        x = zero_padding(x, frames).permute(0, 3, 1, 2)  # [B, D, L, F]
        spectra = self.deconv(x).unflatten(1, (self.num_sources, 2)).flatten(0, 1)  # [B*S, 2, L, F]
        each = None if n is None else n.repeat_interleave(self.num_sources)
        estimates = self.stft.inverse(spectra, mix.shape[1], each)  # [B*S, T]
        estimates = estimates.unflatten(0, (-1, self.num_sources)) * level[:, :, None]  # [B, S, T]
        return estimates.transpose(1, 2)  # [B, T, S]

    @classmethod
    def from_upstream(cls, path: str | Path, **options) -> SPMamba:
        """Load a checkpoint of the reference implementation; see `lobes.models.upstream.load_spmamba`."""
        from lobes.models.upstream import load_spmamba

        return load_spmamba(path, **options)


def _refuse(unknown: dict[str, object]) -> None:
    for name in unknown:
        if name in _REFUSED:
            raise UserError(f"SPMamba: option {name} is refused: {_REFUSED[name]}. Remove it from the model's options.")
        raise UserError(f"SPMamba: unknown option {name}.{did_you_mean(name, _OPTIONS)} Known: {', '.join(_OPTIONS)}.")
