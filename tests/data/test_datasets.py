"""Datasets of mixtures: keys and shapes, cuts decided by seed, epoch and ID, and workers that are spawned."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from lobes.data import audio
from lobes.data.datasets import epoch_clock, examples, mixtures
from lobes.data.seeding import item_rng

SAMPLES, CUT = 4000, 1000
PARTS = ("mix", "s1", "s2")


@pytest.fixture
def rows(tmp_path):
    """Three mixtures: sample number t is t / 32768 in the mix, twice and three times as much in the sources."""
    found = [{"ID": ID, **{f"{part}_wav": str(tmp_path / f"{ID}_{part}.wav") for part in PARTS}} for ID in "abc"]
    for row in found:
        for factor, part in enumerate(PARTS, start=1):
            audio.write(row[f"{part}_wav"], factor * np.arange(SAMPLES) / 32768, 8000)
    return found


def start_of(item) -> int:
    return int(item["mix_sig"][0] * 32768)


def test_whole_mixtures(rows):
    dataset = mixtures(rows, 2, 8000)
    assert [item["id"] for item in dataset] == ["a", "b", "c"]
    item = dataset[1]
    assert set(item) == {"id", "mix_sig", "sources_sig"}
    assert item["mix_sig"].shape == (SAMPLES,) and item["sources_sig"].shape == (SAMPLES, 2)
    assert item["mix_sig"].dtype == item["sources_sig"].dtype == torch.float32
    torch.testing.assert_close(item["sources_sig"], item["mix_sig"][:, None] * torch.tensor([2.0, 3.0]))


def test_cuts_are_decided_by_seed_epoch_and_id(rows):
    clock = epoch_clock()
    dataset = mixtures(rows, 2, 8000, CUT, seed=7, clock=clock)
    for epoch in (1, 2):
        clock.fill_(epoch)
        starts = [start_of(item) for item in dataset]
        expected = [int(item_rng(7, epoch, row["ID"]).integers(SAMPLES - CUT + 1)) for row in rows]
        assert starts == expected
    item = dataset[0]
    assert item["mix_sig"].shape == (CUT,) and item["sources_sig"].shape == (CUT, 2)
    torch.testing.assert_close(item["sources_sig"][:, 0], 2 * item["mix_sig"])


def test_short_mixtures_stay_whole(rows):
    assert mixtures(rows, 1, 8000, SAMPLES + 1, 7, epoch_clock())[0]["mix_sig"].shape == (SAMPLES,)


def test_cuts_need_a_clock(rows):
    with pytest.raises(ValueError, match="need the clock"):
        mixtures(rows, 2, 8000, CUT)


def test_another_rate_is_refused(rows):
    with pytest.raises(audio.UserError, match="expected 16000 Hz"):
        mixtures(rows, 2, 16000)[0]


def test_further_keys_follow_the_signals():
    signals = np.zeros(8, np.float32), np.zeros((8, 1), np.float32)
    item = examples([{"ID": "a"}], lambda ID: (*signals, "SER", ID * 2), ["variant", "twice"])[0]
    assert (item["variant"], item["twice"], item["sources_sig"].shape) == ("SER", "aa", (8, 1))


def test_a_pickled_dataset_makes_the_same_items(rows):
    dataset = mixtures(rows, 2, 8000, CUT, seed=7, clock=torch.ones(1, dtype=torch.int64))
    copy = pickle.loads(pickle.dumps(dataset))
    assert all(torch.equal(copy[n]["sources_sig"], dataset[n]["sources_sig"]) for n in range(3))
