"""Tables and folders as people have them, through the preparation of one's own mixtures. IDs are those of the cases."""

from __future__ import annotations

import csv
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lobes.data.manifest import check_files, read_manifest
from lobes.errors import UserError

CASES = Path(__file__).parents[3] / "shared" / "cases"
SPLITS = {"train": ("a1", "a2"), "valid": ("b1",), "test": ("c1",)}
PARTS = ("mix", "s1", "s2")


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory):
    """Mixtures of two sources in folders, 20 ms each."""
    root = tmp_path_factory.mktemp("mixtures")
    for split, names in SPLITS.items():
        for name in names:
            write_parts(root / split, name)
    return root


def write_parts(folder, name, parts=PARTS):
    for number, part in enumerate(parts):
        (folder / part).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / part / f"{name}.wav", np.full(160, 0.2 if number == 0 else 0.1), 8000)


@pytest.fixture
def data(mixtures, tmp_path):
    return shutil.copytree(mixtures, tmp_path / "data")


@pytest.fixture
def prepare(recipe_module, tmp_path):
    """prepare(data, **options): the rows of the training set with absolute paths, whose files are all there."""

    def call(data, **options):
        recipe_module("custom", "custom_prepare").prepare_custom(data, tmp_path / "save", **options)
        found = {split: read_manifest(tmp_path / "save" / f"{split}.csv", data) for split in SPLITS}
        for rows in found.values():
            check_files(rows)
        return found["train"]

    return call


def table(split, path=lambda split, part, name: f"{split}/{part}/{name}.wav", separator=",", end=""):
    """The lines of a plain table."""
    lines = [separator.join(["ID", *(f"{part}_wav" for part in PARTS)])]
    lines += [separator.join([n, *(path(split, part, n) for part in PARTS)]) + end for n in SPLITS[split]]
    return "\n".join(lines) + "\n"


def write_tables(data, text, encoding="utf-8"):
    for split in SPLITS:
        (data / f"{split}.csv").write_bytes(text(split).encode(encoding))


READ = {
    "T2-30 mark": (lambda split: table(split), "utf-8-sig"),
    "T2-30 utf-16": (lambda split: table(split), "utf-16"),
    "T2-30 utf-16 without a mark": (lambda split: table(split), "utf-16-le"),
    "T2-30 utf-16 big": (lambda split: "\ufeff" + table(split), "utf-16-be"),
    "T2-31 semicolons": (lambda split: table(split, separator=";"), "utf-8"),
    "T2-31 tabs, utf-16": (lambda split: table(split, separator="\t"), "utf-16"),
    "T2-31 pipes": (lambda split: table(split, separator="|"), "utf-8"),
    "T2-31 sep=": (lambda split: "sep=;\r\n" + table(split, separator=";").replace("\n", "\r\n"), "utf-8-sig"),
    "T2-31 blanks behind": (lambda split: table(split, separator=", "), "utf-8"),
    "T2-36": (lambda split: table(split, lambda s, p, n: f"$data_root/{s}/{p}/{n}.wav"), "utf-8"),
    "T2-36 braces": (lambda split: table(split, lambda s, p, n: f"{{data_root}}/{s}/{p}/{n}.wav"), "utf-8"),
    "T2-36 both": (lambda split: table(split, lambda s, p, n: f"${{data_root}}/{s}/{p}/{n}.wav"), "utf-8"),
    "T2-36 backslash": (lambda split: table(split, lambda s, p, n: f"$data_root\\{s}\\{p}\\{n}.wav"), "utf-8"),
    "T2-37": (lambda split: table(split, end=","), "utf-8"),
    "T2-37 header too": (lambda split: table(split, end=",").replace("s2_wav", "s2_wav,,"), "utf-8"),
    "T2-39": (lambda split: table(split, lambda s, p, n: f"{s}\\{p}\\{n}.wav"), "utf-8"),
    "T2-39 dot": (lambda split: table(split, lambda s, p, n: f".\\{s}\\..\\{s}\\{p}\\{n}.wav"), "utf-8"),
    "old Mac": (lambda split: table(split).replace("\n", "\r"), "utf-8"),
    "blank lines": (lambda split: "\n" + table(split).replace("\n", "\n\n , ,,\n"), "utf-8"),
    "quotes": (lambda split: '"' + table(split).replace(",", '","').replace("\n", '"\n"')[:-1], "utf-8"),
    "a note in several lines": (
        lambda split: table(split, end=',"one,\ntwo"').replace("s2_wav", "s2_wav,note"),
        "utf-8",
    ),
    "case of columns": (lambda split: table(split).replace("ID,mix_wav", "id, Mix_Wav "), "utf-8"),
    "names of LibriMix": (
        lambda split: table(split).replace(
            "ID,mix_wav,s1_wav,s2_wav", "mixture_ID,mixture_path,source_1_path,source_2_path"
        ),
        "utf-8",
    ),
    "index of pandas": (lambda split: "".join(f"{n or ''},{x}\n" for n, x in enumerate(table(split).split())), "utf-8"),
    "case of files": (lambda split: table(split, lambda s, p, n: f"{s.title()}/{p}/{n}.WAV"), "utf-8"),
    "copied paths of Windows": (lambda split: table(split, lambda s, p, n: f'"""{s}\\{p}\\{n}.wav"""'), "utf-8"),
    "end of a file in DOS": (lambda split: "\ufeff" + table(split) + "\x1a", "utf-8-sig"),
    "lines in quotes": (lambda split: "".join(f'"{line}"\n' for line in table(split).splitlines()), "utf-8"),
    "blanks between": (lambda split: table(split, separator="  "), "utf-8"),
    "colons between": (lambda split: table(split, separator=":"), "utf-8"),
    "joined tables": (lambda split: table(split) + table(split).split("\n")[0] + "\n", "utf-8"),
}


