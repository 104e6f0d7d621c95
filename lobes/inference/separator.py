"""The separator: SpeechBrain's separation interface with files at their own level and length, and errors that help."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speechbrain.inference.separation import SepformerSeparation
from torch import Tensor

from lobes.data import audio
from lobes.errors import UserError
from lobes.inference.batches import Waveform, checked_lengths, to_batch
from lobes.inference.chunks import ChunkPlan, fitting_samples, plan_chunks
from lobes.inference.files import targets_of
from lobes.inference.long_mixture import LongMixture, consistent
from lobes.inference.one_file import file_estimates, write_enhanced, write_separated
from lobes.inference.opening import open_model
from lobes.inference.options import Options
from lobes.inference.speechbrain_adapter import LEVELS, MappingMaskNet, at_level, check_level
from lobes.inference.stream import SeparatorStream, open_stream
from lobes.metrics.pcs import RATE as PCS_RATE
from lobes.nnet.lengths import to_samples
from lobes.runs import names

logger = logging.getLogger(__name__)


class Separator(SepformerSeparation):
    """Loads a trained model and separates or enhances batches and files.

    It has the interface of SpeechBrain's `SepformerSeparation` and loads the same folders, with these rules:

    - weights are loaded strictly, and checked against `SHA256SUMS` where a folder has one;
    - estimates stand at the level that fits their mixture best (`lobes.nnet.level.fit_level`), and nothing is
      normalised to its peak; `level="model"` leaves them as the network gives them, at whatever gain that has;
    - a file's output has the file's own sample rate and exactly its length;
    - what is too long for the network is cut into chunks, and its speakers keep their outputs;
    - several channels are averaged to one, at every sample rate, unless `Options` say otherwise;
    - silence gives zeros; what cannot be separated is a `UserError` that names the file and the reason.

    Of what a folder names, only `lobes.runs.callables` is run, unless `trust=True`: see docs/threat-model.md.

    Arguments
    ---------
    modules, hparams, run_opts, freeze_params
        As in SpeechBrain's interfaces.
    level : str, optional
        `mixture` or `model`, as above; by default what the folder's hyperparams.yaml says, or else `mixture`.

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

    def __init__(
        self,
        modules: Any = None,
        hparams: Any = None,
        run_opts: Any = None,
        freeze_params: bool = True,
        level: str | None = None,
    ) -> None:
        super().__init__(modules, hparams, run_opts, freeze_params)
        own = getattr(self.hparams, "level", None)
        self.level = check_level(level) if level is not None else own if own in LEVELS else LEVELS[0]
        self._rates_said: set[int] = set()

    @classmethod
    def from_hparams(
        cls,
        source: str | os.PathLike[str],
        hparams_file: str = names.HYPERPARAMS,
        overrides: dict[str, Any] | None = None,
        savedir: str | None = None,
        fetch_config: Any = None,
        trust: bool = False,
        **kwargs: Any,
    ) -> Separator:
        """Load a model.

        Arguments
        ---------
        source : str or PathLike
            A folder made by `lobes export`, a run folder (its best checkpoint is taken), a name of
            `lobes.inference.catalogue`, a hub id `owner/name`, or another project's model, `package.module:factory`
            (see `lobes.inference.external`): that word is code of yours, which is imported and called.
        hparams_file : str
            Name of the YAML file in an exported folder or on the hub.
        overrides : dict, optional
            Changes to that YAML file.
        savedir : str, optional
            Where a model from the hub is put; the hub's cache by default.
        fetch_config : speechbrain.utils.fetching.FetchConfig, optional
            Revision and network use for the hub.
        trust : bool
            Run whatever the folder's YAML file names, as a program of whoever made it. What that is goes to the log.
        **kwargs
            For the constructor: `run_opts={"device": "cuda"}`, `freeze_params`, `level`.

        Returns
        -------
        Separator

        Raises
        ------
        UserError
            If there is no such model, a file of it is damaged, it wants to run what is not allowed, or its weights do
            not fit its network.
        """
        modules, hparams = open_model(source, hparams_file, overrides, savedir, fetch_config, trust, cls.MODULES_NEEDED)
        return cls(modules, hparams, **kwargs)

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
            [B,T,S], on the separator's device, at the separator's `level`.

        Raises
        ------
        UserError
            If the shape, the type, a value or the lengths cannot be used.
        """
        dtype = next((parameter.dtype for parameter in self.mods.parameters()), torch.float32)
        batch = to_batch(mix, dtype).to(self.device)  # [B,T]
        samples = None
        if lengths is not None:
            lengths = checked_lengths(lengths, len(batch)).cpu()  # where they can be read
            samples = to_samples(lengths, batch.shape[1], len(batch), batch.device)
        return at_level(self._network(batch, lengths), batch, self.level, samples)

    def _network(self, batch: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[B,T] to [B,T,S] as the network gives them."""
        masknet = self.mods["masknet"]
        if isinstance(masknet, MappingMaskNet):
            return masknet.model(batch, lengths)  # [B,T,S]
        if lengths is None:
            return self._stock(batch)
        return self._one_by_one(batch, lengths)

    def stream(self, sample_rate: int | None = None) -> SeparatorStream:
        """Start a stream of a causal model, see `lobes.inference.stream.open_stream`: `feed(x)`, then `flush()`."""
        return open_stream(self, sample_rate)

    @torch.no_grad()
    def separate(self, mix: Waveform, options: Options | None = None) -> np.ndarray:
        """Separate one mixture of any length at the model's rate: in chunks where it is too long for the network.

        Arguments
        ---------
        mix : Tensor or np.ndarray
            [T], as in `separate_batch`.
        options : Options, optional
            `chunk_s`, `mixture_consistency` and `voice` count.

        Returns
        -------
        np.ndarray
            float32 [T,S], at the separator's `level`.

        Raises
        ------
        UserError
            As `separate_batch`.
        """
        options = options or Options()
        batch = to_batch(mix)  # [1,T]
        if len(batch) != 1:
            raise UserError(
                f"expected one mixture [T], got {len(batch)} of {batch.shape[1]} samples. `separate_batch` takes "
                "several; of channels [T,C] give the mean, mix.mean(1), or one, mix[:, 0]."
            )
        plan = self.plan(batch.shape[1], options.chunk_s)
        samples = batch[0].cpu().numpy()
        if not plan.cuts(len(samples)):
            estimates = self.separate_batch(batch)[0].float().cpu().numpy()
            return consistent(estimates, samples) if options.mixture_consistency else estimates
        with LongMixture(plan, len(samples), self.num_sources, self.sample_rate, options.recogniser()) as long:
            long.separate(self.outputs, iter([samples]))
            return np.concatenate(list(long.blocks(self.level, options.mixture_consistency)))

    @torch.no_grad()
    def outputs(self, mix: np.ndarray) -> np.ndarray:
        """What the network makes of one mixture, float32 [T] to [T,S], at the network's own level."""
        dtype = next((parameter.dtype for parameter in self.mods.parameters()), torch.float32)
        return self._network(to_batch(mix, dtype).to(self.device))[0].float().cpu().numpy()

    def plan(self, samples: int, chunk_s: float | None = None) -> ChunkPlan:
        """How a mixture of so many samples is cut, see `lobes.inference.chunks.plan_chunks`."""
        masknet = self.mods["masknet"]
        parts = masknet.model if isinstance(masknet, MappingMaskNet) else dict(self.mods)
        return plan_chunks(parts, lambda: self._fitting, self.sample_rate, samples, chunk_s)

    @cached_property
    def _fitting(self) -> int:
        """The longest mixture that the network takes within a limit of memory; measured once."""
        return fitting_samples(lambda mix: self._network(mix.to(self.device)), self.sample_rate)

    def say_rate(self, rate: int) -> None:
        """Say that files have another rate than the model, once for each rate."""
        if rate == self.sample_rate or rate in self._rates_said:
            return
        self._rates_said.add(rate)
        lost = f"; nothing above {self.sample_rate // 2} Hz is left in the output" if rate > self.sample_rate else ""
        logger.warning("files of %d Hz are resampled to the model's %d Hz%s", rate, self.sample_rate, lost)

    @torch.no_grad()
    def separate_file(self, path: str | os.PathLike[str], options: Options | None = None) -> Tensor:
        """Separate an audio file.

        Arguments
        ---------
        path : str or PathLike
            Any format that libsndfile reads, at any rate; several channels are averaged.
        options : Options, optional
            How it is read and cut.

        Returns
        -------
        Tensor
            [1,T,S] on the CPU, at the file's own sample rate and of exactly its length, at the separator's `level`;
            with `channels="each"` [1,T,S,C]. A long file is better written by `separate_files`, which holds none of it.

        Raises
        ------
        UserError
            If the file is missing, a folder, empty, truncated, no audio, or holds NaN or infinite samples.
        """
        options = options or Options()
        with file_estimates(self, path, options) as blocks:
            estimates = torch.from_numpy(np.concatenate(list(blocks())).astype(np.float32, copy=False))[None]
        return estimates if options.channels == "each" else estimates[..., 0]

    @torch.no_grad()
    def separate_files(
        self,
        paths: Sequence[str | os.PathLike[str]],
        out_folder: str | os.PathLike[str],
        options: Options | None = None,
    ) -> list[list[Path]]:
        """Separate audio files and write `<name>_s1.wav`, `<name>_s2.wav` ... (only `_s1` for enhancement).

        The headers of all inputs are read before the first is separated, so that a missing one stops the call before
        the long work. The name is the input's stem; inputs of the same stem get their folder's name in front, see
        `lobes.inference.files.base_names`. Files of an earlier call are overwritten, inputs never are. Each file is
        there whole or not at all.

        Arguments
        ---------
        paths : sequence of str or PathLike
            Audio files.
        out_folder : str or PathLike
            Made when missing. Files are 16-bit PCM; 32-bit float, with a note in the log, where an estimate
            exceeds full scale or is too quiet for 16 bits.
        options : Options, optional
            How files are read, cut and written.

        Returns
        -------
        list of list of Path
            For each input, the files of its sources.

        Raises
        ------
        UserError
            As `separate_file`, or if an output would overwrite an input.
        """
        return self._write_each(paths, out_folder, self.endings(), write_separated, options or Options())

    @torch.no_grad()
    def enhance_files(
        self,
        paths: Sequence[str | os.PathLike[str]],
        out_folder: str | os.PathLike[str],
        pcs: bool = False,
        options: Options | None = None,
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
        options : Options, optional
            As in `separate_files`; also how much of the enhancement is applied.

        Returns
        -------
        list of list of Path
            For each input, the files written.

        Raises
        ------
        UserError
            As `separate_files`, or if the model gives several sources, or `pcs` and its rate is not 16 kHz.
        """
        self.check_enhances(pcs)
        write = partial(write_enhanced, pcs=pcs)
        return self._write_each(paths, out_folder, self.endings(True, pcs), write, options or Options())

    def check_enhances(self, pcs: bool = False) -> None:
        """Refuse a model that does not enhance, or stretched contrast at a rate where it is not defined.

        Raises
        ------
        UserError
        """
        if self.num_sources != 1:
            raise UserError(f"expected a model of one source, got one of {self.num_sources}: use `lobes separate`.")
        if pcs and self.sample_rate != PCS_RATE:
            raise UserError(f"pcs: defined at {PCS_RATE} Hz only, the model's rate is {self.sample_rate} Hz.")

    def endings(self, enhanced: bool = False, pcs: bool = False) -> list[str]:
        """What stands behind the name of an input in the names of its outputs."""
        if enhanced:
            return ["_enhanced", "_enhanced_pcs"][: 1 + pcs]
        return [f"_s{number}" for number in range(1, self.num_sources + 1)]

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
        write: Callable[..., None],
        options: Options,
    ) -> list[list[Path]]:
        """Let `write` make the files of each input."""
        from tqdm import tqdm

        targets = targets_of(paths, Path(out_folder), endings, options.format)
        for path in paths:
            audio.probe(path)
        for path, outputs in zip(tqdm(paths, unit="file", disable=None), targets, strict=True):
            write(self, path, outputs, options)
        return targets

    def _stock(self, batch: Tensor) -> Tensor:
        """What SpeechBrain's own network gives for [B,T]; its encoder wants the samples of one filter at least."""
        conv = getattr(self.mods["encoder"], "conv1d", None)
        missing = max((conv.kernel_size[0] if isinstance(conv, torch.nn.Conv1d) else 1) - batch.shape[1], 0)
        return super().separate_batch(torch.nn.functional.pad(batch, (0, missing)))[:, : batch.shape[1]]

    def _one_by_one(self, batch: Tensor, lengths: Tensor) -> Tensor:
        """For SpeechBrain's own networks, which know no lengths: each item alone, zeros behind it."""
        out = batch.new_zeros(*batch.shape, self.num_sources)  # [B,T,S]
        for item, samples in enumerate(to_samples(lengths, batch.shape[1], len(batch)).tolist()):
            out[item, :samples] = self._stock(batch[item : item + 1, :samples])[0]
        return out
