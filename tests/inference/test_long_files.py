"""Long recordings: cut into chunks and put together, at any rate, with speakers that keep their outputs."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lobes.data import audio
from lobes.data.rates import resample
from lobes.errors import UserError
from lobes.inference import Separator
from lobes.inference.chunks import MEMORY, ChunkPlan, fitting_samples, plan_chunks
from lobes.inference.options import Options
from lobes.inference.speechbrain_adapter import adapt
from lobes.inference.stitching import SpeakerOrder
from lobes.models import get_model

RATE = 8000


def over(network: torch.nn.Module, sources: int = 2, rate: int = RATE) -> Separator:
    return Separator(adapt(network), {"num_spks": sources, "sample_rate": rate}, run_opts={"device": "cpu"})


def error_db(x: np.ndarray, y: np.ndarray) -> float:
    return 10 * np.log10(np.square(x - y).sum() / np.square(y).sum() + 1e-20)


def voice(pitch: float, formant: float, seconds: float, seed: int) -> np.ndarray:
    """Something like speech: syllables of a pitch, with noise, through a resonance."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    glide = pitch * (1 + 0.05 * np.sin(2 * np.pi * 0.7 * t + seed))
    pulses = np.sin(2 * np.pi * np.cumsum(glide) / RATE)
    source = np.sign(pulses) * np.abs(pulses) ** 0.2 + 0.05 * rng.standard_normal(len(t))
    r = 0.95
    y = lfilter([1], [1, -2 * r * np.cos(2 * np.pi * formant / RATE), r * r], source)
    syllables = np.clip(np.sin(2 * np.pi * 2.3 * t + seed) + 0.4, 0, 1)
    return (0.1 * y / np.std(y) * syllables).astype(np.float32)


class Oracle(torch.nn.Module):
    """Knows the sources; gives them in another order, and at other gains, in each chunk."""

    def __init__(self, sources: np.ndarray, gains=(1.0, 1.0), seed: int = 0) -> None:
        super().__init__()
        self.sources, self.gains = sources, np.array(gains, np.float32)
        self.rng, self.mix, self.calls = np.random.default_rng(seed), sources.sum(1), 0

    def forward(self, mix, lengths=None):
        x = mix[0].numpy()
        peak = int(np.abs(x).argmax())
        places = np.flatnonzero(self.mix == x[peak]) - peak
        [place] = [p for p in places if p >= 0 and np.array_equal(self.mix[p : p + len(x)], x)]
        order = self.rng.permutation(self.sources.shape[1]) if self.calls else np.arange(self.sources.shape[1])
        self.calls += 1
        return torch.from_numpy(self.sources[place : place + len(x), order] * self.gains)[None]


def with_pauses(sources: np.ndarray, length: float, every: float) -> np.ndarray:
    """Pauses of `length` seconds in all sources, with `every` seconds of speech between them."""
    sources, size, period = sources.copy(), int(length * RATE), int((length + every) * RATE)
    for start in range(int(every * RATE), len(sources), period):
        sources[start : start + size] = 0
    return sources


@pytest.mark.parametrize("gains", [(1.0, 1.0), (30.0, -0.02)])
@pytest.mark.parametrize("pause", [0.0, 8.0])
def test_an_oracle_that_permutes_at_random_is_put_together(gains, pause):
    """Also after pauses of two chunks, where nothing but the voices says who is who."""
    sources = np.stack([voice(110, 600, 75, 1), voice(210, 1500, 75, 2)], 1)
    sources = with_pauses(sources, pause, 12.0) if pause else sources
    oracle = Oracle(sources, gains)
    separated = over(oracle).separate(sources.sum(1), Options(chunk_s=4.0))
    assert oracle.calls > 10 and separated.shape == sources.shape
    assert error_db(separated, sources) < -60


def test_three_speakers_of_whom_one_is_heard_in_the_overlap():
    """The overlap says who that is; the voices say who the other two are."""
    sources = np.stack([voice(110, 600, 48, 1), voice(210, 1500, 48, 2), voice(150, 2500, 48, 3)], 1)
    chunk, overlap = 8 * RATE, RATE
    for start in range(chunk - overlap, len(sources), chunk - overlap):
        sources[start - RATE : start + overlap + RATE, 1:] = 0
    separated = over(Oracle(sources, (1.0, 1.0, 1.0)), 3).separate(sources.sum(1), Options(chunk_s=8.0))
    assert error_db(separated, sources) < -60


