"""Recordings in folders: speakers, classes, splits by manifest, by folder, by seed; the whole way to a corpus."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from lobes.data import audio
from lobes.errors import UserError
from lobes.polsess.corpus import make_corpus
from lobes.polsess.corpus.folders import divide, response_files, sound_pools, speech_pools

ALL = ("train", "val", "test")


def put(path: Path, seconds: float = 0.2, rate: int = 8000, level: float = 0.1, seed: int = 0) -> None:
    rng = np.random.default_rng([seed, len(str(path.name))])
    audio.write(path, rng.normal(0, level, int(seconds * rate)).clip(-0.9, 0.9), rate)


def names(pools, split: str) -> dict[str, list[str]]:
    return {group: [clip.label.split("\\")[-1] for clip in clips] for group, clips in pools[split].items()}


def test_speakers_are_divided_by_seed_and_whole(tmp_path):
    for speaker in range(12):
        for number in range(2):
            put(tmp_path / f"t{speaker:02d}" / "chapter" / f"{number}.wav")
    pools = speech_pools(tmp_path, ALL, seed=1)
    assert [len(pools[split]) for split in ALL] == [8, 2, 2]
    assert len({speaker for split in ALL for speaker in pools[split]}) == 12
    assert all(len(clips) == 2 for split in ALL for clips in pools[split].values())
    assert speech_pools(tmp_path, ALL, seed=1) == pools
    assert speech_pools(tmp_path, ALL, seed=2) != pools


def test_split_folders_are_kept(tmp_path):
    for split, speakers in {"train-clean-100": "abc", "dev": "de", "test": "fg"}.items():
        for speaker in speakers:
            put(tmp_path / "libri" / split / speaker / "1.wav")
    pools = speech_pools(tmp_path, ALL, seed=1)
    assert [sorted(pools[split]) for split in ALL] == [list("abc"), list("de"), list("fg")]


def test_a_speaker_in_two_splits_is_an_error(tmp_path):
    for split in ("train", "test"):
        put(tmp_path / split / "anna" / f"{split}.wav")
    with pytest.raises(UserError, match="speaker anna is in test and in train"):
        speech_pools(tmp_path, ("train", "test"), seed=1)


def test_too_few_speakers_is_an_error(tmp_path):
    for speaker in "abcde":
        put(tmp_path / speaker / "1.wav")
    with pytest.raises(UserError, match=r"val has 1 speaker\(s\), a mix needs 2. Speakers in all: 5"):
        speech_pools(tmp_path, ALL, seed=1)
    assert len(speech_pools(tmp_path, ("train", "test"), seed=1)["train"]) == 3


def test_train_among_classes_is_the_vehicle_unless_another_split_is_next_to_it(tmp_path):
    for place in ("train/a.wav", "train/b.wav", "bus/c.wav", "bus/d.wav"):
        put(tmp_path / "flat" / place)
    pools = sound_pools(tmp_path / "flat", ("train", "test"), 1, "scenes")
    assert set(pools["train"]) == set(pools["test"]) == {"train", "bus"}
    for place in ("train/train/a.wav", "train/bus/b.wav", "test/train/c.wav"):
        put(tmp_path / "split" / place)
    pools = sound_pools(tmp_path / "split", ("train", "test"), 1, "scenes")
    assert names(pools, "train") == {"bus": ["b.wav"], "train": ["a.wav"]}
    assert names(pools, "test") == {"train": ["c.wav"]}


def test_each_file_of_a_class_belongs_to_one_split(tmp_path):
    for number in range(7):
        put(tmp_path / "cafe" / f"{number}.wav")
    pools = sound_pools(tmp_path / "cafe", ALL, 1, "scenes")  # a folder that holds audio itself is a class
    files = [file for split in ALL for file in names(pools, split)["cafe"]]
    assert sorted(files) == [f"{number}.wav" for number in range(7)]
    assert [len(names(pools, split)["cafe"]) for split in ALL] == [5, 1, 1]


def test_a_manifest_above_decides_split_and_speaker(tmp_path):
    for speaker, split in zip("abcdef", ("train", "train", "valid", "valid", "test", "test"), strict=True):
        put(tmp_path / "speech" / speaker / "1.wav")
        with open(tmp_path / "manifest.csv", "a", encoding="utf-8") as file:
            if speaker == "a":
                file.write("path,speaker,split\n")
            file.write(f"speech/{speaker}/1.wav,speaker_{speaker},{split}\n")
    pools = speech_pools(tmp_path / "speech", ALL, seed=1)
    assert [sorted(pools[split]) for split in ALL] == [
        ["speaker_a", "speaker_b"],
        ["speaker_c", "speaker_d"],
        ["speaker_e", "speaker_f"],
    ]


def test_a_manifest_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "manifest.csv").write_text("ID,duration\nx,1\n", encoding="utf-8")
    for speaker in "ab":
        put(tmp_path / "speech" / speaker / "1.wav")
    assert sorted(speech_pools(tmp_path / "speech", ("train",), seed=1)["train"]) == ["a", "b"]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda root: None, "this folder does not exist"),
        (lambda root: root.mkdir(), "no audio in this folder"),
        (lambda root: root.write_text("x"), "this folder is a file"),
    ],
)
def test_folders_without_audio(tmp_path, make, message):
    make(tmp_path / "scenes")
    with pytest.raises(UserError, match=message):
        sound_pools(tmp_path / "scenes", ALL, 1, "scenes")


def test_room_responses_serve_one_split_each(tmp_path):
    for number in range(4):
        put(tmp_path / f"train/{number}.wav")
    put(tmp_path / "test" / "9.wav")
    rooms = response_files(tmp_path, ALL, seed=1)
    assert [len(rooms[split]) for split in ALL] == [3, 1, 1]
    assert len({path for paths in rooms.values() for path in paths}) == 5
    with pytest.raises(UserError, match=r"1 room response\(s\) for 3 splits"):
        response_files(tmp_path / "test", ALL, seed=1)


@pytest.mark.parametrize(
    "count, splits, expected",
    [(12, ALL, [8, 2, 2]), (6, ALL, [2, 2, 2]), (4, ALL, [2, 0, 2]), (1, ALL, [1, 0, 0]), (5, ("test",), [0, 0, 5])],
)
def test_divide(count, splits, expected):
    owners = list(divide(range(count), splits, np.random.default_rng(0), at_least=2).values())
    assert [owners.count(split) for split in ALL] == expected


@pytest.fixture
def recordings(tmp_path) -> dict[str, Path]:
    """Short files at 16 kHz: 6 speakers, 2 scene classes, 1 event class, 3 room responses."""
    for speaker in range(6):
        for number in range(3):
            put(tmp_path / "speech" / f"t{speaker}" / f"{number}.wav", 0.3, 16000, seed=10 * speaker + number)
    for kind in ("scenes/cafe", "scenes/rain", "events/dog"):
        for number in range(3):
            put(tmp_path / kind / f"{number}.wav", 0.2, 16000, seed=number)
    for number in range(3):
        response = np.zeros(3000)
        response[100], response[500:] = 0.9, np.random.default_rng(number).normal(0, 0.01, 2500)
        audio.write(tmp_path / "rirs" / f"{number}.wav", response, 16000)
    return {kind: tmp_path / kind for kind in ("speech", "scenes", "events", "rirs")}


def test_a_corpus_from_recordings(recordings, tmp_path):
    counts = {"train": 2, "val": 2, "test": 2}
    corpus = make_corpus(tmp_path, "own", **recordings, counts=counts, seconds=0.5, indoor_share=0.5, progress=False)
    for split in ALL:
        with open(corpus / split / f"corpus_own_{split}_final.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert sorted(row["sceneClass"] for row in rows) == ["cafe", "rain"]  # indoors, outdoors
        for row in rows:
            root, speaker, files = row["speech1OryginalPath"].split("\\")
            assert root == "made" and speaker.startswith("t") and "+" in files  # 0.3 s utterances had to be joined
            assert int(row["speech1End"]) - int(row["speech1Start"]) == 7999  # at 16 kHz
            assert row["eventClass"] == "dog" and row["eventStart"] == "1" and row["eventEnd"] == "3200"
            indoor = row["sceneClass"] == "cafe"
            assert row["preDelay1"] == ("0.0" if indoor else "NaN") and row["decay"] == "NaN"


def test_a_rate_below_the_corpus_is_an_error_that_names_the_file(recordings, tmp_path):
    with pytest.raises(UserError, match=r"speech/t\d/\d.wav: sample rate is 16000 Hz, the corpus wants 22050 Hz"):
        make_corpus(
            tmp_path, **recordings, counts={"test": 1}, sample_rate=22050, seconds=0.5, indoor_share=0, progress=False
        )
    assert not list(tmp_path.glob("*mini*"))


def test_a_missing_kind_of_scene_is_an_error(recordings, tmp_path):
    scenes = recordings["scenes"] / "rain"
    options = {**recordings, "scenes": scenes, "counts": {"test": 2}, "seconds": 0.5, "progress": False}
    with pytest.raises(UserError, match="test has no indoor scene class; its scene classes: rain"):
        make_corpus(tmp_path, **options)
    make_corpus(tmp_path, **options, indoor_classes=["rain"], indoor_share=1.0)


def test_scenes_that_always_clip_end_after_the_retry_cap(recordings, tmp_path):
    click = np.zeros(8000)
    click[4000] = 0.9  # at speech level its peak is far beyond full scale
    for number in range(2):
        audio.write(tmp_path / "clicks" / "park" / f"{number}.wav", click, 16000)
    options = {**recordings, "scenes": tmp_path / "clicks"}
    with pytest.raises(UserError, match="test example 1: 200 draws in a row"):
        make_corpus(
            tmp_path, **options, counts={"test": 1}, sample_rate=16000, seconds=0.5, indoor_share=0, progress=False
        )
    assert not list(tmp_path.glob("*mini*"))


def test_an_example_whose_speech_would_be_limited_is_drawn_again(recordings, tmp_path):
    """Clicks as loud as a steady tone reach far beyond full scale: only clicks first, tone second can be kept."""
    tone, clicks = 0.2 * np.sign(np.sin(np.arange(8000))), np.zeros(8000)
    clicks[::400] = 0.3
    audio.write(tmp_path / "two" / "tone" / "1.wav", tone, 8000)
    audio.write(tmp_path / "two" / "clicks" / "1.wav", clicks, 8000)
    options = {**recordings, "speech": tmp_path / "two", "counts": {"test": 6}, "indoor_share": 0, "progress": False}
    corpus = make_corpus(tmp_path, "two_speakers", seconds=0.5, **options)
    with open(corpus / "test" / "corpus_two_speakers_test_final.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["speech1OryginalPath"] for row in rows] == ["made\\clicks\\1.wav"] * 6


def test_real_recordings(realdata, tmp_path):
    rooms_and_noise = {"scenes": [realdata / "noise/esc10/rain", realdata / "noise/speech_commands"]}
    corpus = make_corpus(
        tmp_path,
        "real",
        speech=realdata / "speech",
        events=[realdata / "noise/esc10/dog_bark", realdata / "noise/esc10/clock_tick"],
        rirs=realdata / "rir",
        indoor_classes=["speech_commands"],
        counts={"train": 2, "val": 2, "test": 2},
        progress=False,
        **rooms_and_noise,
    )
    with open(realdata / "manifest.csv", newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    split_of = {
        row["speaker"]: row["split"].replace("valid", "val") for row in listed if row["kind"].startswith("speech")
    }
    file_split = {Path(row["path"]).name: row["split"].replace("valid", "val") for row in listed}
    for split in ALL:
        with open(corpus / split / f"corpus_real_{split}_final.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for column in ("speech1OryginalPath", "speech2OryginalPath"):
                    assert split_of[row[column].split("\\")[1]] == split
                for column in ("sceneOryginalPath", "eventOryginalPath"):
                    assert file_split[row[column].split("\\")[2]] == split
