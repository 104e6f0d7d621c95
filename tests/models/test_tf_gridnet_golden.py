"""TF-GridNet against ESPnet's: outputs and gradients with the same weights, keys, counts.

`make_tf_gridnet_golden.py` wrote the numbers. ESPnet, like Lobes, brings each item to unit standard deviation first.
"""

import copy
import importlib.util
import json
from pathlib import Path

import pytest
import torch

from lobes.models import from_upstream, to_upstream

GOLDEN = Path(__file__).parent / "golden"
RECORDS = json.loads((GOLDEN / "tf_gridnet_fp64.json").read_text())["configurations"]
_SPEC = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
fill = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fill)


@pytest.fixture(scope="module", params=RECORDS)
def case(request):
    """The record, the weights, the model with them, and the input."""
    record = RECORDS[request.param]
    weights, args = fill.fill(dict(record["state_dict"])), record["args"]
    model = from_upstream("tf_gridnet", weights, hop_length=args["stride"], emb_hs=args["emb_hs"], sample_rate=8000)
    return record, weights, model, fill.inp(record["sample_rate"], record["samples"], record["scales"])


def test_keys_shapes_and_weights_come_back(case):
    record, weights, model, _ = case
    back = to_upstream(model)
    assert back.keys() == weights.keys()
    assert all(back[key].shape == value.shape and torch.equal(back[key], value) for key, value in weights.items())
    assert sum(p.numel() for p in model.parameters()) == record["parameters"]


def test_outputs_and_gradients_equal_espnets(case):
    record, _, model, x = case
    known, single, double = record["output"], model(x).detach(), copy.deepcopy(model).double()
    y = double(x.double())
    y.square().sum().backward()
    assert list(y.shape) == known["shape"]
    rows = torch.tensor(list(known["samples"].values()), dtype=torch.float64)  # [index, B, S]
    got = y.detach()[:, [int(index) for index in known["samples"]]].transpose(0, 1)
    assert (got - rows).abs().max() < 1e-9 * known["maxabs"]
    assert (single - y).abs().max() < 5e-6 * known["maxabs"]
    with torch.no_grad():
        for parameter in double.parameters():
            parameter.copy_(parameter.grad)
    slopes, rounding = to_upstream(double), 1e-13 * max(slope["maxabs"] for slope in record["gradients"].values())
    for key, slope in record["gradients"].items():  # a shift of all keys of the attention has no effect: only rounding
        for index, value in slope["at"].items():
            assert abs(slopes[key].flatten()[int(index)] - value) < 1e-9 * slope["maxabs"] + rounding, key
