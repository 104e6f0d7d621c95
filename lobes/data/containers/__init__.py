"""What the header of an audio file promises, compared with what is there: one file per family of containers."""
