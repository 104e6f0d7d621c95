"""Measures of one utterance and their summary. Nothing heavy is imported before a metric is asked for."""

from lobes.metrics.summary import format_table, summarise
from lobes.metrics.utterance import METRICS, NUMBERS, score

__all__ = ["METRICS", "NUMBERS", "format_table", "score", "summarise"]
