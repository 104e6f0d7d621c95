"""Lobes: state-space models for speech separation and enhancement, as SpeechBrain modules and recipes."""

__version__ = "0.1.0"
