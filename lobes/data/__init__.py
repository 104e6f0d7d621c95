"""Data of any kind: audio files, manifests and their checks, preparation, datasets. Imports only `lobes.errors`."""
