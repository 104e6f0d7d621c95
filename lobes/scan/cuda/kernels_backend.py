"""The kernel of Mamba-1 as Hugging Face's hub has it, compiled for many versions of torch, as a backend.

The package `kernels` fetches the build that fits at first use and keeps it. So this is code from the network: `auto`
never takes this backend, one names it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from lobes.scan.cuda.bridge import BridgeBackend
from lobes.scan.cuda.probe import current_device

REPOSITORY, VERSION = "kernels-community/mamba-ssm", 1


class KernelsBackend(BridgeBackend):
    """The hub's prebuilt kernel as a backend."""

    name = "kernels"

    def load(self) -> Callable[..., Any]:
        """Fetch the build for this torch and return its scan function."""
        if current_device() is None:
            raise RuntimeError("there is no CUDA device")
        hub = importlib.import_module("kernels")
        package = hub.get_kernel(REPOSITORY, version=VERSION)
        if hasattr(package, "selective_scan_fn"):
            return package.selective_scan_fn  # type: ignore[no-any-return]
        interface = importlib.import_module(f"{package.__name__}.ops.selective_scan_interface")
        return interface.selective_scan_fn  # type: ignore[no-any-return]
