"""Mamba-TasNet and DPMamba against the published code: outputs and gradients with the same weights, keys, counts.

The numbers in `golden/` come from github.com/xi-j/Mamba-TasNet @ a35c692 on the CPU in fp64, with weights and inputs of
`golden/fill.py`. Its networks see the mixture as it is, and nothing of what comes after the last whole frame.
"""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lobes.models import from_upstream, to_upstream

GOLDEN = Path(__file__).parent / "golden"
NETWORKS = ("mamba_tasnet", "dpmamba")
RECORDS = {
    (network, name): record
    for network in NETWORKS
    for name, record in json.loads((GOLDEN / f"{network}_fp64.json").read_text())["configurations"].items()
}
CASES = [  # the published sizes take 4 and 18 s
    pytest.param(key, id="-".join(key), marks=[pytest.mark.slow] if key[1] == "published_S" else []) for key in RECORDS
]
_SPEC = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
fill = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fill)


def options(record):
    """What no shape shows."""
    return {key: record["args"][key] for key in ("K", "skip_around_intra") if key in record["args"]}


def estimates(model, x):
    """The three parts on `x` [B, T] as it is, and zeros after the last whole frame: [B, T, S]."""
    encoded = model.encoder(x)
    y = model.decoder((model.masknet(encoded) * encoded).flatten(0, 1)).reshape(model.num_sources, len(x), -1)
    return F.pad(y, (0, x.shape[1] - y.shape[2])).permute(1, 2, 0)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """The record, the weights, the model with them, and the input."""
    network, _ = request.param
    record = RECORDS[request.param]
    weights = fill.fill(dict(record["state_dict"]))
    model = from_upstream(network, weights, **options(record))
    return record, weights, model, fill.inp(record["sample_rate"], record["samples"], record["scales"])


def test_keys_shapes_and_weights_come_back(case):
    record, weights, model, _ = case
    back = to_upstream(model)
    assert list(back) and back.keys() == weights.keys()
    assert all(back[key].shape == value.shape and torch.equal(back[key], value) for key, value in weights.items())
    assert sum(p.numel() for p in model.parameters()) == record["parameters"]


def test_outputs_and_gradients_equal_the_published(case):
    record, _, model, x = case
    known, single = record["output"], estimates(model, x).detach()
    model.double()
    try:
        y = estimates(model, x.double())
        model.zero_grad()
        y.square().sum().backward()
        rows = torch.tensor(list(known["samples"].values()), dtype=torch.float64)  # [index, B, S]
        got = y.detach()[:, [int(index) for index in known["samples"]]].transpose(0, 1)
        assert list(y.shape) == [len(x), record["samples"], model.num_sources]
        assert (got - rows).abs().max() < 1e-9 * known["maxabs"]
        assert (single - y).abs().max() < 5e-6 * known["maxabs"]
        sums = torch.tensor(known["abssum"], dtype=torch.float64)
        assert torch.allclose(y.detach().abs().sum(1), sums, rtol=1e-9)
        slopes = gradients(model)
        for key, slope in record["gradients"].items():
            for index, value in slope["at"].items():
                assert abs(slopes[key].flatten()[int(index)] - value) < 1e-9 * slope["maxabs"], key
    finally:
        model.float()


def gradients(model):
    """Gradients under the published keys: a model whose weights they are is converted."""
    with torch.no_grad():
        weights = [p.detach().clone() for p in model.parameters()]
        for p in model.parameters():
            p.copy_(p.grad)
        found = {key: value.clone() for key, value in to_upstream(model).items()}
        for p, weight in zip(model.parameters(), weights, strict=True):
            p.copy_(weight)
    return found


def test_whole_frames_at_their_own_level_are_the_parts(case):
    record, weights, _, x = case
    network = "dpmamba" if "K" in record["args"] else "mamba_tasnet"
    model = from_upstream(network, weights, level="none", **options(record))
    whole = x[:, : record["samples"] // 8 * 8]
    with torch.no_grad():
        assert torch.allclose(model(whole), estimates(model, whole), rtol=0, atol=1e-6 * record["output"]["maxabs"])


@pytest.mark.parametrize("network", NETWORKS)
def test_level_and_length_stay_the_contract(network):
    record = RECORDS[network, "three" if network == "mamba_tasnet" else "three_M_form"]
    model = from_upstream(network, fill.fill(dict(record["state_dict"])), **options(record)).double()
    x = fill.inp(8000, 1003).double()
    with torch.no_grad():
        y = model(x)
        assert y.shape == (1, 1003, 3) and y[0, -3:].abs().max() > 0
        assert torch.allclose(model(1e-4 * x), 1e-4 * y, rtol=0, atol=1e-12)
        as_it_is = from_upstream(network, to_upstream(model), level="none", **options(record))  # in fp64 again
        assert 1e-12 < (as_it_is(x) - y).abs().max() < 1e-3 * y.abs().max()
