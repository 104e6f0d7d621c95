"""A GPU that there is not: tensors on `cuda` with shapes and types, and no values, on a machine with a CPU alone.

`FakeCuda` runs what touches such a tensor in PyTorch's FakeTensorMode, which refuses tensors on different devices, and
refuses what would wait for the device: reading a value, a copy to the CPU, a shape that depends on values. All else
runs on the CPU as ever, so that lengths keep their values.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.autograd.function import BackwardCFunction
from torch.nn.utils.rnn import PackedSequence
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)
PLACES = ("lobes", "speechbrain")  # packages whose lines are named as the place of a reading
aten = torch.ops.aten
DEPENDS_ON_VALUES = (
    aten.nonzero.default, aten.masked_select.default, aten._unique2.default, aten.unique_dim.default,
    aten.unique_consecutive.default, aten.equal.default, aten.bincount.default,
)  # fmt: skip


class ReadsTheDevice(AssertionError):
    """A line waits for the GPU."""


class FakeCuda(TorchDispatchMode):
    """Within it `device="cuda"` gives tensors without values.

    Arguments
    ---------
    allowed : dict
        (file, function) -> the reason for which this function may read from the device. It reads ones.
    """

    def __init__(self, allowed: dict[tuple[str, str], str] | None = None) -> None:
        super().__init__()
        self.allowed = allowed or {}
        self.reads: list[tuple[str, str]] = []
        self.sent: list[tuple[str, str]] = []  # where values went from the CPU to the GPU
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)

    def __enter__(self) -> FakeCuda:
        self.fake.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.fake.__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = options or {}
        leaves = tree_leaves((arguments, options))
        if not any(_is_on_cuda(leaf) for leaf in leaves):
            with unset_fake_temporarily():
                return function(*arguments, **options)
        if _reads(function, arguments, options):
            self._note(function)
            return _ones_for(function, arguments, options)
        if function is aten._pack_padded_sequence.default:
            return _packed(*arguments)
        if any(_is_sent(leaf) for leaf in leaves):
            self.sent.append(_place())
        return function(*arguments, **options)

    def _note(self, function: Any) -> None:
        place = _place()
        self.reads.append(place)
        if place not in self.allowed:
            raise ReadsTheDevice(f"{place[0]}, in {place[1]}: {function} waits for the device")


def _is_on_cuda(leaf: Any) -> bool:
    if isinstance(leaf, torch.device):
        return leaf.type == "cuda"
    return isinstance(leaf, FakeTensor)


def _is_sent(leaf: Any) -> bool:
    """Whether a tensor must be copied to the GPU before an operation there: a single number goes with the call."""
    return isinstance(leaf, Tensor) and not isinstance(leaf, FakeTensor) and leaf.dim() > 0


def _reads(function: Any, arguments: Any, options: Any) -> bool:
    """Whether an operation on tensors of the GPU needs their values on the CPU."""
    if function is aten._local_scalar_dense.default or function in DEPENDS_ON_VALUES:
        return True
    if function is aten._to_copy.default:
        device = options.get("device")
        return device is not None and torch.device(device).type == "cpu"
    if function is aten.copy_.default:
        return not isinstance(arguments[0], FakeTensor)
    indices = arguments[1] if function in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default) else ()
    return any(index is not None and index.dtype == torch.bool for index in indices)


def _ones_for(function: Any, arguments: Any, options: Any) -> Any:
    """What an allowed reading gives: ones of the right type; of a choice by truth values, everything."""
    tensor = arguments[0]
    if function is aten._local_scalar_dense.default:
        return 1.0 if tensor.is_floating_point() else _one(tensor.dtype)
    if function in (aten._to_copy.default, aten.copy_.default):
        with unset_fake_temporarily():
            return torch.ones(tuple(tensor.shape), dtype=options.get("dtype") or tensor.dtype)
    if function is aten.index.Tensor:
        return tensor.clone()
    raise ReadsTheDevice(f"{function}: no stand-in")


def _packed(x: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
    """PyTorch packs no tensors without values; the lengths are on the CPU and have theirs."""
    with unset_fake_temporarily():
        sizes = (torch.arange(int(lengths.max()))[:, None] < lengths).sum(1)  # items that are left at each step
        steps = int(sizes.sum())
    return x.new_empty(steps, *x.shape[2:]), sizes


def _one(dtype: torch.dtype) -> bool | int:
    return True if dtype == torch.bool else 1


def _place() -> tuple[str, str]:
    """File and function of the nearest caller in PLACES."""
    frame = sys._getframe(2)
    while frame is not None:
        parts = Path(frame.f_code.co_filename).parts
        found = [at for at, part in enumerate(parts) if part in PLACES]
        if found:
            return "/".join(parts[found[-1] :]), frame.f_code.co_name
        frame = frame.f_back
    return "?", "?"


def placed(module: nn.Module, mode: FakeCuda) -> nn.Module:
    """The module with parameters and buffers made anew on the GPU that there is not; other tensors stay on the CPU."""
    for part in module.modules():
        for group in (part._parameters, part._buffers):
            for name, tensor in group.items():
                if tensor is not None:
                    group[name] = _on_cuda(tensor, mode)
    return module


def _on_cuda(tensor: Tensor, mode: FakeCuda) -> Tensor:
    with mode:
        made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=CUDA)
    return nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made


def backward(loss: Tensor, *_: Any, **__: Any) -> None:
    """Walk back through the graph of a scalar by hand: the engine of autograd would ask the driver for its streams."""
    pending: dict[Any, dict[int, Tensor]] = {loss.grad_fn: {0: torch.ones_like(loss)}}
    for node in reversed(_from_leaves(loss.grad_fn)):
        got = pending.pop(node, {})
        if type(node).__name__ == "AccumulateGrad":
            _accumulate(node.variable, got)
        elif got:
            _back(node, got, pending)


def _from_leaves(root: Any) -> list[Any]:
    """The nodes of a graph, each after those that follow it on the way back."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(following, False) for following, _ in node.next_functions if following is not None]
    return order


