"""The selective scan of Mamba-1: one function, several backends that must agree."""

from lobes.scan.interface import backends, selective_scan

__all__ = ["backends", "selective_scan"]
