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
from lobes.errors import UserError


@pytest.fixture
def prepare(recipe_module):
    return recipe_module("VoiceBank", "voicebank_prepare")


@pytest.fixture
def download(recipe_module):
    return recipe_module("VoiceBank", "voicebank_download")


def make_folder(
    root, rate=16000, train=("p226_001", "p228_001", "p228_002", "p287_001"), test=("p232_001",), suffix=""
):
    rng = np.random.default_rng(0)
    for name, files in (("trainset_28spk_wav", train), ("testset_wav", test)):
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
    prepare.prepare_voicebank(data, tmp_path / "save")
    (row,) = rows(tmp_path / "save", "test")
    made = data / "noisy_testset_wav_16k" / "p232_001.wav"
    assert row["mix_wav"] == "$data_root/noisy_testset_wav_16k/p232_001.wav"
    assert audio.probe(made).sample_rate == 16000 and audio.probe(made).frames == 4000
    before = made.stat().st_mtime_ns
    prepare.prepare_voicebank(data, tmp_path / "other")
    assert made.stat().st_mtime_ns == before
    capsys.readouterr()
    prepare.prepare_voicebank(data, tmp_path / "save")  # also where the first call had to resample
    assert "up to date" in capsys.readouterr().out


def test_runs_that_start_together_resample_once(prepare, tmp_path):
    data = make_folder(tmp_path / "data", rate=48000)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda run: prepare.prepare_voicebank(data, tmp_path / run), ["a", "b", "c"]))
    assert rows(tmp_path / "a", "train") == rows(tmp_path / "b", "train") == rows(tmp_path / "c", "train")
    assert not list(data.glob("*.partial"))


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


def test_an_address_that_does_not_answer(download, server, tmp_path):
    with pytest.raises(UserError, match="cannot fetch .*404.*goes on where it stopped"):
        download.download(tmp_path, server[1], {"a.zip": "00ff"})
