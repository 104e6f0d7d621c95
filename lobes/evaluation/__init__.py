"""From models to tables: scoring of utterances, summaries, comparisons, and the costs of networks."""

from lobes.evaluation.comparison import compare
from lobes.evaluation.costs import profile
from lobes.evaluation.manifest import evaluate

__all__ = ["compare", "evaluate", "profile"]
