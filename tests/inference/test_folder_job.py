"""Folders of recordings: mirrored, resumed, in any format, and no bad file ends the others."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from lobes.data import audio
from lobes.errors import UserError
from lobes.inference import Separator, folder_job
from lobes.inference.folder_job import Task, run_files
from lobes.inference.options import Options
from lobes.inference.pipes import run_pipe
from lobes.inference.speechbrain_adapter import adapt

RATE = 8000
CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"


class Network(torch.nn.Module):
    """Sources that sum to the mixture; counts its calls."""

    def __init__(self, sources: int) -> None:
        super().__init__()
        self.sources, self.calls, self.weight = sources, 0, torch.nn.Parameter(torch.ones(1))

    def forward(self, mix, lengths=None):
        self.calls += 1
        shares = [0.75, 0.25] if self.sources == 2 else [0.5]
        return torch.stack([mix * share for share in shares], -1) * self.weight


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network(2)

    def load(source, level=None, **more):
        facts = {"num_spks": network.sources, "sample_rate": RATE}
        return Separator(adapt(network), facts, run_opts={"device": "cpu"}, level=level)

    monkeypatch.setattr(Separator, "from_hparams", load)
    return network


def tone(seconds: float = 0.5, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    return level * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)


def put(path: Path, *, rate: int = RATE, level: float = 0.3, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, tone(rate=rate, level=level), rate, subtype=subtype)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Five good files in three folders, and what a folder holds besides."""
    for name in ("in/a.wav", "in/b.flac", "in/x/a.wav", "in/x/y/c.ogg"):
        put(tmp_path / name, subtype="VORBIS" if name.endswith("ogg") else "PCM_16")
    put(tmp_path / "in/x/loud.wav", rate=16000)
    (tmp_path / "in/notes.txt").write_text("not audio")
    (tmp_path / "in/._a.wav").write_bytes(b"\0\5\x16\7")
    return tmp_path / "in"


