"""The separator: SpeechBrain's separation interface with files at their own level and length, and errors that help."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speechbrain.inference.separation import SepformerSeparation
from torch import Tensor

from lobes.data import audio
from lobes.data.rates import resample
from lobes.errors import UserError
from lobes.inference.batches import Waveform, checked_lengths, to_batch
from lobes.inference.external import NAME, External
from lobes.inference.files import stretched, targets_of, write_columns
from lobes.inference.loading import load_folder
from lobes.inference.speechbrain_adapter import MappingMaskNet, adapt
from lobes.inference.stream import SeparatorStream, open_stream
from lobes.metrics.pcs import RATE as PCS_RATE
from lobes.nnet.lengths import to_samples
from lobes.nnet.level import fit_level
from lobes.runs import names
from lobes.runs.folder import read_run
from lobes.runs.locate import is_run_folder, locate


class Separator(SepformerSeparation):
    """Loads a trained model and separates or enhances batches and files.

    It has the interface of SpeechBrain's `SepformerSeparation` and loads the same folders (also
    SpeechBrain's own models), with these rules:

    - weights are loaded strictly, and checked against `SHA256SUMS` where a folder has one;
    - a file's output stands at the level that fits its mixture (`lobes.nnet.level.fit_level`), and nothing is
      normalised to its peak; `separate_batch` gives what the network gives, at whatever gain that has;
    - a file's output has the file's own sample rate and exactly its length;
    - several channels are averaged to one, at every sample rate;
    - silence gives zeros; what cannot be separated is a `UserError` that names the file and the reason.

    Loading a folder constructs what its `hyperparams.yaml` names, which can run code: load only what you
    trust.

    Example
    -------
    >>> import torch
    >>> from lobes.inference.speechbrain_adapter import adapt
    >>> class Halves(torch.nn.Module):
    ...     def forward(self, mix, lengths=None):
    ...         return torch.stack([mix / 2, mix / 2], dim=-1)
    >>> separator = Separator(adapt(Halves()), {"num_spks": 2, "sample_rate": 8000})
    >>> separator.separate_batch(torch.randn(3, 8000)).shape
    torch.Size([3, 8000, 2])
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     audio.write(f"{folder}/mix.wav", np.full((4000, 2), 0.1), 44100)
    ...     separator.separate_file(f"{folder}/mix.wav").shape
    ...     [path.name for path in separator.separate_files([f"{folder}/mix.wav"], folder)[0]]
    torch.Size([1, 4000, 2])
    ['mix_s1.wav', 'mix_s2.wav']
    """

    @classmethod
    def from_hparams(
        cls,
        source: str | os.PathLike[str],
        hparams_file: str = names.HYPERPARAMS,
        overrides: dict[str, Any] | None = None,
        savedir: str | None = None,
        fetch_config: Any = None,
        **kwargs: Any,
    ) -> Separator:
        """Load a model.

        Arguments
        ---------
        source : str or PathLike
            A folder made by `lobes export`, a run folder (its best checkpoint is taken), a hub id `owner/name`, or
            another project's model, `package.module:factory` (see `lobes.inference.external`).
        hparams_file : str
            Name of the YAML file in an exported folder or on the hub.
        overrides : dict, optional
            Changes to that YAML file.
        savedir : str, optional
            Where a model from the hub is put; the hub's cache by default.
        fetch_config : speechbrain.utils.fetching.FetchConfig, optional
            Revision and network use for the hub.
        **kwargs
            For the constructor: `run_opts={"device": "cuda"}`, `freeze_params`.

        Returns
        -------
        Separator

        Raises
        ------
        UserError
            If there is no such model, a file of it is damaged, or its weights do not fit its network.
        """
        if NAME.fullmatch(str(source)):
            model = External(str(source))
            return cls(adapt(model), {"num_spks": model.num_sources, "sample_rate": model.sample_rate}, **kwargs)
        folder = locate(source, savedir, fetch_config)
        if not is_run_folder(folder):
            hparams = load_folder(folder, hparams_file, overrides, cls.MODULES_NEEDED)
            return cls(modules=hparams["modules"], hparams=hparams, **kwargs)
        if overrides:
            raise UserError(f"{folder}: overrides are for exported folders. Export the run first: lobes export RUN OUT")
        run = read_run(folder)
        facts = {"num_spks": run.num_sources, "sample_rate": run.sample_rate, "task": run.settings.get("task")}
        return cls(adapt(run.model), facts, **kwargs)

    @property
    def sample_rate(self) -> int:
        """The model's sample rate in Hz."""
        return int(self.hparams.sample_rate)

    def separate_batch(self, mix: Waveform, lengths: Tensor | None = None) -> Tensor:
        """Separate a batch at the model's sample rate.

        Arguments
        ---------
        mix : Tensor or np.ndarray
            [B,T] or [T]. Floating point of any precision, or integers (int16, int32, uint8), which are
            scaled to full scale 1.0.
        lengths : Tensor, optional
            [B], relative lengths in (0, 1]; padding never changes the valid part.

        Returns
        -------
        Tensor
            [B,T,S], on the separator's device, as the network gives it: a loss that ignores scale leaves any gain.

        Raises
        ------
        UserError
            If the shape, the type, a value or the lengths cannot be used.
        """
        dtype = next((parameter.dtype for parameter in self.mods.parameters()), torch.float32)
        batch = to_batch(mix, dtype).to(self.device)  # [B,T]
        if lengths is not None:
            lengths = checked_lengths(lengths, len(batch)).to(self.device)
        masknet = self.mods["masknet"]
        if isinstance(masknet, MappingMaskNet):
            return masknet.model(batch, lengths)  # [B,T,S]
        if lengths is None:
            return super().separate_batch(batch)
        return self._one_by_one(batch, lengths)

    def stream(self, sample_rate: int | None = None) -> SeparatorStream:
        """Start a stream of a causal model, see `lobes.inference.stream.open_stream`: `feed(x)`, then `flush()`."""
        return open_stream(self, sample_rate)

    @torch.no_grad()
    def separate_file(self, path: str | os.PathLike[str]) -> Tensor:
        """Separate an audio file.

        Arguments
        ---------
        path : str or PathLike
            Any format that libsndfile reads, at any rate; several channels are averaged.

        Returns
        -------
        Tensor
            [1,T,S] on the CPU, at the file's own sample rate and of exactly its length, at the level that fits it.

        Raises
        ------
        UserError
            If the file is missing, a folder, empty, truncated, no audio, or holds NaN or infinite samples.
        """
        mix, rate = audio.read_mono_with_rate(path)
        return torch.from_numpy(self._separate_samples(mix, rate, path))[None]  # [1,T,S]

    @torch.no_grad()
    def separate_files(
        self, paths: Sequence[str | os.PathLike[str]], out_folder: str | os.PathLike[str]
    ) -> list[list[Path]]:
        """Separate audio files and write `<name>_s1.wav`, `<name>_s2.wav` ... (only `_s1` for enhancement).

        All inputs are read once before the first is separated, so a bad one stops the call before the long
        work. The name is the input's stem; inputs of the same stem get their folder's name in front, see
        `lobes.inference.files.base_names`. Files of an earlier call are overwritten, inputs never are.

        Arguments
        ---------
        paths : sequence of str or PathLike
            Audio files.
        out_folder : str or PathLike
            Made when missing. Files are 16-bit PCM; 32-bit float, with a note in the log, where an estimate
            exceeds full scale or is too quiet for 16 bits.

        Returns
        -------
        list of list of Path
            For each input, the files of its sources.

        Raises
        ------
        UserError
            As `separate_file`, or if an output would overwrite an input.
        """
        endings = [f"_s{number}" for number in range(1, self.num_sources + 1)]

        return self._write_each(paths, out_folder, endings, self._separate_samples)

    @torch.no_grad()
    def enhance_files(
        self, paths: Sequence[str | os.PathLike[str]], out_folder: str | os.PathLike[str], pcs: bool = False
    ) -> list[list[Path]]:
        """Enhance audio files with a model of one source and write `<name>_enhanced.wav`.

        Arguments
        ---------
        paths : sequence of str
            Audio files.
        out_folder : str or PathLike
            As in `separate_files`.
        pcs : bool
            Also write `<name>_enhanced_pcs.wav`: the same after perceptual contrast stretching, at the level of
            the former. It raises PESQ and adds distortion, see `lobes.metrics.pcs`.

        Returns
        -------
        list of list of Path
            For each input, the files written.

        Raises
        ------
        UserError
            As `separate_files`, or if the model gives several sources, or `pcs` and its rate is not 16 kHz.
        """
        if self.num_sources != 1:
            raise UserError(f"expected a model of one source, got one of {self.num_sources}: use `lobes separate`.")
        if pcs and self.sample_rate != PCS_RATE:
            raise UserError(f"pcs: defined at {PCS_RATE} Hz only, the model's rate is {self.sample_rate} Hz.")

        def columns(mix: np.ndarray, rate: int, path: str | os.PathLike[str]) -> np.ndarray:
            enhanced = self._separate_samples(mix, rate, path)  # [T,1]
            return np.concatenate([enhanced, stretched(enhanced, rate)], axis=1) if pcs else enhanced

        return self._write_each(paths, out_folder, ["_enhanced", "_enhanced_pcs"][: 1 + pcs], columns)

    @property
    def num_sources(self) -> int:
        """The model's number of sources; 1 for enhancement."""
        return int(self.hparams.num_spks)

    @property
    def task(self) -> str | None:
        """The task that the model was trained on, where its recipe names one: ES, EB or SB of PolSESS."""
        return getattr(self.hparams, "task", None)

    def _write_each(
        self,
        paths: Sequence[str | os.PathLike[str]],
        out_folder: str | os.PathLike[str],
        endings: Sequence[str],
        make: Callable[[np.ndarray, int, str | os.PathLike[str]], np.ndarray],
    ) -> list[list[Path]]:
        """Write what `make` gives for each file, [T] at a rate -> [T, columns], one file per column."""
        from tqdm import tqdm

        targets = targets_of(paths, Path(out_folder), endings)
        for path in paths:
            audio.read(path)
        for path, outputs in zip(tqdm(paths, unit="file", disable=None), targets, strict=True):
            mix, rate = audio.read_mono_with_rate(path)
            write_columns(outputs, make(mix, rate, path), rate)
        return targets

    def _separate_samples(self, mix: np.ndarray, rate: int, path: str | os.PathLike[str]) -> np.ndarray:
        """Separate [T] at any rate to float32 [T,S] at the same rate."""
        if not mix.any():  # whatever the network makes of silence
            return np.zeros((len(mix), self.num_sources), np.float32)
        at_model_rate = resample(mix, rate, self.sample_rate)  # [T']
        estimates = self.separate_batch(at_model_rate).float().cpu()  # [1,T',S]
        if not torch.isfinite(estimates).all():
            raise UserError(f"{os.fspath(path)}: the model gave NaN or infinite samples; nothing was written.")
        fitted = fit_level(estimates, torch.from_numpy(at_model_rate)[None])[0].numpy()
        return resample(fitted, self.sample_rate, rate)[: len(mix)]  # [T,S]

    def _one_by_one(self, batch: Tensor, lengths: Tensor) -> Tensor:
        """For SpeechBrain's own networks, which know no lengths: each item alone, zeros behind it."""
        out = batch.new_zeros(*batch.shape, self.num_sources)  # [B,T,S]
        for item, samples in enumerate(to_samples(lengths, batch.shape[1], len(batch)).tolist()):
            out[item, :samples] = super().separate_batch(batch[item : item + 1, :samples])[0]
        return out
