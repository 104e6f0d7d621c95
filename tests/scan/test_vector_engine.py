"""The engine of explicit vectors, called by itself: where its check of a small scan fails, other code runs instead."""

import pytest
import torch

from lobes.scan.inputs import ScanInputs
from lobes.scan.reference import scan_step_by_step
from lobes.scan.registry import BACKENDS

vector_engine = pytest.importorskip("lobes.scan.cpu.vector_engine")


@pytest.mark.parametrize("absent", [(), ("D",), ("z",)], ids=str)
def test_the_engine_equals_the_scan_step_by_step(make, absent):
    BACKENDS["numba"].unavailable()  # from then on numba keeps the compiled kernels on disk
    inputs = make(2, 21, 19, 5)
    tensors = [None if name in absent else tensor for name, tensor in inputs.items()]
    x = ScanInputs(*tensors, torch.tensor([21, 13]), True, False)
    y, last, _ = vector_engine.forward(x, False, True)
    for got, expected in zip((y, last), scan_step_by_step(x), strict=True):
        assert (got - expected).abs().max() <= 3e-6 * expected.abs().max()
