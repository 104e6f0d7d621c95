#!/usr/bin/env python3
"""Make the texts in `old_export/`: folders as commit d316b84, before the library's files moved, wrote them.

> python tests/inference/make_old_export.py

It fetches that commit's tree from git into a temporary folder and runs itself with it, so that it works on any commit.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMMIT = "d316b84"
SPMAMBA = """!new:lobes.models.spmamba.SPMamba
    {num_sources: 2, sample_rate: 8000, n_fft: 64, hop_length: 16, n_layers: 1, emb_dim: 4, emb_ks: 4, emb_hs: 4,
    n_heads: 2, approx_qk_dim: 129, d_state: 4, expand: 1}"""
DUAL_PATH = """!new:lobes.models.masking.MaskingSeparator
    encoder: !new:speechbrain.lobes.models.dual_path.Encoder {kernel_size: 16, out_channels: 8}
    masknet: !new:speechbrain.lobes.models.dual_path.Dual_Path_Model
        num_spks: 2
        in_channels: 8
        out_channels: 8
        num_layers: 2
        K: 6
        intra_model: !new:lobes.nnet.bimamba.SharedBiMamba {d_model: 8, d_state: 4, d_conv: 4, expand: 1}
        inter_model: !new:lobes.models.sequence_first.SequenceFirst
            block: !new:speechbrain.lobes.models.dual_path.DPTNetBlock {d_model: 8, nhead: 2, dim_feedforward: 8}
        norm: ln
        linear_layer_after_inter_intra: false
        skip_around_intra: true
    decoder: !new:speechbrain.lobes.models.dual_path.Decoder
        {in_channels: 8, out_channels: 1, kernel_size: 16, stride: 8, bias: false}
    num_sources: 2
    sample_rate: 8000
    kernel_size: 16"""
MAMBA_TASNET = """!new:lobes.models.masking.MaskingSeparator
    encoder: !new:speechbrain.lobes.models.dual_path.Encoder {kernel_size: 16, out_channels: 8}
    masknet: !new:lobes.models.mamba_tasnet.MambaMaskNet
        {n_filters: 8, d_model: 8, n_layers: 2, num_sources: 2, d_state: 4, d_conv: 4, expand: 1}
    decoder: !new:speechbrain.lobes.models.dual_path.Decoder
        {in_channels: 8, out_channels: 1, kernel_size: 16, stride: 8, bias: false}
    num_sources: 2
    sample_rate: 8000
    kernel_size: 16"""
ENHANCEMENT = """!new:lobes.models.bs_bimamba.BSBiMamba
    {num_sources: 1, sample_rate: 16000, n_fft: 64, hop_length: 16, ablation: 2, n_channels: 4, n_layers: 1, d_state: 4,
    d_conv: 4, expand: 1, expansion: 1, split: mel, n_bands: 3}"""
BSRNN = """!new:lobes.models.bsrnn.BSRNN
    {num_sources: 1, sample_rate: 16000, n_fft: 64, hop_length: 16, n_channels: 4, n_layers: 1, expansion: 1,
    causal: false, split: mel, n_bands: 3}"""
EXPORTS = {
    "spmamba": SPMAMBA,
    "dual_path": DUAL_PATH,
    "mamba_tasnet": MAMBA_TASNET,
    "enhancement": ENHANCEMENT,
    "bsrnn": BSRNN,
}
SIZES = {"n_fft": 64, "hop_length": 16, "n_layers": 1, "emb_dim": 4, "approx_qk_dim": 129, "d_state": 4, "expand": 1}


def main() -> None:
    """Run the rest of this file with the package of the old commit."""
    with tempfile.TemporaryDirectory() as tree:
        archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", tree], input=archive, check=True)
        command = [sys.executable, __file__, "--with", tree]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": tree}, cwd=tree, check=True)


def make_all(tree: Path) -> None:
    """Write every folder's texts."""
    with tempfile.TemporaryDirectory() as temporary:
        for name, separator in EXPORTS.items():
            make_export(name, separator, Path(temporary) / name)
        make_run(tree, Path(temporary) / "run")


