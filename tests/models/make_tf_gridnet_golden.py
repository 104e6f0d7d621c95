"""Write golden/tf_gridnet_fp64.json: outputs and gradients of ESPnet's TF-GridNet on the CPU in fp64.

> python tests/models/make_tf_gridnet_golden.py

It needs ESPnet (made with version 202511), which Lobes does not: run it in an environment of its own. Weights and
inputs are those of golden/fill.py. ESPnet casts to fp32 before its STFT; the cast is taken out, so that all numbers are
fp64. Gradients are of the sum of all squared outputs.
"""

import importlib.util
import json
from pathlib import Path

import torch

GOLDEN = Path(__file__).with_name("golden")
PUBLISHED = {
    "n_fft": 256,
    "stride": 64,
    "n_layers": 6,
    "lstm_hidden_units": 256,
    "emb_dim": 64,
    "emb_ks": 4,
    "emb_hs": 1,
}
SMALL = {"n_fft": 64, "stride": 16, "n_layers": 2, "lstm_hidden_units": 8, "emb_dim": 8, "attn_approx_qk_dim": 64}
CONFIGURATIONS = {
    "published": ({**PUBLISHED, "n_srcs": 2, "attn_n_head": 4, "attn_approx_qk_dim": 512}, 1000, (1.0,)),
    "three": ({**SMALL, "n_srcs": 3, "attn_n_head": 2, "emb_ks": 4, "emb_hs": 4}, 1003, (1.0, 0.3)),
    "steps": ({**SMALL, "n_srcs": 2, "attn_n_head": 4, "emb_ks": 3, "emb_hs": 1}, 800, (1.0,)),
}
GRADIENTS = 5  # of every fifth parameter


def main() -> None:
    """Run all configurations, in fp64 throughout."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = lambda self: self
    fill = load(GOLDEN / "fill.py")
    record = {name: run(fill, *configuration) for name, configuration in CONFIGURATIONS.items()}
    content = {"source": "espnet 202511, espnet2.enh.separator.tfgridnet_separator", "configurations": record}
    (GOLDEN / "tf_gridnet_fp64.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def run(fill, args, samples, scales):
    """One configuration: its arguments, keys and shapes, output, gradients."""
    from espnet2.enh.separator.tfgridnet_separator import TFGridNet

    model = TFGridNet(None, **args)
    shapes = [[key, list(value.shape)] for key, value in model.state_dict().items()]
    model.load_state_dict(fill.fill(dict(shapes)))
    model.double()  # its norms' weights are fp32 by name
    mix = fill.inp(8000, samples, scales).double()
    y = torch.stack(model(mix, torch.full((len(mix),), samples))[0], 2)  # [B, T, S]
    y.square().sum().backward()
    at = sorted({0, 1, 2, 10, 100, samples // 2, samples - 2, samples - 1})
    return {
        "args": args,  # by ESPnet's names
        "sample_rate": 8000,
        "samples": samples,
        "scales": scales,
        "parameters": sum(p.numel() for p in model.parameters()),
        "state_dict": shapes,
        "output": {
            "shape": list(y.shape),
            "maxabs": float(y.abs().max()),
            "abssum": y.abs().sum(1).tolist(),
            "samples": {t: y[:, t].tolist() for t in at},
        },
        "gradients": {key: some(value.grad) for key, value in list(model.named_parameters())[::GRADIENTS]},
    }


def some(gradient):
    """Its largest entry, and the first, the middle and the last."""
    flat = gradient.flatten()
    at = {i: float(flat[i]) for i in sorted({0, len(flat) // 2, len(flat) - 1})}
    return {"maxabs": float(flat.abs().max()), "at": at}


def load(path):
    """A module by its file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
