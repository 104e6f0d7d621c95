"""SPMamba: complex spectral mapping with Mamba along bins and frames.

B batch, T samples, L frames, F bins, D channels, S sources.
"""

from __future__ import annotations

from pathlib import Path

from lobes.errors import UserError, did_you_mean
from lobes.models.base.gridnet import GridNet
from lobes.nnet.bimamba import BiMamba
from lobes.nnet.gridnet import GridNetBlock

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


class SPMamba(GridNet):
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
        _refuse(unknown)

        def mamba(features: int) -> BiMamba:
            return BiMamba(features, d_state=d_state, d_conv=d_conv, expand=expand)

        def block(bins: int) -> GridNetBlock:
            outputs = 2 * emb_dim * emb_ks
            return GridNetBlock(emb_dim, bins, mamba, outputs, "mamba", emb_ks, emb_hs, n_heads, approx_qk_dim)

        super().__init__(num_sources, sample_rate, n_fft, hop_length, n_layers, emb_dim, block, gradient_checkpointing)

    @classmethod
    def from_upstream(cls, path: str | Path, **options) -> SPMamba:
        """Load a checkpoint of the reference implementation; see `load_spmamba` in `lobes.models.convert`."""
        from lobes.models.convert.spmamba_reference import load_spmamba

        return load_spmamba(path, **options)


def _refuse(unknown: dict[str, object]) -> None:
    for name in unknown:
        if name in _REFUSED:
            raise UserError(f"SPMamba: option {name} is refused: {_REFUSED[name]}. Remove it from the model's options.")
        raise UserError(f"SPMamba: unknown option {name}.{did_you_mean(name, _OPTIONS)} Known: {', '.join(_OPTIONS)}.")
