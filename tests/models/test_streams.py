"""Streams: any chunks, the result of the whole signal, the stated latency, a bounded memory, clear refusals."""

import pytest
import torch
from speechbrain.lobes.models.conv_tasnet import Chomp1d, GlobalLayerNorm, MaskNet

from lobes.errors import UserError
from lobes.models import get_model
from lobes.models.base.envelope import SpectralModel
from lobes.models.bs_bimamba import BSBiMamba
from lobes.models.conv_tasnet import CausalMaskNet
from lobes.models.registry import preset_meta, streaming_presets
from lobes.nnet.level import running_level

SPMAMBA = {"n_layers": 2, "emb_dim": 4, "expand": 1, "d_state": 4}
BANDS = {"n_channels": 8, "n_layers": 2}
CONV = {"N": 16, "B": 8, "H": 8, "X": 3, "R": 2}
SMALL = {
    "spmamba_causal": SPMAMBA | {"n_heads": 2, "approx_qk_dim": 129, "attention_window": 3},
    "spmamba_causal_small": SPMAMBA,
    "mbs_net_causal": BANDS | {"d_state": 4},
    "mbs_net_causal_small": BANDS | {"d_state": 4},
    "bsrnn_causal": BANDS | {"expansion": 1},
    "convtasnet_cumulative": CONV,
}
MORE = {
    "spmamba, hops of one frame": lambda: get_model("spmamba_causal_small", **SPMAMBA, emb_hs=1),
    "spmamba, level none": lambda: get_model("spmamba_causal_small", **SPMAMBA, level="none"),
    "spmamba, a hop that does not divide the window": lambda: get_model(
        "spmamba_causal_small", **SPMAMBA, hop_length=90
    ),
    "mbs_net, two sources": lambda: get_model("mbs_net_causal", 2, **SMALL["mbs_net_causal"], branches=2),
    "bsrnn, two sources": lambda: get_model("bsrnn_causal", 2, **SMALL["bsrnn_causal"]),
    "convtasnet, odd filters": lambda: get_model("convtasnet_cumulative", **CONV, L=15),
    "bs_bimamba": lambda: BSBiMamba(2, 8, 1, 4, causal=True),
    "bs_bimamba, as published": lambda: BSBiMamba(3, 8, 1, 4, causal=True, as_published=True),
}


def make(name):
    torch.manual_seed(0)
    model = get_model(name, **SMALL[name]) if name in SMALL else MORE[name]()
    return model.eval()


@pytest.fixture(scope="module", params=[*SMALL, *MORE])
def model(request):
    return make(request.param)


@pytest.fixture(scope="module", params=SMALL)
def preset(request):
    return make(request.param)


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def whole(model, x):
    with torch.no_grad():
        return model(x)


def streamed(stream, x, sizes):
    """Feed `x` in chunks of the given sizes, the last one again and again."""
    parts, at, sizes = [], 0, list(sizes)
    while at < x.shape[1]:
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        parts.append(stream.feed(x[:, at : at + size]))
        at += size
    return torch.cat([*parts, stream.flush()], 1)


def test_every_preset_that_streams_is_tested_here():
    assert streaming_presets() == sorted(SMALL)


@pytest.mark.parametrize("sizes", [[37], [160], [1001], [9999], [1, 0, 5, 700, 2, 333]], ids=str)
def test_chunks_of_any_size_give_the_result_of_the_whole(model, sizes):
    x = noise(2, 3001)
    expected = whole(model, x)
    got = streamed(model.stream(), x, sizes)
    assert got.shape == expected.shape and (got - expected).abs().max() < 1e-5


@pytest.mark.parametrize("samples", [1, 2, 15, 16, 17, 200, 257, 513])
def test_signals_shorter_than_a_window(preset, samples):
    x = noise(1, samples)
    for size in (1, 100) if samples < 300 else (100,):
        got = streamed(preset.stream(), x, [size])
        assert got.shape == (1, samples, preset.num_sources) and (got - whole(preset, x)).abs().max() < 1e-5


