"""polsess_prepare on PolSESS folders written here in the exact format: both tables, both row kinds, every mistake."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lobes.data import audio
from lobes.data.manifest import check_files, read_manifest
from lobes.errors import UserError
from lobes.polsess import mmipc, variants
from lobes.polsess.manifest import TYPES

SCRIPT = Path(__file__).parents[2] / "recipes" / "PolSESS" / "polsess_prepare.py"
COLUMNS_34 = (
    "subset,speech1OryginalPath,speech1Start,speech1End,speech2OryginalPath,speech2Start,speech2End,SSR,"
    "sceneOryginalPath,sceneStart,sceneEnd,sceneRandomDB,sceneOffsetDB,sceneVolumeGain,eventOryginalPath,eventStart,"
    "eventEnd,speaker1File,speaker2File,eventFile,sceneFile,reverbForSpeaker1,reverbForSpeaker2,reverbForEvent,mixFile,"
    "sceneClass,eventClass,preDelayForEvent,preDelay1,preDelay2,highCut,diffusion,decay,freqDamp"
).split(",")
COLUMNS_31 = [c for c in COLUMNS_34 if c not in ("sceneRandomDB", "sceneOffsetDB", "sceneVolumeGain")]
FOLDERS = {"s1": "clean", "s2": "clean", "sp1_reverb": "sp1_reverb", "sp2_reverb": "sp2_reverb"}
FOLDERS |= {"scene": "scene", "event": "event", "ev_reverb": "ev_reverb", "mix": "mix"}
SPEAKERS = [
    (r"D:\mls\train\audio\6892\1_2\6892_5003_000123.flac", r"D:\mls\train\audio\6892\7_7\6892_77_000001.flac"),
    (r"D:\mls\train\audio\6892\1_2\6892_5003_000123.flac", r"D:\emu\audio\SES0012\rich001.wav"),
    (r"D:\emu\audio\SES0012\rich001.wav", r"D:\emu\audio\SES0013\rich001.wav"),
    (r"made\anna\0001.wav", r"made\jan\0001.wav"),
]


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("polsess_prepare", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def word(subset: str, kind: str, number: int) -> str:
    return f"{subset}{kind}{number}".ljust(16, "0")


def write_example(folder: Path, subset: str, number: int, rng: np.random.Generator) -> dict:
    """Write the 8 (or 5) files of one example and return its table row; every third row is outdoor."""
    indoor = number % 3 != 2
    words = [word(subset, kind, number) for kind in ("a", "b", "s", "e", "r")]
    names = dict(zip(("s1", "s2", "scene", "event"), (f"{w}.wav" for w in words), strict=False))
    if indoor:
        names |= {"sp1_reverb": f"sp1_{words[4]}.wav", "sp2_reverb": f"sp2_{words[4]}.wav"}
        names["ev_reverb"] = f"ev_{words[4]}.wav"
    exact = {part: rng.normal(0, 0.02, 2000) for part in names}
    names["mix"] = "-".join(words if indoor else words[:4]) + ".wav"
    for part, x in {**exact, "mix": sum(exact.values())}.items():
        audio.write(folder / FOLDERS[part] / names[part], x, 8000)
    return table_row(subset, number, names, indoor)


def table_row(subset: str, number: int, names: dict, indoor: bool) -> dict:
    row = dict.fromkeys(COLUMNS_34, "1")
    row |= {"subset": subset, "SSR": str(number % 11 - 5), "sceneOffsetDB": "-7.25", "sceneVolumeGain": "0.5"}
    row["speech1OryginalPath"], row["speech2OryginalPath"] = SPEAKERS[number % 4]
    row |= {"speaker1File": names["s1"], "speaker2File": names["s2"], "mixFile": names["mix"]}
    row |= {"sceneFile": names["scene"], "eventFile": names["event"], "eventClass": "dog"}
    row |= {f"reverbForSpeaker{n}": names.get(f"sp{n}_reverb", "") for n in (1, 2)}
    row |= {"reverbForEvent": names.get("ev_reverb", ""), "sceneClass": "home" if indoor else "park"}
    if not indoor:
        row |= dict.fromkeys(COLUMNS_34[-7:], "NaN")
    return row


def write_table(path: Path, rows: list, columns=COLUMNS_34) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A PolSESS folder: 8 train, 4 val, 4 test examples of 0.25 s, tables of 34 columns in the subsets' folders."""
    root = tmp_path_factory.mktemp("polsess") / "PolSESS_T"
    rng = np.random.default_rng(1)
    for subset, count in (("train", 8), ("val", 4), ("test", 4)):
        rows = [write_example(root / subset, subset, number, rng) for number in range(count)]
        write_table(root / subset / f"corpus_T_{subset}_final.csv", rows[::-1])
    return root


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(original, tmp_path / "renamed"))


