"""Factories of other projects' models, for `lobes separate` and `lobes evaluate`. S sources, T samples.

    lobes separate lobes.inference.third_party:asteroid=mpariente/DPRNNTasNet-ks2_WHAM_sepclean mix.wav -o out/
    lobes separate lobes.inference.third_party:clearvoice=MossFormer2_SS_16K mix.wav -o out/

Neither project is a dependency: install one together with lobes in an environment of its own, as both pin old versions.
Asteroid 0.7 asks for a torchmetrics that its models do not need and that is too old for lobes: hence `--no-deps`.

    pip install lobes julius requests && pip install --no-deps asteroid==0.7.0 asteroid-filterbanks==0.4.0
    pip install lobes clearvoice==0.1.2

`make other-projects` makes both environments and runs tests/inference/test_other_projects.py in them.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from lobes.errors import UserError


class Asteroid:
    """A model of Asteroid (Pariente et al. 2020, arXiv:2005.04132), any that `BaseModel.from_pretrained` loads.

    Arguments
    ---------
    name : str
        A hub id, or the path of a file that Asteroid saved.

    Raises
    ------
    UserError
        If the file holds other Python objects than weights, settings and versions, which could run code.
    """

    def __init__(self, name: str) -> None:
        from asteroid.models import BaseModel

        with torch.serialization.safe_globals([TorchVersion]):  # Asteroid's files hold the version that wrote them
            try:
                self.model = BaseModel.from_pretrained(name).eval()
            except UnpicklingError as error:
                reason = str(error).partition("WeightsUnpickler error: ")[2].partition(". ")[0] or "damaged"
                raise UserError(f"{name}: holds more than weights and is not loaded ({reason}).") from error
        self.sample_rate = int(self.model.sample_rate)
        self.num_sources = int(self.model.masker.n_src)

    @torch.no_grad()
    def __call__(self, mix: Tensor) -> Tensor:
        """Separate a mixture [T] into its sources [S,T]."""
        return self.model(mix[None])[0]


class ClearVoice:
    """A model for separation of ClearVoice 0.1.2 (ClearerVoice-Studio), which keeps its weights below the folder where
    it runs, in checkpoints/. It gives every source the level of the mixture.

    Arguments
    ---------
    name : str
        Such as MossFormer2_SS_16K.

    Raises
    ------
    UserError
        If the weights are not there and cannot be downloaded; the tool itself would go on with random ones.
    """

    def __init__(self, name: str) -> None:
        from clearvoice import ClearVoice as Tool
        from clearvoice.dataloader.dataloader import audio_norm

        self.model, self._to_level = Tool(task="speech_separation", model_names=[name]), audio_norm
        settings = self.model.models[0].args
        self.sample_rate, self.num_sources = int(settings.sampling_rate), int(settings.num_spks)
        folder = Path(settings.checkpoint_dir)
        if not (folder / "last_best_checkpoint").is_file():
            raise UserError(f"{name}: expected its weights in {folder.resolve()}, and they could not be downloaded.")

    @torch.no_grad()
    def __call__(self, mix: Tensor) -> Tensor:
        """Separate a mixture [T] into its sources [S,T]."""
        x, scale = self._to_level(mix.numpy())  # the level that the tool brings a file to
        sources: Any = self.model(x[None])  # [S,1,T]
        return torch.from_numpy(sources[:, 0] * scale).float()


def asteroid(name: str = "") -> Asteroid:
    """Make a model of Asteroid."""
    return _made(Asteroid, name, "asteroid")


def clearvoice(name: str = "MossFormer2_SS_16K") -> ClearVoice:
    """Make a model of ClearVoice."""
    return _made(ClearVoice, name, "clearvoice")


def _made(kind: type[Any], name: str, package: str) -> Any:
    if not name:
        raise UserError(f"expected a model after the factory's name: lobes.inference.third_party:{package}=MODEL")
    try:
        return kind(name)
    except ImportError as error:
        raise UserError(f"{package} is not installed ({error}): pip install {package}, together with lobes.") from error