def test_one_sample_at_a_time(preset):
    x = noise(1, 900)
    assert (streamed(preset.stream(), x, [1]) - whole(preset, x)).abs().max() < 1e-5


def test_the_latency_is_the_one_stated(preset):
    """In both senses: changed samples leave what is older equal, and samples come out when they are due."""
    stream, x, at = preset.stream(), noise(1, 3000), 2000
    assert stream.latency == preset.lookahead + 1
    expected = whole(preset, x)
    changed = x.clone()
    changed[:, at:] = 3 * noise(1, 1000, seed=2)
    got = whole(preset, changed)
    first = at - preset.lookahead
    assert torch.equal(got[:, :first], expected[:, :first])
    assert (got[:, first : first + stream.latency] != expected[:, first : first + stream.latency]).any()
    out = 0
    for fed in range(50, 3001, 50):
        out += stream.feed(x[:, fed - 50 : fed]).shape[1]
        assert fed - stream.latency < out <= fed


@pytest.mark.parametrize("name", SMALL)
def test_the_preset_states_its_latency(name):
    model = make(name)
    assert preset_meta(name)["latency_ms"] == model.stream().latency_ms
    # what the convolutions of a ConvTasNet see of the past stands before it
    reach = preset_meta(name)["receptive_field"].removeprefix("0.51 s; its norms the ")
    assert reach == f"past, and {model.stream().latency_ms:.0f} ms"


def test_a_stream_gives_nothing_that_the_future_could_change(preset):
    """The chunks that come out are final: another future gives the same."""
    x, changed = noise(1, 2000), noise(1, 2000)
    changed[:, 1200:] = 0
    streams = preset.stream(), preset.stream()
    first, second = (stream.feed(signal[:, :1200]) for stream, signal in zip(streams, (x, changed), strict=True))
    assert torch.equal(first, second)


def test_streams_do_not_see_each_other(preset):
    x, y = noise(1, 1500), 5 * noise(1, 1500, seed=2)
    one, two, parts = preset.stream(), preset.stream(), ([], [])
    for a, b in zip(x.split(100, 1), y.split(100, 1), strict=True):
        parts[0].append(one.feed(a))
        parts[1].append(two.feed(b))
    for stream, signal, found in zip((one, two), (x, y), parts, strict=True):
        got = torch.cat([*found, stream.flush()], 1)
        assert (got - whole(preset, signal)).abs().max() < 1e-5 * signal.abs().max()


def test_a_batch_is_streamed_item_by_item(preset):
    level = torch.tensor([1.0, 10.0, 0.0])[:, None]
    x = level * noise(3, 1500)
    got = streamed(preset.stream(), x, [333])
    alone = torch.cat([streamed(preset.stream(), item, [333]) for item in x.split(1)])
    unit = level.clamp(min=1.0)[..., None]  # the promise is of items at unit level
    assert torch.allclose(got / unit, alone / unit, atol=1e-5) and not got[2].any()


def test_reset_starts_anew(preset):
    stream, x = preset.stream(), noise(1, 1200)
    streamed(stream, 7 * noise(1, 777, seed=3), [100])
    with pytest.raises(UserError, match=r"the stream has ended.*reset"):
        stream.feed(x)
    with pytest.raises(UserError, match="the stream has ended"):
        stream.flush()
    stream.reset()
    stream.feed(noise(2, 50))
    stream.reset()
    assert (streamed(stream, x, [100]) - whole(preset, x)).abs().max() < 1e-5


@pytest.mark.parametrize("silence", [300, 1500])
def test_a_start_in_silence(preset, silence):
    x = noise(1, 3000)
    x[:, :silence] = 0
    got = streamed(preset.stream(), x, [200])
    assert got.isfinite().all() and (got - whole(preset, x)).abs().max() < 1e-5
    assert not got[:, : max(silence - preset.lookahead, 0)].any()


def test_a_stream_follows_the_level(preset):
    x = noise(1, 1500)
    got = streamed(preset.stream(), 1e-4 * x, [100])
    assert (1e4 * got - whole(preset, x)).abs().max() < 1e-4