def outputs(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_T2_17_a_folder_is_mirrored(network, tree, tmp_path, capsys):
    assert run_files(Task("m", Options()), [tree], tmp_path / "out", recursive=True) == 0
    expected = [f"{name}_s{n}.wav" for name in ("a", "b", "x/a", "x/loud", "x/y/c") for n in (1, 2)]
    assert outputs(tmp_path / "out") == sorted([*expected, "lobes_files.jsonl"])
    said = capsys.readouterr()
    assert len(said.out.split()) == 10 and said.err.strip() == "5 files done"
    assert audio.probe(tmp_path / "out/x/loud_s1.wav")[:2] == (8000, 16000)


def test_T2_17_without_recursive_the_folders_below_are_left(network, tree, tmp_path):
    run_files(Task("m", Options()), [tree], tmp_path / "out")
    assert outputs(tmp_path / "out") == ["a_s1.wav", "a_s2.wav", "b_s1.wav", "b_s2.wav", "lobes_files.jsonl"]
    (tmp_path / "deep/er").mkdir(parents=True)
    put(tmp_path / "deep/er/a.wav")
    with pytest.raises(UserError, match=r"deep: .*no audio files.*--recursive"):
        run_files(Task("m", Options()), [tmp_path / "deep"], tmp_path / "out")


def test_an_output_folder_inside_the_inputs_is_no_input(network, tree):
    for _ in range(2):
        assert run_files(Task("m", Options()), [tree], tree / "out", recursive=True) == 0
    assert len(outputs(tree / "out")) == 11


def test_two_folders_with_one_name_do_not_meet(network, tmp_path):
    for folder in "pq":
        put(tmp_path / folder / "a.wav")
    run_files(Task("m", Options()), [tmp_path / "p", tmp_path / "q"], tmp_path / "out")
    assert [name for name in outputs(tmp_path / "out") if "_s1" in name] == ["p-a_s1.wav", "q-a_s1.wav"]


def test_finished_files_are_skipped_and_changed_ones_done_again(network, tree, tmp_path, capsys):
    task, out = Task("m", Options()), tmp_path / "out"

    def again(task: Task = task) -> int:
        before = network.calls
        run_files(task, [tree], out, recursive=True)
        return network.calls - before

    assert again() == 5
    assert again() == 0 and "5 finished before and skipped" in capsys.readouterr().err
    put(tree / "a.wav", level=0.2)
    assert again() == 1
    (out / "b_s1.wav").unlink()
    (out / "x/a_s1.wav").write_bytes(b"cut")
    assert again() == 2
    with (out / "lobes_files.jsonl").open("a") as file:
        file.write('{"input": "cut off')
    assert again() == 0
    assert again(Task("m", Options(mixture_consistency=True))) == 5
    network.weight.data += 1
    assert again(Task("m", Options(mixture_consistency=True))) == 5
    lines = (out / "lobes_files.jsonl").read_text().replace('{"input": "cut off', "").splitlines()
    assert len(json.loads(lines[0])["made_by"]["model"]) == 64


def test_one_bad_file_is_a_line_and_exit_code_1(network, tree, tmp_path, capsys):
    (tree / "bad.wav").write_text("hello")
    (tree / "film.m4a").write_bytes(bytes(4) + b"ftypM4A " + bytes(100))
    sf.write(tree / "nan.wav", np.array([0.0, np.nan]), RATE, subtype="FLOAT")
    task = Task("m", Options())
    assert run_files(task, [tree], tmp_path / "out", recursive=True) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "5 files done, 3 failed:"
    assert "bad.wav: is not a readable audio file" in said[1] and "sample 1 is nan" in said[3]
    assert "film.m4a: is an MPEG-4 file" in said[2] and "ffmpeg" in said[2]
    assert not [name for name in outputs(tmp_path / "out") if "bad" in name or "nan" in name or "partial" in name]
    assert run_files(task, [tree], tmp_path / "out", recursive=True) == 1  # failed ones are tried again
    assert "5 finished before" in capsys.readouterr().err


def test_the_only_file_fails_with_its_own_error(network, tmp_path):
    (tmp_path / "bad.wav").write_text("hello")
    with pytest.raises(UserError, match=r"bad\.wav: is not a readable"):
        run_files(Task("m", Options()), [tmp_path / "bad.wav"], tmp_path / "out")
    with pytest.raises(UserError, match=r"none\.wav: no such audio file"):
        run_files(Task("m", Options()), [tmp_path / "bad.wav", tmp_path / "none.wav"], tmp_path / "out")


def test_a_full_disk_ends_the_call(network, tree, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "out/a.wav")

    monkeypatch.setattr(folder_job, "write_separated", full)
    with pytest.raises(OSError, match="No space"):
        run_files(Task("m", Options()), [tree], tmp_path / "out")


def test_several_processes_give_what_one_gives(tree, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "lobes_halves.py").write_text(
        "import torch\nclass Halves:\n    sample_rate, num_sources = 8000, 2\n"
        "    def __call__(self, mix):\n        return torch.stack([mix / 2, mix / 2])\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        (tree / "bad.wav").write_text("hello")
        task = Task("lobes_halves:Halves", Options(), device="cpu")
        codes = [run_files(task, [tree], tmp_path / f"out{n}", recursive=True, workers=n) for n in (1, 2)]
    assert codes == [1, 1]
    one, two = (outputs(tmp_path / f"out{n}") for n in (1, 2))
    assert one == two
    for name in one[:-1] if one[-1].endswith("jsonl") else [name for name in one if name.endswith("wav")]:
        if name.endswith("wav"):
            assert (tmp_path / "out1" / name).read_bytes() == (tmp_path / "out2" / name).read_bytes()


# ------------------------------------------------------------------------------------------------ formats


@pytest.mark.parametrize(
    ("options", "name", "subtype"),
    [
        (Options(format="flac"), "a_s1.flac", "PCM_16"),
        (Options(format="flac", subtype="PCM_24"), "a_s1.flac", "PCM_24"),
        (Options(format="wav", subtype="DOUBLE"), "a_s1.wav", "DOUBLE"),
        (Options(format="ogg"), "a_s1.ogg", "VORBIS"),
        (Options(format="opus"), "a_s1.opus", "OPUS"),
        (Options(format="mp3"), "a_s1.mp3", "MPEG_LAYER_III"),
        (Options(format="same"), "a_s1.aiff", "PCM_16"),
        (Options(format="w64"), "a_s1.w64", "PCM_16"),
        (Options(format="rf64"), "a_s1.rf64", "PCM_16"),
    ],
)
def test_formats_of_outputs(network, tmp_path, options, name, subtype):
    put(tmp_path / "a.aiff").rename(tmp_path / "a.aif")
    run_files(Task("m", options), [tmp_path / "a.aif"], tmp_path / "out")
    info = audio.probe(tmp_path / "out" / name)
    assert (info.sample_rate, info.subtype) == (RATE, subtype)
    x = audio.read(tmp_path / "out" / name)[0]
    assert len(x) >= 4000 and np.abs(x[:4000] - 0.75 * tone()).max() < 0.1


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff", "au", "w64", "rf64", "caf"])
def test_formats_of_inputs(network, tmp_path, ending):
    sf.write(tmp_path / f"a.{ending}", tone(), RATE, format={"rf64": "RF64"}.get(ending))
    [[first, _]] = Separator.from_hparams("m").separate_files([tmp_path / f"a.{ending}"], tmp_path / "out")
    assert audio.probe(first).frames >= 4000


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_format_is_read(network, tmp_path, subtype):
    put(tmp_path / "a.wav", subtype=subtype)
    [[first, _]] = Separator.from_hparams("m").separate_files([tmp_path / "a.wav"], tmp_path / "out")
    assert np.abs(audio.read(first)[0] - 0.75 * tone()).max() < 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "flak"}, "--format flak: expected one of wav, flac.*Did you mean 'flac'"),
        ({"format": "flac", "subtype": "FLOAT"}, "--subtype FLOAT: flac files hold one of"),
        ({"format": "opus"}, "opus files of 11025 Hz and 1 channels cannot be written"),
        ({"channels": "middle"}, "--channels middle: expected one of mix, left, right, each"),
        ({"channels": "right"}, "has one channel"),
        ({"strength": 1.5}, "--strength 1.5"),
        ({"max_attenuation_db": -1.0}, "--max_attenuation_db -1"),
    ],
)
def test_options_that_do_not_fit_are_refused(network, tmp_path, options, message):
    put(tmp_path / "a.wav", rate=11025)
    with pytest.raises(UserError, match=message):
        run_files(Task("m", Options(**options)), [tmp_path / "a.wav"], tmp_path / "out")
    assert not (tmp_path / "out").exists() or not outputs(tmp_path / "out")


