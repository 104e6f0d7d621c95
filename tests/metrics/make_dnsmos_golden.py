"""Make golden_dnsmos.json: what speechmos itself gives for signals that the test makes again, and for real recordings.

speechmos imports librosa, which is no dependency of Lobes. In an environment of its own, from the checkout:

    python -m venv /tmp/dnsmos && /tmp/dnsmos/bin/pip install speechmos==0.0.1.1 librosa onnxruntime requests soundfile
    /tmp/dnsmos/bin/python tests/metrics/make_dnsmos_golden.py RECORDINGS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

RATE = 16000  # Hz
NAMES = {"dnsmos_sig": "sig_mos", "dnsmos_bak": "bak_mos", "dnsmos_ovrl": "ovrl_mos", "dnsmos_p808": "p808_mos"}
# name -> (seconds, level of the noise): repeated; one hop; hops that are one sample short, which speechmos leaves out
SYNTHETIC = {"short": (3.0, 0.003), "exact": (9.01, 0.02), "long": (17.5, 0.0)}
REAL = (
    "voicebank/noisy/p287_004.wav",
    "voicebank/clean/p287_004.wav",
    "voicebank/noisy/p287_001.wav",
    "speech/librispeech/train/1688/1688-142285-0000.flac",
)


def signal(seconds: float, noise: float) -> np.ndarray:
    """Make a signal [T]: a gliding harmonic sound in syllables, in noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 25)) * np.sin(2 * np.pi * 2 * time) ** 2
    return (0.1 * voice + noise * np.random.default_rng(7).standard_normal(len(time))).astype(np.float32)


def main(folder: str) -> None:
    """Ask speechmos for all of them and write the file next to this one."""
    import soundfile
    from speechmos import dnsmos

    waves = {name: signal(*settings) for name, settings in SYNTHETIC.items()}
    waves |= {name: soundfile.read(Path(folder, name), dtype="float32")[0] for name in REAL}
    found = {name: dnsmos.run(wave, RATE) for name, wave in waves.items()}
    golden = {name: {ours: float(one[theirs]) for ours, theirs in NAMES.items()} for name, one in found.items()}
    Path(__file__).with_name("golden_dnsmos.json").write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
