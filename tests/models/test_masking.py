"""MaskingSeparator over SpeechBrain's lobes: the model contract."""

import pytest
import torch
from torch import nn

from lobes.errors import UserError
from lobes.models.masking import MaskingSeparator
from lobes.models.registry import get_model


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return get_model("convtasnet_tiny", N=16, B=8, H=8, X=3, R=1)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("total", [1, 7, 15, 16, 17, 100, 801])
@pytest.mark.parametrize("batch", [1, 3])
def test_any_length(model, total, batch):
    x = noise(batch, total).requires_grad_()
    y = model(x)
    assert y.shape == (batch, total, 2)
    y.square().sum().backward()
    assert x.grad.isfinite().all()


def test_the_widest_reflection_fits_the_shortest_input():
    for preset in ("convtasnet", "convtasnet_tiny"):
        with torch.no_grad():
            assert get_model(preset, N=8, B=4, H=4, R=1)(noise(1, 1)).shape == (1, 1, 2)


def test_padding_never_changes_the_valid_part(model):
    n, x = [800, 500, 500, 9, 1], noise(5, 800)
    padded = x.clone()
    for i, end in enumerate(n):
        padded[i, end:] = float("nan")
    y = model(padded, torch.tensor(n) / 800)
    for i, end in enumerate(n):
        assert torch.allclose(y[i, :end], model(x[i : i + 1, :end])[0], atol=1e-5)
        assert (y[i, end:] == 0).all()


def test_gradients_reach_the_weights_with_unequal_lengths(model):
    model.zero_grad()
    model(noise(2, 300), torch.tensor([1.0, 0.5])).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("scale", [1e-6, 10.0])
def test_output_scales_with_the_input(model, scale):
    x = noise(1, 400)
    y = model(x)
    assert (model(scale * x) / scale - y).abs().max() < 1e-5 * y.abs().max()


def test_silence_in_silence_out_with_finite_gradients(model):
    x = noise(2, 400)
    x[0] = 0
    x.requires_grad_()
    model.zero_grad()
    y = model(x)
    assert (y[0] == 0).all() and (y[1] != 0).any()
    y.sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_encoder_masks_and_decoder_are_used_as_in_the_masking_equation():
    class Masks(nn.Module):
        def forward(self, x):
            return torch.stack([torch.ones_like(x), torch.zeros_like(x)])

    class Frames(nn.Module):
        def forward(self, x):
            return x.unfold(1, 4, 4).transpose(1, 2)  # [B, 4, L]

    class Join(nn.Module):
        def forward(self, x):
            return x.transpose(1, 2).flatten(1)

    model, x = MaskingSeparator(Frames(), Masks(), Join(), kernel_size=4, stride=4), noise(2, 10)
    y = model(x)
    assert torch.allclose(y[..., 0], x, atol=1e-6)
    assert (y[..., 1] == 0).all()


def test_wrong_number_of_masks_is_an_error():
    lobe = get_model("convtasnet_tiny", N=16, B=8, H=8, X=3, R=1)
    model = MaskingSeparator(lobe.encoder, lobe.masknet, lobe.decoder, num_sources=3, min_frames=lobe.min_frames)
    with pytest.raises(UserError, match="expected 3 masks, the mask network gives 2"):
        model(noise(1, 400))


def test_wrong_shapes_are_refused(model):
    with pytest.raises(ValueError, match=r"\[B, T\]"):
        model(torch.zeros(400))


def test_level_none_uses_the_mixture_as_it_is():
    class Biased(nn.Module):
        def forward(self, x):
            return torch.sigmoid(x + 1)[None].repeat(2, 1, 1, 1)

    lobe, x = get_model("convtasnet_tiny", N=16, B=8, H=8, X=3, R=1), noise(1, 400)
    parts = (lobe.encoder, Biased(), lobe.decoder)
    item, none = (MaskingSeparator(*parts, level=level) for level in ("item", "none"))
    level = x.square().mean().sqrt()
    with torch.no_grad():
        assert torch.allclose(item(x), none(x / level) * level, atol=1e-6)
        assert (none(3 * x) - 3 * none(x)).abs().max() > 1e-2 * none(x).abs().max()
    with pytest.raises(UserError, match="level: expected item or none, got 'nome'. Did you mean 'none'"):
        MaskingSeparator(*parts, level="nome")


# ------------------------------------------------------------------ torch.jit.trace and torch.export
TRACED = [("mamba_tasnet_tiny", {"N": 8, "d_model": 8, "n_layers": 1}), ("dpmamba_tiny", {}), ("convtasnet_tiny", {})]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in TRACED[1:]]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.:DeprecationWarning")
@pytest.mark.parametrize(("preset", "sizes"), [TRACED[0], *SLOW])
def test_a_traced_network_is_the_network_at_other_lengths(preset, sizes):
    """T2-84"""
    model = get_model(preset, **sizes).eval()
    with torch.jit.optimized_execution(False):
        traced = torch.jit.trace(model, noise(1, 900))
        for batch, samples in ((1, 901), (3, 2000), (1, 500)):
            mix = noise(batch, samples)
            got, expected = (net(mix) for net in (traced, model))
            assert torch.equal(got, expected)
        slopes = [torch.autograd.grad(y.square().sum(), list(model.parameters())) for y in (got, expected)]
    assert all((a - b).abs().max() <= 1e-4 * b.abs().max() + 1e-6 for a, b in zip(*slopes, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "sizes"), [*TRACED, ("spmamba_tiny", {})])
def test_an_exported_program_is_the_network(preset, sizes):
    """T2-84"""
    model, mix = get_model(preset, **sizes).eval(), noise(1, 900)
    assert torch.allclose(torch.export.export(model, (mix,)).module()(mix), model(mix), atol=1e-6)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.:DeprecationWarning")
@pytest.mark.parametrize("preset", ["spmamba_tiny", "bsrnn_8k_tiny"])
def test_tracing_a_network_on_spectra_is_refused(preset):
    """T2-84"""
    with pytest.raises(UserError, match="keep the length of its example.*torch.export.export"):
        torch.jit.trace(get_model(preset), noise(1, 4000))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.:DeprecationWarning")
def test_tracing_what_an_example_decides_is_refused(model):
    """T2-84: lengths, items one by one, and the fewest frames would be those of the example."""
    apart = MaskingSeparator(model.encoder, model.masknet, model.decoder, min_frames=model.min_frames, one_by_one=True)
    lengths = torch.tensor([1.0, 0.5])
    for network, example in ((model, (noise(2, 400), lengths)), (apart, (noise(1, 400),)), (model, (noise(1, 20),))):
        with pytest.raises(UserError, match="mixtures of more than 48 samples, without lengths and without one_by_one"):
            torch.jit.trace(network, example)


@pytest.mark.parametrize("size", ["", "16", 0, -1, 2.5, None])
@pytest.mark.parametrize("name", ["num_sources", "kernel_size", "min_frames"])
def test_a_size_that_is_none_is_refused(name, size):
    """A model's file may hold anything: it is found when the network is made, not at the first mixture."""
    with pytest.raises(UserError, match=f"{name}: expected a whole number from 1 up, got"):
        MaskingSeparator(torch.nn.Identity(), torch.nn.Identity(), torch.nn.Identity(), **{name: size})
