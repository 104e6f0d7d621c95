"""VoiceBank-DEMAND: pairs, rates, the held-out speakers, and a download that goes on where it stopped."""

from __future__ import annotations

import csv
import hashlib
import http.server
import io
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.manifest import read_manifest
from lobes.errors import UserError


@pytest.fixture
def prepare(recipe_module):
    return recipe_module("VoiceBank", "voicebank_prepare")


@pytest.fixture
def download(recipe_module):
    return recipe_module("VoiceBank", "voicebank_download")


def make_folder(
    root,
    rate=16000,
    train=("p226_001", "p228_001", "p228_002", "p287_001"),
    test=("p232_001",),
    suffix="",
    training="trainset_28spk_wav",
):
    rng = np.random.default_rng(0)
    for name, files in ((training, train), ("testset_wav", test)):
        for kind in ("clean", "noisy"):
            for file in files:
                x = 0.1 * rng.standard_normal(rate // 4)
                audio.write(root / f"{kind}_{name}{suffix}" / f"{file}.wav", x, rate)
    return root


def rows(folder, split):
    with open(folder / f"{split}.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("suffix", ["", "_16k"])
def test_manifests(prepare, tmp_path, suffix, capsys):
    data = make_folder(tmp_path / "data", suffix=suffix)
    prepare.prepare_voicebank(data, tmp_path / "save")
    assert [row["ID"] for row in rows(tmp_path / "save", "train")] == ["p228_001", "p228_002"]
    assert [row["ID"] for row in rows(tmp_path / "save", "valid")] == ["p226_001", "p287_001"]
    (row,) = rows(tmp_path / "save", "test")
    assert row["mix_wav"] == f"$data_root/noisy_testset_wav{suffix}/p232_001.wav" and row["speaker"] == "p232"
    assert row["s1_wav"] == f"$data_root/clean_testset_wav{suffix}/p232_001.wav" and float(row["duration"]) == 0.25
    assert "VoiceBank valid: 2 pairs, 0.00 h, 2 speakers" in capsys.readouterr().out
    prepare.prepare_voicebank(data, tmp_path / "save")
    assert "up to date" in capsys.readouterr().out


def test_48_khz_is_resampled_once(prepare, tmp_path, capsys):
    data = make_folder(tmp_path / "data", rate=48000)
    before = sorted(data.rglob("*"))
    prepare.prepare_voicebank(data, tmp_path / "save", resampled_folder=tmp_path / "copies")
    (row,) = rows(tmp_path / "save", "test")
    made = tmp_path / "copies" / "noisy_testset_wav_16k" / "p232_001.wav"
    assert row["mix_wav"] == str(made) and sorted(data.rglob("*")) == before
    assert read_manifest(tmp_path / "save" / "test.csv", data)[0]["mix_wav"] == str(made)
    assert audio.probe(made).sample_rate == 16000 and audio.probe(made).frames == 4000
    before = made.stat().st_mtime_ns
    prepare.prepare_voicebank(data, tmp_path / "other", resampled_folder=tmp_path / "copies")
    assert made.stat().st_mtime_ns == before
    capsys.readouterr()
    prepare.prepare_voicebank(
        data, tmp_path / "save", resampled_folder=tmp_path / "copies"
    )  # also where the first call had to resample
    assert "up to date" in capsys.readouterr().out


def test_runs_that_start_together_resample_once(prepare, tmp_path):
    data = make_folder(tmp_path / "data", rate=48000)
    copies = {"resampled_folder": tmp_path / "copies"}
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda run: prepare.prepare_voicebank(data, tmp_path / run, **copies), ["a", "b", "c"]))
    assert rows(tmp_path / "a", "train") == rows(tmp_path / "b", "train") == rows(tmp_path / "c", "train")
    assert not list(tmp_path.rglob("*.partial"))


def test_a_file_without_a_partner_is_an_error(prepare, tmp_path):
    data = make_folder(tmp_path / "data")
    (data / "clean_trainset_28spk_wav" / "p228_002.wav").unlink()
    with pytest.raises(UserError, match="1 files of .*noisy_trainset_28spk_wav have no partner.*p228_002"):
        prepare.prepare_voicebank(data, tmp_path / "save")


def test_unequal_lengths_are_an_error(prepare, tmp_path):
    data = make_folder(tmp_path / "data")
    audio.write(data / "clean_testset_wav" / "p232_001.wav", np.zeros(99), 16000)
    with pytest.raises(UserError, match="unequal length.*p232_001"):
        prepare.prepare_voicebank(data, tmp_path / "save")


