"""Checkpoints of other programs: tensors and plain values alone are read, and a network's weights are found in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from lobes.errors import UserError
from lobes.models.convert.tensors_only import read_tensors


class Network(NamedTuple):
    """How the weights of a network are known."""

    title: str  # in messages
    marks: tuple[str, ...]  # keys that it alone has: the published one, and ours where that is another


# name in `from_upstream` -> network
NETWORKS = {
    "spmamba": Network(
        "SPMamba",
        (
            "blocks.0.intra_mamba.forward_blocks.0.mixer.A_log",
            "blocks.0.along_bins.sequence.forward_block.mixer.A_log",
        ),
    ),
    "tf_gridnet": Network(
        "TF-GridNet", ("blocks.0.intra_rnn.weight_ih_l0", "blocks.0.along_bins.sequence.weight_ih_l0")
    ),
    "bsrnn": Network("BSRNN", ("band_split.fc1.weight",)),
    "mamba_tasnet": Network("Mamba-TasNet", ("masknet.mamba_net.norm_f.weight", "masknet.stack.norm_f.weight")),
    "dpmamba": Network("DPMamba", ("masknet.dual_mdl.0.intra_mdl.norm_f.weight",)),
}
MISFITS = (KeyError, IndexError, ValueError, TypeError, ZeroDivisionError)  # where sizes are read off strange shapes
_USUAL = ("state_dict", "model_state_dict", "model")  # where trainers put the weights
_WRAPPERS = ("module", "_orig_mod")  # of distributed and of compiled networks, anywhere in a key


def weights_of(source: str | Path | Mapping, network: str) -> tuple[dict[str, Tensor], str]:
    """Find the weights of a network in a file or a mapping, whatever wraps them.

    They may stand under a key of their own, of which the usual ones come first, and their names may have a prefix or
    the wrappers of distributed and compiled networks. Weights of other things next to them, such as a loss, are left.

    Arguments
    ---------
    source : str, Path or mapping
        A checkpoint's path, its content, or a state dict. No code in a file is run.
    network : str
        A name in `NETWORKS`.

    Returns
    -------
    weights : dict of str: Tensor
        Under the published keys, or under ours, without anything before them.
    origin : str
        The source, for messages.

    Raises
    ------
    UserError
        If the file cannot be read, or there is not one such network in it.

    Example
    -------
    >>> import torch
    >>> content = {"epoch": 3, "state_dict": {"net.module.band_split.fc1.weight": torch.ones(2, 4), "loss.w": 1}}
    >>> list(weights_of(content, "bsrnn")[0])
    ['band_split.fc1.weight']
    """
    content, origin = (source, "state dict") if isinstance(source, Mapping) else (read_tensors(source), str(source))
    title, marks = NETWORKS[network]
    parts = [(part, prefixes) for part in _parts(content) if (prefixes := _prefixes(part, marks))]
    if not parts:
        raise UserError(f"{origin}: expected the weights of one {title} (a key ...{marks[0]}), {_found(content)}")
    part, prefixes = parts[0]
    if len(prefixes) > 1:
        names = ", ".join(repr(prefix) for prefix in sorted(prefixes))
        raise UserError(f"{origin}: expected one {title}, found several, with keys under {names}. Give one state dict.")
    return _cut(part, prefixes.pop(), origin), origin


def differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Describe the tensors that are missing, too many, or of another shape.

    Example
    -------
    >>> import torch
    >>> differences({"a": torch.ones(2), "b": torch.ones(2)}, {"a": torch.ones(3)})
    ['b is missing', 'a has the shape [3] instead of [2]']
    """
    return [
        *(f"{key} is missing" for key in expected if key not in found),
        *(f"{key} is unknown" for key in found if key not in expected),
        *(
            f"{key} has the shape {list(found[key].shape)} instead of {list(value.shape)}"
            for key, value in expected.items()
            if key in found and found[key].shape != value.shape
        ),
    ]


def unfit(origin: str | Path, title: str, error: Exception) -> UserError:
    """Say why no sizes can be read off the shapes: one of `MISFITS`.

    Example
    -------
    >>> unfit("a.pth", "BSRNN", KeyError("fc_t1.weight"))
    UserError("a.pth: expected the weights of one BSRNN, but 'fc_t1.weight' is missing")
    """
    what = f"{error} is missing" if isinstance(error, KeyError) else "its weights have other dimensions"
    return UserError(f"{origin}: expected the weights of one {title}, but {what}")


def require_equal_shapes(
    expected: Mapping[str, Tensor], found: Mapping[str, Tensor], origin: str | Path, title: str
) -> None:
    """Raise a UserError that names the first differences, unless there are none.

    Example
    -------
    >>> import torch
    >>> require_equal_shapes({"a": torch.ones(2)}, {"a": torch.zeros(2)}, "a.pth", "a BSRNN")
    """
    if faults := differences(expected, found):
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise UserError(f"{origin}: expected the weights of {title}, but {', '.join(faults[:3])}{more}")


def _parts(content: Mapping) -> Iterator[Mapping]:
    """The mappings in which weights may lie: the content itself, then the usual places, then the others."""
    yield content
    names = sorted((key for key in content if isinstance(content[key], Mapping)), key=lambda key: key not in _USUAL)
    for name in names:
        yield from _parts(content[name])


def _prefixes(part: Mapping, marks: tuple[str, ...]) -> set[str]:
    """What stands before a mark where it is the end of a key."""
    keys = [key for key in part if isinstance(key, str) and isinstance(part[key], Tensor)]
    found = (_prefix(key, mark) for key in keys for mark in marks)
    return {prefix for prefix in found if prefix is not None}


def _prefix(key: str, mark: str) -> str | None:
    """`net.` for the key net.module.a.weight and the mark a.weight; None if the key ends with something else."""
    head, rest = key.split("."), mark.split(".")
    while rest:
        if not head:
            return None
        if (word := head.pop()) == rest[-1]:
            rest.pop()
        elif word not in _WRAPPERS:
            return None
    return "".join(f"{word}." for word in head)


def _cut(part: Mapping, prefix: str, origin: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it and without wrappers."""
    weights: dict[str, Tensor] = {}
    for key, value in part.items():
        if not str(key).startswith(prefix):
            continue
        name = ".".join(word for word in str(key).removeprefix(prefix).split(".") if word not in _WRAPPERS)
        if fault := "a second time" if name in weights else _fault(value):
            raise UserError(f"{origin}: expected each weight once and as a tensor of numbers, found {key} {fault}")
        weights[name] = value
    return weights


def _fault(value: Any) -> str | None:
    """What is wrong with a weight: of integers (quantised) or complex numbers, no network is the published one."""
    if not isinstance(value, Tensor):
        return f"as {type(value).__name__}"
    if value.is_meta or not value.numel():
        return "as an empty tensor"
    return None if value.is_floating_point() else f"as {value.dtype}"


def _found(content: Mapping) -> str:
    """What else there is: another network, or the first keys."""
    for name, network in NETWORKS.items():
        if any(_prefixes(part, network.marks) for part in _parts(content)):
            return f"found those of {network.title}: from_upstream({name!r}, ...) takes them"
    keys = ", ".join([str(key) for part in _parts(content) for key in part][:4]) or "nothing"
    return f"found {keys} ..."
