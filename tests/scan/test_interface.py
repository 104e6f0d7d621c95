"""Choice of backend, precision, and the errors that a caller can make."""

from __future__ import annotations

import logging
import sys

import pytest
import torch

from lobes.errors import UserError
from lobes.scan import backends, selective_scan
from lobes.scan.cpu.numba_backend import ENGINE, NumbaBackend
from lobes.scan.registry import BACKENDS, log_choice


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv("LOBES_SCAN_BACKEND", raising=False)
    log_choice.cache_clear()


@pytest.fixture
def without_numba(monkeypatch):
    """The vector kernels fail at their import."""
    monkeypatch.setitem(sys.modules, ENGINE, None)
    monkeypatch.setitem(BACKENDS, "numba", NumbaBackend())


def chosen(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "lobes.scan.registry"]


def test_backends_on_a_cpu():
    status = backends()
    assert list(status) == ["reference", "torch", "numba", "triton", "mamba_ssm", "kernels"]
    assert status["reference"] == status["torch"] == status["numba"] == "available"
    assert status["mamba_ssm"] == "available" or "cannot be imported" in status["mamba_ssm"]


def test_cpu_takes_numba_and_says_so_once(make, caplog):
    with caplog.at_level(logging.INFO, logger="lobes.scan"):
        for _ in range(3):
            selective_scan(**make(1, 4, 3, 2))
    assert chosen(caplog) == ["selective scan on cpu: backend numba (auto)"]


def test_float64_takes_torch_and_says_why(make, caplog):
    with caplog.at_level(logging.INFO, logger="lobes.scan"):
        y = selective_scan(**{name: tensor.double() for name, tensor in make(1, 4, 3, 2).items()})
    assert y.dtype == torch.float64 and caplog.records[-1].levelname == "INFO"
    assert "backend torch (auto; not numba: numba computes in float32" in chosen(caplog)[0]


def test_without_numba_auto_takes_torch_and_the_name_fails(make, without_numba, caplog):
    with caplog.at_level(logging.INFO, logger="lobes.scan"):
        selective_scan(**make(1, 4, 3, 2))
        selective_scan(**make(1, 4, 3, 2))
    assert backends()["numba"] == (
        "numba cannot be used (ModuleNotFoundError: import of lobes.scan.cpu.vector_engine halted; None in sys.modules)"
    )
    assert chosen(caplog) == [f"selective scan on cpu: backend torch (auto; not numba: {backends()['numba']})"]
    assert caplog.records[-1].levelname == "WARNING"
    with pytest.raises(UserError, match="backend='numba' cannot run: numba cannot be used"):
        selective_scan(**make(1, 4, 3, 2), backend="numba")


def test_environment_names_the_backend_and_an_argument_wins(make, monkeypatch, caplog):
    monkeypatch.setenv("LOBES_SCAN_BACKEND", "reference")
    with caplog.at_level(logging.INFO, logger="lobes.scan"):
        selective_scan(**make(1, 4, 3, 2))
        selective_scan(**make(1, 4, 3, 2), backend="torch")
    assert "backend reference (LOBES_SCAN_BACKEND=reference)" in chosen(caplog)[0]
    assert "backend torch (backend='torch')" in chosen(caplog)[1]


def test_misspelt_backend_names_the_nearest(make, monkeypatch):
    with pytest.raises(UserError, match="backend='numbas' is not a backend.*Did you mean 'numba'"):
        selective_scan(**make(1, 4, 3, 2), backend="numbas")
    monkeypatch.setenv("LOBES_SCAN_BACKEND", "trch")
    with pytest.raises(UserError, match="LOBES_SCAN_BACKEND=trch is not a backend.*Did you mean 'torch'"):
        selective_scan(**make(1, 4, 3, 2))


def test_a_named_backend_never_falls_back(make, monkeypatch):
    double = {name: tensor.double() for name, tensor in make(1, 4, 3, 2).items()}
    with pytest.raises(
        UserError, match="backend='numba' cannot run: numba computes in float32, and u is torch.float64"
    ):
        selective_scan(**double, backend="numba")
    monkeypatch.setenv("LOBES_SCAN_BACKEND", "numba")
    with pytest.raises(UserError, match="LOBES_SCAN_BACKEND=numba cannot run"):
        selective_scan(**double)