def test_samples_beyond_full_scale_are_never_cut_off_in_silence(network, tmp_path, caplog):
    sf.write(tmp_path / "a.wav", 8 * tone(), RATE, subtype="FLOAT")
    run_files(Task("m", Options(format="flac")), [tmp_path / "a.wav"], tmp_path / "out")
    assert "a_s1.flac: samples beyond full scale (peak 1.8) are cut off" in caplog.text
    caplog.clear()
    run_files(Task("m", Options()), [tmp_path / "a.wav"], tmp_path / "out")
    assert "written as 32-bit float, level kept" in caplog.text
    assert np.abs(audio.read(tmp_path / "out/a_s1.wav")[0]).max() == pytest.approx(1.8, rel=1e-3)


# ------------------------------------------------------------------------------------------------ strength


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2])
def test_strength_0_gives_the_input_bit_for_bit(network, tmp_path, subtype, channels):
    network.sources = 1
    x = np.random.default_rng(0).uniform(-1, 1, (4001, channels))
    sf.write(tmp_path / "a.wav", x, 44100, subtype=subtype)
    options = Options(strength=0.0, channels="each")
    run_files(Task("m", options, enhances=True), [tmp_path / "a.wav"], tmp_path / "out")
    assert audio.probe(tmp_path / "out/a_enhanced.wav") == audio.probe(tmp_path / "a.wav")
    same = [sf.read(path, dtype="float64")[0] for path in (tmp_path / "a.wav", tmp_path / "out/a_enhanced.wav")]
    assert np.array_equal(*same)


@pytest.mark.parametrize(
    ("options", "share"),
    [(Options(strength=0.25), 0.25), (Options(max_attenuation_db=6.0), 0.4988), (Options(), 1.0)],
)
@pytest.mark.parametrize("chunk_s", [0.0, 0.2])
def test_strength_and_the_most_that_is_taken_away(network, tmp_path, options, share, chunk_s):
    """The enhancer takes away every second sample."""
    network.sources = 1
    network.forward = lambda mix, lengths=None: (mix * (torch.arange(mix.shape[1]) % 2 == 0))[..., None]
    x = np.random.default_rng(0).uniform(-0.5, 0.5, 4000)
    sf.write(tmp_path / "a.wav", x, RATE, subtype="FLOAT")
    options = Options(chunk_s, strength=options.strength, max_attenuation_db=options.max_attenuation_db)
    run_files(Task("m", options, enhances=True), [tmp_path / "a.wav"], tmp_path / "out")
    y = audio.read(tmp_path / "out/a_enhanced.wav")[0]
    kept = np.linalg.norm(y[1::2]) / np.linalg.norm(x[1::2])
    assert kept == pytest.approx(1 - share, abs=1e-3) and np.allclose(y[::2], x[::2], atol=1e-3)


# ------------------------------------------------------------------------------------------------ pipes


def test_standard_input_to_standard_output(network, tmp_path):
    path, target = put(tmp_path / "a.wav"), io.BytesIO()
    run_pipe(Task("m", Options()), io.BytesIO(path.read_bytes()), target)
    target.seek(0)
    x, rate = sf.read(target)
    assert rate == RATE and x.shape == (4000, 2)
    assert np.abs(x - np.stack([0.75 * tone(), 0.25 * tone()], 1)).max() < 1e-4


@pytest.mark.parametrize("case", ["sox_pipe.wav", "arecord_pipe.wav"])
def test_T2_01_a_pipe_that_left_its_length_open(network, case):
    if not (CASES / "T2-01" / case).is_file():
        pytest.skip("no folder of cases on this machine")
    target = io.BytesIO()
    run_pipe(Task("m", Options()), io.BytesIO((CASES / "T2-01" / case).read_bytes()), target)
    assert sf.info(io.BytesIO(target.getvalue())).frames == 24000


def test_a_pipe_that_holds_no_audio(network):
    with pytest.raises(UserError, match="standard input: is not a readable audio file"):
        run_pipe(Task("m", Options()), io.BytesIO(b"hello" * 100), io.BytesIO())
