"""TF-GridNet: complex spectral mapping with LSTMs along bins and frames.

B batch, T samples, L frames, F bins, D channels, S sources.
"""

from __future__ import annotations

from lobes.models.base.gridnet import GridNet
from lobes.nnet.bilstm import BiLSTM
from lobes.nnet.gridnet import GridNetBlock


class TFGridNet(GridNet):
    """TF-GridNet (Wang et al. 2023, arXiv:2211.12433): SPMamba's parent, with LSTMs where that has Mamba.

    Written from the papers; it shares every line but the sequence models with `lobes.models.spmamba.SPMamba`, so that
    Mamba against LSTM is one argument.

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
        Size and hop of the windows of bins or frames that make one step of an LSTM.
    lstm_hidden_units : int
        Units of each direction.
    n_heads, approx_qk_dim : int
        Attention heads, and the approximate size of a frame's query.
    gradient_checkpointing : bool
        Recompute each block in the backward pass: less memory, about a third more time.

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
    ) -> None:
        def lstm(features: int) -> BiLSTM:
            return BiLSTM(features, lstm_hidden_units)

        def block(bins: int) -> GridNetBlock:
            outputs = 2 * lstm_hidden_units
            return GridNetBlock(emb_dim, bins, lstm, outputs, "rnn", emb_ks, emb_hs, n_heads, approx_qk_dim)

        super().__init__(num_sources, sample_rate, n_fft, hop_length, n_layers, emb_dim, block, gradient_checkpointing)
