"""The old place of `SequenceFirst`, kept so that folders made before 0.2 load."""

from lobes.models.masking import SequenceFirst

__all__ = ["SequenceFirst"]
