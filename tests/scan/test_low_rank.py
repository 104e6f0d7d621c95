"""Scans whose step sizes are a product of low rank, against scans of the product."""

from __future__ import annotations

import pytest
import torch

from lobes.scan import selective_scan
from lobes.scan.registry import BACKENDS


def low_rank(make, batch=2, steps=37, channels=40, states=4, rank=3):
    """Inputs with step sizes of a rank, which lie next to other columns, and their weights."""
    inputs = make(batch, steps, channels, states)
    generator = torch.Generator().manual_seed(1)
    columns = torch.randn(batch, steps, rank + 5, generator=generator)
    weight = torch.randn(channels, rank, generator=generator)
    return {**inputs, "delta": columns[..., 2 : 2 + rank], "delta_weight": weight}


def multiplied(inputs):
    """The same with the product."""
    others = {name: tensor for name, tensor in inputs.items() if name != "delta_weight"}
    return {**others, "delta": inputs["delta"] @ inputs["delta_weight"].t()}


@pytest.fixture
def taken(monkeypatch):
    """Whether the compiled kernels were given factors or products, call by call."""
    pytest.importorskip("lobes.kernels.simd")
    engine, seen = BACKENDS["numba"].engine, []
    forward = engine.forward

    def watched(x, *rest):
        seen.append(x.delta_weight is not None)
        return forward(x, *rest)

    monkeypatch.setattr(engine, "forward", watched)
    return seen


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("channels", "rank"), [(40, 3), (64, 1), (5, 16)])
def test_kernels_multiply_as_they_read(make, assert_agrees, taken, channels, rank, reverse):
    inputs = low_rank(make, channels=channels, rank=rank)
    options = {"delta_softplus": True, "reverse": reverse, "lengths": torch.tensor([37, 20]), "return_last_state": True}
    y, last = selective_scan(**inputs, **options, backend="numba")
    truth = {name: tensor.double() for name, tensor in multiplied(inputs).items()}
    expected, expected_last = selective_scan(**truth, **options, backend="reference")
    assert_agrees({"y": y, "last": last}, {"y": expected, "last": expected_last})
    assert taken == [True]


def test_without_softplus_and_everything_optional(make, assert_agrees, taken):
    inputs = low_rank(make)
    bare = {name: inputs[name] for name in ("u", "delta", "A", "B", "C", "delta_weight")}
    bare["delta"] = bare["delta"].abs() / 10
    bare["delta_weight"] = bare["delta_weight"].abs()
    truth = {name: tensor.double() for name, tensor in multiplied(bare).items()}
    assert_agrees({"y": selective_scan(**bare, backend="numba")}, {"y": selective_scan(**truth, backend="reference")})
    assert taken == [True]


@pytest.mark.parametrize("backend", ["numba", "torch", "reference"])
def test_with_gradients_the_product_is_scanned(make, backend):
    def results(inputs, leaves):
        y = selective_scan(**inputs, delta_softplus=True, backend=backend)
        return [y.detach(), *torch.autograd.grad(y.square().sum(), leaves)]

    inputs = {name: tensor.requires_grad_() for name, tensor in low_rank(make).items()}
    leaves = [tensor.detach().requires_grad_() for tensor in inputs.values()]
    inputs = dict(zip(inputs, leaves, strict=True))
    product = multiplied({**inputs, "delta_weight": inputs["delta_weight"].clone()})
    for one, other in zip(results(inputs, leaves), results(product, leaves), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_the_product_is_scanned_where_a_gradient_of_the_weight_alone_is_wanted(make, taken):
    inputs = low_rank(make)
    inputs["delta_weight"].requires_grad_()
    y = selective_scan(**inputs, delta_softplus=True, backend="numba")
    assert y.requires_grad and taken == [False]


def test_half_rows_scan_the_rounded_product_as_under_autocast(make, taken):
    inputs = low_rank(make)
    rows = {name: inputs[name].bfloat16() for name in ("u", "delta", "B", "C", "z")}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = selective_scan(**{**inputs, **rows}, delta_softplus=True, backend="numba")
        product = rows["delta"] @ inputs["delta_weight"].t().contiguous()
    others = {name: tensor for name, tensor in inputs.items() if name != "delta_weight"}
    expected = selective_scan(**{**others, **rows, "delta": product}, delta_softplus=True, backend="numba")
    assert product.dtype == torch.bfloat16 and torch.equal(got, expected) and taken == [False, False]


def test_compilers_see_the_product(make, taken):
    inputs = low_rank(make)

    def function(**tensors):
        return selective_scan(**tensors, delta_softplus=True, backend="numba")

    got = torch.compile(function, fullgraph=True, backend="aot_eager")(**inputs)
    assert torch.allclose(got, function(**inputs), rtol=1e-5, atol=1e-5) and taken == [False, True]


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [("delta", (2, 36, 3), [2, 37, 3]), ("delta_weight", (40, 2), [40, 3]), ("delta_weight", (3, 40), [40, 3])],
)
def test_a_wrong_shape_names_the_argument_and_both_shapes(make, name, shape, expected):
    inputs = low_rank(make)
    inputs[name] = torch.zeros(shape)
    with pytest.raises(ValueError) as raised:
        selective_scan(**inputs)
    assert f"selective_scan: {name} must have shape {expected}" in str(raised.value)
    assert f"got {list(shape)}" in str(raised.value)
