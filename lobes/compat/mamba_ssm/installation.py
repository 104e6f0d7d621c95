"""Putting `mamba_ssm` and `causal_conv1d` under their own names, once and only when asked."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

from lobes.compat.mamba_ssm.finder import Finder
from lobes.compat.mamba_ssm.names import PACKAGES, SERVED
from lobes.errors import UserError

# A process that Python itself starts, such as a loader's worker on macOS and Windows, gets this one's `sys.path` and
# nothing else of what is set here. There it finds files in this folder, which install once more.
ON_PATH = Path(__file__).resolve().parents[1] / "on_path"


def install(*, shadow: bool = False) -> None:
    """Serve `mamba_ssm` and `causal_conv1d` in this process, under their own names, by the code of Lobes.

    Call it before anything imports them; a second call changes nothing. Where one of the packages is installed, which
    code runs should be nobody's surprise: it is refused, unless `shadow` asks for it.

    Arguments
    ---------
    shadow : bool
        Take the place of packages that are installed. `lobes.scan` may still use their CUDA kernel.

    Raises
    ------
    lobes.errors.UserError
        If one of the packages is installed and `shadow` is False, or has been imported already.

    Example
    -------
    >>> import subprocess
    >>> code = "from lobes.compat import mamba_ssm as compat; compat.install(shadow=True)"
    >>> code += "; import mamba_ssm; print(mamba_ssm.__version__)"
    >>> subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    '2.3.2+lobes\\n'
    """
    if any(isinstance(finder, Finder) for finder in sys.meta_path):
        return
    for name in PACKAGES:
        _refuse(name, shadow)
    _keep_kernel()
    _forget()
    sys.meta_path.insert(0, Finder())
    sys.path.insert(0, str(ON_PATH))
    for name in SERVED:
        importlib.import_module(name)


def _refuse(name: str, shadow: bool) -> None:
    """Raise UserError if a package is in use, or is installed and not to be shadowed."""
    module = sys.modules.get(name)
    if module is not None and not _ours(getattr(module, "__file__", None)):
        raise UserError(
            f"{name} has been imported already (from {getattr(module, '__file__', None) or 'no file'}): call "
            "lobes.compat.mamba_ssm.install() before the first import of mamba_ssm or causal_conv1d."
        )
    spec = None if module is not None else find_spec(name)
    if spec is not None and not shadow and not _ours(spec.origin):
        raise UserError(
            f"{name} is installed here ({spec.origin or 'a folder of that name'}), and lobes.compat.mamba_ssm takes "
            "its place only when asked: install(shadow=True), or python -m lobes.compat.mamba_ssm --shadow."
        )


def _ours(file: str | None) -> bool:
    return file is not None and Path(file).parent == ON_PATH


def _keep_kernel() -> None:
    """Let the scan look for mamba_ssm's CUDA kernel now: later it would find the stand-in, which calls the scan."""
    from lobes.scan.registry import BACKENDS

    BACKENDS["mamba_ssm"].unavailable()


def _forget() -> None:
    """Take modules of the packages out of `sys.modules`, such as those that came with the kernel."""
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
