"""Speech recognisers for the word error rate: `pocketsphinx`, a folder of SpeechBrain, or a factory. T samples.

pocketsphinx brings its weights (English). It adapts to what it hears, so that each signal gets a decoder of its own:
otherwise a score would depend on what was scored before. It errs much more than a recogniser of today.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from lobes.data.rates import resample
from lobes.errors import UserError
from lobes.metrics.onnx_models import at_rate, not_installed, remembering
from lobes.metrics.own import code_of
from lobes.metrics.words import Recognise
from lobes.runs import names
from lobes.runs.safe_yaml import allow, wishes_of
from lobes.runs.yaml_nodes import read_text

POCKETSPHINX = "pocketsphinx"
RATE = 16000  # Hz, of pocketsphinx and of a folder that names none
EXPECTED = f"Expected {POCKETSPHINX}, the folder of a SpeechBrain recogniser, or package.module:factory"
ADVICE = (
    "A model's file is not allowed to by itself. If you would run a program of whoever made it, allow it: --trust of "
    "lobes evaluate, or a factory of yours, package.module:factory, that loads it."
)


def check_recogniser(name: str, trust: bool = False) -> None:
    """Refuse what is no recogniser before anything is computed; what is not installed becomes a status later.

    Raises
    ------
    UserError
        A function that cannot be imported, or a folder that holds no model or wants to run what it may not.

    Example
    -------
    >>> check_recogniser("pocketsphinx")
    >>> check_recogniser("whisper")
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: recogniser whisper: no such folder. Expected pocketsphinx, the folder of a SpeechBrain ...
    """
    if name == POCKETSPHINX:
        return
    if ":" in name and not Path(name).exists():
        _factory(name)
        return
    if not Path(name).is_dir():
        raise UserError(f"recogniser {name}: no such folder. {EXPECTED}.")
    path = Path(name, names.HYPERPARAMS)
    if not path.is_file():
        raise UserError(f"recogniser {name}: no {path.name} in that folder. {EXPECTED}.")
    allow(wishes_of(path, read_text(path)), trust, ADVICE)


@lru_cache(maxsize=1)
def load_recogniser(name: str, trust: bool = False) -> Recognise:
    """Make a recogniser once in this process; it remembers what it heard last, as each source shares the input.

    Arguments
    ---------
    name : str
        As the option: see the top of this file. A factory is called without arguments and gives a function of a signal
        [T] in float32 and its rate in Hz to the text.
    trust : bool
        Run whatever a folder's hyperparams.yaml names.

    Raises
    ------
    UserError
        As `check_recogniser`.
    MetricError
        If pocketsphinx is not installed.
    """
    check_recogniser(name, trust)
    if name == POCKETSPHINX:
        return remembering(_pocketsphinx())
    if ":" in name and not Path(name).exists():
        return remembering(_factory(name)())
    return remembering(_speechbrain(Path(name)))


@lru_cache
def fingerprint_of(name: str) -> str:
    """What a recogniser is made of, so that a changed one has another: its code, or all files of its folder.

    Example
    -------
    >>> fingerprint_of("pocketsphinx"), len(fingerprint_of("lobes.metrics.words:words_of"))
    ('', 64)
    """
    if name == POCKETSPHINX:
        return ""
    if not Path(name).is_dir():
        return code_of(_factory(name))
    from lobes.runs.weights import sha256 as hash_of  # with PyTorch, which a process that scores may not need

    files = sorted(path for path in Path(name).rglob("*") if path.is_file())
    parts = [f"{path.relative_to(name).as_posix()} {hash_of(path)}" for path in files]
    return sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()


def _factory(name: str) -> Any:
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"recogniser {name}: cannot be imported ({error}). {EXPECTED}.") from error


def _pocketsphinx() -> Recognise:
    try:
        import pocketsphinx
    except ImportError as error:
        raise not_installed("pocketsphinx", "asr") from error

    def recognise(x: np.ndarray, rate: int) -> str:
        samples = np.clip(at_rate(x, rate, RATE), -1, 1) * 32767
        decoder = pocketsphinx.Decoder(pocketsphinx.Config(samprate=RATE, loglevel="FATAL"))
        decoder.start_utt()
        decoder.process_raw(samples.astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return "" if found is None else found.hypstr

    return recognise


def _speechbrain(folder: Path) -> Recognise:
    """What `EncoderASR` or, without a `decoding_function` in the file, `EncoderDecoderASR` makes of the folder."""
    import torch
    from speechbrain.inference import ASR

    keys = {line.partition(":")[0] for line in read_text(folder / names.HYPERPARAMS).splitlines()}
    interface = ASR.EncoderASR if "decoding_function" in keys else ASR.EncoderDecoderASR
    model: Any = interface.from_hparams(source=str(folder), savedir=str(folder))
    model_rate = int(getattr(model.hparams, "sample_rate", RATE))

    def recognise(x: np.ndarray, rate: int) -> str:
        samples = torch.from_numpy(resample(x, rate, model_rate))[None]
        with torch.no_grad():
            return str(model.transcribe_batch(samples, torch.ones(1))[0][0])

    return recognise
