"""The bridge to mamba_ssm's kernel, tried with a stand-in for the package (the real one needs CUDA and nvcc)."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

from lobes.errors import UserError
from lobes.scan import backends, selective_scan
from lobes.scan.cuda.mamba_ssm_backend import MambaSSMBackend
from lobes.scan.inputs import Facts
from lobes.scan.registry import BACKENDS


@pytest.fixture(autouse=True)
def bridge(monkeypatch) -> MambaSSMBackend:
    """A backend that has not looked for the package yet."""
    fresh = MambaSSMBackend()
    monkeypatch.setitem(BACKENDS, "mamba_ssm", fresh)
    return fresh


def channel_first_scan(
    u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False
):  # fmt: skip
    """mamba_ssm's signature and layout: u, delta, z [B, D, L]; B, C [B, N, L]; no gradient for the last state."""
    assert u.is_contiguous() and B.shape[1] == A.shape[1]
    dt = delta if delta_bias is None else delta + delta_bias[:, None]
    dt = F.softplus(dt) if delta_softplus else dt
    h, ys = torch.zeros(u.shape[0], *A.shape), []
    for t in range(u.shape[2]):
        h = torch.exp(dt[:, :, t, None] * A) * h + (dt * u)[:, :, t, None] * B[:, None, :, t]
        ys.append((h * C[:, None, :, t]).sum(-1))
    y = torch.stack(ys, 2) if D is None else torch.stack(ys, 2) + D[:, None] * u
    y = y if z is None else y * F.silu(z)
    return (y, h.detach()) if return_last_state else y


@pytest.fixture
def package(monkeypatch):
    """A mamba_ssm whose kernel imports."""
    interface = ModuleType("mamba_ssm.ops.selective_scan_interface")
    interface.selective_scan_fn = channel_first_scan
    for name in ("selective_scan_cuda", "mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_bridge_agrees_with_the_reference(make, package, bridge, monkeypatch, reverse, padded):
    monkeypatch.setattr(bridge, "refuses", lambda facts: None)  # on CPU tensors
    inputs = make(3, 20, 6, 4, absent=("initial_state",))
    lengths = torch.tensor([20, 7, 1]) if padded else None
    if padded:
        inputs["u"][1, 7:] = float("nan")
    results = []
    for backend in ("mamba_ssm", "reference"):
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
        options = {"delta_softplus": True, "reverse": reverse, "lengths": lengths, "return_last_state": True}
        y, last = selective_scan(**leaves, **options, backend=backend)
        (y * torch.arange(20.0)[:, None]).sum().backward()
        results.append([y, last, *(leaf.grad for leaf in leaves.values())])
    for got, expected in zip(*results, strict=True):
        assert torch.allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_what_the_kernel_cannot_do_is_refused(bridge):
    usual = Facts("cuda", torch.float32, states=16, started=False, wants_last=False, needs_grad=True)
    assert bridge.refuses(usual) is None
    assert "no initial_state" in bridge.refuses(usual._replace(started=True))
    assert "at most 256 states" in bridge.refuses(usual._replace(states=257))
    assert "drop the gradient of the last state" in bridge.refuses(usual._replace(wants_last=True))
    assert "CUDA tensors, and u is on cpu" in bridge.refuses(usual._replace(device="cpu"))


def test_a_cpu_tensor_is_refused_by_name(make, package):
    assert backends()["mamba_ssm"] == "available"
    with pytest.raises(UserError, match="backend='mamba_ssm' cannot run: mamba_ssm runs on CUDA tensors"):
        selective_scan(**make(1, 4, 3, 2), backend="mamba_ssm")


@pytest.mark.parametrize(
    "error", [ImportError("undefined symbol: _ZN3c10"), OSError("libcudart"), RuntimeError("no driver")]
)
def test_every_kind_of_import_failure_is_a_reason(make, monkeypatch, package, error):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "selective_scan_cuda":
                raise error

    monkeypatch.delitem(sys.modules, "selective_scan_cuda")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert f"{type(error).__name__}: {error}" in backends()["mamba_ssm"]
    with pytest.raises(UserError, match="backend='mamba_ssm' cannot run: its CUDA kernel cannot be imported"):
        selective_scan(**make(1, 4, 3, 2), backend="mamba_ssm")


def test_a_package_without_its_kernel_is_not_enough(monkeypatch, package):
    monkeypatch.setitem(sys.modules, "selective_scan_cuda", None)
    assert "cannot be imported" in backends()["mamba_ssm"]