def test_a_voice_of_ones_own_decides_after_a_pause():
    def zero_crossings(x: np.ndarray, rate: int) -> np.ndarray:
        return np.array([np.mean(np.diff(np.signbit(x)))]) * 10

    sources = with_pauses(np.stack([voice(110, 400, 60, 1), voice(210, 3000, 60, 2)], 1), 8.0, 12.0)
    options = Options(chunk_s=4.0, voice=zero_crossings)
    assert error_db(over(Oracle(sources)).separate(sources.sum(1), options), sources) < -60


def test_the_first_chunk_keeps_the_order_of_the_network():
    order = SpeakerOrder(RATE)
    x = np.random.default_rng(0).standard_normal((RATE, 3)).astype(np.float32)
    assert order.next(None, x[:0], x) == (0, 1, 2)


class Local(torch.nn.Module):
    """A network of finite reach: two filters."""

    receptive_field = 40

    def forward(self, mix, lengths=None):
        kernel = torch.hann_window(81, periodic=False)[None, None]
        low = torch.nn.functional.conv1d(mix[:, None] * 9, kernel / kernel.sum(), padding=40)[:, 0]
        return torch.stack([low, 9 * mix - low], -1)


@pytest.mark.parametrize("samples", [20001, 32000, 64123])
def test_a_network_of_finite_reach_gives_the_same_in_chunks(samples):
    mix = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    separator = over(Local())
    whole = separator.separate(mix, Options(chunk_s=0))
    assert np.abs(separator.separate(mix, Options(chunk_s=1.0)) - whole).max() < 1e-5


def test_a_convtasnet_with_local_norms_gives_the_same_in_chunks():
    from speechbrain.lobes.models.conv_tasnet import MaskNet
    from speechbrain.lobes.models.dual_path import Decoder, Encoder

    from lobes.models.masking import MaskingSeparator

    torch.manual_seed(0)
    masknet = MaskNet(16, 8, 16, 3, 3, 2, 2, norm_type="cLN")
    decoder = Decoder(16, 1, 16, stride=8, bias=False)
    model = MaskingSeparator(Encoder(16, 16), masknet, decoder, kernel_size=16, min_frames=9, level="none").eval()
    separator = over(model)
    mix = np.random.default_rng(0).standard_normal(5 * RATE + 77).astype(np.float32)
    whole = separator.separate(mix, Options(chunk_s=0))
    cut = separator.separate(mix, Options(chunk_s=1.0))
    assert np.abs(cut - whole).max() < 1e-5 * np.abs(whole).max()


def test_mixture_consistency_makes_the_sources_sum_to_the_mixture():
    mix = np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32)

    class Half(torch.nn.Module):
        def forward(self, mix, lengths=None):
            return torch.stack([mix.roll(3, 1), mix.roll(7, 1)], -1)

    for chunk_s in (0.0, 2.0):
        separated = over(Half()).separate(mix, Options(chunk_s=chunk_s, mixture_consistency=True))
        assert np.abs(separated.sum(1) - mix).max() < 1e-5


@pytest.mark.parametrize("shape", [(2, 800), (800, 2)])
def test_one_mixture_is_not_the_first_of_several(shape):
    with pytest.raises(UserError, match=r"expected one mixture \[T\], got \d+ of \d+ samples"):
        over(Local()).separate(np.ones(shape, np.float32))
    assert over(Local()).separate(np.ones((1, 800), np.float32)).shape == (800, 2)


# ------------------------------------------------------------------------------------------------ the plan


def test_short_mixtures_stay_whole_and_nothing_is_measured():
    plan = plan_chunks(Local(), lambda: pytest.fail("measured"), RATE, 30 * RATE)
    assert not plan.cuts(30 * RATE)


@pytest.mark.parametrize(("fitting_s", "seconds", "cut"), [(100, 90, False), (100, 101, True), (10, 31, True)])
def test_longer_ones_stay_whole_where_memory_allows_it(fitting_s, seconds, cut):
    plan = plan_chunks(Local(), lambda: fitting_s * RATE, RATE, seconds * RATE)
    assert plan.cuts(seconds * RATE) is cut
    assert plan.length <= min(fitting_s, 30) * RATE


