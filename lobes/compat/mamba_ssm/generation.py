"""The inference cache's container, and names of language models that others import and seldom use.

Text generation and the hub's language models are not offered; scripts import their names together with what they need,
so these exist and refuse when they are called.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

from torch import Tensor

from lobes.compat.mamba_ssm.named import named
from lobes.compat.mamba_ssm.refusal import refusal
from lobes.errors import UserError


@named("mamba_ssm.utils.generation", "InferenceParams")
@dataclass
class InferenceParams:
    """What a network carries from step to step of a stream.

    `key_value_memory_dict` holds the states of each layer by its `layer_idx`; the caller raises `seqlen_offset` by the
    steps that have been run.

    Example
    -------
    >>> InferenceParams(max_seqlen=10, max_batch_size=2).key_value_memory_dict
    {}
    """

    max_seqlen: int
    max_batch_size: int
    seqlen_offset: int = 0
    batch_size_offset: int = 0
    key_value_memory_dict: dict[Any, Any] = field(default_factory=dict)
    lengths_per_sample: Tensor | None = None

    def reset(self, max_seqlen: int, max_batch_size: int) -> None:
        """Start a new stream; layers keep their states, which the first whole sequence overwrites."""
        self.max_seqlen, self.max_batch_size, self.seqlen_offset = max_seqlen, max_batch_size, 0
        if self.lengths_per_sample is not None:
            self.lengths_per_sample.zero_()


@named("mamba_ssm.utils.generation", "GenerationMixin")
class GenerationMixin:
    """A base class that may be inherited; it generates nothing."""

    def allocate_inference_cache(self, batch_size: int, max_seqlen: int, dtype: Any = None, **kwargs: Any) -> Any:
        """Return the cache of the network, in a subclass."""
        raise NotImplementedError

    def generate(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refuse: text generation is not offered."""
        raise UserError(refusal("mamba_ssm.utils.generation.GenerationMixin.generate"))


def load_config_hf(*arguments: Any, **options: Any) -> NoReturn:
    """Refuse: language models of the hub are not offered."""
    raise UserError(refusal("mamba_ssm.utils.hf.load_config_hf"))


def load_state_dict_hf(*arguments: Any, **options: Any) -> NoReturn:
    """Refuse: language models of the hub are not offered."""
    raise UserError(refusal("mamba_ssm.utils.hf.load_state_dict_hf"))
