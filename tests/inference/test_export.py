"""An exported folder through stock SpeechBrain equals the run's model bit for bit; a failed export leaves nothing."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from speechbrain.inference.separation import SepformerSeparation

from lobes.errors import UserError
from lobes.inference.export import export_pretrained
from lobes.inference.separator import Separator
from lobes.nnet.level import fit_level
from lobes.runs.fine_tune import start_from
from lobes.runs.folder import read_run
from lobes.runs.names import EXPORTED

MakeRun = Callable[..., Path]

SPMAMBA = """!new:lobes.models.spmamba.SPMamba
        {num_sources: !ref <num_spks>, sample_rate: 8000, n_fft: 64, hop_length: 32, n_layers: 1, emb_dim: 4,
        emb_ks: 4, emb_hs: 4, n_heads: 2, approx_qk_dim: 66, d_state: 4, expand: 1}"""
CONVTASNET = """!new:lobes.models.masking.MaskingSeparator
        encoder: !new:speechbrain.lobes.models.dual_path.Encoder {kernel_size: 16, out_channels: 16}
        masknet: !new:speechbrain.lobes.models.conv_tasnet.MaskNet
            {N: 16, B: 8, H: 16, P: 3, X: 2, R: 1, C: !ref <num_spks>, norm_type: gLN, causal: false}
        decoder: !new:speechbrain.lobes.models.dual_path.Decoder
            {in_channels: 16, out_channels: 1, kernel_size: 16, stride: 8, bias: false}
        num_sources: !ref <num_spks>
        min_frames: 3"""


def stock(folder: Path) -> SepformerSeparation:
    return SepformerSeparation.from_hparams(source=str(folder), run_opts={"device": "cpu"})


def mixture(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("separator", [SPMAMBA, CONVTASNET], ids=["spmamba", "convtasnet"])
@pytest.mark.parametrize("shape", [(3, 4001), (1, 1)])
def test_stock_speechbrain_equals_the_model(make_run: MakeRun, tmp_path: Path, separator: str, shape):
    run = make_run(separator, scores=(1.0, 2.0))
    folder = export_pretrained(run, tmp_path / "out")
    mix = mixture(*shape)
    with torch.no_grad():
        raw = read_run(run).model(mix)
    expected = fit_level(raw, mix)
    assert expected.shape == (*shape, 2) and expected.any()
    assert torch.equal(stock(folder).separate_batch(mix), expected)
    assert torch.equal(Separator.from_hparams(folder).separate_batch(mix), expected)
    assert torch.equal(Separator.from_hparams(run).separate_batch(mix), expected)
    own = {"run_opts": {"device": "cpu"}, "overrides": {"level": "model"}}
    for interface in (SepformerSeparation, Separator):
        assert torch.equal(interface.from_hparams(source=str(folder), **own).separate_batch(mix), raw)
    assert torch.equal(Separator.from_hparams(run, level="model").separate_batch(mix), raw)


def test_folder_holds_exactly_the_promised_files(run: Path, tmp_path: Path):
    folder = export_pretrained(run, tmp_path / "deep" / "out")
    assert sorted(path.name for path in folder.iterdir()) == sorted(EXPORTED)
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    listed = (folder / "SHA256SUMS").read_text().split()[1::2]
    assert listed == ["README.md", "hyperparams.yaml", "masknet.ckpt"]


def test_hyperparams_hold_the_model_and_nothing_of_the_training(run: Path, tmp_path: Path):
    path = export_pretrained(run, tmp_path / "out") / "hyperparams.yaml"
    keys = ["__lobes", "num_spks", "sample_rate", "level", "encoder", "masknet", "decoder", "modules", "pretrainer"]
    assert list(YAML().load(path.read_text())) == keys
    hparams = load_hyperpyyaml(path.read_text())
    assert list(hparams["pretrainer"].loadables) == ["masknet"]
    assert hparams["modules"]["masknet"] is hparams["masknet"]


# Another environment: SpeechBrain is there, Lobes is not.
ABSENT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "lobes":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
HYPERPYYAML = "from hyperpyyaml import load_hyperpyyaml\nload_hyperpyyaml(open(sys.argv[1] + '/hyperparams.yaml'))"
STOCK = """
from speechbrain.inference.separation import SepformerSeparation
SepformerSeparation.from_hparams(source=sys.argv[1])
"""


@pytest.mark.parametrize("code", [HYPERPYYAML, pytest.param(STOCK, marks=pytest.mark.slow)], ids=["yaml", "stock"])
def test_without_lobes_the_first_line_of_the_error_says_how_to_install_it(run: Path, tmp_path: Path, code: str):
    folder = export_pretrained(run, tmp_path / "out")
    command = [sys.executable, "-c", ABSENT + code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    errors = [line for line in done.stderr.splitlines() if re.match(r"\w*Error: ", line)]
    assert done.returncode == 1 and len(errors) == 1, done.stderr
    assert errors[0].startswith("ImportError: ") and "Lobes (not installed? pip install path/to/clone, of" in errors[0]


def test_same_run_gives_the_same_bytes(run: Path, tmp_path: Path):
    sums = [(export_pretrained(run, tmp_path / name) / "SHA256SUMS").read_text() for name in "ab"]
    assert sums[0] == sums[1]


def test_loading_takes_the_weights_from_the_file(run: Path, tmp_path: Path):
    folder = export_pretrained(run, tmp_path / "out")
    state = torch.load(folder / "masknet.ckpt", weights_only=True)
    torch.save({key: value * 2 for key, value in state.items()}, folder / "masknet.ckpt")
    (folder / "SHA256SUMS").unlink()
    mix = mixture(1, 50)
    with torch.no_grad():
        expected = 2 * read_run(run).model(mix)
    unfitted = SepformerSeparation.from_hparams(source=str(folder), overrides={"level": "model"})
    assert torch.equal(unfitted.separate_batch(mix), expected)


def test_stock_speechbrain_refuses_keys_that_do_not_match(run: Path, tmp_path: Path, caplog):
    folder = export_pretrained(run, tmp_path / "out")
    state = torch.load(folder / "masknet.ckpt", weights_only=True)
    torch.save({f"{key}_x": value for key, value in state.items()}, folder / "masknet.ckpt")
    (folder / "SHA256SUMS").unlink()
    caplog.clear()
    with pytest.raises(UserError, match="1 missing .*1 unexpected"):
        stock(folder)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("saved", [False, True])
def test_S05_stock_speechbrain_refuses_a_flipped_bit(run: Path, tmp_path: Path, saved: bool):
    """Also through the links that it makes to a folder's files."""
    folder = export_pretrained(run, tmp_path / "out")
    options = {"savedir": str(tmp_path / "saved")} if saved else {}
    SepformerSeparation.from_hparams(source=str(folder), **options)
    data = bytearray((folder / "masknet.ckpt").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "masknet.ckpt").write_bytes(data)
    with pytest.raises(UserError, match=r"masknet\.ckpt: differs from its sha256 in SHA256SUMS"):
        SepformerSeparation.from_hparams(source=str(folder), **options)


