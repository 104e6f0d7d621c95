"""From models to tables: scoring of utterances, summaries, and the costs of networks."""

from lobes.evaluation.costs import profile
from lobes.evaluation.manifest import evaluate

__all__ = ["evaluate", "profile"]
