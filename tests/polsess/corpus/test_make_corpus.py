"""The corpus as a whole: format, sums, levels, splits, determinism."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lobes.data import audio
from lobes.errors import UserError
from lobes.polsess.corpus import make_corpus
from lobes.polsess.corpus.build import RECORD, indoor_flags
from lobes.polsess.layout import PLACES, SUBSETS

COUNTS = {"train": 6, "val": 2, "test": 2}
LENGTH = 8000
HEADER = (
    "subset,speech1OryginalPath,speech1Start,speech1End,speech2OryginalPath,speech2Start,speech2End,SSR,"
    "sceneOryginalPath,sceneStart,sceneEnd,sceneRandomDB,sceneOffsetDB,sceneVolumeGain,eventOryginalPath,"
    "eventStart,eventEnd,speaker1File,speaker2File,eventFile,sceneFile,reverbForSpeaker1,reverbForSpeaker2,"
    "reverbForEvent,mixFile,sceneClass,eventClass,preDelayForEvent,preDelay1,preDelay2,highCut,diffusion,decay,"
    "freqDamp"
)
REVERB_NUMBERS = HEADER.split(",")[-7:]


def rows_of(corpus: Path, split: str) -> list[dict[str, str]]:
    with open(corpus / split / f"corpus_{corpus.name}_{split}_final.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def all_rows(corpus: Path) -> list[tuple[str, dict[str, str]]]:
    return [(split, row) for split in SUBSETS for row in rows_of(corpus, split)]


def part_of(corpus: Path, split: str, row: dict[str, str], part: str) -> np.ndarray:
    folder, column = PLACES[part]
    return audio.read_mono(corpus / split / folder / row[column], 8000).astype(np.float64)


def digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


def decibels(ratio: float) -> float:
    return 20 * np.log10(ratio)


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.square(samples).mean()))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made")
    return make_corpus(out, "tiny", counts=COUNTS, seconds=1.0, seed=7, progress=False)


def test_tables_have_the_34_columns_in_order(corpus):
    for split, count in COUNTS.items():
        text = (corpus / split / f"corpus_tiny_{split}_final.csv").read_text(encoding="utf-8")
        assert text.splitlines()[0] == HEADER
        assert len(rows_of(corpus, split)) == count
        assert {row["subset"] for row in rows_of(corpus, split)} == {split}


def test_files_are_stored_as_in_polsess_under_short_names_that_sort(corpus):
    for split in SUBSETS:
        IDs = [row["mixFile"] for row in rows_of(corpus, split)]
        assert IDs == sorted(IDs) and all(ID.startswith(split) for ID in IDs)
    for split, row in all_rows(corpus):
        indoor = row["reverbForSpeaker1"] != ""
        assert indoor == row["reverbForSpeaker1"].startswith("sp1_")
        for folder, column in PLACES.values():
            if not row[column]:
                continue
            path = corpus / split / folder / row[column]
            assert len(path.name) <= 24
            info = sf.info(str(path))
            assert (info.format, info.subtype, info.channels, info.samplerate) == ("WAV", "PCM_16", 1, 8000)
            assert path.stat().st_size == 44 + 2 * LENGTH


def test_no_file_is_left_over_and_no_name_is_used_twice(corpus):
    for split in SUBSETS:
        named = [f"{f}/{row[c]}" for row in rows_of(corpus, split) for f, c in PLACES.values() if row[c]]
        stored = {str(path.relative_to(corpus / split)) for path in (corpus / split).rglob("*.wav")}
        assert len(named) == len(set(named))
        assert set(named) == stored


def test_outdoor_rows_have_no_reverb_numbers_and_indoor_rows_have_all(corpus):
    for _, row in all_rows(corpus):
        values = [float(row[column]) for column in REVERB_NUMBERS]
        names = [row[c] for c in ("reverbForSpeaker1", "reverbForSpeaker2", "reverbForEvent")]
        if row["sceneClass"] in ("park", "beach", "street_traffic", "public_square"):
            assert np.isnan(values).all() and names == ["", "", ""]
            assert row["decay"] == "NaN"
        else:
            assert np.isfinite(values).all() and all(names)
            assert 15000 <= float(row["highCut"]) <= 20000 and 0.1 <= float(row["freqDamp"]) <= 0.9


def test_every_split_holds_both_kinds_of_rows(corpus):
    for split in SUBSETS:
        assert {bool(row["reverbForSpeaker1"]) for row in rows_of(corpus, split)} == {True, False}


@pytest.mark.parametrize(
    "count, share, expected", [(8, 0.75, 6), (2, 0.99, 1), (2, 0.01, 1), (1, 0.75, 1), (5, 0, 0), (5, 1, 5)]
)
def test_indoor_share_is_exact(count, share, expected):
    assert sum(indoor_flags(count, share, seed=3, split="val")) == expected


def test_mix_is_the_sum_of_its_parts(corpus):
    for split, row in all_rows(corpus):
        parts = [part for part in PLACES if part != "mix" and row[PLACES[part][1]]]
        assert len(parts) in (4, 7)
        total = sum(part_of(corpus, split, row, part) for part in parts)
        assert np.abs(total - part_of(corpus, split, row, "mix")).max() * 32768 <= 4


def test_levels_are_those_of_the_table(corpus):
    for split, row in all_rows(corpus):
        s1, s2, scene = (part_of(corpus, split, row, part) for part in ("s1", "s2", "scene"))
        ssr, offset = int(row["SSR"]), float(row["sceneOffsetDB"])
        assert -5 <= ssr <= 5 and -14 <= offset <= 0
        assert float(row["sceneRandomDB"]) == pytest.approx(offset + 14)
        assert decibels(rms(s1) / rms(s2)) == pytest.approx(ssr, abs=0.05)
        assert decibels(rms(scene) / rms(s1 + s2)) == pytest.approx(offset, abs=0.05)


def test_wet_parts_are_about_as_loud_as_the_dry_speaker(corpus):
    wet = [
        decibels(rms(part_of(corpus, split, row, "sp1_reverb")) / rms(part_of(corpus, split, row, "s1")))
        for split, row in all_rows(corpus)
        if row["reverbForSpeaker1"]
    ]
    assert -16 < min(wet) and max(wet) < 6


def test_nothing_crosses_splits_and_no_speaker_meets_himself(corpus):
    seen: dict[str, dict[str, set[str]]] = {kind: {} for kind in ("speaker", "scene", "event")}
    for split, row in all_rows(corpus):
        first, second = (row[f"speech{number}OryginalPath"].split("\\")[-2] for number in (1, 2))
        assert first != second
        seen["speaker"].setdefault(split, set()).update((first, second))
        seen["scene"].setdefault(split, set()).add(row["sceneOryginalPath"])
        seen["event"].setdefault(split, set()).add(row["eventOryginalPath"])
    for by_split in seen.values():
        assert not by_split["train"] & by_split["val"]
        assert not by_split["train"] & by_split["test"]
        assert not by_split["val"] & by_split["test"]


def test_start_and_end_are_one_based_and_inclusive_at_the_sources_own_rate(corpus):
    for _, row in all_rows(corpus):
        assert int(row["speech1Start"]) >= 1
        assert int(row["speech1End"]) - int(row["speech1Start"]) + 1 == 22050  # espeak's rate, 1 s
        assert int(row["sceneEnd"]) - int(row["sceneStart"]) + 1 == LENGTH


def test_same_seed_same_bytes(corpus, tmp_path):
    again = make_corpus(tmp_path, "tiny", counts=COUNTS, seconds=1.0, seed=7, progress=False)
    assert digest(again) == digest(corpus)


def test_the_record_says_how_it_was_made(corpus):
    record = json.loads((corpus / RECORD).read_text(encoding="utf-8"))
    assert record["seed"] == 7 and record["counts"] == COUNTS
    assert [len(record["speakers"][split]) for split in SUBSETS] == [16, 4, 4]


def test_an_existing_folder_is_kept_unless_it_is_ours_and_overwrite_is_set(tmp_path):
    """Another seed gives other bytes, too."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 4000))
    for speaker, samples in zip("ab", noise, strict=True):
        audio.write(tmp_path / "speech" / speaker / "1.wav", samples, 8000)
    options = {"counts": {"test": 1}, "seconds": 0.5, "indoor_share": 0.0, "progress": False}
    options["speech"] = tmp_path / "speech"
    before = digest(make_corpus(tmp_path, "one", **options))
    with pytest.raises(UserError, match="exists already. Set overwrite"):
        make_corpus(tmp_path, "one", **options)
    assert digest(make_corpus(tmp_path, "one", seed=9, overwrite=True, **options)) != before
    (tmp_path / "precious").mkdir()
    with pytest.raises(UserError, match="not made by lobes"):
        make_corpus(tmp_path, "precious", overwrite=True, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "precious", "speech"]


def test_sixteen_kilohertz_and_a_single_split(tmp_path):
    corpus = make_corpus(
        tmp_path, "wide", counts={"val": 1}, sample_rate=16000, seconds=0.5, indoor_share=1.0, progress=False
    )
    assert [path.name for path in corpus.iterdir() if path.is_dir()] == ["val"]
    info = sf.info(str(next((corpus / "val" / "sp2_reverb").iterdir())))
    assert (info.samplerate, info.frames) == (16000, 8000)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "a/b"}, "name='a/b'"),
        ({"counts": {"trian": 3}}, "Did you mean 'train'"),
        ({"counts": {"train": -1}}, "train=-1"),
        ({"counts": {"train": 0}}, "all splits are 0"),
        ({"indoor_share": 1.5}, "indoor_share=1.5"),
        ({"seconds": 0.0}, "seconds=0.0"),
        ({"seed": -3}, "seed=-3"),
        ({"speech": "no/such/place"}, "speech=no/such/place: this folder does not exist"),
        ({"indoor_classes": ["caffe"]}, "Did you mean 'cafe'"),
    ],
)
def test_wrong_wishes_are_one_clear_line(tmp_path, options, message):
    with pytest.raises(UserError) as caught:
        make_corpus(tmp_path, **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
