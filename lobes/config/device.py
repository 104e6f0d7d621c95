"""The device that a command may name, checked before anything is put on it."""

from __future__ import annotations

from lobes.errors import UserError

_KNOWN = ("cpu", "cuda", "mps", "xpu")


def check_device(name: str) -> None:
    """Refuse a device that PyTorch does not know or does not find here.

    Raises
    ------
    UserError
        With the devices that there are.

    Example
    -------
    >>> check_device("cpu")
    """
    import torch

    kind, colon, number = name.partition(":")
    if kind not in _KNOWN or (colon and not number.isdecimal()) or (kind == "cpu" and colon):
        hint = " A GPU is called cuda." if "gpu" in name.lower() else ""
        raise UserError(f"--device {name}: no such device.{hint} Use cpu, cuda or cuda:NUMBER.")
    backend = {"cuda": torch.cuda, "mps": torch.backends.mps, "xpu": torch.xpu}.get(kind)
    if backend is not None and not backend.is_available():
        raise UserError(f"--device {name}: PyTorch finds no {kind.upper()} device here. Use --device cpu.")
    if kind == "cuda" and colon and int(number) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise UserError(f"--device {name}: there is no such GPU; the last one is cuda:{last}.")
