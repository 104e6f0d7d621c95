"""What a finished run folder holds, without its clocks, so that two runs can be compared bit by bit."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path
from typing import Any

ENDS = ("weights", "optimizer", "kept", "table", "summary", "leftovers")
CURVES = ("curve", "log")
SECONDS = re.compile(r", \d+ s:")


def outcome(run: Path) -> dict[str, Any]:
    """The weights and the optimizer of each checkpoint, the tables, and names in `save` that are no checkpoints."""
    folders = sorted((path for path in run.glob("save/CKPT+*") if path.is_dir()), key=place_of)
    return {
        "kept": [place_of(folder) for folder in folders],
        "weights": [digest(folder / "separator.ckpt") for folder in folders],
        "optimizer": [digest(folder / "optimizer.ckpt") for folder in folders],
        "curve": _curve(run / "learning_curve.csv"),
        "log": SECONDS.sub(":", _text(run / "train_log.txt")).splitlines(),
        "table": _hash(_text(run / "per_utterance.csv").encode()),
        "summary": _hash(_text(run / "summary.json").encode()),
        "leftovers": sorted(path.name for path in (run / "save").glob("*") if not path.name.startswith("CKPT+")),
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The names of what differs."""
    return [name for name in (*ENDS, *CURVES) if one[name] != other[name]]


def digest(path: Path) -> str:
    """Hash of the names and bits of all tensors and numbers in a file, whatever it is packed in."""
    import torch

    if not path.is_file():
        return "missing"
    hashed = hashlib.sha256()

    def add(name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            bits = value.detach().contiguous().reshape(-1).view(torch.uint8)
            value = f"{value.dtype} {tuple(value.shape)} {_hash(bits.numpy().tobytes())}"
        if isinstance(value, dict):
            for key in value:
                add(f"{name}/{key}", value[key])
        elif isinstance(value, list | tuple):
            for key, item in enumerate(value):
                add(f"{name}/{key}", item)
        else:
            hashed.update(f"{name}={value!r}\n".encode())

    add("", torch.load(path, map_location="cpu", weights_only=True))
    return hashed.hexdigest()[:16]


def place_of(checkpoint: Path) -> list[int]:
    """Where a checkpoint stands: its step, and whether it ends an epoch."""
    import yaml

    steps = json.loads(_text(checkpoint / "budget.ckpt") or "{}").get("steps", -1)
    try:
        meta = yaml.safe_load(_text(checkpoint / "CKPT.yaml"))
    except yaml.YAMLError:
        meta = None
    return [steps, int(meta["end-of-epoch"]) if isinstance(meta, dict) else -1]


def _curve(path: Path) -> list[dict[str, str]]:
    rows = csv.DictReader(_text(path).splitlines())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
