"""The envelope of the models on spectra, around networks of one line."""

import pytest
import torch

from lobes.errors import UserError
from lobes.models import get_model
from lobes.models.base.band_model import BandModel
from lobes.models.base.envelope import SpectralModel
from lobes.nnet.level import item_level


class Copies(SpectralModel):
    """Source s is s + 1 times the mixture; it notes the spectra and frames that it gets."""

    def estimate(self, spectrum, frames):
        self.seen = spectrum, frames
        gains = torch.arange(1.0, self.num_sources + 1, dtype=spectrum.dtype)
        return spectrum[:, None] * gains[:, None, None, None]


class Centred(Copies):
    centred_level = True


class Halved(BandModel):
    def estimate_compressed(self, spectrum, frames):
        self.seen = spectrum
        return 0.5 * spectrum[:, None]


def noise(*shape):
    return 3 + torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


LENGTHS = torch.tensor([1.0, 0.5])


@pytest.mark.parametrize("kind", [Copies, Centred])
def test_level_and_details(kind):
    model, x = kind(num_sources=3, n_fft=64, hop_length=16), noise(2, 400)
    x[1, 200:] = torch.nan
    made = model(x, LENGTHS, details=True)
    assert made.samples.tolist() == [400, 200] and made.frames.tolist() == [26, 13]
    levels = [item_level(part, centred=kind is Centred) for part in (x[:1], x[1:, :200])]
    assert torch.allclose(made.level, torch.cat(levels))
    spectrum, frames = model.seen
    alone = model.stft(x[1:, :200] / levels[1])
    assert torch.allclose(spectrum[1:, :, :13], alone) and not spectrum[1, :, 13:].any() and frames is made.frames
    assert torch.equal(made.spectra[:, 1], 2 * spectrum)
    assert torch.allclose(made.estimates[0], x[0, :, None] * torch.tensor([1, 2, 3]))
    assert torch.allclose(made.estimates[1, :200], x[1, :200, None] * torch.tensor([1, 2, 3]))
    assert not made.estimates[1, 200:].any()
    assert torch.equal(model(x, LENGTHS), made.estimates) and torch.equal(
        model.enhance(x, LENGTHS), made.estimates[..., 0]
    )


@pytest.mark.parametrize("kind", [Copies, Centred])
def test_what_a_tone_leaves_in_other_bands_is_its_own(kind):
    """A norm over one band would make the rounding noise of scaled samples as loud as speech."""
    model, time = kind(n_fft=64, hop_length=16), torch.arange(400)
    tone = 0.3 * torch.sin(2 * torch.pi * (time % 16) / 16)[None]
    seen = []
    for x in (tone, tone.double()):
        model(x)
        seen.append(model.seen[0].double())
    assert torch.allclose(*seen, rtol=1e-5, atol=1e-10)


def test_padding_of_any_kind_leaves_the_gradients_finite():
    x = noise(2, 400)
    x[1, 200:] = torch.nan
    x.requires_grad_()
    Copies(n_fft=64, hop_length=16)(x, LENGTHS).square().sum().backward()
    assert x.grad.isfinite().all() and not x.grad[1, 200:].any()


def test_full_items_have_no_counts():
    made = Copies(n_fft=64, hop_length=16)(noise(2, 400), torch.ones(2), details=True)
    assert made.samples is made.frames is None


def test_a_causal_model_sees_the_mixture_as_it_is():
    model, x = Copies(n_fft=64, hop_length=16, causal=True), noise(1, 400)
    made = model(x, details=True)
    assert made.level.tolist() == [[1.0]] and torch.equal(model.seen[0], model.stft(x)) and model.lookahead == 63
    assert Copies().lookahead is None


def test_without_a_level_the_network_sees_the_waveform_as_it_is():
    model, x = Copies(n_fft=64, hop_length=16, level="none"), noise(2, 400)
    made = model(x, details=True)
    assert made.level.tolist() == [[1.0], [1.0]] and torch.equal(model.seen[0], model.stft(x))
    assert torch.allclose(made.estimates[..., 0], x)
    with pytest.raises(UserError, match="level: expected item or none, got 'rms'"):
        Copies(level="rms")


@pytest.mark.parametrize("preset", ["spmamba_tiny", "tf_gridnet_mini", "mbs_net", "bs_bimamba_abl1_small"])
def test_every_model_on_spectra_has_the_option(preset):
    model = get_model(preset, n_layers=1, num_sources=1, level="none")
    seen, x = [], noise(1, 800).float()
    model.estimate = lambda spectrum, frames: seen.append(spectrum) or spectrum[:, None]
    model(x)
    assert torch.equal(seen[0], model.stft(x))


def test_networks_in_half_precision_give_spectra_in_single_precision():
    class Half(SpectralModel):
        def estimate(self, spectrum, frames):
            return spectrum[:, None].bfloat16()

    made = Half(n_fft=64, hop_length=16)(noise(1, 400).float(), details=True)
    assert made.spectra.dtype == made.estimates.dtype == torch.float32


def test_compression_is_undone():
    model, x = Halved(n_fft=64, hop_length=16, compress=0.5, split="mel", n_bands=8), noise(1, 400)
    y = model(x)[..., 0]
    assert torch.allclose(y, 0.25 * x, atol=1e-9)  # half of a square root
    magnitude = model.stft(x / item_level(x)).square().sum(1).sqrt()
    assert torch.allclose(model.seen.square().sum(1), magnitude)
    assert sum(model.widths) == 33 and len(model.widths) == 8
