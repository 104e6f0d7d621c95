"""The cost of a model: parameters, multiply-accumulates and scan operations for a stretch of audio.

The network runs once on tensors that have shapes and no values (fake tensors), so a count takes a second or two where
the real thing takes minutes. Counted: every matrix product and convolution that PyTorch executes, whoever calls it, and
every selective scan by formula. Not counted: STFTs, norms, activations and other element-wise work.

A scan over L steps of D channels with N states costs 9 L D N operations, and L D each for its skip connection and its
gate: the count of the Mamba authors' own tool, which all SPMamba figures in print use. These are operations, not
multiply-accumulates; they are added as they are, and shown apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lobes.errors import UserError
from lobes.models import get_model, list_models
from lobes.models.registry import preset_meta
from lobes.nnet.selective import SelectiveParts

FACTS = ("receptive_field", "compared", "source")  # what the meta of every preset has to say
HEADER = (
    "| Preset | Parameters | GMAC/s | of which scan | Sample rate | Causal | Receptive field | Compared | Published "
    "| Source |"
)


def _scan_operations(
    u: Sequence[int], delta: Sequence[int], A: Sequence[int], B: Any, C: Any, D: Any, z: Any, *_: Any, **__: Any
) -> int:
    """Operations of a scan from the shapes of u [B, L, D], A [D, N], and D and z, which may be None."""
    elements, extras = prod(u), (D is not None) + (z is not None)
    return 9 * elements * A[-1] + extras * elements


def _lstm_flops(x: Sequence[int], input_weight: Sequence[int], hidden_weight: Sequence[int], *_: Any, **__: Any) -> int:
    """Every weight of one direction, once for each step: x [L, B, D], weights [4 H, D] and [4 H, H]."""
    return 2 * x[0] * x[1] * (prod(input_weight) + prod(hidden_weight))


def _conv_flops(x: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    """A causal depthwise convolution with the padding at its end: x [B, L, D], weight [D, 1, K]."""
    batch, steps, channels = x
    return 2 * batch * (steps + weight[-1] - 1) * channels * weight[-1]


# Multiply-accumulates count twice, as the counter does; scans count operations.
FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.lobes.selective_scan: _scan_operations,
    torch.ops.lobes.conv_silu: _conv_flops,
    torch.ops.aten.mkldnn_rnn_layer: _lstm_flops,  # what an LSTM is on CPUs; elsewhere matrix products
}


@dataclass(frozen=True)
class Complexity:
    """The cost of one forward pass.

    `parameters` is how many numbers training changes, `matmul` the multiply-accumulates of matrix products and
    convolutions, `scan` the operations of the selective scans, 9 L D N + 2 L D for each sequence.

    Example
    -------
    >>> Complexity(parameters=10, matmul=300, scan=90).total
    390
    """

    parameters: int
    matmul: int
    scan: int

    @property
    def total(self) -> int:
        """Multiply-accumulates and scan operations together."""
        return self.matmul + self.scan


def count(model: nn.Module, seconds: float = 1.0) -> Complexity:
    """Count what `model` costs for one mixture of the given length.

    Arguments
    ---------
    model : nn.Module
        A network with the attribute `sample_rate` that takes a mixture [B, T].
    seconds : float
        Length of the mixture. The cost of networks with attention grows faster than linearly with it.

    Returns
    -------
    complexity : Complexity

    Raises
    ------
    UserError
        If the model's selective scans run in a backend that is no operator of PyTorch, and so cannot be counted.

    Example
    -------
    >>> class Half(torch.nn.Linear):
    ...     sample_rate = 8000
    >>> count(Half(80, 40), seconds=0.01)
    Complexity(parameters=3240, matmul=3200, scan=0)
    """
    rate = int(model.sample_rate)  # type: ignore[arg-type]
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    # The mode is not entered: what the network derives from lengths keeps its values, only what touches `mix` has none.
    mix = FakeTensorMode(allow_non_fake_inputs=True).from_tensor(torch.zeros(1, round(seconds * rate)))
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    # attention in its plain form is made of matrix products, which the counter knows on every device
    with torch.no_grad(), _evaluating(model), sdpa_kernel(SDPBackend.MATH), counter:
        model(mix)
    counts = counter.get_flop_counts().get("Global", {})
    scan = counts.pop(torch.ops.lobes.selective_scan, 0)
    _check_scans_were_seen(model, scan)
    return Complexity(parameters, sum(counts.values()) // 2, scan)


def table(presets: list[str] | None = None) -> str:
    """Make the README's model table: every preset with its usual sources, for one second of audio at its own rate.

    Arguments
    ---------
    presets : list of str, optional
        The rows; all of `list_models()` if not given.

    Returns
    -------
    markdown : str
        Lines of a table, the first two its head.

    Example
    -------
    >>> print(table(["convtasnet_tiny"]).splitlines()[0].split(" | ")[1])
    Parameters
    """
    rows = [_row(preset) for preset in (list_models() if presets is None else presets)]
    return "\n".join([HEADER, "|---|---:|---:|---:|---:|---|---|---|---|---|", *rows])


def _row(preset: str) -> str:
    known = preset_meta(preset)
    for key in FACTS:
        if key not in known:
            raise UserError(f"{preset}: expected {key} in the preset's meta for the model table, found none")
    model = get_model(preset)
    cost = count(model)
    cells = [
        f"`{preset}`",
        f"{cost.parameters:,}",
        f"{cost.total / 1e9:.2f}",
        f"{cost.scan / 1e9:.2f}",
        str(model.sample_rate),
        "yes" if model.causal else "no",
        known["receptive_field"],
        known["compared"],
        known.get("published", "-"),
        known["source"],
    ]
    return "| " + " | ".join(cells) + " |"


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Keep dropout and running statistics out of it, then go back."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _check_scans_were_seen(model: nn.Module, scan: int) -> None:
    if not scan and any(isinstance(module, SelectiveParts) for module in model.modules()):
        raise UserError(
            "the model has selective scans, and none could be counted: the backend 'reference' is not an operator of "
            "PyTorch. Choose another one (the argument `backend`, the environment variable LOBES_SCAN_BACKEND)."
        )
