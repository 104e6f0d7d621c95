"""Run folders: the only place that knows their file names. Start, record, read, load weights, fine-tune."""
