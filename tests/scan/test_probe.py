"""GPU backends are tried on a small scan before they are taken. Here the device is the CPU; packages are stubs."""

from __future__ import annotations

import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from lobes.scan import backends
from lobes.scan.cuda import kernels_backend, probe, triton_backend
from lobes.scan.cuda.kernels_backend import KernelsBackend
from lobes.scan.cuda.mamba_ssm_backend import MambaSSMBackend
from lobes.scan.cuda.triton_backend import TritonBackend
from lobes.scan.inputs import Facts
from lobes.scan.registry import BACKENDS, FASTEST, choose, log_choice
from lobes.scan.trial import by_autograd, by_passes

ON_CUDA = Facts("cuda", torch.float32, 16, False, False, True)


def authors_scan(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False):
    """mamba_ssm's signature and layout: u, delta, z [B, D, L]; B, C [B, N, L]."""
    dt = delta if delta_bias is None else delta + delta_bias[:, None]
    dt = F.softplus(dt) if delta_softplus else dt
    h, ys = torch.zeros(u.shape[0], *A.shape), []
    for t in range(u.shape[2]):
        h = torch.exp(dt[:, :, t, None] * A) * h + (dt * u)[:, :, t, None] * B[:, None, :, t]
        ys.append((h * C[:, None, :, t]).sum(-1))
    y = torch.stack(ys, 2) + D[:, None] * u
    return y * F.silu(z), h.detach()


def wrong_scan(*inputs, **options):
    y, last = authors_scan(*inputs, **options)
    return y * 1.01, last


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Backends that have looked for nothing yet, on a machine whose CUDA device is its CPU."""
    for module in (probe, kernels_backend):
        monkeypatch.setattr(module, "current_device", lambda: "cpu")
    for name, backend in (("mamba_ssm", MambaSSMBackend), ("kernels", KernelsBackend), ("triton", TritonBackend)):
        monkeypatch.setitem(BACKENDS, name, backend())
    monkeypatch.delenv("LOBES_SCAN_BACKEND", raising=False)
    log_choice.cache_clear()
    yield
    log_choice.cache_clear()


def install(monkeypatch, name: str, function) -> list:
    """A stub of mamba_ssm, or of the hub with `function` at its top; returns the calls of the hub."""
    calls: list = []
    interface = ModuleType("mamba_ssm.ops.selective_scan_interface")
    interface.selective_scan_fn = function
    hub = ModuleType("kernels")
    hub.get_kernel = lambda *asked, **more: calls.append((asked, more)) or SimpleNamespace(selective_scan_fn=function)
    modules = {"kernels": hub} if name == "kernels" else {interface.__name__: interface}
    for stub in () if name == "kernels" else ("selective_scan_cuda", "mamba_ssm", "mamba_ssm.ops"):
        modules[stub] = ModuleType(stub)
    for stub, module in modules.items():
        monkeypatch.setitem(sys.modules, stub, module)
    return calls


@pytest.mark.parametrize("name", ["mamba_ssm", "kernels"])
def test_a_kernel_that_agrees_is_available(monkeypatch, name):
    calls = install(monkeypatch, name, authors_scan)
    assert backends()[name] == backends()[name] == "available"
    assert calls == ([(("kernels-community/mamba-ssm",), {"version": 1})] if name == "kernels" else [])


@pytest.mark.parametrize("name", ["mamba_ssm", "kernels"])
def test_a_kernel_that_is_wrong_is_not(monkeypatch, name):
    install(monkeypatch, name, wrong_scan)
    assert backends()[name].startswith(f"a small scan fails on cpu (ValueError: a small call of {name} is off by ")


def test_the_hubs_function_may_lie_deeper(monkeypatch):
    install(monkeypatch, "kernels", authors_scan)
    package, interface = ModuleType("hub_1"), ModuleType("hub_1.ops.selective_scan_interface")
    interface.selective_scan_fn = authors_scan
    for module in (package, ModuleType("hub_1.ops"), interface):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys.modules["kernels"], "get_kernel", lambda *asked, **more: package)
    assert backends()["kernels"] == "available"


def test_the_hub_is_asked_only_on_a_device_and_only_by_name(monkeypatch):
    """It would fetch code from the network."""
    calls = install(monkeypatch, "kernels", authors_scan)
    monkeypatch.setattr(kernels_backend, "current_device", lambda: None)
    assert "there is no CUDA device" in backends()["kernels"] and not calls
    assert all("kernels" not in names for names in FASTEST.values())


def test_without_the_package_the_reason_is_its_import(monkeypatch):
    monkeypatch.setitem(sys.modules, "kernels", None)
    assert "its CUDA kernel cannot be imported (ModuleNotFoundError" in backends()["kernels"]


@pytest.fixture
def device(monkeypatch):
    """Triton believes that there is a GPU."""
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(triton_backend, "interpreted", lambda: False)


def test_auto_steps_down_with_the_reason(monkeypatch, device, caplog):
    """Triton refuses an old card, or finds no ptxas, at the first launch."""

    def launch(*arguments):
        raise RuntimeError("PTXASError: no ptxas was found\n" + "and more " * 100)

    monkeypatch.setattr(BACKENDS["triton"], "forward", launch)
    monkeypatch.setitem(sys.modules, "selective_scan_cuda", None)
    with caplog.at_level(logging.INFO, logger="lobes.scan"):
        assert choose("auto", *ON_CUDA) == choose("auto", *ON_CUDA) == "torch"
    (record,) = [record for record in caplog.records if record.name == "lobes.scan.registry"]
    assert record.levelname == "WARNING" and len(record.getMessage()) < 900
    assert "not triton: a small scan fails on cpu (RuntimeError: PTXASError: no ptxas was found" in record.getMessage()


@pytest.mark.parametrize("system", ["", "ROCm", "Windows"])
def test_untested_systems_say_so(monkeypatch, device, caplog, system):
    monkeypatch.setattr(BACKENDS["triton"], "forward", BACKENDS["numba"].forward)
    monkeypatch.setattr(BACKENDS["triton"], "backward", BACKENDS["numba"].backward)
    assert BACKENDS["numba"].unavailable() is None
    monkeypatch.setattr(probe, "untested", lambda: system)
    assert backends()["triton"] == "available"
    assert [f"untested on {system}" in text for text in caplog.messages] == ([True] if system else [])


def test_rocm_is_recognised(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert probe.untested() == "ROCm"


def test_the_trial_finds_a_wrong_gradient():
    assert BACKENDS["numba"].unavailable() is None
    got, truth = by_passes(BACKENDS["numba"]), by_autograd()
    assert len(got) == len(truth) == 11
    for one, other in zip(got, truth, strict=True):
        assert torch.allclose(one, other, atol=1e-5 * float(other.abs().max()))
