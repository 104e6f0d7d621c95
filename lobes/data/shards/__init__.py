"""Data sets in few large files: tars that any WebDataset reader takes, with an index of where each signal lies."""
