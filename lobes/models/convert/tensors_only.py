"""Reading files of tensors and plain values, in which no code is run."""

from __future__ import annotations

import argparse
import datetime
import pathlib
import re
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lobes.errors import UserError

MOST = 20  # times the size of a file: what it may unpack to
_REFUSED = re.compile(r"GLOBAL ([\w.]+)")
_ADVICE = re.compile(r"Weights only load failed\..*?Error: ", re.DOTALL)  # the reason comes after it


def read_tensors(path: str | Path) -> Mapping:
    """Read a file of tensors and plain values; no code in it is run. All else is a UserError."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: expected a checkpoint file, found {'a folder' if path.is_dir() else 'nothing'} there")
    refuse_inflated(path)
    known = torch.serialization.get_safe_globals()  # what the caller allows stays allowed
    try:
        with torch.serialization.safe_globals([kind for kind in _plain_types() if kind not in known]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises about ten kinds, and the values in a file more
        raise UserError(f"{path}: {_reason(error)}") from None
    if not isinstance(content, Mapping):
        raise UserError(
            f"{path}: expected a dict of tensors or a checkpoint that holds one, got {type(content).__name__}"
        )
    return content


def refuse_inflated(path: Path) -> None:
    """Stop at a file that unpacks to far more than it holds; PyTorch itself packs nothing.

    Raises
    ------
    UserError
        It says how large it is and would be.
    """
    try:
        if not zipfile.is_zipfile(path):  # which itself raises for some damage
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return  # PyTorch has its own words for what is no whole file
    if unpacked > MOST * path.stat().st_size:
        size = path.stat().st_size
        raise UserError(f"{path}: {size:,} bytes unpack to {unpacked:,}, expected at most {MOST} times as much.")


def _plain_types() -> list[Any]:
    """What trainers put next to weights and what runs no code: options, versions, paths, dates, numbers of numpy."""
    core = np.core if int(np.__version__.split(".")[0]) < 2 else np._core  # type: ignore[attr-defined]
    calls = {"scalar": core.multiarray.scalar, "_reconstruct": core.multiarray._reconstruct}
    paths = {"PosixPath": pathlib.PurePosixPath, "WindowsPath": pathlib.PureWindowsPath}
    paths |= {kind.__name__: kind for kind in paths.values()}
    lightning = ("pytorch_lightning.utilities", "lightning.pytorch.utilities", "lightning_fabric.utilities")
    return [
        *(torch.torch_version.TorchVersion, argparse.Namespace, types.SimpleNamespace, np.ndarray, np.dtype),
        *(datetime.datetime, datetime.date, datetime.timedelta),
        *(frozenset, slice, list, dict, tuple, int, float, bool, str),  # the types themselves, too
        *((_empty_dict, "collections.defaultdict"), (_empty_list, "collections.deque")),
        *(kind for name, kind in vars(np.dtypes).items() if name.endswith("DType")),
        *((call, f"numpy.{home}.multiarray.{name}") for home in ("core", "_core") for name, call in calls.items()),
        *((kind, f"{home}.{name}") for home in ("pathlib", "pathlib._local") for name, kind in paths.items()),
        *((dict, f"{home}.{file}.AttributeDict") for home in lightning for file in ("parsing", "data")),
    ]


def _empty_dict(*_: Any) -> dict[Any, Any]:
    """What torch fills in place of a dict with defaults, which it does not read."""
    return {}


def _empty_list(*_: Any) -> list[Any]:
    """What torch fills in place of a deque."""
    return []


def _reason(error: Exception) -> str:
    """Why a file cannot be read, in one line."""
    words = str(error)
    if found := _REFUSED.search(words):
        return (
            f"holds a {found[1]}, which is not read, since it could run code. If you trust the file, open it where "
            "that is installed and save the state_dict alone: torch.save(checkpoint['state_dict'], 'weights.pth')"
        )
    first = _ADVICE.sub("", re.sub(r"\x1b\[\d*m", "", words)).strip().split("\n")[0][:150] or type(error).__name__
    return (
        f"cannot be read as tensors only, the file is damaged or no checkpoint of PyTorch ({first}). If you trust the "
        "file, save the state_dict alone with torch.save and load that"
    )
