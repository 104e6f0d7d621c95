"""What all sequence mixers have in common: lengths, direction and streams. B batch, L steps, D channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lobes.nnet.lengths import mask, zero_padding
from lobes.nnet.memory import Memory


class Mixer(nn.Module):
    """A layer from [B, L, D] to the same shape in which steps see other steps; subclasses write `mix`.

    A subclass ends in a linear map `out_proj` and has a method `reset_parameters`. What it gives at a step depends on
    this step and, unless it sees both sides, on those before. `reverse` turns that round.

    Arguments
    ---------
    reverse : bool
        Run from each item's own end to its start: equal to flipping the valid steps of input and output.

    Example
    -------
    >>> class Sum(Mixer):
    ...     def mix(self, x, steps, memory):
    ...         return x.cumsum(1)
    >>> Sum(reverse=True)(torch.ones(2, 3, 1), torch.tensor([3, 2]))[..., 0]
    tensor([[3., 2., 1.],
            [2., 1., 0.]])
    """

    out_proj: nn.Linear

    def __init__(self, reverse: bool = False) -> None:
        super().__init__()
        self.reverse = reverse

    def forward(self, x: Tensor, steps: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Run over `x` [B, L, D]: the same shape, and zeros after an item's end.

        `steps` are valid steps per item, Long [B]; None: all. With a `memory`, `x` is the next chunk of a stream, of
        which all steps are valid.

        Raises
        ------
        ValueError
            If there is a memory and the mixer runs in reverse.
        """
        if memory is not None and self.reverse:
            raise ValueError(
                f"{type(self).__name__}: expected no memory with reverse, a stream has no end to start from"
            )
        x = zero_padding(x, steps)
        y = self.mix(flipped(x, steps) if self.reverse else x, steps, memory)
        return zero_padding(flipped(y, steps) if self.reverse else y, steps)

    def mix(self, x: Tensor, steps: Tensor | None, memory: Memory | None) -> Tensor:
        """Run from the first step on over `x` [B, L, D], which is zero after an item's end."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Initialise all weights again."""
        raise NotImplementedError


def flipped(x: Tensor, steps: Tensor | None) -> Tensor:
    """Turn the valid steps of each item of `x` [B, L, D] round; what comes after its end stays there.

    Example
    -------
    >>> flipped(torch.arange(6).view(2, 3, 1), torch.tensor([3, 2]))[..., 0]
    tensor([[2, 1, 0],
            [4, 3, 5]])
    """
    if steps is None:
        return x.flip(1)
    places = torch.arange(x.shape[1], device=x.device)[None]  # [1, L]
    places = torch.where(mask(steps, x.shape[1]), steps[:, None] - 1 - places, places)  # [B, L]
    return x.gather(1, places[..., None].expand_as(x))
