"""Using trained models: the separator, the export to SpeechBrain's folder format, strict loading."""

from lobes.inference.export import export_pretrained
from lobes.inference.separator import Separator

__all__ = ["Separator", "export_pretrained"]
