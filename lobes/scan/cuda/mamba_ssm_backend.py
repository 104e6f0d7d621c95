"""The CUDA kernel of the mamba_ssm package (1.2 to HEAD) as a backend.

It needs the compiled module `selective_scan_cuda`, not only the package: since pull request 977 a plain
`pip install mamba-ssm` has no such module, and a build for another torch fails at import in many ways.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from lobes.scan.cuda.bridge import BridgeBackend


class MambaSSMBackend(BridgeBackend):
    """The package's CUDA kernel as a backend."""

    name = "mamba_ssm"

    def load(self) -> Callable[..., Any]:
        """Import the package's scan function."""
        importlib.import_module("selective_scan_cuda")
        return importlib.import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn  # type: ignore
