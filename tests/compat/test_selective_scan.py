"""The test of the selective scan that mamba_ssm has (tests/ops/test_selective_scan.py), written anew.

Parameters, inputs and tolerances are its own; the truth is a loop over time in float64. Only the sizes of the fast part
are smaller.
"""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lobes.errors import UserError

BATCH, CHANNELS, STATES = 2, 4, 8
TOLERANCE = {torch.float32: (6e-4, 2e-3), torch.float16: (3e-3, 5e-3), torch.bfloat16: (3e-2, 5e-2)}
SWITCHES = [dict(zip("Dzbs", on, strict=True)) for on in itertools.product([True, False], repeat=4)]
VARIABLE = [(True, True, 1), (True, True, 2), (False, True, 1), (True, False, 1), (False, False, 1)]

pytestmark = pytest.mark.usefixtures("stand_in")


def make(steps: int, dtype: torch.dtype, variable: tuple[bool, bool, int], switches: dict[str, bool]) -> dict:
    """Inputs as in mamba_ssm's test, by the names of the arguments."""
    generator = torch.Generator().manual_seed(0)
    groups = variable[2]

    def maps(changes: bool) -> Tensor:
        if not changes:
            return torch.randn(CHANNELS, STATES, generator=generator)
        shape = (BATCH, STATES, steps) if groups == 1 else (BATCH, groups, STATES, steps)
        return torch.randn(shape, generator=generator).to(dtype)

    rows = (BATCH, CHANNELS, steps)
    inputs = {
        "u": torch.randn(rows, generator=generator).to(dtype),
        "delta": 0.5 * torch.rand(rows, generator=generator).to(dtype),
        "A": -0.5 * torch.rand(CHANNELS, STATES, generator=generator),
        "B": maps(variable[0]),
        "C": maps(variable[1]),
        "D": torch.randn(CHANNELS, generator=generator) if switches["D"] else None,
        "z": torch.randn(rows, generator=generator).to(dtype) if switches["z"] else None,
        "delta_bias": 0.5 * torch.rand(CHANNELS, generator=generator) if switches["b"] else None,
    }
    return {name: tensor for name, tensor in inputs.items() if tensor is not None}