def test_empty_streams_and_chunks(preset):
    assert preset.stream().flush().shape == (1, 0, preset.num_sources)
    stream = preset.stream()
    assert stream.feed(torch.zeros(1, 0)).shape == (1, 0, preset.num_sources)
    x = noise(2, 200)
    got = torch.cat([stream.feed(x[:, :90]), stream.feed(x[:, :0]), stream.feed(x[:, 90:]), stream.flush()], 1)
    assert (got - whole(preset, x)).abs().max() < 1e-5


def test_nothing_grows_with_the_stream(preset):
    stream, kept = preset.stream(), []

    def bytes_of(value):
        if torch.is_tensor(value):
            return len(value.untyped_storage())
        return sum(map(bytes_of, value)) if isinstance(value, tuple) else 0

    for number, chunk in enumerate(noise(1, 24 * 1024).split(1024, 1)):
        stream.feed(chunk)
        if number in (7, 23):
            kept.append(sum(bytes_of(value) for value in stream.memory.values()))
    assert kept[0] == kept[1]


def test_chunks_of_another_shape_are_refused(preset):
    stream = preset.stream()
    stream.feed(noise(2, 100))
    for x in (noise(3, 100), noise(100), noise(2, 1, 100)):
        with pytest.raises(UserError, match=r"expected a chunk \[2, n\]"):
            stream.feed(x)


@pytest.mark.parametrize("name", ["spmamba_tiny", "spmamba_local", "mbs_net", "bsrnn_local_norms", "tf_gridnet_mini"])
def test_models_that_look_ahead_are_refused_and_name_those_that_do_not(name):
    with pytest.raises(
        UserError, match=r"looks at later samples.*convtasnet_cumulative, mbs_net_causal.*spmamba_causal"
    ):
        get_model(name, n_layers=1).eval().stream()


def test_a_causal_network_of_another_kind_is_refused():
    with pytest.raises(UserError, match="this one keeps nothing of earlier chunks. Presets that stream"):
        SpectralModel(causal=True).eval().stream()


def test_a_model_in_training_is_refused(preset):
    preset.train()
    try:
        with pytest.raises(UserError, match="eval"):
            preset.stream()
    finally:
        preset.eval()


def test_a_causal_model_learns(preset):
    torch.manual_seed(0)
    model = make(next(name for name in SMALL if type(get_model(name, **SMALL[name])) is type(preset))).train()
    mix, target = noise(2, 2000), noise(2, 2000, seed=4)[..., None].expand(-1, -1, model.num_sources)
    target = 0.5 * mix[..., None] + 0.1 * target
    optimizer, losses = torch.optim.Adam(model.parameters(), 5e-3), []
    for _ in range(5):
        loss = (model(mix, torch.tensor([1.0, 0.7])) - target)[:, :1400].square().mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert (streamed(model.eval().stream(), mix, [100]) - whole(model, mix)).abs().max() < 1e-5


