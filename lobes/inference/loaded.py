"""A model as a function of a wave and its rate. B batch, T samples, S sources."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lobes.data import audio
from lobes.errors import UserError
from lobes.inference.batches import Waveform, as_tensor, to_batch
from lobes.inference.catalogue import default
from lobes.inference.folder_job import Task, find_items, process_files
from lobes.inference.one_file import wave_estimates
from lobes.inference.options import Options


class LoadedModel:
    """What `lobes.load` returns: a separator that is called with a wave and its rate.

    It separates each signal as `lobes.inference.Separator` does a file, which it holds as `separator`: resampled to the
    model's rate and back, cut where it is too long for the network, at the level that fits the mixture best.

    Arguments
    ---------
    task : Task
        Which model, and how it is loaded.

    Example
    -------
    >>> import sys, types, torch
    >>> class Halves:
    ...     sample_rate, num_sources = 8000, 2
    ...     def __call__(self, mix):
    ...         return torch.stack([mix / 2, mix / 2])
    >>> sys.modules["their_project"] = types.SimpleNamespace(halves=Halves)
    >>> model = LoadedModel(Task("their_project:halves", Options(), device="cpu"))
    >>> model.sample_rate, model.num_sources
    (8000, 2)
    >>> model(np.ones(16000, np.float32), 16000).shape, model(torch.ones(3, 500), 8000).shape
    ((2, 16000), torch.Size([3, 2, 500]))
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self.separator = task.load()

    @property
    def sample_rate(self) -> int:
        """The model's sample rate in Hz. Other rates are resampled to it and back."""
        return self.separator.sample_rate

    @property
    def num_sources(self) -> int:
        """S; 1 for enhancement."""
        return self.separator.num_sources

    @torch.no_grad()
    def __call__(self, wave: Waveform, rate: int, options: Options | None = None) -> Waveform:
        """Separate one wave, or each of a batch.

        Arguments
        ---------
        wave : np.ndarray or Tensor
            [T], or a batch [B,T] of signals of one length; never [T, channels]. Floating point of any precision, or
            integers (int16, int32, uint8), which are scaled to full scale 1.0.
        rate : int
            Of the wave, in Hz.
        options : Options, optional
            `chunk_s`, `mixture_consistency`, `voice` and, for one source, `strength` and `max_attenuation_db` count.

        Returns
        -------
        np.ndarray or Tensor
            [S,T] or [B,S,T], as the wave: NumPy's or torch's, its floating-point type (float32 for integers), its
            device. Axes are not those of `Separator.separate_batch`, [B,T,S]: here `first, second = model(wave, rate)`.

        Raises
        ------
        UserError
            For another shape or type, a sample that is not finite, or a rate that is none.
        """
        given = as_tensor(wave)
        batch = to_batch(given).detach().cpu().numpy()  # [B,T]
        if len(batch) > batch.shape[1]:
            raise UserError(
                f"expected a wave [T] or a batch [B,T], got {len(batch)} signals of {batch.shape[1]} samples. If these "
                "are channels [T,C], give their mean, wave.mean(1), or each as one signal of a batch, wave.T."
            )
        if isinstance(rate, bool) or not isinstance(rate, Real) or not float(rate).is_integer() or rate < 1:
            raise UserError(f"rate: expected the wave's sample rate in Hz, got {rate!r}.")
        options = options or self._task.options
        sources = np.stack([wave_estimates(self.separator, one, int(rate), options).T for one in batch])  # [B,S,T]
        return _like(given, sources if given.dim() == 2 else sources[0], isinstance(wave, torch.Tensor))

    def separate_file(self, path: str | os.PathLike[str], options: Options | None = None) -> np.ndarray:
        """Separate an audio file; give float32 [S,T] at the file's own rate, its channels averaged.

        Raises
        ------
        UserError
            As `Separator.separate_file`; also for channels of their own, which have no place in [S,T].
        """
        options = options or self._task.options
        if options.channels == "each":
            raise UserError("channels='each': has no place in an array [S,T]. Take separate_files, or another choice.")
        return self.separator.separate_file(path, options)[0].T.numpy()

    def separate_files(
        self,
        paths: Sequence[str | os.PathLike[str]],
        out_folder: str | os.PathLike[str],
        recursive: bool = False,
        workers: int = 1,
        options: Options | None = None,
    ) -> list[list[Path]]:
        """Separate files and folders as `lobes separate` does: none ends the others, and finished ones are skipped.

        Arguments
        ---------
        paths : sequence of str or PathLike
            Files and folders; a folder's outputs lie as its inputs do.
        out_folder : str or PathLike
            For `<name>_s1.wav`, `<name>_s2.wav` ... (only `_s1` for enhancement), and the list of what is finished.
        recursive : bool
            Take the folders in folders, too.
        workers : int
            Processes; each holds the model.
        options : Options, optional
            How files are read, cut and written.

        Returns
        -------
        list of list of Path
            For each input, the files of its sources.

        Raises
        ------
        UserError
            If a file fails, when all others are done; for a mistake that concerns all files, before.
        """
        if isinstance(paths, str | os.PathLike):
            paths = [paths]
        task, out = replace(self._task, options=options or self._task.options), Path(out_folder)
        items = find_items(task, self.separator, paths, out, recursive)
        summary = process_files(task, self.separator, items, out, workers)
        if summary.failed:
            raise UserError(f"{len(summary.failed)} of {len(items)} files failed: {'; '.join(summary.failed)}")
        return [item.targets for item in items]

    def __repr__(self) -> str:
        return f"<{self._task.model}: {self.sample_rate} Hz, sources: {self.num_sources}>"


def load(model: str | os.PathLike[str], *, options: Options | None = None, **how: Any) -> LoadedModel:
    """Load a model, see `lobes.load`; `how` is for `lobes.inference.by_name.load_separator`."""
    return LoadedModel(Task(os.fspath(model), options or Options(), **how))


def separate(
    path_or_wave: str | os.PathLike[str] | Waveform,
    rate: int | None = None,
    model: str | os.PathLike[str] | None = None,
    **how: Any,
) -> Waveform:
    """Load a model and separate a file or a wave, see `lobes.separate`."""
    if isinstance(path_or_wave, str | os.PathLike):
        if rate is not None:
            raise UserError("rate: a file says its own. Leave it out.")
        audio.probe(path_or_wave)  # before a model is loaded
        return load(model or default(), **how).separate_file(path_or_wave)
    if rate is None:
        raise UserError("rate: give that of the wave, separate(wave, rate).")
    return load(model or default(), **how)(path_or_wave, rate)


def _like(wave: torch.Tensor, sources: np.ndarray, torch_wanted: bool) -> Waveform:
    kind = wave.dtype if wave.is_floating_point() else torch.float32
    found = torch.from_numpy(sources).to(wave.device, kind)
    return found if torch_wanted else found.numpy()
