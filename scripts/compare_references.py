#!/usr/bin/env python3
"""Compare the network of every preset with its reference, and say so in the preset's file: the column "compared".

> python scripts/compare_references.py [PRESET...] [--write]

A reference is published code with the same weights: its outputs in fp64 in `tests/models`, made on another machine, or
SpeechBrain itself. Errors are the largest deviation over the largest output.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests" / "models"
GOLDEN = TESTS / "golden"  # <network>_fp64.json, and fill.py, which makes weights and inputs
EQUAL = "equal to its reference (error {})"
OTHER_SIZES = "equal to its reference at other sizes (error {})"
NOT_COMPARED = "same structure, not compared"
OWN = "a design of ours"
LEAST = 1e-14  # rounding in fp64 differs from machine to machine
# presets of a network whose outputs are known -> the network; the hop of windows, which no shape shows, is published
KNOWN = {
    **dict.fromkeys(("spmamba_8k", "spmamba_16k", "spmamba_small"), "spmamba"),
    **dict.fromkeys(("mamba_tasnet_s", "mamba_tasnet_m", "mamba_tasnet_tiny"), "mamba_tasnet"),
    **dict.fromkeys(("dpmamba_s", "dpmamba_m", "dpmamba_tiny"), "dpmamba"),
    **dict.fromkeys(("tf_gridnet", "tf_gridnet_mini"), "tf_gridnet"),
    "bsrnn": "bsrnn",
}
# options that no shape shows, by the names of the published code
UNSEEN = {"K": "K", "skip_around_intra": "skip_around_intra", "stride": "hop_length", "emb_hs": "emb_hs"}
# of SpeechBrain's classes alone, as its own interface runs them
SPEECHBRAIN = re.compile(r"(convtasnet|dprnn|sepformer|resepformer|skim)(_causal|_tiny)?")
# written from a paper or its code, of which no output is known here
WRITTEN = re.compile(r"spmamba_(mini|tiny)|dptnet|bs_bimamba_abl\d_published")


class Golden(NamedTuple):
    """A configuration of published code: weights, input [B, T], and some values of its output."""

    weights: dict[str, Tensor]
    mix: Tensor
    options: dict[str, Any]  # that no shape shows
    record: dict[str, Any]


def main() -> int:
    """Compare, print, and write with `--write`."""
    from lobes.models import list_models

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="*", help="default: all")
    parser.add_argument("--write", action="store_true", help="into the presets' files")
    options = parser.parse_args()
    for preset in options.presets or list_models():
        words = compared(preset)
        print(f"{preset}: {words}", flush=True)
        if options.write:
            write(preset, words)
    return 0


def compared(preset: str) -> str:
    """What is known of a preset's network and its reference, in words.

    >>> compared("mbs_net")
    'a design of ours'
    """
    if preset in KNOWN and recorded(KNOWN[preset]):
        error, sizes = error_of(KNOWN[preset])
        return (EQUAL if any(is_of(preset, golden) for golden in sizes) else OTHER_SIZES).format(bound(error))
    if SPEECHBRAIN.fullmatch(preset):
        return EQUAL.format(bound(error_of_chain(preset)))
    return NOT_COMPARED if preset in KNOWN or WRITTEN.fullmatch(preset) else OWN


def bound(error: float) -> str:
    """The next power of ten: the last digits of an error differ from machine to machine.

    >>> bound(3e-9), bound(0), bound(1e-16)
    ('below 1e-08', '0', 'below 1e-14')
    """
    return f"below {10.0 ** math.ceil(math.log10(max(error, LEAST))):.0e}" if error else "0"


def write(preset: str, words: str) -> None:
    """Put the words into the preset's file, before the number of parameters."""
    from lobes.config import preset_path

    path = preset_path(preset)
    text = re.sub(r"\n    compared: .*", "", path.read_text(encoding="utf-8"))
    text = re.sub(r"\n    parameters: ", f"\n    compared: {words}\n    parameters: ", text)
    path.write_text(text, encoding="utf-8")


# ---- recorded outputs


def recorded(network: str) -> bool:
    """Whether outputs of the published code are there."""
    return _file(network).is_file()


@cache
def error_of(network: str) -> tuple[float, list[Golden]]:
    """The largest error over all recorded configurations, and these."""
    found = list(goldens(network))
    return max(error_of_golden(network, golden) for golden in found), found


def is_of(preset: str, golden: Golden) -> bool:
    """Whether a recorded configuration has the sizes of a preset."""
    from lobes.config import read_preset
    from lobes.models import get_model, to_upstream

    own = {key: value.shape for key, value in to_upstream(get_model(preset)).items()}
    recorded_shapes = {key: value.shape for key, value in golden.weights.items()}
    return own == recorded_shapes and golden.options.items() <= read_preset(preset).options.items()


