"""Folders exported and runs trained before the library's files moved (commit d316b84) load and give the same output.

`old_export/` holds their texts, `make_old_export.py` made them. Weights come from a formula, so that none are stored.
B batch, T samples, S sources.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from speechbrain.inference.enhancement import WaveformEnhancement
from speechbrain.inference.separation import SepformerSeparation

from lobes.inference import Separator, export_pretrained

OLD = Path(__file__).parent / "old_export"
RUN = "run"
EXPORTS = sorted(path.name for path in OLD.iterdir() if path.name != RUN)
CHECKPOINT = "save/CKPT+2025-11-28+12-00-00+00"
LOW32 = 0xFFFFFFFF
# What the YAML files of old folders name, beyond SpeechBrain and PyTorch.
NAMES = """
lobes.inference.adapter.EnhanceModel lobes.inference.adapter.MappingMaskNet lobes.inference.adapter.MixAndOnes
lobes.inference.adapter.TakeEstimate lobes.inference.weights.load_strictly lobes.models.bs_bimamba.BSBiMamba
lobes.models.bsrnn.BSRNN lobes.models.mamba_tasnet.MambaMaskNet lobes.models.masking.MaskingSeparator
lobes.models.mbs_net.MBSNet lobes.models.sequence_first.SequenceFirst lobes.models.spmamba.SPMamba
lobes.models.tf_gridnet.TFGridNet lobes.nnet.bimamba.SharedBiMamba
""".split()


def noise(count: int, key: str) -> torch.Tensor:
    """`count` numbers of [-1, 1) in fp64 that follow from the key alone, the same on every machine."""
    h = (torch.arange(count, dtype=torch.int64) * 2654435769 + zlib.crc32(key.encode())) & LOW32
    for shift, factor in ((16, 73244475), (15, 0x2C1B3C6D)):  # factors below 2^31: no product overflows
        h = ((h ^ (h >> shift)) * factor) & LOW32
    return (h ^ (h >> 16)).double() / 2**31 - 1


def fill(shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
    """fp32 weights of a size at which every part of a network matters; an export's keys have `model.` in front."""
    return {key: _weight(key.removeprefix("model."), tuple(shape)).float() for key, shape in shapes.items()}


def _weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    u = noise(math.prod(shape), key).reshape(shape)
    if key.endswith("A_log"):
        return torch.log(torch.arange(1, shape[-1] + 1, dtype=torch.float64)) + 0.1 * u
    if key.endswith("dt_proj.bias"):
        return u - 1
    if len(shape) > 1 and not key.endswith(("gamma", "beta")):
        return u * (1.5 / math.sqrt(math.prod(shape[1:])))
    return u / 5 + (0 if key.endswith(("bias", "beta")) else 1)


def mixture() -> torch.Tensor:
    """Two mixtures [B,T] of unequal level."""
    return torch.stack([noise(300, "first"), 0.1 * noise(300, "second")]).float()


def write_folder(old: Path, folder: Path) -> None:
    """Write an exported folder or a run folder from its texts."""
    weights = fill(json.loads((old / "weights.json").read_text()))
    run = old.name == RUN
    path = folder / (f"{CHECKPOINT}/separator.ckpt" if run else "masknet.ckpt")
    path.parent.mkdir(parents=True)
    torch.save(weights, path)
    (folder / "hyperparams.yaml").write_bytes((old / "hyperparams.yaml").read_bytes())
    if run:
        path.with_name("CKPT.yaml").write_bytes((old / "CKPT.yaml").read_bytes())
        return
    names = ("hyperparams.yaml", "masknet.ckpt")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))


def expected(name: str) -> torch.Tensor:
    """The output [B,T,S] that commit d316b84 gave."""
    return torch.tensor(json.loads((OLD / name / "expected.json").read_text()))


def agree(got: torch.Tensor, name: str) -> None:
    """To 1e-5; and the outputs are of a size at which that says something."""
    assert expected(name).abs().amax(dim=(1, 2)).min() > 0.01
    torch.testing.assert_close(got, expected(name), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("interface", [Separator, SepformerSeparation])
def test_an_old_export_gives_the_same_output(name: str, interface: type, tmp_path: Path):
    write_folder(OLD / name, tmp_path / "model")
    own = {"level": "model"} if interface is Separator else {}
    model = interface.from_hparams(source=str(tmp_path / "model"), run_opts={"device": "cpu"}, **own)
    agree(model.separate_batch(mixture()), name)


def test_an_old_export_of_one_source_enhances(tmp_path: Path):
    write_folder(OLD / "enhancement", tmp_path / "model")
    model = WaveformEnhancement.from_hparams(source=str(tmp_path / "model"), run_opts={"device": "cpu"})
    agree(model.enhance_batch(mixture())[..., None], "enhancement")


def test_an_old_run_loads_and_exports(tmp_path: Path):
    write_folder(OLD / RUN, tmp_path / "run")
    agree(Separator.from_hparams(tmp_path / "run", level="model").separate_batch(mixture()), RUN)
    folder = export_pretrained(tmp_path / "run", tmp_path / "out")
    own = {"level": "model"}
    stock = SepformerSeparation.from_hparams(source=str(folder), run_opts={"device": "cpu"}, overrides=own)
    agree(stock.separate_batch(mixture()), RUN)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_old_folders_still_means_something(name: str):
    module, _, attribute = name.rpartition(".")
    assert callable(getattr(importlib.import_module(module), attribute))
