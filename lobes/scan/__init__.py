"""The selective scan of Mamba-1: one function, several backends that must agree."""

from lobes.scan.interface import selective_scan
from lobes.scan.registry import backends

__all__ = ["backends", "selective_scan"]
