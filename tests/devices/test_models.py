"""Every preset on a GPU that there is not, forward and backward: tensors on one device, and nothing read from it."""

from __future__ import annotations

import pytest
import torch
from fake_cuda import CUDA, ReadsTheDevice, a_gpu, placed
from torch import nn

from lobes.models import get_model, list_models
from lobes.nnet.lengths import to_samples

LENGTHS = torch.tensor([1.0, 0.6])  # on the CPU, where lobes.training.batches leaves them
FAMILIES = {  # a small network of each kind of code
    "spmamba_tiny": {"n_layers": 1},
    "bsrnn_8k_tiny": {"n_layers": 1},
    "convtasnet_tiny": {},
    "dprnn_tiny": {},
    "sepformer_tiny": {},
    "dpmamba_tiny": {},
    "mamba_tasnet_tiny": {},
    "tf_gridnet_mini": {"n_layers": 1},
    "mbs_net_causal_small": {"n_layers": 1},
}


def trains(preset: str, patch: pytest.MonkeyPatch, samples: int, lengths: torch.Tensor | None, **options):
    """One pass forward and back, with a padded batch or with a full one; the mode in which it was."""
    mode = a_gpu({}, patch)
    model = placed(get_model(preset, **options).train(), mode)
    with mode:
        estimates = model(torch.empty(2, samples, device=CUDA), lengths)
        estimates.square().mean().backward()
    assert estimates.device == CUDA and estimates.shape[:2] == (2, samples)
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert gradients and all(gradient.device == CUDA for gradient in gradients)
    return mode


@pytest.mark.parametrize("preset", FAMILIES)
def test_one_of_each_family(preset, monkeypatch):
    trains(preset, monkeypatch, 800, LENGTHS, **FAMILIES[preset])


@pytest.mark.parametrize("preset", ["spmamba_tiny", "bsrnn_8k_tiny"])
def test_a_full_batch_can_be_captured_in_a_cuda_graph(preset, monkeypatch):
    """A graph replays launches: it can wait for nothing, choose nothing by values, and fetch nothing from the CPU."""
    mode = trains(preset, monkeypatch, 800, None, **FAMILIES[preset])
    assert mode.reads == mode.sent == []


def test_what_is_sent_to_the_device_is_noticed(monkeypatch):
    with a_gpu({}, monkeypatch) as mode:
        x = torch.empty(3, device=CUDA)
        x * torch.tensor(2.0)  # a number, which goes with the call
        assert mode.sent == []
        torch.ones(3).to(CUDA)
        x.copy_(torch.ones(3))
        assert len(mode.sent) == 2


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
@pytest.mark.parametrize("preset", list_models())
def test_all_presets(preset, lengths, monkeypatch):
    trains(preset, monkeypatch, 2000, lengths)


class Astray(nn.Module):
    """Has a tensor that is neither parameter nor buffer, and stays on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.scale = torch.ones(3)

    def forward(self, x):
        return x * self.weight * self.scale


def test_a_tensor_on_the_wrong_device_is_found(monkeypatch):
    mode = a_gpu({}, monkeypatch)
    module = placed(Astray(), mode)
    with mode, pytest.raises(Exception, match="cpu"):
        module(torch.empty(2, 3, device=CUDA))


READINGS = {
    "cpu": lambda x: x.cpu(),
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "bool": lambda x: bool((x > 0).all()),
    "float": lambda x: float(x.sum()),
    "unique": lambda x: x.unique(),
    "mask": lambda x: x[x > 0],
}


@pytest.mark.parametrize("name", READINGS)
def test_every_way_of_reading_is_found(name, monkeypatch):
    mode = a_gpu({}, monkeypatch)
    with mode, pytest.raises(ReadsTheDevice):
        READINGS[name](torch.empty(3, device=CUDA))


def test_lengths_that_are_on_the_device_alone_are_read_there(monkeypatch):
    """Who hands over such lengths waits for them, where an LSTM needs them on the CPU."""
    mode = a_gpu({}, monkeypatch)
    model = placed(get_model("tf_gridnet_mini", n_layers=1), mode)
    with mode, pytest.raises(ReadsTheDevice, match=r"lengths.py, in on_cpu: aten._to_copy"):
        model(torch.empty(2, 800, device=CUDA), LENGTHS.to(CUDA))


def test_lengths_on_the_cpu_keep_their_values(monkeypatch):
    with a_gpu({}, monkeypatch):
        assert to_samples(LENGTHS, 10, 2).tolist() == [10, 6]
        assert to_samples(LENGTHS, 10, 2, CUDA).device == CUDA