def loop(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
    """y [B, D, L] and the last state [B, D, N], one step after another."""
    delta = delta if delta_bias is None else delta + delta_bias[:, None]
    delta = F.softplus(delta) if delta_softplus else delta

    def at(maps: Tensor, t: int) -> Tensor:
        if maps.dim() == 2:
            return maps  # [D, N]
        maps = maps[:, None] if maps.dim() == 3 else maps
        return maps[..., t].repeat_interleave(CHANNELS // maps.shape[1], 1)  # [B, D, N]

    h, ys = torch.zeros(BATCH, *A.shape, dtype=u.dtype), []
    for t in range(u.shape[2]):
        h = torch.exp(delta[:, :, t, None] * A) * h + (delta * u)[:, :, t, None] * at(B, t)
        ys.append((h * at(C, t)).sum(-1))
    y = torch.stack(ys, 2)
    y = y if D is None else y + D[:, None] * u
    return (y if z is None else y * F.silu(z)), h


def run(scan, inputs: dict, dtype: torch.dtype | None, **options) -> dict[str, Tensor]:
    """Output, last state and the gradients of all inputs under a random gradient of the output."""
    leaves = {n: x.detach().to(dtype or x.dtype).requires_grad_() for n, x in inputs.items()}
    y, last = scan(**leaves, **options)
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(inputs["u"].dtype)
    y.backward(gradient.to(y.dtype))
    return {"y": y.detach(), "last": last.detach(), **{name: leaf.grad for name, leaf in leaves.items()}}


def check(steps, dtype, variable, switches, scan, **more) -> None:
    inputs = make(steps, dtype, variable, switches)
    got = run(scan, inputs, None, delta_softplus=switches["s"], return_last_state=True, **more)
    truth = run(loop, inputs, torch.float64, delta_softplus=switches["s"])
    assert got["y"].dtype == dtype and got["last"].dtype == torch.float32
    rtol, atol = TOLERANCE[dtype]
    loose = (max(1e-3, rtol), max(1e-3, atol)) if switches["z"] else (1e-3, 1e-3)
    limits = dict.fromkeys(("A", "D", "delta_bias"), loose)
    limits |= {"u": (2 * rtol, 2 * atol), "delta": (5 * rtol, 10 * atol), "A": (loose[0], 5 * loose[1])}
    limits |= {name: loose for name, changes in zip("BC", variable[:2], strict=True) if not changes}
    for name, expected in truth.items():
        rtol_of, atol_of = limits.get(name, (rtol, atol))
        torch.testing.assert_close(
            got[name].double(), expected, rtol=rtol_of, atol=atol_of, msg=lambda m, n=name: f"{n}: {m}"
        )


def name_of(switches: dict[str, bool]) -> str:
    return "".join(name for name, on in switches.items() if on) or "none"


@pytest.mark.parametrize("switches", SWITCHES, ids=name_of)
@pytest.mark.parametrize("variable", VARIABLE, ids=str)
def test_every_switch(variable, switches):
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    check(21, torch.float32, variable, switches, selective_scan_fn)


@pytest.mark.parametrize("switches", [SWITCHES[0], SWITCHES[-1]], ids=name_of)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("variable", VARIABLE, ids=str)
def test_half_precision(variable, dtype, switches):
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    check(21, dtype, variable, switches, selective_scan_fn)


@pytest.mark.parametrize("steps", [1, 8, 128])
def test_lengths(steps):
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    check(steps, torch.float32, (True, True, 2), SWITCHES[0], selective_scan_fn)


@pytest.mark.slow
@pytest.mark.parametrize("switches", [SWITCHES[0], SWITCHES[-1]], ids=name_of)
@pytest.mark.parametrize("steps", [372, 512, 784, 1024, 1134, 2048, 4096])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("variable", VARIABLE[:2], ids=str)
def test_large_lengths(variable, dtype, steps, switches):
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    check(steps, dtype, variable, switches, selective_scan_fn)


@pytest.mark.parametrize("variable", VARIABLE, ids=str)
def test_the_reference_of_the_same_name(variable):
    from mamba_ssm.ops.selective_scan_interface import selective_scan_ref

    check(19, torch.float32, variable, SWITCHES[0], selective_scan_ref)


def test_fast_and_reference_agree_far_below_their_tolerances():
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn, selective_scan_ref

    inputs = make(61, torch.float32, (True, True, 2), SWITCHES[0])
    options = {"delta_softplus": True, "return_last_state": True}
    got, expected = (run(scan, inputs, None, **options) for scan in (selective_scan_fn, selective_scan_ref))
    for name, value in expected.items():
        assert (got[name] - value).abs().max() <= 3e-6 * value.abs().max(), name


def test_one_group_may_serve_the_groups_of_the_other():
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    inputs = make(9, torch.float32, (True, True, 2), SWITCHES[0])
    inputs["C"] = inputs["C"][:, :1]
    y, _ = loop(**{name: tensor.double() for name, tensor in inputs.items()})
    assert torch.allclose(selective_scan_fn(**inputs).double(), y, atol=1e-5)


def test_arguments_go_by_place_in_their_order():
    from mamba_ssm import selective_scan_fn

    inputs = make(9, torch.float32, (True, True, 1), SWITCHES[0])
    y, last = selective_scan_fn(*inputs.values(), True, True)
    expected = loop(*(tensor.double() for tensor in inputs.values()), True)
    assert torch.allclose(y.double(), expected[0], atol=1e-5) and torch.allclose(last.double(), expected[1], atol=1e-5)


def test_the_last_state_has_a_gradient():
    from mamba_ssm import selective_scan_fn

    inputs = make(9, torch.float32, (True, True, 2), SWITCHES[0])
    found = []
    for scan, dtype, more in (
        (selective_scan_fn, torch.float32, {"return_last_state": True}),
        (loop, torch.float64, {}),
    ):
        leaves = {name: tensor.detach().to(dtype).requires_grad_() for name, tensor in inputs.items()}
        scan(**leaves, **more)[1].square().sum().backward()
        found.append(leaves["B"].grad.double())
    assert torch.allclose(*found, rtol=1e-4, atol=1e-5)


def test_complex_A_is_one_line():
    from mamba_ssm import selective_scan_fn

    inputs = make(5, torch.float32, (True, True, 1), SWITCHES[-1])
    inputs["A"] = inputs["A"].to(torch.complex64)
    with pytest.raises(UserError, match="expected real A, B and C, found complex ones.*make A real") as caught:
        selective_scan_fn(**inputs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(BATCH, 3, STATES, 5), (BATCH, 5, STATES), (STATES,)], ids=str)
def test_a_B_of_another_layout_is_refused_with_the_layouts(shape):
    from mamba_ssm import selective_scan_fn

    inputs = make(5, torch.float32, (True, True, 1), SWITCHES[-1])
    inputs["B"] = torch.ones(shape)
    with pytest.raises(ValueError, match=r"B must be \[B, N, L\], \[B, G, N, L\] with D divisible by G, or \[D, N\]"):
        selective_scan_fn(**inputs)
