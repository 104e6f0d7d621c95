"""Factories of other projects' models, for `lobes separate` and `lobes evaluate`. S sources, T samples.

    lobes separate lobes.inference.adapters:asteroid=mpariente/DPRNNTasNet-ks2_WHAM_sepclean mix.wav -o out/
    lobes separate lobes.inference.adapters:clearvoice=MossFormer2_SS_16K mix.wav -o out/

Neither project is a dependency: install one beside lobes in an environment of its own, as both pin old versions.

    python -m venv other && other/bin/pip install lobes asteroid
    python -m venv other && other/bin/pip install lobes clearvoice
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from lobes.data import audio
from lobes.errors import UserError


class Asteroid:
    """A model of Asteroid (Pariente et al. 2020, arXiv:2005.04132), any that `BaseModel.from_pretrained` loads.

    Arguments
    ---------
    name : str
        A hub id, or the path of a file that Asteroid saved.
    """

    def __init__(self, name: str) -> None:
        from asteroid.models import BaseModel

        self.model = BaseModel.from_pretrained(name).eval()
        self.sample_rate = int(self.model.sample_rate)
        self.num_sources = int(self.model.masker.n_src)

    @torch.no_grad()
    def __call__(self, mix: Tensor) -> Tensor:
        """Separate a mixture [T] into its sources [S,T]."""
        return self.model(mix[None])[0]


class ClearVoice:
    """A model for separation of ClearVoice (ClearerVoice-Studio), which works on files.

    Arguments
    ---------
    name : str
        Such as MossFormer2_SS_16K.
    """

    sample_rate, num_sources = 16000, 2

    def __init__(self, name: str) -> None:
        from clearvoice import ClearVoice as Tool

        self.model = Tool(task="speech_separation", model_names=[name])

    def __call__(self, mix: Tensor) -> Tensor:
        """Separate a mixture [T] into its sources [S,T]."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "mix.wav"
            audio.write(path, mix.numpy(), self.sample_rate, "FLOAT")
            found: Any = self.model(input_path=str(path), online_write=False)
        found = next(iter(found.values())) if isinstance(found, dict) else found
        sources = torch.stack([torch.as_tensor(source).flatten().float() for source in found])  # [S,T']
        # it cuts or fills up to whole windows
        return torch.nn.functional.pad(sources[:, : len(mix)], (0, max(0, len(mix) - sources.shape[1])))


def asteroid(name: str = "") -> Asteroid:
    """Make a model of Asteroid."""
    return _made(Asteroid, name, "asteroid")


def clearvoice(name: str = "MossFormer2_SS_16K") -> ClearVoice:
    """Make a model of ClearVoice."""
    return _made(ClearVoice, name, "clearvoice")


def _made(kind: type[Any], name: str, package: str) -> Any:
    if not name:
        raise UserError(f"expected a model after the factory's name: lobes.inference.adapters:{package}=MODEL")
    try:
        return kind(name)
    except ImportError as error:
        raise UserError(f"{package} is not installed ({error}): pip install {package}, beside lobes.") from error
