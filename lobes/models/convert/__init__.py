"""Weights of other implementations and of earlier versions: key maps live here and nowhere else."""