def test_T2_53_one_file_at_another_rate_is_an_error(prepare, tmp_path):
    data = make_folder(tmp_path / "data")
    audio.write(data / "clean_trainset_28spk_wav" / "p228_002.wav", np.zeros(8000), 8000)
    with pytest.raises(UserError, match="another sample rate than 16000"):
        prepare.prepare_voicebank(data, tmp_path / "save")


def test_wrong_folders(prepare, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        prepare.prepare_voicebank(tmp_path / "none", tmp_path / "save")
    (tmp_path / "data" / "wavs").mkdir(parents=True)
    with pytest.raises(UserError, match="expected WAV files in noisy_trainset_28spk_wav.*holds wavs.*--download"):
        prepare.prepare_voicebank(tmp_path / "data", tmp_path / "save")


@pytest.mark.parametrize("speakers", [("p999",), ("p226", "p228", "p287")])
def test_validation_needs_some_speakers_and_not_all(prepare, tmp_path, speakers):
    data = make_folder(tmp_path / "data")
    with pytest.raises(UserError, match="valid_speakers: expected some, not all"):
        prepare.prepare_voicebank(data, tmp_path / "save", valid_speakers=speakers)


FIFTY_SIX = {"train": ("p234_001", "p237_001", "p361_001"), "training": "trainset_56spk_wav"}


def test_the_set_of_56_speakers(prepare, tmp_path, capsys):
    data = make_folder(tmp_path / "data", **FIFTY_SIX)
    prepare.prepare_voicebank(data, tmp_path / "save")
    assert [row["ID"] for row in rows(tmp_path / "save", "train")] == ["p237_001"]
    assert "validation on p234, p361" in capsys.readouterr().out
    assert "/noisy_trainset_56spk_wav/" in rows(tmp_path / "save", "train")[0]["mix_wav"]
    with pytest.raises(UserError, match="trainset_28spk.*For that set: --train_set 56spk"):
        prepare.prepare_voicebank(data, tmp_path / "save", train_set="28spk")
    with pytest.raises(UserError, match="train_set: expected 28spk or 56spk, got '56'"):
        prepare.prepare_voicebank(data, tmp_path / "save", train_set="56")


def test_both_training_sets(prepare, tmp_path):
    data = make_folder(make_folder(tmp_path / "data"), **FIFTY_SIX)
    prepare.prepare_voicebank(data, tmp_path / "a")
    assert rows(tmp_path / "a", "train")[0]["ID"] == "p228_001"
    prepare.prepare_voicebank(data, tmp_path / "b", train_set="56spk", valid_speakers=["p237"])
    assert [row["ID"] for row in rows(tmp_path / "b", "valid")] == ["p237_001"]


def test_folders_that_lie_elsewhere_or_are_empty_or_foreign(prepare, tmp_path):
    data = make_folder(tmp_path / "sets" / "data")
    with pytest.raises(UserError, match=f"Did you mean {data}"):
        prepare.prepare_voicebank(tmp_path / "sets", tmp_path / "save")
    with pytest.raises(UserError, match=f"Did you mean {data}"):
        prepare.prepare_voicebank(data / "clean_testset_wav", tmp_path / "save")
    (data / "noisy_testset_wav" / "._p232_001.wav").write_bytes(b"x")
    (data / "clean_testset_wav" / "p232_001.wav").rename(data / "clean_testset_wav" / "P232_001.WAV")
    prepare.prepare_voicebank(data, tmp_path / "save")
    (data / "noisy_testset_wav" / "p232_001.wav").unlink()
    with pytest.raises(UserError, match="noisy_testset_wav is there, but holds nothing"):
        prepare.prepare_voicebank(data, tmp_path / "save")


def test_copies_of_other_tools_are_complete(prepare, tmp_path):
    data = make_folder(make_folder(tmp_path / "data", rate=48000), suffix="_16k")
    prepare.prepare_voicebank(data, tmp_path / "save")
    assert "noisy_testset_wav_16k" in rows(tmp_path / "save", "test")[0]["mix_wav"]
    (data / "noisy_trainset_28spk_wav_16k" / "p228_001.wav").unlink()
    with pytest.raises(UserError, match="noisy_trainset_28spk_wav_16k has 3 files, .* next to it 4 or others"):
        prepare.prepare_voicebank(data, tmp_path / "save")


def test_copies_follow_their_originals(prepare, tmp_path):
    data, copies = make_folder(tmp_path / "data", rate=48000), tmp_path / "copies"
    prepare.prepare_voicebank(data, tmp_path / "save", resampled_folder=copies)
    for kind in ("noisy", "clean"):
        audio.write(data / f"{kind}_testset_wav" / "p232_002.wav", np.zeros(9600), 48000)
    prepare.prepare_voicebank(data, tmp_path / "save", resampled_folder=copies)
    assert [row["ID"] for row in rows(tmp_path / "save", "test")] == ["p232_001", "p232_002"]
    other = make_folder(tmp_path / "other", rate=48000)
    with pytest.raises(UserError, match="copies.* holds copies of .*data/.*, not of .*other/"):
        prepare.prepare_voicebank(other, tmp_path / "save", resampled_folder=copies)
    with pytest.raises(UserError, match="resampled_folder .* lies in data_folder"):
        prepare.prepare_voicebank(data, tmp_path / "save", resampled_folder=data)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files`; with `ranges` from where it is asked to, and breaks off after `limit` bytes."""

    files: dict[str, bytes] = {}
    ranges, limit = True, None

    def do_GET(self):
        content = self.files.get(self.path.rsplit("/", 1)[-1])
        if content is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range")
        start = int(asked.split("=")[1].rstrip("-")) if asked and self.ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:] if self.limit is None else content[start : self.limit])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Handler = type("Handler", (Server,), {"files": {}, "ranges": True, "limit": None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield Handler, f"http://127.0.0.1:{running.server_address[1]}/bitstream"
        running.shutdown()


def archive(name="p232_001.wav"):
    memory, wav = io.BytesIO(), io.BytesIO()
    wav.write(b"RIFF" + bytes(5000))
    with zipfile.ZipFile(memory, "w") as bundle:
        bundle.writestr(f"folder/{name}", wav.getvalue())
        bundle.writestr("__MACOSX/._" + name, b"x")
        bundle.writestr("license.txt", b"x")
    return memory.getvalue()


def md5(content):
    return hashlib.md5(content).hexdigest()


def test_archives_are_fetched_checked_and_unpacked(download, server, tmp_path):
    handler, address = server
    content = archive()
    handler.files["clean_testset_wav.zip"] = content
    download.download(tmp_path, address, {"clean_testset_wav.zip": md5(content)})
    assert [path.name for path in (tmp_path / "clean_testset_wav").iterdir()] == ["p232_001.wav"]
    handler.files.clear()  # nothing is fetched twice
    download.download(tmp_path, address, {"clean_testset_wav.zip": md5(content)})


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(download, server, tmp_path, ranges):
    handler, address = server
    content = archive()
    handler.files["a.zip"], handler.limit = content, 1000
    with pytest.raises(UserError, match="ended after 1000 of .* goes on where it stopped"):
        download.download(tmp_path, address, {"a.zip": md5(content)})
    assert (tmp_path / "a.zip.partial").read_bytes() == content[:1000]
    handler.limit, handler.ranges = None, ranges
    download.download(tmp_path, address, {"a.zip": md5(content)})
    assert (tmp_path / "a" / "p232_001.wav").is_file()


def test_a_wrong_sum_is_an_error(download, server, tmp_path):
    handler, address = server
    handler.files["a.zip"] = b"something else"
    with pytest.raises(UserError, match="expected the MD5 sum 00ff, got"):
        download.download(tmp_path, address, {"a.zip": "00ff"})
    assert not list(Path(tmp_path).glob("a*"))


def test_S04_an_archive_that_lies_there_is_compared_with_its_sum(download, server, tmp_path):
    content = archive()
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip: expected the MD5 sum 00ff, got .*Delete it and try again"):
        download.download(tmp_path, server[1], {"a.zip": "00ff"})
    assert (tmp_path / "a.zip").is_file() and not (tmp_path / "a").exists()
    download.download(tmp_path, server[1], {"a.zip": md5(content)})
    assert (tmp_path / "a" / "p232_001.wav").is_file()


def test_S04_a_download_without_end_is_stopped(download, server, tmp_path, monkeypatch):
    handler, address = server
    handler.files["a.zip"] = bytes(5000)
    monkeypatch.setattr(download, "LARGEST", 4000)
    with pytest.raises(UserError, match="more than 4,000 bytes came"):
        download.download(tmp_path, address, {"a.zip": "00ff"})


def test_an_address_that_does_not_answer(download, server, tmp_path):
    with pytest.raises(UserError, match="cannot fetch .*404.*goes on where it stopped"):
        download.download(tmp_path, server[1], {"a.zip": "00ff"})