def _accumulate(leaf: Tensor, got: dict[int, Tensor]) -> None:
    for gradient in got.values():
        leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient


def _back(node: Any, got: dict[int, Tensor], pending: dict[Any, dict[int, Tensor]]) -> None:
    """Run one node, and add its gradients, in the shapes and types of what they belong to, to the nodes that follow."""
    call = node.apply if isinstance(node, BackwardCFunction) else node
    with torch.no_grad():
        made = call(*(got.get(place) for place in range(len(node._input_metadata))))
    gradients, edges = made if isinstance(made, tuple) else (made,), node.next_functions
    if call is not node:  # a function in Python also has None for what is no tensor, which has no edge
        gradients, edges = (g for g in gradients if g is not None), (edge for edge in edges if edge[0] is not None)
    for gradient, (following, place) in zip(gradients, edges, strict=False):
        if gradient is None or following is None:
            continue
        wanted = following._input_metadata[place]
        assert gradient.device == wanted.device, (node, gradient.device, wanted.device)
        gradient = gradient.sum_to_size(wanted.shape).to(wanted.dtype)
        slot = pending.setdefault(following, {})
        slot[place] = slot[place] + gradient if place in slot else gradient


def lstm(self: nn.LSTM, data: Any, state: Any = None) -> Any:
    """For `torch.nn.LSTM.forward`, which asks the driver whether cuDNN suits: shapes and weights of an LSTM."""
    x = data.data if isinstance(data, PackedSequence) else data
    ways = 2 if self.bidirectional else 1
    for layer in range(self.num_layers):
        weights = self.all_weights[layer * ways : (layer + 1) * ways]
        x = torch.cat([_gate(x, self.hidden_size, *way) for way in weights], -1)
    if isinstance(data, PackedSequence):
        return PackedSequence(x, data.batch_sizes, data.sorted_indices, data.unsorted_indices), None
    batch = x.shape[0 if self.batch_first else 1]
    last = x.new_zeros(self.num_layers * ways, batch, self.hidden_size)
    return x, (last, last)


def _gate(x: Tensor, units: int, inner: Tensor, outer: Tensor, *bias: Tensor) -> Tensor:
    """One gate of an LSTM [..., H], from a hidden state of zeros."""
    first, second = bias or (None, None)
    hidden = x.new_zeros(*x.shape[:-1], units)
    return (nn.functional.linear(x, inner, first) + nn.functional.linear(hidden, outer, second)).chunk(4, -1)[0].tanh()


def a_gpu(allowed: dict[tuple[str, str], str], patch: Any) -> FakeCuda:
    """The mode, with the stand-ins for what asks the driver. `patch` is pytest's monkeypatch."""
    patch.setattr(nn.LSTM, "forward", lstm)
    patch.setattr(torch.Tensor, "backward", backward)
    patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    return FakeCuda(allowed)
