"""The old place of the modules in exported folders, kept so that folders exported before 0.2 load."""

from lobes.inference.speechbrain_adapter import EnhanceModel, MappingMaskNet, MixAndOnes, TakeEstimate

__all__ = ["EnhanceModel", "MappingMaskNet", "MixAndOnes", "TakeEstimate"]
