"""Manifests: what is written is read, and each mistake is one clear error."""

from __future__ import annotations

import os

import pytest

from lobes.data import manifest
from lobes.errors import UserError

HEADER = "ID,duration,mix_wav,s1_wav\n"
TYPES = {"has_reverb": bool, "SSR": float}


def row(ID: str, **more) -> dict:
    return {
        "ID": ID,
        "duration": 0.25,
        "mix_wav": f"$data_root/{ID}.wav",
        "s1_wav": "$data_root/s.wav",
        **more,
    }


def test_round_trip_sorts_and_types(tmp_path):
    rows = [row("b", has_reverb=True, SSR=-3, extra="x,y"), row("a", has_reverb=False, s2_wav="", SSR=None)]
    manifest.write_manifest(tmp_path / "new" / "train.csv", rows)
    first, second = manifest.read_manifest(tmp_path / "new" / "train.csv", tmp_path, TYPES)
    assert (first["ID"], second["ID"]) == ("a", "b")
    assert second["has_reverb"] is True and first["has_reverb"] is False
    assert second["SSR"] == -3.0 and first["SSR"] == "" and first["s2_wav"] == ""
    assert second["extra"] == "x,y" and second["mix_wav"] == str(tmp_path / "b.wav")
    assert os.listdir(tmp_path / "new") == ["train.csv"]


def test_columns_keep_the_contract_order(tmp_path):
    manifest.write_manifest(tmp_path / "a.csv", [{"zebra": 1, "s2_wav": "", **row("a")}])
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == "ID,duration,mix_wav,s1_wav,s2_wav,zebra"
    many = {"yak": 1, "noise_wav": "", "s10_wav": "", "scene_wav": "", **row("a"), "s9_wav": ""}
    manifest.write_manifest(tmp_path / "b.csv", [many])
    expected = "ID,duration,mix_wav,s1_wav,s9_wav,s10_wav,noise_wav,yak,scene_wav"
    assert (tmp_path / "b.csv").read_text().splitlines()[0] == expected


def test_D11_killed_writer_leaves_the_old_manifest(tmp_path, monkeypatch):
    manifest.write_manifest(tmp_path / "a.csv", [row("old")])

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest.csv.DictWriter, "writerows", killed)
    with pytest.raises(KeyboardInterrupt):
        manifest.write_manifest(tmp_path / "a.csv", [row("new")])
    assert manifest.read_manifest(tmp_path / "a.csv")[0]["ID"] == "old"
    assert os.listdir(tmp_path) == ["a.csv"]


def test_columns_without_a_type_stay_text(tmp_path):
    manifest.write_manifest(tmp_path / "a.csv", [row("a", has_reverb=True, SSR=-3)])
    (read,) = manifest.read_manifest(tmp_path / "a.csv")
    assert (read["has_reverb"], read["SSR"], read["duration"]) == ("True", "-3", 0.25)


GOOD = "a,1.0,$data_root/a.wav,$data_root/b.wav\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER + GOOD + GOOD, "1 IDs occur more than once: a"),
        ("ID,duration,mix_wav,s1_waw\n" + GOOD, "column s1_wav is missing.*Did you mean 's1_waw'"),
        (HEADER + GOOD.replace("1.0", "0"), "line 2: duration must be a positive"),
        (HEADER + GOOD.replace("1.0", "nan"), "duration must be a positive"),
        (HEADER + GOOD.replace("1.0", "-1"), "duration must be a positive"),
        (HEADER + GOOD.replace("1.0", "long"), "duration must be a number"),
        (HEADER + GOOD.replace("$data_root/a", "$data_root/../a"), "mix_wav lies outside"),
        (HEADER + GOOD.replace("$data_root/a", "/etc/a"), "mix_wav lies outside"),
        (HEADER + GOOD.replace("$data_root/a.wav", ""), "mix_wav is empty"),
        (HEADER, "no rows"),
        ("", "is missing; found none"),
        (HEADER + "a,1.0\n", "line 2: expected 4 cells"),
        ("has_reverb," + HEADER + "maybe," + GOOD, "has_reverb must be True or False, got 'maybe'"),
        ("SSR," + HEADER + "loud," + GOOD, "SSR must be a number, got 'loud'"),
    ],
)
def test_D01_D02_D03_D04_D09_S07_mistakes_in_the_file(tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        manifest.read_manifest(tmp_path / "a.csv", tmp_path, TYPES)
    assert "a.csv" in str(caught.value)


def test_missing_manifest(tmp_path):
    with pytest.raises(UserError, match="no such manifest"):
        manifest.read_manifest(tmp_path / "a.csv")


def test_duplicates_are_not_written(tmp_path):
    with pytest.raises(UserError, match="2 IDs occur more than once: a, b"):
        manifest.write_manifest(tmp_path / "a.csv", [row("a"), row("b"), row("a"), row("b")])
    assert not os.listdir(tmp_path)


def test_D05_missing_files_are_counted(tmp_path):
    (tmp_path / "s.wav").write_bytes(b"x")
    manifest.write_manifest(tmp_path / "a.csv", [row(f"{n:03}") for n in range(60)])
    rows = manifest.read_manifest(tmp_path / "a.csv", tmp_path)
    with pytest.raises(UserError, match=r"60 of 61 files are missing: .*000\.wav, .* and 57 more"):
        manifest.check_files(rows)
    with pytest.raises(UserError, match="50 of 51 files"):
        manifest.check_files(rows, "first")
    manifest.check_files(rows, "none")
    with pytest.raises(UserError, match="got 'frist'. Did you mean 'first'"):
        manifest.check_files(rows, "frist")
