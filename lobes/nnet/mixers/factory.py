"""Mixers by name, in the directions that a network asks for. B batch, L steps, D channels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from lobes.errors import UserError, did_you_mean
from lobes.nnet.mamba import Mamba
from lobes.nnet.mixers.attention import SelfAttention
from lobes.nnet.mixers.convolution import GatedConvolution
from lobes.nnet.mixers.mamba2 import Mamba2
from lobes.nnet.mixers.mlstm import MLSTM
from lobes.nnet.mixers.recurrent import LSTMMixer

MIXERS = ("mamba", "mamba2", "lstm", "xlstm", "attention", "conv")
DIRECTIONS = ("both", "forward")
HEADS = 4
BOTH_IN_ONE = ("attention", "conv")  # these see both sides of a step at once, the others in two mixers
UNBOUNDED = ("attention",)  # what these keep of a stream grows with its length


def chosen_mixer(mixer: str | None, own: str, causal: bool = False) -> str:
    """The name of a network's mixer: `own` where none is named.

    Raises
    ------
    UserError
        For another name, and for a mixer without a bounded state in a causal network.

    Example
    -------
    >>> chosen_mixer(None, "mamba"), chosen_mixer("lstm", "mamba")
    ('mamba', 'lstm')
    >>> chosen_mixer("xlsm", "mamba")
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: mixer: expected one of mamba, mamba2, lstm, xlstm, attention, conv, got 'xlsm'. Did you ...
    """
    name = own if mixer is None else mixer
    _check("mixer", name, MIXERS)
    if causal and name in UNBOUNDED:
        known = ", ".join(one for one in MIXERS if one not in UNBOUNDED)
        raise UserError(
            f"mixer: {name} keeps a state that grows with a stream; a causal network takes one of {known}, or set "
            "causal: false"
        )
    return name


def chosen_direction(direction: str | None, own: str = DIRECTIONS[0], causal: bool = False) -> str:
    """The direction in time of a network: `own` where none is named, and forward in a causal one.

    Raises
    ------
    UserError
        For another name, and for both directions in a causal network.

    Example
    -------
    >>> chosen_direction(None), chosen_direction(None, causal=True)
    ('both', 'forward')
    """
    if direction is None:
        return "forward" if causal else own
    _check("direction", direction, DIRECTIONS)
    if causal and direction != "forward":
        raise UserError(
            f"direction: a causal network runs forward only, got {direction}; leave direction or causal out"
        )
    return direction


def chosen_width(width: int | None, own: int) -> int:
    """The inner channels of a network's mixers: `own` where none are given.

    Raises
    ------
    UserError
        For less than one.

    Example
    -------
    >>> chosen_width(None, 32), chosen_width(20, 32)
    (32, 20)
    """
    found = own if width is None else width
    if found < 1:
        raise UserError(f"mixer_width: expected a whole number from 1 up, got {found}")
    return found


def make_mixer(
    name: str,
    channels: int,
    direction: str,
    width: int,
    heads: int | None = None,
    d_state: int = 16,
    d_conv: int = 4,
    dt_rank: int | str = "auto",
) -> nn.Module:
    """Make a mixer: `mixer(x [B, L, D], steps, memory)` -> [B, L, D].

    Arguments
    ---------
    name : str
        One of `MIXERS`.
    channels : int
        Channels D.
    direction : str
        `forward`; `backward` for those that carry a state; `both` for those that see both sides in one.
    width : int
        Inner channels, or units of an LSTM.
    heads : int or None
        Of mamba2, xlstm and attention; None: 4.
    d_state, d_conv, dt_rank
        States of mamba and mamba2, taps of mamba, mamba2 and xlstm, and the rank of Mamba's step sizes.

    Raises
    ------
    UserError
        For another name, and for heads that do not divide the width.

    Example
    -------
    >>> import torch
    >>> make_mixer("xlstm", 8, "backward", width=16)(torch.rand(2, 5, 8), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 8])
    """
    _check("mixer", name, MIXERS)
    reverse, count = direction == "backward", HEADS if heads is None else heads
    if name == "mamba":
        return Mamba(channels, d_state, d_conv, d_inner=width, dt_rank=dt_rank, reverse=reverse)
    if name == "mamba2":
        return Mamba2(channels, width, count, d_state, d_conv, reverse)
    if name == "lstm":
        return LSTMMixer(channels, width, reverse)
    if name == "xlstm":
        return MLSTM(channels, width, count, d_conv, reverse)
    if reverse:
        raise ValueError(f"{name}: expected forward or both, got {direction}")
    past_only = direction == "forward"
    if name == "attention":
        return SelfAttention(channels, width, count, past_only)
    return GatedConvolution(channels, width, past_only=past_only)


def make_mixers(name: str, channels: int, direction: str, width: int, **sizes) -> list[nn.Module]:
    """Make the mixers of a direction, `both` or `forward`, whose outputs a network combines; see `make_mixer`.

    Those that carry a state are one for each direction; attention and convolutions see both sides in one.

    Example
    -------
    >>> len(make_mixers("lstm", 8, "both", width=16)), len(make_mixers("conv", 8, "both", width=16))
    (2, 1)
    """
    one = name in BOTH_IN_ONE or direction == "forward"
    return [
        make_mixer(name, channels, each, width, **sizes) for each in ([direction] if one else ["forward", "backward"])
    ]


def _check(key: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        hint = did_you_mean(str(name), known)
        raise UserError(f"{key}: expected one of {', '.join(known)}, got {name!r}.{hint}")
