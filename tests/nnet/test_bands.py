"""Band splits: sums, edges and refused sizes."""

from __future__ import annotations

import pytest

from lobes.errors import UserError
from lobes.nnet.bands import band_widths, runs


def test_the_fixed_split_has_the_published_edges():
    widths = band_widths()
    edges = [31.25 * sum(widths[:k]) for k in range(len(widths) + 1)]
    assert len(widths) == 31 and sum(widths) == 257
    assert edges[:3] == [0, 62.5, 156.25] and edges[11] == 1000 and edges[23] == 4000 and edges[30] == 7500


@pytest.mark.parametrize("split", ["bark", "erb", "mel"])
@pytest.mark.parametrize(
    "n_bands, n_bins, rate", [(31, 257, 16000), (1, 129, 8000), (129, 129, 8000), (40, 201, 16000)]
)
def test_perceptual_splits_cover_all_bins_and_widen(split, n_bands, n_bins, rate):
    widths = band_widths(split, n_bins, rate, n_bands)
    assert len(widths) == n_bands and sum(widths) == n_bins and min(widths) >= 1
    half = n_bands // 2
    assert sum(widths[:half]) <= sum(widths[-half:]) if half else True


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("fxed",), "unknown split fxed.*fixed"),
        (("fixed", 129), "257 bins in 31 bands.*n_fft 512"),
        (("mel", 129, 8000, 130), "between 1 and 129"),
    ],
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        band_widths(*arguments)


def test_runs_of_nothing():
    assert runs([]) == []
