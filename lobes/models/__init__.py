"""Whole networks, one file each, and the registry of their presets."""

from lobes.models.registry import get_model, list_models

__all__ = ["get_model", "list_models"]
