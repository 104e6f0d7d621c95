"""Streams of a separator: from arrays, from files, to a sound device; and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lobes import cli, stream_live
from lobes.data import audio
from lobes.errors import UserError
from lobes.inference import Separator
from lobes.inference.running_level import RunningLevel
from lobes.inference.speechbrain_adapter import adapt
from lobes.inference.stream import Delayed, Pace, stream_file
from lobes.models import get_model

SMALL = {
    "convtasnet_cumulative": {"N": 16, "B": 8, "H": 8, "X": 3, "R": 1},
    "spmamba_causal_small": {"n_layers": 1, "emb_dim": 4},
    "bsrnn_causal": {"n_channels": 8, "n_layers": 1, "expansion": 1},
}


def over(model: torch.nn.Module) -> Separator:
    hparams = {"num_spks": model.num_sources, "sample_rate": model.sample_rate}
    return Separator(adapt(model), hparams, run_opts={"device": "cpu"})


@pytest.fixture(params=SMALL)
def separator(request: pytest.FixtureRequest) -> Separator:
    torch.manual_seed(0)
    return over(get_model(request.param, **SMALL[request.param]))


@pytest.fixture
def two() -> Separator:
    torch.manual_seed(0)
    return over(get_model("convtasnet_cumulative", **SMALL["convtasnet_cumulative"]))


def network(separator: Separator, mix: np.ndarray) -> torch.Tensor:
    """What the network gives for a whole mixture [T], at its own level."""
    with torch.no_grad():
        return separator.mods["masknet"].model(torch.as_tensor(mix, dtype=torch.float32)[None])


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def streamed(stream, mix: np.ndarray, size: int) -> torch.Tensor:
    chunks = [stream.feed(mix[..., start : start + size]) for start in range(0, mix.shape[-1], size)]
    return torch.cat([*chunks, stream.flush()], 1)


@pytest.mark.parametrize("size", [61, 160, 5000])
def test_a_stream_gives_what_the_network_gives(separator: Separator, size: int):
    mix = noise(2500)
    whole = network(separator, mix)
    got = streamed(separator.stream(separator.sample_rate), mix, size)
    assert got.shape == whole.shape and (got - whole).abs().max() < 1e-5


def test_types_are_those_of_separate_batch(two: Separator):
    mix = (32767 * noise(500)).astype(np.int16)
    whole = network(two, mix / 32768)
    for x in (mix, torch.from_numpy(mix), mix[None], (mix / 32768).astype(np.float64)):
        assert (streamed(two.stream(), x, 100) - whole).abs().max() < 1e-5
    assert not streamed(two.stream(), mix, 100).requires_grad


def test_empty_chunks_are_taken(two: Separator):
    stream = two.stream()
    assert stream.feed(np.zeros(0, np.float32)).shape == (1, 0, 2)
    stream.feed(np.zeros((3, 20), np.float32))
    assert stream.feed(np.zeros((3, 0), np.float32)).shape == stream.feed(np.zeros(0)).shape == (3, 0, 2)
    assert stream.flush().shape[0] == 3


def test_what_is_not_finite_is_refused_and_leaves_the_stream_as_it_was(two: Separator):
    stream, mix = two.stream(), noise(600)
    first, bad = stream.feed(mix[:300]), mix[300:].copy()
    bad[7] = np.nan
    with pytest.raises(UserError, match="sample 7 of item 0 of the mixture is nan"):
        stream.feed(bad)
    rest = [stream.feed(mix[300:]), stream.flush()]
    assert (torch.cat([first, *rest], 1) - network(two, mix)).abs().max() < 1e-5


def test_another_rate_is_refused(two: Separator):
    with pytest.raises(UserError, match=r"expected the model's sample rate, 8000 Hz, got 44100 Hz.*lobes separate"):
        two.stream(44100)


def test_a_model_that_looks_ahead_is_refused():
    with pytest.raises(UserError, match=r"SPMamba: .* looks at later samples.*spmamba_causal"):
        over(get_model("spmamba_tiny", n_layers=1)).stream()


class Other(torch.nn.Module):
    sample_rate, num_sources, causal = 8000, 1, True

    def forward(self, mix, lengths=None):
        return mix[..., None]


def test_a_causal_model_of_another_project_is_refused():
    with pytest.raises(UserError, match="Other: .* keeps nothing of earlier chunks"):
        over(Other()).stream()


# ------------------------------------------------------------------ files
def test_a_file_through_a_stream_is_the_file_separated(separator: Separator, tmp_path: Path):
    audio.write(tmp_path / "mix.wav", noise(3000), separator.sample_rate, "FLOAT")
    written, pace = stream_file(separator, tmp_path / "mix.wav", tmp_path / "new" / "out.wav", 20)
    expected = separator.separate_file(tmp_path / "mix.wav")[0].numpy()
    names = ["out.wav"] if separator.num_sources == 1 else ["out_s1.wav", "out_s2.wav"]
    assert [path.name for path in written] == names
    for number, path in enumerate(written):
        samples, rate = audio.read_mono_with_rate(path)
        assert rate == separator.sample_rate and np.abs(samples - expected[:, number]).max() < 1e-4  # 16 bits
    assert len(pace.chunks) == -(-3000 // round(0.02 * separator.sample_rate))


def test_pace():
    pace = Pace([0.1, 0.2, 0.3], 2.0)
    assert pace.real_time_factor == pytest.approx(0.3) and pace.percentile(50) == pytest.approx(0.2)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], two: Separator, tmp_path: Path):
    monkeypatch.setattr(Separator, "from_hparams", lambda *_, **__: two)
    monkeypatch.chdir(tmp_path)
    audio.write("in.wav", noise(1600), 8000)

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["lobes", "stream", "model", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), *capsys.readouterr()

    return call


def test_the_command_writes_files_and_says_the_latency(command, tmp_path: Path):
    code, out, _ = command("in.wav", "out.wav", "--chunk_ms", 20)
    assert code == 0 and "latency 2 ms; real-time factor" in out and "99 % of the chunks of 20 ms" in out
    assert {path.name for path in tmp_path.glob("out*")} == {"out_s1.wav", "out_s2.wav"}


@pytest.mark.parametrize(
    "words, message",
    [
        (("in.wav", "out.flac"), "out.flac: expected the name of a .wav file"),
        (("in.wav", "out.wav", "--chunk_ms", 0), "chunk_ms: expected milliseconds above 0"),
        (("other.wav", "out.wav"), "other.wav: expected the model's sample rate, 8000 Hz, got 16000 Hz"),
        (("missing.wav", "out.wav"), "missing.wav"),
        (("out_s1.wav", "out.wav"), "out_s1.wav: is the input file and would be overwritten"),
    ],
)
def test_mistakes_are_one_line(command, words, message, tmp_path: Path):
    audio.write("other.wav", noise(1600), 16000)
    audio.write("out_s1.wav", noise(1600), 8000)
    before = sorted(tmp_path.iterdir())
    code, _, error = command(*words)
    assert code == 2 and message in error and error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


# ------------------------------------------------------------------ sound devices
class Sound:
    """A sound device whose microphone hears `mix`; it keeps what is played."""

    def __init__(self, mix: np.ndarray) -> None:
        self.mix, self.played, self.at = mix, [], 0

    def Stream(self, **options):
        self.options = options
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read(self, block):
        heard = self.mix[self.at : self.at + block, None]
        self.at += block
        return heard, self.at == block  # the first block came late

    def write(self, said):
        assert said.flags.c_contiguous and said.dtype == np.float32
        self.played.append(said[:, 0])
        return False


def test_a_sound_device_gets_the_estimate_one_latency_late(two: Separator):
    mix, stream = noise(1600), two.stream()
    sound = Sound(mix)
    late = stream_live.play(sound, Delayed(stream, 2), 8000, 160, 0.5, 10)
    played, whole = np.concatenate(sound.played), network(two, mix)
    assert late == 1 and sound.options["samplerate"] == 8000 and len(played) == 1600
    level = RunningLevel(8000, 2)
    fitted = level(torch.from_numpy(mix)[None], whole)[0, :, 1].numpy()
    delayed = np.concatenate([np.zeros(stream.latency), fitted])[:1600]
    assert played.any() and np.abs(played - np.clip(0.5 * delayed, -1, 1)).max() < 1e-5


def test_a_source_that_is_not_there(two: Separator):
    with pytest.raises(UserError, match="source: expected a number from 1 to 2, got 3"):
        Delayed(two.stream(), 3)


def test_a_missing_sound_package_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", None)
    with pytest.raises(UserError, match=r"sounddevice: cannot be imported.*\[live\]"):
        stream_live.sound_devices()