def goldens(network: str) -> Iterator[Golden]:
    """The recorded configurations, with their weights and inputs made."""
    content = json.loads(_file(network).read_text(encoding="utf-8"))
    if network == "spmamba":
        yield from (_spmamba(record) for record in content.values())
        return
    fill = _module(GOLDEN / "fill.py")
    for record in content["configurations"].values():
        options = {UNSEEN[key]: value for key, value in record["args"].items() if key in UNSEEN}
        if network == "tf_gridnet":
            options["sample_rate"] = record["sample_rate"]
        mix = fill.inp(record["sample_rate"], record["samples"], record["scales"])
        yield Golden(fill.fill(dict(record["state_dict"])), mix, options, record)


def error_of_golden(network: str, golden: Golden) -> float:
    """Deviation from the recorded values, over the largest output."""
    from lobes.models import from_upstream

    model = from_upstream(network, golden.weights, **golden.options).double()
    run = {"spmamba": _of_spmamba, "bsrnn": _of_bsrnn, "tf_gridnet": _of_tf_gridnet}.get(network, _of_mamba)
    with torch.no_grad():
        got, expected, largest = run(model, golden.mix.double(), golden.record)
    return float((got - torch.tensor(expected, dtype=torch.float64)).abs().max()) / largest


def estimates_of_parts(model: nn.Module, mix: Tensor) -> Tensor:
    """Encoder, mask network and decoder on `mix` [B, T] as it is; zeros after the last whole frame: [B, T, S]."""
    encoded = model.encoder(mix)  # [B, N, L]
    y = model.decoder((model.masknet(encoded) * encoded).flatten(0, 1)).reshape(model.num_sources, len(mix), -1)
    return nn.functional.pad(y, (0, mix.shape[1] - y.shape[2])).permute(1, 2, 0)


def _of_mamba(model: nn.Module, mix: Tensor, record: dict[str, Any]) -> tuple[Tensor, Any, float]:
    return _at_known(estimates_of_parts(model, mix), record["output"])


def _of_tf_gridnet(model: nn.Module, mix: Tensor, record: dict[str, Any]) -> tuple[Tensor, Any, float]:
    return _at_known(model(mix), record["output"])


def _at_known(y: Tensor, known: dict[str, Any]) -> tuple[Tensor, Any, float]:
    """Estimates `y` [B, T, S] at the recorded samples."""
    rows = y[:, [int(index) for index in known["samples"]]].transpose(0, 1)  # [index, B, S]
    return rows, list(known["samples"].values()), known["maxabs"]


def _of_bsrnn(model: nn.Module, mix: Tensor, record: dict[str, Any]) -> tuple[Tensor, Any, float]:
    y, known = model.spectra(model.stft(mix))[:, 0], record["spectrum"]  # [B, 2, L, F]
    rows = known["item_bin_frame_real_imag"]
    values = torch.stack([y[item, :, frame, number] for item, number, frame, *_ in rows])
    return values, [row[3:] for row in rows], known["maxabs"]


def _of_spmamba(model: nn.Module, mix: Tensor, record: dict[str, Any]) -> tuple[Tensor, Any, float]:
    y = model(mix)[0, [int(index) for index in record["samples"]]]  # [index, S]
    return y, list(record["samples"].values()), record["maxabs"]


def _spmamba(record: dict[str, Any]) -> Golden:
    """The recorded outputs of SPMamba have a rule of their own for the weights."""
    from lobes.models import to_upstream
    from lobes.models.spmamba import SPMamba

    rule = _module(TESTS / "conftest.py")
    sizes = {"sample_rate": 16000, "n_fft": 512, "hop_length": 128} if record["config"] == "echo2mix" else {}
    model = SPMamba(**sizes, n_layers=record["n_layers"])
    return Golden(rule.filled(to_upstream(model)), rule.chirp_at(model.sample_rate, 2000), {}, record)


def _file(network: str) -> Path:
    return (TESTS if network == "spmamba" else GOLDEN) / f"{network}_fp64.json"


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"compare_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- SpeechBrain


def error_of_chain(preset: str, samples: int = 4000) -> float:
    """Deviation of a preset's `MaskingSeparator` from SpeechBrain's interface with the same modules.

    The mixture has random signs, whose rms is exactly one, and whole frames: nothing is scaled and nothing added.
    """
    from speechbrain.inference.separation import SepformerSeparation

    from lobes.models import get_model

    torch.manual_seed(0)
    model = get_model(preset).eval()
    parts = {"encoder": model.encoder, "masknet": model.masknet, "decoder": model.decoder}
    chain = SepformerSeparation(parts, {"num_spks": model.num_sources, "sample_rate": model.sample_rate})
    mix = torch.randint(0, 2, (1, samples)).float() * 2 - 1
    with torch.no_grad():
        ours, theirs = model(mix), chain.separate_batch(mix)
    return float((ours - theirs).abs().max() / theirs.abs().max())


if __name__ == "__main__":
    sys.exit(main())
