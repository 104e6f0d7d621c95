"""Export: a run becomes a folder that SpeechBrain's own interfaces load, checked bit for bit.

`SepformerSeparation` loads every model, `WaveformEnhancement` those of one source.
"""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from torch import Tensor

from lobes import __version__
from lobes.errors import UserError, install
from lobes.inference.card import model_card
from lobes.inference.speechbrain_adapter import LEVELS, at_level
from lobes.runs import names
from lobes.runs.folder import TrainedRun, read_run
from lobes.runs.safe_yaml import allow, wishes_of
from lobes.runs.weights import write_sums
from lobes.runs.yaml_nodes import read_text

# The first name in the YAML file. Where Lobes is missing, the error of SpeechBrain repeats this name and so says how
# to install it; where it is there, the first word counts. No dot: the rest would be looked for inside it.
NEEDED = f"Lobes (not installed? {install()}, of its repository)"

HYPERPARAMS = """# Exported by Lobes {version}. Load this folder with lobes.inference.Separator or with SpeechBrain's
# {interfaces}; all need the package lobes: {install}, of its repository.
# yamllint disable
__lobes: !name:lobes.exported.{lobes}
num_spks: {num_sources}
sample_rate: {sample_rate}

# SpeechBrain computes decoder(encoder(mix) * masknet(encoder(mix))); with these three that is model(mix), at the level
# that fits the mixture best. The override `level: model` leaves the network's own level.
level: {level}
encoder: !new:lobes.exported.MixAndOnes
masknet: !new:lobes.exported.MappingMaskNet
{model}
  level: !ref <level>
decoder: !new:lobes.exported.TakeEstimate
{enhance_model}
modules:
  encoder: !ref <encoder>
  masknet: !ref <masknet>
  decoder: !ref <decoder>{enhance_module}

pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
  loadables:
    masknet: !ref <masknet>
  custom_hooks:  # strict: SpeechBrain's default would leave random weights where keys do not match
    masknet: !name:lobes.exported.load_strictly
"""

# With one source the folder is one for SpeechBrain's WaveformEnhancement, too: the same network under another name.
ENHANCE_MODEL = """enhance_model: !new:lobes.exported.EnhanceModel
  model: !ref <masknet.model>
  level: !ref <level>
"""


def export_pretrained(
    run_folder: str | os.PathLike[str],
    out_folder: str | os.PathLike[str],
    trust: bool = False,
    add: Callable[[TrainedRun, Path], None] | None = None,
) -> Path:
    """Export a run's best checkpoint to a folder that SpeechBrain's interfaces load.

    It holds `hyperparams.yaml`, `masknet.ckpt`, `README.md` and `SHA256SUMS`. It is written next to
    `out_folder`, loaded from there through stock SpeechBrain and through `Separator`, compared with the
    run's model, at the level that fits the mixture, on random mixtures, and only then renamed into place. An
    earlier export is replaced.

    Arguments
    ---------
    run_folder : str or PathLike
        The output_folder of a recipe's `train.py`.
    out_folder : str or PathLike
        New, empty, or an earlier export.
    trust : bool
        Run whatever the run's network names: a class of your own, say. The exported folder names it, too.
    add : callable, optional
        Adds files to the folder before it is renamed, see `lobes.onnx.export.Graphs`.

    Returns
    -------
    Path
        `out_folder`.

    Raises
    ------
    UserError
        If `run_folder` has no usable checkpoint, its network wants to run what is not allowed, or `out_folder` holds
        other things than an export.
    RuntimeError
        If the reloaded model differs from the run's model; nothing is left behind then.

    Example
    -------
    >>> export_pretrained("results/no_such_run", "exported")
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: results/no_such_run: no such run folder.
    """
    run_folder, out = Path(run_folder), Path(out_folder)
    if not run_folder.is_dir():
        raise UserError(f"{run_folder}: no such run folder.")
    partial, old = (out.parent / f"{out.name}.{ending}" for ending in ("partial", "old"))
    for folder in (out, partial, old):
        _refuse_foreign(folder)
    run = read_run(run_folder, trust)
    _clear(partial)
    partial.mkdir(parents=True)
    try:
        _write(run, partial)
        _verify(run, partial, trust)
        if add is not None:
            add(run, partial)
            write_sums(partial)
        _move_into_place(partial, out, old)
    finally:
        _clear(partial)
    return out