def test_S05_a_file_that_is_not_listed_is_not_used(run: Path, tmp_path: Path):
    folder = export_pretrained(run, tmp_path / "out")
    sums = folder / "SHA256SUMS"
    for name in ("masknet.ckpt", "hyperparams.yaml"):
        before = sums.read_text()
        sums.write_text("".join(line for line in before.splitlines(True) if not line.endswith(f"{name}\n")))
        with pytest.raises(UserError, match=f"{name}: not listed in SHA256SUMS"):
            Separator.from_hparams(folder)
        sums.write_text(before)
    for part in ("encoder", "decoder"):
        (folder / f"{part}.ckpt").write_bytes((folder / "masknet.ckpt").read_bytes())
    with pytest.raises(UserError, match="encoder.ckpt: not listed in SHA256SUMS"):
        start_from(torch.nn.Linear(1, 1), folder)


def test_card_tells_what_is_known_and_runs(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    header = "# Lobes 0.1.0, commit abc\n# command: python train.py hparams/a.yaml --data_folder /machine/P --seed=7\n"
    folder = export_pretrained(make_run(header=header, scores=(3.21,)), tmp_path / "out")
    card = (folder / "README.md").read_text()
    for part in ("# Tiny for SB, 8 kHz", "| Parameters | 6 |", "| Trained on | PolSESS_mini |", "| Seed | 7 |"):
        assert part in card
    assert "CKPT+1 (epoch 1, validation SI-SDRi 3.21 dB)" in card
    assert "`python train.py hparams/a.yaml --data_folder P --seed=7`" in card and "commit abc" in card
    assert "Estimates come at the level that fits their mixture best" in card and "`--level model`" in card
    assert "dereverberated" in card and "Apache License 2.0" in card
    assert "`pip install path/to/clone`" in card
    assert "/machine" not in card and str(tmp_path) not in card
    monkeypatch.chdir(folder)
    [block] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(block, {})


def test_earlier_export_is_replaced(make_run: MakeRun, tmp_path: Path):
    run = make_run(scores=(1.0, 2.0))
    folder = export_pretrained(run, tmp_path / "out")
    first = (folder / "SHA256SUMS").read_text()
    (run / "save" / "CKPT+1" / "CKPT.yaml").write_text("si_sdri: 5.0\n")
    assert export_pretrained(run, tmp_path / "out") == folder
    assert (folder / "SHA256SUMS").read_text() != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_left_overs_of_a_killed_export_do_no_harm(run: Path, tmp_path: Path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "masknet.ckpt").write_bytes(b"half")
    export_pretrained(run, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


@pytest.mark.parametrize("target", ["out", "out.partial", "out.old"])
def test_other_peoples_files_are_never_deleted(run: Path, tmp_path: Path, target: str):
    precious = tmp_path / target / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    with pytest.raises(UserError, match="holds 'thesis.txt', which is not of an export"):
        export_pretrained(run, tmp_path / "out")
    assert precious.read_text() == "mine"
    if target != "out":
        assert not (tmp_path / "out").exists()


def test_run_folder_itself_and_a_file_are_no_target(run: Path, tmp_path: Path):
    with pytest.raises(UserError, match="not of an export"):
        export_pretrained(run, run)
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is a file"):
        export_pretrained(run, tmp_path / "out")


def test_mismatch_is_an_error_and_leaves_nothing(make_run: MakeRun, tmp_path: Path):
    run = make_run("!new:lobes_test_stand_in.Unsaved {num_sources: 2}")
    with pytest.raises(RuntimeError, match="reloaded through SepformerSeparation differs.*largest difference"):
        export_pretrained(run, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_run_without_a_checkpoint(make_run: MakeRun, tmp_path: Path):
    with pytest.raises(UserError, match="no usable checkpoint"):
        export_pretrained(make_run(scores=()), tmp_path / "out")
    with pytest.raises(UserError, match="no such run folder"):
        export_pretrained(tmp_path / "nothing", tmp_path / "out")
    assert not (tmp_path / "out").exists()
