"""Shards hold what the files held, bit for bit, in an order of their own, and are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import tarfile

import numpy as np
import pytest
import soundfile

from lobes.data import audio
from lobes.data.manifest import read_manifest, write_manifest
from lobes.data.shards import writing
from lobes.data.shards.encoding import encoded
from lobes.data.shards.writing import write_shards
from lobes.errors import UserError

SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")


@pytest.fixture
def manifest(tmp_path):
    """Twelve examples of two parts, in all sample formats, one and two channels."""
    rng, rows = np.random.default_rng(0), []
    for n in range(12):
        row = {"ID": f"a.{n:02d}/ż", "duration": 0.1, "speaker1": f"s{n}"}
        for part, channels in (("mix", 1), ("s1", 2)):
            row[f"{part}_wav"] = f"$data_root/{n}_{part}.wav"
            signal = rng.uniform(-1, 1, (800, channels) if channels > 1 else 800)
            soundfile.write(tmp_path / f"{n}_{part}.wav", signal, 8000, SUBTYPES[n % len(SUBTYPES)])
        rows.append(row)
    write_manifest(tmp_path / "train.csv", rows)
    return tmp_path / "train.csv"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_sample_and_column_comes_back(manifest, tmp_path):
    folder = write_shards(manifest, tmp_path / "out", megabytes=0.04)
    before, after = read_manifest(manifest, tmp_path), read_manifest(folder / "manifest.csv", tmp_path / "out")
    assert [row["ID"] for row in before] == [row["ID"] for row in after]
    for old, new in zip(before, after, strict=True):
        assert old["speaker1"] == new["speaker1"] and old["duration"] == new["duration"]
        for column in ("mix_wav", "s1_wav"):
            (x, rate), (y, same) = audio.read(old[column]), audio.read(new[column])
            assert rate == same and x.dtype == y.dtype and np.array_equal(x, y)
            assert audio.probe(old[column]).frames == audio.probe(new[column]).frames


def test_flac_is_taken_where_it_loses_nothing():
    endings = {}
    for bits in (8, 16, 24, 32):
        steps = np.random.default_rng(1).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 500)
        endings[bits] = encoded((steps / 2 ** (bits - 1)).astype(np.float32), 8000)[0]
    assert endings == {8: "flac", 16: "flac", 24: "flac", 32: "wav"}
    assert encoded(np.array([0.5, 1.0], np.float32), 8000)[0] == "wav"  # FLAC ends one step before 1
    assert encoded(np.zeros((10, 9), np.float32), 8000)[0] == "wav"  # and has eight channels


def test_order_size_and_sums(manifest, tmp_path):
    folder = write_shards(manifest, tmp_path / "out", seed=3, megabytes=0.04)
    index = json.loads((folder / "index.json").read_text())
    assert index["examples"] == 12 and len(index["shards"]) > 2
    for shard in index["shards"]:
        raw = (folder / shard["name"]).read_bytes()
        assert len(raw) == shard["bytes"] <= 40_000 and hashlib.sha256(raw).hexdigest() == shard["sha256"]
    orders = {}
    for seed in (3, 4):
        folder = write_shards(manifest, tmp_path / f"seed{seed}", seed=seed, megabytes=0.04)
        orders[seed] = [json.load(tar.extractfile(name))["ID"] for tar, name in jsons(folder)]
    assert sorted(orders[3]) == sorted(orders[4]) and len(set(orders[3])) == 12
    assert orders[3] != orders[4] and orders[3] != sorted(orders[3])
    assert contents(tmp_path / "out" / "train") == contents(tmp_path / "seed3" / "train")


def jsons(folder):
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for name in tar.getnames():
                if name.endswith(".json"):
                    yield tar, name


def test_a_call_that_was_ended_goes_on(manifest, tmp_path, monkeypatch):
    whole = write_shards(manifest, tmp_path / "whole", megabytes=0.04)
    left = [17]  # files: the first shard and a part of the next one

    def read(path):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return audio.read(path)

    monkeypatch.setattr(writing, "read", read)
    with pytest.raises(KeyboardInterrupt):
        write_shards(manifest, tmp_path / "out", megabytes=0.04)
    first = (tmp_path / "out" / "train" / "000000.tar").stat().st_mtime_ns
    assert not (tmp_path / "out" / "train" / "index.json").exists()
    with pytest.raises(UserError, match="holds shards of another seed. Remove it, or give another -o"):
        write_shards(manifest, tmp_path / "out", seed=1, megabytes=0.04)
    left[0] = 1000
    folder = write_shards(manifest, tmp_path / "out", megabytes=0.04)
    assert contents(folder) == contents(whole)
    assert (folder / "000000.tar").stat().st_mtime_ns == first
    left[0] = 0  # all is there: nothing is read again
    assert write_shards(manifest, tmp_path / "out", megabytes=0.04) == folder
    with pytest.raises(UserError, match="holds shards of another megabytes"):
        write_shards(manifest, tmp_path / "out", megabytes=2)


def test_a_shard_that_is_cut_missing_or_another_is_one_line(manifest, tmp_path):
    folder = write_shards(manifest, tmp_path / "out", megabytes=0.04)
    path = read_manifest(folder / "manifest.csv", tmp_path / "out")[0]["mix_wav"]
    shard = folder / path.split("/")[-2]
    raw = shard.read_bytes()
    shard.write_bytes(raw[:600])
    with pytest.raises(UserError, match=r"\.tar: is cut within .*sha256sum -c SHA256SUMS"):
        audio.read(path)
    shard.write_bytes(bytes(len(raw)))
    with pytest.raises(UserError, match="holds no audio there"):
        audio.read(path)
    shard.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        audio.read(path)


def test_webdataset_reads_them(manifest, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    folder = write_shards(manifest, tmp_path / "out", megabytes=0.04)
    names = [str(path) for path in sorted(folder.glob("*.tar"))]
    found = list(webdataset.WebDataset(names, shardshuffle=False))
    assert {json.loads(one["json"])["ID"] for one in found} == {row["ID"] for row in read_manifest(manifest, tmp_path)}
    assert all({key.split(".")[0] for key in one if not key.startswith("__")} == {"mix", "s1", "json"} for one in found)
