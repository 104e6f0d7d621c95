"""The cost of a model: parameters, multiply-accumulates and scan operations for a stretch of audio.

Counted: every matrix product and convolution, and every selective scan by formula, see `lobes.evaluation.kinds`. Not
counted: STFTs, norms, activations and other element-wise work.

A scan over L steps of D channels with N states costs 9 L D N operations, and L D each for its skip connection and its
gate: the count of the Mamba authors' own tool, which all SPMamba figures in print use. These are operations, not
multiply-accumulates; they are added as they are, and shown apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lobes.errors import UserError
from lobes.evaluation.kinds import LEFT_OUT, macs_by_kind
from lobes.models import get_model, list_models
from lobes.models.registry import preset_meta

FACTS = ("receptive_field", "compared", "source")  # what the meta of every preset has to say
HEADER = (
    "| Preset | Parameters | GMAC/s | of which scan | Sample rate | Causal | Receptive field | Compared | Published "
    "| Source |"
)


@dataclass(frozen=True)
class Complexity:
    """The cost of one forward pass.

    `parameters` is how many numbers training changes, `matmul` the multiply-accumulates of matrix products and
    convolutions, `scan` the operations of the selective scans, 9 L D N + 2 L D for each sequence.

    Example
    -------
    >>> Complexity(parameters=10, matmul=300, scan=90).total
    390
    """

    parameters: int
    matmul: int
    scan: int

    @property
    def total(self) -> int:
        """Multiply-accumulates and scan operations together."""
        return self.matmul + self.scan


def count(model: nn.Module, seconds: float = 1.0) -> Complexity:
    """Count what `model` costs for one mixture of the given length.

    Arguments
    ---------
    model : nn.Module
        A network with the attribute `sample_rate` that takes a mixture [B, T].
    seconds : float
        Length of the mixture. The cost of networks with attention grows faster than linearly with it.

    Returns
    -------
    complexity : Complexity

    Raises
    ------
    UserError
        If the model's selective scans run in a backend that is no operator of PyTorch, and so cannot be counted.

    Example
    -------
    >>> class Half(nn.Linear):
    ...     sample_rate = 8000
    >>> count(Half(80, 40), seconds=0.01)
    Complexity(parameters=3240, matmul=3200, scan=0)
    """
    kinds = macs_by_kind(model, seconds)
    matmul = sum(number for kind, number in kinds.items() if kind not in (*LEFT_OUT, "scan"))
    return Complexity(parameters_of(model), matmul, kinds["scan"])


def parameters_of(model: nn.Module) -> int:
    """How many numbers training changes; of a network that was frozen for use, all of its parameters.

    Example
    -------
    >>> parameters_of(nn.Linear(4, 3).requires_grad_(False))
    15
    """
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, trained in sizes if trained) or sum(size for size, _ in sizes)


def table(presets: list[str] | None = None) -> str:
    """Make the README's model table: every preset with its usual sources, for one second of audio at its own rate.

    Arguments
    ---------
    presets : list of str, optional
        The rows; all of `list_models()` if not given.

    Returns
    -------
    markdown : str
        Lines of a table, the first two its head.

    Example
    -------
    >>> print(table(["convtasnet_tiny"]).splitlines()[0].split(" | ")[1])
    Parameters
    """
    rows = [_row(preset) for preset in (list_models() if presets is None else presets)]
    return "\n".join([HEADER, "|---|---:|---:|---:|---:|---|---|---|---|---|", *rows])


def _row(preset: str) -> str:
    known = preset_meta(preset)
    for key in FACTS:
        if key not in known:
            raise UserError(f"{preset}: expected {key} in the preset's meta for the model table, found none")
    model = get_model(preset)
    cost = count(model)
    cells = [
        f"`{preset}`",
        f"{cost.parameters:,}",
        f"{cost.total / 1e9:.2f}",
        f"{cost.scan / 1e9:.2f}",
        str(model.sample_rate),
        "yes" if model.causal else "no",
        known["receptive_field"],
        known["compared"],
        known.get("published", "-"),
        known["source"],
    ]
    return "| " + " | ".join(cells) + " |"
