"""Random scans, one call with all its gradients, and the comparison of two such calls."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lobes.scan import selective_scan

Inputs = dict[str, Tensor]


def _make(batch: int, steps: int, channels: int, states: int, seed: int = 0, absent: tuple[str, ...] = ()) -> Inputs:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).float()

    inputs = {
        "u": normal(batch, steps, channels),
        "delta": normal(batch, steps, channels),
        "A": -torch.rand(channels, states, generator=generator) * states - 0.1,
        "B": normal(batch, steps, states),
        "C": normal(batch, steps, states),
        "D": normal(channels),
        "z": normal(batch, steps, channels),
        "delta_bias": normal(channels) - 1,
        "initial_state": normal(batch, channels, states),
    }
    return {name: tensor for name, tensor in inputs.items() if name not in absent}


ROWS = ("u", "delta", "B", "C", "z")


def _run(
    inputs: Inputs, dtype: torch.dtype = torch.float32, parameters: torch.dtype | None = None, **options: object
) -> Inputs:
    """Output, last state and the gradients of all inputs, under random gradients of both outputs.

    Rows are of type `dtype`, all else of type `parameters`, or also of `dtype`.
    """
    types = {name: dtype if name in ROWS or parameters is None else parameters for name in inputs}
    leaves = {name: tensor.detach().to(types[name]).requires_grad_() for name, tensor in inputs.items()}
    options = {"delta_softplus": True, **options}
    y, last = selective_scan(**leaves, return_last_state=True, **options)
    generator = torch.Generator().manual_seed(9)
    gy, glast = (torch.randn(t.shape, generator=generator, dtype=torch.float64).to(dtype) for t in (y, last))
    ((y * gy).sum() + (last * glast).sum()).backward()
    return {"y": y.detach(), "last": last.detach(), **{name: leaf.grad for name, leaf in leaves.items()}}


def _assert_agrees(got: Inputs, truth: Inputs, tolerance: float = 3e-6) -> None:
    """Errors are shares of the largest value of each tensor."""
    for name, expected in truth.items():
        scale = expected.abs().max().double().clamp_min(1e-30)
        error = ((got[name].double() - expected.double()).abs().max() / scale).item()
        assert error <= tolerance, f"{name}: relative error {error:.1e}"


@pytest.fixture
def make() -> Callable[..., Inputs]:
    return _make


@pytest.fixture
def run() -> Callable[..., Inputs]:
    return _run


@pytest.fixture
def assert_agrees() -> Callable[..., None]:
    return _assert_agrees
