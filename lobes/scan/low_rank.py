"""Step sizes of low rank: Mamba projects R numbers of a step to its D channels. B batch, L steps.

Their product is as large as the scan's input, and takes longer to write and to read than to compute. A backend that
multiplies as it reads is given the factors, where no gradient is wanted and nothing watches the operator, which knows
only the product.
"""

from __future__ import annotations

import torch

from lobes.kernels.operators import is_plain
from lobes.scan.backend import Backend
from lobes.scan.inputs import ScanInputs


def as_taken_by(backend: Backend, x: ScanInputs) -> ScanInputs:
    """The inputs with `delta_weight` if the backend multiplies by it here, else with the product as `delta`.

    Example
    -------
    >>> from lobes.scan.reference import ReferenceBackend
    >>> rows, maps = torch.ones(1, 5, 8), torch.ones(1, 5, 3)
    >>> x = ScanInputs(rows, rows[..., :2], -torch.ones(8, 3), maps, maps, *[None] * 5, True, False, torch.ones(8, 2))
    >>> as_taken_by(ReferenceBackend(), x).delta.shape
    torch.Size([1, 5, 8])
    """
    if x.delta_weight is None or (backend.multiplies_step_sizes and _is_simple(x)):
        return x
    # a contiguous transpose of the few columns lets both gradients be multiplied in a third of the time on CPUs
    weight = x.delta_weight.to(x.delta.dtype).t().contiguous()
    return x._replace(delta=x.delta @ weight, delta_weight=None)  # [B, L, D]


def _is_simple(x: ScanInputs) -> bool:
    """Whether all is in float32, without gradients, and no compiler, transform or profiler looks on."""
    types = (x.u.dtype, x.delta.dtype, None if x.delta_weight is None else x.delta_weight.dtype)
    return all(kind == torch.float32 for kind in types) and not x.needs_grad() and is_plain(x.u)
