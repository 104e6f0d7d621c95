"""espeak-ng through ctypes, in a process of its own.

espeak-ng keeps state from utterance to utterance (flutter, noise), so its samples depend on what it said before. A
fresh process that speaks a list in order gives the same samples every time. The library comes from the package
`espeakng-loader`; it is GPL-3.0, which is one more reason to run it in a process of its own.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lobes.errors import UserError, install

_SYNCHRONOUS, _CHARACTER_POSITION, _UTF8 = 2, 1, 1
_SPEED, _PITCH, _RANGE = 1, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_MODULE = "lobes.polsess.corpus.espeak"


@dataclass(frozen=True)
class Utterance:
    """A text to say, an espeak voice (`pl+f2`), words per minute, pitch and its range (0 to 99, 50 normal)."""

    text: str
    voice: str
    speed: int = 160
    pitch: int = 50
    pitch_range: int = 50


def speak(utterances: Sequence[Utterance]) -> tuple[list[np.ndarray], int]:
    """Say utterances in this order (it is part of the result, see above) in a fresh process.

    Returns int16 [T] for each utterance, and espeak-ng's own rate in Hz.

    Raises
    ------
    UserError
        espeakng-loader is not installed, or espeak-ng failed.
    """
    if importlib.util.find_spec("espeakng_loader") is None:
        raise UserError(
            f"made speech needs espeak-ng: {install(extra='demo')} (espeakng-loader), or give speech=FOLDER "
            "with one sub-folder per speaker."
        )
    with tempfile.TemporaryDirectory() as folder:
        jobs, result = Path(folder, "jobs.json"), Path(folder, "speech.npz")
        jobs.write_text(json.dumps([asdict(utterance) for utterance in utterances]), encoding="utf-8")
        child = subprocess.run(
            [sys.executable, "-m", _MODULE, str(jobs), str(result)], env=_child_env(), capture_output=True
        )
        if child.returncode or not result.exists():
            reason = (child.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
            raise UserError(f"espeak-ng failed ({reason}). Give speech=FOLDER with recordings instead.")
        with np.load(result) as spoken:
            samples, ends, rate = spoken["samples"], spoken["ends"], int(spoken["rate"])
    return np.split(samples, ends[:-1]), rate


def _child_env() -> dict[str, str]:
    """Let the child find this very package, even if it was imported from a path and is not installed."""
    package_root = str(Path(__file__).resolve().parents[3])
    paths = [package_root, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _main(jobs: str, result: str) -> None:
    utterances = [Utterance(**job) for job in json.loads(Path(jobs).read_text(encoding="utf-8"))]
    engine = _Engine()
    spoken = [engine.say(utterance) for utterance in utterances]
    samples = np.concatenate(spoken) if spoken else np.zeros(0, np.int16)
    np.savez(result, samples=samples, ends=np.cumsum([len(one) for one in spoken]), rate=engine.rate)


class _Engine:
    """The few functions of speak_lib.h that are needed."""

    def __init__(self) -> None:
        import espeakng_loader

        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.rate = int(self._lib.espeak_Initialize(_SYNCHRONOUS, 0, data, 0))
        if self.rate <= 0:
            raise RuntimeError(f"espeak_Initialize returned {self.rate}")
        self._lib.espeak_ng_SetRandSeed(ctypes.c_long(1))  # espeak_Initialize seeds by the clock
        self._blocks: list[np.ndarray] = []
        self._callback = _CALLBACK(self._collect)  # kept here, or ctypes would free it while espeak holds it
        self._lib.espeak_SetSynthCallback(self._callback)

    def say(self, what: Utterance) -> np.ndarray:
        self._blocks.clear()
        if self._lib.espeak_SetVoiceByName(what.voice.encode()):
            raise RuntimeError(f"no voice {what.voice}")
        for parameter, value in ((_SPEED, what.speed), (_PITCH, what.pitch), (_RANGE, what.pitch_range)):
            self._lib.espeak_SetParameter(parameter, value, 0)
        text = what.text.encode("utf-8")
        failed = self._lib.espeak_Synth(text, len(text) + 1, 0, _CHARACTER_POSITION, 0, _UTF8, None, None)
        if failed or not self._blocks:
            raise RuntimeError(f"voice {what.voice} said nothing to {what.text!r}")
        return np.concatenate(self._blocks)

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int | None) -> int:
        if samples and count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0


if __name__ == "__main__":
    _main(*sys.argv[1:])