def make_export(name: str, separator: str, folder: Path) -> None:
    """Export a run that holds nothing but its network."""
    from hyperpyyaml import resolve_references

    from lobes.inference import export_pretrained

    hyperparams = f"model:\n  separator: {separator}\nmodules:\n  separator: !ref <model[separator]>\n"
    network = write_run(folder / "run", resolve_references(hyperparams).getvalue())
    out = export_pretrained(folder / "run", folder / "out")
    keep(name, (out / "hyperparams.yaml").read_text(), {f"model.{k}": v for k, v in network.state_dict().items()})
    keep_output(name, network)


def make_run(tree: Path, folder: Path) -> None:
    """What train.py leaves of a PolSESS run of two speakers with a smaller network."""
    from lobes.training.config import resolve
    from lobes.training.launch import make_run_folder

    sizes = "".join(f"    {key}: {value}\n" for key, value in SIZES.items())
    recipe = folder.with_suffix(".yaml")
    recipe.write_text(
        f"base: {tree}/recipes/PolSESS/hparams/spmamba_tiny.yaml\n"
        f"model: !include:{tree}/hparams_shared/models/spmamba_tiny.yaml\n"
        f"    num_sources: !ref <num_spks>\n    sample_rate: !ref <sample_rate>\n{sizes}"
    )
    words = ["hparams/spmamba_tiny.yaml", "--task", "SB", "--data_folder", "data/PolSESS_mini"]
    text = resolve(recipe, "task: SB\ndata_folder: data/PolSESS_mini")
    make_run_folder(str(folder / "header"), text, str(tree / "recipes" / "PolSESS" / "train.py"), words)
    resolved = (folder / "header" / "hyperparams.yaml").read_text().replace("commit unknown", f"commit {COMMIT}")
    network = write_run(folder, resolved)
    keep("run", resolved, network.state_dict())
    keep_output("run", network)
    from test_old_export import CHECKPOINT

    notes = (folder / CHECKPOINT / "CKPT.yaml").read_text()
    fixed = re.sub(r"unixtime: .*", "unixtime: 1764331200.0", notes)  # the same file every time
    (HERE / "old_export" / "run" / "CKPT.yaml").write_text(fixed)


def write_run(folder: Path, hyperparams: str) -> Any:
    """A run folder with one checkpoint, whose network's weights come from the formula; the network."""
    from speechbrain.utils.checkpoints import Checkpointer
    from test_old_export import CHECKPOINT, fill

    from lobes.inference.run_folder import read_run

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hyperparams.yaml").write_text(hyperparams)
    network = network_of(hyperparams)
    network.load_state_dict(fill({key: value.shape for key, value in network.state_dict().items()}))
    name = CHECKPOINT.partition("CKPT+")[2]
    Checkpointer(folder / "save", {"separator": network}).save_checkpoint({"si_sdri": 1.5, "step": 20}, name=name)
    return read_run(folder).model


def network_of(hyperparams: str) -> Any:
    """The separator alone; nothing else of the file is made."""
    from io import StringIO

    from hyperpyyaml import load_hyperpyyaml, resolve_references
    from ruamel.yaml import YAML

    tree = YAML().load(resolve_references(hyperparams).getvalue())
    text = StringIO()
    YAML().dump({"separator": tree["modules"]["separator"]}, text)
    return load_hyperpyyaml(text.getvalue())["separator"]


def keep(name: str, hyperparams: str, state: dict[str, torch.Tensor]) -> None:
    """Store the YAML file and the shapes of the weights."""
    folder = HERE / "old_export" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hyperparams.yaml").write_text(hyperparams)
    shapes = {key: list(value.shape) for key, value in state.items()}
    lines = ",\n".join(f'"{key}": {json.dumps(shape)}' for key, shape in shapes.items())
    (folder / "weights.json").write_text(f"{{\n{lines}\n}}\n")


def keep_output(name: str, network: Any) -> None:
    """Store what the network makes of the mixture [B,T]: [B,T,S]."""
    from test_old_export import mixture

    with torch.no_grad():
        output = network(mixture())
    print(f"{name}: {sum(p.numel() for p in network.parameters())} parameters, largest {float(output.abs().max()):.3g}")
    rounded = [[[float(f"{value:.7g}") for value in sample] for sample in item] for item in output.tolist()]
    items = ",\n".join(json.dumps(item) for item in rounded)
    (HERE / "old_export" / name / "expected.json").write_text(f"[\n{items}\n]\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--with"]:
        make_all(Path(sys.argv[2]))
    else:
        main()
