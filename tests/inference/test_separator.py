"""The separator on tensors and on files: level, length, silence, channels, names, errors."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from speechbrain.lobes.models.conv_tasnet import MaskNet
from speechbrain.lobes.models.dual_path import Decoder, Encoder

from lobes.data import audio
from lobes.errors import UserError
from lobes.inference import Separator
from lobes.inference.export import export_pretrained
from lobes.inference.speechbrain_adapter import adapt

RATES = [8000, 16000, 44100, 11025, 7919]


class Split(torch.nn.Module):
    """Two sources that add up to the mixture; remembers what it was given."""

    def forward(self, mix, lengths=None):
        self.seen = mix
        if lengths is not None:
            mix = mix * (torch.arange(mix.shape[1]) < (lengths[:, None] * mix.shape[1]).round())
        return torch.stack([mix * 0.75, mix * 0.25], dim=-1)


def over(network: torch.nn.Module, num_spks: int = 2) -> Separator:
    hparams = {"num_spks": num_spks, "sample_rate": 8000}
    return Separator(adapt(network), hparams, run_opts={"device": "cpu"})


@pytest.fixture
def separator() -> Separator:
    return over(Split())


def tone(samples: int, rate: int = 8000, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)).astype(np.float32)


def put(path: Path, x: np.ndarray, rate: int = 8000, subtype: str = "FLOAT") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(os.fsencode(path), x, rate, subtype=subtype, format=path.suffix[1:].upper())
    return path


# ------------------------------------------------------------------------------------------------ batches


def test_A15_one_signal_and_numpy_are_taken(separator: Separator):
    assert separator.separate_batch(torch.rand(100)).shape == (1, 100, 2)
    assert separator.separate_batch(tone(100)).shape == (1, 100, 2)
    assert separator(torch.rand(3, 100)).shape == (3, 100, 2)


def test_integers_arrive_at_full_scale(separator: Separator):
    separated = separator.separate_batch(np.array([[16384, -32768]], np.int16))
    assert separated.sum(-1).tolist() == [[0.5, -1.0]]


def test_A15_shape_and_length_errors_reach_the_caller(separator: Separator):
    with pytest.raises(UserError, match="expected a mixture"):
        separator.separate_batch(torch.rand(1, 1, 100))
    with pytest.raises(UserError, match="lengths: expected shape"):
        separator.separate_batch(torch.rand(2, 100), lengths=torch.ones(3))


def test_lengths_reach_the_model(separator: Separator):
    mix, lengths = torch.rand(2, 100) + 1, torch.tensor([1.0, 0.5])
    padded = mix.clone()
    padded[1, 50:] = 0
    assert torch.equal(separator.separate_batch(mix, lengths), separator.separate_batch(padded))


def speechbrain_separator() -> Separator:
    """SpeechBrain's own encoder, mask network and decoder: they know no lengths."""
    torch.manual_seed(0)
    modules = {
        "encoder": Encoder(16, 16),
        "masknet": MaskNet(16, 8, 16, 3, 2, 1, 2),
        "decoder": Decoder(16, 1, 16, stride=8, bias=False),
    }
    return Separator(modules, {"num_spks": 2, "sample_rate": 8000}, run_opts={"device": "cpu"})


def test_A17_lengths_are_honoured_for_speechbrains_own_networks():
    separator, mix = speechbrain_separator(), torch.rand(2, 400)
    separated = separator.separate_batch(mix, lengths=torch.tensor([1.0, 0.6]))
    assert torch.equal(separated[:1], separator.separate_batch(mix[:1]))
    assert torch.equal(separated[1:, :240], separator.separate_batch(mix[1:, :240]))
    assert not separated[1, 240:].any()


# -------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("samples", [1, 2, 15, 4001])
def test_A02_A03_A07_output_has_the_files_rate_and_length(
    separator: Separator, tmp_path: Path, rate: int, samples: int
):
    path = put(tmp_path / "a.wav", tone(samples, rate) + 0.1, rate)
    separated = separator.separate_file(path)
    assert separated.shape == (1, samples, 2)
    assert separated.isfinite().all()


