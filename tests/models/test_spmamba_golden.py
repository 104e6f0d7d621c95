"""SPMamba against the reference implementation: its outputs in fp64, its keys, its parameter counts.

The numbers come from the unmodified reference (github.com/JusperLee/SPMamba @ f939f60) on the CPU in fp64, with the
weights of `fill` and the input of `chirp` (both in conftest.py).
"""

import json
import math
from pathlib import Path

import pytest
import torch

from lobes.models.convert import current_keys, to_upstream
from lobes.models.spmamba import SPMamba

SIXTEEN_KHZ = {"sample_rate": 16000, "n_fft": 512, "hop_length": 128}
OPTIONS = {"librimix": {}, "echo2mix": SIXTEEN_KHZ}
GOLDEN = json.loads(Path(__file__).with_name("spmamba_fp64.json").read_text())


def in_one_thread(model, x):
    """These weights amplify the last bit of a sum a thousandfold in six layers, so the order of sums must be fixed.

    Another order gives 1.4e-4 for librimix_L6 (the reference's own fp32 noise there is 1.5e-4), one thread 0.9e-4.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return model(x)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", GOLDEN)
def test_equals_the_reference(name, fill, chirp):
    golden = GOLDEN[name]
    model = SPMamba(**OPTIONS[golden["config"]], n_layers=golden["n_layers"])
    model.load_state_dict(current_keys(model, fill(to_upstream(model))))
    assert sum(p.numel() for p in model.parameters()) == golden["params"]
    x = chirp(model.sample_rate, 2000)
    with torch.no_grad():
        single, y = in_one_thread(model, x), model.double()(x.double())
    assert y.shape == (1, 2000, 2)
    positions = [int(position) for position in golden["samples"]]
    expected = torch.tensor(list(golden["samples"].values()), dtype=torch.float64)  # [positions, S]
    assert (y[0, positions] - expected).abs().max() < 1e-9
    sums = torch.tensor(golden["abssum_per_src"], dtype=torch.float64)
    assert ((y[0].abs().sum(0) - sums) / sums).abs().max() < 1e-9
    assert (single - y).norm() < 1e-4 * y.norm()
    assert (single - y).abs().max() < 1e-4 * y.abs().max()


def reference_shapes(layers, channels, kernel, heads, query, bins, expand=4, state=16, sources=2):
    """The reference's key scheme, written out from its specification."""
    d = channels * kernel
    inner, rank, value = expand * d, math.ceil(d / 16), channels // heads
    shapes = {
        "conv.0.weight": (channels, 2, 3, 3),
        "conv.0.bias": (channels,),
        "conv.1.weight": (channels,),
        "conv.1.bias": (channels,),
        "deconv.weight": (channels, 2 * sources, 3, 3),
        "deconv.bias": (2 * sources,),
    }
    mixer = {
        "A_log": (inner, state),
        "D": (inner,),
        "in_proj.weight": (2 * inner, d),
        "conv1d.weight": (inner, 1, 4),
        "conv1d.bias": (inner,),
        "x_proj.weight": (rank + 2 * state, inner),
        "dt_proj.weight": (inner, rank),
        "dt_proj.bias": (inner,),
        "out_proj.weight": (d, inner),
    }
    projections = {f"attn_conv_{kind}_{h}": query for kind in "QK" for h in range(heads)}
    projections |= {f"attn_conv_V_{h}": value for h in range(heads)} | {"attn_concat_proj": channels}
    for i in range(layers):
        for path in ("intra", "inter"):
            block = f"blocks.{i}.{path}_"
            shapes |= {f"{block}norm.gamma": (1, channels, 1, 1), f"{block}norm.beta": (1, channels, 1, 1)}
            shapes |= {f"{block}linear.weight": (2 * d, channels, kernel), f"{block}linear.bias": (channels,)}
            for side in ("forward", "backward"):
                shapes[f"{block}mamba.{side}_blocks.0.norm.weight"] = (d,)
                shapes |= {f"{block}mamba.{side}_blocks.0.mixer.{k}": v for k, v in mixer.items()}
        for name, out in projections.items():
            prefix = f"blocks.{i}.{name}"
            shapes |= {f"{prefix}.0.weight": (out, channels, 1, 1), f"{prefix}.0.bias": (out,)}
            shapes |= {f"{prefix}.1.weight": (1,)}
            shapes |= {f"{prefix}.2.gamma": (1, out, 1, bins), f"{prefix}.2.beta": (1, out, 1, bins)}
    return shapes


@pytest.mark.parametrize(
    "options,arguments",
    [
        ({}, (6, 16, 8, 4, 4, 129)),
        (SIXTEEN_KHZ, (6, 16, 8, 4, 2, 257)),
        ({"n_layers": 4, "emb_ks": 4, "n_heads": 2, "approx_qk_dim": 256}, (4, 16, 4, 2, 2, 129)),
    ],
)
def test_keys_and_shapes_are_those_of_the_reference(options, arguments):
    state = to_upstream(SPMamba(**options))
    assert {k: tuple(v.shape) for k, v in state.items()} == reference_shapes(*arguments)


@pytest.mark.parametrize(
    "options,parameters",
    [
        (SIXTEEN_KHZ, 6_141_826),
        ({**SIXTEEN_KHZ, "num_sources": 1}, 6_141_536),
        ({}, 6_094_498),
        ({"num_sources": 3}, 6_094_788),
        ({"n_layers": 4, "emb_ks": 4, "n_heads": 2, "approx_qk_dim": 256}, 1_156_368),
    ],
)
def test_parameter_counts(options, parameters):
    assert sum(p.numel() for p in SPMamba(**options).parameters()) == parameters
