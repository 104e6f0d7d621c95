"""Another project's model by the name of its factory: the same interface, checked shapes, errors that name it."""

import sys
import types

import numpy as np
import pytest
import torch

from lobes.errors import UserError
from lobes.inference import Separator


class Halves:
    sample_rate, num_sources = 8000, 2

    def __call__(self, mix):
        return torch.stack([mix / 2, mix / 2])


class Wrong(Halves):
    def __call__(self, mix):
        return torch.stack([mix / 2, mix / 2], 1)


class Mute:
    sample_rate = 8000


class Scaled(Halves):
    def __init__(self, factor):
        self.factor = float(factor)

    def __call__(self, mix):
        return torch.stack([mix * self.factor, mix])


class Divides(Halves):
    def __call__(self, mix):
        return torch.stack([mix, mix]) / mix.abs().max()


@pytest.fixture(autouse=True)
def package(monkeypatch):
    module = types.ModuleType("other_project")
    module.halves, module.wrong, module.mute, module.scaled = Halves, Wrong, Mute, Scaled
    module.divides = Divides
    monkeypatch.setitem(sys.modules, "other_project", module)


def test_it_separates_like_any_other_model():
    separator = Separator.from_hparams("other_project:halves")
    assert (separator.num_sources, separator.sample_rate) == (2, 8000)
    mix = torch.randn(3, 1000)
    assert torch.equal(separator.separate_batch(mix), torch.stack([mix / 2, mix / 2], -1))
    short = separator.separate_batch(mix, torch.tensor([1.0, 0.5, 0.1]))
    assert torch.equal(short[1, :500, 0], mix[1, :500] / 2) and not short[1, 500:].any()


def test_silence_is_not_given_to_a_model_that_divides_by_the_level():
    silence_and_sound = torch.stack([torch.zeros(100), torch.ones(100)])
    separator = Separator.from_hparams("other_project:divides", level="model")
    separated = separator.separate_batch(silence_and_sound)
    assert not separated[0].any() and torch.equal(separated[1], torch.ones(100, 2))


@pytest.mark.parametrize(
    "name, message",
    [
        ("no_such_package:make", "no_such_package:make: cannot be imported: No module named"),
        ("other_project:halfs", "other_project:halfs: cannot be imported:.*halfs"),
        ("other_project:mute", "expected a factory of an object with sample_rate.*num_sources is missing"),
    ],
)
def test_what_cannot_be_made_is_named(name, message):
    with pytest.raises(UserError, match=message):
        Separator.from_hparams(name)


def test_a_wrong_shape_says_what_was_expected():
    separator = Separator.from_hparams("other_project:wrong")
    with pytest.raises(UserError, match=r"expected sources of shape \(2, 1000\).*got \(1000, 2\)"):
        separator.separate_batch(torch.randn(1, 1000))


def test_a_word_goes_to_the_factory():
    mix = torch.randn(1, 500)
    separator = Separator.from_hparams("other_project:scaled=0.25", level="model")
    assert torch.equal(separator.separate_batch(mix)[..., 0], mix * 0.25)


class Network(torch.nn.Module):
    """A stand-in with the interface of asteroid 0.7: sample_rate, [B,T] to [B,S,T]; DCUNet has no `masker.n_src`."""

    sample_rate, masker = 8000.0, torch.nn.Sequential()

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.masker.fix_length_mode = None

    def forward(self, wav):
        forms = {
            "masking": lambda: torch.stack([wav / 2, wav / 4], 1),
            "one source": lambda: wav[:, None] / 4 if self.masker.fix_length_mode == "pad" else wav.fail(),
            "tuple": lambda: (wav, wav),
            "stereo": lambda: wav[:, None, None].repeat(1, 2, 2, 1),
            "channels": lambda: wav @ torch.ones(3),
        }
        return forms[self.name]()