def _write(run: TrainedRun, folder: Path) -> None:
    text = HYPERPARAMS.format(
        version=__version__,
        install=install(),
        lobes=quote(NEEDED, safe="/"),
        num_sources=run.num_sources,
        sample_rate=run.sample_rate,
        level=LEVELS[0],
        model=textwrap.indent(run.model_yaml.rstrip(), "  "),
        interfaces=" or ".join(kind.__name__ for kind in _interfaces(run.num_sources)[:-1]),
        enhance_model=ENHANCE_MODEL if run.num_sources == 1 else "",
        enhance_module="\n  enhance_model: !ref <enhance_model>" if run.num_sources == 1 else "",
    )
    (folder / names.HYPERPARAMS).write_text(text, encoding="utf-8")
    state = {f"model.{name}": value for name, value in run.model.state_dict().items()}
    torch.save(state, folder / names.MASKNET)
    (folder / names.CARD).write_text(model_card(run), encoding="utf-8")
    write_sums(folder)


def _verify(run: TrainedRun, folder: Path, trust: bool) -> None:
    """Reload the folder in every way and compare the output with the run's model, on the CPU."""
    path = folder / names.HYPERPARAMS
    if not trust:
        allow(wishes_of(path, read_text(path)), trust=False)  # stock SpeechBrain would not ask
    generator = torch.Generator().manual_seed(0)
    # Half a second, a batch of two, an odd length: enough for every part of a network to act.
    mix = torch.randn(2, run.sample_rate // 2 + 1, generator=generator)
    with torch.no_grad():
        expected = at_level(run.model(mix), mix, LEVELS[0])  # [B,T,S]
        for interface in _interfaces(run.num_sources):
            ours = {"trust": trust} if interface.__module__.startswith("lobes.") else {}
            loaded = interface.from_hparams(source=str(folder), run_opts={"device": "cpu"}, **ours)
            enhances = hasattr(loaded, "enhance_batch")
            got = loaded.enhance_batch(mix).unsqueeze(-1) if enhances else loaded.separate_batch(mix)
            _compare(interface.__name__, got, expected)


def _interfaces(num_sources: int) -> list[Any]:
    """The classes that load an exported folder, our own last."""
    from speechbrain.inference.enhancement import WaveformEnhancement
    from speechbrain.inference.separation import SepformerSeparation

    from lobes.inference.separator import Separator

    return [SepformerSeparation, *([WaveformEnhancement] if num_sources == 1 else []), Separator]


def _compare(name: str, got: Tensor, expected: Tensor) -> None:
    if torch.equal(got, expected):
        return
    how = f"shape {list(got.shape)} for {list(expected.shape)}"
    if got.shape == expected.shape:
        how = f"largest difference {float((got - expected).abs().max()):.3g}"
    raise RuntimeError(f"the model reloaded through {name} differs from the run's model ({how}); nothing was exported.")


def _move_into_place(partial: Path, out: Path, old: Path) -> None:
    """Rename `partial` to `out`; an earlier export steps aside, as no single step replaces a folder."""
    _clear(old)
    if out.exists():
        os.replace(out, old)
    os.replace(partial, out)
    _clear(old)


def _refuse_foreign(folder: Path) -> None:
    """Stop unless `folder` is absent, empty, or holds nothing but an export's files."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: is a file, expected a folder to export to.")
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in (*names.EXPORTED, *names.GRAPHS))
    if foreign:
        raise UserError(f"{folder}: holds {foreign[0]!r}, which is not of an export. Give a new or empty folder.")


def _clear(folder: Path) -> None:
    """Delete a folder that `_refuse_foreign` has let pass."""
    if folder.exists():
        shutil.rmtree(folder)