@pytest.mark.parametrize("case", READ)
def test_what_has_one_meaning_is_read(data, prepare, case):
    write_tables(data, *READ[case])
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    rows = prepare(data, verify_sum=1)
    assert [row["ID"] for row in rows] == ["a1", "a2"]
    assert all(row[f"{part}_wav"] == str(data / "train" / part / f"{row['ID']}.wav") for part in PARTS for row in rows)
    assert before == {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}


def absolute(data):
    return lambda split: table(split, lambda s, p, n: f"{data}/{s}/{p}/{n}.wav")


@pytest.mark.parametrize(
    "path",
    [
        "{data}/{s}/{p}/{n}.wav",
        "file://{data}/{s}/{p}/{n}.wav",
        "../data/{s}/{p}/{n}.wav",
        "$data_root/../data/{s}/{p}/{n}.wav",
    ],
    ids=["T2-33", "T2-33 file", "T2-34b", "T2-34b data_root"],
)
def test_files_outside_the_data_folder(data, prepare, tmp_path, path):
    (tmp_path / "tables").mkdir()
    write_tables(tmp_path / "tables", lambda split: table(split, lambda s, p, n: path.format(data=data, s=s, p=p, n=n)))
    rows = prepare(tmp_path / "tables")
    assert rows[0]["mix_wav"] == str(data / "train" / "mix" / "a1.wav")
    assert "$data_root" not in (tmp_path / "save" / "train.csv").read_text()


def test_a_way_around_is_the_data_folder(data, prepare, tmp_path):  # T2-34
    write_tables(data, lambda split: table(split, lambda s, p, n: f"../{data.name}/{s}/{p}/{n}.wav"))
    prepare(data)
    assert "$data_root/train/mix/a1.wav" in (tmp_path / "save" / "train.csv").read_text()


@pytest.mark.parametrize("encoding", ["cp1250", "iso8859_2", "cp852", "mac_latin2"])
def test_other_encodings_are_told_by_the_files(data, prepare, encoding):
    name = "żółć"
    for part in PARTS:
        (data / "train" / part / "a1.wav").rename(data / "train" / part / f"{name}.wav")
    write_tables(data, lambda split: table(split).replace("a1", name), encoding)
    assert [row["ID"] for row in prepare(data)] == ["a2", name]


def test_names_of_a_mac_and_the_other_form_in_the_table(data, prepare):
    name = "żółć"
    for part in PARTS:
        (data / "train" / part / "a1.wav").rename(data / "train" / part / f"{unicodedata.normalize('NFD', name)}.wav")
    write_tables(data, lambda split: table(split).replace("a1", name))
    assert [row["ID"] for row in prepare(data)] == ["a2", name]


def windows(start):
    return table("train", lambda s, p, n: rf"{start}\data\{s}\{p}\{n}.wav")


