"""The chain as recipes use it: seeded, the same for any worker, rank and order, and each stage on its own."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from lobes.data import audio
from lobes.data.augmentation.chain import KEYS, augmentation_of, refuse_without_sums
from lobes.data.augmentation.examples import StoredParts, augmented
from lobes.data.augmentation.parts import summed
from lobes.data.datasets import epoch_clock, examples, mixtures, stored_mixtures
from lobes.data.manifest import write_manifest
from lobes.data.seeding import item_rng
from lobes.errors import UserError

RATE, CUT = 8000, 3000
OFF = {
    "dynamic_mixing": False, "mixing_levels": [-5.0, 5.0], "mixing_snr": [0.0, 15.0], "speed_changes": None,
    "max_shift": 0, "rooms": None, "noise_folder": None, "noise_snr": [0.0, 20.0], "band_limits": None, "codecs": None,
    "augment_share": 1.0, "sample_rate": RATE,
}  # fmt: skip
ALL = OFF | {
    "dynamic_mixing": True, "speed_changes": [0.9, 1.0, 1.1], "max_shift": 200, "rooms": "simulated",
    "band_limits": [3000, 2000], "codecs": ["mp3", "ulaw", "opus"], "augment_share": 0.7,
}  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Six mixtures of two speakers and a noise."""
    folder, rng, found = tmp_path_factory.mktemp("mixtures"), np.random.default_rng(0), []
    for number in range(6):
        samples = int(rng.integers(4000, 6000))
        parts = {name: 0.1 * rng.standard_normal(samples) for name in ("s1", "s2", "noise")}
        row = {"ID": f"m{number}", "duration": samples / RATE, "speaker1": f"a{number % 3}", "speaker2": f"b{number}"}
        for name, x in {"mix": sum(parts.values()), **parts}.items():
            row[f"{name}_wav"] = str(folder / f"{number}_{name}.wav")
            audio.write(row[f"{name}_wav"], x, RATE, subtype="FLOAT")
        found.append(row)
    return found


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise")
    audio.write(folder / "n.wav", 0.1 * np.random.default_rng(1).standard_normal(20000), RATE)
    return {"noise_folder": str(folder)}


def dataset(rows, settings, epoch=1, seed=3):
    clock = epoch_clock()
    clock.fill_(epoch)
    return examples(rows, augmented(settings, rows, StoredParts(2, RATE), CUT, seed, clock))


def items(dataset, order=None, **options):
    loader = DataLoader(dataset, batch_size=None, sampler=order, **options)
    return {item["id"]: (item["mix_sig"], item["sources_sig"]) for item in loader}


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(a, b) for ID in one for a, b in zip(one[ID], other[ID], strict=True))


def test_an_example_depends_on_seed_epoch_and_id_alone(rows, noise):
    settings = ALL | noise
    alone = items(dataset(rows, settings))
    assert same(alone, items(dataset(rows, settings), order=range(5, -1, -1)))
    assert same(alone, items(dataset(rows, settings), num_workers=2))
    ranks = {}
    for rank in range(2):
        data = dataset(rows, settings)
        ranks |= items(data, order=DistributedSampler(data, 2, rank, shuffle=True, seed=9), num_workers=2)
    assert same(alone, ranks)
    for other in (dataset(rows, settings, epoch=2), dataset(rows, settings, seed=4)):
        assert not any(torch.equal(alone[ID][0], x) for ID, (x, _) in items(other).items())


def test_what_a_worker_gets_pickles(rows, noise):
    data = dataset(rows, ALL | noise)
    assert torch.equal(pickle.loads(pickle.dumps(data))[0]["mix_sig"], data[0]["mix_sig"])


def test_mixtures_are_the_sums_of_their_parts_until_they_are_coded(rows):
    clean = [{key: row[key] for key in row if key != "noise_wav"} for row in rows]
    settings = ALL | {"rooms": None, "band_limits": None, "codecs": None}
    for item in dataset(clean, settings):
        assert len(item["mix_sig"]) == CUT
        torch.testing.assert_close(item["mix_sig"], item["sources_sig"].sum(1), atol=1e-6, rtol=0)


def test_a_stage_moves_no_draw_of_the_others(rows, noise):
    """Targets are those of the chain without what comes after mixing; a codec leaves the noise where it was."""
    plain = OFF | {"dynamic_mixing": True, "speed_changes": [0.9, 1.1], "max_shift": 100}
    more = plain | noise | {"codecs": ["ulaw"], "rooms": "simulated"}
    for one, other in zip(dataset(rows, plain), dataset(rows, more), strict=True):
        assert torch.equal(one["sources_sig"], other["sources_sig"])
        assert not torch.equal(one["mix_sig"], other["mix_sig"])
    noisy, coded = dataset(rows, OFF | noise), dataset(rows, OFF | noise | {"codecs": ["ulaw"]})
    for one, other in zip(noisy, coded, strict=True):
        error = (one["mix_sig"] - other["mix_sig"]).square().sum() / one["mix_sig"].square().sum()
        assert 0 < error < 1e-3


