"""How kernels read and write bfloat16: as PyTorch does, for every kind of number."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

half_rows = pytest.importorskip("lobes.kernels.half_rows")
LANES = half_rows.LANES


def float32(bits) -> torch.Tensor:
    return torch.from_numpy(np.asarray(bits, np.uint32).view(np.float32))


def bits_of(x: torch.Tensor) -> torch.Tensor:
    return x.view(torch.int16)


def test_every_bfloat16_is_widened_exactly():
    every = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16)[None, None]
    got = half_rows.converted(every, torch.float32)
    assert torch.equal(got.view(torch.int32), every.float().view(torch.int32))


def test_numbers_are_rounded_to_the_nearest_and_ties_to_even():
    upper = np.arange(0, 2**16, 7, dtype=np.uint32) << 16  # of every sign and exponent
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    x = float32((upper[:, None] | lower).ravel())[None, None]
    got, expected = half_rows.converted(x, torch.bfloat16), x.bfloat16()
    assert torch.equal(got.isnan(), expected.isnan()) and got.isnan().any()
    assert torch.equal(bits_of(got)[~got.isnan()], bits_of(expected)[~got.isnan()])
    special = float32([[[0x3F808000, 0x3F818000, 0x7F7FFFFF]]])
    tie_down, tie_up, beyond = half_rows.converted(special, torch.bfloat16)[0, 0]
    assert (tie_down, tie_up, beyond) == (1.0, 1.015625, float("inf"))


@pytest.mark.parametrize("channels", [1, LANES - 1, LANES, 2 * LANES + 3])
def test_nothing_is_written_behind_a_row(channels):
    wide = torch.full((1, 3, channels + 5), 7.0, dtype=torch.bfloat16)
    x = torch.randn(1, 3, channels)
    to = wide[..., 2 : channels + 2]  # rows with a distance
    half_rows.copy(half_rows.rows(x), half_rows.rows(to), 3, channels)
    assert torch.equal(to, x.bfloat16())
    assert (wide[..., :2] == 7).all() and (wide[..., channels + 2 :] == 7).all()


def test_a_conversion_that_is_wrong_is_not_used(monkeypatch, caplog):
    original = half_rows.converted
    monkeypatch.setattr(half_rows, "converted", lambda x, dtype: original(x, dtype) * 1.01)
    half_rows.half_rows_work.cache_clear()
    with caplog.at_level(logging.WARNING, logger="lobes.kernels"):
        assert not half_rows.half_rows_work()
    half_rows.half_rows_work.cache_clear()
    assert "do not read bfloat16 here (a small call of the conversion of bfloat16 is off by" in caplog.text