PLAIN = table("train")
LENGTH = "expected 4 cells, as in the header, found"
REFUSED = {
    "no column": (
        PLAIN.replace("s2_wav", "s2_waw"),
        r"column s2_wav is missing; found .*\(separated by commas, utf-8\)",
    ),
    "no column but a similar one": (PLAIN.replace("s2_wav", "s2_waw"), "Did you mean 's2_waw'"),
    "doubled column": (PLAIN.replace("s2_wav", "s1_wav,s2_wav"), r"column s1_wav is there twice \(columns 3, 4\)"),
    "doubled ID": (PLAIN + "a1,x,y,z\n", r"IDs occur more than once: a1 \(lines 2, 4\)"),
    "too many cells": (PLAIN.replace("train/s1", "tr,ain/s1"), f"line 2: {LENGTH} 5"),
    "too few cells": (PLAIN + "a3,x.wav\n", f"line 4: {LENGTH} 2"),
    "empty cell": (PLAIN.replace("train/s1/a2.wav", ""), "line 3: s1_wav is empty"),
    "no rows": (PLAIN.split("\n")[0], "no rows"),
    "open quote": (PLAIN.replace(",train/s1/a2", ',"train/s1/a2'), "cannot be read .*quotation mark"),
    "a drive": (windows("C:"), r"line 2: mix_wav: C:\\data\\train\\mix\\a1.wav is a path of Windows"),
    "a server": (windows(r"\\server"), "line 2: mix_wav: .*is a path of Windows"),
    "another placeholder": (PLAIN.replace("train/", "$corpus/train/"), r"line 2: mix_wav: .*placeholder.*\$data_root"),
    "JSON": ('[{"ID": "a"}]', "looks like JSON"),
    "three sources": (
        table("train", end=",train/s2/a1.wav").replace("s2_wav", "s2_wav,s3_wav"),
        "line 2: s3_wav is a source.*num_spks is 2",
    ),
    "one file in two columns": (PLAIN.replace("s2/a2", "s1/a2"), "line 3: s1_wav and s2_wav are one file, .*s1/a2.wav"),
    "the mixture as a source": (
        PLAIN.replace("train/s1/a2", "train/mix/a2"),
        "line 3: mix_wav and s1_wav are one file",
    ),
    "mixtures of the test": (table("test"), "test.csv: 1 of its mixtures are in train.csv, too: "),
    "a file that is not there": (
        PLAIN.replace("s1/a2", "s1/a9"),
        "line 3: s1_wav is written train/s1/a9.wav.* 1 of 6 files",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_in_one_line(data, prepare, tmp_path, case):
    text, words = REFUSED[case]
    write_tables(data, table)
    (data / "train.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        prepare(data)
    assert not (tmp_path / "save").exists()


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0"])
def test_a_spreadsheet_is_not_a_table(data, prepare, start):
    write_tables(data, table)
    (data / "valid.csv").write_bytes(start + b"\0" * 99)
    with pytest.raises(UserError, match="valid.csv: is .*not text: save the table as CSV"):
        prepare(data)


def test_an_unknown_encoding_is_refused(data, prepare):
    write_tables(data, lambda split: table(split).replace("a1,", "ż,").replace("b1,", "ż,"), "cp1250")
    with pytest.raises(UserError, match="not in UTF-8, and its letters beyond ASCII may be .*cp1250.*Save it as CSV"):
        prepare(data)


def test_one_table_needs_the_others(data, prepare):
    (data / "valid.csv").write_text(table("valid"))
    with pytest.raises(UserError, match="train.csv: no such table.*has valid.csv"):
        prepare(data)


@pytest.mark.parametrize("folder", [".", "results", "./train/../x"], ids=["T2-40", "T2-40 below", "T2-40 around"])
def test_nothing_is_written_into_the_data_folder(data, recipe_module, monkeypatch, folder):
    write_tables(data, table)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    monkeypatch.chdir(data)
    with pytest.raises(UserError, match="save_folder .* lies in data_folder .*never written into"):
        recipe_module("custom", "custom_prepare").prepare_custom(".", folder)
    assert before == {path: path.stat().st_mtime_ns for path in data.rglob("*")}


def test_a_link_into_the_data_folder_is_the_data_folder(data, recipe_module, tmp_path):  # T2-40
    (tmp_path / "link").symlink_to(data)
    with pytest.raises(UserError, match="lies in data_folder"):
        recipe_module("custom", "custom_prepare").prepare_custom(data, tmp_path / "link" / "save")


def test_files_of_other_systems_are_passed_over(data, prepare):  # T2-49
    for folder in [data, *(path for path in data.rglob("*") if path.is_dir())]:
        for name in ("._a1.wav", ".DS_Store", "Thumbs.db", "desktop.ini", "~$a1.wav", "mix.zip", ".~lock.train.csv#"):
            (folder / name).write_bytes(b"x")
        (folder / "@eaDir").mkdir()
    assert [row["ID"] for row in prepare(data)] == ["a1", "a2"]


def test_endings_and_forms_of_names_may_differ_between_parts(data, prepare):
    mix, s1 = (data / "train" / part for part in ("mix", "s1"))
    (mix / "a1.wav").rename(mix / "A1.WAV")
    samples, rate = soundfile.read(s1 / "a2.wav")
    (s1 / "a2.wav").unlink()
    soundfile.write(s1 / "a2.flac", samples, rate)
    soundfile.write(s1 / "a1.flac", samples, rate)  # next to a1.wav
    (mix / "a2.wav").rename(mix / unicodedata.normalize("NFD", "ó.wav"))
    for part, ending in (("s1", "flac"), ("s2", "wav")):
        (data / "train" / part / f"a2.{ending}").rename(data / "train" / part / f"ó.{ending}")
    first, second = prepare(data)
    assert first["ID"] == "A1" and first["s1_wav"].endswith("a1.wav") and second["s1_wav"].endswith("ó.flac")


def test_sound_that_would_be_left_out_is_named(data, prepare):
    for part in PARTS:
        (data / "train" / part / "a9.ogg").write_bytes(b"x")
    with pytest.raises(UserError, match="1 files are sound, but neither WAV nor FLAC: a9.ogg"):
        prepare(data)


def test_links_to_folders_and_loops(data, prepare, tmp_path):
    shutil.move(data / "train" / "s1", tmp_path / "elsewhere")
    (data / "train" / "s1").symlink_to(tmp_path / "elsewhere")
    (data / "train" / "mix" / "loop").symlink_to(data)
    assert len(prepare(data)) == 2
    (data / "train" / "mix" / "a1.wav").unlink()
    (data / "train" / "mix" / "a1.wav").symlink_to("a1.wav")  # to itself
    with pytest.raises(UserError, match="1 of 6 files are missing"):
        prepare(data, check_files="all", verify_sum=9)


def test_folders_of_other_names_and_layouts_are_named(data, prepare, tmp_path):
    (data / "valid").rename(data / "dev")
    with pytest.raises(UserError, match="valid/mix: no such folder. In .* expected valid; found dev, test, train"):
        prepare(data)
    (data / "train" / "s1").rename(data / "train" / "S1")
    with pytest.raises(
        UserError, match="expected s1; found S1, mix, s2. Did you mean 'S1'"
    ):  # s2 alone is not 1 source
        prepare(data)
    (data / "train" / "S1").rename(data / "train" / "s1")
    for path in (data / "test" / "s2").iterdir():
        path.unlink()
    (data / "dev").rename(data / "valid")
    with pytest.raises(UserError, match="test/s2: expected WAV files of s2, found none; the folder holds nothing"):
        prepare(data)
    with pytest.raises(
        UserError, match="expected train.csv or a folder train/mix, found neither; it holds mix, s1"
    ):  # T2-55
        prepare(data / "train")


def test_a_third_source_and_a_second_are_not_left_out(data, prepare):  # T2-42, T2-43
    with pytest.raises(UserError, match=r"holds s1, s2: mixtures of 2 speakers, num_spks is 1. Set --num_spks 2"):
        prepare(data, num_spks=1)
    for split, names in SPLITS.items():
        for name in names:
            write_parts(data / split, name, ("mix", "s3"))
    with pytest.raises(UserError, match=r"holds s1, s2, s3: mixtures of 3 speakers, num_spks is 2. Set --num_spks 3"):
        prepare(data)
    with pytest.raises(UserError, match=r"s4: no such folder.* found mix, s1, s2, s3: set --num_spks 3"):
        prepare(data, num_spks=4)


@pytest.mark.parametrize("case", ["30", "31", "33", "34", "34b", "36", "37", "39", "40", "49"])
def test_cases(case, prepare, tmp_path):
    folder = CASES / f"T2-{case}"
    if not folder.is_dir():
        pytest.skip("the cases are not in this checkout")
    if case == "33":
        for split in SPLITS:
            text = (folder / f"{split}.csv").read_text().replace("/data/elsewhere", os.fspath(CASES / "T2-30"))
            (tmp_path / "tables").mkdir(exist_ok=True)
            (tmp_path / "tables" / f"{split}.csv").write_text(text)
        folder = tmp_path / "tables"
    rows = prepare(folder)
    with open(tmp_path / "save" / "train.csv", newline="") as file:
        written = [row["mix_wav"] for row in csv.DictReader(file)]
    assert len(rows) == 2 and all(path.startswith("/" if case in ("33", "34b") else "$data_root/") for path in written)
