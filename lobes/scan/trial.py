"""A small scan with a gap in every vector and block, by which a backend is compared with the reference at first use.

B = 2, L = 18, D = 35, N = 3, in reverse, with lengths.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lobes.scan.backend import Passes
from lobes.scan.inputs import ScanInputs
from lobes.scan.reference import scan_step_by_step

Scan = Callable[[ScanInputs], tuple[Tensor, Tensor]]


def example(device: str = "cpu", started: bool = True) -> tuple[ScanInputs, Tensor, Tensor]:
    """Inputs, with an initial state or not, and gradients of y and of the last state. The same numbers on every device.

    Example
    -------
    >>> x, gy, glast = example()
    >>> x.u.shape == gy.shape, glast.shape
    (True, torch.Size([2, 35, 3]))
    """
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 18, 35), (2, 18, 35), (35, 3), (2, 18, 3), (2, 18, 3), (35,), (2, 18, 35), (35,), (2, 35, 3)]
    shapes += [(2, 18, 35), (2, 35, 3)]
    numbers = [torch.randn(shape, generator=generator, dtype=torch.float32).to(device) for shape in shapes]
    u, delta, A, B, C, D, z, bias, first, gy, glast = numbers
    lengths = torch.tensor([18, 16], device=device)
    return ScanInputs(u, delta, -A.abs(), B, C, D, z, bias, first if started else None, lengths, True, True), gy, glast


def by_passes(passes: Passes, device: str = "cpu") -> list[Tensor]:
    """y, last state and all gradients of the example by a backend's own passes, on the CPU."""
    x, gy, glast = example(device)
    y, last, saved = passes.forward(x, True, True)
    return [tensor.cpu() for tensor in (y, last, *passes.backward(x, saved, gy, glast))]


def by_autograd(scan: Scan = scan_step_by_step, device: str = "cpu", started: bool = True) -> list[Tensor]:
    """The same by a scan that autograd follows; without an initial state there is no gradient of the last state."""
    x, gy, glast = example(device, started)
    leaves = [tensor.requires_grad_() for tensor in x.differentiable() if tensor is not None]
    y, last = scan(x)
    loss = (y * gy).sum()  # gradients of a scalar import no sympy
    if started:
        loss = loss + (last * glast).sum()
    gradients = torch.autograd.grad(loss, leaves)
    return [tensor.detach().cpu() for tensor in (y, last, *gradients)]
