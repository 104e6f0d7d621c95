"""Multiply-accumulates of a network by kind: what an operation does with the signal, whatever PyTorch calls it.

The network runs once on tensors that have shapes and no values (fake tensors), so a count takes a second or two where
the real thing takes minutes. Counted is every matrix product and convolution that PyTorch executes, whoever calls it,
and by formula the cells of LSTMs, the selective scans and the Fourier transforms. Norms, activations and other
element-wise work are not.

A product belongs to the kind `attention` where both of its factors follow from the signal, as queries and keys do, and
to `linear` where one is made of weights: tensors with values are weights, those without follow from the signal. The
matrix memories of Mamba-2 and of the mLSTM run in chunks, as products within a chunk and with a state: they are
attention in this sense, and no scan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import log2, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lobes.errors import UserError
from lobes.nnet.selective import SelectiveParts
from lobes.nnet.slices import uncut

KINDS = ("linear", "convolution", "recurrent", "attention", "scan", "stft", "other")
LEFT_OUT = ("stft",)  # of sums, as counting tools do

aten, ours = torch.ops.aten, torch.ops.lobes
PRODUCTS = (aten.mm, aten.addmm, aten.bmm, aten.baddbmm)
KIND_OF = {
    **dict.fromkeys((aten.convolution, aten._convolution, ours.conv_silu), "convolution"),
    **dict.fromkeys((aten._fft_r2c, aten._fft_c2r), "stft"),
    aten.mkldnn_rnn_layer: "recurrent",  # what an LSTM is on CPUs
    ours.selective_scan: "scan",
}


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


def _fft_flops(x: Sequence[int], dim: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
    """2.5 N log2 N for each real transform of N points: the convention of fftw.org/speed/method.html."""
    longer = max(x, out_shape, key=prod)  # the real side; the other has half of the bins
    return round(2.5 * prod(longer) * log2(max(prod(longer[one] for one in dim), 2)))


# Multiply-accumulates count twice, as the counter does; scans count operations.
FORMULAS: dict[Any, Callable[..., int]] = {
    ours.selective_scan: _scan_operations,
    ours.conv_silu: _conv_flops,
    aten.mkldnn_rnn_layer: _lstm_flops,
    aten._fft_r2c: _fft_flops,
    aten._fft_c2r: _fft_flops,
}


class KindCounter(FlopCounterMode):
    """PyTorch's counter, which also says of what kind the operations are: twice the multiply-accumulates by kind.

    Arguments
    ---------
    model : nn.Module
        Whose LSTMs, GRUs and RNNs are the kind `recurrent`, whatever operators they are made of.

    Example
    -------
    >>> layer = nn.Linear(4, 3)
    >>> with KindCounter(layer) as counter:
    ...     _ = layer(FakeTensorMode(allow_non_fake_inputs=True).from_tensor(torch.zeros(2, 4)))
    >>> counter.flops
    Counter({'linear': 48})
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(display=False, custom_mapping=FORMULAS)
        named = model.named_modules(prefix=type(model).__name__, remove_duplicate=False)
        self.recurrent = {name for name, module in named if isinstance(module, nn.RNNBase)}
        self.flops: Counter[str] = Counter()

    def _count_flops(self, func_packet: Any, out: Any, args: Any, kwargs: Any) -> Any:
        """What PyTorch's counter calls for each operation, after it ran."""
        if func_packet in self.flop_registry:
            formula: Any = self.flop_registry[func_packet]
            self.flops[self._kind(func_packet, args)] += formula(*args, **kwargs, out_val=out)
        return out

    def _kind(self, operation: Any, args: Sequence[Any]) -> str:
        if not self.recurrent.isdisjoint(self.mod_tracker.parents):
            return "recurrent"
        if operation in PRODUCTS:
            factors = [one for one in args if isinstance(one, Tensor)][-2:]
            return "attention" if all(isinstance(one, FakeTensor) for one in factors) else "linear"
        return KIND_OF.get(operation, "other")


def macs_by_kind(model: nn.Module, seconds: float = 1.0) -> dict[str, int]:
    """Count the multiply-accumulates of `model` for one mixture, by kind.

    `scan` are operations and not multiply-accumulates: 9 L D N for each sequence of L steps, D channels and N states,
    and L D each for its skip connection and its gate, the count of the Mamba authors' own tool. `stft` are half the
    operations of a fast Fourier transform; no sum has them.

    Arguments
    ---------
    model : nn.Module
        A network with the attribute `sample_rate` that takes a mixture [B, T].
    seconds : float
        Length of the mixture. The cost of networks with attention grows faster than linearly with it.

    Returns
    -------
    counts : dict of str to int
        For each of `KINDS`.

    Raises
    ------
    UserError
        If the model's selective scans run in a backend that is no operator of PyTorch, and so cannot be counted.

    Example
    -------
    >>> class Half(torch.nn.Linear):
    ...     sample_rate = 8000
    >>> macs_by_kind(Half(80, 40), seconds=0.01)["linear"]
    3200
    """
    rate = int(model.sample_rate)  # type: ignore[arg-type]
    # The mode is not entered: what the network derives from lengths keeps its values, only what touches `mix` has none.
    mix = FakeTensorMode(allow_non_fake_inputs=True).from_tensor(torch.zeros(1, round(seconds * rate)))
    counter = KindCounter(model)
    # attention in its plain form is made of matrix products, which the counter knows on every device
    with torch.no_grad(), _evaluating(model), sdpa_kernel(SDPBackend.MATH), uncut(), counter:
        model(mix)
    _check_scans_were_seen(model, counter.flops["scan"])
    return {kind: counter.flops[kind] // (1 if kind == "scan" else 2) for kind in KINDS}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Keep dropout and running statistics out of it, and operators that hold a whole attention; then go back."""
    training, fast = model.training, torch.backends.mha.get_fastpath_enabled()
    model.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        model.train(training)


def _check_scans_were_seen(model: nn.Module, scan: int) -> None:
    if not scan and any(isinstance(module, SelectiveParts) for module in model.modules()):
        raise UserError(
            "the model has selective scans, and none could be counted: the backend 'reference' is not an operator of "
            "PyTorch. Choose another one (the argument `backend`, the environment variable LOBES_SCAN_BACKEND)."
        )
