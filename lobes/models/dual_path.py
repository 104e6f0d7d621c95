"""Blocks of SpeechBrain's dual-path networks whose sequence model can be another one. B batch, L steps, N filters."""

from __future__ import annotations

from typing import Any

from speechbrain.lobes.models.dual_path import SBRNNBlock, SBTransformerBlock
from torch import Tensor, nn

from lobes.nnet.mixers import Averaged, chosen_direction, chosen_mixer, chosen_width, make_mixers


class RNNBlock:
    """The block of DPRNN: SpeechBrain's `SBRNNBlock` itself, or another mixer in its place.

    Another mixer gives the mean of its directions, which the linear map of the dual-path network takes next. An LSTM
    that runs forward only is of that kind, too: SpeechBrain's linear map expects both directions.

    Arguments
    ---------
    input_size : int
        Filters N.
    hidden_channels : int
        Units of each direction; without `mixer_width` also the inner channels of another mixer.
    num_layers, dropout, bidirectional
        Of `SBRNNBlock`, for its LSTM.
    mixer, direction, mixer_width, mixer_heads
        As in `lobes.nnet.mixers`; its own is lstm in both directions, within chunks and across them.

    Raises
    ------
    UserError
        For another mixer or direction.

    Example
    -------
    >>> import torch
    >>> type(RNNBlock(8, 16)).__name__, RNNBlock(8, 16, mixer="xlstm")(torch.rand(2, 5, 8)).shape
    ('SBRNNBlock', torch.Size([2, 5, 8]))
    """

    def __new__(  # type: ignore[misc]
        cls,
        input_size: int,
        hidden_channels: int,
        num_layers: int = 1,
        dropout: float = 0,
        bidirectional: bool = True,
        mixer: str | None = None,
        direction: str | None = None,
        mixer_width: int | None = None,
        mixer_heads: int | None = None,
    ) -> nn.Module:
        """Make the block."""
        name, side = chosen_mixer(mixer, "lstm"), chosen_direction(direction, "both" if bidirectional else "forward")
        units = chosen_width(mixer_width, hidden_channels)
        if name == "lstm" and (side == "both" or direction is None):
            return SBRNNBlock(input_size, units, num_layers, dropout=dropout, bidirectional=bidirectional)
        return Averaged(make_mixers(name, input_size, side, units, heads=mixer_heads), input_size, residual=False)


class TransformerBlock:
    """The block of SepFormer: SpeechBrain's `SBTransformerBlock`, with another mixer in the place of each attention.

    Norms, residuals, feed-forward layers and positions stay.

    Arguments
    ---------
    num_layers, d_model, nhead, d_ffn, dropout, use_positional_encoding, norm_before
        Of `SBTransformerBlock`.
    mixer, direction, mixer_width, mixer_heads
        As in `lobes.nnet.mixers`, with d_model inner channels by default; its own is attention to both sides, with
        `nhead` heads. With a direction, width or heads that differ it is the attention of `lobes.nnet.mixers`.

    Raises
    ------
    UserError
        For another mixer or direction.

    Example
    -------
    >>> import torch
    >>> TransformerBlock(1, 8, 2, d_ffn=16, mixer="mamba2")(torch.rand(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __new__(  # type: ignore[misc]
        cls,
        num_layers: int,
        d_model: int,
        nhead: int,
        d_ffn: int = 2048,
        dropout: float = 0.1,
        use_positional_encoding: bool = False,
        norm_before: bool = False,
        mixer: str | None = None,
        direction: str | None = None,
        mixer_width: int | None = None,
        mixer_heads: int | None = None,
    ) -> nn.Module:
        """Make the block."""
        name, side = chosen_mixer(mixer, "attention"), chosen_direction(direction)
        block: Any = SBTransformerBlock(
            num_layers,
            d_model,
            nhead,
            d_ffn,
            dropout=dropout,
            use_positional_encoding=use_positional_encoding,
            norm_before=norm_before,
        )
        if (name, side, mixer_width, mixer_heads) != ("attention", "both", None, None):
            heads = nhead if mixer_heads is None and name == "attention" else mixer_heads
            for layer in block.mdl.layers:
                layer.self_att = InPlaceOfAttention(name, d_model, side, chosen_width(mixer_width, d_model), heads)
        return block


class InPlaceOfAttention(Averaged):
    """The mean of a mixer's directions with the interface of SpeechBrain's attention.

    Example
    -------
    >>> import torch
    >>> x = torch.rand(2, 5, 8)
    >>> InPlaceOfAttention("conv", 8, "both", 16, None)(x, x, x)[0].shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, name: str, d_model: int, side: str, width: int, heads: int | None) -> None:
        super().__init__(make_mixers(name, d_model, side, width, heads=heads), d_model, residual=False)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **_: Any) -> tuple[Tensor, None]:  # type: ignore[override]
        """Run over `query` [B, L, N], which is key and value, too; there are no attention weights."""
        return super().forward(query), None
