"""Weights and inputs of the golden outputs of BSRNN, Mamba-TasNet and DPMamba (spmamba_fill.py has SPMamba's).

`fill` depends on the names and shapes alone. Its numbers come from integers, so every machine gets the same bits; other
than in spmamba_fill.py, matrices have full rank, so that a transposed or permuted weight shows. B batch, T samples.
"""

import math

import torch

LOW32 = 0xFFFFFFFF


def noise(count, key):
    """`count` numbers of [-1, 1) in fp64, the same for the same integer `key` on any machine."""
    h = (torch.arange(count, dtype=torch.int64) * 2654435769 + key * 40503 + 12345) & LOW32
    for shift, factor in ((16, 73244475), (15, 0x2C1B3C6D)):  # factors below 2^31: no product overflows
        h = ((h ^ (h >> shift)) * factor) & LOW32
    return (h ^ (h >> 16)).double() / 2**31 - 1


def fill(state):
    """fp32 weights for `state`, a mapping from the reference's keys to shapes or tensors.

    Keys are numbered in sorted order. The first rule that fits: logarithms of A (key ends in A_log or A_b_log):
    log(1..N) along the last axis + 0.1 noise; bias of a step size's projection: -3 + noise; scale of a norm (gamma, or
    the weight of a module with "norm" in its name), D and D_b: 1 + 0.2 noise; slope of a PReLU (the only weight of
    shape [1]): 0.25 + 0.1 noise; other vectors, and beta and bias of any shape: 0.1 noise; else noise * 1.5 /
    sqrt(entries of one slice along the first axis).
    """
    made = {}
    for key, name in enumerate(sorted(state)):
        shape = tuple(getattr(state[name], "shape", state[name]))
        u = noise(math.prod(shape), key).reshape(shape)
        *_, module, kind = ("", *name.split("."))
        if kind in ("A_log", "A_b_log"):
            w = torch.log(torch.arange(1, shape[-1] + 1, dtype=torch.float64)) + 0.1 * u
        elif module in ("dt_proj", "dt_proj_b") and kind == "bias":
            w = u - 3
        elif kind in ("D", "D_b", "gamma") or ("norm" in module and kind == "weight"):
            w = 1 + 0.2 * u
        elif shape == (1,) and kind == "weight":
            w = 0.25 + 0.1 * u
        elif len(shape) <= 1 or kind in ("beta", "bias"):
            w = 0.1 * u
        else:
            w = u * (1.5 / math.sqrt(math.prod(shape[1:])))
        made[name] = w.to(torch.float32)
    return made


def inp(sample_rate, samples, scales=(1.0,)):
    """fp32 input [B, T]: one chirp with a steady tone, for each item times its scale."""
    t = torch.arange(samples, dtype=torch.float64) / sample_rate
    x = 0.5 * torch.sin(2 * math.pi * 220 * t) + 0.3 * torch.sin(2 * math.pi * (333.3 + 400 * t) * t + 1.0)
    x = (x + 0.05 * torch.cos(2 * math.pi * 1234.5 * t)).to(torch.float32)
    return torch.stack([x * scale for scale in scales])
