"""`mamba_inner_fn`: its parts written out, and every optional argument with its gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

pytestmark = pytest.mark.usefixtures("stand_in")

CHANNELS, STATES, RANK, OUT = 6, 4, 2, 5


def make(**more):
    """Arguments of `mamba_inner_fn` for 2 items of 11 steps."""
    normal = torch.randn
    selected = RANK + STATES * sum(name not in more for name in "BC")
    return {
        "xz": normal(2, 2 * CHANNELS, 11),
        "conv1d_weight": normal(CHANNELS, 1, 4),
        "conv1d_bias": normal(CHANNELS),
        "x_proj_weight": normal(selected, CHANNELS),
        "delta_proj_weight": normal(CHANNELS, RANK),
        "out_proj_weight": normal(OUT, CHANNELS),
        "out_proj_bias": normal(OUT),
        "A": -torch.rand(CHANNELS, STATES),
        "D": normal(CHANNELS),
        "delta_bias": normal(CHANNELS),
    } | more


def written_out(
    xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, out_proj_weight, out_proj_bias, A, B=None,
    C=None, D=None, delta_bias=None, B_proj_bias=0, C_proj_bias=0, delta_softplus=True, b_rms_weight=None,
    c_rms_weight=None, dt_rms_weight=None, b_c_dt_rms_eps=1e-6,
):  # fmt: skip
    def norm(rows, weight):
        if weight is None:
            return rows
        return rows / (rows.square().mean(-1, keepdim=True) + b_c_dt_rms_eps).sqrt() * weight

    def over_time(maps):
        maps = maps.expand(2, 11, CHANNELS, STATES) if maps.dim() == 2 else maps.transpose(1, 2)[:, :, None]
        return maps.unbind(1)

    x, z = xz.chunk(2, 1)
    u = F.silu(F.conv1d(x, conv1d_weight, conv1d_bias, padding=3, groups=CHANNELS)[..., :11]).transpose(1, 2)
    dt, rest = (u @ x_proj_weight.T).tensor_split([RANK], -1)
    dt = norm(dt, dt_rms_weight) @ delta_proj_weight.T + (0 if delta_bias is None else delta_bias)
    dt = F.softplus(dt) if delta_softplus else dt
    B = norm(rest[..., :STATES] + B_proj_bias, b_rms_weight).transpose(1, 2) if B is None else B
    C = norm(rest[..., -STATES:] + C_proj_bias, c_rms_weight).transpose(1, 2) if C is None else C
    h, ys = 0, []
    for t, (b, c) in enumerate(zip(over_time(B), over_time(C), strict=True)):
        h = torch.exp(dt[:, t, :, None] * A) * h + (dt * u)[:, t, :, None] * b
        ys.append((h * c).sum(-1))
    y = torch.stack(ys, 1) + (0 if D is None else D * u)
    return F.linear(y * F.silu(z.transpose(1, 2)), out_proj_weight, out_proj_bias)


OPTIONS = {
    "usual": {},
    "no biases": {"conv1d_bias": None, "out_proj_bias": None, "delta_bias": None, "D": None},
    "constant B": {"B": torch.rand(CHANNELS, STATES)},
    "B and C given": {"B": torch.rand(2, STATES, 11), "C": torch.rand(2, STATES, 11)},
    "biases of B and C": {"B_proj_bias": torch.rand(STATES), "C_proj_bias": torch.rand(STATES)},
    "norms of B and C": {"b_rms_weight": torch.rand(STATES), "c_rms_weight": torch.rand(STATES)},
    "norm of dt": {"dt_rms_weight": torch.rand(RANK)},
    "eps": {"b_rms_weight": torch.rand(STATES), "b_c_dt_rms_eps": 0.5},
    "no softplus": {"delta_softplus": False},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_output_and_all_gradients(options):
    from mamba_ssm import mamba_inner_fn

    arguments, found = make(**options), []
    for function, dtype in ((mamba_inner_fn, torch.float32), (written_out, torch.float64)):
        given = {n: v.to(dtype, copy=True).requires_grad_() if torch.is_tensor(v) else v for n, v in arguments.items()}
        y = function(**given)
        y.square().sum().backward()
        found.append({"y": y.detach()} | {name: v.grad for name, v in given.items() if torch.is_tensor(v)})
    for name, expected in found[1].items():
        error = (found[0][name].double() - expected).abs().max() / expected.abs().max()
        assert error <= 1e-4, f"{name}: {error:.1e}"


def test_the_reference_of_the_same_name():
    from mamba_ssm.ops.selective_scan_interface import mamba_inner_fn, mamba_inner_ref

    arguments = make()
    expected = mamba_inner_fn(**arguments)
    assert torch.allclose(mamba_inner_ref(**arguments), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(mamba_inner_fn(**arguments, checkpoint_lvl=0), expected)