def test_a_chunk_that_nobody_asked_for_has_room_for_the_reach_of_the_network():
    class Far(Local):
        receptive_field = 3 * RATE

    plan = plan_chunks(Far(), lambda: 4 * RATE, RATE, 60 * RATE)
    assert plan.overlap >= 6 * RATE and plan.length >= 2 * plan.overlap
    with pytest.raises(UserError, match="--chunk_s 4: expected at least"):
        plan_chunks(Far(), lambda: 4 * RATE, RATE, 60 * RATE, 4.0)


def test_what_fits_follows_from_the_longer_mixture_where_only_that_is_cut_into_slices():
    numbers = {8000: 8_000_000, 24000: 6_000_000}
    fits = fitting_samples(lambda mix: torch.zeros(numbers[mix.shape[1]]), RATE)
    per_sample = 4 * (6_000_000 + 24000) / 24000  # with the mixture itself
    assert MEMORY / per_sample * 0.98 < fits <= MEMORY / per_sample * 1.02


def test_spans_cover_the_mixture_and_the_last_has_the_context_of_the_others():
    plan = ChunkPlan(whole=100, length=100, overlap=20, margin=5, step=8)
    for samples in range(101, 500):
        spans = plan.spans(samples)
        assert spans[0][0] == 0 and spans[-1][1] == samples
        assert all(end - start <= 107 and start % 8 == 0 for start, end in spans)
        assert all(start <= number * 80 for number, (start, _) in enumerate(spans)) and spans[-1][0] <= samples - 100


def test_a_recording_beyond_a_sepformers_positions_is_taken_in_chunks_without_being_asked():
    model = get_model("sepformer_tiny", num_sources=2, K=4).eval()
    separator = over(model)
    limit = separator.plan(31 * RATE, None).whole
    assert limit is not None and limit < 9.9 * RATE
    mix = np.random.default_rng(0).standard_normal(limit + 4000).astype(np.float32)
    assert separator.separate(mix).shape == (len(mix), 2)
    with pytest.raises(UserError, match="positional encodings reach"):
        separator.separate(mix, Options(chunk_s=60.0))


@pytest.mark.parametrize("chunk_s", [-1.0, float("nan"), 1e9])
def test_chunk_s_has_a_range(chunk_s):
    with pytest.raises(UserError, match="--chunk_s"):
        Options(chunk_s=chunk_s)
    with pytest.raises(UserError, match=r"--chunk_s .*expected at least"):
        over(Local()).separate(np.ones(9000, np.float32), Options(chunk_s=0.001))


# ------------------------------------------------------------------------------------------------ files


class Split(torch.nn.Module):
    def forward(self, mix, lengths=None):
        return 30 * torch.stack([mix * 0.75, mix * 0.25], dim=-1)


@pytest.mark.parametrize("rate", [8000, 44100, 16000, 7919])
def test_a_file_in_chunks_has_its_rate_length_and_level(tmp_path: Path, rate: int):
    x = voice(110, 600, 11, 1)[: 11 * RATE - 3]
    x = resample(x, RATE, rate)
    audio.write(tmp_path / "a.wav", np.stack([x, x], 1), rate, "FLOAT")
    separator = over(Split())
    whole = separator.separate_file(tmp_path / "a.wav", Options(chunk_s=0))
    cut = separator.separate_file(tmp_path / "a.wav", Options(chunk_s=2.0))
    assert cut.shape == whole.shape == (1, len(x), 2)
    assert (cut - whole).abs().max() < 1e-5
    [written] = separator.separate_files([tmp_path / "a.wav"], tmp_path / "out", Options(chunk_s=2.0))
    assert [audio.probe(path)[:3] for path in written] == [(len(x), rate, 1)] * 2
    assert np.abs(audio.read(written[0])[0] - cut[0, :, 0].numpy()).max() < 1 / 32000


