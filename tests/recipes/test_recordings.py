"""The folder of real recordings from a mirror of its sources: checked, resumable, and what realdata.py reads."""

import csv
import functools
import http.server
import importlib.util
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lobes.data import audio
from lobes.errors import UserError

SCRIPT = Path(__file__).parents[2] / "recipes" / "recordings.py"


@pytest.fixture
def builder():
    """The command as a module, with the table of the repository."""
    spec = importlib.util.spec_from_file_location("recordings_command", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def mirror(builder, monkeypatch, tmp_path):
    """A table of two recordings, of which one has to be resampled, and their sources; the folder of the mirror."""
    rng, folder = np.random.default_rng(0), tmp_path / "mirror"
    speech = audio.to_int16(0.1 * rng.standard_normal(16000))
    write_source(folder / "resemblyzer" / "audio_data" / "1-2-0000.flac", speech, 16000)
    noise = np.sin(np.arange(44100) / 20) * np.linspace(0.1, 0.5, 44100)
    write_source(folder / "esc10" / "001 - Dog bark" / "2-1-A.ogg", noise, 44100)
    resampled = audio.to_int16(builder.resample(noise, 44100, 16000))
    rows = [
        row(builder, "speech/1-2-0000.flac", "resemblyzer/audio_data/1-2-0000.flac", speech, levels=False),
        row(builder, "noise/2-1-A.flac", "esc10/001 - Dog bark/2-1-A.ogg", resampled, levels=True),
    ]
    monkeypatch.setattr(builder, "TABLE", tmp_path / "table.csv")
    with builder.TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def write_source(path, samples, rate):
    path.parent.mkdir(parents=True)
    soundfile.write(path, samples, rate)


def row(builder, path, origin, samples, levels):
    values = {"path": path, "kind": "speech", "speaker": "a", "split": "train", "sample_rate": 16000}
    values |= {"frames": len(samples), "sha256": builder.checksum(samples)}
    return values | {
        "levels": " ".join(map(str, builder.levels(samples))) if levels else "",
        "source": "a set",
        "licence": "CC BY 4.0",
        "origin": origin,
    }


def call(builder, *words):
    builder.main([str(word) for word in words])


def test_a_mirror_gives_the_folder_that_realdata_reads(builder, mirror, recipe_module, tmp_path):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=mirror)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        call(builder, tmp_path / "out", "--mirror", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    source, _ = soundfile.read(mirror / "resemblyzer" / "audio_data" / "1-2-0000.flac", dtype="int16")
    written, rate = soundfile.read(tmp_path / "out" / "speech" / "1-2-0000.flac", dtype="int16")
    assert rate == 16000 and np.array_equal(written, source)
    assert audio.probe(tmp_path / "out" / "noise" / "2-1-A.flac")[:3] == (16000, 16000, 1)
    rows = recipe_module("VoiceBank", "realdata_set").read_manifest(tmp_path / "out")
    assert [row["path"] for row in rows] == ["speech/1-2-0000.flac", "noise/2-1-A.flac"]
    assert rows[0]["licence"] == "CC BY 4.0"


def test_copies_are_found_by_name_and_checksum(builder, mirror, tmp_path):
    write_source(mirror / "a" / "1-2-0000.wav", np.zeros(16000), 16000)  # the same name, another recording
    call(builder, tmp_path / "out", "--sources", mirror)
    assert (tmp_path / "out" / "manifest.csv").is_file()


def test_the_same_command_goes_on_and_keeps_what_is_there(builder, mirror, tmp_path):
    dog = mirror / "esc10" / "001 - Dog bark" / "2-1-A.ogg"
    dog.rename(mirror / "away.ogg")
    with pytest.raises(UserError, match=r"1 of 2 recordings cannot be had: noise/2-1-A.flac \(file:.*no such file\)"):
        call(builder, tmp_path / "out", "--mirror", mirror.as_uri())
    assert not (tmp_path / "out" / "manifest.csv").exists()
    (mirror / "away.ogg").rename(dog)
    (mirror / "resemblyzer" / "audio_data" / "1-2-0000.flac").unlink()  # not needed any more
    call(builder, tmp_path / "out", "--mirror", mirror.as_uri())
    assert (tmp_path / "out" / "manifest.csv").is_file() and not list(tmp_path.glob("out/**/*.partial"))


@pytest.mark.parametrize(
    "path, samples, message",
    [
        ("resemblyzer/audio_data/1-2-0000.flac", np.zeros(16000), "sha256 of the samples is"),
        ("resemblyzer/audio_data/1-2-0000.flac", np.zeros(8000), "8000 samples, expected 16000"),
        ("esc10/001 - Dog bark/2-1-A.ogg", np.full(16000, 0.1), "another level in 1[0-9] of 16 sections"),
    ],
)
def test_another_recording_is_refused_by_name(builder, mirror, tmp_path, path, samples, message):
    soundfile.write(mirror / path, samples, 16000)
    with pytest.raises(UserError, match=f"1 of 2 .*{Path(path).stem}.*{message}"):
        call(builder, tmp_path / "out", "--mirror", mirror.as_uri())
    assert len(list(tmp_path.glob("out/*/*"))) == 1 and not (tmp_path / "out" / "manifest.csv").exists()


def test_a_wrong_file_in_the_folder_is_not_replaced(builder, mirror, tmp_path):
    call(builder, tmp_path / "out", "--mirror", mirror.as_uri())
    wrong = tmp_path / "out" / "speech" / "1-2-0000.flac"
    soundfile.write(wrong, np.zeros(16000), 16000)
    before = wrong.read_bytes()
    with pytest.raises(UserError, match=r"1-2-0000.flac \(wrong checksum.*delete it\)"):
        call(builder, tmp_path / "out", "--mirror", mirror.as_uri())
    assert wrong.read_bytes() == before


def test_without_an_answer_the_first_address_ends_it(builder, mirror, tmp_path):
    with pytest.raises(UserError, match=r"cannot fetch http://127.0.0.1:9/resemblyzer/.*--sources FOLDER"):
        call(builder, tmp_path / "out", "--mirror", "http://127.0.0.1:9")


def test_wrong_options_are_one_line(builder, tmp_path):
    with pytest.raises(UserError, match="--sources .*: no such folder"):
        call(builder, tmp_path, "--sources", tmp_path / "none")
    with pytest.raises(UserError, match="expected an address, such as file:"):
        call(builder, tmp_path, "--mirror", "/mnt/mirror")


def test_every_row_has_a_place_where_it_is_published(builder):
    rows = builder.read_table()
    assert len({row["path"] for row in rows}) == len(rows) == 321
    for row in rows:
        url = builder.address(row["origin"], None)
        assert url.startswith("https://") and " " not in url
        assert len(row["sha256"]) == 64 and row["licence"] and len(row["levels"].split()) in (0, builder.SECTIONS)


def test_the_table_is_that_of_the_recordings(builder, realdata):
    """In the order of the whole manifest, on which the draws of a set depend."""
    rows = builder.read_table()
    with (realdata / "manifest.csv").open(newline="") as file:
        known = {row["path"]: row for row in csv.DictReader(file)}
    paths = [row["path"] for row in rows]
    assert paths == [path for path in known if path in set(paths)]
    for row in rows:
        assert all(row[name] == known[row["path"]][name] for name in ("kind", "speaker", "split", "sample_rate"))
        assert builder.checksum(audio.to_int16(audio.read_mono(realdata / row["path"]))) == row["sha256"], row["path"]


def test_another_resampler_is_the_same_recording(builder, realdata):
    """Levels allow for a resampler and for Ogg, and know a recording from all others."""
    rows = [row for row in builder.read_table() if row["levels"]][::5]
    for row in rows:
        samples = builder.resample(audio.read_mono(realdata / row["path"]), 16000, 44100)
        again = audio.to_int16(np.clip(builder.resample(samples, 44100, 16000), -1, 1))[: int(row["frames"])]
        assert builder.difference(again, row) == "", row["path"]
        assert sum(builder.difference(again, other) == "" for other in rows) == 1