def test_gradients_reach_every_parameter_of_the_causal_spmamba():
    model = make("spmamba_causal").train()
    (model(noise(2, 3000)) - noise(2, 3000, 2, seed=2)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_checkpointing_the_causal_spmamba_changes_nothing():
    x, grads = noise(1, 1000), []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = get_model("spmamba_causal", **SMALL["spmamba_causal"], gradient_checkpointing=checkpointing)
        model(x).square().sum().backward()
        grads.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_a_causal_spmamba_needs_a_window_or_no_attention():
    with pytest.raises(UserError, match="n_heads: 0"):
        get_model("spmamba_tiny", causal=True)
    assert get_model("spmamba_tiny", causal=True, n_heads=0).blocks[0].attention is None


def test_an_spmamba_without_heads_has_no_attention():
    model = get_model("spmamba_tiny", n_heads=0, n_layers=1)
    assert not [name for name, _ in model.named_parameters() if "attention" in name]
    assert model(noise(2, 900)).shape == (2, 900, 2)


def test_running_level_counts_no_silence_and_has_finite_gradients():
    spectrum = torch.zeros(1, 2, 6, 3, dtype=torch.float64)
    spectrum[:, :, 2], spectrum[:, :, 4] = 1, 2
    spectrum.requires_grad_()
    level = running_level(spectrum)
    assert torch.allclose(level[0, 0, :, 0].square(), torch.tensor([0, 0, 2, 2, 5, 5], dtype=torch.float64))
    level.sum().backward()
    assert spectrum.grad.isfinite().all()


class Cumulative(torch.nn.Module):
    """Equation 15 of the paper, frame by frame."""

    def __init__(self, gamma, beta):
        super().__init__()
        self.gamma, self.beta = gamma, beta

    def forward(self, x):  # [B, L, C]
        frames = []
        for last in range(x.shape[1]):
            seen = x[:, : last + 1].flatten(1)
            mean, variance = seen.mean(1)[:, None], seen.var(1, correction=0)[:, None]
            frames.append((x[:, last] - mean) / (variance + 1e-8).sqrt())
        return torch.stack(frames, 1) * self.gamma + self.beta


def test_the_causal_mask_network_is_speechbrains_with_cumulative_norms():
    torch.manual_seed(0)
    theirs = MaskNet(16, 8, 12, 3, 3, 2, 2, norm_type="gLN", causal=True).double()
    for parameter in theirs.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    theirs.layer_norm = Cumulative(theirs.layer_norm.gamma.data, theirs.layer_norm.beta.data)
    for module in list(theirs.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, GlobalLayerNorm):
                setattr(module, name, Cumulative(child.gamma.data, child.beta.data))
            if isinstance(child, Chomp1d):
                assert lacks_the_present_frame(module)
                setattr(module, name, torch.nn.Identity())
                module["conv_0"].conv.padding = (0,)  # it pads in front itself
    ours = CausalMaskNet(16, 8, 12, 3, 3, 2, 2).double()
    copy_weights(theirs, ours)
    x = torch.rand(2, 16, 40, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), atol=1e-6)


def lacks_the_present_frame(separable):
    """Whether SpeechBrain's causal convolution first answers one dilation late: it is padded twice and cut once."""
    conv, chomp = list(separable.values())[:2]
    x = torch.zeros(1, 40, conv.conv.weight.shape[0], dtype=torch.float64)
    x[:, 10] = 1
    first = int(chomp(conv(x)).abs().sum(2)[0].nonzero()[0, 0])
    return first == 10 + conv.dilation


def copy_weights(theirs, ours):
    """Put the weights of SpeechBrain's layers into ours, in their order."""
    ours.norm.weight.data, ours.norm.bias.data = theirs.layer_norm.gamma.flatten(), theirs.layer_norm.beta.flatten()
    ours.bottleneck.weight.data = theirs.bottleneck_conv1x1.conv.weight[..., 0].data
    ours.masks.weight.data = theirs.mask_conv1x1.conv.weight[..., 0].data
    for block, their in zip(ours.blocks, theirs.temporal_conv_net.values(), strict=True):
        conv, act, norm, separable = their.layers.values()
        depthwise, _, act2, norm2, pointwise = separable.values()
        block.widen[0].weight.data, block.widen[1].weight.data = conv.conv.weight[..., 0].data, act.weight.data
        block.conv.weight.data, block.activation.weight.data = depthwise.conv.weight.data, act2.weight.data
        block.narrow.weight.data = pointwise.conv.weight[..., 0].data
        for mine, one in ((block.norm, norm), (block.conv_norm, norm2)):
            mine.weight.data, mine.bias.data = one.gamma.flatten(), one.beta.flatten()


def test_what_comes_out_may_be_used_in_training(preset):
    stream, weight = preset.stream(), torch.ones((), requires_grad=True)
    y = torch.cat([stream.feed(noise(1, 700)), stream.flush()], 1)
    assert not y.requires_grad and not y.is_inference()
    (weight * y).sum().backward()
    y += 1


def test_bfloat16_stays_finite_and_gives_single_precision(preset):
    x = noise(2, 2000) * torch.tensor([1.0, 1e-6])[:, None]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        y = preset(x)
        got = streamed(preset.stream(), x, [300])
    assert y.dtype == got.dtype == torch.float32 and y.isfinite().all() and got.isfinite().all()