def table(folder: Path, subset: str = "train") -> Path:
    return folder / subset / f"corpus_T_{subset}_final.csv"


def change(folder: Path, number: int, subset: str = "train", **cells) -> None:
    rows = read_rows(table(folder, subset))
    rows[number] |= cells
    write_table(table(folder, subset), rows)


def test_manifests_of_the_exact_format(recipe, original, tmp_path, capsys):
    recipe.prepare_polsess(original, tmp_path, verify_sum=16)
    rows = {split: read_manifest(tmp_path / f"{split}.csv", original, TYPES) for split in ("train", "valid", "test")}
    assert {split: len(found) for split, found in rows.items()} == {"train": 8, "valid": 4, "test": 4}
    for found in rows.values():
        check_files(found)
        assert [row["ID"] for row in found] == sorted(row["ID"] for row in found)
    indoor, outdoor = rows["train"][0], rows["train"][2]
    assert indoor["ID"] == Path(indoor["mix_wav"]).stem and indoor["ID"].count("-") == 4
    assert indoor["has_reverb"] is True and outdoor["has_reverb"] is False
    assert outdoor["sp1_reverb_wav"] == outdoor["sp2_reverb_wav"] == outdoor["ev_reverb_wav"] == ""
    assert indoor["duration"] == 0.25 and indoor["SSR"] == -5.0 and indoor["sceneOffsetDB"] == -7.25
    assert (indoor["sceneClass"], outdoor["sceneClass"], indoor["eventClass"]) == ("home", "park", "dog")
    screen = capsys.readouterr().out
    assert "PolSESS train: 8 mixtures, 0.00 h, 6 indoor, 2 outdoor, 2 of one speaker with himself" in screen
    assert "test: note: 5 of 5 speakers also speak in train" in screen


def test_prepared_rows_render(recipe, original, tmp_path):
    recipe.prepare_polsess(original, tmp_path)
    for row in read_manifest(tmp_path / "train.csv", original, TYPES):
        read = lambda part, row=row: audio.read_mono(row[f"{part}_wav"], 8000)  # noqa: E731
        for variant in variants.variants_for(row["has_reverb"]):
            mix, sources = mmipc.render("SB", variant, row["has_reverb"], read)
            parts = {part: read(part) for part in variants.all_parts(row["has_reverb"])}
            added, same = mmipc.render_parts("SB", variant, parts)
            assert np.abs(mix - added).max() <= 4 / 32768
            np.testing.assert_array_equal(sources, same)


def test_old_table_of_31_columns_in_the_root(recipe, folder, tmp_path):
    for subset in ("train", "val", "test"):
        rows = read_rows(table(folder, subset))
        table(folder, subset).unlink()
        write_table(folder / f"corpus_T_{subset}_final.csv", rows, COLUMNS_31)
    recipe.prepare_polsess(folder, tmp_path / "out")
    row = read_manifest(tmp_path / "out" / "train.csv", folder, TYPES)[0]
    assert row["sceneOffsetDB"] == "" and row["SSR"] == -5.0