@pytest.mark.parametrize("rate", [8000, 44100])
def test_files_stand_at_the_level_of_the_mixture_whatever_gain_the_network_has(tmp_path: Path, rate: int):
    """A loss that ignores scale leaves any gain and any sign; only `level="model"` shows it."""

    class Gains(torch.nn.Module):
        def forward(self, mix, lengths=None):
            half = (torch.arange(mix.shape[1]) < mix.shape[1] // 2).float()
            return torch.stack([-30 * mix * half, 1e-3 * mix * (1 - half)], dim=-1)

    x = tone(rate // 2, rate)
    separator, path = over(Gains()), put(tmp_path / "a.wav", x, rate)
    total = separator.separate_file(path).sum(-1)[0].numpy()
    assert np.sqrt(np.mean((total - x) ** 2)) < 0.05 * np.sqrt(np.mean(x**2))
    [[first, second]] = separator.separate_files([path], tmp_path / "out")
    assert abs(audio.read(first)[0]).max() == pytest.approx(0.5, rel=0.1) == abs(audio.read(second)[0]).max()
    batch = separator.separate_batch(np.stack([tone(800), 0.1 * tone(800)]))
    assert torch.allclose(batch.sum(-1)[0], torch.from_numpy(tone(800)), atol=1e-5)
    assert torch.allclose(batch[1], 0.1 * batch[0], atol=1e-6)
    raw = Separator(adapt(Gains()), {"num_spks": 2, "sample_rate": 8000}, level="model")
    assert float(raw.separate_batch(tone(800)).abs().max()) > 10
    assert float(raw.separate_file(path).abs().max()) > 10


@pytest.mark.parametrize("rate", RATES)
def test_level_is_kept_at_every_rate(separator: Separator, tmp_path: Path, rate: int):
    x = tone(rate // 2, rate)
    total = separator.separate_file(put(tmp_path / "a.wav", x, rate)).sum(-1)[0].numpy()
    edge = rate // 20  # filters ring at the ends
    error = (total - x)[edge:-edge]
    assert np.sqrt(np.mean(error**2)) < 0.01 * 0.5


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("channels", [2, 3])
def test_A06_channels_are_averaged_at_every_rate(separator: Separator, tmp_path: Path, rate: int, channels: int):
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (2000, channels)).astype(np.float32)
    several = separator.separate_file(put(tmp_path / "several.wav", x, rate))
    one = separator.separate_file(put(tmp_path / "one.wav", x.mean(1, dtype=np.float32), rate))
    assert several.shape == (1, 2000, 2)
    assert torch.equal(several, one)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_A04_silence_gives_exact_zeros_whatever_the_network_does(tmp_path: Path, rate: int):
    class DividesByPeak(torch.nn.Module):
        def forward(self, mix, lengths=None):
            return (mix / mix.abs().max())[..., None]

    separated = over(DividesByPeak(), 1).separate_file(put(tmp_path / "a.wav", np.zeros(1000), rate))
    assert separated.shape == (1, 1000, 1) and not separated.any()


@pytest.mark.parametrize("level", [1e-8, 1.0, 1e4, 1e30])
def test_A13_A16_any_level_passes(separator: Separator, tmp_path: Path, level: float):
    x = tone(500, level=level)
    separated = separator.separate_file(put(tmp_path / "a.wav", x))
    assert torch.equal(separated[0], torch.stack([torch.tensor(x) * 0.75, torch.tensor(x) * 0.25], -1))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_A13_sample_formats(separator: Separator, tmp_path: Path, subtype: str):
    total = separator.separate_file(put(tmp_path / "a.wav", tone(500), subtype=subtype)).sum(-1)[0]
    assert np.allclose(total.numpy(), tone(500), atol=1 / 100)


def truncated(path: Path) -> None:
    put(path, tone(8000), subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:8000])


def half_a_header(path: Path) -> None:
    put(path, tone(8000))
    path.write_bytes(path.read_bytes()[:20])


def two_gigabytes(path: Path) -> None:
    put(path, tone(100), subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[40:44] = struct.pack("<I", 2 * 10**9)  # 2**31 is what arecord writes to a pipe
    path.write_bytes(data)


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such audio file"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "empty": (lambda path: path.touch(), "empty"),
    "text": (lambda path: path.write_text("hello " * 50), "not a readable audio file"),
    "no samples": (lambda path: put(path, tone(0)), "no samples"),
    "nan": (lambda path: put(path, np.array([0, np.nan, 0])), "sample 1 is nan"),
    "inf": (lambda path: put(path, np.array([0, 0, -np.inf])), "sample 2 is -inf"),
    "truncated": (truncated, "truncated"),
    "half a header": (half_a_header, "not a readable audio file"),
    "claims 2 GB": (two_gigabytes, "truncated"),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_A01_A05_A08_A09_A10_bad_files_are_errors_that_name_path_and_reason(
    separator: Separator, tmp_path: Path, fault: str
):
    make, reason = BAD_FILES[fault]
    path = tmp_path / "bad one.wav"
    make(path)
    for call in (separator.separate_file, lambda p: separator.separate_files([p], tmp_path / "out")):
        with pytest.raises(UserError) as caught:
            call(path)
        assert str(path) in str(caught.value) and reason in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_network_that_gives_nan_writes_nothing(tmp_path: Path):
    class Broken(torch.nn.Module):
        def forward(self, mix, lengths=None):
            return (mix * torch.nan)[..., None]

    path = put(tmp_path / "a.wav", tone(100))
    with pytest.raises(UserError, match=r"a\.wav: the model gave NaN"):
        over(Broken(), 1).separate_files([path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------ writing files


def test_files_are_written_at_their_own_rate_and_level(separator: Separator, tmp_path: Path):
    inputs = [put(tmp_path / "a.wav", tone(999)), put(tmp_path / "b.flac", tone(500, 16000), 16000, "PCM_16")]
    written = separator.separate_files(inputs, tmp_path / "out")
    names = [[path.name for path in group] for group in written]
    assert names == [["a_s1.wav", "a_s2.wav"], ["b_s1.wav", "b_s2.wav"]]
    x, rate = audio.read(written[0][0])
    assert rate == 8000 and np.abs(x - 0.75 * tone(999)).max() <= 1 / 32768
    assert [audio.probe(path)[:2] for path in written[1]] == [(500, 16000)] * 2
    assert audio.probe(written[0][0]).subtype == "PCM_16"


def test_A12_two_files_of_one_name_give_two_right_results(separator: Separator, tmp_path: Path):
    inputs = [put(tmp_path / "x/mix.wav", tone(100)), put(tmp_path / "y/mix.wav", tone(50, level=0.1))]
    written = separator.separate_files(inputs, tmp_path / "out")
    assert [group[0].name for group in written] == ["x-mix_s1.wav", "y-mix_s1.wav"]
    for (first, _), x in zip(written, (tone(100), tone(50, level=0.1)), strict=True):
        assert np.allclose(audio.read(first)[0], 0.75 * x, atol=1 / 32768)


@pytest.mark.parametrize(("level", "subtype"), [(2.0, "FLOAT"), (1e-5, "FLOAT"), (0.9, "PCM_16"), (0, "PCM_16")])
def test_A14_what_16_bits_cannot_hold_is_written_as_float_and_said(
    separator: Separator, tmp_path: Path, caplog, level: float, subtype: str
):
    [group] = separator.separate_files([put(tmp_path / "a.wav", tone(100, level=level))], tmp_path / "out")
    assert {audio.probe(path).subtype for path in group} == {subtype}
    assert np.allclose(audio.read(group[0])[0], 0.75 * tone(100, level=level), rtol=1e-6, atol=1 / 32768)
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == (subtype == "FLOAT")
    assert all("a_s1.wav" in message for message in said)


def test_an_input_is_never_overwritten(separator: Separator, tmp_path: Path):
    inputs = [put(tmp_path / "a.wav", tone(100)), put(tmp_path / "a_s1.wav", tone(50))]
    before = inputs[1].read_bytes()
    with pytest.raises(UserError, match=r"a_s1\.wav: is an input file"):
        separator.separate_files(inputs, tmp_path)
    assert inputs[1].read_bytes() == before


def test_a_bad_file_stops_the_call_before_the_work(tmp_path: Path):
    network = Split()
    good = put(tmp_path / "a.wav", tone(100))
    with pytest.raises(UserError, match="no such audio file"):
        over(network).separate_files([good, tmp_path / "missing.wav"], tmp_path / "out")
    assert not hasattr(network, "seen") and not (tmp_path / "out").exists()


@pytest.mark.parametrize("stem", [b"with space", "zażółć".encode(), b"\xff\xfe", b"n" * 251])
def test_A18_odd_file_names(separator: Separator, tmp_path: Path, stem: bytes, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + stem + b".wav"))
    try:
        put(path, tone(100))
    except OSError:
        pytest.skip("this file system refuses the name")
    [group] = separator.separate_files([path], tmp_path / "out")
    assert all(path.is_file() for path in group)
    caplog.text.encode()  # a log takes the names, too


# ------------------------------------------------------------------------------------------------ loading


@pytest.fixture
def exported(run: Path, tmp_path: Path) -> Path:
    return export_pretrained(run, tmp_path / "exported")


def test_run_folder_and_exported_folder_are_the_same_model(run: Path, exported: Path):
    mix = torch.rand(2, 100)
    from_run, from_export = (Separator.from_hparams(source) for source in (run, str(exported)))
    assert from_run.sample_rate == from_export.sample_rate == 8000
    assert torch.equal(from_run.separate_batch(mix), from_export.separate_batch(mix))
    assert not any(p.requires_grad for p in from_run.parameters())


def test_loading_writes_nothing(run: Path, exported: Path):
    def content() -> list[Path]:
        return sorted(path for folder in (run, exported) for path in folder.rglob("*"))

    before = content()
    Separator.from_hparams(run)
    Separator.from_hparams(exported)
    assert content() == before


def test_folder_of_speechbrains_own_kind_loads_strictly(tmp_path: Path):
    source = speechbrain_separator()
    for name, part in source.mods.items():
        torch.save(part.state_dict(), tmp_path / f"{name}.ckpt")
    (tmp_path / "hyperparams.yaml").write_text(
        "num_spks: 2\nsample_rate: 8000\n"
        "encoder: !new:speechbrain.lobes.models.dual_path.Encoder [16, 16]\n"
        "masknet: !new:speechbrain.lobes.models.conv_tasnet.MaskNet [16, 8, 16, 3, 2, 1, 2]\n"
        "decoder: !new:speechbrain.lobes.models.dual_path.Decoder\n"
        "    {in_channels: 16, out_channels: 1, kernel_size: 16, stride: 8, bias: false}\n"
        "modules: &parts {encoder: !ref <encoder>, masknet: !ref <masknet>, decoder: !ref <decoder>}\n"
        "pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer {loadables: *parts}\n"
    )
    mix = torch.rand(1, 400)
    loaded = Separator.from_hparams(tmp_path)
    assert torch.equal(loaded.separate_batch(mix), source.separate_batch(mix))
    torch.save({"w": torch.ones(1)}, tmp_path / "encoder.ckpt")
    with pytest.raises(UserError, match=r"encoder\.ckpt: the weights do not fit"):
        Separator.from_hparams(tmp_path)


def test_damaged_weights_are_noticed_before_loading(exported: Path):
    data = bytearray((exported / "masknet.ckpt").read_bytes())
    data[-100] ^= 1
    (exported / "masknet.ckpt").write_bytes(data)
    with pytest.raises(UserError, match="masknet.ckpt: differs from its sha256"):
        Separator.from_hparams(exported)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pretrainer:", "pretrained:", "no pretrainer, so no separation model"),
        ("  decoder: !ref <decoder>\n", "", "no modules: decoder"),
        ("stand_in.Tiny", "stand_in.Huge", "it wants to run lobes_test_stand_in.Huge"),
        ("num_sources:", "num_scources:", "cannot be loaded: Invalid argument to class"),
        ("modules:", "modules: [", "no valid YAML"),
        ("num_spks: 2", "num_spks: two", "no number num_spks"),
        ("encoder: !ref <encoder>", "encoder: 5", "no modules: encoder"),
        ("pretrainer: !new", "pretrainer: 5\nother: !new", "no Pretrainer as pretrainer"),
    ],
)
def test_wrong_hyperparams_are_one_error(exported: Path, old: str, new: str, message: str):
    path = exported / "hyperparams.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    (exported / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match=rf"hyperparams.yaml(, line \d+)?: {message}"):
        Separator.from_hparams(exported)


def test_missing_weights_and_other_folders(exported: Path, tmp_path: Path):
    (exported / "SHA256SUMS").unlink()
    (exported / "masknet.ckpt").unlink()
    with pytest.raises(UserError, match="no such weight file"):
        Separator.from_hparams(exported)
    with pytest.raises(UserError, match="neither a run folder nor an exported model"):
        Separator.from_hparams(tmp_path)


def test_overrides_change_an_exported_folder_only(run: Path, exported: Path):
    assert Separator.from_hparams(exported, overrides={"sample_rate": 16000}).sample_rate == 16000
    with pytest.raises(UserError, match="Override 'sampel_rate' not found"):
        Separator.from_hparams(exported, overrides={"sampel_rate": 16000})
    with pytest.raises(UserError, match="overrides are for exported folders"):
        Separator.from_hparams(run, overrides={"sample_rate": 16000})
