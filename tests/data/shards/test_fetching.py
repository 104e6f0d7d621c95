"""Shards behind a command or a web server: fetched once, compared with their sums, read as local ones."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile

from lobes.data import audio
from lobes.data.datasets import read_rows
from lobes.data.manifest import SPLITS, write_manifest
from lobes.data.shards.fetching import address
from lobes.data.shards.prepare import by_format
from lobes.data.shards.writing import write_shards
from lobes.errors import UserError

pytest.importorskip("webdataset")


@pytest.fixture
def store(tmp_path):
    """Shards of three splits; each example's sound is its number."""
    for split in SPLITS:
        rows = []
        for n in range(6):
            soundfile.write(tmp_path / f"{n}.wav", np.full(400, n / 8), 8000)
            files = {f"{part}_wav": f"$data_root/{n}.wav" for part in ("mix", "s1", "s2")}
            rows.append({"ID": f"{split}{n}", "duration": 0.05, **files})
        write_manifest(tmp_path / f"{split}.csv", rows)
        write_shards(tmp_path / f"{split}.csv", tmp_path / "store", megabytes=0.03)
    return tmp_path / "store"


@pytest.fixture
def served(store):
    """Its address on a web server of this machine, and the paths that were asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(store)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def prepared(tmp_path, place, **options):
    """Prepare a training; returns its settings and the rows to train on."""
    hparams = {"data_format": "shards", "data_folder": place, "save_folder": tmp_path / "save", "shard_folder": None}
    hparams.update(options)
    by_format(None, hparams)(place, tmp_path / "save", num_spks=2, check_files="all")
    return read_rows(tmp_path / "save", "train", place)


def heard(rows):
    return [round(float(audio.read_mono(row["s1_wav"])[0]) * 8) for row in rows]


def test_a_web_server_sends_each_shard_once(served, tmp_path):
    place, asked = served
    rows = prepared(tmp_path, place)
    assert not any(path.endswith(".tar") for path in asked)  # nothing comes before it is read
    with ThreadPoolExecutor(4) as readers:
        assert all(one == list(range(6)) for one in readers.map(heard, [rows] * 4))
    shards = [path for path in asked if path.endswith(".tar")]
    assert len(shards) == len(set(shards)) > 1
    before = list(asked)
    assert heard(prepared(tmp_path, place)) == list(range(6)) and not any(
        ".tar" in path for path in asked[len(before) :]
    )


def test_a_command_sends_them(store, tmp_path):
    rows = prepared(tmp_path, f"pipe:cat {store}/{{}}", shard_folder=str(tmp_path / "kept"))
    assert heard(rows) == list(range(6)) and (tmp_path / "kept" / "train" / "000000.tar").is_file()


def test_what_comes_wrong_is_refused_and_not_kept(store, tmp_path):
    rows = prepared(tmp_path, f"pipe:cat {store}/{{}}")
    for shard in (store / "train").glob("*.tar"):
        raw = bytearray(shard.read_bytes())
        raw[-1] ^= 1
        shard.write_bytes(raw)
    with pytest.raises(UserError, match=r"train/00000\d.tar: is not the shard of its index \(sha256 differs\)"):
        heard(rows)
    assert not list((tmp_path / "save" / "shards").rglob("*.tar"))
    for shard in (store / "train").glob("*.tar"):
        shard.unlink()
    with pytest.raises(UserError, match="train/00000.*tar: cannot be read. Its command ended with an error"):
        heard(rows)
    with pytest.raises(UserError, match="index.json: cannot be read"):
        prepared(tmp_path / "other", "pipe:cat /none/{}")
    with pytest.raises(UserError, match="expected {} where the name of a file belongs"):
        address("pipe:cat", "train/000000.tar")


def test_other_shards_than_before_are_refused(store, tmp_path):
    prepared(tmp_path, f"pipe:cat {store}/{{}}")
    for path in (store / "train").iterdir():
        path.unlink()
    write_shards(tmp_path / "train.csv", store, seed=1, megabytes=0.03)
    with pytest.raises(
        UserError, match="train: holds other shards than pipe:.*Remove it, or give another shard_folder"
    ):
        prepared(tmp_path, f"pipe:cat {store}/{{}}")


def test_local_shards_are_all_there_and_of_their_size(store, tmp_path):
    prepared(tmp_path, str(store))
    with pytest.raises(UserError, match="num_spks is 1"):
        by_format(None, {"data_format": "shards", "shard_folder": None, "data_folder": store})(
            store, tmp_path / "save", num_spks=1
        )
    shard = store / "test" / "000000.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(UserError, match=r"000000.tar: has \d+ bytes, expected \d+. Copy it again"):
        prepared(tmp_path, str(store))
    shard.unlink()
    with pytest.raises(UserError, match="000000.tar: is missing. Copy it again"):
        prepared(tmp_path, str(store))
    (store / "test" / "index.json").write_text('{"version": 1}')
    with pytest.raises(UserError, match="is no index of shards"):
        prepared(tmp_path, str(store))
    (store / "test" / "index.json").unlink()
    with pytest.raises(UserError, match="no such index. Expected a folder that `lobes shard` has finished"):
        prepared(tmp_path, str(store))


def test_a_folder_for_shards_needs_shards():
    with pytest.raises(UserError, match="shard_folder: is for shards"):
        by_format(print, {"data_format": "files", "shard_folder": "here"})