@pytest.fixture
def asteroid(monkeypatch):
    """A stand-in for the package; set `asteroid.from_pretrained` to change what a name gives."""
    base = types.SimpleNamespace(from_pretrained=Network)
    monkeypatch.setitem(sys.modules, "asteroid", types.ModuleType("asteroid"))
    monkeypatch.setitem(sys.modules, "asteroid.models", types.SimpleNamespace(BaseModel=base))
    return base


@pytest.mark.parametrize("name, sources", [("masking", 2), ("one source", 1)])
def test_asteroids_models(asteroid, name, sources):
    separator = Separator.from_hparams(f"lobes.inference.third_party:asteroid={name}", level="model")
    mix = torch.randn(2, 700)
    assert (separator.sample_rate, separator.num_sources) == (8000, sources)
    assert torch.equal(separator.separate_batch(mix)[..., -1], mix / 4)


@pytest.mark.parametrize(
    "name, message",
    [
        ("tuple", "tuple: a model of Asteroid that gives a tuple for a mixture of shape .1, 8000.. Covered.*DCUNet"),
        ("stereo", r"gives shape \(1, 2, 2, 8000\) for a mixture"),
        ("channels", "takes no mixture of one channel: RuntimeError.*Covered are ConvTasNet.*DeMask"),
    ],
)
def test_a_model_of_asteroid_of_another_kind_is_refused(asteroid, name, message):
    with pytest.raises(UserError, match=message) as caught:
        Separator.from_hparams(f"lobes.inference.third_party:asteroid={name}", level="model")
    assert "\n" not in str(caught.value)


def test_a_model_of_asteroid_without_a_rate_is_refused(asteroid, monkeypatch):
    monkeypatch.setattr(Network, "sample_rate", None)
    with pytest.raises(UserError, match="does not say its sample rate"):
        Separator.from_hparams("lobes.inference.third_party:asteroid=masking")


@pytest.mark.parametrize(
    "error, message",
    [
        (ConnectionError("no route"), "owner/net: no such file, and the Hugging Face hub cannot be reached"),
        (TypeError("an int64\nis none"), "a model of Asteroid that cannot be made: TypeError: an int64. Covered are"),
    ],
)
def test_asteroid_offline_and_a_model_that_asteroid_cannot_make(asteroid, error, message):
    def fails(name):
        raise error

    asteroid.from_pretrained = fails
    with pytest.raises(UserError, match=message):
        Separator.from_hparams("lobes.inference.third_party:asteroid=owner/net")


@pytest.mark.parametrize("weights", [True, False])
def test_clearvoices_models(monkeypatch, tmp_path, weights):
    """A stand-in with the interface of clearvoice 0.1.2, which goes on with random weights where it finds none."""
    settings = types.SimpleNamespace(sampling_rate=16000, num_spks=2, checkpoint_dir=str(tmp_path))

    class Tool:
        def __init__(self, task, model_names):
            assert (task, model_names) == ("speech_separation", ["MossFormer2_SS_16K"])
            self.models = [types.SimpleNamespace(args=settings)]

        def __call__(self, x):
            return np.stack([x / 2, x])  # [S,B,T]

    for name in ("clearvoice", "clearvoice.dataloader"):
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(ClearVoice=Tool))
    reader = types.SimpleNamespace(audio_norm=lambda x: (x * 4, 0.25))
    monkeypatch.setitem(sys.modules, "clearvoice.dataloader.dataloader", reader)
    word = "lobes.inference.third_party:clearvoice=MossFormer2_SS_16K"
    if not weights:
        with pytest.raises(UserError, match="could not be downloaded"):
            Separator.from_hparams(word)
        return
    (tmp_path / "last_best_checkpoint").write_text("model.pt")
    mix = torch.randn(1, 700) / 10
    estimates = Separator.from_hparams(word, level="model").separate_batch(mix)
    assert torch.equal(estimates[..., 0], mix / 2) and torch.equal(estimates[..., 1], mix)


@pytest.mark.parametrize("package", ["asteroid", "clearvoice"])
def test_a_package_that_is_not_installed_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"{package} is not installed.*pip install path/to/clone .*{package}=="):
        Separator.from_hparams(f"lobes.inference.third_party:{package}=some/model")
