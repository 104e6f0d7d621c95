"""The old place of `load_strictly`, kept so that folders exported before 0.2 load."""

from lobes.runs.weights import load_strictly

__all__ = ["load_strictly"]