def test_silence_and_nan_in_chunks(tmp_path: Path):
    class Bad(torch.nn.Module):
        def forward(self, mix, lengths=None):
            return torch.stack([mix / (mix.abs().max() > 0.15).logical_not(), mix], -1)

    audio.write(tmp_path / "silent.wav", np.zeros(9 * RATE), RATE)
    assert not over(Bad()).separate_file(tmp_path / "silent.wav", Options(chunk_s=2.0)).any()
    x = voice(110, 600, 9, 1)
    x[5 * RATE] = 0.9
    audio.write(tmp_path / "a.wav", x, RATE)
    with pytest.raises(UserError, match=r"a\.wav: the model gave NaN"):
        over(Bad()).separate_files([tmp_path / "a.wav"], tmp_path / "out", Options(chunk_s=2.0))
    assert not (tmp_path / "out").exists()


def test_each_channel_is_separated_and_the_sources_have_one_order(tmp_path: Path):
    left, right = voice(110, 600, 9, 1), voice(210, 1500, 9, 2)

    class Turns(torch.nn.Module):
        """The louder voice comes first in one channel, and second in the other."""

        def forward(self, mix, lengths=None):
            low = torch.nn.functional.avg_pool1d(mix[:, None], 9, 1, 4)[:, 0]
            pair = [low, mix - low]
            self.calls = getattr(self, "calls", 0) + 1
            return torch.stack(pair if self.calls % 2 else pair[::-1], -1)

    stereo = np.stack([left + 0.5 * right, 0.5 * left + right], 1)
    audio.write(tmp_path / "a.wav", stereo, RATE, "FLOAT")
    separated = over(Turns()).separate_file(tmp_path / "a.wav", Options(channels="each", chunk_s=0))[0].numpy()
    assert separated.shape == (9 * RATE, 2, 2)
    alike = np.corrcoef(separated.reshape(len(left), 4).T)  # s1 left, s1 right, s2 left, s2 right
    assert alike[0, 1] > alike[0, 3] and alike[2, 3] > alike[2, 1]
    one = over(Split()).separate_file(tmp_path / "a.wav", Options(channels="right"))[0].sum(-1).numpy()
    assert np.abs(one - stereo[:, 1]).max() < 1e-5


def test_another_rate_is_said_once(tmp_path: Path, caplog):
    for name in "ab":
        audio.write(tmp_path / f"{name}.wav", voice(110, 600, 1, 1), 16000)
    over(Split()).separate_files([tmp_path / "a.wav", tmp_path / "b.wav"], tmp_path / "out")
    said = [record.message for record in caplog.records if "resampled" in record.message]
    assert len(said) == 1 and "16000 Hz" in said[0] and "nothing above 4000 Hz" in said[0]


class Watching(torch.nn.Module):
    """Gives its input, and notes whether gradients were on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bool] = []

    def forward(self, mix, lengths=None):
        self.seen.append(torch.is_grad_enabled())
        return mix[..., None]


@pytest.mark.parametrize("seconds", [1, 3])
def test_files_are_separated_without_gradients(tmp_path: Path, seconds: int):
    network = Watching()
    audio.write(tmp_path / "mix.wav", voice(110, 600, seconds, 1), RATE)
    for method in ("separate_files", "enhance_files"):
        getattr(over(network, 1), method)([tmp_path / "mix.wav"], tmp_path / "out", options=Options(chunk_s=2.0))
    assert network.seen and not any(network.seen)


@pytest.mark.slow
def test_T2_12_A11_an_hour_takes_less_than_a_gigabyte_over_the_model(tmp_path: Path):
    if not hasattr(resource, "RUSAGE_CHILDREN") or sys.platform != "linux":
        pytest.skip("needs /proc")
    minute = voice(110, 600, 60, 1) + voice(210, 1500, 60, 2)
    audio.write(tmp_path / "hour.wav", np.tile(minute, 60), RATE)
    code = f"""
import re, torch
torch.set_num_threads(1)
from lobes.inference import Separator
from lobes.inference.speechbrain_adapter import adapt
from lobes.models import get_model
def high(name):
    return int(re.search(rf"{{name}}:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
model = get_model("spmamba_tiny", num_sources=2).eval().requires_grad_(False)
separator = Separator(adapt(model), {{"num_spks": 2, "sample_rate": 8000}}, run_opts={{"device": "cpu"}})
separator.separate_batch(torch.randn(1, 8000))
before = high("VmRSS")
separator.separate_files([r"{tmp_path}/hour.wav"], r"{tmp_path}/out")
print(high("VmHWM") - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 1000
    assert audio.probe(tmp_path / "out" / "hour_s1.wav").frames == 3600 * RATE
