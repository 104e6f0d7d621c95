"""SPMamba at every hop, against its reference written down in loops: over frames, over heads, over the steps of a scan.

The reference is the published description with the published state-dict keys (github.com/JusperLee/SPMamba @ f939f60);
nothing of `lobes` enters it. For the golden entries it gives the reference implementation's own numbers.
"""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lobes.models.convert import current_keys, to_upstream
from lobes.models.spmamba import SPMamba
from lobes.nnet.stft import WEAKEST

GOLDEN = json.loads(Path(__file__).with_name("spmamba_fp64.json").read_text())
SMALL = {"n_layers": 1, "emb_dim": 4, "emb_ks": 3, "n_heads": 2, "approx_qk_dim": 100, "expand": 2, "d_state": 4}


def hann(n_fft):
    return torch.sin(torch.pi * torch.arange(n_fft, dtype=torch.float64) / n_fft).square()


def stft(x, n_fft, hop):
    """Real and imaginary part [2, L, F] of x [T], frame after frame."""
    half, last, frames = n_fft // 2, len(x) - 1, []
    for frame in range(len(x) // hop + 1):
        positions = (torch.arange(n_fft) + frame * hop - half).abs()
        positions = torch.where(positions > last, 2 * last - positions, positions)
        frames.append(torch.fft.rfft(x[positions] * hann(n_fft)))
    return torch.view_as_real(torch.stack(frames)).permute(2, 0, 1)


def istft(spectrum, n_fft, hop, total):
    """Signal [T] of a spectrum [2, L, F], and the sum of the squared windows that it is divided by."""
    signal = torch.zeros(spectrum.shape[1] * hop + n_fft, dtype=torch.float64)
    weight = torch.zeros_like(signal)
    for number in range(spectrum.shape[1]):
        place = slice(number * hop, number * hop + n_fft)
        signal[place] += torch.fft.irfft(torch.complex(*spectrum[:, number]), n_fft) * hann(n_fft)
        weight[place] += hann(n_fft).square()
    signal, weight = (x[n_fft // 2 : n_fft // 2 + total] for x in (signal, weight))
    return signal / weight, weight


def over_channels(x, gamma, beta, dims):
    """Layer norm of x [1, C, L, F] over `dims`."""
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, correction=0, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * gamma + beta


def mamba(w, key, x):
    """x + Mamba(RMSNorm(x)) over x [M, steps, d], step after step."""
    mixer, h = f"{key}.mixer.", x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[f"{key}.norm.weight"]
    u, z = F.linear(h, w[mixer + "in_proj.weight"]).chunk(2, -1)
    kernel = w[mixer + "conv1d.weight"]
    u = F.conv1d(
        F.pad(u.transpose(1, 2), (kernel.shape[2] - 1, 0)), kernel, w[mixer + "conv1d.bias"], groups=u.shape[2]
    )
    u = F.silu(u.transpose(1, 2))
    rank, n = w[mixer + "dt_proj.weight"].shape[1], w[mixer + "A_log"].shape[1]
    dt, B, C = F.linear(u, w[mixer + "x_proj.weight"]).split([rank, n, n], -1)
    dt = F.softplus(F.linear(dt, w[mixer + "dt_proj.weight"], w[mixer + "dt_proj.bias"]))
    state, outputs = 0, []
    for t in range(x.shape[1]):
        decay = torch.exp(-dt[:, t, :, None] * w[mixer + "A_log"].exp())
        state = decay * state + (dt[:, t] * u[:, t])[..., None] * B[:, t, None]
        outputs.append((state * C[:, t, None]).sum(-1) + w[mixer + "D"] * u[:, t])
    return x + F.linear(torch.stack(outputs, 1) * F.silu(z), w[mixer + "out_proj.weight"])


def along(w, key, x, size, hop):
    """One path of a block over sequences x [M, C, S]: windows, both directions, transposed convolution."""
    windows = F.unfold(x[..., None], (size, 1), stride=(hop, 1)).transpose(1, 2)
    both = [mamba(w, f"{key}_mamba.forward_blocks.0", windows)]
    both.append(mamba(w, f"{key}_mamba.backward_blocks.0", windows.flip(1)).flip(1))
    y = torch.cat(both, -1).transpose(1, 2)
    return F.conv_transpose1d(y, w[f"{key}_linear.weight"], w[f"{key}_linear.bias"], stride=hop)


def projected(w, key, x):
    y = F.conv2d(x, w[f"{key}.0.weight"], w[f"{key}.0.bias"])
    return over_channels(F.prelu(y, w[f"{key}.1.weight"]), w[f"{key}.2.gamma"], w[f"{key}.2.beta"], (1, 3))


def attention(w, key, x, heads):
    """x [1, C, L, F] plus attention between its frames, head after head."""
    outputs = []
    for head in range(heads):
        q, k, v = (projected(w, f"{key}.attn_conv_{kind}_{head}", x) for kind in "QKV")
        flat = [part[0].transpose(0, 1).flatten(1) for part in (q, k, v)]  # [L, E F]
        scores = torch.softmax(flat[0] @ flat[1].T / math.sqrt(flat[0].shape[1]), -1)
        outputs.append((scores @ flat[2]).unflatten(1, v.shape[1::2]).transpose(0, 1)[None])
    return x + projected(w, f"{key}.attn_concat_proj", torch.cat(outputs, 1))


def block(w, key, x, size, hop, heads):
    """One block over x [1, C, L, F]."""
    frames, bins = x.shape[2:]
    more = [max(math.ceil((n - size) / hop), 0) * hop + size - n for n in (frames, bins)]
    x = F.pad(x, (0, more[1], 0, more[0]))
    h = over_channels(x, w[f"{key}.intra_norm.gamma"], w[f"{key}.intra_norm.beta"], 1)
    x = x + along(w, f"{key}.intra", h[0].transpose(0, 1), size, hop).transpose(0, 1)
    h = over_channels(x, w[f"{key}.inter_norm.gamma"], w[f"{key}.inter_norm.beta"], 1)
    x = x + along(w, f"{key}.inter", h[0].permute(2, 0, 1), size, hop).permute(1, 2, 0)
    return attention(w, key, x[:, :, :frames, :bins], heads)


def reference(w, x, model):
    """Estimates [T, S] of x [T], and the sum of the squared windows [T]; `model` gives the other sizes."""
    w, level, n_fft, hop = {k: v.double() for k, v in w.items()}, x.std(), model.stft.n_fft, model.stft.hop_length
    y = F.conv2d(stft(x / level, n_fft, hop)[None], w["conv.0.weight"], w["conv.0.bias"], padding=1)
    y = F.group_norm(y, 1, w["conv.1.weight"], w["conv.1.bias"])
    heads = sum(name.startswith("blocks.0.attn_conv_Q_") and name.endswith("0.bias") for name in w)
    size = w["blocks.0.intra_linear.weight"].shape[2]
    for i in range(len(model.blocks)):
        y = block(w, f"blocks.{i}", y, size, 1, heads)
    y = F.conv_transpose2d(y, w["deconv.weight"], w["deconv.bias"], padding=1)[0].unflatten(0, (-1, 2))  # [S, 2, L, F]
    signals, weights = zip(*(istft(spectrum, n_fft, hop, len(x)) for spectrum in y), strict=True)
    return torch.stack(signals, 1) * level, weights[0]


def with_weights(fill, **options):
    """A model in fp64 with weights by the golden rule, and these under the reference's keys."""
    model = SPMamba(**options)
    weights = fill(to_upstream(model))
    model.load_state_dict(current_keys(model, weights))
    return model.double(), weights


def test_the_loops_are_the_reference_implementation(fill, chirp):
    golden, (model, weights) = GOLDEN["librimix_L1"], with_weights(fill, n_layers=1)
    y, _ = reference(weights, chirp(8000, 2000)[0].double(), model)
    positions = [int(position) for position in golden["samples"]]
    expected = torch.tensor(list(golden["samples"].values()), dtype=torch.float64)  # [positions, S]
    assert (y[positions] - expected).abs().max() < 1e-9


def check(model, weights, x):
    """Equal where the inverse STFT is well conditioned, a fade-out where it is not."""
    with torch.no_grad():
        y = model(x[None].double())[0]
    expected, weight = reference(weights, x.double(), model)
    share = (weight / WEAKEST).clamp(max=1)[:, None]
    assert (share == 1).float().mean() > 0.9
    assert (y - expected * share).abs().max() < 1e-9 * (expected * share).abs().max()


@pytest.mark.parametrize("total", [1000, 1023, 1087])
def test_the_references_default_window_and_hop(total, fill, chirp):
    options = {"n_fft": 128, "hop_length": 64, "n_layers": 2, "emb_ks": 4}
    check(*with_weights(fill, **options), chirp(8000, total)[0])


@pytest.mark.parametrize(
    "n_fft,hop", [(128, 64), (126, 63), (126, 32), (100, 30), (128, 48), (126, 42), (64, 16), (64, 8)]
)
def test_every_hop_at_every_residue(n_fft, hop, fill, chirp):
    model, weights = with_weights(fill, **SMALL, n_fft=n_fft, hop_length=hop)
    shortest = max(n_fft // 2 + 1, 2 * hop)  # for the reference, with windows of three frames
    for total in (*range(shortest, shortest + hop, max(hop // 5, 1)), 4 * n_fft - 1, 4 * n_fft):
        check(model, weights, chirp(8000, total)[0])


@pytest.mark.parametrize("n_fft,hop", [(128, 64), (126, 32), (100, 30)])
def test_a_padded_item_equals_the_reference_alone(n_fft, hop, fill, chirp):
    model, weights = with_weights(fill, **SMALL, n_fft=n_fft, hop_length=hop)
    n = [400, 319, 257, 192]
    x = torch.full((len(n), 400), float("nan"), dtype=torch.float64)
    for i, end in enumerate(n):
        x[i, :end] = chirp(8000, end)[0] + 0.1 * i
    with torch.no_grad():
        y = model(x, torch.tensor(n) / 400)
    for i, end in enumerate(n):
        expected, weight = reference(weights, x[i, :end], model)
        share = (weight / WEAKEST).clamp(max=1)[:, None]
        assert (y[i, :end] - expected * share).abs().max() < 1e-9 * (expected * share).abs().max()
        assert not y[i, end:].any()


def test_signals_too_short_for_the_reference(fill, chirp):
    model, _ = with_weights(fill, **SMALL, n_fft=128, hop_length=64)
    with torch.no_grad():
        for total in range(1, 130):
            y = model(chirp(8000, total).double())
            assert y.shape == (1, total, 2) and y.isfinite().all()
