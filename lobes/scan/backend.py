"""A backend of the scan, as two protocols.

Every backend is a `Backend`. One with a backward pass of its own is also a `Passes`, and its passes run inside the
operator `lobes::selective_scan` (lobes.scan.operator), to which `Backend.scan` gets a way: backends import nothing that
imports them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from lobes.scan.inputs import Facts, ScanInputs

Operate = Callable[[ScanInputs, bool], tuple[Tensor, Tensor]]


class Backend(Protocol):
    """Code that can run a scan. Making one imports nothing heavy and looks at no device."""

    multiplies_step_sizes: bool = False  # whether its forward pass takes inputs with a `delta_weight`

    def unavailable(self) -> str | None:
        """The reason for which this backend cannot run on this machine; None if it can."""
        return None

    def refuses(self, x: Facts) -> str | None:
        """The reason for which this backend cannot take these inputs; None if it can."""
        return None

    def scan(self, x: ScanInputs, want_last: bool, operate: Operate) -> tuple[Tensor, Tensor | None]:
        """Scan, in a way that autograd can follow.

        Arguments
        ---------
        x : ScanInputs
            Checked inputs that the backend does not refuse.
        want_last : bool
            Whether the last state is wanted.
        operate : callable
            Runs this backend's own `Passes` inside the operator; those without passes leave it alone.

        Returns
        -------
        y : Tensor
            [B, L, D].
        last_state : Tensor or None
            [B, D, N]; anything if it is not wanted.
        """
        ...


class Passes(Protocol):
    """A forward and a backward pass, between which autograd looks no further."""

    def forward(self, x: ScanInputs, save: bool, want_last: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return y [B, L, D], the last state [B, D, N] if wanted, and what `backward` needs if it is to be saved.

        What is not asked for is an empty tensor: for short sequences a last state is as large as the rows.
        """
        ...

    def backward(self, x: ScanInputs, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor, ...]:
        """Return the gradients of the nine tensors of `x.differentiable()`; empty tensors for those that are absent.

        `glast` is None if no gradient comes through the last state.
        """
        ...

    def saved_like(self, x: ScanInputs) -> Tensor:
        """An empty tensor of the shape of what `forward` saves."""
        ...
