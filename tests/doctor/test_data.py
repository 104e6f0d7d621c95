"""Faults of data, each seeded alone in right data: D01 to D11 and more, with the finding that names it."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.manifest import SPLITS
from lobes.data.shards.writing import write_shards
from lobes.doctor.data import check_data
from lobes.doctor.tables import find_manifests
from lobes.errors import UserError


def test_right_data_have_no_finding(data):
    assert data.findings() == []
    assert data.findings(data_root=str(data.root), sample_rate=8000) == []


def silenced(data, part, IDs):
    """A source that is silent in rows whose mixtures are still sums."""
    for ID in IDs:
        absent = audio.read_mono(data.path(ID, part))
        data.samples(ID, "mix", lambda x, absent=absent: x - absent)
        data.samples(ID, part, lambda x: 0 * x)


def exchange(data, one, other):
    """The mixtures of two rows."""
    first, second = data.path(one, "mix"), data.path(other, "mix")
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)


def without_column(data, name):
    text = (data.root / "valid.csv").read_text()
    (data.root / "valid.csv").write_text(text.replace(name, "other"))


def at_16_khz(data):
    for part in ("mix", "s1", "s2", "noise"):
        path = data.path("valid1", part)
        audio.write(path, audio.read_mono(path), 16000)


def outside(data):
    shutil.copy(data.path("test0", "s1"), data.root.parent / "s1.wav")
    data.cell("test0", "s1_wav", "$data_root/../s1.wav")


TRAIN = [f"train{number}" for number in range(6)]
FAULTS = {
    "D01_duplicate_ID": (lambda d: d.cell("train1", "ID", "train0"), "manifests", "1 IDs occur more than once: train0"),
    "D02_missing_column": (lambda d: without_column(d, "s1_wav"), "manifests", "valid.csv.*column s1_wav is missing"),
    "D03_nan": (lambda d: d.cell("train2", "duration", "nan"), "durations", "1 are no positive .*line 4 'nan'"),
    "D03_negative": (lambda d: d.cell("train2", "duration", "-1"), "durations", "1 are no positive number"),
    "D03_zero": (lambda d: d.cell("test2", "duration", "0"), "durations", "1 are no positive number"),
    "D03_no_number": (lambda d: d.cell("test2", "duration", "long"), "durations", "1 are no positive number"),
    "D04_outside": (outside, "paths", r"1 lead out of the data folder: .*test.csv, line 2: s1_wav \$data_root/\.\./s1"),
    "D05_missing": (
        lambda d: [d.path(ID, "s2").unlink() for ID in TRAIN],
        "files",
        "6 of 48 are missing: .*and 3 more",
    ),
    "D06_rate": (at_16_khz, "sample rate", r"4 of 48 have another sample rate than 8000 Hz: .*\(16000 Hz\)"),
    "D07_length": (lambda d: d.samples("test1", "noise", lambda x: x[:-1]), "lengths", "1 of 12 .*unequal.*: test1"),
    "D08_level": (
        lambda d: d.samples("valid0", "s1", lambda x: x / 2),
        "sums",
        "1 mixtures are not .*valid, seed 0: val",
    ),
    "D08_offset": (lambda d: d.samples("test2", "s2", lambda x: np.roll(x, 9)), "sums", "1 mixtures.*test2"),
    "D08_exchanged": (lambda d: exchange(d, "train0", "train1"), "sums", "2 mixtures.*train0, train1"),
    "D10_test": (lambda d: d.cell("test0", "speaker2", "train_a"), "speakers", "1 of 3 speakers of test are in train"),
    "DX1_silent": (
        lambda d: silenced(d, "s2", TRAIN),
        "silence",
        "s2 is silent .*6 of 6 rows of train, seed 0: in all",
    ),
    "damaged": (lambda d: d.path("train0", "s1").write_bytes(b"RIFF"), "damaged files", "1 of 48 cannot be read: .*s1"),
    "nan_samples": (
        lambda d: audio.sf.write(d.path("train0", "s1"), np.full(800, np.nan), 8000, "FLOAT"),
        "audio",
        "sample 0 is nan",
    ),
    "same_mixture": (
        lambda d: [shutil.copy(d.path("train0", p), d.path("test0", p)) for p in ("mix", "s1", "s2", "noise")],
        "splits",
        "1 mixtures are in two of them: .*train0.wav .train. and .*test0.wav .test",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(data, name):
    spoil, what, text = FAULTS[name]
    spoil(data)
    fails = [finding for finding in data.findings(data_root=str(data.root)) if finding[0] == "FAIL"]
    assert [finding[1] for finding in fails] == [what]
    assert re.search(text, fails[0][2]), fails[0][2]


def of_shards(data, name):
    """The findings of the data as shards that are not ok: (level, what, text)."""
    for split in SPLITS:
        write_shards(data.root / f"{split}.csv", data.root.parent / name, megabytes=0.02, progress=False)
    return [tuple(f) for f in check_data(find_manifests(data.root.parent / name)) if f.level != "ok"]


def test_shards_are_checked_as_files_are(data):
    assert of_shards(data, "right") == []
    FAULTS["same_mixture"][0](data)
    (fault,) = of_shards(data, "spoilt")
    assert fault[:2] == ("FAIL", "splits") and re.search(r"1 mixtures are in two of them: .*\.tar/\d+\.mix", fault[2])
    (data.root.parent / "right" / "test" / "000000.tar").unlink()
    found = [tuple(f) for f in check_data(find_manifests(data.root.parent / "right")) if f.level != "ok"]
    assert found[0][:2] == ("FAIL", "files") and "are missing: " in found[0][2]


def test_D09_empty_split(data):
    first = (data.root / "valid.csv").read_text().splitlines()[0]
    (data.root / "valid.csv").write_text(first + "\n")
    (fault,) = data.findings()
    assert fault[:2] == ("FAIL", "manifests") and "valid.csv" in fault[2] and "row" in fault[2]


def test_D11_what_a_killed_preparation_leaves(data):
    (data.root / "train.csv.partial").touch()
    (fault,) = data.findings()
    assert fault[:2] == ("warn", "unfinished files") and "stopped half-way" in fault[2]


def test_D10_validation_warns_and_polsess_is_a_note(data):
    data.cell("valid0", "speaker1", "train_b")
    (fault,) = data.findings()
    assert fault[:2] == ("warn", "speakers") and "1 of 3 speakers of valid are in train, too: train_b" in fault[2]
    for split in ("train", "valid", "test"):
        text = (data.root / f"{split}.csv").read_text().replace("noise_wav", "scene_wav")
        lines = [line + (",sceneClass" if n == 0 else ",home") for n, line in enumerate(text.splitlines())]
        (data.root / f"{split}.csv").write_text("\n".join(lines) + "\n")
    assert data.findings() == []
    data.cell("test1", "sceneClass", "")
    assert data.findings() == [
        ("warn", "scene classes", "1 of 12 rows have no sceneClass: test1. Look at the corpus's tables.")
    ]


def test_D10_speakers_in_the_names_of_files(data):
    IDs = iter(
        [f"{n}-1-1_{n + 500}-2-2" for n in (103, *range(200, 208))]
        + ["30-1-1_103-2-2", "31-1-1_32-2-2", "33-1-1_34-2-2"]
    )
    for split in ("train", "valid", "test"):
        lines = [line.split(",")[:-2] for line in (data.root / f"{split}.csv").read_text().splitlines()]
        lines[1:] = [[next(IDs), *line[1:]] for line in lines[1:]]
        (data.root / f"{split}.csv").write_text("\n".join(map(",".join, lines)) + "\n")
    (fault,) = data.findings()
    assert fault[:2] == ("FAIL", "speakers") and "1 of 6 speakers of test are in train, too: 103" in fault[2]


def test_some_silent_and_clipped_sources_are_warnings_with_counts(data):
    silenced(data, "s2", ["train3"])
    silenced(data, "noise", ["train3"])  # no source: nothing to say
    shutil.copy(data.path("train3", "s1"), data.path("train3", "mix"))
    data.samples("valid2", "s1", lambda x: np.where(np.arange(800) < 9, 1.0, x))
    data.samples("valid2", "mix", lambda x: np.where(np.arange(800) < 9, 1.0, x))
    assert sorted(data.findings()) == [
        ("warn", "clipping", "valid: mix is clipped in 1 of 3 rows (valid2)"),
        ("warn", "clipping", "valid: s1 is clipped in 1 of 3 rows (valid2)"),
        ("warn", "equal parts", "train: in 1 of 6 rows the mixture is one of its sources: train3."),
        ("warn", "silence", "train: s2 is silent in 1 of 6 rows (train3)"),
    ]


def test_durations_of_other_files(data):
    data.cell("test0", "duration", "99")
    (fault,) = data.findings()
    assert fault[:2] == ("warn", "durations") and "1 of 12 are not those of the files: test0" in fault[2]


def test_one_manifest_and_no_manifest(data, tmp_path):
    assert [f for f in check_data(find_manifests(data.root / "test.csv")) if f.level != "ok"] == []
    with pytest.raises(UserError, match="--data .*it holds .*mix.*--recipe PolSESS"):
        shutil.move(data.root / "mix", tmp_path / "other" / "mix")
        find_manifests(tmp_path / "other")


def test_one_stored_part_has_no_sum_but_is_not_the_mixture(data):
    for split in ("train", "valid", "test"):
        lines = [line.split(",") for line in (data.root / f"{split}.csv").read_text().splitlines()]
        (data.root / f"{split}.csv").write_text("\n".join(",".join(line[:4]) for line in lines) + "\n")
    lines = [f.line() for f in check_data(find_manifests(data.root))]
    assert any(line.startswith("ok    sums") and "there is no sum" in line for line in lines)
    for ID in TRAIN:
        shutil.copy(data.path(ID, "s1"), data.path(ID, "mix"))
    fails = [finding for finding in data.findings() if finding[0] == "FAIL"]
    assert [finding[1] for finding in fails] == ["sums"] and "mix and s1 are the same samples" in fails[0][2]


def test_manifests_of_a_run_need_the_data_folder(data, tmp_path):
    (tmp_path / "save").mkdir()
    for split in ("train", "valid", "test"):
        shutil.move(data.root / f"{split}.csv", tmp_path / "save")
    manifests = find_manifests(tmp_path / "save")
    paths = next(f for f in check_data(manifests) if f.what == "paths")
    assert paths.level == "FAIL" and "Add --data-root FOLDER" in paths.text
    assert {f.level for f in check_data(manifests, str(data.root))} == {"ok"}


def test_a_sample_says_its_share_and_is_the_same_each_time(data):
    lines = [f.line() for f in check_data(find_manifests(data.root), rows=2)]
    assert any("sums" in line and "2 of 6 rows of train, 2 of 3 rows of valid" in line for line in lines)
    assert lines == [f.line() for f in check_data(find_manifests(data.root), rows=2)]