@pytest.mark.parametrize("backend", ["reference", "torch", "numba"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(make, backend, dtype):
    half = {name: tensor.to(dtype).requires_grad_() for name, tensor in make(2, 30, 8, 4).items()}
    y, last = selective_scan(**half, delta_softplus=True, return_last_state=True, backend=backend)
    full = {name: tensor.detach().float() for name, tensor in half.items()}
    expected, expected_last = selective_scan(**full, delta_softplus=True, return_last_state=True, backend=backend)
    assert y.dtype == dtype and last.dtype == torch.float32
    assert torch.equal(y, expected.to(dtype)) and torch.equal(last, expected_last)
    y.sum().backward()
    assert all(tensor.grad.dtype == dtype for tensor in half.values())


@pytest.mark.parametrize("backend", ["reference", "torch", "numba"])
def test_autocast_does_not_lower_the_precision(make, run, backend):
    inputs = make(2, 30, 8, 4)
    expected = run(inputs, backend=backend)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = run(inputs, backend=backend)
    assert all(torch.equal(got[name], expected[name]) for name in expected)


@pytest.mark.parametrize("backend", ["reference", "torch", "numba"])
def test_the_default_dtype_of_torch_plays_no_part(make, run, backend):
    inputs = make(2, 18, 8, 4, absent=("D", "initial_state"))
    expected = run(inputs, backend=backend)
    torch.set_default_dtype(torch.float64)
    try:
        got = run(inputs, backend=backend)
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_no_grad_stores_no_states(make, monkeypatch):
    seen, backend = [], BACKENDS["numba"]
    original = backend.forward
    monkeypatch.setattr(backend, "forward", lambda x, save, *rest: seen.append(save) or original(x, save, *rest))
    inputs = {name: tensor.requires_grad_() for name, tensor in make(1, 4, 3, 2).items()}
    selective_scan(**inputs)
    with torch.no_grad():
        selective_scan(**inputs)
    assert seen == [True, False]


WRONG = {"delta": (2, 5, 4), "A": (4, 2), "B": (2, 6, 3), "C": (2, 3, 6), "D": (4,), "z": (2, 3, 6)}


@pytest.mark.parametrize("name, shape", [*WRONG.items(), ("delta_bias", (1,)), ("initial_state", (2, 2, 3))])
def test_a_wrong_shape_names_the_argument_and_both_shapes(make, name, shape):
    inputs = make(2, 6, 3, 2)
    inputs[name] = torch.zeros(shape)
    with pytest.raises(ValueError) as raised:
        selective_scan(**inputs)
    assert f"selective_scan: {name} must have shape [" in str(raised.value)
    assert f"got {list(shape)}" in str(raised.value)


def test_other_wrong_arguments(make):
    x = make(2, 6, 3, 2)
    with pytest.raises(ValueError, match=r"u must be \[B, L, D\] with D >= 1, got \[6, 3\]"):
        selective_scan(**{**x, "u": x["u"][0]})
    with pytest.raises(ValueError, match=r"D >= 1, got \[2, 6, 0\]"):
        selective_scan(**{**x, "u": x["u"][..., :0]})
    with pytest.raises(ValueError, match=r"A must be \[D, N\], got \[3\]"):
        selective_scan(**{**x, "A": x["A"][:, 0]})
    with pytest.raises(TypeError, match="u must be a real floating-point tensor, got torch.int64"):
        selective_scan(**{**x, "u": x["u"].long()})
    with pytest.raises(TypeError, match="A must be a real floating-point tensor, got torch.complex64"):
        selective_scan(**{**x, "A": x["A"].to(torch.complex64)})
    with pytest.raises(ValueError, match="B is on meta, expected u's device cpu"):
        selective_scan(**{**x, "B": x["B"].to("meta")})


def test_wrong_lengths(make):
    x = make(2, 6, 3, 2)
    with pytest.raises(TypeError, match="lengths must be integers.*got torch.float32.*lobes.nnet.lengths"):
        selective_scan(**x, lengths=torch.tensor([1.0, 0.5]))
    with pytest.raises(ValueError, match=r"lengths must have shape \[2\], got \[3\]"):
        selective_scan(**x, lengths=torch.tensor([1, 2, 3]))
    for wrong in ([7, 1], [-1, 2]):
        with pytest.raises(ValueError, match=r"lengths must lie in 0..6 \(L\), got"):
            selective_scan(**x, lengths=torch.tensor(wrong))


def test_an_empty_batch(make):
    for backend in ("reference", "torch", "numba"):
        y, last = selective_scan(**make(0, 4, 3, 2), return_last_state=True, backend=backend)
        assert y.shape == (0, 4, 3) and last.shape == (0, 3, 2)