def test_stages_do_not_draw_alike():
    draws = [
        item_rng(1, 1, "a", stage).random() for stage in ("", "mixing", "speed", "rooms", "shift", "noise", "band")
    ]
    assert len(set(draws)) == len(draws)


def test_the_share_of_examples_that_are_changed(rows):
    settings = OFF | {"codecs": ["ulaw"], "augment_share": 0.3}
    as_stored, hit = dataset(rows, OFF | {"codecs": ["ulaw"], "augment_share": 0.0}), 0
    for epoch in range(50):
        made = dataset(rows, settings, epoch=epoch)
        as_stored = dataset(rows, OFF | {"codecs": ["ulaw"], "augment_share": 0.0}, epoch=epoch)
        hit += sum(not torch.equal(a["mix_sig"], b["mix_sig"]) for a, b in zip(made, as_stored, strict=True))
    assert 60 < hit < 120  # of 300


def test_noise_stands_at_the_snr_of_the_sources(rows, noise):
    settings = OFF | noise | {"noise_snr": [7.0, 7.0]}
    plain = OFF | noise | {"augment_share": 0.0}
    for with_noise, without in zip(dataset(rows, settings), dataset(rows, plain), strict=True):
        added = with_noise["mix_sig"] - without["mix_sig"]
        speech = without["sources_sig"].sum(1)
        assert 10 * torch.log10(speech.square().sum() / added.square().sum()).item() == pytest.approx(7, abs=0.01)


def test_nothing_is_asked_for(rows):
    clock = epoch_clock()
    plain = augmented(OFF, rows, StoredParts(2, RATE), CUT, 1, clock)
    assert plain.is_plain
    assert same(items(examples(rows, plain)), items(mixtures(rows, 2, RATE, CUT, 1, clock)))
    for key in ("dynamic_mixing", "speed_changes", "max_shift", "rooms", "band_limits", "codecs"):
        assert not augmented(OFF | {key: ALL[key]}, rows, StoredParts(2, RATE), CUT, 1, clock).is_plain


def test_valid_and_test_are_never_changed(rows, tmp_path):
    for split in ("train", "valid", "test"):
        write_manifest(tmp_path / f"{split}.csv", rows)
    sets, clock = stored_mixtures(str(tmp_path), str(tmp_path), 2, RATE, CUT, 1, {key: ALL[key] for key in KEYS})
    plain, _ = stored_mixtures(str(tmp_path), str(tmp_path), 2, RATE, CUT, 1, {key: OFF[key] for key in KEYS})
    clock.fill_(1)
    assert same(items(sets["valid"]), items(plain["valid"])) and same(items(sets["test"]), items(plain["test"]))
    assert not same(items(sets["train"]), items(plain["train"]))


def test_one_source_and_the_rest_is_noise(rows):
    """As in sets of noisy and clean speech: what the mixture holds besides the source is exchanged."""
    single = [{"ID": row["ID"], "mix_wav": row["mix_wav"], "s1_wav": row["s1_wav"]} for row in rows]
    reader = StoredParts(1, RATE)
    stored = {row["ID"]: summed(reader.parts(row)) - reader.part(row, "s1") for row in single}
    clock = epoch_clock()
    make = augmented(OFF | {"dynamic_mixing": True, "mixing_snr": [3.0, 3.0]}, single, reader, 10**6, 1, clock)
    for row in single:
        mix, sources = make(row["ID"])
        rest = mix - sources[:, 0]
        assert 10 * np.log10(np.square(sources).sum() / np.square(rest).sum()) == pytest.approx(3, abs=0.01)
        alike = [np.correlate(x, rest[500:1500], "valid").max() for x in stored.values()]
        assert list(stored)[int(np.argmax(alike))] != row["ID"]


@pytest.mark.parametrize(
    "given, message",
    [
        ({"noise_snr": [3.0]}, r"noise_snr: expected \[lowest, highest\] in dB, got \[3.0\]"),
        ({"mixing_levels": [5.0, -5.0]}, r"mixing_levels: expected \[lowest, highest\]"),
        ({"rooms": "/nowhere"}, "rooms: there is no folder /nowhere. .* simulated or null"),
        ({"noise_folder": "/nowhere"}, "noise_folder: there is no folder /nowhere"),
        ({"codecs": ["opus"], "sample_rate": 44100}, "codecs: opus takes"),
    ],
)
def test_wrong_settings_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        augmentation_of(OFF | given)


def test_sources_of_mixtures_that_are_no_sums_are_left_alone():
    refuse_without_sums(OFF | {"codecs": ["mp3"], "band_limits": [2000], "noise_folder": "x"}, "no sums")
    for key in ("dynamic_mixing", "speed_changes", "max_shift", "rooms"):
        with pytest.raises(UserError, match=f"{key}: needs mixtures .* but no sums. Leave it out"):
            refuse_without_sums(OFF | {key: ALL[key]}, "no sums")
