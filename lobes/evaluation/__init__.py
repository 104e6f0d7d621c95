"""Evaluation of models: utterance tables, complexity, reports. Import its modules by name."""
