"""SPMamba beyond the reference: any length, silence, level, padding, precision, checkpointing, refusals."""

import pytest
import torch

from lobes.errors import UserError
from lobes.models.spmamba import SPMamba

SMALL = {"n_layers": 2, "emb_dim": 4, "emb_ks": 4, "n_heads": 2, "approx_qk_dim": 66, "expand": 1, "n_fft": 64}


def small(seed=0, **options):
    torch.manual_seed(seed)
    model = SPMamba(**{**SMALL, "hop_length": 16, **options})
    for p in model.parameters():  # away from the special values of a fresh model
        p.data += 0.05 * torch.randn_like(p)
    return model


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


WINDOWS = [{"emb_hs": 1}, {"emb_hs": 2}, {"emb_hs": 3}, {"emb_hs": 4}, {"emb_hs": 4, "hop_length": 32}]


@pytest.mark.parametrize("options", WINDOWS)
def test_padding_never_changes_the_valid_part(options):
    model, total = small(**options), 700
    n = [700, 433, 64, 31, 1]
    x = noise(len(n), total)
    padded = x.clone()
    for i, end in enumerate(n):
        padded[i, end:] = float("nan") if i % 2 else 1e3
    y = model(padded, torch.tensor(n) / total)
    assert y.shape == (len(n), total, 2)
    for i, end in enumerate(n):
        alone = model(x[i : i + 1, :end])[0]
        assert (y[i, :end] - alone).abs().max() < 1e-5 * alone.abs().max()
        assert (y[i, end:] == 0).all()


@pytest.mark.parametrize("options", WINDOWS)
@pytest.mark.parametrize("total", [1, 2, 33, 64, 447, 501])
def test_any_length_with_finite_gradients(options, total):
    model, x = small(**options), noise(2, total).requires_grad_()
    y = model(x)
    assert y.shape == (2, total, 2)
    y.square().sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("num_sources", [1, 2, 3])
def test_number_of_sources(num_sources):
    assert small(num_sources=num_sources)(noise(2, 301)).shape == (2, 301, num_sources)


def test_batch_items_do_not_touch_each_other():
    model, x = small(), noise(3, 400)
    assert torch.allclose(model(x)[1], model(x[1:2])[0], atol=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 10.0, 1e6])
def test_output_scales_with_the_input(scale):
    model, x = small(), noise(1, 400)
    y = model(x)
    assert (model(scale * x) / scale - y).abs().max() < 1e-5 * y.abs().max()


def test_the_sign_and_the_mean_of_the_input_matter():
    # the level is all that is normalised: an offset is part of the signal, as in the reference
    model, x = small(), noise(1, 400)
    assert not torch.allclose(model(x + 1), model(x), atol=1e-3)


def test_silence_in_silence_out_with_finite_gradients():
    model, x = small(), noise(2, 400)
    x[0] = 0
    x.requires_grad_()
    y = model(x)
    assert (y[0] == 0).all()
    assert (y[1] != 0).any()
    y.sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_checkpointing_changes_no_loss_and_no_gradient():
    results = []
    for gradient_checkpointing in (False, True):
        model = small(gradient_checkpointing=gradient_checkpointing)
        loss = model(noise(2, 400), torch.tensor([1.0, 0.7])).square().mean()
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in model.parameters())])
    for plain, recomputed in zip(*results, strict=True):
        assert torch.equal(plain, recomputed)


def test_all_parameters_are_used():
    model = small()
    model(noise(1, 400)).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("options", [{"emb_hs": 1}, {"emb_hs": 4}])
def test_bf16_autocast_is_finite_and_close(options):
    model, x = small(**options), noise(2, 700)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(x, torch.tensor([1.0, 0.6]))
        y.square().mean().backward()
    assert y.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in model.parameters())
    expected = model(x, torch.tensor([1.0, 0.6]))
    error = (y - expected).square().sum() / expected.square().sum()
    assert error < 1e-3  # 30 dB


def test_initial_step_sizes_and_decays():
    torch.manual_seed(0)
    model = SPMamba(n_layers=2, emb_ks=4)
    for name, p in model.named_parameters():
        if name.endswith("dt_proj.bias"):
            dt = torch.nn.functional.softplus(p)
            assert 1e-3 * 0.999 <= dt.min() and dt.max() <= 1e-1 * 1.001
        if name.endswith("A_log"):
            assert torch.allclose(p.exp(), torch.arange(1.0, 17).expand_as(p), rtol=1e-6)


def test_attributes_of_the_contract():
    model = SPMamba(num_sources=3, sample_rate=16000, n_layers=1)
    assert (model.sample_rate, model.num_sources, model.causal) == (16000, 3, False)


@pytest.mark.parametrize("name", ["input_dim", "lstm_hidden_units", "n_imics", "use_builtin_complex", "chunk_size"])
def test_dead_options_of_the_reference_are_refused(name):
    with pytest.raises(UserError, match=f"{name} is refused"):
        SPMamba(**{name: 1})


@pytest.mark.parametrize("name,meant", [("n_src", "n_"), ("emb_dims", "'emb_dim'"), ("hop_len", "'hop_length'")])
def test_unknown_options_are_refused_with_the_nearest_name(name, meant):
    with pytest.raises(UserError, match=f"unknown option {name}.*{meant}"):
        SPMamba(**{name: 1})


@pytest.mark.parametrize("shape", [(400,), (2, 1, 400), (2, 0)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"\[B, T\]"):
        small()(torch.zeros(shape))
