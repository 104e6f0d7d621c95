"""The scan as one operator of PyTorch: compile, export, checkpointing, types, empty inputs."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from lobes.errors import UserError
from lobes.scan import selective_scan
from lobes.scan.inputs import Facts, ScanInputs
from lobes.scan.registry import BACKENDS as REGISTERED

BACKENDS = ["torch", "numba", "triton"]


@pytest.fixture(autouse=True)
def skip_what_cannot_run(request):
    """Triton runs on a CPU unless it was imported for a GPU."""
    callspec = getattr(request.node, "callspec", None)
    name = callspec.params.get("backend", "auto") if callspec else "auto"
    if name == "triton" and REGISTERED["triton"].refuses(Facts("cpu", torch.float32, 4, False, False, False)):
        pytest.skip("triton is not in its interpreter")


def sizes(backend, *whole):
    """Items, steps, channels and states: few in Triton's interpreter, which takes seconds for a scan of usual size."""
    return (whole[0], 5, 3, 2) if backend == "triton" else whole


def arguments(make, backend, bare=False, grad=True, want_last=True):
    """Arguments of the operator; `torch` takes only what its `scan` leaves over."""
    inputs = make(*sizes(backend, 2, 19, 6, 4))
    steps = inputs["u"].shape[1]
    lengths = None if bare or backend == "torch" else torch.tensor([steps, steps // 2])
    inputs = {name: tensor.requires_grad_(grad) for name, tensor in inputs.items()}
    if bare or backend == "torch":
        inputs.update(D=None, z=None, delta_bias=None)
    x = ScanInputs(**inputs, delta_softplus=backend != "torch", reverse=True, lengths=lengths)
    return (*x[:-1], grad, want_last, backend)  # all but `delta_weight`


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_opcheck(make, backend, bare, grad):
    for want_last in (True, False):
        given = arguments(make, backend, bare, grad, want_last)
        torch.library.opcheck(torch.ops.lobes.selective_scan.default, given)


def with_gradients(function, inputs):
    """Output and all gradients."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    y = function(**leaves)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), list(leaves.values()))]


def assert_close(got, expected):
    for one, other in zip(got, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_compiles_as_one_graph(make, backend, padded):
    inputs = make(*sizes(backend, 3, 21, 8, 4))
    steps = inputs["u"].shape[1]
    lengths = torch.tensor([steps, 1, steps // 2]) if padded else None

    def function(**tensors):
        return selective_scan(**tensors, delta_softplus=True, lengths=lengths, backend=backend) * 2

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    assert_close(with_gradients(compiled, inputs), with_gradients(function, inputs))


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_one_compiled_function_takes_other_numbers_of_states(make, backend):
    def function(**tensors):
        return selective_scan(**tensors, delta_softplus=True, backend=backend)

    torch.compiler.reset()  # other backends' graphs of this function count towards PyTorch's limit of eight
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for states in (4, 3, 2):  # from the second on, PyTorch takes all sizes for symbols
        inputs = make(*sizes(backend, 2, 19, 6, 4)[:3], states)
        assert_close(with_gradients(compiled, inputs), with_gradients(function, inputs))


@pytest.mark.parametrize("backend", BACKENDS)
def test_exports_with_any_batch_and_length(make, backend):
    class Scan(torch.nn.Module):
        def forward(self, u, delta, A, B, C):
            return selective_scan(u, delta, A, B, C, delta_softplus=True, backend=backend)

    names = ("u", "delta", "A", "B", "C")
    batch, steps = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("steps", min=1, max=4096)
    rows = {0: batch, 1: steps}
    shapes = {"u": rows, "delta": rows, "A": None, "B": rows, "C": rows}
    exported = torch.export.export(Scan(), tuple(make(2, 20, 8, 4)[n] for n in names), dynamic_shapes=shapes).module()
    for size in ((1, 1), (2, 16), (3, 33)):
        inputs = [make(*size, 8, 4)[name] for name in names]
        assert torch.allclose(exported(*inputs), Scan()(*inputs), atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_checkpointing_and_double_use(make, backend):
    inputs = make(*sizes(backend, 2, 18, 8, 4))

    def twice(**tensors):
        once = selective_scan(**tensors, delta_softplus=True, backend=backend)
        return selective_scan(**{**tensors, "u": once}, delta_softplus=True, backend=backend)

    def recomputed(**tensors):
        return checkpoint(twice, use_reentrant=False, **tensors)

    assert_close(with_gradients(recomputed, inputs), with_gradients(twice, inputs))


@pytest.mark.parametrize("shape", [(0, 5, 8, 4), (2, 0, 8, 4)], ids=str)
@pytest.mark.parametrize("backend", ["reference", *BACKENDS])
def test_nothing_to_scan(make, run, backend, shape):
    inputs = make(*shape)
    got = run(inputs, backend=backend)
    assert got["y"].shape == inputs["u"].shape
    assert torch.equal(got["last"], inputs["initial_state"])
    assert got["A"] is None or not got["A"].any()
    assert got["initial_state"].shape == inputs["initial_state"].shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_in_and_out(make, run, backend, dtype):
    inputs = {name: tensor.to(dtype).float() for name, tensor in make(2, 30, 16, 8).items()}
    got, truth = run(inputs, dtype, backend=backend), run(inputs, backend="reference")
    assert got["y"].dtype == dtype and got["last"].dtype == torch.float32
    for name, expected in truth.items():
        assert (got[name].float() - expected).abs().max() <= 1e-2 * expected.abs().max(), name


def test_second_derivatives_are_refused(make):
    inputs = {name: tensor.requires_grad_() for name, tensor in make(1, 4, 3, 2).items()}
    y = selective_scan(**inputs, backend="numba")
    (grad,) = torch.autograd.grad(y.sum(), inputs["u"], create_graph=True)
    with pytest.raises(RuntimeError):
        grad.sum().backward()


def test_a_graph_keeps_half_precision_rows_as_they_are(make):
    rows = ("u", "delta", "B", "C", "z")
    inputs = {
        name: (tensor.bfloat16() if name in rows else tensor).requires_grad_()
        for name, tensor in make(2, 20, 8, 4).items()
    }
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        selective_scan(**inputs, delta_softplus=True, backend="numba")
    for name in rows:
        shaped = [tensor for tensor in kept if tensor.shape == inputs[name].shape]
        assert shaped and all(tensor.dtype == torch.bfloat16 for tensor in shaped)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.:DeprecationWarning")
def test_tracing_the_reference_is_refused(make):
    """T2-84: its loop would have the example's steps."""
    x = make(2, 20, 8, 4)

    def scan(u):
        return selective_scan(**{**x, "u": u}, backend="reference")

    with pytest.raises(UserError, match="torch.jit.trace would keep the steps of its example"):
        torch.jit.trace(scan, x["u"])
