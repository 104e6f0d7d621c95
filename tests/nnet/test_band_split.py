"""Band split and band decoder against one module per band, with padding, and without a look ahead."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lobes.errors import UserError
from lobes.nnet.band_split import SMALLEST, BandDecoder, BandSplit
from lobes.nnet.banded import BandNorm, cumulative_norm

WIDTHS = [2, 3, 3, 5]
EXPANSIONS = [2, 2, 3, 3]


def scramble(module):
    torch.manual_seed(1)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module.double()


def band_weights(layers, stretches, band):
    """The weights of one band in grouped parameters."""
    for i, stretch in enumerate(stretches):
        if stretch.start <= band < stretch.stop:
            return [[values[i][band - stretch.start] for values in group] for group in layers]
    raise AssertionError(band)


def norm_and_linear(x, norm, linear, eps):
    """[B, L, C] -> [B, L, out] for one band, by torch's own layers."""
    y = F.group_norm(x.transpose(1, 2), 1, *norm, eps).transpose(1, 2)
    return F.linear(y, linear[0].t(), linear[1])


def split_by_bands(split, spectrum):
    pieces, start = [], 0
    norms = ([norm.weight for norm in split.norms], [norm.bias for norm in split.norms])
    for band, width in enumerate(split.widths):
        norm, linear = band_weights((norms, (split.linear.weights, split.linear.biases)), split.stretches, band)
        bins = spectrum[..., start : start + width].permute(0, 2, 3, 1).flatten(2)  # re, im of each bin
        pieces.append(norm_and_linear(bins, norm, linear, SMALLEST))
        start += width
    return torch.stack(pieces, 2)


def decode_by_bands(decoder, x):
    pieces = []
    norms = ([norm.weight for norm in decoder.norms], [norm.bias for norm in decoder.norms])
    layers = (norms, (decoder.hidden.weights, decoder.hidden.biases), (decoder.output.weights, decoder.output.biases))
    for band, width in enumerate(decoder.widths):
        norm, hidden, output = band_weights(layers, decoder.stretches, band)
        y = torch.tanh(norm_and_linear(x[:, :, band], norm, hidden, 1e-5))
        y = F.glu(F.linear(y, output[0].t(), output[1]), -1)
        pieces.append(y.unflatten(2, (width, -1)))
    return torch.cat(pieces, 2)


def gradients(y, tensors):
    torch.manual_seed(2)
    return torch.autograd.grad(y, tensors, torch.randn_like(y))


@pytest.mark.parametrize("kind", ["split", "decoder"])
def test_batched_bands_equal_band_after_band(kind):
    if kind == "split":
        module, slow, shape = scramble(BandSplit(WIDTHS, 6)), split_by_bands, (3, 2, 7, 13)
    else:
        module, slow, shape = scramble(BandDecoder(WIDTHS, 6, EXPANSIONS, 4)), decode_by_bands, (3, 7, 4, 6)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    y, expected = module(x), slow(module, x)
    assert torch.allclose(y, expected, atol=1e-10)
    tensors = [x, *module.parameters()]
    for got, want in zip(gradients(y, tensors), gradients(expected, tensors), strict=True):
        assert torch.allclose(got, want, atol=1e-10)


@pytest.mark.parametrize("causal", [False, True])
def test_padding_changes_nothing(causal):
    split, decoder = scramble(BandSplit(WIDTHS, 6, causal)), scramble(BandDecoder(WIDTHS, 6, causal=causal))
    spectrum = torch.randn(2, 2, 9, 13, dtype=torch.float64)
    spectrum[1, :, 5:] = torch.nan
    frames = torch.tensor([9, 5])
    y = decoder(split(spectrum, frames), frames)
    alone = decoder(split(spectrum[1:, :, :5]))
    assert torch.allclose(y[1, :5], alone[0], atol=1e-10) and torch.isfinite(y[0]).all()


def test_causal_norms_look_at_no_later_frame():
    split, decoder = scramble(BandSplit(WIDTHS, 6, True)), scramble(BandDecoder(WIDTHS, 6, causal=True))
    spectrum = torch.randn(1, 2, 9, 13, dtype=torch.float64)
    y = decoder(split(spectrum))
    spectrum[:, :, 6] = torch.nan
    later = decoder(split(spectrum))
    assert torch.equal(y[:, :6], later[:, :6]) and torch.isnan(later[:, 6:]).any((0, 2, 3)).all()


def test_the_cumulative_norm_ends_where_the_global_one_is():
    x = torch.randn(2, 9, 3, 4, dtype=torch.float64)
    deviation = x - x.mean((1, 3), keepdim=True)
    expected = deviation / (deviation.square().mean((1, 3), keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(cumulative_norm(x, None, 1e-5)[:, -1], expected[:, -1])


def test_the_level_of_the_input_does_not_matter():
    split = BandSplit(WIDTHS, 6, causal=True)
    spectrum = torch.randn(1, 2, 9, 13)
    assert torch.allclose(split(1e-5 * spectrum), split(spectrum), atol=1e-4)


def test_silence_has_finite_gradients():
    norm = BandNorm(6, 2, causal=True)
    norm(torch.zeros(1, 4, 2, 6)).sum().backward()
    assert torch.isfinite(norm.weight.grad).all() and torch.isfinite(norm.bias.grad).all()


def test_one_expansion_for_each_band():
    with pytest.raises(UserError, match="4 of them.*got 3"):
        BandDecoder(WIDTHS, 6, [1, 2, 3])
