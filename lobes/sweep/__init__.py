"""Sweeps: trainings of one recipe with other values of its keys, chosen by Optuna and compared on validation data."""
