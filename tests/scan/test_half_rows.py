"""The CPU scan on bfloat16 rows, read and written as they are: the bits of float32 copies, and no such copies."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lobes.scan import selective_scan
from lobes.scan.cpu import numba_backend
from lobes.scan.cpu.numba_backend import readable_rows
from lobes.scan.inputs import ScanInputs, cast_rows

vector_engine = pytest.importorskip("lobes.scan.cpu.vector_engine")
ROWS = ("u", "delta", "B", "C", "z")


def half(inputs, rows=ROWS):
    """The rows in bfloat16, as under autocast; parameters and states stay float32."""
    return {name: tensor.bfloat16() if name in rows else tensor for name, tensor in inputs.items()}


def given(inputs, lengths=None, reverse=False):
    names = ScanInputs._fields[:9]
    return ScanInputs(*(inputs.get(name) for name in names), lengths, True, reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [37, 5]], ids=["full", "padded"])
@pytest.mark.parametrize("channels, states, absent", [(70, 16, ()), (32, 5, ("z",)), (33, 4, ("D", "initial_state"))])
def test_results_are_those_of_float32_copies_rounded(make, channels, states, absent, lengths, reverse):
    """The slow counterpart, which `tests/scan/test_agreement.py` compares with the reference."""
    lengths = None if lengths is None else torch.tensor(lengths)
    x = given(half(make(2, 37, channels, states, absent=absent)), lengths, reverse)
    gy = torch.randn(x.u.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    glast = torch.ones(2, channels, states)
    y, last, saved = vector_engine.forward(x, True, True)
    y32, last32, saved32 = vector_engine.forward(cast_rows(x), True, True)
    assert y.dtype == torch.bfloat16 and torch.equal(y, y32.bfloat16())
    assert torch.equal(last, last32) and torch.equal(saved, saved32)
    gradients = vector_engine.backward(x, saved, gy, glast)
    slow = vector_engine.backward(cast_rows(x), saved, gy.float(), glast)
    for name, got, expected in zip(ScanInputs._fields, gradients, slow, strict=False):
        assert got.dtype == (torch.bfloat16 if name in ("u", "delta", "z") else torch.float32)
        if name not in absent:
            assert torch.equal(got, expected.to(got.dtype)), name


class Made(TorchDispatchMode):
    """Keeps the types of all tensors that operations make in a shape."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.types = shape, set()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        if isinstance(result, torch.Tensor) and result.shape == self.shape:
            self.types.add(result.dtype)
        return result


def test_no_row_is_copied_to_float32(make):
    backend, inputs = numba_backend.NumbaBackend(), half(make(2, 20, 40, 4))
    x = given(inputs)
    backend.engine  # noqa: B018  # its own small scan is not counted
    readable_rows(x)
    with Made(x.u.shape) as made:
        y, _, saved = backend.forward(x, True, False)
        backend.backward(x, saved, torch.ones_like(y), None)
    assert made.types == {torch.bfloat16}


@pytest.mark.parametrize("rows", [("u",), ("delta", "z"), ("B", "C")], ids=str)
def test_rows_of_different_types_agree_with_the_reference(make, run, assert_agrees, rows):
    inputs = half(make(2, 20, 19, 4), rows)
    assert cast_rows(given(inputs)).u.dtype == readable_rows(given(inputs)).u.dtype == torch.float32
    y = selective_scan(**inputs, delta_softplus=True, backend="numba")
    truth = selective_scan(**{name: t.double() for name, t in inputs.items()}, delta_softplus=True, backend="reference")
    tolerance = 1e-2 if y.dtype == torch.bfloat16 else 3e-6
    assert y.dtype == inputs["u"].dtype and (y - truth).abs().max() <= tolerance * truth.abs().max()


def test_where_kernels_cannot_read_them_copies_are_made(make, monkeypatch):
    monkeypatch.setattr("lobes.kernels.half_rows.half_rows_work", lambda: False)
    inputs = half(make(1, 9, 8, 4))
    assert readable_rows(given(inputs)).u.dtype == torch.float32
    assert selective_scan(**inputs, backend="numba").dtype == torch.bfloat16
