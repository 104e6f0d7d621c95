"""The recurrences in chunks against their forms step by step, in fp64; these against the papers' plain equations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lobes.nnet.mixers import mlstm_cell
from lobes.nnet.mixers import ssd as ssd_module
from lobes.nnet.mixers.mlstm_cell import mlstm, mlstm_steps
from lobes.nnet.mixers.ssd import ssd, ssd_steps
from lobes.scan import selective_scan

B, L, H, P, N = 2, 21, 3, 4, 5


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch):
    for module in (ssd_module, mlstm_cell):
        monkeypatch.setattr(module, "CHUNK", 8)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def ssd_inputs(state: bool):
    torch.manual_seed(0)
    inputs = [random(B, L, H, P), F.softplus(random(B, L, H)), -random(H).exp(), random(B, L, N), random(B, L, N)]
    return [*inputs, random(B, H, N, P)] if state else inputs


def mlstm_inputs(state: bool, scale: float = 1.0):
    torch.manual_seed(0)
    inputs = [random(B, H, L, P) for _ in range(3)] + [scale * random(B, H, L), F.logsigmoid(2 * random(B, H, L) + 2)]
    return inputs + ([random(B, H, P, P), random(B, H, P), random(B, H)] if state else [])


def run(function, inputs, fixed: int = 5):
    """Outputs, last states, and the gradients of all inputs, initial states too."""
    leaves = [one.clone().requires_grad_() for one in inputs]
    state = leaves[fixed:]
    y, last = function(*leaves[:fixed], *([tuple(state) if len(state) > 1 else state[0]] if state else []))
    outputs = [y, *(last if isinstance(last, tuple) else [last])]
    weights = [torch.linspace(-1, 1, one.numel(), dtype=one.dtype).view_as(one) for one in outputs]
    sum((one * weight).sum() for one, weight in zip(outputs, weights, strict=True)).backward()
    return [*outputs, *(leaf.grad for leaf in leaves)]


def near(one, two, atol=1e-10):
    return all(torch.allclose(a, b, rtol=1e-8, atol=atol) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("state", [False, True])
def test_ssd_in_chunks_equals_its_steps(state):
    inputs = ssd_inputs(state)
    assert near(run(ssd, inputs), run(ssd_steps, inputs))


def test_ssd_by_steps_is_a_selective_scan_with_one_decay_per_head():
    x, delta, A, b, c = ssd_inputs(False)
    wide = [one.repeat_interleave(P, -1) for one in (delta, A[None])]  # a decay for each channel
    expected = selective_scan(x.flatten(2), wide[0], wide[1][0][:, None].expand(-1, N), b, c, backend="reference")
    assert near([ssd_steps(x, delta, A, b, c)[0].flatten(2)], [expected])


@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_mlstm_in_chunks_equals_its_steps(state, scale):
    inputs = mlstm_inputs(state, scale)
    assert near(run(mlstm, inputs), run(mlstm_steps, inputs))


def test_mlstm_by_steps_is_the_papers_without_stabiliser():
    q, k, v, log_i, log_f = mlstm_inputs(False)
    C, n, outputs = torch.zeros(B, H, P, P).double(), torch.zeros(B, H, P).double(), []
    for t in range(L):
        i, f = log_i[:, :, t].exp()[..., None], log_f[:, :, t].exp()[..., None]
        C = f[..., None] * C + i[..., None] * v[:, :, t, :, None] * k[:, :, t, None]  # v k^T
        n = f * n + i * k[:, :, t]
        norm = (n * q[:, :, t]).sum(-1).abs().clamp(min=1)
        outputs.append((C @ q[:, :, t, :, None])[..., 0] / norm[..., None])
    assert near([mlstm_steps(q, k, v, log_i, log_f)[0]], [torch.stack(outputs, 2)])


def test_mlstm_bears_gates_that_no_exponential_could():
    q, k, v, log_i, log_f = (one.float() for one in mlstm_inputs(False))
    h, state = mlstm(q, k, v, 200 * log_i, 50 * log_f)
    steps, _ = mlstm_steps(q, k, v, 200 * log_i, 50 * log_f)
    assert h.isfinite().all() and all(one.isfinite().all() for one in state) and torch.allclose(h, steps, atol=1e-3)


def test_a_sequence_in_two_parts_is_the_whole():
    x, delta, A, b, c = ssd_inputs(False)
    first, state = ssd(x[:, :9], delta[:, :9], A, b[:, :9], c[:, :9])
    second, last = ssd(x[:, 9:], delta[:, 9:], A, b[:, 9:], c[:, 9:], state)
    assert near([torch.cat((first, second), 1), last], ssd(x, delta, A, b, c))
    inputs = mlstm_inputs(False)
    h, state = mlstm(*(one[:, :, :9] for one in inputs))
    rest, last = mlstm(*(one[:, :, 9:] for one in inputs), state)
    whole, expected = mlstm(*inputs)
    assert near([torch.cat((h, rest), 2), *last], [whole, *expected])


@pytest.mark.parametrize("function", [ssd, mlstm])
def test_memory_grows_with_the_length_and_not_its_square(function):
    """The most numbers that a result of an operation has, for one length and for four times as many steps."""

    def largest(steps):
        from torch.utils._python_dispatch import TorchDispatchMode

        class Sizes(TorchDispatchMode):
            most = 0

            def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
                out = operation(*args, **(kwargs or {}))
                for one in out if isinstance(out, tuple | list) else [out]:
                    self.most = max(self.most, one.untyped_storage().nbytes() if isinstance(one, torch.Tensor) else 0)
                return out

        inputs = ssd_inputs(False) if function is ssd else mlstm_inputs(False)
        longer = [torch.cat([one] * steps, 1 if function is ssd else 2) if one.dim() > 1 else one for one in inputs]
        with Sizes() as sizes:
            function(*longer)
        return sizes.most

    assert largest(40) <= 4.1 * largest(10)
