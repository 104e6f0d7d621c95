"""The STFT pair of a stream equals that of whole signals, for any length, size and cut."""

import pytest
import torch

from lobes.nnet.stft import STFT
from lobes.nnet.stft_stream import Analysis, Synthesis

SIZES = [(256, 64), (256, 128), (64, 20), (32, 16), (32, 15)]
LENGTHS = [1, 2, 15, 16, 17, 33, 127, 128, 129, 640, 1023]


def chunked(stft, x, size):
    analysis, synthesis, spectra, signals = Analysis(stft), Synthesis(stft), [], []
    for chunk in x.split(size, 1):
        spectra.append(analysis.feed(chunk))
        signals.append(synthesis.feed(spectra[-1]))
        fed = sum(part.shape[1] for part in signals)
        assert fed <= x.shape[1]
    spectra.append(analysis.flush())
    signals.append(synthesis.flush(spectra[-1], x.shape[1]))
    return torch.cat(spectra, 2), torch.cat(signals, 1)


@pytest.mark.parametrize("n_fft,hop", SIZES)
@pytest.mark.parametrize("size", [1, 7, 100, 5000])
def test_chunks_give_the_frames_and_samples_of_the_whole(n_fft, hop, size):
    stft, generator = STFT(n_fft, hop), torch.Generator().manual_seed(0)
    for total in LENGTHS if size > 1 else LENGTHS[:8]:
        x = torch.randn(2, total, generator=generator)
        spectra, signals = chunked(stft, x, size)
        assert torch.equal(spectra, stft(x))
        whole = stft.inverse(stft(x), total)
        assert signals.shape == whole.shape and torch.allclose(signals, whole, atol=1e-6)


def test_a_sample_comes_out_when_one_window_is_in():
    stft, x = STFT(64, 16), torch.randn(1, 400)
    analysis, synthesis = Analysis(stft), Synthesis(stft)
    out, lags = 0, []
    for t in range(400):
        out += synthesis.feed(analysis.feed(x[:, t : t + 1])).shape[1]
        lags.append(t + 1 - out)
    assert max(lags[100:]) == 63 and min(lags[100:]) == 48


def test_nothing_grows_with_the_signal():
    stft = STFT(64, 16)
    analysis, synthesis = Analysis(stft), Synthesis(stft)
    for chunk in torch.randn(1, 4000).split(37, 1):
        synthesis.feed(analysis.feed(chunk))
    kept = [analysis.waiting, analysis.recent, synthesis.signal, synthesis.weight]
    assert sum(len(x.untyped_storage()) // 4 for x in kept) < 4 * 64


def test_an_end_without_a_start_is_refused():
    with pytest.raises(ValueError, match="some samples"):
        Analysis(STFT(64, 16)).flush()