def test_the_folder_may_move(recipe, folder, tmp_path):
    recipe.prepare_polsess(folder, tmp_path / "out")
    moved = folder.rename(tmp_path / "elsewhere")
    check_files(read_manifest(tmp_path / "out" / "train.csv", moved))


def test_speakers(recipe, original, tmp_path):
    recipe.prepare_polsess(original, tmp_path)
    rows = read_manifest(tmp_path / "train.csv", original, TYPES)
    found = [(row["speaker1"], row["speaker2"], row["same_speaker"]) for row in rows[:4]]
    assert found == [
        ("6892", "6892", True),
        ("6892", "SES0012", False),
        ("SES0012", "SES0013", False),
        ("anna", "jan", False),
    ]


@pytest.mark.parametrize(
    ("path", "speaker"),
    [
        (r"C:\x\SES0123.wav", "SES0123"),
        ("/data/PolSESS1/mls/10_20_30.flac", "10"),
        (r"made\ses7\1_2_3.wav", "ses7"),
        (r"D:\PolSES9\other\ewa\u1.wav", "ewa"),
        ("alone.wav", ""),
        ("", ""),
    ],
)
def test_speaker_of_odd_paths(recipe, path, speaker):
    assert recipe.speaker_of(path) == speaker


def test_unknown_speakers_are_neither_same_nor_dropped(recipe, folder, tmp_path):
    change(folder, 0, speech1OryginalPath="NaN", speech2OryginalPath="NaN")
    recipe.prepare_polsess(folder, tmp_path / "out", drop_same_speaker=True)
    rows = read_manifest(tmp_path / "out" / "train.csv", folder, TYPES)
    assert [row["same_speaker"] for row in rows].count("") == 1 and len(rows) == 6


def test_drop_same_speaker(recipe, original, tmp_path, capsys):
    recipe.prepare_polsess(original, tmp_path, drop_same_speaker=True)
    rows = read_manifest(tmp_path / "train.csv", original, TYPES)
    assert len(rows) == 6 and not any(row["same_speaker"] for row in rows)
    assert "0 of one speaker with himself (2 more left out)" in capsys.readouterr().out
    recipe.prepare_polsess(original, tmp_path / "kept")
    for split in ("valid", "test"):
        assert (tmp_path / f"{split}.csv").read_bytes() == (tmp_path / "kept" / f"{split}.csv").read_bytes()


def test_seeded_subsets_are_random_and_nested(recipe, original, tmp_path):
    def chosen(number, seed):
        recipe.prepare_polsess(original, tmp_path, max_samples={"train": number}, seed=seed)
        return [row["ID"] for row in read_manifest(tmp_path / "train.csv")]

    first = chosen(3, 1)
    assert first == chosen(3, 1) and len(first) == 3
    assert set(first) < set(chosen(5, 1))
    assert len({tuple(chosen(3, seed)) for seed in range(6)}) > 2
    assert len(chosen(99, 1)) == 8


def test_second_call_does_nothing_until_something_changes(recipe, folder, tmp_path, monkeypatch):
    calls = []
    real = recipe.check_audio
    monkeypatch.setattr(recipe, "check_audio", lambda *a: calls.append(1) or real(*a))
    out = tmp_path / "out"
    for options, expected in (({}, 3), ({}, 3), ({"verify_sum": 16}, 6), ({"verify_sum": 16}, 6)):
        recipe.prepare_polsess(folder, out, **options)
        assert len(calls) == expected
    change(folder, 0, SSR="1")
    recipe.prepare_polsess(folder, out, verify_sum=16)
    assert len(calls) == 9
    (out / "valid.csv").unlink()
    recipe.prepare_polsess(folder, out, verify_sum=16)
    assert len(calls) == 12 and (out / "valid.csv").exists()
    recipe.prepare_polsess("/nowhere", out, skip_prep=True)


