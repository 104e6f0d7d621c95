"""Powers of the magnitudes of complex numbers."""

from __future__ import annotations

from torch import Tensor

TINY = 1e-30


def to_power(parts: Tensor, power: float, dim: int, floor: float = TINY) -> Tensor:
    """Raise magnitudes to a power and keep the phase; zeros stay zeros, with finite gradients.

    Published band-split code gets NaN here, because it uses `abs() ** 0.3` under autocast: in half precision a tiny
    epsilon is zero, and the slope at zero is infinite. Call this function in fp32.

    Arguments
    ---------
    parts : Tensor
        Real and imaginary parts.
    power : float
        Of the magnitude.
    dim : int
        Dimension of size 2 that holds the parts.
    floor : float
        Squared magnitude below which the function is a straight line, so that slopes stay bounded.

    Returns
    -------
    Tensor
        Of the shape of `parts`.

    Example
    -------
    >>> import torch
    >>> to_power(torch.tensor([[3.0, 4.0]]), 2.0, 1)
    tensor([[15., 20.]])
    """
    if power == 1:
        return parts
    return parts * parts.square().sum(dim, keepdim=True).clamp(min=floor) ** ((power - 1) / 2)
