"""The hook that exported folders name for their weights, so that stock SpeechBrain loads them as Lobes does."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from lobes.errors import UserError
from lobes.runs import names, weights


def load_strictly(module: nn.Module, path: str | Path) -> None:
    """Load weights into a module; every key and shape must match, and the file's sha256 where its folder lists it.

    SpeechBrain's own transfer does neither. It calls this function, as `custom_hooks` of the `pretrainer` say, also
    with a link to the file.

    Arguments
    ---------
    module : nn.Module
    path : str or Path
        The state dict's file.

    Raises
    ------
    UserError
        If the file differs from its sha256, or does not fit the module.

    Example
    -------
    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     torch.save(nn.Linear(2, 3).state_dict(), f"{folder}/a.ckpt")
    ...     _ = Path(folder, "SHA256SUMS").write_text(f"{'0' * 64}  a.ckpt\\n")
    ...     try:
    ...         load_strictly(nn.Linear(2, 3), f"{folder}/a.ckpt")
    ...     except UserError as error:
    ...         print(str(error).split(": ", 1)[1])
    differs from its sha256 in SHA256SUMS. Get or export the model again.
    """
    file = Path(path).resolve()
    sums = file.with_name(names.SUMS)
    listed = sums.read_text(encoding="utf-8", errors="replace").splitlines() if sums.is_file() else []
    expected = {line.partition("  ")[0] for line in listed if line.partition("  ")[2] == file.name}
    if expected and expected != {weights.sha256(file)}:
        raise UserError(f"{file}: differs from its sha256 in {names.SUMS}. Get or export the model again.")
    weights.load_strictly(module, path)