def test_D11_killed_prepare_is_completed_by_the_next(recipe, original, tmp_path, monkeypatch):
    real, calls = recipe.write_manifest, []

    def killed_at_second(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(recipe, "write_manifest", killed_at_second)
    with pytest.raises(KeyboardInterrupt):
        recipe.prepare_polsess(original, tmp_path)
    assert not (tmp_path / recipe.DONE_FILE).exists()
    recipe.prepare_polsess(original, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"train.csv", "valid.csv", "test.csv", recipe.DONE_FILE}
    assert json.loads((tmp_path / recipe.DONE_FILE).read_text())["seed"] == 1234


def some_file(folder: Path, kind: str, subset: str = "train", number: int = 0) -> Path:
    return sorted((folder / subset / kind).iterdir())[number]


def remove_scenes(folder):
    for _ in range(5):
        some_file(folder, "scene").unlink()


def shorten_scene(folder):
    audio.write(some_file(folder, "scene"), np.zeros(1999), 8000)


def other_rate(folder):
    audio.write(some_file(folder, "event", "val"), np.zeros(2000), 16000)


def stereo(folder):
    audio.write(some_file(folder, "event"), np.zeros((2000, 2)), 8000)


def truncate(folder):
    file = some_file(folder, "clean")
    file.write_bytes(file.read_bytes()[:1000])


def louder_event(folder):
    file = some_file(folder, "event")
    audio.write(file, 1.5 * audio.read_mono(file), 8000)


def duplicate(folder):
    write_table(table(folder), read_rows(table(folder)) * 2)


def misspelt_column(folder):
    table(folder).write_text(table(folder).read_text().replace("speaker1File", "speaker1Fiel"))


def ambiguous(folder):
    shutil.copy(table(folder), folder / "train" / "corpus_U_train_final.csv")


def shared_between_splits(folder):
    rows = read_rows(table(folder, "test"))
    for row in read_rows(table(folder))[:1]:
        rows.append(row)
        for part, column in (("mix", "mixFile"), ("clean", "speaker1File"), ("clean", "speaker2File")):
            shutil.copy(folder / "train" / part / row[column], folder / "test" / part / row[column])
        for part in ("scene", "event"):
            shutil.copy(folder / "train" / part / row[f"{part}File"], folder / "test" / part / row[f"{part}File"])
        for column, part in (("reverbForSpeaker1", "sp1_reverb"), ("reverbForSpeaker2", "sp2_reverb")):
            shutil.copy(folder / "train" / part / row[column], folder / "test" / part / row[column])
        shutil.copy(
            folder / "train/ev_reverb" / row["reverbForEvent"], folder / "test/ev_reverb" / row["reverbForEvent"]
        )
    write_table(table(folder, "test"), rows)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove_scenes, r"5 of \d+ files are missing: .*, .* and 2 more"),
        (shorten_scene, r"1 of 8 examples have parts of unequal length, the first is .*mix 2000.*scene 1999"),
        (other_rate, r"1 of 29 files have another sample rate than 8000 Hz \(16000 Hz\): .*wav"),
        (stereo, r"1 of \d+ files are not mono"),
        (truncate, r"traina000000000.*truncated"),
        (louder_event, r"1 of 8 mixtures are not the sum of their parts: traina0.*largest deviation is \d+ LSB"),
        (duplicate, r"corpus_T_train_final\.csv: 8 IDs occur more than once"),
        (misspelt_column, r"1 columns are missing: speaker1File\. Did you mean 'speaker1Fiel'"),
        (ambiguous, r"found 2: corpus_T_train_final\.csv, corpus_U_train_final\.csv"),
        (lambda folder: table(folder).unlink(), r"No table corpus_\*_train_final\.csv in .*train or in"),
        (lambda folder: write_table(table(folder), []), r"has no rows"),
        (lambda folder: change(folder, 0, mixFile=""), r"line 2: mixFile is empty"),
        (lambda folder: change(folder, 0, reverbForEvent="NaN"), r"reverbForEvent is empty, but the row has reverb"),
        (lambda folder: shutil.rmtree(folder / "val"), r"val missing, it holds test, train"),
        (shared_between_splits, r"1 mixtures are both in train and in test"),
    ],
)
def test_mistakes_in_the_data(recipe, folder, tmp_path, spoil, words):
    spoil(folder)
    with pytest.raises(UserError, match=words):
        recipe.prepare_polsess(folder, tmp_path / "out", verify_sum=16)
    assert not (tmp_path / "out" / "train.csv").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"splits": ["train", "val"]}, "Unknown split 'val'.*Did you mean 'valid'"),
        ({"max_samples": {"trian": 3}}, "Unknown split 'trian'.*Did you mean 'train'"),
        ({"max_samples": {"train": 0}}, "at least 1 for train, got 0"),
        ({"verify_sum": True}, "16-bit steps such as 16, or null, got True"),
        ({"check_files": "al"}, "got 'al'. Did you mean 'all'"),
        ({"sample_rate": 16000}, r"58 of 58 files have another sample rate than 16000 Hz \(8000 Hz\)"),
    ],
)
def test_mistakes_in_the_options(recipe, original, tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        recipe.prepare_polsess(original, tmp_path, **options)


def test_wrong_folder_names_the_right_one(recipe, original, tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        recipe.prepare_polsess(tmp_path / "nowhere", tmp_path)
    with pytest.raises(UserError, match=f"train, val, test missing.*Did you mean {original}"):
        recipe.prepare_polsess(original.parent, tmp_path)


def test_checks_can_be_lighter(recipe, folder, tmp_path):
    shorten_scene(folder)
    recipe.prepare_polsess(folder, tmp_path / "out", check_files="none")
    with pytest.raises(UserError, match="unequal"):
        recipe.prepare_polsess(folder, tmp_path / "out", check_files="first")


def test_a_limiter_is_counted_and_not_an_error(recipe, folder, tmp_path, capsys):
    row = read_rows(table(folder))[0]
    loud = np.full(2000, 0.6)
    for column in ("speaker1File", "speaker2File"):
        audio.write(folder / "train" / "clean" / row[column], loud, 8000)
    recipe.prepare_polsess(folder, tmp_path / "out", verify_sum=16)
    assert "train" in (out := capsys.readouterr().out) and "1 differ from their sum where a limiter acted" in out


def test_outdoor_test_split_alone(recipe, original, tmp_path):
    recipe.prepare_polsess(original, tmp_path, splits=["test"])
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["test.csv"]


def test_speechbrain_reads_the_manifest(recipe, original, tmp_path):
    from speechbrain.dataio.dataset import DynamicItemDataset

    recipe.prepare_polsess(original, tmp_path)
    data = DynamicItemDataset.from_csv(str(tmp_path / "valid.csv"), {"data_root": str(original)})
    data.set_output_keys(["id", "duration", "mix_wav"])
    assert data[0]["duration"] == 0.25 and sf.info(data[0]["mix_wav"]).frames == 2000


def test_command_line(original, tmp_path):
    def run(*arguments):
        return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)

    done = run(original, tmp_path, "--verify_sum", 16, "--max_train_samples", 4)
    assert done.returncode == 0 and done.stdout.startswith("PolSESS train: 4 mixtures")
    failed = run(tmp_path / "nowhere", tmp_path)
    assert failed.returncode == 2 and failed.stdout == ""
    assert failed.stderr.startswith("error: data_folder") and len(failed.stderr.splitlines()) == 1


def test_generated_corpus_passes(recipe, corpus, tmp_path):
    recipe.prepare_polsess(corpus, tmp_path, verify_sum=4)
    rows = read_manifest(tmp_path / "train.csv", corpus, TYPES)
    assert rows and not any(row["same_speaker"] for row in rows) and all(row["speaker1"] for row in rows)
