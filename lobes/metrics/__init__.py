"""Measures of one utterance. Nothing heavy is imported before a metric is asked for."""

from lobes.metrics.utterance import METRICS, NUMBERS, score

__all__ = ["METRICS", "NUMBERS", "score"]
