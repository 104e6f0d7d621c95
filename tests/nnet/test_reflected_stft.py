"""The STFT pair with a hop reflected at both ends: against torch's, for any length, blind to padding."""

import pytest
import torch
import torch.nn.functional as F

from lobes.nnet.reflected_stft import ReflectedSTFT
from lobes.nnet.stft import STFT

LENGTHS = [700, 511, 65, 64, 1]


def signal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_in_evaluation_it_is_the_transform_of_the_longer_signal():
    stft, x = ReflectedSTFT(256, 64).eval(), signal(2, 1001)
    longer = F.pad(x[:, None], (64, 64), mode="reflect")[:, 0]
    window = torch.hann_window(256, dtype=torch.float64)
    expected = torch.stft(longer, 256, 64, window=window, return_complex=True)
    assert torch.allclose(stft(x), torch.view_as_real(expected).permute(0, 3, 2, 1))
    changed = expected * signal(*expected.shape)
    y = torch.istft(changed, 256, 64, window=window, length=1129)[:, 64:1065]
    assert torch.allclose(stft.inverse(torch.view_as_real(changed).permute(0, 3, 2, 1), 1001), y)


def test_in_training_it_is_the_plain_one():
    stft, plain, x, n = ReflectedSTFT(256, 64), STFT(256, 64), signal(2, 500), torch.tensor([500, 300])
    assert torch.equal(stft(x, n), plain(x, n)) and torch.equal(stft.frames(n), plain.frames(n))
    assert torch.equal(stft.inverse(plain(x), 500, n), plain.inverse(plain(x), 500, n))


@pytest.mark.parametrize("n_fft, hop", [(256, 64), (64, 32)])
def test_any_length_comes_back_and_padding_changes_nothing(n_fft, hop):
    stft, x, n = ReflectedSTFT(n_fft, hop).eval(), signal(len(LENGTHS), 700), torch.tensor(LENGTHS)
    for item, end in enumerate(LENGTHS):
        x[item, end:] = torch.nan
    spectra = stft(x, n)
    y = stft.inverse(spectra, 700, n)
    for item, end in enumerate(LENGTHS):
        alone = stft(x[item : item + 1, :end])
        frames = int(stft.frames(n)[item])
        assert alone.shape[2] == frames and torch.allclose(spectra[item, :, :frames], alone[0], atol=1e-12)
        assert not spectra[item, :, frames:].any() and not y[item, end:].any()
        assert torch.allclose(y[item, :end], x[item, :end], atol=1e-9)
