"""BSRNN, BS-BiMamba and MBS-Net: sizes, the model contract, causality, precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lobes.errors import UserError
from lobes.models import get_model, list_models
from lobes.models.bs_bimamba import ADAPTIVE, BSBiMamba
from lobes.models.bsrnn import BSRNN
from lobes.models.mbs_net import MBSNet
from lobes.nnet.mamba import Mamba

PRESETS = [name for name in list_models() if name.startswith(("bsrnn", "bs_bimamba", "mbs_net"))]
SMALL = {"n_channels": 8, "n_layers": 1}
MODELS = {
    "bsrnn": lambda **options: BSRNN(**SMALL, **options),
    "bsrnn_local": lambda **options: BSRNN(**SMALL, norms="local", start="passthrough", **options),
    "abl1": lambda **options: BSBiMamba(1, **SMALL, d_state=4, **options),
    "abl2_attention": lambda **options: BSBiMamba(2, **SMALL, d_state=4, n_heads=2, **options),
    "abl3_published": lambda **options: BSBiMamba(3, **SMALL, d_state=4, as_published=True, **options),
    "mbs_net": lambda **options: MBSNet(**SMALL, d_state=4, **options),
    "mbs_net_dual": lambda **options: MBSNet(**SMALL, d_state=4, branches=2, **options),
}


# joint norms and the attention see all frames
CAUSAL = [name for name in MODELS if name not in ("bsrnn", "abl2_attention")]


@pytest.fixture(params=list(MODELS))
def build(request):
    torch.manual_seed(0)
    return MODELS[request.param]


@pytest.fixture(params=CAUSAL)
def build_causal(request):
    torch.manual_seed(0)
    return lambda **options: MODELS[request.param](causal=True, **options)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    "ablation, layers, millions",
    [(1, 4, 4.309), (2, 4, 4.909), (3, 4, 4.102), (1, 1, 3.858), (2, 1, 4.009), (3, 1, 3.201)],
)
def test_published_sizes(ablation, layers, millions):
    assert round(count(BSBiMamba(ablation, n_layers=layers, as_published=True)) / 1e6, 3) == millions


@pytest.mark.parametrize("ablation, millions", [(1, 4.307), (2, 4.905), (3, 4.098)])
def test_corrected_sizes(ablation, millions):
    assert round(count(get_model(f"bs_bimamba_abl{ablation}", 1)) / 1e6, 3) == millions


def test_bsrnn_has_the_size_of_the_open_implementation():
    assert count(get_model("bsrnn", 1)) == 2_963_024


@pytest.mark.parametrize("preset", PRESETS)
def test_mambas_initialisation_survives(preset):
    mixers = [module for module in get_model(preset, 1).modules() if isinstance(module, Mamba)]
    assert mixers or preset.startswith("bsrnn")
    for mixer in mixers:
        dt = F.softplus(mixer.dt_proj.bias)
        assert 1e-3 - 1e-6 <= dt.min() and dt.max() <= 0.1 + 1e-6
        assert torch.allclose(mixer.A_log.exp(), torch.arange(1.0, mixer.d_state + 1).expand_as(mixer.A_log))


def test_ablation_3_gives_low_bands_less():
    assert BSBiMamba(3, **SMALL).decoder.hidden.biases[0].shape == (1, 16)
    assert len(ADAPTIVE) == 31 and ADAPTIVE[10] == 2 and ADAPTIVE[11] == 3 and ADAPTIVE[23] == 4


@pytest.mark.parametrize("samples", [1, 100, 513, 3001])
def test_any_length(build, samples):
    assert build()(torch.randn(2, samples)).shape == (2, samples, 1)


def test_the_contract(build):
    keeps_the_contract(build(num_sources=2))


def test_the_contract_of_causal_models(build_causal):
    keeps_the_contract(build_causal(num_sources=2))


def test_the_contract_with_a_reflected_hop():
    keeps_the_contract(BSRNN(**SMALL, num_sources=2, reflected_hop=True))


def keeps_the_contract(model):
    model = model.double().eval()
    x = torch.randn(2, 3000, dtype=torch.float64)
    with torch.no_grad():
        y = model(x)
        assert y.shape == (2, 3000, 2)
        assert torch.allclose(model(1e-4 * x), 1e-4 * y, atol=1e-9)
        assert not model(torch.zeros(1, 3000, dtype=torch.float64)).any()
        x[1, 2000:] = torch.nan
        padded = model(x, torch.tensor([1.0, 2 / 3]))
        assert torch.allclose(padded[1, :2000], model(x[1:, :2000])[0], atol=1e-7)
        assert not padded[1, 2000:].any() and torch.allclose(padded[0], y[0], atol=1e-7)


def test_an_untrained_model_lets_the_mixture_through(build):
    """A short training should not have to unlearn noise first; the published structure starts as it was published."""
    mix = torch.randn(2, 4000)
    with torch.no_grad():
        estimate = build()(mix)[..., 0]
    error_db = 10 * torch.log10((estimate - mix).square().sum() / mix.square().sum())
    published = build in (MODELS["abl3_published"], MODELS["bsrnn"])
    assert (error_db > -3) if published else (error_db < -8)


def test_enhance_is_the_first_estimate(build):
    x, model = torch.randn(2, 2000), build()
    assert torch.equal(model.enhance(x), model(x)[..., 0])


def test_spectra_come_as_they_went_in(build):
    model = build()
    parts = torch.randn(2, 2, 7, 257)
    got = model.spectra(parts)
    spectrum = model.spectra(torch.complex(parts[:, 0], parts[:, 1]))
    assert got.shape == (2, 1, 2, 7, 257) and spectrum.shape == (2, 1, 7, 257)
    assert torch.equal(torch.complex(got[:, :, 0], got[:, :, 1]), spectrum)


def test_causal_models_keep_to_their_look_ahead(build_causal):
    model = build_causal().eval()
    x, at = torch.randn(1, 4000), 2500
    y = model(x)
    x[:, at] = torch.nan
    later = model(x)
    first = at - model.lookahead
    assert torch.equal(later[:, :first], y[:, :first]) and torch.isnan(later[:, at]).all()


def test_other_models_look_at_the_whole_mixture(build):
    assert build().lookahead is None


def test_every_layer_of_a_causal_model_is_causal(build_causal):
    model = build_causal().eval()
    frames, seen = 12, []

    def watch(module, inputs, output):
        inputs = [x for x in inputs if torch.is_tensor(x) and x.is_floating_point()]
        if inputs and inputs[0].shape[:2] == (1, frames) and output.shape[:2] == (1, frames):
            x = inputs[0].detach().clone()
            before = module.forward(x)
            x[:, 5] = torch.nan
            after = module.forward(x)
            assert torch.equal(after[:, :5], before[:, :5]), type(module).__name__
            seen.append(type(module).__name__)

    for module in model.modules():
        module.register_forward_hook(watch)
    model.estimate(torch.randn(1, 2, frames, 257), None)
    assert len(set(seen)) >= 2, seen


def test_checkpointing_changes_nothing(build):
    x, results = torch.randn(1, 2000), []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = build(gradient_checkpointing=checkpointing)
        model(x).square().sum().backward()
        results.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_bfloat16_stays_finite_on_silent_clipped_and_tiny_clips(build):
    model = build()
    x = torch.randn(4, 4000)
    x[0], x[1], x[2] = 0, (10 * x[1]).clamp(-1, 1), 1e-6 * x[2]
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            y = model(x)
        assert y.dtype == torch.float32 and torch.isfinite(y).all()
        optimizer.zero_grad()
        (y[..., 0] - 0.5 * x).square().mean().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        optimizer.step()


def test_gradients_reach_every_parameter(build):
    model = build()
    (model(torch.randn(2, 3000)) - torch.randn(2, 3000, 1)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_what_cannot_be_is_refused():
    for options, words in (
        ({"ablation": 4}, "ablation 1, 2 or 3, got 4"),
        ({"n_fft": 400}, "257 bins"),
        ({"compress": 0.0}, "power in"),
        ({"expansion": [1, 2]}, "31 of them"),
        ({"n_heads": 3}, "n_channels=128, n_heads=3"),
        ({"n_heads": 4, "causal": True}, "later frames, got causal: true and n_heads: 4"),
    ):
        with pytest.raises(UserError, match=words):
            BSBiMamba(**options)
