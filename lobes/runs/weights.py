"""Loading weights so that nothing goes wrong in silence: strict keys and shapes, sha256 of every file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from lobes.data.files import write_whole
from lobes.errors import UserError
from lobes.models.convert import current_keys, restore_local_norms
from lobes.models.convert.tensors_only import refuse_inflated
from lobes.runs import names


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict of tensors, which come to the CPU; only tensors are unpickled, no code runs.

    Raises
    ------
    UserError
        If the file is missing, damaged, or no state dict.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     torch.save(nn.Linear(2, 3).state_dict(), f"{folder}/a.ckpt")
    ...     read_state(f"{folder}/a.ckpt")["weight"].shape
    torch.Size([3, 2])
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such weight file.")
    refuse_inflated(Path(path))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises about ten kinds, from EOFError to UnpicklingError
        reason = str(error).strip().split("\n")[0][:120] or type(error).__name__
        raise UserError(
            f"{path}: the weights cannot be read, the file is damaged or no checkpoint ({reason})."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: expected a state dict (names to tensors), got {type(state).__name__}.")
    if odd := [f"{name!r}"[:80] for name, value in state.items() if not isinstance(name, str) or not _is_plain(value)]:
        raise UserError(
            f"{path}: expected tensors of real numbers under names, but {len(odd)} are sparse, complex, quantised, "
            f"empty of data or under no name ({_first(odd)})."
        )
    return state


def load_strictly(module: nn.Module, path: str | Path) -> None:
    """Load weights into a module; every key and shape must match.

    SpeechBrain's own transfer is not strict: a folder whose keys do not match runs there with random weights
    and some thousand lines of warnings. Exported folders name this function as `custom_hooks` of their
    `pretrainer`, so stock SpeechBrain calls it too.

    Arguments
    ---------
    module : nn.Module
    path : str or Path
        The state dict's file.

    Raises
    ------
    UserError
        If a key is missing, unexpected, or of another shape; it names the first few.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     torch.save({"wait": torch.ones(3, 2), "bias": torch.ones(3)}, f"{folder}/a.ckpt")
    ...     try:
    ...         load_strictly(nn.Linear(2, 3), f"{folder}/a.ckpt")
    ...     except UserError as error:
    ...         print(str(error).split(": ", 1)[1])
    the weights do not fit the network: 1 missing (weight), 1 unexpected (wait).
    """
    from speechbrain.utils.checkpoints import hook_on_loading_state_dict_checkpoint

    state = hook_on_loading_state_dict_checkpoint(read_state(path))  # SpeechBrain's renamings of old keys
    restore_local_norms(module, state)
    state = current_keys(module, state)
    own = module.state_dict()
    faults = {
        "missing": [key for key in own if key not in state],
        "unexpected": [key for key in state if key not in own],
        "of another shape": [
            f"{key} {list(state[key].shape)} for {list(own[key].shape)}"
            for key in own
            if key in state and state[key].shape != own[key].shape
        ],
    }
    found = [f"{len(keys)} {kind} ({_first(keys)})" for kind, keys in faults.items() if keys]
    if found:
        raise UserError(f"{path}: the weights do not fit the network: {', '.join(found)}.")
    module.load_state_dict(state, strict=True)


def write_sums(folder: Path) -> None:
    """Write `SHA256SUMS` for all files of a folder, in the format of `sha256sum`."""
    files = sorted(path.name for path in folder.iterdir() if path.name != names.SUMS)
    write_whole(folder / names.SUMS, "".join(f"{sha256(folder / name)}  {name}\n" for name in files))


def check_sums(folder: Path) -> None:
    """Compare a folder's files with its `SHA256SUMS`; a folder without that file passes.

    The model card is left out: it may be edited, and loading from the hub does not fetch it. Nor does that fetch graphs
    of ONNX, which may be missing.

    Raises
    ------
    UserError
        If a listed file is missing or differs, or the list is malformed.
    """
    path = folder / names.SUMS
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        expected, _, name = line.partition("  ")
        if len(expected) != 64 or not name or Path(name).name != name:
            raise UserError(f"{path}: expected lines of `sha256  file`, got {line[:80]!r}.")
        if Path(name).suffix == ".md" or (name in names.GRAPHS and not (folder / name).exists()):
            continue
        if len(name) > 255 or not (folder / name).is_file():
            raise UserError(f"{folder / name}: listed in {names.SUMS}, but missing. Get or export the model again.")
        if sha256(folder / name) != expected:
            raise UserError(f"{folder / name}: differs from its sha256 in {names.SUMS}. Get or export the model again.")


def sha256(path: Path) -> str:
    """Return a file's sha256 in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_plain(value: Tensor) -> bool:
    """Whether a tensor can be copied into a network as it is."""
    dense = value.layout == torch.strided and not (value.is_nested or value.is_meta)
    return dense and not (value.is_complex() or value.is_quantized)


def _first(keys: Iterable[str], count: int = 3) -> str:
    keys = list(keys)
    return ", ".join(keys[:count]) + (", ..." if len(keys) > count else "")
