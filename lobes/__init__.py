"""Lobes: state-space models for speech separation and enhancement, as SpeechBrain modules and recipes."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `import lobes` is light: torch comes with the first call
    from lobes.inference.batches import Waveform
    from lobes.inference.loaded import LoadedModel
    from lobes.inference.options import Options

__version__ = "0.1.0"


def load(
    model: str | PathLike[str],
    *,
    device: str | None = None,
    revision: str | None = None,
    trust: bool = False,
    level: str | None = None,
    options: Options | None = None,
) -> LoadedModel:
    """Load a model, which is then called with a wave and its rate.

    Arguments
    ---------
    model : str or PathLike
        A name of `lobes models --pretrained`, a run folder, an exported folder, a hub id `owner/name`, or
        `package.module:factory`, which is code of yours.
    device : str, optional
        cpu or cuda; by default the GPU if any.
    revision : str, optional
        Of a model of the hub: the hash of the commit to take.
    trust : bool
        Run whatever the model's folder names, as a program of its author.
    level : str, optional
        `mixture` (what fits the mixture best) or `model`; by default what the folder says.
    options : lobes.inference.options.Options, optional
        How signals are cut, and files read and written.

    Returns
    -------
    lobes.inference.loaded.LoadedModel
        `model(wave, rate)`: [T] to [S,T] and [B,T] to [B,S,T], NumPy or torch. Also `separate_file(path)`,
        `separate_files(paths, out_folder)`, `sample_rate`, `num_sources`.

    Raises
    ------
    lobes.errors.UserError
        If there is no such model, or it cannot be loaded; one line that says why.

    Example
    -------
    >>> import sys, types, torch
    >>> class Halves:
    ...     sample_rate, num_sources = 8000, 2
    ...     def __call__(self, mix):
    ...         return torch.stack([mix / 2, mix / 2])
    >>> sys.modules["their_project"] = types.SimpleNamespace(halves=Halves)
    >>> model = load("their_project:halves", device="cpu")
    >>> model(torch.ones(16000), 16000).shape
    torch.Size([2, 16000])
    """
    from lobes.inference.loaded import load as load_model

    return load_model(model, device=device, revision=revision, trust=trust, level=level, options=options)


def separate(
    path_or_wave: str | PathLike[str] | Waveform,
    rate: int | None = None,
    *,
    model: str | PathLike[str] | None = None,
    device: str | None = None,
    revision: str | None = None,
    trust: bool = False,
    level: str | None = None,
    options: Options | None = None,
) -> Waveform:
    """Load a model and separate a file, or a wave of this rate. For several, `load` the model once.

    Arguments
    ---------
    path_or_wave : str, PathLike, np.ndarray or torch.Tensor
        An audio file, or a wave as in `load`'s result.
    rate : int, optional
        Of a wave, in Hz; a file has its own.
    model : str or PathLike, optional
        By default the one that the catalogue names for this.
    device, revision, trust, level, options
        As in `load`.

    Returns
    -------
    np.ndarray or torch.Tensor
        [S,T], at the rate of the file or wave, or [B,S,T] for a batch.

    Raises
    ------
    lobes.errors.UserError
        As `load`, and if the file or wave cannot be used.

    Example
    -------
    >>> import sys, types, torch
    >>> class Halves:
    ...     sample_rate, num_sources = 8000, 2
    ...     def __call__(self, mix):
    ...         return torch.stack([mix / 2, mix / 2])
    >>> sys.modules["their_project"] = types.SimpleNamespace(halves=Halves)
    >>> first, second = separate(torch.ones(8000), 8000, model="their_project:halves", device="cpu")
    >>> first.shape
    torch.Size([8000])
    """
    from lobes.inference.loaded import separate as separate_signal

    how = {"device": device, "revision": revision, "trust": trust, "level": level, "options": options}
    return separate_signal(path_or_wave, rate, model, **how)
