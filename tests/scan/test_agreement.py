"""Every backend gives the reference's outputs, last states and gradients; the reference gives the truth."""

from __future__ import annotations

import itertools

import pytest
import torch

from lobes.scan import backends, selective_scan

FAST = ["torch", "numba"]
# batch, steps, channels, states
SHAPES = [
    (1, 1, 1, 1),
    (2, 33, 5, 4),
    (1, 16, 16, 16),
    (3, 77, 32, 16),
    (2, 50, 70, 7),
    (2, 17, 257, 12),
    (2, 20, 600, 3),
    (1, 20, 33, 64),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("backend", FAST)
def test_all_gradients_against_reference_in_float64(make, run, assert_agrees, backend, shape):
    inputs = make(*shape)
    assert_agrees(run(inputs, backend=backend), run(inputs, torch.float64, backend="reference"))


@pytest.mark.parametrize("reverse, padded, started", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize("backend", FAST)
def test_directions_lengths_and_initial_states(make, run, assert_agrees, backend, reverse, padded, started):
    inputs = make(5, 40, 24, 6, absent=() if started else ("initial_state",))
    options = {"reverse": reverse, "lengths": torch.tensor([40, 1, 0, 17, 32]) if padded else None}
    truth = run(inputs, torch.float64, backend="reference", **options)
    assert_agrees(run(inputs, backend=backend, **options), truth)


@pytest.mark.parametrize(
    "absent", [("D",), ("z",), ("delta_bias",), ("D", "z", "delta_bias", "initial_state")], ids=str
)
@pytest.mark.parametrize("softplus", [True, False])
@pytest.mark.parametrize("backend", FAST)
def test_optional_arguments(make, run, assert_agrees, backend, softplus, absent):
    inputs = make(2, 21, 19, 5, absent=absent)
    inputs["delta"] = inputs["delta"] if softplus else inputs["delta"].abs() + 1  # dt must be positive to be stable
    truth = run(inputs, torch.float64, backend="reference", delta_softplus=softplus)
    assert_agrees(run(inputs, backend=backend, delta_softplus=softplus), truth)


def test_reference_is_the_recurrence_written_out(make):
    x = {name: tensor.double() for name, tensor in make(2, 7, 3, 4).items()}
    y, last = selective_scan(**x, delta_softplus=True, return_last_state=True, backend="reference")
    for b, d in itertools.product(range(2), range(3)):
        h = x["initial_state"][b, d].clone()
        for t in range(7):
            dt = torch.log1p(torch.exp(x["delta"][b, t, d] + x["delta_bias"][d]))
            h = torch.exp(dt * x["A"][d]) * h + dt * x["B"][b, t] * x["u"][b, t, d]
            gate = x["z"][b, t, d] / (1 + torch.exp(-x["z"][b, t, d]))
            expected = ((x["C"][b, t] * h).sum() + x["D"][d] * x["u"][b, t, d]) * gate
            assert torch.allclose(y[b, t, d], expected, rtol=1e-12)
        assert torch.allclose(last[b, d], h, rtol=1e-12)


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradcheck(make, backend, reverse):
    leaves = {name: tensor.double().requires_grad_() for name, tensor in make(2, 4, 2, 3).items()}
    options = {"delta_softplus": True, "reverse": reverse, "lengths": torch.tensor([4, 3]), "return_last_state": True}

    def function(*tensors):
        return selective_scan(**dict(zip(leaves, tensors, strict=True)), **options, backend=backend)

    assert torch.autograd.gradcheck(function, tuple(leaves.values()))


@pytest.mark.parametrize("backend", ["reference", *FAST])
def test_reverse_is_a_flip_of_the_valid_part(make, backend):
    x = make(1, 30, 8, 4, absent=("initial_state",))
    options = {"delta_softplus": True, "return_last_state": True, "backend": backend}
    y, last = selective_scan(**x, reverse=True, lengths=torch.tensor([23]), **options)
    valid = {n: t[:, :23].flip(1) if t.dim() == 3 else t for n, t in x.items()}
    expected, expected_last = selective_scan(**valid, **options)
    assert torch.equal(y[:, 23:], torch.zeros(1, 7, 8))
    assert torch.allclose(y[:, :23], expected.flip(1), atol=1e-6)
    assert torch.allclose(last, expected_last, atol=1e-6)


@pytest.mark.parametrize("backend", ["reference", *FAST])
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_is_neither_read_nor_given_gradients(make, run, backend, reverse):
    clean = make(3, 25, 20, 4)
    lengths = torch.tensor([25, 9, 16])
    dirty = {name: tensor.clone() for name, tensor in clean.items()}
    for name, (b, n) in itertools.product(["u", "delta", "B", "C", "z"], enumerate(lengths.tolist())):
        dirty[name][b, n:] = float("nan")
    got = run(dirty, backend=backend, reverse=reverse, lengths=lengths)
    expected = run(clean, backend=backend, reverse=reverse, lengths=lengths)
    for name in expected:
        assert torch.equal(got[name], expected[name]), name
    for name in ("y", "u", "delta", "B", "C", "z"):
        assert all(not got[name][b, n:].any() for b, n in enumerate(lengths.tolist())), name


@pytest.mark.parametrize("backend", ["reference", *FAST])
def test_pieces_of_a_stream_equal_one_call(make, backend):
    x = make(2, 50, 18, 5)
    options = {"delta_softplus": True, "return_last_state": True, "backend": backend}
    whole, last = selective_scan(**x, **options)
    state, pieces = x.pop("initial_state"), []
    for part in (slice(0, 1), slice(1, 20), slice(20, 50)):
        piece = {name: tensor[:, part] if tensor.dim() == 3 else tensor for name, tensor in x.items()}
        y, state = selective_scan(**piece, initial_state=state, **options)
        pieces.append(y)
    assert torch.allclose(torch.cat(pieces, 1), whole, atol=1e-5)
    assert torch.allclose(state, last, atol=1e-5)


@pytest.mark.parametrize("backend", FAST)
def test_the_last_state_alone_has_gradients(make, backend):
    inputs = make(2, 20, 35, 3)
    results = []
    for name, dtype in ((backend, torch.float32), ("reference", torch.float64)):
        leaves = {key: tensor.detach().to(dtype).requires_grad_() for key, tensor in inputs.items()}
        last = selective_scan(**leaves, delta_softplus=True, return_last_state=True, backend=name)[1]
        last.square().sum().backward()
        results.append([leaves[key].grad for key in ("u", "delta", "A", "B", "delta_bias", "initial_state")])
    for got, truth in zip(*results, strict=True):
        assert (got - truth).abs().max() <= 3e-6 * truth.abs().max()


@pytest.mark.parametrize("backend", FAST)
def test_without_a_last_state(make, backend):
    """Nobody asked for it: no gradient comes in, and none goes out where there is no first state."""
    inputs = make(2, 20, 35, 3, absent=("initial_state",))
    results = []
    for name, dtype in ((backend, torch.float32), ("reference", torch.float64)):
        leaves = {key: tensor.detach().to(dtype).requires_grad_() for key, tensor in inputs.items()}
        y = selective_scan(**leaves, delta_softplus=True, backend=name)
        y.square().sum().backward()
        results.append([y.detach(), *(leaf.grad for leaf in leaves.values())])
    for got, truth in zip(*results, strict=True):
        assert (got - truth).abs().max() <= 3e-6 * truth.abs().max()


@pytest.mark.parametrize("backend", FAST)
def test_views_as_inputs(make, run, assert_agrees, backend):
    inputs = make(3, 20, 10, 4)
    views = {name: tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor for name, tensor in inputs.items()}
    views["u"], views["z"] = torch.cat([inputs["u"], inputs["z"]], dim=-1).chunk(2, dim=-1)
    assert not views["u"].is_contiguous() and not views["B"].is_contiguous()
    plain, viewed = (selective_scan(**x, delta_softplus=True, backend=backend) for x in (inputs, views))
    assert torch.allclose(plain, viewed, atol=1e-6)
    assert_agrees(run(views, backend=backend), run(inputs, torch.float64, backend="reference"))


@pytest.mark.parametrize("backend", FAST)
def test_twice_in_one_graph_with_expanded_gradient(make, backend):
    x = make(2, 18, 12, 4)
    grads = []
    for name in (backend, "reference"):
        u = x["u"].clone().requires_grad_()
        first = selective_scan(**{**x, "u": u}, delta_softplus=True, backend=name)
        second = selective_scan(**{**x, "u": first}, delta_softplus=True, reverse=True, backend=name)
        second.sum().backward()  # its gradient is an expanded scalar, without memory of its own
        grads.append(u.grad)
    assert torch.allclose(*grads, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["u", "delta", "A", "B", "C", "D", "z", "delta_bias", "initial_state"])
@pytest.mark.parametrize("backend", ["reference", *FAST])
def test_nan_reaches_the_output_and_the_gradients(make, run, backend, name):
    inputs = make(2, 20, 18, 4)
    inputs[name].view(-1)[-1] = float("nan")
    got = run(inputs, backend=backend)
    assert torch.isnan(got.pop("y")).any()
    assert torch.isnan(got.pop("last")).any() or name in ("C", "D", "z")  # which the state does not meet
    assert any(torch.isnan(gradient).any() for gradient in got.values())


@pytest.mark.parametrize("bits", [0x7F800001, 0x7FC12345, -1], ids=hex)
def test_no_bit_pattern_of_nan_is_swallowed(make, bits):
    inputs = make(1, 3, 16, 2)
    inputs["delta"].view(torch.int32)[0, 0, 0] = bits
    assert torch.isnan(inputs["delta"][0, 0, 0])
    y = selective_scan(**inputs, delta_softplus=True, backend="numba")
    assert torch.isnan(y[0, :, 0]).all()


@pytest.mark.parametrize("backend", FAST)
def test_extreme_steps(make, run, assert_agrees, backend):
    inputs = make(1, 12, 16, 4)
    inputs["delta"][:, ::3] = 60.0
    inputs["delta"][:, 1::3] = -80.0
    inputs["z"][:, ::2] = -90.0
    inputs["z"][:, 1::2] = 90.0
    assert_agrees(run(inputs, backend=backend), run(inputs, torch.float64, backend="reference"))


@pytest.mark.parametrize("backend", FAST)
def test_an_exploding_state_overflows_to_infinity(backend):
    ones = torch.ones(1, 40, 16)
    y = selective_scan(ones, 10 * ones, torch.ones(16, 1), ones[..., :1], ones[..., :1], backend=backend)
    assert torch.isinf(y[:, -1]).all() and not torch.isnan(y).any()


@pytest.mark.gpu
@pytest.mark.parametrize("reverse, padded", list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("backend", ["torch", "triton", "mamba_ssm"])
def test_backends_on_cuda(make, assert_agrees, backend, reverse, padded):
    if backends()[backend] != "available":
        pytest.skip(backends()[backend])
    inputs = make(3, 77, 32, 16, absent=("initial_state",))
    lengths = torch.tensor([77, 1, 40]) if padded else None
    results = []
    for name, device, dtype in ((backend, "cuda", torch.float32), ("reference", "cpu", torch.float64)):
        leaves = {key: tensor.to(device, dtype).requires_grad_() for key, tensor in inputs.items()}
        y = selective_scan(**leaves, delta_softplus=True, reverse=reverse, lengths=lengths, backend=name)
        y.square().sum().backward()
        results.append({"y": y.detach().cpu(), **{key: leaf.grad.cpu() for key, leaf in leaves.items()}})
    assert_agrees(*results, tolerance=1e-5)
